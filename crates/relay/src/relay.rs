//! The builder, and the engine's side that the hub calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytestring::ByteString;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tramline_broker::{
    Activation, Broker, Capabilities, Command, Commit, CommitError, Confirm, Consumer, Headers,
    HubSettings, LocalHub, MemberEvent, NodeId, OptionSupport, Order, Outcome, Prefix, Promise,
    Publish, PublishError, Published, Refused, SessionId, SettleError, Source, StartError,
    SubscribeError, Subscribed, Timestamp, Token, Unanswered, UnsubscribeError,
};
use tramline_stomp::HeartBeat;

use crate::engine::{self, End, Request};
use crate::kind::BrokerKind;
use crate::names::{Family, Shape};
use crate::options::{Login, Options};

/// A broker of others behind the stack: RabbitMQ, ActiveMQ Classic or Artemis, by STOMP over TCP.
///
/// The [crate's page](crate) has how it uses the broker and what differs from the embedded one. It needs a tokio runtime:
/// that of the thread that starts the stack, or [`runtime`](Self::runtime).
///
/// # Example: refused before anything starts
///
/// ```
/// use tramline_broker::Broker;
/// use tramline_relay::StompRelay;
///
/// let relay = StompRelay::new(["rabbit1"]).topics("/topic");
/// assert_eq!(
///     relay.errors(),
///     ["relay address \"rabbit1\": must be a host and a port, as \"rabbit1:61613\""]
/// );
/// ```
#[derive(Debug)]
pub struct StompRelay {
    options: Options,
    settings: HubSettings,
    runtime: Option<Handle>,
    requests: mpsc::UnboundedSender<Request>,
    /// Taken by the start.
    queue: Mutex<Option<mpsc::UnboundedReceiver<Request>>>,
    consumers: AtomicU64,
}

impl StompRelay {
    /// Creates a relay to the first of `addresses` that answers, each a host and a port. Other nodes of the application are
    /// given the same broker, or another of the same cluster of brokers.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        let (requests, queue) = mpsc::unbounded_channel();
        Self {
            options: Options::new(addresses.into_iter().map(Into::into).collect()),
            settings: HubSettings::new(),
            runtime: None,
            requests,
            queue: Mutex::new(Some(queue)),
            consumers: AtomicU64::new(0),
        }
    }

    /// Relays the destinations below `prefix` as topics. May be called repeatedly. `/topic`, and at RabbitMQ
    /// `/exchange/NAME`, are the broker's own; below another prefix, `/news/a` is the broker's `/topic/news.a`.
    #[must_use]
    pub fn topics(self, prefix: impl Into<Prefix>) -> Self {
        self.family(prefix.into(), Shape::Topic)
    }

    /// Relays the destinations below `prefix` as queues. May be called repeatedly. `/queue`, and at RabbitMQ `/amq/queue`,
    /// are the broker's own; below another prefix, `/jobs/a` is the broker's queue `jobs/a`.
    #[must_use]
    pub fn queues(self, prefix: impl Into<Prefix>) -> Self {
        self.family(prefix.into(), Shape::Queue)
    }

    fn family(mut self, prefix: Prefix, kind: Shape) -> Self {
        self.options.families.push(Family {
            prefix: prefix.as_str().into(),
            kind,
            separator: prefix.separates_by(),
        });
        let settings = self.settings;
        self.settings = match kind {
            Shape::Topic => settings.topics(prefix),
            Shape::Queue => settings.queues(prefix),
        };
        self
    }

    /// Sets the limits of the node's hub: `|settings| settings.max_bytes(…)`. Prefixes added there are not relayed; use
    /// [`topics`](Self::topics) and [`queues`](Self::queues).
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(HubSettings) -> HubSettings) -> Self {
        self.settings = change(self.settings);
        self
    }

    /// Sets the broker's kind. Default: what it says of itself when it is connected.
    #[must_use]
    pub fn kind(mut self, kind: BrokerKind) -> Self {
        self.options.kind = Some(kind);
        self
    }

    /// Sets the login and passcode of the relay's links. Default none: the broker's default user, where it has one.
    #[must_use]
    pub fn login(mut self, name: impl Into<ByteString>, passcode: impl Into<ByteString>) -> Self {
        let (name, passcode) = (name.into(), passcode.into());
        self.options.system = Some(Login { name, passcode });
        self
    }

    /// Sets another login for the links that carry clients' messages, with fewer rights than that of the nodes' link.
    /// Default: that of [`login`](Self::login).
    #[must_use]
    pub fn client_login(
        mut self,
        name: impl Into<ByteString>,
        passcode: impl Into<ByteString>,
    ) -> Self {
        let (name, passcode) = (name.into(), passcode.into());
        self.options.client = Some(Login { name, passcode });
        self
    }

    /// Sets the virtual host. Default `/`, RabbitMQ's own default; ActiveMQ and Artemis ignore it.
    #[must_use]
    pub fn virtual_host(mut self, host: impl Into<ByteString>) -> Self {
        self.options.virtual_host = host.into();
        self
    }

    /// Joins this node with the others that have the same `name` at the same broker: messages to users reach their
    /// sessions on all of them, and registry, presence and forced close know those. The nodes talk by the broker's topic
    /// `tramline.nodes.NAME`, which the relay keeps from clients; other users of the broker should have no access to it. Default:
    /// the node is alone.
    #[must_use]
    pub fn nodes(mut self, name: impl Into<ByteString>) -> Self {
        self.options.nodes = Some(name.into());
        self
    }

    /// Sets the heart-beats between relay and broker, in milliseconds, each way. Default 10,000: a broker or network that is
    /// gone is seen within 30 s.
    #[must_use]
    pub fn heart_beat(mut self, send: u32, receive: u32) -> Self {
        self.options.heart_beat = HeartBeat { send, receive };
        self
    }

    /// Sets how long a link may take to connect, and then to be answered with CONNECTED. Default 10 s each: a broker that
    /// needs longer serves nobody.
    #[must_use]
    pub fn connect_time(mut self, time: Duration) -> Self {
        self.options.connect_time = time;
        self
    }

    /// Sets how long messages and subscriptions wait for a broker that is away, before they are refused with
    /// `BrokerUnavailable`. Default 10 s: it covers a network's hiccup, and no user waits longer for an answer.
    #[must_use]
    pub fn wait_time(mut self, time: Duration) -> Self {
        self.options.wait_time = time;
        self
    }

    /// Sets the first and the longest time between two attempts to connect; each is twice the one before, shortened by up to
    /// half at random so that nodes do not come together. Default 200 ms and 10 s.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.options.backoff = (first, longest);
        self
    }

    /// Sets the maximum size of all messages that wait for the broker or for its confirmation. Beyond it, publishing is
    /// refused with `BrokerUnavailable`. Default 67,108,864 (64 MiB): a few seconds of a busy node.
    #[must_use]
    pub fn max_waiting_bytes(mut self, bytes: usize) -> Self {
        self.options.max_waiting = bytes;
        self
    }

    /// Sets the maximum body of a message from the broker; a larger one ends the link. Default 16,777,216 (16 MiB),
    /// RabbitMQ's limit of a message.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.options.max_body = bytes;
        self
    }

    /// Adds headers to each SEND to a destination that `pattern` covers, unless the message has its own:
    /// `.send_headers("/queue/**", [("persistent", "true")])`. The first pattern that covers a destination counts.
    #[must_use]
    pub fn send_headers<'a>(
        mut self,
        pattern: impl Into<ByteString>,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let headers = collect(headers);
        self.options.send_headers.push((pattern.into(), headers));
        self
    }

    /// Adds headers to each SUBSCRIBE at the broker whose destination `pattern` covers, in place of the relay's own of that
    /// name: `.subscribe_headers("/queue/**", [("x-queue-type", "quorum")])`. The first pattern that covers counts.
    #[must_use]
    pub fn subscribe_headers<'a>(
        mut self,
        pattern: impl Into<ByteString>,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let headers = collect(headers);
        self.options
            .subscribe_headers
            .push((pattern.into(), headers));
        self
    }

    /// Runs the links on this runtime. Default: the runtime of the thread that starts the stack.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Passes a request to the engine's task; a task that has ended drops it, and so answers its promise.
    fn ask<T: Unanswered + Send + 'static>(
        &self,
        request: impl FnOnce(Promise<T>) -> Request,
    ) -> Confirm<T> {
        let (promise, confirm) = Promise::new();
        drop(self.requests.send(request(promise)));
        confirm
    }
}

fn collect<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Headers {
    let mut collected = Headers::new();
    for (name, value) in headers {
        collected.push(name, value);
    }
    collected
}

/// The relay's number of a consumer, kept with it.
struct Number(u64);

fn number(consumer: &Consumer) -> Option<u64> {
    consumer.record::<Number>().map(|number| number.0)
}

impl Broker for StompRelay {
    fn settings(&self) -> HubSettings {
        self.settings.clone()
    }

    fn errors(&self) -> Vec<String> {
        self.options.errors()
    }

    fn capabilities(&self) -> Capabilities {
        let mut options = OptionSupport::default();
        options.durable = true;
        options.selector = true;
        Capabilities::default()
            .interest(true)
            .nodes(self.options.nodes.is_some())
            .order(Order::Publisher)
            .options(options)
            .persistent(true)
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(queue) = queue else {
            return Confirm::ready(Err(StartError::new("it was started before")));
        };
        let runtime = self.runtime.clone().or_else(|| Handle::try_current().ok());
        let Some(runtime) = runtime else {
            let reason =
                "the relay needs a tokio runtime; start it in one, or give it one by `runtime`";
            return Confirm::ready(Err(StartError::new(reason)));
        };
        let (promise, confirm) = Promise::new();
        let own = self.requests.downgrade();
        runtime.spawn(engine::run(self.options.clone(), hub, queue, own, promise));
        confirm
    }

    fn stop(&self, _deadline: Timestamp) -> Confirm<()> {
        self.ask(Request::Stop)
    }

    fn activate(&self, activation: Activation) {
        drop(self.requests.send(Request::Activate(activation)));
    }

    fn deactivate(&self, source: &Source) {
        drop(self.requests.send(Request::Deactivate(source.clone())));
    }

    fn publish(
        &self,
        _session: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        self.ask(|promise| Request::Publish(batch, promise))
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        let number = self.consumers.fetch_add(1, Ordering::Relaxed);
        consumer.set_record(Number(number));
        self.ask(|promise| Request::Consume(number, consumer, promise))
    }

    fn cancel(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        match number(consumer) {
            Some(number) => self.ask(|promise| Request::Cancel(number, End::Consumer, promise)),
            None => Confirm::ready(Ok(())),
        }
    }

    fn end_durable(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        match number(consumer) {
            Some(number) => self.ask(|promise| Request::Cancel(number, End::Subscription, promise)),
            None => Confirm::ready(Ok(())),
        }
    }

    fn settle(
        &self,
        consumer: &Arc<Consumer>,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        let Some(number) = number(consumer) else {
            return Confirm::ready(Err(SettleError::Gone));
        };
        let tokens = tokens.to_vec();
        self.ask(|promise| Request::Settle(number, tokens, outcome, promise))
    }

    fn commit(&self, commit: Commit) -> Confirm<Result<Published, CommitError>> {
        let mut numbers = Vec::new();
        for settlement in &commit.settlements {
            let Some(number) = number(&settlement.consumer) else {
                return Confirm::ready(Err(SettleError::Gone.into()));
            };
            numbers.push(number);
        }
        let first = numbers.first().copied();
        if numbers.iter().any(|number| Some(*number) != first) {
            let reason = "a transaction can acknowledge messages of one queue subscription only; commit those of each on \
                          their own";
            let refused = PublishError::Refused {
                reason: reason.into(),
            };
            return Confirm::ready(Err(refused.into()));
        }
        self.ask(|promise| Request::Commit(first, commit, promise))
    }

    fn announce(&self, event: MemberEvent) {
        drop(self.requests.send(Request::Announce(event)));
    }

    fn command(&self, node: NodeId, command: Command) {
        drop(self.requests.send(Request::Command(node, command)));
    }
}
