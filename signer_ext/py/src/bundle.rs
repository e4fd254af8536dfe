//! Revisions and the acts on them: sign, assemble, seal, pack, read.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;

use pkpass::{Backend, Bundle, Document, Unsigned, Workers};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyMapping};

use crate::errors::detached;
use crate::identity::{SigningCertificate, SigningIdentity};

/// A template revision's fixed files, checked, hashed and zip-framed once.
#[pyclass(frozen, module = "passmill._signer")]
pub(crate) struct PreparedRevision {
    inner: pkpass::PreparedRevision,
}

#[pymethods]
impl PreparedRevision {
    #[new]
    fn new(
        python: Python<'_>,
        files: &Bound<'_, PyMapping>,
        document: PyBackedStr,
    ) -> PyResult<Self> {
        let mut held: Vec<(PyBackedStr, PyBackedBytes)> = Vec::new();
        for item in files.items()?.iter() {
            held.push(item.extract()?);
        }
        let inner = detached(python, || {
            let document = Document::from_json(document.as_bytes())?;
            let files = held.iter().map(|(name, data)| (&**name, &**data));
            pkpass::PreparedRevision::new(files, document)
        })?;
        Ok(Self { inner })
    }

    #[getter]
    fn names(&self) -> Vec<&str> {
        self.inner.names().iter().map(String::as_str).collect()
    }

    #[getter]
    fn content_bytes(&self) -> usize {
        self.inner.content_bytes()
    }

    #[getter]
    fn kept_bytes(&self) -> usize {
        self.inner.content_bytes() + self.inner.document().kept_bytes()
    }

    fn __repr__(&self) -> String {
        format!(
            "<PreparedRevision files={} bytes={}>",
            self.inner.names().len(),
            self.inner.content_bytes()
        )
    }
}

/// Signatures that this process computed wrongly and made again: a property of the machine, so of
/// no handle.
static REPAIRED: AtomicU64 = AtomicU64::new(0);

/// What makes a pass panic: never set but in processes that tests start.
static PANIC_ON: OnceLock<Vec<u8>> = OnceLock::new();

/// What to sign, and who signs it.
struct Batch<'a> {
    passes: Vec<Unsigned<'a>>,
    workers: Workers<'a>,
}

impl<'a> Batch<'a> {
    fn new(
        python: Python<'_>,
        pass_data: &'a [u8],
        signing_times: &[i64],
        threads: Option<usize>,
        portable: bool,
    ) -> PyResult<Self> {
        let lines = python.detach(|| pkpass::lines(pass_data));
        if lines.len() != signing_times.len() {
            return Err(PyValueError::new_err(format!(
                "{} lines of pass_data, but {} signing_times",
                lines.len(),
                signing_times.len()
            )));
        }
        let unsigned = |(line, &signing_time)| Unsigned { line, signing_time };
        let passes = lines.into_iter().zip(signing_times).map(unsigned).collect();
        let threads = match threads {
            Some(count) => NonZeroUsize::new(count)
                .ok_or_else(|| PyValueError::new_err("threads must be at least 1"))?,
            None => available_parallelism().unwrap_or(NonZeroUsize::MIN),
        };
        let backend = if portable { Backend::Portable } else { Backend::Auto };
        let panic_on = PANIC_ON.get().map(Vec::as_slice);
        Ok(Self { passes, workers: Workers { threads, backend, repaired: &REPAIRED, panic_on } })
    }
}

#[pyfunction]
pub(crate) fn render<'py>(
    python: Python<'py>,
    revision: &PreparedRevision,
    pass_data: PyBackedBytes,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let rendered =
        detached(python, || pkpass::render::render(revision.inner.document(), &pass_data))?;
    Ok(to_column(python, rendered))
}

/// One stored column of a batch.
type Column<'py> = Vec<Bound<'py, PyBytes>>;

#[pyfunction]
#[pyo3(signature = (
    revision, pass_data, identity, signing_times, *, threads = None, portable = false
))]
pub(crate) fn sign_batch<'py>(
    python: Python<'py>,
    revision: &PreparedRevision,
    pass_data: PyBackedBytes,
    identity: &SigningIdentity,
    signing_times: Vec<i64>,
    threads: Option<usize>,
    portable: bool,
) -> PyResult<(Column<'py>, Column<'py>)> {
    let batch = Batch::new(python, &pass_data, &signing_times, threads, portable)?;
    let signed = detached(python, || {
        pkpass::sign_batch(&revision.inner, &batch.passes, &identity.inner, batch.workers)
    })?;
    let (digests, signatures): (Vec<_>, Vec<_>) =
        signed.into_iter().map(|signed| (signed.digest, signed.signature)).unzip();
    Ok((to_column(python, digests), to_column(python, signatures)))
}

fn to_column(python: Python<'_>, items: Vec<impl AsRef<[u8]>>) -> Column<'_> {
    items.into_iter().map(|item| PyBytes::new(python, item.as_ref())).collect()
}

#[pyfunction]
pub(crate) fn panic_on(mark: PyBackedBytes) -> PyResult<()> {
    PANIC_ON
        .set(mark.to_vec())
        .map_err(|_| PyValueError::new_err("this process has its mark already"))
}

#[pyfunction]
pub(crate) fn repaired_signatures() -> u64 {
    REPAIRED.load(Ordering::Relaxed)
}

#[pyfunction]
#[pyo3(signature = (revision, pass_data, certificate, *, signing_time, digest, signature))]
pub(crate) fn assemble<'py>(
    python: Python<'py>,
    revision: &PreparedRevision,
    pass_data: PyBackedBytes,
    certificate: &SigningCertificate,
    signing_time: i64,
    digest: PyBackedBytes,
    signature: PyBackedBytes,
) -> PyResult<Bound<'py, PyBytes>> {
    let &[line] = pkpass::lines(&pass_data).as_slice() else {
        return Err(PyValueError::new_err("pass_data must be one line"));
    };
    let bundle = detached(python, || {
        let pass = Unsigned { line, signing_time };
        pkpass::assemble(&revision.inner, pass, &certificate.inner, &digest, &signature)
    })?;
    to_bytes(python, &bundle)
}

#[pyfunction]
#[pyo3(signature = (
    revision, pass_data, identity, signing_times, *, threads = None, portable = false
))]
pub(crate) fn seal(
    python: Python<'_>,
    revision: &PreparedRevision,
    pass_data: PyBackedBytes,
    identity: &SigningIdentity,
    signing_times: Vec<i64>,
    threads: Option<usize>,
    portable: bool,
) -> PyResult<Vec<Py<PyBytes>>> {
    let batch = Batch::new(python, &pass_data, &signing_times, threads, portable)?;
    // Copied while others sign: at the end, one thread would copy alone.
    let deliver = |bundles: Vec<Bundle<'_>>| {
        Python::attach(|python| {
            let deliver = |bundle| to_bytes(python, bundle).map(Bound::unbind);
            bundles.iter().map(deliver).collect()
        })
    };
    let sealed: Vec<PyResult<Py<PyBytes>>> = detached(python, || {
        pkpass::seal(&revision.inner, &batch.passes, &identity.inner, batch.workers, deliver)
    })?;
    sealed.into_iter().collect()
}

/// Copies a bundle's two pieces straight into the Python object.
fn to_bytes<'py>(python: Python<'py>, bundle: &Bundle<'_>) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(python, bundle.len(), |out| {
        bundle.copy_to(out);
        Ok(())
    })
}

#[pyfunction]
pub(crate) fn pack_passes(
    python: Python<'_>,
    bundles: Vec<PyBackedBytes>,
) -> PyResult<Bound<'_, PyBytes>> {
    let packed = detached(python, || pkpass::pack_passes(&bundles))?;
    Ok(PyBytes::new(python, &packed))
}

#[pyfunction]
pub(crate) fn inspect_png(python: Python<'_>, data: PyBackedBytes) -> PyResult<(u32, u32)> {
    let size = detached(python, || pkpass::png::inspect(&data))?;
    Ok((size.width, size.height))
}

/// A verified bundle, taken apart.
#[pyclass(frozen, get_all, module = "passmill._signer")]
pub(crate) struct BundleReport {
    pass_json: Py<PyBytes>,
    files: BTreeMap<String, Py<PyBytes>>,
    manifest: Py<PyBytes>,
    cms: Py<PyBytes>,
    certificate: Py<SigningCertificate>,
    signing_time: i64,
}

#[pyfunction]
#[pyo3(signature = (data, *, root))]
pub(crate) fn read_bundle(
    python: Python<'_>,
    data: PyBackedBytes,
    root: PyBackedBytes,
) -> PyResult<BundleReport> {
    let report = detached(python, || pkpass::read_bundle(&data, &root))?;
    let bytes = |content: &[u8]| PyBytes::new(python, content).unbind();
    Ok(BundleReport {
        pass_json: bytes(report.pass_json),
        files: report
            .files
            .into_iter()
            .map(|(name, content)| (name.to_owned(), bytes(content)))
            .collect(),
        manifest: bytes(report.manifest),
        cms: bytes(report.cms),
        certificate: Py::new(python, SigningCertificate { inner: Arc::new(report.certificate) })?,
        signing_time: report.signing_time,
    })
}
