//! Why a request was not carried out.

use bytestring::ByteString;

use crate::request::DeliveryRef;
use crate::session_id::SessionId;

/// A batch that was not published to its end: the first message that was refused ended it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
#[non_exhaustive]
pub struct Refused {
    /// How many of its messages were published before.
    pub done: usize,
    /// Why the next was not.
    #[source]
    pub error: PublishError,
}

impl Refused {
    /// After `done` messages, for `error`.
    pub fn new(done: usize, error: PublishError) -> Self {
        Self { done, error }
    }
}

/// Why a session was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The session was closed already.
    #[error("the session is closed")]
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
    /// What an engine answers when it is to deliver the messages of a user or session.
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

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The publisher named a destination outside the broker's prefixes.
    #[error("no broker destination: {destination:?} is under none of {prefixes}")]
    UnknownDestination {
        /// The destination.
        destination: ByteString,
        /// The prefixes that the broker has, for the text.
        prefixes: ByteString,
    },
    /// The broker knows as many destinations as it may.
    #[error(
        "the broker has {limit} destinations, as many as it may; use fewer names or raise its limit"
    )]
    TooManyDestinations {
        /// The limit.
        limit: usize,
    },
    /// The queue stayed full for as long as may be waited.
    #[error(
        "the queue {queue:?} is full: {messages} messages of {max_messages}, {bytes} bytes of {max_bytes}; send less, add \
         consumers or raise its limits"
    )]
    QueueFull {
        /// The queue.
        queue: ByteString,
        /// Its messages, given to consumers and not settled ones included.
        messages: usize,
        /// [`QueueSettings::max_messages`](crate::QueueSettings::max_messages).
        max_messages: usize,
        /// Their bytes.
        bytes: usize,
        /// [`QueueSettings::max_bytes`](crate::QueueSettings::max_bytes).
        max_bytes: usize,
    },
    /// All messages that wait somewhere take as much memory as they may.
    #[error(
        "the broker holds as many bytes of messages as it may, {limit}; wait until some are delivered, or raise its limit"
    )]
    OutOfMemory {
        /// The limit in bytes.
        limit: usize,
    },
    /// The publisher's `expires` or `expiration` is no number of milliseconds.
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

/// Why a delivery was not settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The session has no such delivery.
    #[error(
        "no delivery {delivery} waits to be acknowledged; acknowledge each once, and none after its subscription ended or \
         after a later one in the mode `client`"
    )]
    UnknownDelivery {
        /// How it was named.
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

/// Why a transaction was not committed: nothing of it was done.
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

/// Why a subscription was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The client named a destination outside the broker's prefixes.
    #[error("no broker destination: {destination:?} is under none of {prefixes}")]
    UnknownDestination {
        /// The destination or pattern.
        destination: ByteString,
        /// The prefixes that the broker has, for the text.
        prefixes: ByteString,
    },
    /// The client wanted many queues at once.
    #[error("{pattern:?} has wildcards; a queue is consumed by its own name")]
    PatternOnQueue {
        /// The pattern.
        pattern: ByteString,
    },
    /// The client wanted more deliveries on their way than may be.
    #[error(
        "a prefetch-count of {wanted} is too large; at most {limit} are given out before some are acknowledged"
    )]
    PrefetchTooLarge {
        /// What was wanted.
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
    /// The broker knows as many destinations as it may.
    #[error(
        "the broker has {limit} destinations, as many as it may; use fewer names or raise its limit"
    )]
    TooManyDestinations {
        /// The limit.
        limit: usize,
    },
    /// The client asked for an option that this broker does not have.
    #[error("this broker does not support the header `{option}`")]
    Unsupported {
        /// The STOMP header that asks for it.
        option: &'static str,
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
    #[error("the broker did not answer; whether it subscribed is not known")]
    OutcomeUnknown,
}

/// Why an engine did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker did not start: {reason}")]
#[non_exhaustive]
pub struct StartError {
    /// The engine's reason.
    pub reason: ByteString,
}

impl StartError {
    /// An engine that did not start for this `reason`.
    pub fn new(reason: impl Into<ByteString>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}
