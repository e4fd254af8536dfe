//! One open connection: sends what there is to send while streams are free, hears the answers, and
//! finds out when nobody is there any more. One task drives all of it; no push has a task or a
//! timer of its own.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream};
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::time::{Sleep, sleep_until};

use crate::dial::Dialed;
use crate::flight::Flight;
use crate::outcome::Cause;
use crate::pool::{Shared, Work};
use crate::wire::{Heard, Wire};

/// Streams at a time where the service allows more: enough to keep the line busy.
const MOST_FLIGHTS: usize = 1000;
/// A ping is answered within this time, or the connection is dead.
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// Silence that is borne while pushes wait for answers, and a pong that is late: no further pushes are
/// trusted to the connection before it comes.
const MOST_SUSPENSE: Duration = Duration::from_secs(2);
/// How often flights and the connection's silence are looked at.
const MOST_TICK: Duration = Duration::from_secs(1);
const LEAST_TICK: Duration = Duration::from_millis(20);
/// Before what is due already is looked at.
const SOON: Duration = Duration::from_millis(1);
/// How long a connection that is no longer wanted may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It broke.
    Lost(Cause),
    /// It takes no more pushes, but may answer those on their way.
    Retired(Cause),
    /// The pool was closed.
    Closed,
}

/// An open connection.
pub(crate) struct Link {
    pool: Arc<Shared>,
    slot: usize,
    send: SendRequest<Bytes>,
    connection: Connection<Wire, Bytes>,
    flights: FuturesUnordered<Flight>,
    life: Life,
    retired: Option<Cause>,
    /// When the next push is due that is sent again.
    waiting: Option<Instant>,
    /// Calls of the pool that had ended when flights were last looked through.
    swept: u64,
    tick: Pin<Box<Sleep>>,
    /// When `tick` is due.
    due: Instant,
    pub(crate) opened: Instant,
    pub(crate) answered: u64,
}

impl Link {
    pub(crate) fn new(dialed: Dialed, pool: Arc<Shared>, slot: usize) -> Self {
        let Dialed { send, mut connection, heard } = dialed;
        let now = Instant::now();
        let life = Life {
            bytes: heard.bytes(),
            heard,
            heard_at: now,
            ping: connection.ping_pong(),
            pinged_at: None,
            idle: pool.ping_after,
        };
        let due = now + LEAST_TICK;
        Self {
            pool,
            slot,
            send,
            connection,
            flights: FuturesUnordered::new(),
            life,
            retired: None,
            waiting: None,
            swept: 0,
            tick: Box::pin(sleep_until(due.into())),
            due,
            opened: now,
            answered: 0,
        }
    }

    /// Drives the connection until it is lost, retired or no longer wanted.
    pub(crate) async fn serve(&mut self) -> End {
        let end = poll_fn(|context| self.poll(context)).await;
        if let End::Lost(cause) = end {
            self.give_back(cause);
        }
        end
    }

    /// Waits for the answers of a retired connection; no push is sent on it any more.
    pub(crate) async fn drain(mut self) {
        let lost = poll_fn(|context| match self.poll_once(context) {
            Poll::Ready(cause) => Poll::Ready(Some(cause)),
            Poll::Pending if self.flights.is_empty() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match lost {
            Some(cause) => self.give_back(cause),
            None => self.say_goodbye().await,
        }
    }

    /// Closes the connection in good order.
    pub(crate) async fn say_goodbye(self) {
        let Self { send, mut connection, flights, .. } = self;
        drop((send, flights));
        let goodbye = poll_fn(|context| Pin::new(&mut connection).poll(context));
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        self.pool.listen(self.slot, context.waker());
        loop {
            if self.pool.is_closed() {
                return Poll::Ready(End::Closed);
            }
            // Answers first: they free streams.
            self.land(context);
            self.fill(context);
            let streams = self.most_flights();
            if let Poll::Ready(cause) = self.poll_once(context) {
                return Poll::Ready(End::Lost(cause));
            }
            if let Some(cause) = self.retired {
                return Poll::Ready(End::Retired(cause));
            }
            // The service may have allowed more streams just now.
            if self.most_flights() <= streams {
                return Poll::Pending;
            }
        }
    }

    /// Answers, then the wire, then the time; ready when the connection is lost.
    fn poll_once(&mut self, context: &mut Context<'_>) -> Poll<Cause> {
        self.land(context);
        if Pin::new(&mut self.connection).poll(context).is_ready() {
            // What came before the end still counts.
            self.land(context);
            return Poll::Ready(self.cause());
        }
        self.poll_tick(context)
    }

    /// Sends while there is something to send and a stream for it.
    fn fill(&mut self, context: &mut Context<'_>) {
        let streams = self.most_flights();
        if self.retired.is_some() || self.flights.len() >= streams {
            return;
        }
        let now = Instant::now();
        if self.life.is_suspect(now) {
            return;
        }
        let was_empty = self.flights.is_empty();
        let mut sent = 0;
        self.waiting = None;
        while self.flights.len() < streams {
            match self.send.poll_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    self.retired = Some(Cause::GoAway);
                    break;
                }
                Poll::Pending => break,
            }
            match self.pool.next(now) {
                Work::Push(job) => {
                    sent += 1;
                    let authority = &self.pool.authority;
                    self.flights.push(Flight::launch(job, &mut self.send, authority, now));
                }
                Work::Later(at) => {
                    self.waiting = Some(at);
                    self.tick_by(at);
                    break;
                }
                Work::Nothing => break,
            }
        }
        self.pool.count_requests(sent);
        if was_empty && sent > 0 {
            self.tick_by(now + self.life.tick());
        }
    }

    fn land(&mut self, context: &mut Context<'_>) {
        let mut again = false;
        let mut answered = 0;
        while let Poll::Ready(Some(landed)) = Pin::new(&mut self.flights).poll_next(context) {
            answered += u64::from(landed.answered);
            again |= landed.again;
            if landed.retire {
                self.retired = Some(Cause::GoAway);
            }
        }
        if answered > 0 {
            self.answered += answered;
            self.pool.answered();
        }
        if again {
            // A connection that is no longer used may be the one that heard of it.
            self.pool.wake_others(self.slot, self.retired.is_some());
        }
    }

    fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<Cause> {
        if self.life.poll_pong(context).is_err() {
            return Poll::Ready(self.cause());
        }
        let ended = self.pool.ended_calls();
        if ended != self.swept {
            self.swept = ended;
            self.sweep();
        }
        while self.tick.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            self.sweep();
            match self.life.judge(now, !self.flights.is_empty()) {
                Some(next) => self.tick_at(now + next),
                None => return Poll::Ready(Cause::Timeout),
            }
            if let Some(at) = self.waiting {
                // One that fell due meanwhile is not slept over.
                self.tick_by(at.max(now + SOON));
            }
        }
        Poll::Pending
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        for flight in &mut self.flights {
            flight.cancel_if_stale(now);
        }
    }

    fn give_back(&mut self, cause: Cause) {
        for flight in &mut self.flights {
            flight.give_back(cause, false);
        }
        self.flights.clear();
        self.pool.wake_others(self.slot, true);
    }

    fn most_flights(&self) -> usize {
        self.send.current_max_send_streams().min(MOST_FLIGHTS)
    }

    fn cause(&self) -> Cause {
        self.life.heard.cause().unwrap_or(Cause::Reset)
    }

    fn tick_by(&mut self, at: Instant) {
        if at < self.due {
            self.tick_at(at);
        }
    }

    fn tick_at(&mut self, at: Instant) {
        self.due = at;
        self.tick.as_mut().reset(at.into());
    }
}

/// Whether somebody is still there.
struct Life {
    heard: Arc<Heard>,
    /// Of `heard`, when it was last looked at, and when it last had grown.
    bytes: u64,
    heard_at: Instant,
    ping: Option<PingPong>,
    pinged_at: Option<Instant>,
    /// Silence after which a ping is sent.
    idle: Duration,
}

impl Life {
    fn tick(&self) -> Duration {
        (self.idle / 4).clamp(LEAST_TICK, MOST_TICK)
    }

    fn suspense(&self) -> Duration {
        (self.idle / 3).min(MOST_SUSPENSE)
    }

    /// Whether the connection may be dead: its pong is late.
    fn is_suspect(&self, now: Instant) -> bool {
        self.pinged_at.is_some_and(|at| {
            now.saturating_duration_since(at) >= self.suspense() && self.heard.bytes() == self.bytes
        })
    }

    fn poll_pong(&mut self, context: &mut Context<'_>) -> Result<(), h2::Error> {
        let Some(ping) = self.pinged_at.and(self.ping.as_mut()) else { return Ok(()) };
        if let Poll::Ready(pong) = ping.poll_pong(context) {
            pong?;
            self.pinged_at = None;
            self.heard_at = Instant::now();
            // Pushes may have been held back for it.
            context.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Looks whether anything came, and pings after silence: sooner while pushes wait for answers.
    /// When to look again, at each tick while pushes wait; none when the connection is dead.
    fn judge(&mut self, now: Instant, busy: bool) -> Option<Duration> {
        let bytes = self.heard.bytes();
        if bytes != self.bytes {
            self.bytes = bytes;
            self.heard_at = now;
        }
        let silence = now.saturating_duration_since(self.heard_at);
        let bearable = if busy { self.suspense() } else { self.idle };
        let rest = match self.pinged_at {
            Some(at) => {
                let since = now.saturating_duration_since(at);
                let rest = PONG_WITHIN.min(self.idle).saturating_sub(since);
                // Anything that came since is as good as a pong.
                if rest.is_zero() && silence >= since {
                    return None;
                }
                rest
            }
            None if silence >= bearable => {
                if let Some(ping) = &mut self.ping
                    && ping.send_ping(Ping::opaque()).is_ok()
                {
                    self.pinged_at = Some(now);
                }
                self.tick()
            }
            None => bearable.saturating_sub(silence),
        };
        let most = if busy { self.tick() } else { rest };
        Some(rest.min(most).max(LEAST_TICK))
    }
}
