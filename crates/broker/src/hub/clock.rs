//! The time, as callers pass it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::timestamp::Timestamp;

/// The latest time that a caller passed, in milliseconds; and a steady time that ignores steps of the callers' clock.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    latest: AtomicU64,
    /// The sum of all backward steps.
    stepped_back: AtomicU64,
}

/// A smaller backward step only means that a caller read the clock before another and arrived after it.
const STEP: u64 = 5_000;

impl Clock {
    /// Sets the time; it goes back only if the caller's clock was set back.
    pub(crate) fn set(&self, now: Timestamp) -> Timestamp {
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

    /// The time, for expiry.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.latest.load(Ordering::Relaxed))
    }

    /// A time that never goes back, for waits.
    pub(crate) fn steady(&self) -> Timestamp {
        let stepped_back = self.stepped_back.load(Ordering::Relaxed);
        Timestamp::from_millis(self.now().as_millis() + stepped_back)
    }
}

/// Work that is done every ten seconds, since each run visits all destinations.
#[derive(Debug, Default)]
pub(crate) struct Periodic(AtomicU64);

impl Periodic {
    const PERIOD: u64 = 10_000;

    /// Returns the seconds since the last run if another is due by the `steady` time.
    pub(crate) fn due(&self, steady: Timestamp) -> Option<f32> {
        let before = self.0.load(Ordering::Relaxed);
        let since = steady.as_millis().saturating_sub(before);
        let due = since >= Self::PERIOD;
        if before == 0 || due {
            self.0.store(steady.as_millis(), Ordering::Relaxed);
        }
        (before > 0 && due).then_some(since as f32 / 1000.0)
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
