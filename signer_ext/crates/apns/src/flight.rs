//! One push on its way: from the request to the end of its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{Method, Request, StatusCode, Uri};

use crate::batch::Batch;
use crate::outcome::Cause;
use crate::progress::Landing;
use crate::refusal::{MOST_BODY_BYTES, Refusal};

/// An empty JSON object: there is nothing to say but that something changed.
const BODY: Bytes = Bytes::from_static(b"{}");

/// A push that a connection has to send.
pub(crate) struct Job {
    pub(crate) batch: Arc<Batch>,
    pub(crate) index: usize,
}

impl Job {
    pub(crate) fn land(&self, landing: Landing) -> bool {
        self.batch.land(self.index, landing, Instant::now())
    }
}

/// What a connection is to know when a push came to its end on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Landed {
    /// The service answered.
    pub(crate) answered: bool,
    /// The push is to be sent again.
    pub(crate) again: bool,
    /// The service wants a new connection.
    pub(crate) retire: bool,
}

enum Stage {
    Waiting(ResponseFuture),
    Reading {
        refusal: Refusal,
        body: RecvStream,
        read: Vec<u8>,
    },
    /// Accepted; what else comes is let go by.
    Draining {
        body: RecvStream,
        read: usize,
    },
    Done(Landed),
}

/// A push on its way. Dropped before its end, it resets its stream.
pub(crate) struct Flight {
    job: Job,
    stage: Stage,
    since: Instant,
    waker: Option<Waker>,
}

impl Flight {
    /// Sends a push. A stream is free: `send` said that it is ready.
    pub(crate) fn launch(
        job: Job,
        send: &mut SendRequest<Bytes>,
        authority: &http::uri::Authority,
        now: Instant,
    ) -> Self {
        let stage = match request(&job, authority).map(|request| send.send_request(request, false))
        {
            Some(Ok((response, mut stream))) => match stream.send_data(BODY, true) {
                Ok(()) => Stage::Waiting(response),
                Err(error) => Stage::Done(unanswered(&job, &error)),
            },
            Some(Err(error)) => Stage::Done(unanswered(&job, &error)),
            None => Stage::Done(lost(&job, Cause::Protocol, true, true)),
        };
        Self { job, stage, since: now, waker: None }
    }

    /// Gives the push up on this connection when nobody waits for it any more, or it waited too
    /// long.
    pub(crate) fn cancel_if_stale(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(self.since);
        if self.job.batch.is_over() || waited >= self.job.batch.patience() {
            self.give_back(Cause::Timeout, true);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// Ends the push on this connection, without an answer unless there was one.
    pub(crate) fn give_back(&mut self, cause: Cause, lives: bool) {
        let ended = Landed { answered: false, again: false, retire: false };
        self.stage = match std::mem::replace(&mut self.stage, Stage::Done(ended)) {
            Stage::Waiting(_) => Stage::Done(lost(&self.job, cause, true, lives)),
            Stage::Reading { refusal, read, .. } => Stage::Done(refused(&self.job, refusal, &read)),
            Stage::Draining { .. } => Stage::Done(Landed { answered: true, ..ended }),
            done @ Stage::Done(_) => done,
        };
    }

    fn poll_stage(&mut self, context: &mut Context<'_>) -> Poll<Landed> {
        loop {
            match &mut self.stage {
                Stage::Waiting(response) => {
                    self.stage = match ready!(Pin::new(response).poll(context)) {
                        Ok(response) => self.read_head(response),
                        Err(error) => Stage::Done(unanswered(&self.job, &error)),
                    };
                }
                Stage::Reading { body, read, .. } => {
                    match ready!(body.poll_data(context)) {
                        Some(Ok(chunk)) if read.len() + chunk.len() <= MOST_BODY_BYTES => {
                            read.extend_from_slice(&chunk);
                            // The window is far larger than what is read.
                            let _ = body.flow_control().release_capacity(chunk.len());
                        }
                        // Its end, or too much of it, or a stream that broke after the status.
                        _ => self.give_back(Cause::Reset, true),
                    }
                }
                Stage::Draining { body, read } => match ready!(body.poll_data(context)) {
                    Some(Ok(chunk)) if *read <= MOST_BODY_BYTES => {
                        *read += chunk.len();
                        let _ = body.flow_control().release_capacity(chunk.len());
                    }
                    _ => self.give_back(Cause::Reset, true),
                },
                Stage::Done(landed) => return Poll::Ready(*landed),
            }
        }
    }

    fn read_head(&self, response: http::Response<RecvStream>) -> Stage {
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            let refusal = Refusal::of_head(head.status, &head.headers);
            return Stage::Reading { refusal, body, read: Vec::new() };
        }
        self.job.land(Landing::Accepted);
        if body.is_end_stream() {
            return Stage::Done(Landed { answered: true, again: false, retire: false });
        }
        Stage::Draining { body, read: 0 }
    }
}

impl Future for Flight {
    type Output = Landed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Landed> {
        let polled = self.poll_stage(context);
        if polled.is_pending() && self.waker.is_none() {
            // For a cancellation; a flight stays in one place, so the first waker is every waker.
            self.waker = Some(context.waker().clone());
        }
        polled
    }
}

fn request(job: &Job, authority: &http::uri::Authority) -> Option<Request<()>> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(http::uri::Scheme::HTTPS);
    uri.authority = Some(authority.clone());
    uri.path_and_query = Some(job.batch.pushes.path(job.index)?);
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.headers_mut() = job.batch.pushes.headers().clone();
    Some(request)
}

fn refused(job: &Job, mut refusal: Refusal, body: &[u8]) -> Landed {
    refusal.read_body(body);
    let retire = matches!(refusal.reason.as_str(), "Shutdown" | "IdleTimeout");
    Landed { answered: true, again: job.land(Landing::Refused(refusal)), retire }
}

/// What an error of a stream means: RFC 9113 sections 6.8 and 8.7.
fn unanswered(job: &Job, error: &h2::Error) -> Landed {
    match error.reason() {
        // Above the last stream that the service says it may act on.
        _ if error.is_go_away() && error.is_remote() => lost(job, Cause::GoAway, false, false),
        Some(Reason::REFUSED_STREAM) => lost(job, Cause::Reset, false, true),
        _ if error.is_reset() && error.is_remote() => lost(job, Cause::Reset, true, true),
        _ if error.is_reset() => lost(job, Cause::Protocol, true, true),
        _ if error.is_io() => lost(job, Cause::Reset, true, false),
        _ => lost(job, Cause::Protocol, true, false),
    }
}

fn lost(job: &Job, cause: Cause, taken: bool, lives: bool) -> Landed {
    let again = job.land(Landing::Unanswered { cause, taken, lives });
    Landed { answered: false, again, retire: false }
}
