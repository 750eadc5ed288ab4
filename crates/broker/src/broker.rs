//! The border between sessions and whatever carries their messages.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytestring::ByteString;

use crate::{
    AckMode, BrokerStatistics, Confirm, Destination, Outbox, Pattern, Publish, Separator,
    SessionId, Timestamp,
};

/// What carries messages between sessions: the [`EmbeddedBroker`](crate::EmbeddedBroker), or an external engine
/// behind the same methods.
///
/// For those who write an engine:
///
/// * Methods start their work when called, not when the [`Confirm`] is polled; dropping a `Confirm` cancels nothing.
/// * A confirmation means *done*: after `subscribe`'s, every message published later is seen; after `publish`'s, the
///   messages are stored or fanned out; after `settle`'s, what was accepted does not come back. An engine far away
///   confirms late, and may fail.
/// * All subscribers of a topic see its messages in one order. A queue's go out in order too, each to one consumer: to
///   those that have room, in turn. A session's calls come one after the other, and take effect in that order.
/// * Deliveries go into the session's [`Outbox`], which never blocks; nothing may be held locked that a slow
///   subscriber could keep.
/// * A [`Delivery`](crate::Delivery) with a tag belongs to its subscription until it is settled. When the subscription
///   ends before, by whatever end, a queue's message goes to another consumer, marked as
///   [redelivered](crate::Message::redeliveries).
/// * [`Target::User`](crate::Target::User) and [`Target::Session`](crate::Target::Session) reach the sessions that
///   were opened with that name or id, on this node and on others where the engine has several.
/// * No clock is read: what time it is, is said.
///
/// What of this can be tried from outside is tried by [`contract`](crate::contract), for any engine.
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// Whether `destination` (a destination's or pattern's text) is one that this broker carries.
    fn serves(&self, destination: &str) -> bool;

    /// What separates the segments of `destination`, which may be a pattern's text. Default [`Separator::Slash`].
    fn separator(&self, _destination: &str) -> Separator {
        Separator::Slash
    }

    /// What is wrong with how the broker was configured, one text each: whoever builds with it reports them.
    fn mistakes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Tells of a new session. Once confirmed, it can subscribe and be a target; an engine may refuse it.
    fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>>;

    /// Tells that a session ended: its subscriptions end, and nothing is put into its outbox any more. Unknown sessions are
    /// ignored.
    fn close(&self, session: SessionId);

    /// Starts a subscription of an open session.
    fn subscribe(&self, request: SubscribeRequest) -> Confirm<Result<(), SubscribeError>>;

    /// Ends the subscription that the session knows as `slot`. Deliveries without a tag that are already in the outbox
    /// stay there.
    fn unsubscribe(&self, session: SessionId, slot: u32) -> Confirm<()>;

    /// Publishes messages that have nothing to do with each other, in order. The first that is refused ends it: those
    /// before it are published, and no later one.
    ///
    /// A queue that is full is waited for, as long as it is configured to be.
    fn publish(&self, batch: Vec<Publish>, now: Timestamp) -> Confirm<Result<Published, Refused>>;

    /// Settles a delivery that has a tag: all before it of the same subscription too, unless that acknowledges each
    /// [on its own](AckMode::ClientIndividual).
    fn settle(&self, session: SessionId, settle: Settle) -> Confirm<Result<(), SettleError>>;

    /// Does all of a session's transaction or nothing of it: settles first, then publishes in order. One that still waits
    /// for room when its session is closed, and has deliveries to settle, is not done.
    fn commit(
        &self,
        session: SessionId,
        transaction: Transaction,
        now: Timestamp,
    ) -> Confirm<Result<Published, CommitError>>;

    /// Tells that there is room again in the outbox of a session that had none for a delivery with a tag.
    fn resume(&self, session: SessionId);

    /// Does what is due by now, and lets go of what nobody uses any more. Called several times a second by whoever drives
    /// the broker.
    fn sweep(&self, _now: Timestamp) {}

    /// Tells `watcher`, from now on and at once, whether messages are taken: an engine far away calls it again whenever that
    /// changes. Called once, when a stack is built. Default: always true, for brokers in the same process.
    fn watch(&self, watcher: AvailabilityWatcher) {
        watcher(true);
    }

    /// What the broker has counted, over all and for at most `limit` of the destinations that `pattern` covers, in the
    /// order of their names. Default nothing, for engines that keep their own books.
    fn statistics(&self, _pattern: &Pattern, _limit: usize) -> BrokerStatistics {
        BrokerStatistics::default()
    }
}

/// Hears whether a broker takes messages; see [`Broker::watch`].
pub type AvailabilityWatcher = Box<dyn Fn(bool) + Send + Sync>;

impl<B: Broker + ?Sized> Broker for Arc<B> {
    fn serves(&self, destination: &str) -> bool {
        (**self).serves(destination)
    }

    fn separator(&self, destination: &str) -> Separator {
        (**self).separator(destination)
    }

    fn mistakes(&self) -> Vec<String> {
        (**self).mistakes()
    }

    fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>> {
        (**self).open(session)
    }

    fn close(&self, session: SessionId) {
        (**self).close(session);
    }

    fn subscribe(&self, request: SubscribeRequest) -> Confirm<Result<(), SubscribeError>> {
        (**self).subscribe(request)
    }

    fn unsubscribe(&self, session: SessionId, slot: u32) -> Confirm<()> {
        (**self).unsubscribe(session, slot)
    }

    fn publish(&self, batch: Vec<Publish>, now: Timestamp) -> Confirm<Result<Published, Refused>> {
        (**self).publish(batch, now)
    }

    fn settle(&self, session: SessionId, settle: Settle) -> Confirm<Result<(), SettleError>> {
        (**self).settle(session, settle)
    }

    fn commit(
        &self,
        session: SessionId,
        transaction: Transaction,
        now: Timestamp,
    ) -> Confirm<Result<Published, CommitError>> {
        (**self).commit(session, transaction, now)
    }

    fn resume(&self, session: SessionId) {
        (**self).resume(session);
    }

    fn sweep(&self, now: Timestamp) {
        (**self).sweep(now);
    }

    fn watch(&self, watcher: AvailabilityWatcher) {
        (**self).watch(watcher);
    }

    fn statistics(&self, pattern: &Pattern, limit: usize) -> BrokerStatistics {
        (**self).statistics(pattern, limit)
    }
}

/// A session that [`Broker::open`] is told of.
#[derive(Debug)]
#[non_exhaustive]
pub struct OpenSession {
    /// Its id.
    pub id: SessionId,
    /// The name of its user; `None` for an anonymous session.
    pub user: Option<ByteString>,
    /// Where its deliveries go.
    pub outbox: Arc<Outbox>,
}

impl OpenSession {
    /// A session of `user`, or anonymous, that takes its deliveries from `outbox`.
    pub fn new(id: SessionId, user: Option<ByteString>, outbox: Arc<Outbox>) -> Self {
        Self { id, user, outbox }
    }
}

/// What [`Broker::subscribe`] is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscribeRequest {
    /// The subscribing session.
    pub session: SessionId,
    /// The session's name for the subscription, unique within it: deliveries carry it.
    pub slot: u32,
    /// What to receive.
    pub source: Source,
    /// Whether and how its messages are acknowledged. On topics and user destinations [`AckMode::Auto`] means that
    /// deliveries need not be settled; on queues they always do, and whoever writes them to an `Auto` client settles
    /// them.
    pub ack: AckMode,
    /// How many deliveries may wait to be settled; the broker's default where `None`.
    pub prefetch: Option<NonZeroU32>,
}

impl SubscribeRequest {
    /// A request of `session` for `source`, which it will know as `slot`.
    pub fn new(session: SessionId, slot: u32, source: impl Into<Source>) -> Self {
        Self {
            session,
            slot,
            source: source.into(),
            ack: AckMode::Auto,
            prefetch: None,
        }
    }

    /// With another [`SubscribeRequest::ack`].
    #[must_use]
    pub fn acknowledged(mut self, ack: AckMode) -> Self {
        self.ack = ack;
        self
    }

    /// With a [`SubscribeRequest::prefetch`].
    #[must_use]
    pub fn prefetch(mut self, count: NonZeroU32) -> Self {
        self.prefetch = Some(count);
        self
    }
}

/// Where a subscription's messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Destinations.
    Pattern(Pattern),
    /// What is sent to this session, or to its user, at `path`.
    User {
        /// What follows the user prefix: `/queue/errors` for a client's `/user/queue/errors`.
        path: Destination,
    },
}

impl From<Pattern> for Source {
    fn from(pattern: Pattern) -> Self {
        Self::Pattern(pattern)
    }
}

/// What a session says about a delivery that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settle {
    /// The subscription; `None` for whichever of the session's has the delivery.
    pub slot: Option<u32>,
    /// Which delivery.
    pub delivery: DeliveryRef,
    /// What becomes of the message.
    pub outcome: Outcome,
}

impl Settle {
    /// That `delivery` to the subscription `slot` had this `outcome`.
    pub fn new(slot: Option<u32>, delivery: DeliveryRef, outcome: Outcome) -> Self {
        Self {
            slot,
            delivery,
            outcome,
        }
    }
}

/// How a delivery is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryRef {
    /// By its [tag](crate::Delivery::tag).
    Tag(u32),
    /// By the id of its message.
    MessageId(ByteString),
}

impl fmt::Display for DeliveryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "{tag}"),
            Self::MessageId(id) => f.write_str(id),
        }
    }
}

/// How a delivery is settled, in AMQP's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was dealt with: STOMP's ACK.
    Accepted,
    /// Somebody shall try again: STOMP's NACK. A topic has nobody else, so there it is as [`Rejected`](Self::Rejected).
    Released,
    /// Nobody shall try again: NACK with `requeue:false`. The message goes where dead letters go.
    Rejected,
}

/// What a session does all at once: STOMP's BEGIN to COMMIT.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Transaction {
    /// Deliveries to settle.
    pub settles: Vec<Settle>,
    /// Messages to publish, in order.
    pub publishes: Vec<Publish>,
}

impl Transaction {
    /// Of these parts.
    pub fn new(settles: Vec<Settle>, publishes: Vec<Publish>) -> Self {
        Self { settles, publishes }
    }
}

/// What became of a published batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Subscriptions on this node that the batch's messages were queued for, all messages together.
    pub local_receivers: usize,
}

impl Published {
    /// The outcome for a batch that reached `local_receivers` subscriptions of this node.
    pub fn new(local_receivers: usize) -> Self {
        Self { local_receivers }
    }
}

/// A batch that was not published to its end.
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
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
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
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
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
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
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
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
}
