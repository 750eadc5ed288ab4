//! The border between sessions and whatever carries their messages.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytestring::ByteString;

use crate::{Destination, Outbox, Pattern, Publish, SessionId};

/// What carries messages between sessions: the [`EmbeddedBroker`](crate::EmbeddedBroker), or an external engine
/// behind the same methods.
///
/// For those who write an engine:
///
/// * Methods start their work when called, not when the [`Confirm`] is polled; dropping a `Confirm` cancels nothing.
/// * A confirmation means *done*: after `subscribe`'s, every message published later is seen; after `publish`'s, the
///   messages are stored or fanned out. An engine far away confirms late, and may fail.
/// * All subscribers of a destination see its messages in one order. A session's calls come one after the other, and
///   take effect in that order.
/// * Deliveries go into the session's [`Outbox`], which never blocks; nothing may be held locked that a slow
///   subscriber could keep.
/// * [`Target::User`](crate::Target::User) and [`Target::Session`](crate::Target::Session) reach the sessions that
///   were opened with that name or id, on this node and on others where the engine has several.
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// Whether `destination` (a destination's or pattern's text) is one that this broker carries.
    fn serves(&self, destination: &str) -> bool;

    /// Tells of a new session. Once confirmed, it can subscribe and be a target; an engine may refuse it.
    fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>>;

    /// Tells that a session ended: its subscriptions end, its outbox is let go. Unknown sessions are ignored.
    fn close(&self, session: SessionId);

    /// Starts a subscription of an open session.
    fn subscribe(&self, request: SubscribeRequest) -> Confirm<Result<(), SubscribeError>>;

    /// Ends the subscription that the session knows as `slot`. Deliveries that are already in the outbox stay there.
    fn unsubscribe(&self, session: SessionId, slot: u32) -> Confirm<()>;

    /// Publishes a batch, in order. What can be known before is checked before anything of it is published; an engine
    /// that fails in the middle says so.
    fn publish(&self, batch: Vec<Publish>) -> Confirm<Result<Published, PublishError>>;

    /// Lets go of what nobody uses any more. Called every few seconds by whoever drives the broker, with the time that
    /// it is.
    fn sweep(&self, _now: Instant) {}
}

impl<B: Broker + ?Sized> Broker for Arc<B> {
    fn serves(&self, destination: &str) -> bool {
        (**self).serves(destination)
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

    fn publish(&self, batch: Vec<Publish>) -> Confirm<Result<Published, PublishError>> {
        (**self).publish(batch)
    }

    fn sweep(&self, now: Instant) {
        (**self).sweep(now);
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
}

impl SubscribeRequest {
    /// A request of `session` for `source`, which it will know as `slot`.
    pub fn new(session: SessionId, slot: u32, source: impl Into<Source>) -> Self {
        Self {
            session,
            slot,
            source: source.into(),
        }
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

/// Why a session was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
}

/// Why a batch was not published.
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
    /// The engine cannot be reached; try again later.
    #[error("the broker is not available")]
    BrokerUnavailable,
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

/// A broker's answer, now or later: a future that costs nothing when the answer is already there.
///
/// # Example: an answer that is there
///
/// ```
/// use tramline_broker::Confirm;
///
/// assert_eq!(Confirm::ready(7).into_ready().ok(), Some(7));
/// assert!(Confirm::later(async { 7 }).into_ready().is_err());
/// ```
#[must_use = "the answer may be an error"]
pub struct Confirm<T>(Inner<T>);

enum Inner<T> {
    Ready(Option<T>),
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Confirm<T> {
    /// An answer that is known.
    pub fn ready(answer: T) -> Self {
        Self(Inner::Ready(Some(answer)))
    }

    /// An answer to come. The work must go on without the future being polled.
    pub fn later(answer: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Inner::Later(Box::pin(answer)))
    }

    /// The answer if it is there, else `self` to wait for.
    ///
    /// # Errors
    ///
    /// `Err(self)` when the answer is still to come.
    pub fn into_ready(mut self) -> Result<T, Self> {
        match &mut self.0 {
            Inner::Ready(answer) => answer.take().ok_or(self),
            Inner::Later(_) => Err(self),
        }
    }
}

// Nothing inside is pinned in place: the future to come has its own box.
impl<T> Unpin for Confirm<T> {}

impl<T> Future for Confirm<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Inner::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Inner::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

impl<T> fmt::Debug for Confirm<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Ready(_) => "Confirm::Ready",
            Inner::Later(_) => "Confirm::Later",
        })
    }
}
