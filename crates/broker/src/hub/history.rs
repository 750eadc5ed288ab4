//! How much of its messages a topic keeps.

use std::sync::Arc;
use std::time::Duration;

/// The messages that a topic keeps for subscribers that come later or come back: the last ones, within three bounds.
/// See [`EmbeddedBroker::history`](crate::EmbeddedBroker::history).
///
/// Kept messages count against the broker's memory, twice each, since their encoded form stays with them. All topics
/// together keep at most [`HubSettings::max_history_bytes`](crate::HubSettings::max_history_bytes).
///
/// # Example: the last thousand messages, and the last price of each symbol
///
/// ```
/// use std::time::Duration;
/// use tramline_broker::{EmbeddedBroker, History};
///
/// let broker = EmbeddedBroker::new()
///     .topics("/topic")
///     .history("/topic/rooms/*", History::messages(1_000).time(Duration::from_secs(24 * 3600)))
///     .history("/topic/prices", History::latest("symbol"));
/// # let _ = broker;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// The maximum number of messages.
    pub messages: usize,
    /// The maximum of their sizes, in bytes. Default [`History::DEFAULT_BYTES`].
    pub bytes: usize,
    /// The time for which a message is kept. Default [`History::DEFAULT_TIME`].
    pub time: Duration,
    /// The header by whose values messages replace each other; `None` to keep all.
    pub key: Option<Arc<str>>,
}

impl History {
    /// The default of [`bytes`](Self::bytes): 16 MiB for each topic, a thousand messages of 16 KiB.
    pub const DEFAULT_BYTES: usize = 16 * 1024 * 1024;

    /// The default of [`time`](Self::time): an hour, longer than a tunnel or a deployment takes. A topic exists while it
    /// keeps messages, so a name that is used once is freed after this time.
    pub const DEFAULT_TIME: Duration = Duration::from_secs(3600);

    /// The number of different keys that [`latest`](Self::latest) keeps by default: 10,000.
    pub const DEFAULT_KEYS: usize = 10_000;

    /// Keeps the last `count` messages.
    pub fn messages(count: usize) -> Self {
        Self {
            messages: count,
            bytes: Self::DEFAULT_BYTES,
            time: Self::DEFAULT_TIME,
            key: None,
        }
    }

    /// Keeps the last message of each value of the header `key`, of at most [`DEFAULT_KEYS`](Self::DEFAULT_KEYS) values:
    /// a compacted topic. Messages without the header count as those of an empty value.
    pub fn latest(key: impl Into<Arc<str>>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::messages(Self::DEFAULT_KEYS)
        }
    }

    /// Sets the maximum number of keys, for [`latest`](Self::latest).
    #[must_use]
    pub fn keys(mut self, count: usize) -> Self {
        self.messages = count;
        self
    }

    /// Sets [`History::bytes`].
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`History::time`].
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Returns what makes it keep nothing, if anything does.
    pub(crate) fn error(&self) -> Option<&'static str> {
        if self.messages == 0 {
            return Some("it keeps 0 messages; keep at least 1, or leave it out");
        }
        if self.bytes == 0 {
            return Some("it keeps 0 bytes; allow some, or leave it out");
        }
        self.time
            .is_zero()
            .then_some("it keeps messages for no time; set a longer one, or leave it out")
    }
}
