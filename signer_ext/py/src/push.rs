//! The push engine: threads, pools of connections, and what became of the pushes of a call.

use std::sync::Arc;
use std::time::Duration;

use apns::{Engine, Outcome, Outcomes, Pool, Pushes, Settings, Token};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyList, PySequence, PyString};

use crate::errors::detached;
use crate::identity::SigningIdentity;

/// Longer times are of no use, and some would not fit.
const MOST_SECONDS: f64 = 86_400.0;

/// Threads that any number of pools share.
#[pyclass(frozen, module = "passmill._signer")]
pub(crate) struct PushEngine {
    inner: Engine,
    threads: usize,
}

#[pymethods]
impl PushEngine {
    #[new]
    #[pyo3(signature = (*, threads = 1))]
    fn new(threads: usize) -> PyResult<Self> {
        if !(1..=64).contains(&threads) {
            return Err(PyValueError::new_err("threads must be from 1 to 64"));
        }
        let inner = Engine::start(threads).map_err(PyOSError::new_err)?;
        Ok(Self { inner, threads })
    }

    fn __repr__(&self) -> String {
        format!("<PushEngine threads={}>", self.threads)
    }
}

/// Connections to the push service that show one identity's certificate.
#[pyclass(frozen, module = "passmill._signer")]
pub(crate) struct PushPool {
    inner: Pool,
    pass_type_identifier: String,
}

#[pymethods]
impl PushPool {
    #[new]
    #[pyo3(signature = (
        engine, identity, *, host, port, roots = None, connections = 1, ping_seconds = 15.0,
        connect_seconds = 5.0
    ))]
    #[allow(clippy::too_many_arguments)] // keywords in Python
    fn new(
        engine: &PushEngine,
        identity: &SigningIdentity,
        host: &str,
        port: u16,
        roots: Option<PyBackedBytes>,
        connections: usize,
        ping_seconds: f64,
        connect_seconds: f64,
    ) -> PyResult<Self> {
        if !(1..=64).contains(&connections) {
            return Err(PyValueError::new_err("connections must be from 1 to 64"));
        }
        let settings = Settings {
            host,
            port,
            roots: roots.as_deref(),
            connections,
            ping_after: duration("ping_seconds", ping_seconds)?,
            connect_within: duration("connect_seconds", connect_seconds)?,
        };
        let inner = Pool::new(&engine.inner, Arc::clone(&identity.inner), &settings)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let pass_type_identifier = identity.inner.certificate().pass_type_identifier().to_owned();
        Ok(Self { inner, pass_type_identifier })
    }

    #[pyo3(signature = (tokens, *, topic, expiration, deadline_seconds, attempts = 8))]
    fn push_many(
        &self,
        python: Python<'_>,
        tokens: &Bound<'_, PySequence>,
        topic: &str,
        expiration: i64,
        deadline_seconds: f64,
        attempts: u8,
    ) -> PyResult<PushOutcomes> {
        let within = duration("deadline_seconds", deadline_seconds)?;
        let held = texts(tokens)?;
        let outcomes = detached(python, || {
            let tokens = held.iter().map(|token| Token(token));
            let pushes = Pushes::new(tokens, topic, expiration, within, attempts);
            Ok(pushes.and_then(|pushes| self.inner.push_many(pushes)))
        })?;
        let outcomes = outcomes.map_err(|error| PyValueError::new_err(error.to_string()))?;
        PushOutcomes::new(python, outcomes)
    }

    fn close(&self, python: Python<'_>) {
        python.detach(|| self.inner.close());
    }

    #[getter]
    fn requests(&self) -> u64 {
        self.inner.counters().requests
    }

    #[getter]
    fn connections(&self) -> u64 {
        self.inner.counters().connections
    }

    fn __repr__(&self) -> String {
        let counters = self.inner.counters();
        format!(
            "<PushPool {} requests={} connections={}>",
            self.pass_type_identifier, counters.requests, counters.connections
        )
    }
}

/// What became of the pushes of a call.
#[pyclass(frozen, get_all, module = "passmill._signer")]
pub(crate) struct PushOutcomes {
    statuses: Py<PyBytes>,
    details: Py<PyList>,
}

impl PushOutcomes {
    fn new(python: Python<'_>, outcomes: Outcomes) -> PyResult<Self> {
        let mut statuses = vec![0_u8; outcomes.pushes];
        let mut details = Vec::with_capacity(outcomes.others.len());
        for (index, outcome) in outcomes.others {
            let (code, status, reason, at_ms) = match &outcome {
                Outcome::Accepted => (0, 200, "", 0),
                Outcome::Rejected { status, reason } => (1, *status, reason.as_str(), 0),
                Outcome::Invalidated { at_ms, reason } => (2, 410, reason.as_str(), *at_ms),
                Outcome::Unreachable { cause } => (3, 0, cause.token(), 0),
            };
            if let Some(place) = statuses.get_mut(index) {
                *place = code;
            }
            // A few dozen reasons, each kept once however many pushes have it.
            let reason = PyString::intern(python, reason);
            details.push((index, status, reason, at_ms).into_pyobject(python)?);
        }
        Ok(Self {
            statuses: PyBytes::new(python, &statuses).unbind(),
            details: PyList::new(python, details)?.unbind(),
        })
    }
}

#[pymethods]
impl PushOutcomes {
    fn __len__(&self, python: Python<'_>) -> usize {
        self.statuses.as_bytes(python).len()
    }

    fn __repr__(&self, python: Python<'_>) -> String {
        let others = self.details.bind(python).len();
        format!("<PushOutcomes accepted={} others={others}>", self.__len__(python) - others)
    }
}

/// The tokens, held; the error names the place and not the token.
fn texts(tokens: &Bound<'_, PySequence>) -> PyResult<Vec<PyBackedStr>> {
    let mut held = Vec::with_capacity(tokens.len()?);
    for token in tokens.try_iter()? {
        let text = token?.extract::<PyBackedStr>();
        held.push(
            text.map_err(|_| PyValueError::new_err(format!("token {} is not a text", held.len())))?,
        );
    }
    Ok(held)
}

fn duration(name: &str, seconds: f64) -> PyResult<Duration> {
    if seconds > 0.0 && seconds <= MOST_SECONDS {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(PyValueError::new_err(format!("{name} must be above 0 and at most a day")))
}
