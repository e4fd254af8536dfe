//! The threads that all pools of a process share.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

/// Threads for looking names up, which may hang.
const LOOKUP_THREADS: usize = 4;

/// A few threads that drive connections. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Engine {
    threads: Arc<Threads>,
}

struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waits for nobody: a name that is being looked up may take its time.
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Starts the threads; at least one. [`io::Error`] when the system gives none.
    pub fn start(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .max_blocking_threads(LOOKUP_THREADS)
            .thread_name("passmill-push")
            .enable_io()
            .enable_time()
            .build()?;
        Ok(Self { threads: Arc::new(Threads(Some(runtime))) })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.threads.0 {
            drop(runtime.spawn(task));
        }
    }
}
