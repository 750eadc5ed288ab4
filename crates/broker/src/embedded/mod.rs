//! The broker inside the application's own process.

mod patterns;
mod subscribers;
mod topics;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytestring::ByteString;

use self::subscribers::Subscriber;
use self::topics::{Full, Place, Topics};
use crate::registry::{Held, Registry, Session};
use crate::{
    Broker, Confirm, Destination, Message, OpenError, OpenSession, Outbox, Publish, PublishError,
    Published, SessionId, Source, SubscribeError, SubscribeRequest, Target,
};

/// The broker that lives in the application's process and keeps everything in memory.
///
/// *Topics* are the destinations under the prefixes given to [`topics`](Self::topics): each message goes to all who are
/// subscribed at that moment, to a destination or to a [`Pattern`](crate::Pattern) that covers it.
///
/// * **Order**: the messages of a destination are numbered, and all its subscribers see them in that order, whoever
///   published them and whatever else they are subscribed to.
/// * **Confirmation**: `publish` has queued the message to every subscriber when it returns; a subscription is active
///   when `subscribe` returns. Neither ever waits.
/// * **Cost**: publishing to a name that nobody listens to costs a look-up and leaves nothing behind; a destination
///   that is no longer used is forgotten within two [sweeps](Broker::sweep).
///
/// # Example: publish and subscribe
///
/// ```
/// use std::sync::Arc;
/// use tramline_broker::{
///     Broker, Destination, EmbeddedBroker, Headers, OpenSession, Outbox, Overflow, Pattern, Publish, SessionId,
///     SubscribeRequest,
/// };
///
/// let broker = EmbeddedBroker::new().topics("/topic");
/// let (session, outbox) = (SessionId::random(), Arc::new(Outbox::new(65_536, Overflow::Close)));
/// broker.open(OpenSession::new(session, None, outbox.clone())).into_ready().unwrap()?;
/// let request = SubscribeRequest::new(session, 0, Pattern::parse("/topic/rooms/*")?);
/// broker.subscribe(request).into_ready().unwrap()?;
///
/// let publish = Publish::new(Destination::parse("/topic/rooms/7")?, Headers::new(), "hello");
/// let published = broker.publish(vec![publish]).into_ready().unwrap()?;
/// assert_eq!(published.local_receivers, 1);
/// assert!(outbox.queued_bytes() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EmbeddedBroker {
    topic_prefixes: Vec<ByteString>,
    topics: Topics,
    registry: Registry<Place>,
    /// Begins every message id of this start of this broker.
    id_prefix: u64,
    next_id: AtomicU64,
}

const MAX_DESTINATIONS: usize = 1_000_000;

impl EmbeddedBroker {
    /// A broker that carries nothing yet: say what, with [`topics`](Self::topics).
    pub fn new() -> Self {
        let id_prefix = u64::from_ne_bytes(crate::random_bytes());
        Self {
            topic_prefixes: Vec::new(),
            topics: Topics::new(id_prefix, MAX_DESTINATIONS),
            registry: Registry::default(),
            id_prefix,
            next_id: AtomicU64::new(1),
        }
    }

    /// Carries the destinations below `prefix` as topics: `/topic` for `/topic/greetings`. May be called repeatedly.
    #[must_use]
    pub fn topics(mut self, prefix: impl Into<ByteString>) -> Self {
        let prefix: ByteString = prefix.into();
        self.topic_prefixes
            .push(prefix.trim_end_matches('/').into());
        self
    }

    /// Knows at most `limit` destinations at a time; beyond it, SUBSCRIBE to a new name and publishing to one that a
    /// pattern covers are refused by name. Default 1,000,000: at some 300 bytes each they stay below what a server has,
    /// and no sensible application comes near.
    #[must_use]
    pub fn max_destinations(mut self, limit: usize) -> Self {
        self.topics.limit = limit;
        self
    }

    /// How many destinations the broker knows at the moment.
    pub fn destinations(&self) -> usize {
        self.topics.len()
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.registry.len()
    }

    fn subscribe_to(
        &self,
        session: &Arc<Session<Place>>,
        request: SubscribeRequest,
    ) -> Result<(), SubscribeError> {
        let slot = request.slot;
        let held = match request.source {
            Source::User { path } => Held::User(path),
            Source::Pattern(pattern) if !self.serves(pattern.as_str()) => {
                return Err(SubscribeError::UnknownDestination {
                    destination: pattern.as_str().into(),
                    prefixes: self.prefixes(),
                });
            }
            Source::Pattern(pattern) => {
                let outbox: Arc<Outbox> = Arc::clone(&session.outbox);
                let place = self.topics.subscribe(&pattern, Subscriber { outbox, slot });
                Held::Broker(place.map_err(|Full| SubscribeError::TooManyDestinations {
                    limit: self.topics.limit,
                })?)
            }
        };
        session.hold(slot, held).map_err(|held| {
            self.let_go(&held);
            SubscribeError::UnknownSession {
                session: request.session,
            }
        })
    }

    fn let_go(&self, held: &Held<Place>) {
        if let Held::Broker(place) = held {
            self.topics.unsubscribe(place);
        }
    }

    fn check(&self, batch: &[Publish]) -> Result<(), PublishError> {
        let unknown = batch
            .iter()
            .filter_map(Publish::destination)
            .find(|destination| !self.serves(destination));
        unknown.map_or(Ok(()), |destination| {
            Err(PublishError::UnknownDestination {
                destination: destination.as_str().into(),
                prefixes: self.prefixes(),
            })
        })
    }

    fn publish_all(&self, batch: Vec<Publish>) -> Result<Published, PublishError> {
        let mut receivers = 0;
        let mut batch = batch.into_iter().peekable();
        while let Some(publish) = batch.next() {
            match publish.target.clone() {
                Target::Destination(destination) => {
                    // What follows for the same destination shares its turn, and one wake of each subscriber.
                    let mut run = vec![publish];
                    while let Some(next) =
                        batch.next_if(|next| next.destination() == Some(&destination))
                    {
                        run.push(next);
                    }
                    let published = self.topics.publish(&destination, run, || self.message_id());
                    receivers += published.map_err(|Full| PublishError::TooManyDestinations {
                        limit: self.topics.limit,
                    })?;
                }
                Target::User { name, path } => {
                    receivers += self.publish_to(self.registry.sessions_of(&name), &path, publish);
                }
                Target::Session { id, path } => {
                    receivers += self.publish_to(self.registry.session(id), &path, publish);
                }
            }
        }
        Ok(Published::new(receivers))
    }

    fn publish_to(
        &self,
        sessions: impl IntoIterator<Item = Arc<Session<Place>>>,
        path: &Destination,
        publish: Publish,
    ) -> usize {
        let message = Arc::new(Message::new(publish, self.message_id(), None));
        sessions
            .into_iter()
            .map(|session| session.deliver(path, &message))
            .sum()
    }

    fn message_id(&self) -> ByteString {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number}", self.id_prefix as u32).into()
    }

    fn prefixes(&self) -> ByteString {
        match self.topic_prefixes.as_slice() {
            [] => "no prefix at all (none was configured)".into(),
            prefixes => prefixes.join(", ").into(),
        }
    }
}

impl Default for EmbeddedBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl Broker for EmbeddedBroker {
    fn serves(&self, destination: &str) -> bool {
        self.topic_prefixes.iter().any(|prefix| {
            destination
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>> {
        self.registry.open(session);
        Confirm::ready(Ok(()))
    }

    fn close(&self, session: SessionId) {
        for held in self.registry.close(session) {
            self.let_go(&held);
        }
    }

    fn subscribe(&self, request: SubscribeRequest) -> Confirm<Result<(), SubscribeError>> {
        let session = request.session;
        Confirm::ready(match self.registry.session(session) {
            Some(session) => self.subscribe_to(&session, request),
            None => Err(SubscribeError::UnknownSession { session }),
        })
    }

    fn unsubscribe(&self, session: SessionId, slot: u32) -> Confirm<()> {
        if let Some(held) = self
            .registry
            .session(session)
            .and_then(|session| session.release(slot))
        {
            self.let_go(&held);
        }
        Confirm::ready(())
    }

    fn publish(&self, batch: Vec<Publish>) -> Confirm<Result<Published, PublishError>> {
        Confirm::ready(self.check(&batch).and_then(|()| self.publish_all(batch)))
    }

    fn sweep(&self, _now: Instant) {
        self.topics.sweep();
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker")
            .field("topic_prefixes", &self.topic_prefixes)
            .field("destinations", &self.destinations())
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}
