//! How the embedded broker treats its destinations.

use std::time::Duration;

use bytestring::ByteString;

use super::EmbeddedBroker;
use crate::statistics::DestinationKind;
use crate::{Broker, Destination, Overflow, Pattern, Separator};

/// A prefix of destinations, for [`EmbeddedBroker::topics`](crate::EmbeddedBroker::topics) and
/// [`queues`](crate::EmbeddedBroker::queues); a text is one by itself.
///
/// # Example: dots below a prefix
///
/// ```
/// use tramline_broker::{Broker, EmbeddedBroker, Prefix, Separator};
///
/// let broker = EmbeddedBroker::new().topics(Prefix::new("/topic").separator(Separator::Dot)).queues("/queue");
/// assert_eq!(broker.separator("/topic/price.stock.*"), Separator::Dot);
/// assert_eq!(broker.separator("/queue/orders"), Separator::Slash);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub(super) text: ByteString,
    pub(super) separator: Separator,
}

impl Prefix {
    /// `text` as a prefix, with or without a `/` at its end.
    pub fn new(text: impl Into<ByteString>) -> Self {
        let text: ByteString = text.into();
        Self {
            text: text.trim_end_matches('/').into(),
            separator: Separator::Slash,
        }
    }

    /// With another separator of the segments below it. Default [`Separator::Slash`].
    #[must_use]
    pub fn separator(mut self, separator: Separator) -> Self {
        self.separator = separator;
        self
    }

    pub(super) fn covers(&self, destination: &str) -> bool {
        destination
            .strip_prefix(&*self.text)
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

impl From<&'static str> for Prefix {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Prefix {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<ByteString> for Prefix {
    fn from(text: ByteString) -> Self {
        Self::new(text)
    }
}

/// How topics treat their messages: see
/// [`EmbeddedBroker::topic_settings`](crate::EmbeddedBroker::topic_settings).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicSettings {
    /// What happens to messages for subscribers that are too slow. Default [`Overflow::Close`].
    pub overflow: Overflow,
    /// Where messages go that a subscriber which acknowledges rejects: a destination of the broker, which gets them with the
    /// headers that [`QueueSettings::dead_letters`] names. Default nowhere, since the topic's other subscribers had them.
    pub dead_letters: Option<ByteString>,
}

impl TopicSettings {
    /// With another [`TopicSettings::overflow`].
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// With a place for [`TopicSettings::dead_letters`].
    #[must_use]
    pub fn dead_letters(mut self, destination: impl Into<ByteString>) -> Self {
        self.dead_letters = Some(destination.into());
        self
    }
}

/// How queues treat their messages: see [`EmbeddedBroker::queue_settings`](crate::EmbeddedBroker::queue_settings).
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
    /// What happens to a message for a full queue. Default: it is waited for, 5 s at most.
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

/// What a full queue does with another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Its publisher waits for room, so long at most, and is refused then. With no time at all it is refused at once.
    Wait(Duration),
    /// The message that waits longest goes; the new one, where all others are with consumers.
    DropOldest,
    /// The new message goes.
    ///
    /// A transaction is done whole or not at all: where its messages would go, it is refused.
    DropNewest,
}

impl EmbeddedBroker {
    /// What is wrong with prefixes and settings, one text each.
    pub(super) fn configuration_mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (at, (prefix, _)) in self.prefixes.iter().enumerate() {
            let text = &prefix.text;
            if !text.starts_with('/') {
                mistakes.push(format!("broker prefix {text:?}: must begin with `/`"));
            }
            let mut before = self.prefixes[..at].iter();
            if before.any(|(other, _)| {
                other.text == *text || other.covers(text) || prefix.covers(&other.text)
            }) {
                mistakes.push(format!("broker prefix {text:?}: overlaps with another one"));
            }
        }
        let topics = self.topic_settings.iter();
        let topics = topics
            .map(|(pattern, settings)| (pattern, &settings.dead_letters, DestinationKind::Topic));
        let queues = self.queue_settings.iter();
        let queues = queues
            .map(|(pattern, settings)| (pattern, &settings.dead_letters, DestinationKind::Queue));
        for (pattern, dead_letters, wanted) in topics.chain(queues) {
            let what = match wanted {
                DestinationKind::Topic => "topic",
                DestinationKind::Queue => "queue",
            };
            match Pattern::parse_separated(pattern.clone(), self.separator(pattern)) {
                Err(error) => mistakes.push(format!("{what} settings for {pattern:?}: {error}")),
                Ok(_) if self.kind(pattern).is_none_or(|(kind, _)| kind != wanted) => {
                    mistakes.push(format!(
                        "{what} settings for {pattern:?}: no prefix of {what}s covers that"
                    ));
                }
                Ok(_) => {
                    let Some(place) = dead_letters else { continue };
                    if Destination::parse(place.clone()).is_err() || !self.serves(place) {
                        mistakes.push(format!("{what} settings for {pattern:?}: dead letters go to {place:?}, which the broker does not carry"));
                    }
                }
            }
        }
        mistakes
    }
}
