//! Requests of sessions and publishers, and the answers to them.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytestring::ByteString;

use crate::AckMode;
use crate::destination::{Destination, Pattern};
use crate::errors::SubscribeError;
use crate::hub::outbox::Outbox;
use crate::message::{Gap, Message, Position, Publish};
use crate::session_id::SessionId;

/// A session that [`Hub::open`](crate::Hub::open) makes a member of the hub.
#[derive(Debug)]
#[non_exhaustive]
pub struct OpenSession {
    /// Its id.
    pub id: SessionId,
    /// The name of its user; `None` for an anonymous session.
    pub user: Option<ByteString>,
    /// The address whose [shares](crate::Shares) an anonymous session has; it may have a part of the shares of all if
    /// there is none.
    pub address: Option<ByteString>,
    /// The queue of its deliveries.
    pub outbox: Arc<Outbox>,
}

impl OpenSession {
    /// Creates a session of `user`, or an anonymous one, that takes its deliveries from `outbox`.
    pub fn new(id: SessionId, user: Option<ByteString>, outbox: Arc<Outbox>) -> Self {
        Self {
            id,
            user,
            address: None,
            outbox,
        }
    }

    /// Sets [`OpenSession::address`].
    #[must_use]
    pub fn address(mut self, address: impl Into<ByteString>) -> Self {
        self.address = Some(address.into());
        self
    }
}

/// A request to start a subscription, for [`Hub::subscribe`](crate::Hub::subscribe).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscribeRequest {
    /// The subscribing session.
    pub session: SessionId,
    /// The session's number for the subscription: deliveries carry it. It is never used again in the session, not
    /// even after the subscription has ended.
    pub slot: u32,
    /// The address to receive from.
    pub address: Address,
    /// The acknowledgement mode. On topics and user destinations [`AckMode::Auto`] means that deliveries need not be
    /// settled. On queues they always must be: the session settles them once it has written them to an `Auto` client.
    pub ack: AckMode,
    /// The maximum number of unsettled deliveries; the hub's default if `None`.
    pub prefetch: Option<NonZeroU32>,
    /// The client's id of the subscription, for the registry.
    pub id: ByteString,
    /// The destination as the client wrote it, for the registry.
    pub destination: ByteString,
    /// Where the subscription starts, and which messages it receives.
    pub options: SubscribeOptions,
}

impl SubscribeRequest {
    /// Creates a request of `session` for `address`, with the number `slot`.
    pub fn new(session: SessionId, slot: u32, address: impl Into<Address>) -> Self {
        Self {
            session,
            slot,
            address: address.into(),
            ack: AckMode::Auto,
            prefetch: None,
            id: ByteString::new(),
            destination: ByteString::new(),
            options: SubscribeOptions::default(),
        }
    }

    /// Sets [`SubscribeRequest::ack`].
    #[must_use]
    pub fn acknowledged(mut self, ack: AckMode) -> Self {
        self.ack = ack;
        self
    }

    /// Sets [`SubscribeRequest::prefetch`].
    #[must_use]
    pub fn prefetch(mut self, count: NonZeroU32) -> Self {
        self.prefetch = Some(count);
        self
    }

    /// Sets the client's own [`id`](Self::id) and [`destination`](Self::destination), which the registry shows.
    #[must_use]
    pub fn described(
        mut self,
        id: impl Into<ByteString>,
        destination: impl Into<ByteString>,
    ) -> Self {
        self.id = id.into();
        self.destination = destination.into();
        self
    }

    /// Sets [`SubscribeRequest::options`].
    #[must_use]
    pub fn options(mut self, options: SubscribeOptions) -> Self {
        self.options = options;
        self
    }
}

/// The address that a subscription receives messages from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// Messages to these destinations.
    Pattern(Pattern),
    /// Messages to this session, or to its user, at `path`.
    User {
        /// The part after the user prefix: `/queue/errors` for a client's `/user/queue/errors`.
        path: Destination,
    },
    /// The application's single answer, which the session delivers itself. The hub records the subscription and
    /// delivers nothing to it.
    Application,
}

impl From<Pattern> for Address {
    fn from(pattern: Pattern) -> Self {
        Self::Pattern(pattern)
    }
}

/// Options of a subscription beyond acknowledgement. For queues and durable subscriptions an engine declares the supported
/// ones ([`Capabilities::options`](crate::Capabilities::options)). For other subscriptions to topics the hub itself has
/// [`selector`](Self::selector), and [`start`](Self::start) and [`retained`](Self::retained) where a topic keeps its
/// [`History`](crate::History). Options that are not supported are refused with an error that names them; user destinations
/// and the application have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// The first message to receive. Default [`Start::Live`].
    pub start: Start,
    /// Delivers the last value, or the last of each key of a [compacted](crate::History::latest) topic, before the live
    /// messages. Default false.
    pub retained: bool,
    /// The client's id of a subscription that the engine keeps, with its messages, while no session uses it; an anonymous
    /// session has none. The engine receives it with the user's name, as [`Consumer::durable`](crate::Consumer::durable).
    /// Default none: the subscription ends with its session.
    pub durable: Option<ByteString>,
    /// A condition on a message's headers, as [`Selector`](crate::Selector) reads it; only messages that meet it are
    /// delivered. Default none.
    pub selector: Option<ByteString>,
    /// Shows a queue's messages without removing them. Default false.
    pub browse: bool,
}

/// The name of a durable subscription, the same in all sessions of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DurableName {
    /// The user.
    pub user: ByteString,
    /// The client's id of it, unique for the user.
    pub id: ByteString,
}

/// The first message of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The first one published after the subscription is active.
    #[default]
    Live,
    /// The first one after this position, of a subscription to one destination.
    After(Position),
    /// For a pattern: the first one of each destination after its position. For destinations without a position,
    /// [`OTHERS`](Self::OTHERS) may have the position that an earlier subscription to the pattern
    /// [started](Subscribed::start) after: they begin with the first message since then. Without that they begin with the
    /// first that is kept.
    AfterEach(Vec<(ByteString, Position)>),
}

impl Start {
    /// Stands for all destinations that [`AfterEach`](Self::AfterEach) does not name.
    pub const OTHERS: &str = "*";
}

/// Which [`SubscribeOptions`] an engine supports. Default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionSupport {
    /// [`Start::After`].
    pub resume: bool,
    /// [`SubscribeOptions::retained`].
    pub retained: bool,
    /// [`SubscribeOptions::durable`].
    pub durable: bool,
    /// [`SubscribeOptions::selector`].
    pub selector: bool,
    /// [`SubscribeOptions::browse`].
    pub browse: bool,
}

impl SubscribeOptions {
    /// Returns the first requested option that is not supported, as the STOMP header that asks for it.
    fn unsupported(&self, support: OptionSupport) -> Option<&'static str> {
        let asked = [
            (self.start != Start::Live, support.resume, "resume-from"),
            (self.retained, support.retained, "retained"),
            (self.durable.is_some(), support.durable, "durable"),
            (self.selector.is_some(), support.selector, "selector"),
            (self.browse, support.browse, "browser"),
        ];
        let missing = asked.into_iter().find(|(asked, has, _)| *asked && !has);
        missing.map(|(_, _, header)| header)
    }

    /// Refuses an option that is not supported.
    pub(crate) fn check(&self, support: OptionSupport) -> Result<(), SubscribeError> {
        match self.unsupported(support) {
            Some(option) => Err(SubscribeError::Unsupported { option }),
            None => Ok(()),
        }
    }
}

/// An active subscription: every message published from now on reaches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscribed {
    /// The position before the subscription's first message, if the engine knows it, or the topic keeps messages. That of a
    /// pattern is one for all of its destinations: [`Start::OTHERS`].
    pub start: Option<Position>,
    /// Messages after [`Start::After`] and before the first delivered one that are no longer kept.
    pub gap: Option<Gap>,
    /// The same for each destination of a pattern.
    pub gaps: Vec<(ByteString, Gap)>,
    /// The number of kept messages that are delivered before the live ones; `None` if none were asked for, or a selector
    /// decides.
    pub recovered: Option<usize>,
    /// True if messages of a durable subscription were dropped while no session used it.
    pub missed: bool,
}

impl Subscribed {
    /// Creates a subscription that starts after `start`.
    pub fn after(start: Position) -> Self {
        Self {
            start: Some(start),
            ..Self::default()
        }
    }

    /// Adds missing messages.
    #[must_use]
    pub fn gap(mut self, gap: Gap) -> Self {
        self.gap = Some(gap);
        self
    }
}

/// A session's verdict on a delivery that it received, for [`Hub::settle`](crate::Hub::settle).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settle {
    /// The subscription; `None` to find the session's subscription that has the delivery.
    pub slot: Option<u32>,
    /// The delivery.
    pub delivery: DeliveryRef,
    /// The verdict.
    pub outcome: Outcome,
}

impl Settle {
    /// Creates a settlement of `delivery` to the subscription `slot`.
    pub fn new(slot: Option<u32>, delivery: DeliveryRef, outcome: Outcome) -> Self {
        Self {
            slot,
            delivery,
            outcome,
        }
    }
}

/// Refers to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryRef {
    /// By its [tag](crate::Delivery::tag).
    Tag(u32),
    /// By its tag, without those before it, whatever the subscription's mode: for what a session did not write.
    Only(u32),
    /// By the id of its message.
    MessageId(ByteString),
}

impl fmt::Display for DeliveryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) | Self::Only(tag) => write!(f, "{tag}"),
            Self::MessageId(id) => f.write_str(id),
        }
    }
}

/// How a delivery is settled, in AMQP's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was processed: STOMP's ACK.
    Accepted,
    /// Another consumer should process it: STOMP's NACK. A topic has no other, so there it means
    /// [`Rejected`](Self::Rejected).
    Released,
    /// No consumer should process it again: NACK with `requeue:false`. The message becomes a dead letter.
    Rejected,
    /// Its time to live ended before it was written. The message becomes a dead letter with that reason.
    Expired,
}

/// A session's transaction, STOMP's BEGIN to COMMIT, for [`Hub::commit`](crate::Hub::commit).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Transaction {
    /// Deliveries to settle.
    pub settles: Vec<Settle>,
    /// Messages to publish, in order.
    pub publishes: Vec<Publish>,
}

impl Transaction {
    /// Creates a transaction of these parts.
    pub fn new(settles: Vec<Settle>, publishes: Vec<Publish>) -> Self {
        Self { settles, publishes }
    }
}

/// The outcome of a published batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Subscriptions on this node that the batch's messages were queued for, summed over all messages.
    pub local_receivers: usize,
}

impl Published {
    /// Creates the outcome of a batch that reached `local_receivers` subscriptions of this node.
    pub fn new(local_receivers: usize) -> Self {
        Self { local_receivers }
    }
}

/// A part of the messages that a topic keeps: the answer of [`Hub::history`](crate::Hub::history).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Past {
    /// The messages, in order.
    pub messages: Vec<Arc<Message>>,
    /// The position to go on from: a subscription that [resumes](crate::Start::After) there, or the next call, receives
    /// what follows.
    pub position: Position,
    /// Messages before them that are no longer kept.
    pub gap: Option<Gap>,
}
