//! The broker inside the application's own process.

mod commit;
mod job;
mod journal;
mod ledger;
mod publishing;
mod queue;
mod recovery;
mod seat;
mod settings;
mod subscription_name;
mod subscriptions;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock, Weak};

use bytestring::ByteString;

use self::job::Batch;
pub use self::journal::{
    Appended, Change, Durability, Fetched, FetchedMessage, Journal, JournalError, Key,
    RecoveredQueue, Ticket, WhenFetched, WhenStored,
};
use self::queue::{Aftermath, Keeper, NotTaken, Queue, Seating};
use self::seat::SeatKey;
pub use self::settings::{QueueSettings, SubscriptionSettings, WhenBehind, WhenFull};
use self::subscriptions::Subscriptions;
use crate::broker::{Broker, Capabilities, Commit};
use crate::confirm::{Confirm, Promise};
use crate::destination::{Destination, Pattern};
use crate::errors::{
    CommitError, PublishError, Refused, SettleError, StartError, SubscribeError, UnsubscribeError,
};
use crate::feed::Token;
use crate::hub::accounts::{Payer, Shares};
use crate::hub::by_pattern::ByPattern;
use crate::hub::clock::Periodic;
use crate::hub::consumer::Consumer;
use crate::hub::history::History;
use crate::hub::local::LocalHub;
use crate::hub::names::{Names, NoMoreNames};
use crate::hub::settings::{HubSettings, Prefix, TopicSettings};
use crate::message::{Message, Publish};
use crate::request::{OptionSupport, Outcome, Published, Subscribed};
use crate::selector::Selector;
use crate::session_id::SessionId;
use crate::statistics::DestinationKind;
use crate::statistics::DestinationStatistics;
use crate::timestamp::Timestamp;

/// A broker inside the application's process: give it to a [`Hub`](crate::Hub). It keeps everything in memory, except
/// [durable](Self::durable) queues.
///
/// *Topics* are the destinations under the prefixes given to [`topics`](Self::topics): each message goes to all current
/// subscribers of the destination or of a [`Pattern`] that covers it. *Queues* are those under the prefixes given to
/// [`queues`](Self::queues): each message goes to one consumer, and waits until there is one.
///
/// * **Order**: the messages of a topic are numbered, and all its subscribers see them in that order. A queue delivers
///   messages in the order they arrived, to its consumers in turn, among those with room; a message that comes back
///   takes its old place, marked as redelivered.
/// * **Confirmation**: when `publish` answers, the message is queued to every subscriber, or stored in its queue; when
///   `subscribe` answers, the subscription is active. Only a full queue makes a publisher wait.
/// * **Bounds**: [`TopicSettings::overflow`] and [`QueueSettings::when_full`] say per destination what happens beyond
///   them, and statistics count it.
///
/// # Example: topics, and orders that are delivered at most three times
///
/// ```
/// use tramline_broker::{EmbeddedBroker, Hub, QueueSettings};
///
/// let orders = QueueSettings::default().max_deliveries(3).dead_letters("/queue/failed-orders");
/// let broker = EmbeddedBroker::new().topics("/topic").queues("/queue").queue_settings("/queue/orders/**", orders);
/// let hub = Hub::new(broker);
/// assert!(hub.errors().is_empty());
/// assert!(hub.serves("/queue/orders/today"));
/// ```
#[derive(Debug)]
pub struct EmbeddedBroker {
    settings: HubSettings,
    queue_settings: ByPattern<Arc<QueueSettings>>,
    journal: Option<Arc<dyn Journal>>,
    durable: ByPattern<Durability>,
    subscription_settings: SubscriptionSettings,
    engine: OnceLock<Arc<Engine>>,
}

/// The broker after it has received its hub.
struct Engine {
    hub: Arc<LocalHub>,
    queues: Names<Queue>,
    settings: ByPattern<Arc<QueueSettings>>,
    journal: Option<Arc<dyn Journal>>,
    durable: ByPattern<Durability>,
    subscription_settings: SubscriptionSettings,
    subscriptions: Subscriptions,
    queues_swept: Periodic,
    /// For the callbacks of the journal.
    this: Weak<Self>,
}

impl EmbeddedBroker {
    /// The default of [`max_bytes`](Self::max_bytes): 1 GiB.
    pub const DEFAULT_MAX_BYTES: usize = HubSettings::DEFAULT_MAX_BYTES;

    /// The default of [`max_destinations`](Self::max_destinations).
    pub const DEFAULT_MAX_DESTINATIONS: usize = HubSettings::DEFAULT_MAX_DESTINATIONS;

    /// The default of [`max_destinations_each`](Self::max_destinations_each): of a session, and of a user or address.
    pub const DEFAULT_MAX_DESTINATIONS_EACH: (usize, usize) =
        HubSettings::DEFAULT_MAX_DESTINATIONS_EACH;

    /// The default of [`max_patterns`](Self::max_patterns).
    pub const DEFAULT_MAX_PATTERNS: Shares = HubSettings::DEFAULT_MAX_PATTERNS;

    /// The default of [`max_scanned_patterns`](Self::max_scanned_patterns).
    pub const DEFAULT_MAX_SCANNED_PATTERNS: Shares = HubSettings::DEFAULT_MAX_SCANNED_PATTERNS;

    /// The default of [`default_prefetch`](Self::default_prefetch).
    pub const DEFAULT_PREFETCH: NonZeroU32 = HubSettings::DEFAULT_PREFETCH;

    /// The default of [`max_prefetch`](Self::max_prefetch).
    pub const DEFAULT_MAX_PREFETCH: u32 = HubSettings::DEFAULT_MAX_PREFETCH;

    /// Creates a broker without destinations: add them with [`topics`](Self::topics) and [`queues`](Self::queues).
    pub fn new() -> Self {
        Self {
            settings: HubSettings::new(),
            queue_settings: ByPattern::default(),
            journal: None,
            durable: ByPattern::default(),
            subscription_settings: SubscriptionSettings::default(),
            engine: OnceLock::new(),
        }
    }

    /// Carries the destinations below `prefix` as topics: `/topic` for `/topic/greetings`. May be called repeatedly.
    ///
    /// `.topics("/queue")` gives `/queue` the fan-out that Spring's simple broker gives it.
    #[must_use]
    pub fn topics(self, prefix: impl Into<Prefix>) -> Self {
        self.with(|settings| settings.topics(prefix))
    }

    /// Carries the destinations below `prefix` as queues: `/queue` for `/queue/orders`. May be called repeatedly.
    #[must_use]
    pub fn queues(self, prefix: impl Into<Prefix>) -> Self {
        self.with(|settings| settings.queues(prefix))
    }

    /// Sets the settings of the topics that `pattern` covers. The first pattern that covers a topic counts.
    #[must_use]
    pub fn topic_settings(self, pattern: impl Into<ByteString>, settings: TopicSettings) -> Self {
        self.with(|all| all.topic_settings(pattern, settings))
    }

    /// Keeps messages of the topics that `pattern` covers, so that subscribers that were away receive what they missed:
    /// `.history("/topic/prices/**", History::messages(1_000))`. The first pattern that covers a topic counts. Default: no
    /// topic keeps any.
    ///
    /// A topic exists while it keeps messages, and its messages carry their [`Position`](crate::Position).
    #[must_use]
    pub fn history(self, pattern: impl Into<ByteString>, history: History) -> Self {
        self.with(|settings| settings.history(pattern, history))
    }

    /// Sets the maximum size of what all topics together keep: see [`HubSettings::max_history_bytes`].
    #[must_use]
    pub fn max_history_bytes(self, bytes: usize) -> Self {
        self.with(|settings| settings.max_history_bytes(bytes))
    }

    /// Sets the settings of the queues that `pattern` covers. The first pattern that covers a queue counts.
    #[must_use]
    pub fn queue_settings(
        mut self,
        pattern: impl Into<ByteString>,
        settings: QueueSettings,
    ) -> Self {
        self.queue_settings.push(pattern.into(), Arc::new(settings));
        self
    }

    /// Sets the store of [durable](Self::durable) queues: a `Store` of the crate `tramline-store`.
    #[must_use]
    pub fn store(mut self, store: impl Journal) -> Self {
        self.journal = Some(Arc::new(store));
        self
    }

    /// Keeps the messages of the queues that `pattern` covers in the [store](Self::store): they outlive the process. The
    /// first pattern that covers a queue counts. Without such a line queues are in memory. On the topics that it covers
    /// clients may have durable subscriptions.
    ///
    /// * A *durable subscription* (SUBSCRIBE with `durable:true` and `id`) is its user's: it collects messages while no session
    ///   uses it, and ends by UNSUBSCRIBE with `durable:true` or after a
    ///   [time](SubscriptionSettings::unused_for). A message to the topic is confirmed when it is stored for all of them.
    ///   Its deliveries are settled like a queue's. One session at a time may use it.
    /// * A message is confirmed when it is stored as `durability` says; so is the settlement of a delivery. A
    ///   transaction is one record, and so are a dead letter and its removal.
    /// * Messages keep their order, headers, time of expiry and number of deliveries. After a crash every message counts as
    ///   perhaps delivered, and carries `redelivered:true`.
    /// * Only the next messages of a long queue are in memory, so [`QueueSettings::max_messages`] and
    ///   [`max_bytes`](QueueSettings::max_bytes) may be larger than for others. What expires behind them is removed when
    ///   its turn comes.
    /// * Nothing that was confirmed is dropped: [`QueueSettings::when_full`] must be [`WhenFull::Wait`], and
    ///   [`QueueSettings::dead_letters`] a durable queue or a topic.
    #[must_use]
    pub fn durable(mut self, pattern: impl Into<ByteString>, durability: Durability) -> Self {
        self.durable.push(pattern.into(), durability);
        self
    }

    /// Sets the bounds of durable subscriptions to topics that [`durable`](Self::durable) covers.
    #[must_use]
    pub fn durable_subscriptions(mut self, settings: SubscriptionSettings) -> Self {
        self.subscription_settings = settings;
        self
    }

    /// Sets the maximum number of destinations; beyond it, SUBSCRIBE and SEND to a new name are refused with an error
    /// that names the limit. Default 1,000,000: at about a kilobyte each they fit into a server's memory, and no
    /// sensible application comes near.
    #[must_use]
    pub fn max_destinations(self, limit: usize) -> Self {
        self.with(|settings| settings.max_destinations(limit))
    }

    /// Sets the maximum size of all messages in queues, in outboxes, and waiting to be settled, each counted once by
    /// its headers and body and [400 bytes more](crate::Message::OVERHEAD), and of open transactions. Beyond the limit,
    /// publishing is refused with an error that names it. Default 1,073,741,824 (1 GiB).
    ///
    /// Parts of it are [reserved](HubSettings::max_bytes): an eighth against messages of clients to queues, a sixteenth
    /// against those to topics and users.
    #[must_use]
    pub fn max_bytes(self, bytes: usize) -> Self {
        self.with(|settings| settings.max_bytes(bytes))
    }

    /// Sets the maximum size of the waiting messages that a session, and a user or address, has sent: see
    /// [`HubSettings::max_bytes_each`].
    #[must_use]
    pub fn max_bytes_each(
        self,
        session: impl Into<Option<usize>>,
        account: impl Into<Option<usize>>,
    ) -> Self {
        self.with(|settings| settings.max_bytes_each(session, account))
    }

    /// Sets the maximum numbers of destinations that a session, and a user or address, may be the first to use: see
    /// [`HubSettings::max_destinations_each`].
    #[must_use]
    pub fn max_destinations_each(self, session: usize, account: usize) -> Self {
        self.with(|settings| settings.max_destinations_each(session, account))
    }

    /// Sets the maximum numbers of subscriptions with wildcards: see [`HubSettings::max_patterns`].
    #[must_use]
    pub fn max_patterns(self, shares: Shares) -> Self {
        self.with(|settings| settings.max_patterns(shares))
    }

    /// Sets the maximum numbers of subscriptions to patterns that are compared one by one: see
    /// [`HubSettings::max_scanned_patterns`].
    #[must_use]
    pub fn max_scanned_patterns(self, shares: Shares) -> Self {
        self.with(|settings| settings.max_scanned_patterns(shares))
    }

    /// The number of unsettled deliveries for a subscription without a `prefetch-count`. Default 100: enough that no
    /// consumer waits for a round trip, and few enough that the work spreads over the consumers.
    #[must_use]
    pub fn default_prefetch(self, count: NonZeroU32) -> Self {
        self.with(|settings| settings.default_prefetch(count))
    }

    /// The maximum `prefetch-count` of a subscription; a larger one is refused. Default 10,000.
    #[must_use]
    pub fn max_prefetch(self, count: u32) -> Self {
        self.with(|settings| settings.max_prefetch(count))
    }

    fn with(mut self, change: impl FnOnce(HubSettings) -> HubSettings) -> Self {
        self.settings = change(self.settings);
        self
    }
}

impl Default for EmbeddedBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl Broker for EmbeddedBroker {
    fn settings(&self) -> HubSettings {
        self.settings.clone()
    }

    fn errors(&self) -> Vec<String> {
        let queues = self.queue_settings.iter();
        let errors = queues.filter_map(|(pattern, settings)| {
            let dead_letters = settings.dead_letters.as_ref();
            self.settings
                .settings_error(pattern, DestinationKind::Queue, dead_letters)
        });
        errors.chain(self.durability_errors()).collect()
    }

    fn capabilities(&self) -> Capabilities {
        let options = OptionSupport {
            selector: true,
            durable: self.journal.is_some(),
            ..OptionSupport::default()
        };
        Capabilities::default()
            .options(options)
            .answer_time(None)
            .starts_at_once(true)
            .persistent(self.journal.is_some())
    }

    fn is_persistent(&self, destination: &str) -> bool {
        let durability = self.settings.covering(&self.durable, destination);
        self.journal.is_some() && durability.is_some()
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        let engine = Arc::new_cyclic(|this| Engine {
            queues: Names::new(Arc::clone(hub.quota())),
            settings: self.queue_settings.clone(),
            journal: self.journal.clone(),
            durable: self.durable.clone(),
            subscription_settings: self.subscription_settings.clone(),
            subscriptions: Subscriptions::default(),
            queues_swept: Periodic::default(),
            hub: Arc::clone(&hub),
            this: Weak::clone(this),
        });
        let started = match self.engine.set(Arc::clone(&engine)) {
            Ok(()) => engine.recover(),
            Err(_) => Err(StartError::new("it has a hub already")),
        };
        if started.is_ok() {
            hub.set_available(true);
        }
        Confirm::ready(started)
    }

    fn stop(&self, _: Timestamp) -> Confirm<()> {
        let Some(journal) = &self.journal else {
            return Confirm::ready(());
        };
        let (promise, confirm) = Promise::new();
        journal.stop(Box::new(move || promise.keep(())));
        confirm
    }

    fn publish(
        &self,
        _: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        let Some(engine) = self.engine.get() else {
            let unavailable = Refused::first_of(batch, PublishError::BrokerUnavailable);
            return Confirm::ready(Err(unavailable));
        };
        let mut after = Aftermath::default();
        let mut batch = Batch::new(batch);
        let answer = match engine.run(&mut batch, &mut after) {
            Ok(()) => Ok(Published::new(batch.receivers)),
            Err(NotTaken::Refused(error)) => Err(batch.refused(error)),
            Err(NotTaken::Full | NotTaken::Removed) => {
                let (promise, confirm) = Promise::new();
                batch.awaited = after.awaited;
                engine.park(batch, promise, None, &mut after);
                engine.finish(after);
                return confirm;
            }
        };
        let awaited = engine.finish(after);
        engine.confirm(answer, awaited)
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        match self.engine.get() {
            Some(engine) => engine.consume(&consumer),
            None => Confirm::ready(Err(SubscribeError::BrokerUnavailable)),
        }
    }

    fn cancel(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        self.cancel_all(std::slice::from_ref(consumer));
        Confirm::ready(Ok(()))
    }

    fn cancel_all(&self, consumers: &[Arc<Consumer>]) {
        let Some(engine) = self.engine.get() else {
            return;
        };
        let mut after = Aftermath::default();
        for consumer in consumers {
            if let Some((_, queue, key)) = self.seating(consumer) {
                queue.unsubscribe(key, &mut after);
            }
        }
        // A later message must not overtake an earlier one that another of the consumers had.
        for consumer in consumers {
            if let Some((_, queue, _)) = self.seating(consumer) {
                queue.serve(engine.hub.now(), &mut after);
            }
            engine.leave_durable(consumer, &mut after);
        }
        engine.finish(after);
    }

    fn end_durable(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        let Some((engine, queue, key)) = self.seating(consumer) else {
            return Confirm::ready(Ok(()));
        };
        let mut after = Aftermath::default();
        queue.unsubscribe(key, &mut after);
        engine.end_durable(consumer, &mut after);
        let awaited = engine.finish(after);
        engine.confirm(Ok(()), awaited)
    }

    fn settle(
        &self,
        consumer: &Arc<Consumer>,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        let Some((engine, queue, key)) = self.seating(consumer) else {
            return Confirm::ready(Err(SettleError::Gone));
        };
        if queue.has_failed() {
            return Confirm::ready(Err(SettleError::BrokerUnavailable));
        }
        let mut after = Aftermath::default();
        let settled = queue.settle(key, tokens, outcome, engine.hub.now(), &mut after);
        let awaited = engine.finish(after);
        match settled {
            true => engine.confirm(Ok(()), awaited),
            false => Confirm::ready(Err(SettleError::Gone)),
        }
    }

    fn commit(&self, commit: Commit) -> Confirm<Result<Published, CommitError>> {
        match self.engine.get() {
            Some(engine) => engine.commit_now_or_later(commit),
            None => Confirm::ready(Err(PublishError::BrokerUnavailable.into())),
        }
    }

    fn room_again(&self, consumer: &Arc<Consumer>) {
        if let Some((engine, queue, key)) = self.seating(consumer) {
            let mut after = Aftermath::default();
            queue.room_again(key, engine.hub.now(), &mut after);
            engine.finish(after);
        }
    }

    fn sweep(&self) {
        let Some(engine) = self.engine.get() else {
            return;
        };
        let (now, steady) = (engine.hub.now(), engine.hub.steady());
        let mut after = Aftermath::default();
        for (_, queue) in engine.queues.select(|_, queue| queue.is_to_be_swept()) {
            queue.expire(now, steady, &mut after);
        }
        engine.sweep_durable(&mut after);
        after.sort();
        engine.finish(after);
        if let Some(seconds) = engine.queues_swept.due(steady) {
            engine.queues.sweep(|queue| {
                queue.meter.measure(seconds);
                !queue.retire()
            });
        }
    }

    fn peek(&self, queue: &Destination, limit: usize) -> Option<Vec<Arc<Message>>> {
        let engine = self.engine.get()?;
        let (kind, _) = engine.hub.settings().kind(queue)?;
        let known = || engine.queues.get(queue);
        let waiting = || known().map_or_else(Vec::new, |queue| queue.peek(limit));
        (kind == DestinationKind::Queue).then(waiting)
    }

    fn statistics(&self, pattern: &Pattern, limit: usize) -> Vec<DestinationStatistics> {
        let Some(engine) = self.engine.get() else {
            return Vec::new();
        };
        let mut queues = engine.queues.select(|name, _| pattern.matches(name));
        queues.sort_by(|(a, _), (b, _)| a.cmp(b));
        queues.truncate(limit);
        queues.iter().map(|(_, queue)| queue.statistics()).collect()
    }
}

impl EmbeddedBroker {
    /// Returns the engine, queue and seat of a consumer.
    fn seating(&self, consumer: &Consumer) -> Option<(&Engine, Arc<Queue>, SeatKey)> {
        let seating = consumer.record::<Seating>()?;
        Some((self.engine.get()?, seating.queue.upgrade()?, seating.key))
    }
}

impl Engine {
    fn consume(&self, consumer: &Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        let mut after = Aftermath::default();
        let taken = match consumer.durable() {
            Some(name) => self.consume_durable(consumer, name, &mut after),
            None => self.consume_queue(consumer, &mut after),
        };
        let awaited = self.finish(after);
        self.confirm(taken, awaited)
    }

    fn consume_queue(
        &self,
        consumer: &Arc<Consumer>,
        after: &mut Aftermath,
    ) -> Result<Subscribed, SubscribeError> {
        let Some(destination) = consumer.pattern().as_destination() else {
            return Err(SubscribeError::PatternOnQueue {
                pattern: consumer.pattern().as_str().into(),
            });
        };
        if let Some(selector) = &consumer.options().selector {
            Selector::parse(selector)?;
        }
        let payer = || self.hub.account_of(consumer.session());
        loop {
            let queue = self.queue(&destination, &payer);
            let queue = queue.map_err(|error| self.hub.refused_subscription(&error))?;
            // Its consumers would see the part that is in memory, and wait for ever for the rest.
            if queue.is_durable() && consumer.options().selector.is_some() {
                return Err(SubscribeError::Refused {
                    reason: "a durable queue supports no selector".into(),
                });
            }
            // It fails only for a queue that was removed; look it up again.
            if queue.subscribe(consumer, self.hub.now(), after).is_ok() {
                return Ok(Subscribed::default());
            }
        }
    }

    fn queue(
        &self,
        destination: &Destination,
        payer: Payer<'_>,
    ) -> Result<Arc<Queue>, NoMoreNames> {
        self.queues.get_or_insert(destination, payer, |name| {
            let settings = self.hub.settings();
            let keeper = self.keeper(destination);
            let settings = settings.covering(&self.settings, destination);
            Queue::new(
                name,
                settings.cloned().unwrap_or_default(),
                self.hub.meter(),
                keeper,
            )
        })
    }

    fn keeper(&self, destination: &str) -> Option<Keeper> {
        let settings = self.hub.settings();
        let durability = *settings.covering(&self.durable, destination)?;
        Some(Keeper {
            journal: Arc::clone(self.journal.as_ref()?),
            durability,
        })
    }

    pub(super) fn is_durable(&self, destination: &Destination) -> bool {
        let kind = self.hub.settings().kind(destination);
        matches!(kind, Some((DestinationKind::Queue, _))) && self.keeper(destination).is_some()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}
