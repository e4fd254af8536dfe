//! How far the pushes of one call are: what is sent next, what is sent again and when, what ended.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::outcome::{Cause, Outcome, Outcomes};
use crate::refusal::Refusal;

/// The least wait before a push that was answered, or may have been taken, is sent again.
const SPACING: Duration = Duration::from_secs(1);
/// The longest wait that we choose ourselves.
const MOST_WAIT: Duration = Duration::from_secs(8);

/// What came of sending a push once.
#[derive(Debug)]
pub(crate) enum Landing {
    /// 200.
    Accepted,
    /// Another answer.
    Refused(Refusal),
    /// No answer.
    Unanswered {
        cause: Cause,
        /// Whether the service may have taken it; else it says that it did not.
        taken: bool,
        /// Whether the connection lives on: then nothing else holds up the next time.
        lives: bool,
    },
}

/// What there is to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This push, now.
    Push(usize),
    /// Nothing before then.
    Later(Instant),
    /// Nothing.
    Nothing,
}

#[derive(Clone, Copy, Default)]
struct State {
    sent: u8,
    /// Times that the service certainly did not take it; these are not counted as sent.
    untaken: u8,
    ended: bool,
}

/// The pushes of one call.
pub(crate) struct Progress {
    states: Vec<State>,
    /// The first that was never sent.
    fresh: usize,
    again: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The last that was heard of pushes that are sent again.
    last: HashMap<usize, Outcome>,
    others: Vec<(usize, Outcome)>,
    left: usize,
    attempts: u8,
    start: Instant,
    deadline: Instant,
    random: Rng,
}

impl Progress {
    pub(crate) fn new(
        pushes: usize,
        attempts: u8,
        start: Instant,
        within: Duration,
        random: Rng,
    ) -> Self {
        Self {
            states: vec![State::default(); pushes],
            fresh: 0,
            again: BinaryHeap::new(),
            last: HashMap::new(),
            others: Vec::new(),
            left: pushes,
            attempts,
            start,
            deadline: start + within,
            random,
        }
    }

    /// Pushes that have not ended.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Takes the next push, which counts as sent. What waited comes before what was never sent.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        while self.states.get(self.fresh).is_some_and(|state| state.ended) {
            self.fresh += 1;
        }
        if self.left == 0 {
            return Next::Nothing;
        }
        let waiting = self.again.peek().map(|Reverse((at, _))| *at);
        let index = match waiting {
            Some(at) if at <= now => match self.again.pop() {
                Some(Reverse((_, index))) => index,
                None => return Next::Nothing,
            },
            _ if self.fresh < self.states.len() => {
                self.fresh += 1;
                self.fresh - 1
            }
            Some(at) => return Next::Later(at),
            None => return Next::Nothing,
        };
        if let Some(state) = self.states.get_mut(index) {
            state.sent = state.sent.saturating_add(1);
        }
        Next::Push(index)
    }

    /// When there is something to send: the earliest time when there is now.
    pub(crate) fn waiting(&self) -> Option<Instant> {
        match self.again.peek() {
            _ if self.left == 0 => None,
            _ if self.fresh < self.states.len() => Some(self.start),
            again => again.map(|Reverse((at, _))| *at),
        }
    }

    /// Ends a push whose token cannot stand in a path, as Apple would.
    pub(crate) fn refuse_token(&mut self, index: usize) {
        let reason = "BadDeviceToken".to_owned();
        self.end(index, Some(Outcome::Rejected { status: 400, reason }));
    }

    /// Notes what came of a push; whether it is to be sent again.
    pub(crate) fn land(&mut self, index: usize, landing: Landing, now: Instant) -> bool {
        match landing {
            Landing::Accepted => self.end(index, None),
            Landing::Refused(refusal) => return self.refused(index, refusal, now),
            Landing::Unanswered { cause, taken, lives } => {
                return self.unanswered(index, cause, taken, lives, now);
            }
        }
        false
    }

    /// Ends all that have not: with what was last heard of each, else as unreachable for `cause`; what
    /// was never sent counts as not connected, however the connections failed.
    pub(crate) fn give_up(&mut self, cause: Cause) {
        let unsent = match cause {
            Cause::Timeout | Cause::GoAway | Cause::Reset | Cause::Protocol => Cause::Connect,
            cause => cause,
        };
        for index in 0..self.states.len() {
            let was_sent = self.states.get(index).is_some_and(|state| state.sent > 0);
            let cause = if was_sent { cause } else { unsent };
            let outcome = self.last.remove(&index).unwrap_or(Outcome::Unreachable { cause });
            self.end(index, Some(outcome));
        }
        self.again.clear();
        self.fresh = self.states.len();
    }

    /// What became of all; for when none is left.
    pub(crate) fn take_outcomes(&mut self) -> Outcomes {
        let mut others = std::mem::take(&mut self.others);
        others.sort_unstable_by_key(|(index, _)| *index);
        Outcomes { pushes: self.states.len(), others }
    }

    fn refused(&mut self, index: usize, refusal: Refusal, now: Instant) -> bool {
        let Refusal { status, reason, timestamp_ms, retry_after } = refusal;
        if let (410, Some(at_ms)) = (status, timestamp_ms) {
            self.end(index, Some(Outcome::Invalidated { at_ms, reason }));
            return false;
        }
        let may_pass = match status {
            // Of the connection, not of the push.
            400 => reason == "IdleTimeout",
            429 => true,
            _ => status >= 500,
        };
        let sent = self.states.get(index).map_or(u8::MAX, |state| state.sent);
        let outcome = Outcome::Rejected { status, reason };
        if !may_pass || sent >= self.attempts {
            self.end(index, Some(outcome));
            return false;
        }
        let doubled = SPACING.saturating_mul(1 << (sent.saturating_sub(1)).min(8)).min(MOST_WAIT);
        let wait = self.jittered(retry_after.unwrap_or(doubled).max(SPACING));
        self.send_again(index, now + wait, outcome)
    }

    fn unanswered(
        &mut self,
        index: usize,
        cause: Cause,
        taken: bool,
        lives: bool,
        now: Instant,
    ) -> bool {
        let Some(state) = self.states.get_mut(index) else { return false };
        let outcome = Outcome::Unreachable { cause };
        if !taken {
            state.sent = state.sent.saturating_sub(1);
            state.untaken = state.untaken.saturating_add(1);
        } else if state.sent >= self.attempts {
            self.end(index, Some(outcome));
            return false;
        }
        // A lost connection has its own back-off; and what was refused at once may go at once.
        let spaced = lives && (taken || state.untaken > 1);
        let wait = if spaced { self.jittered(SPACING) } else { Duration::ZERO };
        self.send_again(index, now + wait, outcome)
    }

    /// Waits until `at`; or, when that is too late, ends the push with what it was answered.
    fn send_again(&mut self, index: usize, at: Instant, outcome: Outcome) -> bool {
        if self.is_ended(index) {
            return false;
        }
        if at >= self.deadline {
            self.end(index, Some(outcome));
            return false;
        }
        self.last.insert(index, outcome);
        self.again.push(Reverse((at, index)));
        true
    }

    /// Longer by up to a half, so that what failed together does not come again together.
    fn jittered(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(self.random.f64().mul_add(0.5, 1.0))
    }

    fn is_ended(&self, index: usize) -> bool {
        self.states.get(index).is_none_or(|state| state.ended)
    }

    fn end(&mut self, index: usize, outcome: Option<Outcome>) {
        let Some(state) = self.states.get_mut(index).filter(|state| !state.ended) else { return };
        state.ended = true;
        self.left -= 1;
        if !self.last.is_empty() {
            self.last.remove(&index);
        }
        self.others.extend(outcome.map(|outcome| (index, outcome)));
    }
}

#[cfg(test)]
mod tests;
