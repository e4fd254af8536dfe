use super::*;

struct Call {
    start: Instant,
    progress: Progress,
}

impl Call {
    fn new(pushes: usize) -> Self {
        let start = Instant::now();
        let within = Duration::from_secs(15);
        let progress = Progress::new(pushes, 8, start, within, Rng::with_seed(7));
        Self { start, progress }
    }

    fn next(&mut self, after_ms: u64) -> Next {
        self.progress.next(self.at(after_ms))
    }

    fn at(&self, after_ms: u64) -> Instant {
        self.start + Duration::from_millis(after_ms)
    }

    fn refuse(&mut self, status: u16, retry_after: Option<u64>, after_ms: u64) -> bool {
        let refusal = Refusal {
            status,
            reason: "Reason".to_owned(),
            timestamp_ms: None,
            retry_after: retry_after.map(Duration::from_secs),
        };
        self.progress.land(0, Landing::Refused(refusal), self.at(after_ms))
    }

    fn lose(&mut self, taken: bool, lives: bool, after_ms: u64) -> bool {
        let landing = Landing::Unanswered { cause: Cause::Reset, taken, lives };
        self.progress.land(0, landing, self.at(after_ms))
    }

    fn later_ms(&mut self, after_ms: u64) -> u128 {
        match self.next(after_ms) {
            Next::Later(at) => (at - self.start).as_millis(),
            other => panic!("{other:?}"),
        }
    }
}

fn rejected(status: u16) -> Outcome {
    Outcome::Rejected { status, reason: "Reason".to_owned() }
}

/// What was never sent ends as not connected, whatever its connections died of; what was sent does not.
#[test]
fn what_was_never_sent_is_told_apart() {
    let mut call = Call::new(2);
    assert_eq!(call.next(0), Next::Push(0));
    call.progress.give_up(Cause::Timeout);
    let ends: Vec<_> = call.progress.take_outcomes().others;
    let unreachable = |cause| Outcome::Unreachable { cause };
    assert_eq!(ends, [(0, unreachable(Cause::Timeout)), (1, unreachable(Cause::Connect))]);
}

/// Each push is taken once, and what was accepted is not among the others.
#[test]
fn pushes_come_in_their_order() {
    let mut call = Call::new(3);
    for index in 0..3 {
        assert_eq!(call.next(0), Next::Push(index));
    }
    assert_eq!(call.next(0), Next::Nothing);
    for index in 0..3 {
        assert!(!call.progress.land(index, Landing::Accepted, call.at(1)));
    }
    assert_eq!(call.progress.left(), 0);
    assert_eq!(call.progress.take_outcomes(), Outcomes { pushes: 3, others: vec![] });
}

/// 429 and 5xx are sent again after a second at least, at most eight times in all, then
/// rejected with the last status.
#[test]
fn what_may_pass_is_sent_again() {
    for status in [429, 500, 503] {
        let mut call = Call::new(1);
        call.progress.deadline += Duration::from_secs(3600);
        let mut now = 0;
        for sent in 1..8 {
            assert_eq!(call.next(now), Next::Push(0), "{sent}");
            assert!(call.refuse(status, None, now));
            let then = u64::try_from(call.later_ms(now)).unwrap();
            assert!(then - now >= 1000 && then - now <= 12_000, "{}", then - now);
            now = then + 1;
        }
        assert_eq!(call.next(now), Next::Push(0));
        assert!(!call.refuse(status, None, now));
        assert_eq!(call.progress.take_outcomes().others, [(0, rejected(status))]);
    }
}

/// Retry-After is waited for; one beyond the deadline ends the push at once.
#[test]
fn retry_after_is_honoured() {
    let mut call = Call::new(1);
    assert_eq!(call.next(0), Next::Push(0));
    assert!(call.refuse(503, Some(5), 0));
    assert!((5000..=7500).contains(&call.later_ms(1)));
    assert_eq!(call.next(7501), Next::Push(0));
    assert!(!call.refuse(503, Some(60), 7501));
    assert_eq!(call.progress.take_outcomes().others, [(0, rejected(503))]);
}

/// Other answers end a push; 410 invalidates only with a time.
#[test]
fn final_answers_end() {
    for status in [201, 400, 403, 404, 405, 410, 413] {
        let mut call = Call::new(1);
        call.next(0);
        assert!(!call.refuse(status, None, 0));
        assert_eq!(call.progress.take_outcomes().others, [(0, rejected(status))]);
    }
    let mut call = Call::new(1);
    call.next(0);
    let refusal = Refusal {
        status: 410,
        reason: "Unregistered".to_owned(),
        timestamp_ms: Some(9),
        retry_after: None,
    };
    call.progress.land(0, Landing::Refused(refusal), call.at(0));
    let reason = "Unregistered".to_owned();
    let invalidated = Outcome::Invalidated { at_ms: 9, reason };
    assert_eq!(call.progress.take_outcomes().others, [(0, invalidated)]);
}

/// What was certainly not taken is sent again without end, the first time at once.
#[test]
fn untaken_pushes_do_not_count() {
    let mut call = Call::new(1);
    for turn in 0..100 {
        assert_eq!(call.next(turn), Next::Push(0));
        assert!(call.lose(false, false, turn));
    }
    assert_eq!(call.next(100), Next::Push(0));
    assert!(call.lose(false, true, 100), "refused again on a living connection");
    assert!(call.later_ms(100) >= 1100);
    call.progress.give_up(Cause::Timeout);
    let unreachable = Outcome::Unreachable { cause: Cause::Reset };
    assert_eq!(call.progress.take_outcomes().others, [(0, unreachable)]);
}

/// What may have been taken counts, and ends after eight.
#[test]
fn lost_pushes_count() {
    let mut call = Call::new(1);
    for turn in 1..=8 {
        assert_eq!(call.next(turn), Next::Push(0));
        assert_eq!(call.lose(true, false, turn), turn < 8);
    }
    assert_eq!(call.progress.left(), 0);
}

/// Giving up ends each push with what was last heard of it, and later answers change nothing.
#[test]
fn giving_up_ends_all() {
    let mut call = Call::new(3);
    call.next(0);
    assert!(call.refuse(503, None, 0));
    call.next(0);
    call.progress.give_up(Cause::Timeout);
    assert_eq!(call.progress.left(), 0);
    assert_eq!(call.next(60_000), Next::Nothing);
    assert!(!call.progress.land(1, Landing::Accepted, call.at(60_000)));
    assert!(!call.lose(true, false, 60_000));
    let unreachable = |cause| Outcome::Unreachable { cause };
    let wanted =
        [(0, rejected(503)), (1, unreachable(Cause::Timeout)), (2, unreachable(Cause::Connect))];
    assert_eq!(call.progress.take_outcomes().others, wanted);
}
