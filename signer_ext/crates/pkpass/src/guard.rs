//! The last line of defence: a panic becomes an error, so a defect costs one call and not the
//! process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Reason, Result};

/// Runs `work`; a panic inside comes back as [`Reason::Panic`].
///
/// Unwind safety: everything shared with `work` is immutable, and what it was building is dropped.
pub fn contain<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(panicked(payload.as_ref())))
}

/// The error for a panic's payload. The payload itself is not passed on: it may quote input.
pub(crate) fn panicked(_payload: &(dyn Any + Send)) -> Error {
    Error::new(
        Reason::Panic,
        "the signer met a defect of its own and stopped this call; nothing was signed. Retry \
         once; if it comes back, report it with the input's template revision.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value passes through untouched.
    #[test]
    fn a_result_passes_through() {
        assert_eq!(contain(|| Ok(7)), Ok(7));
    }

    /// A panic is an error of kind `SigningFailed`, and its text does not leak.
    #[test]
    fn a_panic_becomes_an_error() {
        let error = contain::<()>(|| std::panic::panic_any("secret 4711")).unwrap_err();
        assert_eq!(error.reason, Reason::Panic);
        assert!(!error.message.contains("4711"));
    }
}
