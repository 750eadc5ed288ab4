//! Rates of many clients, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Keys that are counted one by one; the others share one bucket.
const KEYS: usize = 8192;

/// A rate: so many a second, and so many at once by whoever has been below it.
///
/// # Example: ten a second, a hundred at once
///
/// ```
/// use tramline::limits::Rate;
///
/// let rate = Rate::per_second(10).burst(100);
/// assert_eq!(rate.to_string(), "10 a second, 100 at once");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl Rate {
    /// So many a second, and at once as many as in ten seconds.
    pub const fn per_second(number: u32) -> Self {
        Self {
            per_second: number,
            burst: number.saturating_mul(10),
        }
    }

    /// Sets how many there may be at once.
    #[must_use]
    pub const fn burst(mut self, number: u32) -> Self {
        self.burst = number;
        self
    }

    /// The time that so many take.
    fn time(self, number: u32) -> Duration {
        Duration::from_secs_f64(f64::from(number) / f64::from(self.per_second.max(1)))
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} a second, {} at once", self.per_second, self.burst)
    }
}

/// Token buckets by key. Each is the time at which it is full again.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    /// Under `None`, those for whom there is no room.
    full_at: HashMap<Option<K>, Instant>,
    /// The last attempt to make room.
    swept: Option<Instant>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: HashMap::new(),
            swept: None,
        }
    }

    /// Takes `number` for `key`, even if there are not so many; returns the time until there are enough for that.
    pub(crate) fn take(&mut self, key: K, number: u32, now: Instant) -> Duration {
        let (taken, room) = (self.rate.time(number), self.rate.time(self.rate.burst));
        let full_at = self.full_at(key, now);
        *full_at = (*full_at).max(now) + taken;
        full_at.saturating_duration_since(now).saturating_sub(room)
    }

    /// Takes one for `key` if there is one; otherwise returns the time until there is.
    pub(crate) fn try_take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let (one, room) = (self.rate.time(1), self.rate.time(self.rate.burst));
        let full_at = self.full_at(key, now);
        let then = (*full_at).max(now) + one;
        let wait = then.saturating_duration_since(now).saturating_sub(room);
        if !wait.is_zero() {
            return Err(wait);
        }
        *full_at = then;
        Ok(())
    }

    fn full_at(&mut self, key: K, now: Instant) -> &mut Instant {
        const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);
        let mut key = Some(key);
        if self.full_at.len() >= KEYS && !self.full_at.contains_key(&key) {
            let swept = self.swept;
            if swept.is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_SWEEPS) {
                self.swept = Some(now);
                self.full_at.retain(|_, full_at| *full_at > now);
                self.full_at.shrink_to(KEYS / 4);
            }
            if self.full_at.len() >= KEYS {
                key = None;
            }
        }
        self.full_at.entry(key).or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (start, mut buckets) = (Instant::now(), Buckets::new(Rate::per_second(10).burst(20)));
        assert_eq!(buckets.take("a", 20, start), Duration::ZERO);
        assert_eq!(buckets.take("a", 5, start), Duration::from_millis(500));
        assert_eq!(buckets.take("b", 1, start), Duration::ZERO);
        let later = start + Duration::from_millis(500);
        assert_eq!(buckets.take("a", 0, later), Duration::ZERO);
        assert_eq!(buckets.take("a", 1, later), Duration::from_millis(100));
        let idle = start + Duration::from_secs(60);
        assert_eq!(
            buckets.take("a", 20, idle),
            Duration::ZERO,
            "no more is saved than a burst"
        );
        assert_eq!(buckets.try_take("a", idle), Err(Duration::from_millis(100)));
        assert_eq!(
            buckets.try_take("a", idle + Duration::from_millis(100)),
            Ok(())
        );
    }

    #[test]
    fn memory_is_bounded() {
        let (start, mut buckets) = (Instant::now(), Buckets::new(Rate::per_second(1).burst(1)));
        for key in 0..100_000 {
            buckets.take(key, 1, start);
        }
        assert_eq!(buckets.full_at.len(), KEYS + 1);
        assert!(buckets.take(99_999, 1, start) > Duration::from_secs(60_000));
        let later = start + Duration::from_secs(200_000);
        assert_eq!(buckets.take(99_998, 1, later), Duration::ZERO);
        assert_eq!(buckets.full_at.len(), 1);
    }
}
