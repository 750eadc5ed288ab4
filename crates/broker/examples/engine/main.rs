//! An engine for several nodes in one process: a message published on one node reaches a subscriber on another. Run it
//! with `cargo run -p tramline-broker --example engine`.

pub(crate) mod server;

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;

use tramline_broker::{
    Broker, Capabilities, Command, Commit, CommitError, Confirm, Consumer, Destination, Feed,
    Headers, Hub, HubSettings, LocalHub, MemberEvent, NodeId, OpenSession, Outbox, Outcome,
    Overflow, Pattern, Publish, Published, Refused, SessionId, SettleError, Source, StartError,
    SubscribeError, SubscribeRequest, Subscribed, Timestamp, Token, Unanswered, UnsubscribeError,
};

use self::server::{Server, State};

/// One node's connection to the server.
#[derive(Debug)]
pub(crate) struct Engine {
    server: Server,
    hub: OnceLock<Arc<LocalHub>>,
}

impl Engine {
    pub(crate) fn new(server: Server) -> Self {
        let hub = OnceLock::new();
        Self { server, hub }
    }

    /// Sends a request to the server, which answers requests in the order they were made.
    fn ask<T: Unanswered + Send + 'static>(
        &self,
        work: impl FnOnce(&mut State, NodeId) -> T + Send + 'static,
    ) -> Confirm<T> {
        let hub = self.hub.get().expect("the hub starts its engine first");
        let node = hub.node();
        self.server.ask(move |state| work(state, node))
    }
}

/// The server's number of a consumer, stored as its record.
pub(crate) fn number(consumer: &Consumer) -> u64 {
    *consumer.record().expect("set before it was consumed")
}

impl Broker for Engine {
    fn settings(&self) -> HubSettings {
        HubSettings::new().topics("/topic").queues("/queue")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().interest(true).nodes(true)
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        if self.hub.set(Arc::clone(&hub)).is_err() {
            let error = StartError::new("it was started before");
            return Confirm::ready(Err(error));
        }
        self.ask(move |state, _| {
            state.join(hub);
            Ok(())
        })
    }

    fn stop(&self, _deadline: Timestamp) -> Confirm<()> {
        self.ask(State::leave)
    }

    fn activate(&self, activation: tramline_broker::Activation) {
        drop(self.ask(move |state, node| {
            let feed = Feed(state.number());
            state.activate(node, activation.source().clone(), feed);
            activation.confirm(feed);
        }));
    }

    fn deactivate(&self, source: &Source) {
        let source = source.clone();
        drop(self.ask(move |state, node| state.deactivate(node, &source)));
    }

    fn publish(
        &self,
        _: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        self.ask(|state, node| state.publish(node, batch))
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        self.ask(|state, node| {
            let number = state.number();
            consumer.set_record(number);
            state.consume(node, number, consumer)
        })
    }

    fn cancel(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        let consumer = Arc::clone(consumer);
        self.ask(move |state, _| {
            state.cancel(number(&consumer));
            Ok(())
        })
    }

    fn settle(
        &self,
        consumer: &Arc<Consumer>,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        let (number, tokens) = (number(consumer), tokens.to_vec());
        self.ask(move |state, _| state.settle(number, &tokens, outcome))
    }

    fn commit(&self, commit: Commit) -> Confirm<Result<Published, CommitError>> {
        self.ask(|state, node| state.commit(node, commit, number))
    }

    fn announce(&self, event: MemberEvent) {
        drop(self.ask(move |state, node| state.announce(node, &event)));
    }

    fn command(&self, node: NodeId, command: Command) {
        drop(self.ask(move |state, _| state.command(node, command)));
    }
}

/// A node that is dropped without being stopped leaves the cluster too.
impl Drop for Engine {
    fn drop(&mut self) {
        if self.hub.get().is_some() {
            drop(self.ask(State::leave));
        }
    }
}

/// Blocks until the answer arrives. A session would await it instead.
pub(crate) fn wait<T>(confirm: Confirm<T>) -> T {
    let mut confirm = pin!(confirm);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match confirm.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::yield_now(),
        }
    }
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::new();
    let [here, there] = [(); 2].map(|()| Hub::new(Engine::new(server.clone())));
    let session = SessionId::random();
    let outbox = Arc::new(Outbox::new(65_536, Overflow::Close));
    wait(here.open(OpenSession::new(session, None, Arc::clone(&outbox))))?;
    let pattern = Pattern::parse("/topic/rooms/*")?;
    wait(here.subscribe(SubscribeRequest::new(session, 0, pattern)))?;

    let room = Destination::parse("/topic/rooms/7")?;
    let publish = Publish::new(room, Headers::new(), "hello");
    let now = Timestamp::from_millis(1_000);
    let published = wait(there.publish(vec![publish], now))?;
    assert_eq!(published.local_receivers, 0, "there are none on that node");

    let mut taken = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    while taken.is_empty() {
        let _ = outbox.poll_take(&mut context, &mut taken, 1, usize::MAX);
    }
    assert_eq!(taken[0].message.body(), "hello");
    Ok(())
}
