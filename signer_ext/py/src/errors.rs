//! The exception tree of the border, and the one way from a Rust error to it.

use pkpass::{Error, Kind};
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(passmill._signer, SignerError, PyException);
create_exception!(passmill._signer, InvalidIdentity, SignerError);
create_exception!(passmill._signer, IdentityExpired, InvalidIdentity);
create_exception!(passmill._signer, InvalidBundle, SignerError);
create_exception!(passmill._signer, DigestMismatch, SignerError);
create_exception!(passmill._signer, InvalidToken, SignerError);
create_exception!(passmill._signer, SigningFailed, SignerError);

/// Gives the classes their attributes, so that every exception has them, however it was made.
pub(crate) fn declare_attributes(python: Python<'_>) -> PyResult<()> {
    let root = python.get_type::<SignerError>();
    root.setattr("reason", "")?;
    root.setattr("item", python.None())
}

/// The exception for a refusal, with its `reason` and `item`.
pub(crate) fn exception(python: Python<'_>, error: Error) -> PyErr {
    let (reason, item) = (error.reason, error.item);
    let exception = match reason.kind() {
        Kind::InvalidIdentity => InvalidIdentity::new_err(error.message),
        Kind::IdentityExpired => IdentityExpired::new_err(error.message),
        Kind::InvalidBundle => InvalidBundle::new_err(error.message),
        Kind::DigestMismatch => DigestMismatch::new_err(error.message),
        Kind::InvalidToken => InvalidToken::new_err(error.message),
        Kind::SigningFailed => SigningFailed::new_err(error.message),
    };
    let value = exception.value(python);
    match value.setattr("reason", reason.token()).and_then(|()| value.setattr("item", item)) {
        Ok(()) => exception,
        Err(broken) => broken,
    }
}

/// Runs `work` without the GIL and behind the guard, and turns its refusal into an exception.
pub(crate) fn detached<T: Send>(
    python: Python<'_>,
    work: impl FnOnce() -> pkpass::Result<T> + Send,
) -> PyResult<T> {
    python.detach(|| pkpass::guard::contain(work)).map_err(|error| exception(python, error))
}
