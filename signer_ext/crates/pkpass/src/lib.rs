//! Seals Apple Wallet passes: manifest, detached CMS signature, deterministic zip; and reads them
//! back strictly.
//!
//! Pure Rust without I/O, clock, logging or globals. [`PreparedRevision`] holds what all passes of
//! a template revision share; [`render`](render::render) makes their `pass.json`, [`sign_batch`]
//! signs, [`assemble`] makes the bundle of a stored recipe without the key, [`seal`] does both;
//! [`sign_token`] answers a sign-up.

pub mod archive;
pub mod certificate;
pub mod cms;
pub mod error;
pub mod guard;
pub mod handshake;
pub mod identity;
pub mod manifest;
pub mod names;
mod pem;
pub mod png;
mod private_key;
mod proof;
pub mod reader;
pub mod render;
pub mod revision;
pub mod seal;
#[cfg(test)]
mod testing;
pub mod token;
pub mod wrap;
mod x509;

pub use archive::pack_passes;
pub use certificate::SigningCertificate;
pub use error::{Error, Kind, Reason, Result};
pub use handshake::HandshakeScheme;
pub use identity::SigningIdentity;
pub use reader::{BundleReport, read_bundle};
pub use render::{Document, lines};
pub use revision::{Bundle, PreparedRevision};
pub use rsa_mb::Backend;
pub use seal::{Signed, Unsigned, Workers, assemble, seal, sign_batch};
pub use token::sign_token;
