//! The engine's half of the hub.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytestring::ByteString;

use super::accounts::{Account, Accounts, Payer, Resource, Share};
use super::clock::{Clock, Periodic};
use super::consumer::Consumer;
use super::descriptions::NodeId;
use super::events::{Change, Events};
use super::kept::Keeper;
use super::members::{Member, Members, SubscriptionPlace};
use super::names::{NameQuota, NoMoreNames};
use super::nodes::{Command, MemberEvent, Observer, Remote};
use super::settings::HubSettings;
use super::sources::{Answered, Sources};
use super::topics::{Maker, NoPlace, NotDelivered, Topics};
use crate::broker::{Broker, Capabilities};
use crate::destination::{Destination, Pattern, Target};
use crate::errors::{PublishError, Refused, SettleError, StartError, SubscribeError};
use crate::expiry::expiry;
use crate::feed::{Feed, Source};
use crate::hub::outbox::{Control, Ending};
use crate::message::{Message, Position, Publish};
use crate::session_id::SessionId;
use crate::statistics::{Count, Counters, DestinationKind, Meter};
use crate::timestamp::Timestamp;

/// A hub as its engine sees it: it delivers the engine's messages, and offers what the engine needs of the node.
///
/// The engine receives it in [`Broker::start`] and may keep it; it does not keep the engine alive.
pub struct LocalHub {
    node: NodeId,
    pub(super) settings: Arc<HubSettings>,
    pub(super) capabilities: Capabilities,
    pub(super) broker: Weak<dyn Broker>,
    pub(super) members: Members,
    pub(super) topics: Topics,
    pub(super) sources: Sources,
    pub(super) remote: Remote,
    pub(super) quota: Arc<NameQuota>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) totals: Arc<Counters>,
    pub(super) clock: Clock,
    events: Events,
    topics_swept: Periodic,
    available: AtomicBool,
    observer: OnceLock<Arc<dyn Observer>>,
    /// True if the observer wants the events of sessions.
    observed: AtomicBool,
    /// The prefix of every message id since this hub was created.
    id_prefix: String,
    next_id: AtomicU64,
}

impl LocalHub {
    pub(super) fn new(
        settings: HubSettings,
        capabilities: Capabilities,
        broker: Weak<dyn Broker>,
    ) -> Self {
        let start = u64::from_ne_bytes(crate::random_bytes());
        let settings = Arc::new(settings);
        let quota = Arc::new(NameQuota::new(settings.max_destinations));
        let totals = Arc::default();
        Self {
            node: NodeId::random(),
            topics: Topics::new(
                start,
                Arc::clone(&quota),
                Arc::clone(&settings),
                Arc::clone(&totals),
            ),
            accounts: Accounts::new(settings.shares()),
            settings,
            capabilities,
            broker,
            members: Members::default(),
            sources: Sources::default(),
            remote: Remote::default(),
            quota,
            totals,
            clock: Clock::default(),
            events: Events::default(),
            topics_swept: Periodic::default(),
            available: AtomicBool::new(false),
            observer: OnceLock::new(),
            observed: AtomicBool::new(false),
            id_prefix: format!("{:x}-", start as u32),
            next_id: AtomicU64::new(1),
        }
    }

    /// This node's id, for the lifetime of the hub.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The answer of [`Broker::settings`].
    pub fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// The time, as the hub's callers pass it: for expiry. It goes back if their clock was set back.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A time that never goes back, for waits.
    pub fn steady(&self) -> Timestamp {
        self.clock.steady()
    }

    /// Delivers the messages of `feed`, in order, to the subscribers of the sources with that feed. Each run of
    /// messages to one destination shares one turn of its lock, and one wake of each subscriber. A message without an id
    /// receives one. Messages of [`Feed::NODE`] without a position are given one, in that turn; those of other feeds have
    /// only the position that the engine [gave](Publish::numbered) them. A message for a user or session is delivered as
    /// by [`deliver_here`](Self::deliver_here).
    ///
    /// Returns the number of deliveries. A message without a subscriber is no error.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooManyDestinations`] if only patterns cover a destination and the hub has no place for one
    /// more. Messages to it are not delivered, and counted as refused; all others are delivered.
    pub fn deliver(&self, feed: Feed, messages: Vec<Publish>) -> Result<usize, PublishError> {
        let (mut receivers, mut refused) = (0, None);
        let mut rest = messages.into_iter().peekable();
        while let Some(first) = rest.next() {
            let Some(destination) = first.destination().cloned() else {
                receivers += self.deliver_here(first);
                continue;
            };
            let mut run = vec![first];
            while let Some(next) = rest.next_if(|next| next.destination() == Some(&destination)) {
                run.push(next);
            }
            match self.deliver_run(feed, &destination, run) {
                Ok(delivered) => receivers += delivered,
                Err(of_run) => {
                    self.totals.count(Count::Refused, of_run.rest.len());
                    refused = Some(of_run.error);
                }
            }
        }
        refused.map_or(Ok(receivers), Err)
    }

    /// Like [`deliver`](Self::deliver), for messages that all go to `destination`.
    ///
    /// # Errors
    ///
    /// As for [`deliver`](Self::deliver), but only the first message is counted as refused: it ends the run, and the
    /// others are given back.
    pub fn deliver_run(
        &self,
        feed: Feed,
        destination: &Destination,
        messages: Vec<Publish>,
    ) -> Result<usize, Refused> {
        self.deliver_by(feed, destination, messages, None)
    }

    /// Like [`deliver_run`](Self::deliver_run); `keeper` has the subscriptions that the engine keeps.
    pub(super) fn deliver_by(
        &self,
        feed: Feed,
        destination: &Destination,
        mut messages: Vec<Publish>,
        keeper: Option<&mut dyn Keeper>,
    ) -> Result<usize, Refused> {
        let count = messages.len();
        let separator = self.settings.separator(destination);
        let maker = Numbering {
            hub: self,
            is_here: feed == Feed::NODE,
        };
        match self.topics.deliver(
            |of| of == feed,
            destination,
            separator,
            &mut messages,
            &maker,
            keeper,
        ) {
            Ok(Some(receivers)) => Ok(receivers),
            Ok(None) => {
                self.totals.count(Count::Published, count);
                Ok(0)
            }
            Err(error) => {
                let error = self.not_delivered(error);
                Err(Refused::new(0, error).with_rest(messages.into_iter().skip(1)))
            }
        }
    }

    /// Returns the publisher's error for what was not delivered, counted as refused.
    fn not_delivered(&self, error: NotDelivered) -> PublishError {
        match error {
            NotDelivered::Names(error) => self.refused_name(&error),
            NotDelivered::Refused(error) => {
                self.totals.count(Count::Refused, 1);
                error
            }
        }
    }

    /// Delivers a message to the subscriptions of this node, whatever their feed; returns their number. One to a topic gets
    /// no position; one to a queue reaches nobody.
    pub fn deliver_here(&self, publish: Publish) -> usize {
        let (members, path) = match &publish.target {
            Target::User { name, path } => (self.members.of_user(name), path.clone()),
            Target::Session { id, path } => {
                let member = self.members.get(*id);
                (member.into_iter().collect(), path.clone())
            }
            Target::Destination(destination) => {
                let destination = destination.clone();
                return self.deliver_on_topic(&destination, publish);
            }
        };
        let message = self.numbered(publish, None, DestinationKind::Topic, false);
        let mut receivers = 0;
        for member in members {
            let (delivered, lost) = member.deliver(&path, &message);
            receivers += delivered;
            self.totals.lost(lost, member.outbox().policy());
        }
        self.totals.count(Count::Published, 1);
        self.totals.count(Count::Delivered, receivers);
        receivers
    }

    fn deliver_on_topic(&self, destination: &Destination, publish: Publish) -> usize {
        let separator = self.settings.separator(destination);
        let maker = Numbering {
            hub: self,
            is_here: false,
        };
        let mut messages = vec![publish];
        let delivered = self.topics.deliver(
            |_| true,
            destination,
            separator,
            &mut messages,
            &maker,
            None,
        );
        match delivered {
            Ok(receivers) => receivers.unwrap_or(0),
            Err(error) => {
                drop(self.not_delivered(error));
                0
            }
        }
    }

    /// Makes sure that the next message to a topic with subscribers finds a place for the topic's name: for
    /// transactions, which are checked before anything is done.
    ///
    /// # Errors
    ///
    /// [`PublishError::TooManyDestinations`] if there is none.
    pub fn prepare(&self, destination: &Destination) -> Result<(), PublishError> {
        self.prepare_for(destination, &|| None)
    }

    /// Like [`prepare`](Self::prepare), for a client's transaction.
    pub(crate) fn prepare_for(
        &self,
        destination: &Destination,
        payer: Payer<'_>,
    ) -> Result<(), PublishError> {
        let separator = self.settings.separator(destination);
        let prepared = self.topics.prepare(destination, payer, separator);
        prepared.map_err(|error| self.refused_name(&error))
    }

    /// Creates the message that consumers of a queue receive for a `publish`: with an id, and counted against the hub's
    /// memory while it exists.
    pub fn message(&self, publish: Publish) -> Arc<Message> {
        self.numbered(publish, None, DestinationKind::Queue, false)
    }

    /// Checks that messages of `bytes` fit into the remaining memory. Concurrent publishers may exceed the limit
    /// together, by one message each.
    ///
    /// # Errors
    ///
    /// [`PublishError::OutOfMemory`], counted as refused.
    pub fn check_memory(&self, bytes: usize) -> Result<(), PublishError> {
        self.check_memory_for(None, bytes, DestinationKind::Topic)
    }

    /// Like [`check_memory`](Self::check_memory), for messages of a client: they fit into its shares, and leave the
    /// reserves of others.
    pub(crate) fn check_memory_for(
        &self,
        account: Option<&Arc<Account>>,
        bytes: usize,
        kind: DestinationKind,
    ) -> Result<(), PublishError> {
        self.room_for(account, bytes, kind)
            .inspect_err(|_| self.totals.count(Count::Refused, 1))
    }

    /// Like [`check_memory_for`](Self::check_memory_for), and counts nothing.
    pub(crate) fn room_for(
        &self,
        account: Option<&Arc<Account>>,
        bytes: usize,
        kind: DestinationKind,
    ) -> Result<(), PublishError> {
        let all = self.accounts.all();
        let mut limit = all.max_bytes();
        if let Some(account) = account {
            account.check_bytes(bytes)?;
            limit = HubSettings::without_reserve(limit, kind);
        }
        match all.bytes().saturating_add(bytes) <= limit {
            true => Ok(()),
            false => Err(PublishError::OutOfMemory { limit }),
        }
    }

    /// The quota of destinations that hub and engine share.
    pub fn quota(&self) -> &Arc<NameQuota> {
        &self.quota
    }

    /// Creates counters for one destination of the engine, which also count in the hub's totals.
    pub fn meter(&self) -> Meter {
        Meter::new(&self.totals)
    }

    /// Creates the error for a destination that no prefix covers.
    pub fn unknown_destination(&self, destination: &str) -> PublishError {
        PublishError::UnknownDestination {
            destination: destination.into(),
            prefixes: self.settings.prefixes(),
        }
    }

    /// Creates the error for a name beyond the [`quota`](Self::quota), and counts it as refused.
    pub fn no_more_names(&self) -> PublishError {
        self.totals.count(Count::Refused, 1);
        PublishError::TooManyDestinations {
            limit: self.quota.limit(),
        }
    }

    /// Creates the publisher's error for a name that finds no place, and counts it as refused.
    pub(crate) fn refused_name(&self, error: &NoMoreNames) -> PublishError {
        self.totals.count(Count::Refused, 1);
        match *error {
            NoMoreNames::Share(error) => error.into(),
            NoMoreNames::All { limit } => PublishError::TooManyDestinations { limit },
        }
    }

    /// Creates the subscriber's error for a name that finds no place, and counts it as refused.
    pub(crate) fn refused_subscription(&self, error: &NoMoreNames) -> SubscribeError {
        self.totals.count(Count::Refused, 1);
        match *error {
            NoMoreNames::Share(error) => error.into(),
            NoMoreNames::All { limit } => SubscribeError::TooManyDestinations { limit },
        }
    }

    /// Returns the error of a subscription to topics that found no place, counted as refused.
    pub(super) fn without_place(&self, error: NoPlace) -> SubscribeError {
        match error {
            NoPlace::Names(error) => self.refused_subscription(&error),
            NoPlace::Refused(error) => {
                self.totals.count(Count::Refused, 1);
                error
            }
        }
    }

    /// Takes the share of a session's subscription to `pattern`, if it has wildcards.
    pub(super) fn take_pattern(
        &self,
        member: &Member,
        pattern: &Pattern,
    ) -> Result<Option<Share>, SubscribeError> {
        if pattern.as_destination().is_some() {
            return Ok(None);
        }
        let resource = match pattern.is_scanned() {
            true => Resource::ScannedPatterns,
            false => Resource::Patterns,
        };
        let account = member.account(&self.accounts);
        let share = account.take(resource).inspect_err(|_| {
            self.totals.count(Count::Refused, 1);
        });
        Ok(Some(share?))
    }

    /// The session `id` of this node, open or not.
    pub fn member(&self, id: SessionId) -> Option<Arc<Member>> {
        self.members.get(id)
    }

    /// Returns the account of an open session of this node, for the names that its subscriptions use first.
    pub(crate) fn account_of(&self, session: SessionId) -> Option<Arc<Account>> {
        let member = self.members.get(session)?;
        Some(member.account(&self.accounts))
    }

    /// Sets whether the engine takes messages. Until the first call it does not.
    pub fn set_available(&self, available: bool) {
        let before = self.available.swap(available, Ordering::AcqRel);
        if before != available
            && let Some(observer) = self.observer.get()
        {
            observer.available(available);
        }
    }

    /// Returns true if the engine takes messages, as [set](Self::set_available) last.
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Acquire)
    }

    /// Announces every open session of this node, with its subscriptions, by [`Broker::announce`]: for an engine that
    /// joins the other nodes, or joins them again after its link was lost. The announcements are in order with those of
    /// changes, and change nothing on a node that knows them already.
    pub fn announce_members(&self) {
        for member in self.members.all() {
            member.announce(self.node, &self.events);
            self.report();
        }
    }

    /// Applies another node's announcement. The announcements of a node, and [`node_gone`](Self::node_gone) about it, are
    /// to be passed on in the order in which they were made. A node's own announcements that come back are ignored.
    pub fn announced(&self, node: NodeId, event: MemberEvent) {
        if node != self.node {
            self.remote.note(node, event, self.queue_from(node));
            self.report();
        }
    }

    /// Removes the sessions of another node: it is gone, or this one has lost its link to it and misses its announcements.
    pub fn node_gone(&self, node: NodeId) {
        self.remote.lost(node, self.queue_from(node));
        self.report();
    }

    /// Queues the events of another node for the observer, if it wants them.
    fn queue_from(&self, node: NodeId) -> impl FnMut(MemberEvent) {
        let events = self.is_observed().then_some(&self.events);
        move |event| {
            if let Some(events) = events {
                events.push(Change::Elsewhere(node), event);
            }
        }
    }

    /// Carries out another node's command.
    pub fn command(self: &Arc<Self>, command: Command) {
        match command {
            Command::End {
                session,
                code,
                reason,
            } => {
                let (member, broker) = (self.members.get(session), self.broker.upgrade());
                if let (Some(member), Some(broker)) = (member, broker) {
                    self.end(&*broker, &member, code, reason);
                }
            }
            Command::Recheck { session } => {
                self.recheck(session);
            }
        }
    }

    /// Has a session of this node check its subscriptions again; returns false if it is not open here.
    pub(super) fn recheck(&self, session: SessionId) -> bool {
        let member = self.members.get(session);
        let member = member.filter(|member| member.is_open());
        if let Some(member) = &member {
            member.outbox().instruct(Control::Recheck);
        }
        member.is_some()
    }

    pub(super) fn set_observer(&self, observer: Arc<dyn Observer>) -> bool {
        let wants_members = observer.wants_members();
        let set = self.observer.set(observer).is_ok();
        if set {
            self.observed.store(wants_members, Ordering::Release);
        }
        if let (true, true, Some(observer)) = (set, self.is_available(), self.observer.get()) {
            observer.available(true);
        }
        set
    }

    pub(super) fn start_failed(&self, error: &StartError) {
        if let Some(observer) = self.observer.get() {
            observer.start_failed(error);
        }
    }

    pub(super) fn settlement_failed(&self, session: SessionId, error: &SettleError) {
        self.totals.count(Count::SettlementFailed, 1);
        if let Some(observer) = self.observer.get() {
            observer.settlement_failed(session, error);
        }
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    pub(super) fn set_feed(&self, source: &Source, feed: Feed) {
        if let Source::Pattern(pattern) = source {
            self.topics.set_feed(pattern, feed);
        }
    }

    /// Opens a session that the engine has confirmed; returns false if it has closed meanwhile.
    pub(super) fn opened(&self, member: &Arc<Member>) -> bool {
        let opened = self.members.open(member, (self.node, self.events()));
        self.report();
        opened
    }

    /// Makes a subscription active and announces it; returns false if its session has closed meanwhile.
    pub(super) fn activate(&self, member: &Member, slot: u32) -> bool {
        let active = member.activate(slot, self.events());
        self.report();
        active
    }

    /// Ends a session at the application's request.
    pub(super) fn end(
        self: &Arc<Self>,
        broker: &dyn Broker,
        member: &Arc<Member>,
        code: u16,
        reason: ByteString,
    ) -> bool {
        if !member.is_open() {
            return false;
        }
        if let Some(observer) = self.observer.get() {
            observer.ending(member, code, &reason);
        }
        // First, since closing seals the outbox; what is queued there is still written.
        member.outbox().end(Ending::Requested { code, reason });
        self.close(broker, member);
        true
    }

    /// Ends a member's subscriptions. May be called repeatedly.
    pub(super) fn close(&self, broker: &dyn Broker, member: &Member) {
        let (places, was_open) = self.members.close(member, self.events());
        // Seal first: a queue's message released by one of its subscriptions must not go to another of them.
        member.outbox().seal();
        // All before the engine cancels the first: a dead letter that this makes is not for another of them.
        let places = places.into_iter();
        let consumers: Vec<_> = places
            .filter_map(|place| self.detach(broker, member, place))
            .collect();
        if !consumers.is_empty() {
            broker.cancel_all(&consumers);
        }
        if was_open {
            self.leave(
                broker,
                &Source::Session(member.id()),
                (member.id(), u32::MAX),
            );
            if let Some(user) = member.user() {
                self.leave(broker, &Source::User(user), (member.id(), u32::MAX));
            }
        }
        self.report();
    }

    /// Ends a subscription, if it has not ended; gives the consumer that the engine is to cancel.
    pub(super) fn unsubscribe(
        &self,
        broker: &dyn Broker,
        member: &Member,
        slot: u32,
    ) -> Option<Arc<Consumer>> {
        let place = member.release(slot, self.events())?;
        let consumer = self.detach(broker, member, (slot, place));
        self.report();
        consumer
    }

    /// Ends the hub's part of a subscription; gives the consumer that the engine is to cancel.
    pub(super) fn detach(
        &self,
        broker: &dyn Broker,
        member: &Member,
        (slot, place): (u32, SubscriptionPlace),
    ) -> Option<Arc<Consumer>> {
        if let SubscriptionPlace::Topic(place, _) = &place {
            self.topics.unsubscribe(place);
            if self.capabilities.interest
                && let Some(pattern) = place.pattern()
            {
                self.leave(broker, &Source::Pattern(pattern), (member.id(), slot));
            }
        }
        if let Some(window) = place.window() {
            // A transaction that waits for room may hold the window for some time yet.
            window.end();
        }
        match place {
            SubscriptionPlace::Consumer(consumer) => consumer.end().then_some(consumer),
            SubscriptionPlace::User(..)
            | SubscriptionPlace::Topic(..)
            | SubscriptionPlace::Application => None,
        }
    }

    /// Joins a source for a session that opens.
    pub(super) fn join_open(
        self: &Arc<Self>,
        broker: &dyn Broker,
        source: &Source,
        member: &Member,
        answered: Answered,
    ) {
        let user = (member.id(), u32::MAX);
        self.sources.join(self, broker, source, user, answered);
        if member.is_closed() {
            // The session closed before it joined.
            self.leave(broker, source, user);
        }
    }

    pub(super) fn leave(&self, broker: &dyn Broker, source: &Source, user: (SessionId, u32)) {
        if self.capabilities.interest {
            self.sources.leave(broker, source, user);
        }
    }

    /// The queue of events of this node's sessions, if an observer or other nodes want them.
    pub(super) fn events(&self) -> Option<&Events> {
        (self.capabilities.nodes || self.is_observed()).then_some(&self.events)
    }

    fn is_observed(&self) -> bool {
        self.observed.load(Ordering::Acquire)
    }

    /// Reports the queued events to the observer and the other nodes. Called without a lock held.
    pub(super) fn report(&self) {
        if self.events().is_none() {
            return;
        }
        let observer = self.observer.get().filter(|_| self.is_observed());
        self.events.report(|change, event| {
            let node = match change {
                Change::Here => Some(self.node),
                Change::Repeated => None,
                Change::Elsewhere(node) => Some(node),
            };
            if let (Some(observer), Some(node)) = (observer, node) {
                observer.member(node, &event);
            }
            if self.capabilities.nodes
                && !matches!(change, Change::Elsewhere(_))
                && let Some(broker) = self.broker.upgrade()
            {
                broker.announce(event);
            }
        });
    }

    /// Drops what is no longer used.
    pub(super) fn sweep(&self) {
        if let Some(seconds) = self.topics_swept.due(self.steady()) {
            self.topics.sweep(seconds, self.steady());
        }
    }

    fn numbered(
        &self,
        mut publish: Publish,
        here: Option<Position>,
        kind: DestinationKind,
        is_kept: bool,
    ) -> Arc<Message> {
        if publish.lacks_expiry()
            && let Ok(Some(at)) = expiry(&publish.headers, self.now())
        {
            publish = publish.expires_at(at);
        }
        let id = publish.id().cloned();
        let id = id.unwrap_or_else(|| self.message_id());
        let position = publish.position().or(here);
        // Only those whose position is the topic's own can be found by it.
        let is_kept = is_kept && here.is_some() && position == here;
        let account = publish.take_account();
        let mut message = Message::new(publish, id, position);
        if is_kept {
            message = message.kept();
        }
        // A kept message is bounded by its topic's history, and waits for no reader.
        let account = account.filter(|_| !is_kept);
        let account = account.unwrap_or_else(|| Arc::clone(self.accounts.all()));
        let unwritten = kind == DestinationKind::Topic && !is_kept;
        Arc::new(message.charged(account, unwritten))
    }

    fn message_id(&self) -> ByteString {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let digits = number.checked_ilog10().unwrap_or(0) + 1;
        // Of its exact length, so that `Bytes` takes it over without copying.
        let mut id = String::with_capacity(self.id_prefix.len() + digits as usize);
        id.push_str(&self.id_prefix);
        let digit = |at| b'0' + (number / 10_u64.pow(at) % 10) as u8;
        id.extend((0..digits).rev().map(|at| char::from(digit(at))));
        id.into()
    }
}

/// Makes messages; they have the positions that the topic gives them if the engine gives none.
struct Numbering<'a> {
    hub: &'a LocalHub,
    is_here: bool,
}

impl Maker for Numbering<'_> {
    fn make(&self, publish: Publish, position: Position, is_kept: bool) -> Arc<Message> {
        let here = self.is_here.then_some(position);
        self.hub
            .numbered(publish, here, DestinationKind::Topic, is_kept)
    }

    fn steady(&self) -> Timestamp {
        self.hub.steady()
    }
}

impl fmt::Debug for LocalHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalHub")
            .field("node", &self.node)
            .field("members", &self.members.len())
            .field("destinations", &self.quota.used())
            .field("bytes", &self.accounts.all().bytes())
            .finish_non_exhaustive()
    }
}
