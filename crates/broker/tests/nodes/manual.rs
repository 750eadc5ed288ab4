//! An engine whose answers the test gives, by hand.

use std::sync::{Arc, Mutex, OnceLock, mpsc};

use tramline_broker::{
    Activation, Broker, Capabilities, Commit, CommitError, Confirm, Consumer, Hub, HubSettings,
    LocalHub, OptionSupport, Outcome, Promise, Publish, Published, Refused, SessionId, SettleError,
    Source, StartError, SubscribeError, Subscribed, Token, UnsubscribeError,
};

use crate::support::{NodeSession, message, until};

/// A call by the hub, with the means to answer it.
#[derive(Debug)]
pub(crate) enum Call {
    Activate(Activation),
    Deactivate(Source),
    Publish(Promise<Result<Published, Refused>>),
    Consume(Arc<Consumer>, Promise<Result<Subscribed, SubscribeError>>),
    Cancel(Promise<Result<(), UnsubscribeError>>),
    Settle(Promise<Result<(), SettleError>>),
    Commit(Promise<Result<Published, CommitError>>),
}

impl Call {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Activate(_) => "activate",
            Self::Deactivate(_) => "deactivate",
            Self::Publish(_) => "publish",
            Self::Consume(..) => "consume",
            Self::Cancel(_) => "cancel",
            Self::Settle(_) => "settle",
            Self::Commit(_) => "commit",
        }
    }
}

/// Records calls.
#[derive(Debug, Default)]
pub(crate) struct Manual {
    hub: OnceLock<Arc<LocalHub>>,
    calls: Mutex<Vec<Call>>,
    publishers: Mutex<Vec<Option<SessionId>>>,
    gate: Mutex<Option<Gate>>,
    /// True if sessions and users are activated at once.
    opens: bool,
    max_destinations: Option<usize>,
}

/// Blocks the next call about a subscription.
#[derive(Debug)]
struct Gate {
    entered: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
}

impl Manual {
    /// Returns a hub and its engine.
    pub(crate) fn hub() -> (Hub, Arc<Self>) {
        let engine = Arc::new(Self {
            opens: true,
            ..Self::default()
        });
        (Hub::new(Arc::clone(&engine)), engine)
    }

    /// Like [`hub`](Self::hub), for a hub of at most `count` destinations.
    pub(crate) fn hub_of_destinations(count: usize) -> (Hub, Arc<Self>) {
        let engine = Arc::new(Self {
            opens: true,
            max_destinations: Some(count),
            ..Self::default()
        });
        (Hub::new(Arc::clone(&engine)), engine)
    }

    /// Like [`hub`](Self::hub), for an engine that activates sessions too.
    pub(crate) fn hub_asked_for_sessions() -> (Hub, Arc<Self>) {
        let engine = Arc::new(Self::default());
        (Hub::new(Arc::clone(&engine)), engine)
    }

    /// Subscribes `session` to a `queue`, and fills the consumer's credit with deliveries, by tokens from 0 on.
    #[track_caller]
    pub(crate) fn filled(&self, session: &NodeSession, queue: &str) -> Arc<Consumer> {
        self.filled_at(session, 0, queue)
    }

    /// Like [`filled`](Self::filled), with the number `slot` of the subscription.
    #[track_caller]
    pub(crate) fn filled_at(&self, session: &NodeSession, slot: u32, queue: &str) -> Arc<Consumer> {
        drop(session.subscribing(slot, queue));
        let Call::Consume(consumer, promise) = self.next() else {
            panic!("a queue is consumed");
        };
        promise.keep(Ok(Default::default()));
        let credit = u64::from(consumer.credit().get());
        assert!((0..credit).all(|token| self.deliver(&consumer, token)));
        consumer
    }

    pub(crate) fn deliver(&self, consumer: &Consumer, token: u64) -> bool {
        let sent = self
            .local()
            .message(message(consumer.pattern().as_str(), "x"));
        consumer.deliver(Token(token), sent, 0)
    }

    pub(crate) fn local(&self) -> &Arc<LocalHub> {
        self.hub.get().unwrap()
    }

    /// Waits for the oldest call.
    #[track_caller]
    pub(crate) fn next(&self) -> Call {
        until(|| {
            let mut calls = self.calls.lock().unwrap();
            (!calls.is_empty()).then(|| calls.remove(0))
        })
    }

    #[track_caller]
    pub(crate) fn activation(&self) -> Activation {
        match self.next() {
            Call::Activate(activation) => activation,
            other => panic!("{other:?}"),
        }
    }

    /// The names of the calls that were not taken.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().iter().map(Call::name).collect()
    }

    /// The sessions whose messages it was asked to publish.
    pub(crate) fn publishers(&self) -> Vec<Option<SessionId>> {
        self.publishers.lock().unwrap().clone()
    }

    /// Blocks the next call about a subscription; returns what signals its arrival, and what unblocks it.
    pub(crate) fn stop(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((entered, came), (go_on, go)) = (mpsc::channel(), mpsc::channel());
        *self.gate.lock().unwrap() = Some(Gate { entered, go });
        (came, go_on)
    }

    fn note(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }

    fn pass(&self) {
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.entered.send(()).unwrap();
            gate.go.recv().unwrap();
        }
    }
}

impl Broker for Manual {
    fn settings(&self) -> HubSettings {
        let settings = HubSettings::new().topics("/topic").queues("/queue");
        match self.max_destinations {
            Some(count) => settings.max_destinations(count),
            None => settings,
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut options = OptionSupport::default();
        options.resume = true;
        options.retained = true;
        options.durable = true;
        options.selector = true;
        options.browse = true;
        Capabilities::default().interest(true).options(options)
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        self.hub.set(hub).unwrap();
        Confirm::ready(Ok(()))
    }

    fn activate(&self, activation: Activation) {
        let of_session = !matches!(activation.source(), Source::Pattern(_));
        if of_session && self.opens {
            return activation.confirm(tramline_broker::Feed(1));
        }
        self.pass();
        self.note(Call::Activate(activation));
    }

    fn deactivate(&self, source: &Source) {
        if matches!(source, Source::Pattern(_)) || !self.opens {
            self.note(Call::Deactivate(source.clone()));
        }
    }

    fn publish(
        &self,
        session: Option<SessionId>,
        _batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        self.publishers.lock().unwrap().push(session);
        let (promise, confirm) = Promise::new();
        self.note(Call::Publish(promise));
        confirm
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        self.pass();
        let (promise, confirm) = Promise::new();
        self.note(Call::Consume(consumer, promise));
        confirm
    }

    fn cancel(&self, _consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        let (promise, confirm) = Promise::new();
        self.note(Call::Cancel(promise));
        confirm
    }

    fn settle(
        &self,
        _consumer: &Arc<Consumer>,
        _tokens: &[Token],
        _outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        let (promise, confirm) = Promise::new();
        self.note(Call::Settle(promise));
        confirm
    }

    fn commit(&self, _commit: Commit) -> Confirm<Result<Published, CommitError>> {
        let (promise, confirm) = Promise::new();
        self.note(Call::Commit(promise));
        confirm
    }
}
