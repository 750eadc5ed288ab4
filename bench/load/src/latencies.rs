//! Histogram of latencies.

use std::time::Duration;

/// Buckets per power of two: a value is off by less than 1/64.
const BUCKETS: usize = 64;

/// Counts of nanoseconds in logarithmic buckets.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; 60 * BUCKETS],
            total: 0,
            max: Duration::ZERO,
        }
    }
}

impl Latencies {
    /// Adds one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(latency);
    }

    /// The number of recorded latencies.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest latency, exactly.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The latency that `share` (0 to 1) of all do not exceed, to 1/64; zero when there are none.
    pub fn percentile(&self, share: f64) -> Duration {
        // The smallest rank that covers the share, as in the nearest-rank definition.
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(lower_end(index)).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(nanos: u64) -> usize {
    let sub = BUCKETS as u64;
    if nanos < sub {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - sub.ilog2();
    (shift as usize + 1) * BUCKETS + (nanos >> shift) as usize - BUCKETS
}

fn lower_end(bucket: usize) -> u64 {
    if bucket < BUCKETS {
        return bucket as u64;
    }
    let shift = bucket / BUCKETS - 1;
    ((BUCKETS + bucket % BUCKETS) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_off_by_less_than_a_sixty_fourth() {
        for nanos in [0, 1, 63, 64, 65, 127, 128, 1_000, 123_456_789, u64::MAX] {
            let low = lower_end(bucket(nanos));
            assert!(low <= nanos, "{low} is above {nanos}");
            assert!(nanos - low <= nanos / 64, "{low} for {nanos}");
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(0.99), Duration::ZERO);
        for nanos in 1..=50 {
            latencies.record(Duration::from_nanos(nanos));
        }
        assert_eq!(latencies.percentile(0.5), Duration::from_nanos(25));
        assert_eq!(latencies.percentile(0.99), Duration::from_nanos(50));
        assert_eq!(latencies.percentile(0.0), Duration::from_nanos(1));
        assert_eq!(latencies.percentile(1.0), Duration::from_nanos(50));
        assert_eq!(
            (latencies.total(), latencies.max()),
            (50, Duration::from_nanos(50))
        );
    }

    #[test]
    fn one_slow_message_of_a_hundred_is_above_p99_and_two_are_not() {
        let mut latencies = Latencies::default();
        for _ in 0..99 {
            latencies.record(Duration::from_millis(1));
        }
        latencies.record(Duration::from_secs(1));
        assert!(latencies.percentile(0.99) <= Duration::from_millis(1));
        latencies.record(Duration::from_secs(1));
        assert!(latencies.percentile(0.99) > Duration::from_millis(900));
    }
}
