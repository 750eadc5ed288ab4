//! The time, and how often what is due is done.

use std::time::{Duration, Instant, SystemTime};

/// How often the broker may do what is due: let messages expire, refuse who waited in vain.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

/// The runtime's time, which tests may have paused.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time of day, by which messages expire.
#[cfg(not(feature = "test"))]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The time of day, by which messages expire: it goes on with the runtime's time, which tests may have paused.
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
