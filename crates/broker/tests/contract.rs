//! The embedded broker keeps the contract: as it is, and where all of its answers come late from elsewhere.

use std::panic;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use tramline_broker::contract::{self, Options};
use tramline_broker::{
    Broker, CommitError, Confirm, EmbeddedBroker, OpenError, OpenSession, Publish, Published,
    Refused, Separator, SessionId, Settle, SettleError, SubscribeError, SubscribeRequest,
    Timestamp, Transaction,
};

fn embedded() -> EmbeddedBroker {
    EmbeddedBroker::new().topics("/topic").queues("/queue")
}

mod at_once {
    use tramline_broker::{broker_contract, contract::Options};

    broker_contract! { super::embedded, Options::default() }
}

mod late {
    use std::time::Duration;

    use tramline_broker::{broker_contract, contract::Options};

    broker_contract! { super::Late::new, Options::default().quiet(Duration::from_millis(20)) }
}

#[test]
fn a_clause_that_is_not_kept_is_named() {
    let options = Options::default().patience(Duration::from_millis(100));
    let broken = panic::catch_unwind(|| contract::run(Deaf::default, &options));
    let text = broken.unwrap_err().downcast::<String>().unwrap();
    let expected = [
        "what_an_ended_subscription_had_goes_to_others_in_order",
        "nothing_comes_after_unsubscribe",
    ];
    let expected = format!("clauses that are not kept: [{}]", expected.join(", "));
    assert_eq!(*text, expected);
}

/// Does everything on a thread of its own, one after the other, as an engine behind a connection would.
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

    fn later<T: Send + 'static>(
        &self,
        work: impl FnOnce(&EmbeddedBroker) -> Confirm<T> + Send + 'static,
    ) -> Confirm<T> {
        let (answer, answered) = late_answer();
        self.run(move |broker| {
            let confirm = work(broker);
            match confirm.into_ready() {
                Ok(there) => answer(there),
                Err(_) => unreachable!("no clause fills a queue"),
            }
        });
        answered
    }

    fn run(&self, work: impl FnOnce(&EmbeddedBroker) + Send + 'static) {
        self.work.send(Box::new(work)).unwrap();
    }
}

/// An answer, and how it is given.
fn late_answer<T: Send + 'static>() -> (impl FnOnce(T) + Send, Confirm<T>) {
    type Slot<T> = Mutex<(Option<T>, Option<Waker>)>;
    let slot: Arc<Slot<T>> = Arc::new(Mutex::new((None, None)));
    let given = Arc::clone(&slot);
    let confirm = Confirm::later(std::future::poll_fn(move |context| {
        let mut slot = slot.lock().unwrap();
        match slot.0.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }));
    let give = move |answer| {
        let mut slot = given.lock().unwrap();
        slot.0 = Some(answer);
        if let Some(waker) = slot.1.take() {
            waker.wake();
        }
    };
    (give, confirm)
}

impl Broker for Late {
    fn serves(&self, destination: &str) -> bool {
        self.inner.serves(destination)
    }

    fn separator(&self, destination: &str) -> Separator {
        self.inner.separator(destination)
    }

    fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>> {
        self.later(|broker| broker.open(session))
    }

    fn close(&self, session: SessionId) {
        self.run(move |broker| broker.close(session));
    }

    fn subscribe(&self, request: SubscribeRequest) -> Confirm<Result<(), SubscribeError>> {
        self.later(|broker| broker.subscribe(request))
    }

    fn unsubscribe(&self, session: SessionId, slot: u32) -> Confirm<()> {
        self.later(move |broker| broker.unsubscribe(session, slot))
    }

    fn publish(&self, batch: Vec<Publish>, now: Timestamp) -> Confirm<Result<Published, Refused>> {
        self.later(move |broker| broker.publish(batch, now))
    }

    fn settle(&self, session: SessionId, settle: Settle) -> Confirm<Result<(), SettleError>> {
        self.later(move |broker| broker.settle(session, settle))
    }

    fn commit(
        &self,
        session: SessionId,
        transaction: Transaction,
        now: Timestamp,
    ) -> Confirm<Result<Published, CommitError>> {
        self.later(move |broker| broker.commit(session, transaction, now))
    }

    fn resume(&self, session: SessionId) {
        self.run(move |broker| broker.resume(session));
    }
}

/// Does not hear of UNSUBSCRIBE.
#[derive(Debug)]
struct Deaf(EmbeddedBroker);

impl Default for Deaf {
    fn default() -> Self {
        Self(embedded())
    }
}

impl Broker for Deaf {
    fn serves(&self, destination: &str) -> bool {
        self.0.serves(destination)
    }

    fn open(&self, session: OpenSession) -> Confirm<Result<(), OpenError>> {
        self.0.open(session)
    }

    fn close(&self, session: SessionId) {
        self.0.close(session);
    }

    fn subscribe(&self, request: SubscribeRequest) -> Confirm<Result<(), SubscribeError>> {
        self.0.subscribe(request)
    }

    fn unsubscribe(&self, _session: SessionId, _slot: u32) -> Confirm<()> {
        Confirm::ready(())
    }

    fn publish(&self, batch: Vec<Publish>, now: Timestamp) -> Confirm<Result<Published, Refused>> {
        self.0.publish(batch, now)
    }

    fn settle(&self, session: SessionId, settle: Settle) -> Confirm<Result<(), SettleError>> {
        self.0.settle(session, settle)
    }

    fn commit(
        &self,
        session: SessionId,
        transaction: Transaction,
        now: Timestamp,
    ) -> Confirm<Result<Published, CommitError>> {
        self.0.commit(session, transaction, now)
    }

    fn resume(&self, session: SessionId) {
        self.0.resume(session);
    }
}
