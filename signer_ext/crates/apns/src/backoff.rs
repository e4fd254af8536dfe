//! When a slot may connect again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(2);
/// A connection that lived so long, or answered so much, was a good one.
const GOOD_LIFE: Duration = Duration::from_secs(1);
const GOOD_ANSWERS: u64 = 50;

/// Connecting that failed, or served nothing, in a row. Apple takes rapid opening and closing for
/// an attack.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a connection's end: how long it lived and how many pushes it answered.
    pub(crate) fn ended(&mut self, lived: Duration, answered: u64) {
        if answered >= GOOD_ANSWERS || (answered > 0 && lived >= GOOD_LIFE) {
            self.failures = 0;
        }
        self.failed();
    }

    /// Notes an attempt that led to no connection.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The wait before the next attempt: none after the first failure, then growing to two
    /// seconds, with jitter.
    pub(crate) fn delay(&self, random: &mut fastrand::Rng) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            more => {
                let longest = FIRST.saturating_mul(1 << (more - 2).min(10)).min(MOST);
                longest.mul_f64(random.f64().mul_add(0.5, 0.5))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Once at once, then longer and longer, never above two seconds.
    #[test]
    fn waits_grow_to_two_seconds() {
        let (mut backoff, mut random) = (Backoff::default(), fastrand::Rng::with_seed(7));
        let mut delay = |backoff: &Backoff| backoff.delay(&mut random).as_millis();
        backoff.failed();
        assert_eq!(delay(&backoff), 0);
        backoff.failed();
        assert!((50..=100).contains(&delay(&backoff)));
        for _ in 0..100 {
            backoff.failed();
            assert!((50..=2000).contains(&delay(&backoff)));
        }
        assert!((1000..=2000).contains(&delay(&backoff)));
    }

    /// A good connection's end is a first failure again; one that served nothing is not.
    #[test]
    fn good_connections_begin_anew() {
        let (mut backoff, mut random) = (Backoff { failures: 9 }, fastrand::Rng::with_seed(7));
        backoff.ended(Duration::from_secs(3600), 0);
        assert!(!backoff.delay(&mut random).is_zero());
        backoff.ended(Duration::from_millis(5), 49);
        assert!(!backoff.delay(&mut random).is_zero());
        backoff.ended(Duration::from_secs(1), 1);
        assert!(backoff.delay(&mut random).is_zero());
        backoff.failed();
        backoff.ended(Duration::from_millis(5), 50);
        assert!(backoff.delay(&mut random).is_zero());
    }
}
