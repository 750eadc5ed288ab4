//! The broker inside the application's own process.

mod clock;
mod commit;
mod job;
mod names;
mod patterns;
mod publishing;
mod queue;
mod settings;
mod subscribers;
mod topics;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;

use self::clock::Clock;
use self::job::Batch;
use self::names::{Names, NoMoreNames, Quota};
use self::queue::{Aftermath, DeadReason, NotTaken, Queue, SeatKey};
pub use self::settings::{Prefix, QueueSettings, TopicSettings, WhenFull};
use self::subscribers::{Sink, Subscriber};
use self::topics::Topics;
use crate::budget::Budget;
use crate::confirm::Promise;
use crate::registry::{Held, Registry, Session};
use crate::statistics::{Counters, DestinationKind, Meter};
use crate::window::{Origin, Window};
use crate::{
    AckMode, Broker, BrokerStatistics, CommitError, Confirm, DeliveryRef, Destination, Message,
    OpenError, OpenSession, Outcome, Pattern, Position, Publish, PublishError, Published, Refused,
    Separator, SessionId, Settle, SettleError, Source, SubscribeError, SubscribeRequest, Timestamp,
    Transaction,
};

/// The broker that lives in the application's process and keeps everything in memory.
///
/// *Topics* are the destinations under the prefixes given to [`topics`](Self::topics): each message goes to all who are
/// subscribed at that moment, to a destination or to a [`Pattern`](crate::Pattern) that covers it. *Queues* are those
/// under the prefixes given to [`queues`](Self::queues): each message goes to one consumer, and waits for one.
///
/// * **Order**: the messages of a topic are numbered, and all its subscribers see them in that order, whoever
///   published them and whatever else they are subscribed to. A queue's go out in the order they came, to its consumers
///   in turn, among those with room; one that comes back takes its old place, marked as redelivered.
/// * **Confirmation**: `publish` has queued the message to every subscriber, or stored it in its queue, when it answers; a
///   subscription is active when `subscribe` returns. Only a full queue makes a publisher wait.
/// * **Acknowledgement**: a queue's message leaves the queue when it is accepted. On topics and user destinations it is a
///   flow window: what is rejected goes to the dead letters if the topic has any, and nothing outlives the subscription.
/// * **Bounds**: outboxes, queues and windows are bounded in bytes, and so are all messages together
///   ([`max_bytes`](Self::max_bytes)). What happens beyond is said per destination, by [`TopicSettings::overflow`] and
///   [`QueueSettings::when_full`], and counted.
/// * **Cost**: publishing to a topic that nobody listens to costs a look-up and leaves nothing behind; a destination
///   that is no longer used is forgotten within half a minute of [sweeps](Broker::sweep).
///
/// # Example: publish and subscribe
///
/// ```
/// use std::sync::Arc;
/// use tramline_broker::{
///     Broker, Destination, EmbeddedBroker, Headers, OpenSession, Outbox, Overflow, Pattern, Publish, SessionId,
///     SubscribeRequest, Timestamp,
/// };
///
/// let broker = EmbeddedBroker::new().topics("/topic").queues("/queue");
/// let (session, outbox) = (SessionId::random(), Arc::new(Outbox::new(65_536, Overflow::Close)));
/// broker.open(OpenSession::new(session, None, outbox.clone())).into_ready().unwrap()?;
/// let request = SubscribeRequest::new(session, 0, Pattern::parse("/topic/rooms/*")?);
/// broker.subscribe(request).into_ready().unwrap()?;
///
/// let now = Timestamp::from_millis(1_000);
/// let publish = Publish::new(Destination::parse("/topic/rooms/7")?, Headers::new(), "hello");
/// let published = broker.publish(vec![publish], now).into_ready().unwrap()?;
/// assert_eq!(published.local_receivers, 1);
/// assert!(outbox.queued_bytes() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EmbeddedBroker {
    prefixes: Vec<(Prefix, DestinationKind)>,
    topics: Topics,
    queues: Names<Queue>,
    topic_settings: Vec<(ByteString, Arc<TopicSettings>)>,
    queue_settings: Vec<(ByteString, Arc<QueueSettings>)>,
    registry: Registry<Place>,
    quota: Arc<Quota>,
    budget: Arc<Budget>,
    totals: Arc<Counters>,
    prefetch: NonZeroU32,
    max_prefetch: u32,
    /// Begins every message id of this start of this broker.
    id_prefix: String,
    next_id: AtomicU64,
    clock: Clock,
    /// When unused destinations were last looked for, in milliseconds of the steady time.
    swept: AtomicU64,
}

/// A subscription's place in the broker.
#[derive(Clone, Debug)]
enum Place {
    Topic(topics::Place, Option<Arc<Window>>),
    Queue(Arc<Queue>, SeatKey),
}

/// How often unused destinations are looked for, in milliseconds: each look goes over all of them.
const SWEEP: u64 = 10_000;

impl EmbeddedBroker {
    /// What [`max_bytes`](Self::max_bytes) is unless it is said: 1 GiB.
    pub const DEFAULT_MAX_BYTES: usize = 1024 * 1024 * 1024;

    /// What [`max_destinations`](Self::max_destinations) is unless it is said.
    pub const DEFAULT_MAX_DESTINATIONS: usize = 1_000_000;

    /// What [`default_prefetch`](Self::default_prefetch) is unless it is said.
    pub const DEFAULT_PREFETCH: NonZeroU32 = NonZeroU32::new(100).unwrap();

    /// What [`max_prefetch`](Self::max_prefetch) is unless it is said.
    pub const DEFAULT_MAX_PREFETCH: u32 = 10_000;

    /// A broker that carries nothing yet: say what, with [`topics`](Self::topics) and [`queues`](Self::queues).
    pub fn new() -> Self {
        let start = u64::from_ne_bytes(crate::random_bytes());
        let quota = Arc::new(Quota::new(Self::DEFAULT_MAX_DESTINATIONS));
        Self {
            prefixes: Vec::new(),
            topics: Topics::new(start, Arc::clone(&quota)),
            queues: Names::new(Arc::clone(&quota)),
            topic_settings: Vec::new(),
            queue_settings: Vec::new(),
            registry: Registry::default(),
            quota,
            budget: Arc::new(Budget::new(Self::DEFAULT_MAX_BYTES)),
            totals: Arc::default(),
            prefetch: Self::DEFAULT_PREFETCH,
            max_prefetch: Self::DEFAULT_MAX_PREFETCH,
            id_prefix: format!("{:x}-", start as u32),
            next_id: AtomicU64::new(1),
            clock: Clock::default(),
            swept: AtomicU64::new(0),
        }
    }

    /// Carries the destinations below `prefix` as topics: `/topic` for `/topic/greetings`. May be called repeatedly.
    ///
    /// `.topics("/queue")` gives `/queue` the fan-out that Spring's simple broker gives it.
    #[must_use]
    pub fn topics(mut self, prefix: impl Into<Prefix>) -> Self {
        self.prefixes.push((prefix.into(), DestinationKind::Topic));
        self
    }

    /// Carries the destinations below `prefix` as queues: `/queue` for `/queue/orders`. May be called repeatedly.
    #[must_use]
    pub fn queues(mut self, prefix: impl Into<Prefix>) -> Self {
        self.prefixes.push((prefix.into(), DestinationKind::Queue));
        self
    }

    /// Treats the topics that `pattern` covers in a way of their own. The first pattern that covers a topic counts.
    #[must_use]
    pub fn topic_settings(
        mut self,
        pattern: impl Into<ByteString>,
        settings: TopicSettings,
    ) -> Self {
        self.topic_settings
            .push((pattern.into(), Arc::new(settings)));
        self
    }

    /// Treats the queues that `pattern` covers in a way of their own. The first pattern that covers a queue counts.
    #[must_use]
    pub fn queue_settings(
        mut self,
        pattern: impl Into<ByteString>,
        settings: QueueSettings,
    ) -> Self {
        self.queue_settings
            .push((pattern.into(), Arc::new(settings)));
        self
    }

    /// Knows at most `limit` destinations at a time; beyond it, SUBSCRIBE and SEND to a new name are refused by name.
    /// Default 1,000,000: at about a kilobyte each they stay below what a server has, and no sensible application comes
    /// near.
    #[must_use]
    pub fn max_destinations(self, limit: usize) -> Self {
        self.quota.set_limit(limit);
        self
    }

    /// Holds at most `bytes` of messages: of those that wait in queues, in outboxes, and to be settled, each counted once,
    /// by its headers and body. What a message takes besides, some 500 bytes, is not counted: reckon with it where messages
    /// are small and many. Beyond the limit publishing is refused by name. Default 1,073,741,824 (1 GiB).
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.budget = Arc::new(Budget::new(bytes));
        self
    }

    /// Gives a subscription that says no `prefetch-count` so many deliveries that have to be settled, before it settles
    /// some. Default 100: enough that nobody waits for the way there and back, and few enough that the work spreads over
    /// the consumers.
    #[must_use]
    pub fn default_prefetch(mut self, count: NonZeroU32) -> Self {
        self.prefetch = count;
        self
    }

    /// Lets a subscription have a `prefetch-count` of at most `count`; a larger one is refused. Default 10,000.
    #[must_use]
    pub fn max_prefetch(mut self, count: u32) -> Self {
        self.max_prefetch = count;
        self
    }

    /// How many destinations the broker knows at the moment.
    pub fn destinations(&self) -> usize {
        self.quota.used()
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.registry.len()
    }

    /// Whether `destination` is a topic or a queue, and what separates its segments.
    fn kind(&self, destination: &str) -> Option<(DestinationKind, Separator)> {
        let (prefix, kind) = self
            .prefixes
            .iter()
            .find(|(prefix, _)| prefix.covers(destination))?;
        Some((*kind, prefix.separator))
    }

    fn subscribe_to(
        &self,
        session: &Arc<Session<Place>>,
        request: SubscribeRequest,
        after: &mut Aftermath,
    ) -> Result<(), SubscribeError> {
        let wanted = request.prefetch.unwrap_or(
            self.prefetch
                .min(NonZeroU32::new(self.max_prefetch).unwrap_or(NonZeroU32::MIN)),
        );
        if wanted.get() > self.max_prefetch.max(1) {
            return Err(SubscribeError::PrefetchTooLarge {
                wanted: wanted.get(),
                limit: self.max_prefetch,
            });
        }
        let SubscribeRequest { slot, ack, .. } = request;
        let outbox = || Arc::clone(&session.outbox);
        let window =
            (ack != AckMode::Auto).then(|| Arc::new(Window::new(outbox(), slot, ack, wanted)));
        let held = match request.source {
            Source::User { path } => Held::User(path, window),
            Source::Pattern(pattern) => {
                let text = pattern.as_str();
                let full = |NoMoreNames| SubscribeError::TooManyDestinations {
                    limit: self.quota.limit(),
                };
                match self.kind(text) {
                    None => {
                        return Err(SubscribeError::UnknownDestination {
                            destination: text.into(),
                            prefixes: self.prefixes(),
                        });
                    }
                    Some((DestinationKind::Topic, _)) => {
                        let sink = match &window {
                            Some(window) => Sink::Window(Arc::clone(window)),
                            None => Sink::Direct(Subscriber {
                                outbox: outbox(),
                                slot,
                            }),
                        };
                        let details = |destination: &str| self.topic_details(destination);
                        let place = self.topics.subscribe(&pattern, sink, details);
                        Held::Broker(Place::Topic(place.map_err(full)?, window))
                    }
                    Some((DestinationKind::Queue, _)) => {
                        let Some(destination) = pattern.as_destination() else {
                            return Err(SubscribeError::PatternOnQueue {
                                pattern: text.into(),
                            });
                        };
                        let parts = || (outbox(), slot, ack, wanted);
                        let (queue, key) = loop {
                            let queue = self.queue(&destination).map_err(full)?;
                            // Another reason there is not: a forgotten one is looked up again.
                            if let Ok(key) = queue.subscribe(parts, self.now(), after) {
                                break (queue, key);
                            }
                        };
                        Held::Broker(Place::Queue(queue, key))
                    }
                }
            }
        };
        session.hold(slot, held).map_err(|held| {
            self.let_go(&held, after);
            SubscribeError::UnknownSession {
                session: request.session,
            }
        })
    }

    fn let_go(&self, held: &Held<Place>, after: &mut Aftermath) {
        match held {
            Held::User(..) => {}
            Held::Broker(Place::Topic(place, _)) => self.topics.unsubscribe(place),
            Held::Broker(Place::Queue(queue, key)) => queue.unsubscribe(*key, self.now(), after),
        }
    }

    fn queue(&self, destination: &Destination) -> Result<Arc<Queue>, NoMoreNames> {
        self.queues.get_or_insert(destination, |name| {
            let settings = self.settings_of(&self.queue_settings, destination);
            Queue::new(name, settings, Meter::new(&self.totals))
        })
    }

    fn topic_details(&self, destination: &str) -> topics::Details {
        let settings = self.settings_of(&self.topic_settings, destination);
        let origin = Origin {
            meter: Meter::new(&self.totals),
            dead_letters: settings.dead_letters.clone(),
        };
        (settings, Arc::new(origin))
    }

    fn settings_of<T: Default>(&self, all: &[(ByteString, Arc<T>)], destination: &str) -> Arc<T> {
        let separator = self.separator(destination);
        let covering = all.iter().find(|(pattern, _)| {
            Pattern::parse_separated(pattern.clone(), separator)
                .is_ok_and(|pattern| pattern.matches(destination))
        });
        covering.map_or_else(Arc::default, |(_, settings)| Arc::clone(settings))
    }

    /// Settles at one subscription; whether the delivery was there.
    fn settle_at(
        &self,
        held: &Held<Place>,
        delivery: &DeliveryRef,
        outcome: Outcome,
        after: &mut Aftermath,
    ) -> bool {
        let window = match held {
            Held::Broker(Place::Queue(queue, key)) => {
                return queue.settle(*key, delivery, outcome, self.now(), after);
            }
            Held::User(_, window) | Held::Broker(Place::Topic(_, window)) => window,
        };
        let Some(settled) = window.as_ref().and_then(|window| window.settle(delivery)) else {
            return false;
        };
        for entry in settled {
            let Some(origin) = &entry.origin else {
                continue;
            };
            if outcome == Outcome::Accepted {
                origin.meter.add(|counters| &counters.acked, 1);
            } else {
                let place = origin.dead_letters.as_ref();
                let place = place.filter(|place| **place != entry.message.destination());
                let (reason, meter) = (DeadReason::Rejected, &origin.meter);
                self.bury_at(&entry.message, reason, 1, place, meter, after);
            }
        }
        true
    }

    fn message(&self, publish: Publish, position: Option<Position>) -> Arc<Message> {
        let message = Message::new(publish, self.message_id(), position);
        Arc::new(message.charged(&self.budget))
    }

    fn message_id(&self) -> ByteString {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let digits = number.checked_ilog10().unwrap_or(0) + 1;
        // Of its exact length: `Bytes` takes that over as it is.
        let mut id = String::with_capacity(self.id_prefix.len() + digits as usize);
        id.push_str(&self.id_prefix);
        let digit = |at| b'0' + (number / 10_u64.pow(at) % 10) as u8;
        id.extend((0..digits).rev().map(|at| char::from(digit(at))));
        id.into()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn count_refused(&self) {
        self.totals.add(|counters| &counters.refused, 1);
    }

    fn no_more_names(&self) -> PublishError {
        self.count_refused();
        PublishError::TooManyDestinations {
            limit: self.quota.limit(),
        }
    }

    fn unknown(&self, destination: &str) -> PublishError {
        PublishError::UnknownDestination {
            destination: destination.into(),
            prefixes: self.prefixes(),
        }
    }

    fn prefixes(&self) -> ByteString {
        if self.prefixes.is_empty() {
            return "no prefix at all (none was configured)".into();
        }
        let prefixes: Vec<&str> = self
            .prefixes
            .iter()
            .map(|(prefix, _)| &*prefix.text)
            .collect();
        prefixes.join(", ").into()
    }
}

impl Default for EmbeddedBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl Broker for EmbeddedBroker {
    fn serves(&self, destination: &str) -> bool {
        self.kind(destination).is_some()
    }

    fn separator(&self, destination: &str) -> Separator {
        self.kind(destination)
            .map_or(Separator::Slash, |(_, separator)| separator)
    }

    fn mistakes(&self) -> Vec<String> {
        self.configuration_mistakes()
    }

    fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>> {
        self.registry.open(session);
        Confirm::ready(Ok(()))
    }

    fn close(&self, session: SessionId) {
        let Some(known) = self.registry.session(session) else {
            return;
        };
        let mut after = Aftermath::default();
        let turn = known.take_turn();
        for held in self.registry.close(session) {
            self.let_go(&held, &mut after);
        }
        drop(turn);
        self.finish(after);
    }

    fn subscribe(&self, request: SubscribeRequest) -> Confirm<Result<(), SubscribeError>> {
        let session = request.session;
        let mut after = Aftermath::default();
        let subscribed = match self.registry.session(session) {
            Some(session) => self.subscribe_to(&session, request, &mut after),
            None => Err(SubscribeError::UnknownSession { session }),
        };
        self.finish(after);
        Confirm::ready(subscribed)
    }

    fn unsubscribe(&self, session: SessionId, slot: u32) -> Confirm<()> {
        if let Some(session) = self.registry.session(session) {
            let mut after = Aftermath::default();
            let turn = session.take_turn();
            if let Some(held) = session.release(slot) {
                self.let_go(&held, &mut after);
            }
            drop(turn);
            self.finish(after);
        }
        Confirm::ready(())
    }

    fn publish(&self, batch: Vec<Publish>, now: Timestamp) -> Confirm<Result<Published, Refused>> {
        self.clock.set(now);
        let mut after = Aftermath::default();
        let mut batch = Batch::new(batch);
        let answer = match self.run(&mut batch, &mut after) {
            Ok(()) => Confirm::ready(Ok(Published::new(batch.receivers))),
            Err(NotTaken::Refused(error)) => Confirm::ready(Err(batch.refused(error))),
            Err(NotTaken::Full | NotTaken::Forgotten) => {
                let (promise, confirm) = Promise::new();
                self.park(batch, promise, None, &mut after);
                confirm
            }
        };
        self.finish(after);
        answer
    }

    fn settle(&self, session: SessionId, settle: Settle) -> Confirm<Result<(), SettleError>> {
        let Settle {
            slot,
            delivery,
            outcome,
        } = settle;
        let mut after = Aftermath::default();
        let mut settle = |held| self.settle_at(&held, &delivery, outcome, &mut after);
        let settled = self.registry.session(session).is_some_and(|session| {
            let _turn = session.take_turn();
            match slot {
                Some(slot) => session.held(slot).is_some_and(settle),
                None => session.all_held().into_iter().any(|(_, held)| settle(held)),
            }
        });
        self.finish(after);
        Confirm::ready(if settled {
            Ok(())
        } else {
            Err(SettleError::UnknownDelivery { delivery })
        })
    }

    fn commit(
        &self,
        session: SessionId,
        transaction: Transaction,
        now: Timestamp,
    ) -> Confirm<Result<Published, CommitError>> {
        self.clock.set(now);
        self.commit_now_or_later(session, transaction)
    }

    fn resume(&self, session: SessionId) {
        let mut after = Aftermath::default();
        let session = self.registry.session(session);
        for (_, held) in session.map_or_else(Vec::new, |session| session.all_held()) {
            match held {
                Held::Broker(Place::Queue(queue, key)) => queue.resume(key, self.now(), &mut after),
                Held::User(_, window) | Held::Broker(Place::Topic(_, window)) => {
                    if let Some(window) = window {
                        window.resume();
                    }
                }
            }
        }
        self.finish(after);
    }

    fn sweep(&self, now: Timestamp) {
        let now = self.clock.set(now);
        let steady = self.clock.steady();
        let mut after = Aftermath::default();
        for (_, queue) in self.queues.select(|_, queue| queue.is_to_be_swept()) {
            queue.expire(now, steady, &mut after);
        }
        after.sort();
        self.finish(after);
        let before = self.swept.load(Ordering::Relaxed);
        let since = steady.as_millis() - before.min(steady.as_millis());
        if before == 0 || since >= SWEEP {
            self.swept.store(steady.as_millis(), Ordering::Relaxed);
        }
        if before > 0 && since >= SWEEP {
            let seconds = since as f32 / 1000.0;
            self.topics.sweep(seconds);
            self.queues.sweep(|queue| {
                queue.meter.measure(seconds);
                !queue.forget()
            });
        }
    }

    fn statistics(&self, pattern: &Pattern, limit: usize) -> BrokerStatistics {
        let select = |destination: &str| pattern.matches(destination);
        let separator = |destination: &str| self.separator(destination);
        let mut selected: Vec<_> = self.topics.statistics(select, separator).collect();
        let queues = self.queues.select(|name, _| select(name));
        selected.extend(queues.iter().map(|(_, queue)| queue.statistics()));
        selected.sort_by(|a, b| a.destination.cmp(&b.destination));
        selected.truncate(limit);
        BrokerStatistics {
            sessions: self.sessions(),
            destinations: self.destinations(),
            bytes: self.budget.used(),
            max_bytes: self.budget.limit(),
            totals: self.totals.read(),
            selected,
        }
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker")
            .field("prefixes", &self.prefixes)
            .field("destinations", &self.destinations())
            .field("sessions", &self.sessions())
            .field("bytes", &self.budget.used())
            .finish_non_exhaustive()
    }
}
