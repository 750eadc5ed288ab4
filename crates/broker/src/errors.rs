//! Errors of requests.

use bytestring::ByteString;

use crate::hub::accounts::ShareUsedUp;
use crate::message::{Position, Publish};
use crate::request::DeliveryRef;
use crate::selector::SelectorError;
use crate::session_id::SessionId;

/// A batch ended at its first refused message; the messages before it were published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
#[non_exhaustive]
pub struct Refused {
    /// The number of messages published before.
    pub done: usize,
    /// The error of the refused message.
    #[source]
    pub error: PublishError,
    /// The destination of the refused message, where the engine names it.
    pub destination: Option<Box<str>>,
    /// The messages behind it, unpublished: they are independent of it, and their publisher may go on with them. Empty
    /// where their outcome is unknown.
    pub rest: Vec<Publish>,
}

impl Refused {
    /// Creates the error of a batch that published `done` messages and then failed with `error`.
    pub fn new(done: usize, error: PublishError) -> Self {
        Self {
            done,
            error,
            destination: None,
            rest: Vec::new(),
        }
    }

    /// Creates the error of a batch whose first message is refused.
    pub fn first_of(batch: Vec<Publish>, error: PublishError) -> Self {
        let mut rest = batch.into_iter();
        let first = rest.next();
        let destination = first.and_then(|first| Some(first.destination()?.as_str().into()));
        Self {
            destination,
            ..Self::new(0, error).with_rest(rest)
        }
    }

    /// Names the destination of the refused message.
    #[must_use]
    pub fn named(mut self, destination: impl Into<Box<str>>) -> Self {
        self.destination = Some(destination.into());
        self
    }

    /// Gives back the messages behind the refused one.
    #[must_use]
    pub fn with_rest(mut self, rest: impl IntoIterator<Item = Publish>) -> Self {
        self.rest.extend(rest);
        self
    }
}

/// A session could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The session was opened or closed before.
    #[error("the session was opened or closed before")]
    Closed,
    /// The engine refused.
    #[error("the broker refused: {reason}")]
    Refused {
        /// The engine's reason.
        reason: ByteString,
    },
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
    /// The engine received the request, or may have, and never answered: it may have been carried out. The hub does not
    /// repeat it.
    #[error("the broker did not answer; whether it opened the session is not known")]
    OutcomeUnknown,
}

impl From<SubscribeError> for OpenError {
    /// Converts the error of an engine that could not deliver the messages of a user or session.
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::BrokerUnavailable => Self::BrokerUnavailable,
            SubscribeError::OutcomeUnknown => Self::OutcomeUnknown,
            error => Self::Refused {
                reason: error.to_string().into(),
            },
        }
    }
}

/// A message could not be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The publisher named a destination outside the broker's prefixes.
    #[error("no broker destination: {destination:?} is under none of {prefixes}")]
    UnknownDestination {
        /// The destination.
        destination: ByteString,
        /// The broker's prefixes, for the text.
        prefixes: ByteString,
    },
    /// The broker has reached its limit of destinations:
    /// [`max_destinations`](crate::HubSettings::max_destinations).
    #[error("the broker has {limit} destinations, as many as it may; use fewer names")]
    TooManyDestinations {
        /// The limit.
        limit: usize,
    },
    /// A share of the client is used up.
    #[error(transparent)]
    ShareUsedUp(#[from] ShareUsedUp),
    /// The queue stayed full for as long as the publisher may wait.
    #[error(
        "the queue {queue:?} has no room: it holds {messages} messages of {max_messages}, {bytes} bytes of {max_bytes}; send \
         less, or send it again later"
    )]
    QueueFull {
        /// The queue.
        queue: ByteString,
        /// Its messages, including unsettled deliveries.
        messages: usize,
        /// [`QueueSettings::max_messages`](crate::QueueSettings::max_messages).
        max_messages: usize,
        /// Their bytes.
        bytes: usize,
        /// [`QueueSettings::max_bytes`](crate::QueueSettings::max_bytes).
        max_bytes: usize,
    },
    /// All messages together have reached the broker's memory limit: [`max_bytes`](crate::HubSettings::max_bytes).
    #[error(
        "the broker holds as many bytes of messages as it may, {limit}; send it again when some are delivered"
    )]
    OutOfMemory {
        /// The limit in bytes.
        limit: usize,
    },
    /// The publisher's `expires` or `expiration` is not a number of milliseconds.
    #[error("the header `{header}` is {value:?}; it must be a number of milliseconds, as digits")]
    InvalidExpiry {
        /// The header's name.
        header: &'static str,
        /// Its value.
        value: ByteString,
    },
    /// The engine refused.
    #[error("the broker refused: {reason}")]
    Refused {
        /// The engine's reason.
        reason: ByteString,
    },
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
    /// The engine received the request, or may have, and never answered: it may have been carried out. The hub does not
    /// repeat it.
    #[error("the broker did not answer; whether it has the message is not known")]
    OutcomeUnknown,
}

impl PublishError {
    /// Returns true if a limit is used up for now: the same message may be published later.
    pub fn is_overload(&self) -> bool {
        matches!(
            self,
            Self::TooManyDestinations { .. }
                | Self::ShareUsedUp(_)
                | Self::QueueFull { .. }
                | Self::OutOfMemory { .. }
        )
    }
}

/// A delivery could not be settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The session has no such delivery.
    #[error(
        "no delivery {delivery} waits to be acknowledged; acknowledge each once, and none after its subscription ended or \
         after a later one in the mode `client`"
    )]
    UnknownDelivery {
        /// The reference that the client gave.
        delivery: DeliveryRef,
    },
    /// The delivery is no longer the consumer's: its subscription or link ended.
    #[error("a delivery to be acknowledged went back to its queue when its subscription ended")]
    Gone,
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
    /// The engine received the request, or may have, and never answered: it may have been carried out. The hub does not
    /// repeat it.
    #[error("the broker did not answer; whether it settled the delivery is not known")]
    OutcomeUnknown,
}

/// A transaction could not be committed; nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// One of its deliveries could not be settled.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// One of its messages could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// A subscription could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The client named a destination outside the broker's prefixes.
    #[error("no broker destination: {destination:?} is under none of {prefixes}")]
    UnknownDestination {
        /// The destination or pattern.
        destination: ByteString,
        /// The broker's prefixes, for the text.
        prefixes: ByteString,
    },
    /// The client subscribed to many queues at once.
    #[error("{pattern:?} has wildcards; a queue is consumed by its own name")]
    PatternOnQueue {
        /// The pattern.
        pattern: ByteString,
    },
    /// The client asked for too large a prefetch.
    #[error(
        "a prefetch-count of {wanted} is too large; at most {limit} are given out before some are acknowledged"
    )]
    PrefetchTooLarge {
        /// The requested prefetch.
        wanted: u32,
        /// The limit.
        limit: u32,
    },
    /// The session was not opened, or is closed.
    #[error("the session {session} is not open")]
    UnknownSession {
        /// The session.
        session: SessionId,
    },
    /// The broker has reached its limit of destinations:
    /// [`max_destinations`](crate::HubSettings::max_destinations).
    #[error("the broker has {limit} destinations, as many as it may; use fewer names")]
    TooManyDestinations {
        /// The limit.
        limit: usize,
    },
    /// A share of the client is used up.
    #[error(transparent)]
    ShareUsedUp(#[from] ShareUsedUp),
    /// A session without a user asked for a durable subscription.
    #[error(
        "a durable subscription belongs to a user, and this session is anonymous; log in first"
    )]
    AnonymousDurable,
    /// The client asked for an option that the broker does not support, or not for such a destination.
    #[error("this broker does not support the header `{option}` for this destination")]
    Unsupported {
        /// The STOMP header that asks for it.
        option: &'static str,
    },
    /// The client asked to resume from a position that no message has had.
    #[error(
        "the position {asked} of {destination:?} is ahead of its last message, {last}; resume from one that the server gave"
    )]
    PositionAhead {
        /// The topic.
        destination: ByteString,
        /// The requested position.
        asked: Position,
        /// The last one of the topic.
        last: Position,
    },
    /// The client asked for the kept messages of too many topics at once.
    #[error(
        "{pattern:?} covers more than {limit} topics that keep messages; ask for them by several narrower patterns"
    )]
    TooManyToRead {
        /// The pattern.
        pattern: ByteString,
        /// The limit.
        limit: usize,
    },
    /// The client's options exclude each other.
    #[error("{reason}")]
    Contradiction {
        /// Which ones, and what to do.
        reason: &'static str,
    },
    /// The client's selector is invalid.
    #[error("the header `selector` is invalid: {0}")]
    Selector(#[from] SelectorError),
    /// The engine refused.
    #[error("the broker refused: {reason}")]
    Refused {
        /// The engine's reason.
        reason: ByteString,
    },
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
    /// The engine received the request, or may have, and never answered: it may have been carried out. The hub does not
    /// repeat it.
    #[error("the broker did not answer; whether it subscribed is not known")]
    OutcomeUnknown,
}

impl SubscribeError {
    /// Returns true if a limit is used up for now: the same subscription may be made later.
    pub fn is_overload(&self) -> bool {
        matches!(
            self,
            Self::TooManyDestinations { .. } | Self::ShareUsedUp(_)
        )
    }
}

/// The engine received the end of a queue subscription, or may have, and never answered: it may still hold messages for
/// it. The hub does not repeat it, and delivers nothing to that subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker did not answer; whether it ended the subscription is not known")]
pub struct UnsubscribeError;

/// An engine did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker did not start: {reason}")]
#[non_exhaustive]
pub struct StartError {
    /// The engine's reason.
    pub reason: ByteString,
}

impl StartError {
    /// Creates the error of an engine that did not start for `reason`.
    pub fn new(reason: impl Into<ByteString>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}
