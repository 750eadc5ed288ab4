//! The embedded broker keeps the contract: as it is, and with all answers arriving late from another thread.

use std::panic;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tramline_broker::contract::{self, Options};
use tramline_broker::{
    Broker, Capabilities, Commit, CommitError, Confirm, Consumer, EmbeddedBroker, Hub, HubSettings,
    LocalHub, Outcome, Promise, Publish, Published, Refused, SessionId, SettleError, StartError,
    SubscribeError, Subscribed, Token, Unanswered, UnsubscribeError,
};

fn embedded() -> EmbeddedBroker {
    EmbeddedBroker::new().topics("/topic").queues("/queue")
}

mod at_once {
    use tramline_broker::{Hub, broker_contract, contract::Options};

    broker_contract! { || vec![Hub::new(super::embedded())], Options::default() }
}

mod late {
    use std::time::Duration;

    use tramline_broker::{Hub, broker_contract, contract::Options};

    broker_contract! {
        || vec![Hub::new(super::Late::new())],
        Options::default().quiet(Duration::from_millis(20))
    }
}

#[test]
fn a_clause_that_is_not_kept_is_named() {
    let options = Options::default().patience(Duration::from_millis(100));
    let new_nodes = || vec![Hub::new(Deaf(embedded()))];
    let broken = panic::catch_unwind(|| contract::run(new_nodes, &options));
    let text = broken.unwrap_err().downcast::<String>().unwrap();
    let expected = [
        "the_mode_client_settles_all_before",
        "the_mode_client_individual_settles_one",
        "a_delivery_is_known_by_its_message_id_too",
        "what_an_ended_subscription_had_goes_to_others_in_order",
        "what_a_closed_session_had_goes_to_others_in_order",
        "what_was_rejected_never_comes_back",
        "settling_what_is_not_there_is_an_error",
    ];
    let expected = format!("clauses that are not kept: [{}]", expected.join(", "));
    assert_eq!(*text, expected);
}

/// Handles every call on a thread of its own, in order, as an engine behind a connection would.
#[derive(Debug)]
struct Late {
    inner: Arc<EmbeddedBroker>,
    work: mpsc::Sender<Work>,
}

type Work = Box<dyn FnOnce(&EmbeddedBroker) + Send>;

impl Late {
    fn new() -> Self {
        let inner = Arc::new(embedded());
        let (work, queue) = mpsc::channel::<Work>();
        let broker = Arc::clone(&inner);
        // Ends when the last sender is dropped.
        thread::spawn(move || {
            for work in queue {
                thread::yield_now();
                work(&broker);
            }
        });
        Self { inner, work }
    }

    fn later<T: Unanswered + Send + 'static>(
        &self,
        work: impl FnOnce(&EmbeddedBroker) -> Confirm<T> + Send + 'static,
    ) -> Confirm<T> {
        let (promise, confirm) = Promise::new();
        self.run(move |broker| match work(broker).into_ready() {
            Ok(answer) => promise.keep(answer),
            Err(_) => unreachable!("no clause fills a queue"),
        });
        confirm
    }

    fn run(&self, work: impl FnOnce(&EmbeddedBroker) + Send + 'static) {
        self.work.send(Box::new(work)).unwrap();
    }
}

impl Broker for Late {
    fn settings(&self) -> HubSettings {
        self.inner.settings()
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        self.later(move |broker| broker.start(hub))
    }

    fn publish(
        &self,
        session: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        self.later(move |broker| broker.publish(session, batch))
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        self.later(|broker| broker.consume(consumer))
    }

    fn cancel(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        let consumer = Arc::clone(consumer);
        self.later(move |broker| broker.cancel(&consumer))
    }

    fn settle(
        &self,
        consumer: &Arc<Consumer>,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        let (consumer, tokens) = (Arc::clone(consumer), tokens.to_vec());
        self.later(move |broker| broker.settle(&consumer, &tokens, outcome))
    }

    fn commit(&self, commit: Commit) -> Confirm<Result<Published, CommitError>> {
        self.later(|broker| broker.commit(commit))
    }

    fn room_again(&self, consumer: &Arc<Consumer>) {
        let consumer = Arc::clone(consumer);
        self.run(move |broker| broker.room_again(&consumer));
    }
}

/// Ignores the end of a consumer.
#[derive(Debug)]
struct Deaf(EmbeddedBroker);

impl Broker for Deaf {
    fn settings(&self) -> HubSettings {
        self.0.settings()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        self.0.start(hub)
    }

    fn publish(
        &self,
        session: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        self.0.publish(session, batch)
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        self.0.consume(consumer)
    }

    fn settle(
        &self,
        consumer: &Arc<Consumer>,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        self.0.settle(consumer, tokens, outcome)
    }

    fn commit(&self, commit: Commit) -> Confirm<Result<Published, CommitError>> {
        self.0.commit(commit)
    }

    fn room_again(&self, consumer: &Arc<Consumer>) {
        self.0.room_again(consumer);
    }
}
