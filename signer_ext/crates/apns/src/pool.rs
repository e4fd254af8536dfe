//! The connections of one signing identity, and the calls that they serve.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use http::uri::Authority;
use pkpass::SigningIdentity;
use tokio::time::sleep_until;

use crate::backoff::Backoff;
use crate::batch::Batch;
use crate::dial::Endpoint;
use crate::engine::Engine;
use crate::flight::Job;
use crate::link::{End, Link};
use crate::outcome::{Cause, Outcomes};
use crate::progress::Next;
use crate::pushes::Pushes;
use crate::tls::{SetupError, client_config};

/// Refusals of TLS in a row, with no connection open, after which all pushes are given up: one
/// alone may be a fault.
const REFUSALS: u32 = 2;

const AFTER_DEFECT: Duration = Duration::from_secs(2);

/// Where a pool connects to, and how.
pub struct Settings<'a> {
    /// A DNS name or an IP address.
    pub host: &'a str,
    /// 443 or 2197 at Apple's.
    pub port: u16,
    /// Trusted certificates as PEM; without, the public ones.
    pub roots: Option<&'a [u8]>,
    /// Connections at most; they are opened when there is something to push.
    pub connections: usize,
    /// Silence after which a connection is pinged.
    pub ping_after: Duration,
    /// The longest that opening a connection may take.
    pub connect_within: Duration,
}

/// What a pool has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Requests sent, repeated ones too.
    pub requests: u64,
    /// Connections opened.
    pub connections: u64,
}

/// Connections to the push service that all show one identity's certificate.
pub struct Pool {
    shared: Arc<Shared>,
    _engine: Engine,
}

impl Pool {
    /// Prepares a pool on the engine's threads; it connects when there is something to push.
    pub fn new(
        engine: &Engine,
        identity: Arc<SigningIdentity>,
        settings: &Settings<'_>,
    ) -> Result<Self, SetupError> {
        let tls = client_config(identity, settings.roots)?;
        let endpoint = Endpoint::new(settings.host, settings.port, tls, settings.connect_within)?;
        let authority = Authority::try_from(endpoint.authority()).map_err(|_| SetupError::Host)?;
        let slots = settings.connections.max(1);
        let shared = Arc::new(Shared {
            endpoint,
            authority,
            ping_after: settings.ping_after,
            calls: Mutex::new(VecDeque::new()),
            slots: (0..slots).map(|_| AtomicWaker::new()).collect(),
            last_failure: Mutex::new(None),
            open: AtomicUsize::new(0),
            refusals: AtomicU32::new(0),
            ended_calls: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        for slot in 0..slots {
            engine.spawn(keep_slot(Arc::clone(&shared), slot));
        }
        Ok(Self { shared, _engine: engine.clone() })
    }

    /// Sends all pushes; blocks until each has ended, at the latest by the call's deadline.
    ///
    /// Several calls take turns. [`SetupError::Closed`] when the pool is.
    pub fn push_many(&self, pushes: Pushes) -> Result<Outcomes, SetupError> {
        let call = Arc::new(Batch::new(pushes, Instant::now()));
        self.shared.admit(&call)?;
        if !call.wait() {
            call.give_up(self.shared.last_failure().unwrap_or(Cause::Timeout));
        }
        self.shared.dismiss(&call);
        Ok(call.take_outcomes())
    }

    /// What the pool has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            requests: self.shared.requests.load(Ordering::Relaxed),
            connections: self.shared.connections.load(Ordering::Relaxed),
        }
    }

    /// Ends what is being pushed as unreachable, and closes the connections. Blocks for nothing.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a connection is to do next.
pub(crate) enum Work {
    Push(Job),
    Later(Instant),
    Nothing,
}

/// What a pool's connections and callers share.
pub(crate) struct Shared {
    endpoint: Endpoint,
    pub(crate) authority: Authority,
    pub(crate) ping_after: Duration,
    calls: Mutex<VecDeque<Arc<Batch>>>,
    /// What wakes the task of each slot.
    slots: Vec<AtomicWaker>,
    last_failure: Mutex<Option<Cause>>,
    /// Connections that are open now.
    open: AtomicUsize,
    refusals: AtomicU32,
    ended_calls: AtomicU64,
    requests: AtomicU64,
    connections: AtomicU64,
    closed: AtomicBool,
}

impl Shared {
    /// Takes the next push. Calls take turns, so that a small one need not wait for a large one.
    pub(crate) fn next(&self, now: Instant) -> Work {
        let mut calls = lock(&self.calls);
        let mut earliest: Option<Instant> = None;
        for _ in 0..calls.len() {
            let Some(call) = calls.front() else { break };
            let next = call.next(now);
            let work = match next {
                Next::Push(index) => Some(Work::Push(Job { batch: Arc::clone(call), index })),
                Next::Later(at) => {
                    earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
                    None
                }
                Next::Nothing => None,
            };
            calls.rotate_left(1);
            if let Some(work) = work {
                return work;
            }
        }
        earliest.map_or(Work::Nothing, Work::Later)
    }

    /// When there is something to send: the past, when there is now. Takes nothing.
    pub(crate) fn next_waiting(&self) -> Option<Instant> {
        lock(&self.calls).iter().filter_map(|call| call.waiting()).min()
    }

    pub(crate) fn listen(&self, slot: usize, waker: &Waker) {
        if let Some(listener) = self.slots.get(slot) {
            listener.register(waker);
        }
    }

    /// Wakes the other slots, or all.
    pub(crate) fn wake_others(&self, slot: usize, own: bool) {
        for (number, listener) in self.slots.iter().enumerate() {
            if own || number != slot {
                listener.wake();
            }
        }
    }

    pub(crate) fn count_requests(&self, count: u64) {
        self.requests.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self) {
        self.refusals.store(0, Ordering::Relaxed);
    }

    pub(crate) fn ended_calls(&self) -> u64 {
        self.ended_calls.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn admit(&self, call: &Arc<Batch>) -> Result<(), SetupError> {
        let mut calls = lock(&self.calls);
        // Under the lock, so that closing sees each call that was let in.
        if self.is_closed() {
            return Err(SetupError::Closed);
        }
        calls.push_back(Arc::clone(call));
        drop(calls);
        self.wake_others(0, true);
        Ok(())
    }

    fn dismiss(&self, call: &Arc<Batch>) {
        lock(&self.calls).retain(|other| !Arc::ptr_eq(other, call));
        self.ended_calls.fetch_add(1, Ordering::Release);
        self.wake_others(0, true);
    }

    fn close(&self) {
        let calls = lock(&self.calls);
        self.closed.store(true, Ordering::Release);
        for call in calls.iter() {
            call.give_up(Cause::Closed);
        }
        drop(calls);
        self.wake_others(0, true);
    }

    fn last_failure(&self) -> Option<Cause> {
        *lock(&self.last_failure)
    }

    /// Notes that a connection stands, until what is given back is dropped.
    fn connected(&self) -> Standing<'_> {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.connections.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_failure) = None;
        Standing(self)
    }

    /// Notes that a connection failed. When TLS is refused again and again, waiting will not help:
    /// all pushes are given up.
    fn failed(&self, cause: Cause) {
        *lock(&self.last_failure) = Some(cause);
        if cause != Cause::Tls {
            return;
        }
        let refusals = self.refusals.fetch_add(1, Ordering::AcqRel) + 1;
        if refusals >= REFUSALS && self.open.load(Ordering::Acquire) == 0 {
            for call in lock(&self.calls).iter() {
                call.give_up(cause);
            }
        }
    }
}

/// A connection that stands.
struct Standing<'a>(&'a Shared);

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a slot going: a defect costs the connection it was met on, and not the pool.
async fn keep_slot(pool: Arc<Shared>, slot: usize) {
    while tokio::spawn(keep_connected(Arc::clone(&pool), slot)).await.is_err_and(|it| it.is_panic())
    {
        pool.failed(Cause::Protocol);
        wait_until(&pool, slot, Instant::now() + AFTER_DEFECT).await;
    }
}

/// A slot's life: waits for pushes, connects, serves, and connects again.
async fn keep_connected(pool: Arc<Shared>, slot: usize) {
    let mut backoff = Backoff::default();
    let mut random = fastrand::Rng::new();
    while wait_for_work(&pool, slot).await {
        match pool.endpoint.dial().await {
            Err(cause) => {
                backoff.failed();
                pool.failed(cause);
            }
            Ok(dialed) => {
                let standing = pool.connected();
                let mut link = Link::new(dialed, Arc::clone(&pool), slot);
                let end = link.serve().await;
                backoff.ended(link.opened.elapsed(), link.answered);
                drop(standing);
                match end {
                    End::Lost(cause) => pool.failed(cause),
                    End::Retired(cause) => {
                        pool.failed(cause);
                        drop(tokio::spawn(link.drain()));
                    }
                    End::Closed => link.say_goodbye().await,
                }
            }
        }
        wait_until(&pool, slot, Instant::now() + backoff.delay(&mut random)).await;
    }
}

/// Waits until there is something to send; false when the pool is closed.
async fn wait_for_work(pool: &Shared, slot: usize) -> bool {
    let mut sleep = pin!(sleep_until(Instant::now().into()));
    poll_fn(|context| {
        pool.listen(slot, context.waker());
        if pool.is_closed() {
            return Poll::Ready(false);
        }
        let Some(at) = pool.next_waiting() else { return Poll::Pending };
        sleep.as_mut().reset(at.into());
        sleep.as_mut().poll(context).map(|()| true)
    })
    .await
}

/// Waits, but not when the pool is closed.
async fn wait_until(pool: &Shared, slot: usize, at: Instant) {
    let mut sleep = pin!(sleep_until(at.into()));
    poll_fn(|context| {
        pool.listen(slot, context.waker());
        if pool.is_closed() { Poll::Ready(()) } else { sleep.as_mut().poll(context) }
    })
    .await;
}
