//! Counting what many clients do, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Keys that are counted one by one; the others share one count.
const KEYS: usize = 8192;

/// Numbers of events by key, each within a time that begins with the key's first event.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    time: Duration,
    /// Under `None`, those for whom there is no room.
    counts: HashMap<Option<K>, Count>,
    /// The last attempt to make room.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    number: u32,
}

impl<K: Eq + Hash> Rates<K> {
    pub(crate) fn new(time: Duration) -> Self {
        Self {
            time,
            counts: HashMap::new(),
            swept: None,
        }
    }

    /// The number of events of `key`, for the caller to compare and to increment.
    pub(crate) fn number(&mut self, key: K, now: Instant) -> &mut u32 {
        const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);
        let time = self.time;
        let is_over = |count: &Count| now.saturating_duration_since(count.since) >= time;
        let mut key = Some(key);
        if self.counts.len() >= KEYS && !self.counts.contains_key(&key) {
            let swept = self.swept;
            if swept.is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_SWEEPS) {
                self.swept = Some(now);
                self.counts.retain(|_, count| !is_over(count));
                self.counts.shrink_to(KEYS / 4);
            }
            if self.counts.len() >= KEYS {
                key = None;
            }
        }
        let new = || Count {
            since: now,
            number: 0,
        };
        let count = self.counts.entry(key).or_insert_with(new);
        if is_over(count) {
            *count = new();
        }
        &mut count.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    #[test]
    fn a_time_begins_with_the_first_event() {
        let (start, mut rates) = (Instant::now(), Rates::new(TIME));
        for (second, number) in [(0, 1), (9, 2), (10, 1), (25, 1), (34, 2)] {
            let count = rates.number("a", start + Duration::from_secs(second));
            *count += 1;
            assert_eq!(*count, number, "after {second} s");
        }
        assert_eq!(*rates.number("b", start), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let (start, mut rates) = (Instant::now(), Rates::new(TIME));
        for key in 0..100_000 {
            *rates.number(key, start) += 1;
        }
        assert_eq!(rates.counts.len(), KEYS + 1);
        assert_eq!(*rates.number(99_999, start), 100_000 - KEYS as u32);
        assert_eq!(*rates.number(1, start), 1);
        assert_eq!(*rates.number(99_999, start + TIME), 0);
        assert_eq!(rates.counts.len(), 1);
    }
}
