//! Settings of queues.

use std::time::Duration;

use bytestring::ByteString;

/// The settings of a queue: see [`EmbeddedBroker::queue_settings`](crate::EmbeddedBroker::queue_settings).
///
/// # Example: orders that are delivered at most three times
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
    /// The maximum number of messages in the queue, including unsettled deliveries. Default 100,000: minutes of work
    /// for any consumer.
    pub max_messages: usize,
    /// The maximum size of these messages in bytes. Default 67,108,864 (64 MiB): a few busy queues fit into a small
    /// server.
    pub max_bytes: usize,
    /// The treatment of a message for a full queue. Default: its publisher waits, 5 s at most.
    pub when_full: WhenFull,
    /// The maximum number of deliveries of a message before it becomes a dead letter: it may be what makes its
    /// consumers fail. Every message that a consumer had and did not settle counts as delivered, processed or not. So
    /// give consumers a `prefetch-count` of 1 or a few, or one poison message takes those behind it with it. Default
    /// unlimited: a message is given up only if the configuration allows it.
    pub max_deliveries: Option<u32>,
    /// The destination of messages that were rejected, came back too often or expired. They arrive there with
    /// `dead-letter-reason` (`rejected`, `max-deliveries`, `expired`), `original-destination` and
    /// `original-delivery-count`. A dead letter that fails again goes to that queue's own dead-letter destination,
    /// unless it is the same. Default none: such messages are discarded, and counted.
    pub dead_letters: Option<ByteString>,
    /// The time to live of messages without `expires` or `expiration`; `expires:0`, as ActiveMQ's clients write it,
    /// counts as not set. A millisecond at least. Default unlimited.
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
    /// Sets [`QueueSettings::max_messages`].
    #[must_use]
    pub fn max_messages(mut self, count: usize) -> Self {
        self.max_messages = count;
        self
    }

    /// Sets [`QueueSettings::max_bytes`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`QueueSettings::when_full`].
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets [`QueueSettings::max_deliveries`].
    #[must_use]
    pub fn max_deliveries(mut self, times: u32) -> Self {
        self.max_deliveries = Some(times);
        self
    }

    /// Sets [`QueueSettings::dead_letters`].
    #[must_use]
    pub fn dead_letters(mut self, destination: impl Into<ByteString>) -> Self {
        self.dead_letters = Some(destination.into());
        self
    }

    /// Sets [`QueueSettings::time_to_live`].
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
    /// The publisher waits for room, this long at most, and is refused then. With zero it is refused at once.
    Wait(Duration),
    /// The longest-waiting message is dropped; or the new one, if all others are with consumers.
    DropOldest,
    /// The new message is dropped.
    ///
    /// A transaction is carried out completely or not at all: if its messages would be dropped, it is refused.
    DropNewest,
}

/// The settings of durable subscriptions: see
/// [`EmbeddedBroker::durable_subscriptions`](crate::EmbeddedBroker::durable_subscriptions).
///
/// # Example: a month of news, and publishers that are refused rather than a message lost
///
/// ```
/// use std::time::Duration;
/// use tramline_broker::{EmbeddedBroker, SubscriptionSettings, WhenBehind};
///
/// let month = Duration::from_secs(30 * 24 * 60 * 60);
/// let settings = SubscriptionSettings::default().unused_for(month).when_behind(WhenBehind::RefusePublisher);
/// let broker = EmbeddedBroker::new().topics("/topic").durable_subscriptions(settings);
/// # let _ = broker;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionSettings {
    /// The maximum number of messages that wait for one subscription, unsettled deliveries included. Default 10,000: what a
    /// client can still read when it comes back.
    pub max_messages: usize,
    /// The maximum size of these messages in bytes. Default 67,108,864 (64 MiB), as for a queue.
    pub max_bytes: usize,
    /// The treatment of a message for a subscription that has no room for it. Default [`WhenBehind::DropOldest`]: a client
    /// that is away stops nobody.
    pub when_behind: WhenBehind,
    /// The time after which a subscription that no session uses ends, with its messages. Default 7 days: longer than a
    /// weekend or a short holiday. Checked about once a second.
    pub unused_for: Duration,
    /// The maximum number of durable subscriptions of one user. Default 100: some for each of a user's devices.
    pub max_each: usize,
    /// The maximum number of durable subscriptions of all users. Default 10,000: a message to a topic is stored once for each
    /// of its durable subscriptions.
    pub max: usize,
}

/// The treatment of a message for a durable subscription that has no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenBehind {
    /// The subscription's oldest messages are dropped; its client receives a notice, or `missed:true` in the RECEIPT of its
    /// SUBSCRIBE if it was away. If its client has all of them, the new message is dropped.
    DropOldest,
    /// The publisher is refused, and nobody receives the message: one client that is away too long stops the topic.
    RefusePublisher,
}

impl Default for SubscriptionSettings {
    fn default() -> Self {
        Self {
            max_messages: 10_000,
            max_bytes: 64 * 1024 * 1024,
            when_behind: WhenBehind::DropOldest,
            unused_for: Duration::from_secs(7 * 24 * 60 * 60),
            max_each: 100,
            max: 10_000,
        }
    }
}

impl SubscriptionSettings {
    /// Sets [`SubscriptionSettings::max_messages`].
    #[must_use]
    pub fn max_messages(mut self, count: usize) -> Self {
        self.max_messages = count;
        self
    }

    /// Sets [`SubscriptionSettings::max_bytes`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`SubscriptionSettings::when_behind`].
    #[must_use]
    pub fn when_behind(mut self, when_behind: WhenBehind) -> Self {
        self.when_behind = when_behind;
        self
    }

    /// Sets [`SubscriptionSettings::unused_for`].
    #[must_use]
    pub fn unused_for(mut self, time: Duration) -> Self {
        self.unused_for = time;
        self
    }

    /// Sets [`SubscriptionSettings::max_each`].
    #[must_use]
    pub fn max_each(mut self, count: usize) -> Self {
        self.max_each = count;
        self
    }

    /// Sets [`SubscriptionSettings::max`].
    #[must_use]
    pub fn max(mut self, count: usize) -> Self {
        self.max = count;
        self
    }

    /// The settings of a subscription's queue.
    pub(super) fn of_queue(&self) -> QueueSettings {
        let when_full = match self.when_behind {
            WhenBehind::DropOldest => WhenFull::DropOldest,
            WhenBehind::RefusePublisher => WhenFull::Wait(Duration::ZERO),
        };
        QueueSettings::default()
            .max_messages(self.max_messages)
            .max_bytes(self.max_bytes)
            .when_full(when_full)
    }
}
