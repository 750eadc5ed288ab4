//! Everything local to a node, shared by all engines: sessions and users, subscriptions and fan-out, acknowledgement
//! windows, outboxes, memory, counters.
//!
//! Sessions call the [`Hub`]. The hub asks the engine behind it, a [`Broker`], for what leaves or outlives the node;
//! the engine delivers through the [`LocalHub`].

pub(crate) mod accounts;
pub(crate) mod by_pattern;
pub(crate) mod clock;
mod commit;
pub(crate) mod consumer;
mod deadlines;
pub(crate) mod descriptions;
mod events;
mod facts;
pub(crate) mod history;
pub(crate) mod keeping;
pub(crate) mod kept;
pub(crate) mod local;
mod members;
pub(crate) mod names;
pub(crate) mod nodes;
pub(crate) mod outbox;
mod past;
mod patterns;
mod placing;
mod radix;
mod reader;
mod recheck;
pub(crate) mod settings;
mod settling;
mod shelf;
pub(crate) mod sources;
mod start;
mod subscribers;
mod topics;
mod unsettled;
mod window;
mod withdrawal;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use parking_lot::ReentrantMutex;

pub use self::accounts::{Holder, Resource, ShareUsedUp, Shares};
pub use self::commit::Hold;
pub use self::consumer::Consumer;
use self::deadlines::{Deadlines, Until};
pub use self::descriptions::{MemberDescription, NodeId, SubscriptionDescription};
pub use self::history::History;
pub use self::local::LocalHub;
pub use self::members::{Member, SessionContext};
use self::members::{Placed, SubscriptionPlace};
pub use self::names::NameQuota;
pub use self::nodes::{Command, MemberEvent, Observer};
pub use self::outbox::{Control, Delivery, Ending, Lost, Outbox, Overflow, Taken};
pub use self::settings::{HubSettings, Prefix, TopicSettings};
use self::settling::Unawaited;
pub use self::sources::Activation;
use self::sources::Answered;
use self::start::SharedAnswer;
use crate::broker::Broker;
use crate::confirm::Unanswered;
use crate::confirm::{Confirm, Promise};
use crate::destination::Separator;
use crate::errors::{
    OpenError, PublishError, Refused, StartError, SubscribeError, UnsubscribeError,
};
use crate::feed::Source;
use crate::message::Publish;
use crate::request::{OpenSession, Published, SubscribeRequest, Subscribed};
use crate::session_id::SessionId;
use crate::statistics::DestinationKind;
use crate::sync::Mutex;
use crate::timestamp::Timestamp;

/// The sessions of a node, and the engine that carries their messages.
///
/// * **Order**: the messages of a topic are numbered, and all its subscribers see them in that order, whoever published
///   them and whatever else they are subscribed to, as far as the engine [promises](crate::Capabilities::order) it.
/// * **Confirmation**: a request is carried out when its [`Confirm`] answers; with an engine in the same process that
///   is at once. Every wait ends: after the engine's [answer time](crate::Capabilities::answer_time) the answer is
///   `OutcomeUnknown`.
/// * **Acknowledgement**: a queue's message leaves the queue when it is accepted. On topics and user destinations
///   acknowledgement is a flow window: rejected messages go to the topic's dead letters, if it has any, and nothing
///   outlives the subscription.
/// * **Bounds**: outboxes, queues and windows are bounded in bytes, and so are all messages together
///   ([`HubSettings::max_bytes`]).
/// * **Cost**: publishing to a topic without subscribers costs a look-up and stores nothing; an unused destination is
///   removed within half a minute of [sweeps](Self::sweep).
///
/// Cheap to clone. It reads no clock: callers pass the time to `publish`, `commit` and `sweep`, and by
/// [`pass_time`](Self::pass_time) before other calls.
///
/// # Example: publish and subscribe
///
/// ```
/// use std::sync::Arc;
/// use tramline_broker::{
///     Destination, EmbeddedBroker, Headers, Hub, OpenSession, Outbox, Overflow, Pattern, Publish, SessionId,
///     SubscribeRequest, Timestamp,
/// };
///
/// let hub = Hub::new(EmbeddedBroker::new().topics("/topic").queues("/queue"));
/// let (session, outbox) = (SessionId::random(), Arc::new(Outbox::new(65_536, Overflow::Close)));
/// hub.open(OpenSession::new(session, None, outbox.clone())).into_ready().unwrap()?;
/// let request = SubscribeRequest::new(session, 0, Pattern::parse("/topic/rooms/*")?);
/// hub.subscribe(request).into_ready().unwrap()?;
///
/// let now = Timestamp::from_millis(1_000);
/// let publish = Publish::new(Destination::parse("/topic/rooms/7")?, Headers::new(), "hello");
/// let published = hub.publish(vec![publish], now).into_ready().unwrap()?;
/// assert_eq!(published.local_receivers, 1);
/// assert!(outbox.queued_bytes() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hub(Arc<HubInner>);

struct HubInner {
    local: Arc<LocalHub>,
    broker: Arc<dyn Broker>,
    start_turn: ReentrantMutex<()>,
    start_begun: AtomicBool,
    /// True after `Broker::start` has returned.
    started: AtomicBool,
    stopped: AtomicBool,
    start: SharedAnswer<Result<(), StartError>>,
    /// True if the first use started it, and no caller receives the answer.
    at_first_use: AtomicBool,
    stop: SharedAnswer<()>,
    deadlines: Deadlines,
    unawaited: Mutex<Vec<Unawaited>>,
}

impl Hub {
    /// Creates a hub in front of `broker`. Starts nothing, unless the engine [starts at
    /// once](crate::Capabilities::starts_at_once).
    pub fn new(broker: impl Broker) -> Self {
        Self::of(Arc::new(broker))
    }

    /// Like [`new`](Self::new), for an engine that is shared already.
    pub fn of(broker: Arc<dyn Broker>) -> Self {
        let local = LocalHub::new(
            broker.settings(),
            broker.capabilities(),
            Arc::downgrade(&broker),
        );
        let hub = Self(Arc::new(HubInner {
            local: Arc::new(local),
            broker,
            start_turn: ReentrantMutex::new(()),
            start_begun: AtomicBool::new(false),
            started: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            start: SharedAnswer::default(),
            at_first_use: AtomicBool::new(false),
            stop: SharedAnswer::default(),
            deadlines: Deadlines::default(),
            unawaited: Mutex::default(),
        }));
        if hub.local().capabilities.starts_at_once {
            hub.ensure_started();
        }
        hub
    }

    /// Errors in the configuration of hub and engine, one text each, for the application that builds them.
    pub fn errors(&self) -> Vec<String> {
        let mut errors = self.local().settings.errors();
        if self.local().capabilities.interest && !self.local().settings.lacks_history() {
            let error = "history: this broker delivers only what has subscribers, so that topics cannot keep their messages";
            errors.push(error.into());
        }
        errors.extend(self.broker().errors());
        errors
    }

    /// Calls `observer` with every change in the sessions of all nodes, and in the engine's availability, from now on.
    /// Call it before the first session; returns false if there is an observer already.
    pub fn observe(&self, observer: Arc<dyn Observer>) -> bool {
        self.local().set_observer(observer)
    }

    /// Starts the engine, unless it was started: its first use does so too. Every caller gets the answer to that one start.
    pub fn start(&self) -> Confirm<Result<(), StartError>> {
        self.begin_start(false);
        match self.poll_start(None) {
            Poll::Ready(answer) => Confirm::ready(answer),
            Poll::Pending => {
                let hub = self.clone();
                Confirm::later(std::future::poll_fn(move |context| {
                    hub.poll_start(Some(context.waker()))
                }))
            }
        }
    }

    /// Stops the engine, if it was started: it finishes pending work, until `deadline` at most, and is no longer
    /// available. Later requests to open, subscribe, publish or commit are answered `BrokerUnavailable`.
    ///
    /// The answer comes when the engine has stopped or a [sweep](Self::sweep) has passed the deadline, also if the engine
    /// never answers. The engine is stopped once, with the first caller's deadline, and goes on stopping if the answer is
    /// dropped; later callers wait for that stop, until their own deadline.
    pub fn stop(&self, deadline: Timestamp) -> Confirm<()> {
        match self.begin_stop(deadline) {
            true => self.stopped(deadline),
            false => Confirm::ready(()),
        }
    }

    /// This node's id.
    pub fn node(&self) -> NodeId {
        self.local().node()
    }

    /// Returns true if the engine carries `destination`, the text of a destination or pattern.
    pub fn serves(&self, destination: &str) -> bool {
        self.local().settings.serves(destination)
    }

    /// The prefixes of the destinations that the engine carries.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.local().settings.texts_of_prefixes()
    }

    /// Returns true if `destination` is a topic of an engine that joins [several nodes](crate::Capabilities::nodes).
    pub fn is_topic_of_nodes(&self, destination: &str) -> bool {
        let local = self.local();
        let kind = local.settings.kind(destination);
        local.capabilities.nodes && kind.is_some_and(|(kind, _)| kind == DestinationKind::Topic)
    }

    /// The separator of the segments of `destination`, which may be a pattern's text.
    pub fn separator(&self, destination: &str) -> Separator {
        self.local().settings.separator(destination)
    }

    /// Returns true if the engine's answers may come late even when it does not wait for room: see
    /// [`Capabilities::answer_time`](crate::Capabilities::answer_time).
    pub fn answers_late(&self) -> bool {
        self.local().capabilities.answer_time.is_some()
    }

    /// Returns true if the engine stores messages to `destination` that ask for it: see [`Broker::is_persistent`].
    pub fn is_persistent(&self, destination: &str) -> bool {
        self.broker().is_persistent(destination)
    }

    /// Returns true if the engine takes messages.
    pub fn is_available(&self) -> bool {
        self.local().is_available()
    }

    /// Registers a session that is not open yet, with a record of the caller's own. It stays until
    /// [`unregister`](Self::unregister).
    pub fn register(
        &self,
        id: SessionId,
        outbox: Arc<Outbox>,
        context: Arc<dyn SessionContext>,
    ) -> Arc<Member> {
        self.local().members.register(id, outbox, Some(context))
    }

    /// Removes a session, and [closes](Self::close) it first if necessary.
    pub fn unregister(&self, id: SessionId) {
        self.close(id);
        self.local().members.remove(id);
    }

    /// Opens a session: once confirmed, it can subscribe and be a target.
    ///
    /// The hub keeps one that was not [registered](Self::register) until it is closed. The engine may refuse it, which
    /// closes it.
    pub fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>> {
        if !self.ensure_started() {
            return Confirm::ready(Err(OpenError::BrokerUnavailable));
        }
        let OpenSession {
            id,
            user,
            address,
            outbox,
        } = session;
        let local = self.local();
        let known = local.members.get(id);
        let member = known.unwrap_or_else(|| local.members.register(id, outbox, None));
        if !member.begin_open(user.clone(), address) {
            return Confirm::ready(Err(OpenError::Closed));
        }
        let open = |local: &LocalHub, member: &Arc<Member>| match local.opened(member) {
            true => Ok(()),
            false => Err(OpenError::Closed),
        };
        if !local.capabilities.interest {
            return Confirm::ready(open(local, &member));
        }
        let (promise, confirm) = Promise::new();
        let (broker, opening) = (Arc::clone(self.broker()), Arc::clone(&member));
        let of_session: Answered = Box::new(move |local, answer| match (answer, user) {
            (Ok(_), Some(user)) => {
                let member = Arc::clone(&opening);
                let answered: Answered = Box::new(move |local, answer| {
                    let answer = answer.map_err(OpenError::from);
                    promise.keep(answer.and_then(|_| open(local, &member)));
                });
                local.join_open(&*broker, &Source::User(user), &opening, answered);
            }
            (answer, _) => {
                let answer = answer.map_err(OpenError::from);
                promise.keep(answer.and_then(|_| open(local, &opening)));
            }
        });
        local.join_open(&**self.broker(), &Source::Session(id), &member, of_session);
        let hub = self.clone();
        self.in_time(confirm).then(move |answer| {
            if answer.is_err() {
                hub.close(id);
            }
            answer
        })
    }

    /// Closes a session: its subscriptions end, and nothing more is put into its outbox. A session that is unknown or
    /// closed is ignored.
    pub fn close(&self, session: SessionId) {
        let Some(member) = self.local().members.get(session) else {
            return;
        };
        self.local().close(&**self.broker(), &member);
        if member.is_temporary() {
            self.local().members.remove(session);
        }
    }

    /// Ends a session at the application's request, on this node or another: its client is closed with `code` and
    /// `reason`, after its queued messages. On this node it is closed when this returns. Returns false if no node has
    /// it open.
    pub fn end_session(
        &self,
        session: SessionId,
        code: u16,
        reason: impl Into<ByteString>,
    ) -> bool {
        let reason = reason.into();
        if let Some(member) = self.local().members.get(session) {
            return self.local().end(&**self.broker(), &member, code, reason);
        }
        let Some(remote) = self.local().remote.find(session) else {
            return false;
        };
        let command = Command::End {
            session,
            code,
            reason,
        };
        self.broker().command(remote.node, command);
        true
    }

    /// Starts a subscription of an open session. Once it is confirmed, every message published later reaches it.
    pub fn subscribe(
        &self,
        request: SubscribeRequest,
    ) -> Confirm<Result<Subscribed, SubscribeError>> {
        if !self.ensure_started() {
            return Confirm::ready(Err(SubscribeError::BrokerUnavailable));
        }
        let session = request.session;
        let member = self.local().members.get(session);
        let Some(member) = member.filter(|member| member.is_open()) else {
            return Confirm::ready(Err(SubscribeError::UnknownSession { session }));
        };
        match self.place_for(&member, &request) {
            Ok(placed) => self.subscribe_at(&member, request, placed),
            Err(error) => Confirm::ready(Err(error)),
        }
    }

    /// Ends the subscription `slot` of a session. Deliveries without a tag that are already in the outbox stay there. A
    /// subscription that does not exist has ended.
    pub fn unsubscribe(
        &self,
        session: SessionId,
        slot: u32,
    ) -> Confirm<Result<(), UnsubscribeError>> {
        self.end_subscription(session, slot, Broker::cancel)
    }

    /// Like [`unsubscribe`](Self::unsubscribe); a durable subscription ends for good, with the messages that wait for it.
    pub fn unsubscribe_durable(
        &self,
        session: SessionId,
        slot: u32,
    ) -> Confirm<Result<(), UnsubscribeError>> {
        self.end_subscription(session, slot, |broker, consumer| match consumer.durable() {
            Some(_) => broker.end_durable(consumer),
            None => broker.cancel(consumer),
        })
    }

    fn end_subscription(
        &self,
        session: SessionId,
        slot: u32,
        end: impl FnOnce(&dyn Broker, &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>>,
    ) -> Confirm<Result<(), UnsubscribeError>> {
        let Some(member) = self.local().members.get(session) else {
            return Confirm::ready(Ok(()));
        };
        let broker = &**self.broker();
        match self.local().unsubscribe(broker, &member, slot) {
            Some(consumer) => self.in_time(end(broker, &consumer)),
            None => Confirm::ready(Ok(())),
        }
    }

    /// Publishes independent messages, in order. The first that is refused ends the batch: those before it are
    /// published, and no later one.
    pub fn publish(
        &self,
        batch: Vec<Publish>,
        now: Timestamp,
    ) -> Confirm<Result<Published, Refused>> {
        self.local().clock.set(now);
        self.pass_on(None, batch)
    }

    /// Delivers a message to the subscriptions of this node, without the engine; returns their number. One to a topic gets
    /// no position; one to a queue reaches nobody. [`publish`](Self::publish) reaches those of all nodes.
    pub fn deliver_here(&self, publish: Publish) -> usize {
        self.local().deliver_here(publish)
    }

    /// Like [`publish`](Self::publish), for the client of a session of this hub: its messages, and destinations that they
    /// use first, count against its shares ([`HubSettings::max_bytes_each`], [`HubSettings::max_destinations_each`]).
    pub fn publish_by(
        &self,
        session: &Member,
        mut batch: Vec<Publish>,
        now: Timestamp,
    ) -> Confirm<Result<Published, Refused>> {
        self.local().clock.set(now);
        self.charge(session, &mut batch);
        self.pass_on(Some(session.id()), batch)
    }

    /// Sets the account of a client's messages.
    fn charge(&self, session: &Member, batch: &mut [Publish]) {
        let account = session.account(&self.local().accounts);
        for publish in batch {
            publish.charge(&account);
        }
    }

    /// Passes the time. To be called before what may hand out a message and does not take the time itself: to subscribe,
    /// settle, unsubscribe, close and report room. So nothing is handed out that has expired.
    pub fn pass_time(&self, now: Timestamp) {
        self.local().clock.set(now);
    }

    /// Reports that the outbox of a session that had no room for a delivery with a tag has room again.
    pub fn room_again(&self, session: SessionId) {
        let Some(member) = self.local().members.get(session) else {
            return;
        };
        for (_, place) in member.places() {
            match &place {
                SubscriptionPlace::Consumer(consumer) => {
                    consumer.room_again();
                    self.broker().room_again(consumer);
                }
                place => {
                    if let Some(window) = place.window() {
                        window.room_again();
                    }
                    if let SubscriptionPlace::Topic(place, _) = place {
                        place.go_on();
                    }
                }
            }
        }
    }

    /// Does the work that is due by now, and drops what is no longer used. Call it about once a second.
    pub fn sweep(&self, now: Timestamp) {
        self.local().clock.set(now);
        let local = self.local();
        self.0.deadlines.pass(local.now(), local.steady());
        self.check_start();
        self.poll_unawaited();
        if self.is_started() {
            self.broker().sweep();
        }
        self.local().sweep();
    }

    fn local(&self) -> &Arc<LocalHub> {
        &self.0.local
    }

    fn broker(&self) -> &Arc<dyn Broker> {
        &self.0.broker
    }

    /// Passes messages on to the engine.
    fn pass_on(
        &self,
        session: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        if !self.ensure_started() {
            let unavailable = Refused::first_of(batch, PublishError::BrokerUnavailable);
            return Confirm::ready(Err(unavailable));
        }
        self.in_time(self.broker().publish(session, batch))
    }

    /// Returns the engine's answer, or "unknown" after the engine's answer time is over.
    fn in_time<T: Unanswered + Send + 'static>(&self, confirm: Confirm<T>) -> Confirm<T> {
        match self.local().capabilities.answer_time {
            None => confirm,
            Some(time) => {
                let since = self.local().steady();
                let until = Until::Elapsed { since, time };
                self.0.deadlines.watch(confirm, until)
            }
        }
    }

    /// Records a subscription and makes it active once the engine delivers its source.
    fn subscribe_at(
        &self,
        member: &Arc<Member>,
        request: SubscribeRequest,
        Placed {
            place,
            share,
            subscribed,
        }: Placed,
    ) -> Confirm<Result<Subscribed, SubscribeError>> {
        let local = self.local();
        let SubscribeRequest {
            session,
            slot,
            id,
            destination,
            ..
        } = request;
        let consumer = match &place {
            SubscriptionPlace::Consumer(consumer) => Some(Arc::clone(consumer)),
            _ => None,
        };
        let source = match &place {
            SubscriptionPlace::Topic(place, _) if local.capabilities.interest => place.pattern(),
            _ => None,
        };
        if let Err(place) = member.hold(slot, &id, &destination, (place, share)) {
            if let SubscriptionPlace::Topic(place, _) = &place {
                local.topics.unsubscribe(place);
            }
            return Confirm::ready(Err(SubscribeError::UnknownSession { session }));
        }
        if let Some(consumer) = consumer {
            if consumer.has_ended() {
                return Confirm::ready(Err(SubscribeError::UnknownSession { session }));
            }
            let consumed = self.in_time(self.broker().consume(Arc::clone(&consumer)));
            if consumer.asked() {
                drop(self.broker().cancel(&consumer));
            }
            let (hub, member) = (self.clone(), Arc::clone(member));
            // A session that stops waiting has ended, and its consumer with it.
            return consumed.then(move |answer| hub.subscribed(&member, slot, answer));
        }
        let Some(pattern) = source else {
            return Confirm::ready(self.subscribed(member, slot, Ok(subscribed)));
        };
        let (promise, confirm) = Promise::new();
        let answered: Answered = {
            let member = Arc::clone(member);
            Box::new(move |local, answer| {
                let answer = match answer {
                    Ok(subscribed) if local.activate(&member, slot) => Ok(subscribed),
                    Ok(_) => Err(not_activated(&member)),
                    Err(error) => {
                        if let Some(SubscriptionPlace::Topic(place, _)) =
                            &member.release(slot, None)
                        {
                            local.topics.unsubscribe(place);
                        }
                        Err(error)
                    }
                };
                promise.keep(answer);
            })
        };
        let (source, broker) = (Source::Pattern(pattern), &**self.broker());
        let user = (session, slot);
        local.sources.join(local, broker, &source, user, answered);
        if member.place(slot).is_none() {
            // The session ended before it joined, or was refused.
            local.leave(broker, &source, user);
        }
        let (hub, member) = (self.clone(), Arc::clone(member));
        self.in_time(confirm).then(move |answer| {
            if answer == Err(SubscribeError::OutcomeUnknown) {
                let broker = &**hub.broker();
                if let Some(consumer) = hub.local().unsubscribe(broker, &member, slot) {
                    drop(broker.cancel(&consumer));
                }
            }
            answer
        })
    }

    /// Completes a subscription: makes it active, or removes it.
    fn subscribed(
        &self,
        member: &Member,
        slot: u32,
        answer: Result<Subscribed, SubscribeError>,
    ) -> Result<Subscribed, SubscribeError> {
        match answer {
            Ok(subscribed) if self.local().activate(member, slot) => Ok(subscribed),
            Ok(_) => Err(not_activated(member)),
            Err(error) => {
                if let Some(SubscriptionPlace::Consumer(consumer)) = member.release(slot, None) {
                    let asked = consumer.end();
                    if asked && error == SubscribeError::OutcomeUnknown {
                        // The engine may have the consumer.
                        drop(self.broker().cancel(&consumer));
                    }
                }
                Err(error)
            }
        }
    }
}

/// The error of a subscription that was confirmed, and has ended before.
fn not_activated(member: &Member) -> SubscribeError {
    let session = member.id();
    match member.is_open() {
        true => SubscribeError::BrokerUnavailable,
        false => SubscribeError::UnknownSession { session },
    }
}

/// Polls an answer without registering a waker.
fn poll_once<T>(confirm: &mut Confirm<T>) -> Poll<T> {
    let mut context = Context::from_waker(Waker::noop());
    std::pin::Pin::new(confirm).poll(&mut context)
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("local", self.local())
            .field("broker", self.broker())
            .finish_non_exhaustive()
    }
}
