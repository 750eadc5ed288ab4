//! The treatment of queues.

use std::time::Duration;

use bytestring::ByteString;

/// The treatment of a queue's messages: see [`EmbeddedBroker::queue_settings`](crate::EmbeddedBroker::queue_settings).
///
/// # Example: orders that are tried three times
///
/// ```
/// use tramline_broker::{EmbeddedBroker, QueueSettings};
///
/// let orders = QueueSettings::default().max_deliveries(3).dead_letters("/queue/failed-orders");
/// let broker = EmbeddedBroker::new().queues("/queue").queue_settings("/queue/orders/**", orders);
/// # let _ = broker;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSettings {
    /// The most messages in the queue, those given to consumers and not settled included. Default 100,000: minutes of
    /// work for any consumer.
    pub max_messages: usize,
    /// Their bytes. Default 67,108,864 (64 MiB): a few busy queues fit into a small server.
    pub max_bytes: usize,
    /// The treatment of a message for a full queue. Default: it is waited for, 5 s at most.
    pub when_full: WhenFull,
    /// How often a message is delivered before it goes where dead letters go: it may be what makes its consumers fail.
    /// Every message that its consumer had and did not settle counts as delivered, looked at or not: with this set, let
    /// consumers have a `prefetch-count` of 1 or a few, or one poisonous message takes those behind it with it. Default
    /// without end: no message is given up that nobody said may be.
    pub max_deliveries: Option<u32>,
    /// Where messages go that were rejected, came back too often or expired: a destination of the broker, which gets them
    /// with `dead-letter-reason` (`rejected`, `max-deliveries`, `expired`), `original-destination` and
    /// `original-delivery-count`. What dies there in its turn goes where that place says, if that is another. Default nowhere: they
    /// are discarded, and counted.
    pub dead_letters: Option<ByteString>,
    /// How long messages live that do not say so themselves by `expires` or `expiration`; `expires:0`, as ActiveMQ's clients
    /// write it, says nothing. A millisecond at least. Default for ever.
    pub time_to_live: Option<Duration>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_messages: 100_000,
            max_bytes: 64 * 1024 * 1024,
            when_full: WhenFull::Wait(Duration::from_secs(5)),
            max_deliveries: None,
            dead_letters: None,
            time_to_live: None,
        }
    }
}

impl QueueSettings {
    /// With another [`QueueSettings::max_messages`].
    #[must_use]
    pub fn max_messages(mut self, count: usize) -> Self {
        self.max_messages = count;
        self
    }

    /// With another [`QueueSettings::max_bytes`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// With another [`QueueSettings::when_full`].
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// With another [`QueueSettings::max_deliveries`].
    #[must_use]
    pub fn max_deliveries(mut self, times: u32) -> Self {
        self.max_deliveries = Some(times);
        self
    }

    /// With a place for [`QueueSettings::dead_letters`].
    #[must_use]
    pub fn dead_letters(mut self, destination: impl Into<ByteString>) -> Self {
        self.dead_letters = Some(destination.into());
        self
    }

    /// With a [`QueueSettings::time_to_live`].
    #[must_use]
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = Some(time);
        self
    }
}

/// The treatment of a message for a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Its publisher waits for room, this long at most, and is refused then. With no time at all it is refused at once.
    Wait(Duration),
    /// The message that waits longest is dropped; the new one, where all others are with consumers.
    DropOldest,
    /// The new message is dropped.
    ///
    /// A transaction is carried out whole or not at all: where its messages would be dropped, it is refused.
    DropNewest,
}
