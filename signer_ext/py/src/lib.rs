//! `passmill._signer`: the Python face of `pkpass` and `apns`. It converts and maps errors; every rule
//! is in those.
//!
//! Inputs are held as immutable bytes, the work runs without the GIL, and a panic becomes
//! `SigningFailed`. What the functions promise is documented where Python readers look:
//! `server/passmill/_signer.pyi`.
#![allow(missing_docs)] // PyO3's macros make undocumented public items
#![allow(clippy::needless_pass_by_value)] // what PyO3 extracts is owned

mod bundle;
mod errors;
mod identity;
mod push;
mod token;

use pyo3::prelude::*;
use zeroizing_alloc::ZeroAlloc;

/// Wipes memory when it is freed: the decoders of PKCS#12 and PKCS#8 leave keys in buffers of
/// theirs. Bundles are written straight into Python's memory, so what is freed here is small.
#[global_allocator]
static WIPING: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

#[pymodule(gil_used = false)]
mod _signer {
    use super::{PyModule, PyModuleMethods, PyResult, bundle, errors, identity, push, token};
    use pyo3::Bound;

    #[pymodule_export]
    use bundle::{
        BundleReport, PreparedRevision, assemble, inspect_png, pack_passes, panic_on, read_bundle,
        render, repaired_signatures, seal, sign_batch,
    };
    #[pymodule_export]
    use errors::{
        DigestMismatch, IdentityExpired, InvalidBundle, InvalidIdentity, InvalidToken, SignerError,
        SigningFailed,
    };
    #[pymodule_export]
    use identity::{SigningCertificate, SigningIdentity};
    #[pymodule_export]
    use push::{PushEngine, PushOutcomes, PushPool};
    #[pymodule_export]
    use token::sign_token;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        errors::declare_attributes(module.py())?;
        module.add("source_digest", env!("SIGNER_SOURCE_DIGEST"))
    }
}
