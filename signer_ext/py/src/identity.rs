//! `SigningCertificate` and `SigningIdentity`: opaque handles.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors::detached;

/// The public half of a signing identity: enough to assemble and to verify.
#[pyclass(frozen, module = "passmill._signer")]
pub(crate) struct SigningCertificate {
    pub(crate) inner: Arc<pkpass::SigningCertificate>,
}

#[pymethods]
impl SigningCertificate {
    #[staticmethod]
    fn from_der(
        python: Python<'_>,
        leaf: PyBackedBytes,
        intermediate: PyBackedBytes,
    ) -> PyResult<Self> {
        let inner = detached(python, || {
            pkpass::SigningCertificate::from_der(&leaf, &intermediate).map(Arc::new)
        })?;
        Ok(Self { inner })
    }

    #[getter]
    fn pass_type_identifier(&self) -> &str {
        self.inner.pass_type_identifier()
    }

    #[getter]
    fn team_identifier(&self) -> &str {
        self.inner.team_identifier()
    }

    #[getter]
    fn organization(&self) -> &str {
        self.inner.organization()
    }

    #[getter]
    fn common_name(&self) -> &str {
        self.inner.common_name()
    }

    #[getter]
    fn not_before(&self) -> i64 {
        self.inner.not_before()
    }

    #[getter]
    fn not_after(&self) -> i64 {
        self.inner.not_after()
    }

    #[getter]
    fn serial_number(&self) -> String {
        self.inner.serial_number()
    }

    #[getter]
    fn fingerprint_sha256<'py>(&self, python: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(python, self.inner.fingerprint())
    }

    #[getter]
    fn key_algorithm(&self) -> String {
        self.inner.key_algorithm()
    }

    #[getter]
    fn nfc_capable(&self) -> bool {
        self.inner.is_nfc_capable()
    }

    #[getter]
    fn leaf_der<'py>(&self, python: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(python, self.inner.leaf_der())
    }

    #[getter]
    fn intermediate_der<'py>(&self, python: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(python, self.inner.intermediate_der())
    }

    fn __repr__(&self) -> String {
        format!(
            "<SigningCertificate {} team={} not_after={}>",
            self.inner.pass_type_identifier(),
            self.inner.team_identifier(),
            self.inner.not_after()
        )
    }
}

/// A certificate with its private key, which never becomes a Python object.
#[pyclass(frozen, module = "passmill._signer")]
pub(crate) struct SigningIdentity {
    pub(crate) inner: Arc<pkpass::SigningIdentity>,
}

#[pymethods]
impl SigningIdentity {
    #[staticmethod]
    #[pyo3(signature = (data, *, password, intermediates, now))]
    fn from_pkcs12(
        python: Python<'_>,
        data: PyBackedBytes,
        password: String,
        intermediates: Vec<PyBackedBytes>,
        now: i64,
    ) -> PyResult<Self> {
        let inner = detached(python, || {
            pkpass::SigningIdentity::from_pkcs12(&data, &password, &intermediates, now)
        })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    #[staticmethod]
    #[pyo3(signature = (certificate, private_key, *, password, intermediates, now))]
    fn from_pem(
        python: Python<'_>,
        certificate: PyBackedBytes,
        private_key: PyBackedBytes,
        password: Option<String>,
        intermediates: Vec<PyBackedBytes>,
        now: i64,
    ) -> PyResult<Self> {
        let inner = detached(python, || {
            pkpass::SigningIdentity::from_pem(
                &certificate,
                &private_key,
                password.as_deref(),
                &intermediates,
                now,
            )
        })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    #[staticmethod]
    #[pyo3(signature = (wrapped, *, wrapping_key, certificate, now))]
    fn unwrap(
        python: Python<'_>,
        wrapped: PyBackedBytes,
        wrapping_key: PyBackedBytes,
        certificate: PyRef<'_, SigningCertificate>,
        now: i64,
    ) -> PyResult<Self> {
        let certificate = Arc::clone(&certificate.inner);
        let inner = detached(python, || {
            pkpass::SigningIdentity::unwrap_key(&wrapped, &wrapping_key, certificate, now)
        })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    #[pyo3(signature = (*, wrapping_key))]
    fn wrap<'py>(
        &self,
        python: Python<'py>,
        wrapping_key: PyBackedBytes,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let wrapped = detached(python, || self.inner.wrap(&wrapping_key))?;
        Ok(PyBytes::new(python, &wrapped))
    }

    #[getter]
    fn certificate(&self) -> SigningCertificate {
        SigningCertificate { inner: Arc::clone(self.inner.certificate()) }
    }

    fn __repr__(&self) -> String {
        let certificate = self.inner.certificate();
        format!(
            "<SigningIdentity {} not_after={}>",
            certificate.pass_type_identifier(),
            certificate.not_after()
        )
    }
}
