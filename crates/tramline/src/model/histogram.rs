//! Histograms of times, which many tasks add to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::clock::now;

/// The upper bounds of the buckets, in microseconds: from what a handler without waiting takes to a message that waits in
/// its queue for ten minutes.
const BOUNDS: [u64; 15] = [
    100,
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    60_000_000,
    600_000_000,
];

/// How many times fell between which bounds.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One more than the bounds: what is above all of them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Observes the time from `began` until the timer is dropped.
    pub(crate) fn timer(&self, began: Instant) -> Timer<'_> {
        Timer(self, began)
    }

    /// The bounds in seconds with the number of times up to each, the number of all, and their sum in seconds.
    pub(crate) fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut count = 0;
        let mut counts = self.buckets.each_ref().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bounds = BOUNDS.iter().zip(&mut counts);
        let bounds = bounds.map(|(bound, count)| (seconds(*bound), *count));
        let sum = seconds(self.sum_micros.load(Ordering::Relaxed));
        (bounds.collect(), count, sum)
    }
}

/// A time that is being measured.
pub(crate) struct Timer<'a>(&'a Histogram, Instant);

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.0.observe(now().saturating_duration_since(self.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_its_bucket_and_in_those_above() {
        let histogram = Histogram::default();
        for micros in [100, 101, 7_000_000, u64::MAX / 4] {
            histogram.observe(Duration::from_micros(micros));
        }
        let (bounds, count, _) = histogram.read();
        let up_to = |seconds: f64| bounds.iter().find(|(bound, _)| *bound == seconds);
        assert_eq!(up_to(0.0001), Some(&(0.0001, 1)));
        assert_eq!(up_to(0.0005), Some(&(0.0005, 2)));
        assert_eq!(up_to(2.5), Some(&(2.5, 2)));
        assert_eq!(up_to(600.0), Some(&(600.0, 3)));
        assert_eq!(count, 4);
    }
}
