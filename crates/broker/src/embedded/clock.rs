//! What time it is, as far as the broker was told.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Timestamp;

/// The latest time that was said, in milliseconds; and how long it has gone on, whatever steps the callers' clock made.
#[derive(Debug, Default)]
pub(super) struct Clock {
    latest: AtomicU64,
    /// The sum of all steps back.
    stepped_back: AtomicU64,
}

/// A step back of less is no step, but a caller who looked at the clock before another and came after it.
const STEP: u64 = 5_000;

impl Clock {
    /// Takes note of the time; it goes back only where the caller's clock was set back.
    pub(super) fn set(&self, now: Timestamp) -> Timestamp {
        let said = now.as_millis();
        let before = self.latest.fetch_max(said, Ordering::Relaxed);
        let back = before.saturating_sub(said);
        if back >= STEP {
            let order = Ordering::Relaxed;
            let set_back = self.latest.compare_exchange(before, said, order, order);
            if set_back.is_ok() {
                self.stepped_back.fetch_add(back, Ordering::Relaxed);
            }
        }
        self.now()
    }

    /// The time, for what expires.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.latest.load(Ordering::Relaxed))
    }

    /// A time that never goes back, for who waits.
    pub(super) fn steady(&self) -> Timestamp {
        let stepped_back = self.stepped_back.load(Ordering::Relaxed);
        Timestamp::from_millis(self.now().as_millis() + stepped_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_stops_nobody() {
        let clock = Clock::default();
        let at = Timestamp::from_millis;
        clock.set(at(10_000_000));
        clock.set(at(9_999_999));
        assert_eq!(clock.now(), at(10_000_000), "a late caller is no step");
        let before = clock.steady();
        clock.set(at(6_400_000));
        assert_eq!(clock.now(), at(6_400_000));
        assert_eq!(clock.steady(), before);
        clock.set(at(6_401_000));
        assert_eq!(clock.steady().as_millis() - before.as_millis(), 1_000);
    }
}
