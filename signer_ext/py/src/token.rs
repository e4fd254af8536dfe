//! Sign-up tokens.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors::detached;
use crate::identity::SigningIdentity;

#[pyfunction]
#[pyo3(signature = (identity, token, *, signing_time))]
pub(crate) fn sign_token<'py>(
    python: Python<'py>,
    identity: &SigningIdentity,
    token: PyBackedBytes,
    signing_time: i64,
) -> PyResult<Bound<'py, PyBytes>> {
    let cms = detached(python, || pkpass::sign_token(&identity.inner, &token, signing_time))?;
    Ok(PyBytes::new(python, &cms))
}
