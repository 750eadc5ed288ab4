//! The clock, and the interval of the broker's sweeps.

use std::time::{Duration, Instant, SystemTime};

/// Interval at which the broker expires messages and refuses publishes that have waited too long.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

/// The runtime's clock, which tests may have paused.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The wall clock, by which messages expire.
#[cfg(not(feature = "test"))]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The wall clock, by which messages expire: it advances with the runtime's clock, which tests may have paused.
#[cfg(feature = "test")]
pub(crate) fn wall_clock() -> SystemTime {
    static FIRST_LOOK: std::sync::OnceLock<(SystemTime, Instant)> = std::sync::OnceLock::new();
    let (time, instant) = *FIRST_LOOK.get_or_init(|| (SystemTime::now(), Instant::now()));
    let now = now();
    match now.checked_duration_since(instant) {
        Some(since) => time + since,
        None => time - instant.duration_since(now),
    }
}
