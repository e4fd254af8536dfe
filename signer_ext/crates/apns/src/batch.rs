//! One call's pushes, shared by the caller, who waits, and the connections, which send.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::outcome::{Cause, Outcomes};
use crate::progress::{Landing, Next, Progress};
use crate::pushes::Pushes;

pub(crate) struct Batch {
    pub(crate) pushes: Pushes,
    deadline: Instant,
    progress: Mutex<Progress>,
    all_ended: Condvar,
    over: AtomicBool,
}

impl Batch {
    pub(crate) fn new(pushes: Pushes, now: Instant) -> Self {
        let deadline = now + pushes.within;
        let mut progress =
            Progress::new(pushes.len(), pushes.attempts, now, pushes.within, fastrand::Rng::new());
        for index in (0..pushes.len()).filter(|index| pushes.path(*index).is_none()) {
            progress.refuse_token(index);
        }
        Self {
            pushes,
            deadline,
            over: AtomicBool::new(progress.left() == 0),
            progress: Mutex::new(progress),
            all_ended: Condvar::new(),
        }
    }

    /// How long an answer is waited for before the push is sent again: thrice within the deadline.
    pub(crate) fn patience(&self) -> Duration {
        self.pushes.within / 3
    }

    /// Whether every push has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(crate) fn next(&self, now: Instant) -> Next {
        self.lock().next(now)
    }

    /// When there is something to send, for one who takes nothing.
    pub(crate) fn waiting(&self) -> Option<Instant> {
        self.lock().waiting()
    }

    /// Notes what came of a push; whether it is to be sent again.
    pub(crate) fn land(&self, index: usize, landing: Landing, now: Instant) -> bool {
        let mut progress = self.lock();
        let again = progress.land(index, landing, now);
        self.ring(&progress);
        again
    }

    /// Ends all pushes that have not: see [`Progress::give_up`].
    pub(crate) fn give_up(&self, cause: Cause) {
        let mut progress = self.lock();
        progress.give_up(cause);
        self.ring(&progress);
    }

    /// Blocks until every push has ended, or its deadline; whether they all have.
    pub(crate) fn wait(&self) -> bool {
        let mut progress = self.lock();
        while progress.left() > 0 {
            let Some(rest) = self.deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            let waited = self.all_ended.wait_timeout(progress, rest);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) fn take_outcomes(&self) -> Outcomes {
        self.lock().take_outcomes()
    }

    fn ring(&self, progress: &Progress) {
        if progress.left() == 0 {
            self.over.store(true, Ordering::Release);
            self.all_ended.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
