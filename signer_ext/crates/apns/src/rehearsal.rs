//! One push played through with answers that are made up and time that is only counted: how `fuzz`
//! reaches all that is done with an answer.

use std::time::{Duration, Instant};

use fastrand::Rng;
use http::{Response, StatusCode};

use crate::outcome::{Cause, Outcome};
use crate::progress::{Landing, Next, Progress};
use crate::refusal::{MOST_BODY_BYTES, Refusal};

/// How a push went.
#[derive(Debug)]
pub struct Rehearsal {
    /// When it was sent, each time, since the call began.
    pub sent: Vec<Duration>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Sends a push until it ends. Each time it is answered at once with the next of `answers`; when there
/// is none left, never. `within` and `attempts` are those of [`crate::Pushes`]; `seed`: of the jitter.
pub fn rehearse<'a>(
    answers: impl IntoIterator<Item = Response<&'a [u8]>>,
    within: Duration,
    attempts: u8,
    seed: u64,
) -> Rehearsal {
    let start = Instant::now();
    let mut progress = Progress::new(1, attempts, start, within, Rng::with_seed(seed));
    let (mut answers, mut now, mut sent) = (answers.into_iter(), start, Vec::new());
    loop {
        match progress.next(now) {
            Next::Push(index) => {
                sent.push(now.duration_since(start));
                match answers.next() {
                    Some(answer) => _ = progress.land(index, landing(answer), now),
                    None => progress.give_up(Cause::Timeout),
                }
            }
            Next::Later(at) => now = at,
            Next::Nothing => break,
        }
    }
    let ended = progress.take_outcomes().others.pop();
    Rehearsal { sent, outcome: ended.map_or(Outcome::Accepted, |(_, outcome)| outcome) }
}

/// As [`crate::flight::Flight`] does it.
fn landing(answer: Response<&[u8]>) -> Landing {
    let (head, body) = answer.into_parts();
    if head.status == StatusCode::OK {
        return Landing::Accepted;
    }
    let mut refusal = Refusal::of_head(head.status, &head.headers);
    refusal.read_body(body.get(..MOST_BODY_BYTES).unwrap_or(body));
    Landing::Refused(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(15);

    fn answer(status: u16, retry_after: &str, body: &'static str) -> Response<&'static [u8]> {
        let head = Response::builder().status(status).header("retry-after", retry_after);
        head.body(body.as_bytes()).unwrap()
    }

    /// Answers come in their order, each a time to send; what is waited for is only counted.
    #[test]
    fn answers_are_played_through() {
        let busy = answer(503, "3", "<html>");
        let dead = answer(410, "", r#"{"reason":"Unregistered","timestamp":9}"#);
        let ended = rehearse([busy, dead], WITHIN, 8, 7);
        let reason = "Unregistered".to_owned();
        assert_eq!(ended.outcome, Outcome::Invalidated { at_ms: 9, reason });
        assert_eq!(ended.sent.len(), 2);
        assert!(ended.sent[1] >= Duration::from_secs(3));
        assert_eq!(rehearse([answer(200, "", "")], WITHIN, 8, 7).outcome, Outcome::Accepted);
    }

    /// Without an answer a push is unreachable, with what it was answered before when it was.
    #[test]
    fn silence_ends_a_push_too() {
        let unreachable = Outcome::Unreachable { cause: Cause::Timeout };
        assert_eq!(rehearse([], WITHIN, 8, 7).outcome, unreachable);
        let ended = rehearse([answer(500, "", "")], WITHIN, 8, 7);
        assert_eq!(ended.outcome, Outcome::Rejected { status: 500, reason: String::new() });
        assert_eq!(ended.sent.len(), 2);
    }
}
