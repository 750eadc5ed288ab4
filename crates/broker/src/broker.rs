//! The interface between a node's hub and its engine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::confirm::Confirm;
use crate::destination::{Destination, Pattern};
use crate::errors::{
    CommitError, PublishError, Refused, SettleError, StartError, SubscribeError, UnsubscribeError,
};
use crate::feed::{Feed, Source, Token};
use crate::hub::consumer::Consumer;
use crate::hub::descriptions::NodeId;
use crate::hub::local::LocalHub;
use crate::hub::nodes::{Command, MemberEvent};
use crate::hub::settings::HubSettings;
use crate::hub::sources::Activation;
use crate::message::{Message, Publish};
use crate::request::{OptionSupport, Outcome, Published, Subscribed};
use crate::session_id::SessionId;
use crate::statistics::DestinationStatistics;
use crate::timestamp::Timestamp;

/// An engine that carries messages: the [`EmbeddedBroker`](crate::EmbeddedBroker), or a client of a server elsewhere.
///
/// Sessions never call it; they call the [`Hub`](crate::Hub), which has everything local: sessions and users,
/// subscriptions and fan-out, windows, outboxes, counters. The hub asks the engine for what leaves or outlives the
/// node. The engine receives its half of the hub, the [`LocalHub`], in [`start`](Self::start).
///
/// Rules for an engine:
///
/// * Methods start their work when called, not when the [`Confirm`] is polled; dropping a `Confirm` cancels nothing.
/// * A confirmation means *done*. After an [`Activation`] is confirmed, every message published later is delivered;
///   after `publish` is confirmed, the messages are stored or fanned out; after `settle` is confirmed, accepted
///   messages do not come back.
/// * Answers may come late ([`Promise`](crate::Promise)). A request that the engine never passed on is answered
///   `BrokerUnavailable`; one that it passed on and has no answer for is `OutcomeUnknown`, and is never repeated.
/// * Methods do not block. The hub holds none of its locks while it calls them.
/// * The engine holds none of its own locks while it calls a method of [`LocalHub`] or [`Activation`], or drops an
///   [`Activation`]: these may call any of the engine's methods before they return. Methods that only read or count,
///   such as [`LocalHub::now`], call none.
/// * What an engine can no longer deliver after a reconnect it ends, by [`LocalHub::end_source`] and
///   [`LocalHub::end_consumer`]; what was missed it reports by [`LocalHub::missed`] and [`Consumer::missed`]. It keeps the
///   [`Feed`] of each source for that.
/// * A [`Token`] is never used again in the life of its [`Consumer`], not even after [`Consumer::void`].
/// * A settlement that is answered with an error has not removed its messages: the engine keeps them, or delivers them
///   again. Only after `OutcomeUnknown` may it have removed them.
/// * The engine reads no clock: [`LocalHub::now`] is the time.
///
/// The [`contract`](crate::contract) tests all of this that is observable from outside, for any engine.
/// `crates/broker/examples/engine` is a complete engine for several nodes in one process.
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// The destinations that the engine carries, and the limits of its node's hub. Read once, by
    /// [`Hub::new`](crate::Hub::new).
    fn settings(&self) -> HubSettings;

    /// Errors in the engine's own configuration, one text each, for the application that builds it. The hub reports
    /// those in [`settings`](Self::settings). Default none.
    fn errors(&self) -> Vec<String> {
        Vec::new()
    }

    /// The engine's features and guarantees. Default [`Capabilities::default`].
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Returns true if messages to `destination` with the header `persistent:true` outlive the engine's process; sessions
    /// refuse the others. Default [`Capabilities::persistent`], for all.
    fn is_persistent(&self, _destination: &str) -> bool {
        self.capabilities().persistent
    }

    /// Starts the engine, once. Before it returns, the hub calls only [`settings`](Self::settings),
    /// [`errors`](Self::errors) and [`capabilities`](Self::capabilities), unless the engine itself causes other calls.
    /// Until the answer arrives the hub passes requests on as usual: the engine keeps them or refuses them. When the
    /// engine becomes ready, and whenever that changes, it calls [`LocalHub::set_available`].
    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>>;

    /// Finishes pending work, until `deadline` at most; called once. The hub passes on no new subscription, message or
    /// transaction afterwards, and waits for the answer no longer than that. Default: nothing to do.
    fn stop(&self, _deadline: Timestamp) -> Confirm<()> {
        Confirm::ready(())
    }

    /// Starts to deliver the messages of a source, for an engine with [`Capabilities::interest`].
    ///
    /// The hub calls it at a source's first subscription; subscriptions that join meanwhile share the answer. Calls of
    /// `activate` and [`deactivate`](Self::deactivate) about one source come in order, one at a time, perhaps from
    /// another session's thread. Default: confirms, for engines whose node receives everything anyway.
    fn activate(&self, activation: Activation) {
        activation.confirm(Feed::NODE);
    }

    /// Ends the delivery of a source whose last subscription has ended. If the activation is not yet answered, its
    /// answer is ignored. Default: nothing to do.
    fn deactivate(&self, _source: &Source) {}

    /// Publishes independent messages, in order. The first that is refused ends the batch: those before it are
    /// published, and the later ones [given back](Refused::rest) for their publisher to go on with. They are of the client
    /// of `session`, or the application's own; what else is known of that session, [`LocalHub::member`] has.
    ///
    /// The batch includes messages for users and sessions: the engine gives them to its own node with
    /// [`LocalHub::deliver_here`], at their place in the order, and to the other nodes if it joins any. A full queue is
    /// waited for as long as its settings say, unless the message is [immediate](Publish::is_immediate).
    fn publish(
        &self,
        session: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>>;

    /// Starts to deliver a queue's messages, or a durable subscription's, to `consumer`. At most [`Consumer::credit`]
    /// deliveries may be unsettled. Default: refused, for engines without queues.
    fn consume(&self, _consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        Confirm::ready(Err(SubscribeError::Refused {
            reason: "it has no queues".into(),
        }))
    }

    /// Ends a consumer. Called once, after [`consume`](Self::consume) has returned and perhaps before its answer. Its
    /// unsettled messages go to other consumers, marked as redelivered. A consumer that was refused is not cancelled;
    /// one whose answer is unknown is. Default: nothing to do.
    fn cancel(&self, _consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        Confirm::ready(Ok(()))
    }

    /// Ends the consumer of a durable subscription and the subscription itself, with its messages. Called instead of
    /// [`cancel`](Self::cancel). Default: cancels, for engines without durable subscriptions.
    fn end_durable(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        self.cancel(consumer)
    }

    /// Ends all consumers of a session that closes. An engine in this process returns the messages of all of them to their
    /// queues before it hands out any, so that queues keep their order. Default: [cancels](Self::cancel) one after the
    /// other.
    fn cancel_all(&self, consumers: &[Arc<Consumer>]) {
        for consumer in consumers {
            drop(self.cancel(consumer));
        }
    }

    /// Settles deliveries, in the order of `tokens`. Default: answers that there is no such delivery.
    fn settle(
        &self,
        _consumer: &Arc<Consumer>,
        _tokens: &[Token],
        _outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        Confirm::ready(Err(SettleError::Gone))
    }

    /// Carries out a transaction completely or not at all: settles first, then publishes in order. If a consumer of its
    /// settlements ends while it waits for room, it is not carried out. Default: refused, for engines without
    /// transactions.
    fn commit(&self, _commit: Commit) -> Confirm<Result<Published, CommitError>> {
        let reason = "it has no transactions".into();
        Confirm::ready(Err(PublishError::Refused { reason }.into()))
    }

    /// Reports room in the outbox of a consumer's session, after an [`offer`](Consumer::offer) to one of its consumers
    /// was refused. Default: nothing to do.
    fn room_again(&self, _consumer: &Arc<Consumer>) {}

    /// Announces a change in a session of this node to the other nodes. Only for an engine that joins [several
    /// nodes](Capabilities::nodes): when it does, it calls [`LocalHub::announce_members`]. Calls come one at a time, in the
    /// order of the changes; an engine whose link is lost drops them. Default: nothing to do.
    fn announce(&self, _event: MemberEvent) {}

    /// Passes a command to another node, whose engine calls [`LocalHub::command`] with it. Default: nothing to do.
    fn command(&self, _node: NodeId, _command: Command) {}

    /// Does the work that is due by [`LocalHub::now`], and drops what is no longer used. Called about once a second.
    fn sweep(&self) {}

    /// The first messages that wait in a queue, `limit` at most, for an operator who looks: they stay where they are.
    /// Default `None`, as for a destination that is no queue here.
    fn peek(&self, _queue: &Destination, _limit: usize) -> Option<Vec<Arc<Message>>> {
        None
    }

    /// Statistics of at most `limit` of the queues that `pattern` covers. Default none, for engines that keep their own
    /// statistics.
    fn statistics(&self, _pattern: &Pattern, _limit: usize) -> Vec<DestinationStatistics> {
        Vec::new()
    }
}

impl<B: Broker + ?Sized> Broker for Arc<B> {
    fn settings(&self) -> HubSettings {
        (**self).settings()
    }

    fn errors(&self) -> Vec<String> {
        (**self).errors()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn is_persistent(&self, destination: &str) -> bool {
        (**self).is_persistent(destination)
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        (**self).start(hub)
    }

    fn stop(&self, deadline: Timestamp) -> Confirm<()> {
        (**self).stop(deadline)
    }

    fn activate(&self, activation: Activation) {
        (**self).activate(activation);
    }

    fn deactivate(&self, source: &Source) {
        (**self).deactivate(source);
    }

    fn publish(
        &self,
        session: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        (**self).publish(session, batch)
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        (**self).consume(consumer)
    }

    fn cancel(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        (**self).cancel(consumer)
    }

    fn end_durable(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        (**self).end_durable(consumer)
    }

    fn cancel_all(&self, consumers: &[Arc<Consumer>]) {
        (**self).cancel_all(consumers);
    }

    fn settle(
        &self,
        consumer: &Arc<Consumer>,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        (**self).settle(consumer, tokens, outcome)
    }

    fn commit(&self, commit: Commit) -> Confirm<Result<Published, CommitError>> {
        (**self).commit(commit)
    }

    fn room_again(&self, consumer: &Arc<Consumer>) {
        (**self).room_again(consumer);
    }

    fn announce(&self, event: MemberEvent) {
        (**self).announce(event);
    }

    fn command(&self, node: NodeId, command: Command) {
        (**self).command(node, command);
    }

    fn sweep(&self) {
        (**self).sweep();
    }

    fn peek(&self, queue: &Destination, limit: usize) -> Option<Vec<Arc<Message>>> {
        (**self).peek(queue, limit)
    }

    fn statistics(&self, pattern: &Pattern, limit: usize) -> Vec<DestinationStatistics> {
        (**self).statistics(pattern, limit)
    }
}

/// An engine's features and guarantees, for the hub and for [`contract`](crate::contract).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Capabilities {
    /// True if the hub calls [`Broker::activate`] for sources with subscribers here. Default false: the node receives
    /// everything that the engine delivers.
    pub interest: bool,
    /// True if the engine joins several nodes and so needs [announcements](Broker::announce). Default false.
    pub nodes: bool,
    /// The order in which subscribers see messages. Default [`Order::Destination`].
    pub order: Order,
    /// The supported options of queue and durable subscriptions; others have none. Default none.
    pub options: OptionSupport,
    /// True if messages with the header `persistent:true` outlive the engine's process. Default false: sessions refuse
    /// them.
    pub persistent: bool,
    /// The time after which the hub treats a missing answer as unknown. Default 30 s: longer than a broker's restart
    /// takes, shorter than a user's patience. `None` for an engine in this process, which answers by its own rules.
    pub answer_time: Option<Duration>,
    /// True if [`Broker::start`] only stores the hub, so that it can be called when the hub is created. Default false:
    /// it is called at the first use.
    pub starts_at_once: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            interest: false,
            nodes: false,
            order: Order::Destination,
            options: OptionSupport::default(),
            persistent: false,
            answer_time: Some(Duration::from_secs(30)),
            starts_at_once: false,
        }
    }
}

impl Capabilities {
    /// Sets [`Capabilities::interest`].
    #[must_use]
    pub fn interest(mut self, wanted: bool) -> Self {
        self.interest = wanted;
        self
    }

    /// Sets [`Capabilities::nodes`].
    #[must_use]
    pub fn nodes(mut self, several: bool) -> Self {
        self.nodes = several;
        self
    }

    /// Sets [`Capabilities::order`].
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets [`Capabilities::options`].
    #[must_use]
    pub fn options(mut self, options: OptionSupport) -> Self {
        self.options = options;
        self
    }

    /// Sets [`Capabilities::answer_time`].
    #[must_use]
    pub fn answer_time(mut self, time: Option<Duration>) -> Self {
        self.answer_time = time;
        self
    }

    /// Sets [`Capabilities::persistent`].
    #[must_use]
    pub fn persistent(mut self, stored: bool) -> Self {
        self.persistent = stored;
        self
    }

    /// Sets [`Capabilities::starts_at_once`].
    #[must_use]
    pub fn starts_at_once(mut self, at_once: bool) -> Self {
        self.starts_at_once = at_once;
        self
    }
}

/// The order in which the subscribers of a destination see its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All subscribers, on every node, see the messages of a destination in one order.
    Destination,
    /// Each publisher's messages are seen in the order it sent them; those of different publishers may be seen in
    /// different orders.
    Publisher,
}

/// A transaction for the engine to carry out.
#[derive(Debug)]
#[non_exhaustive]
pub struct Commit {
    /// The session whose transaction it is.
    pub session: SessionId,
    /// Settlements, in order.
    pub settlements: Vec<Settlement>,
    /// Messages to publish, in order.
    pub publishes: Vec<Publish>,
}

impl Commit {
    pub(crate) fn new(
        session: SessionId,
        settlements: Vec<Settlement>,
        publishes: Vec<Publish>,
    ) -> Self {
        Self {
            session,
            settlements,
            publishes,
        }
    }
}

/// Deliveries to one consumer that a transaction settles, as [`Broker::settle`] does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settlement {
    /// The consumer.
    pub consumer: Arc<Consumer>,
    /// Its deliveries, in order.
    pub tokens: Arc<[Token]>,
    /// The outcome of these deliveries.
    pub outcome: Outcome,
}

impl Settlement {
    pub(crate) fn new(consumer: Arc<Consumer>, tokens: Arc<[Token]>, outcome: Outcome) -> Self {
        Self {
            consumer,
            tokens,
            outcome,
        }
    }
}
