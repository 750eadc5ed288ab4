//! Models of concurrent calls of a broker: loom tries every interleaving that the locks allow, within a bound of
//! preemptions, and finds deadlocks.
//!
//! `cargo xtask loom`, or by hand:
//! `RUSTFLAGS="--cfg loom" cargo test -p tramline-broker --test loom --target-dir target/loom`
//!
//! `LOOM_MAX_PREEMPTIONS=5` searches deeper; `LOOM_LOG=trace LOOM_LOCATION=1` shows the interleaving of a failure.
#![cfg(loom)]

mod nodes;
mod outbox;
mod queues;
mod topics;

use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tramline_broker::{
    AckMode, Delivery, DeliveryRef, Destination, EmbeddedBroker, Headers, Hub, Message,
    OpenSession, Outbox, Outcome, Overflow, Pattern, Publish, QueueSettings, SessionId, Settle,
    SubscribeRequest, Taken, Timestamp, WhenFull,
};

const NOW: Timestamp = Timestamp::from_millis(1);

/// Runs `threads` in every order that loom finds.
fn model(threads: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.max_branches = 10_000;
    builder.check(threads);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    loom::future::block_on(future)
}

fn topics() -> Arc<Hub> {
    Arc::new(Hub::new(EmbeddedBroker::new().topics("/t")))
}

/// Queues that have room for one message, and let publishers wait for room.
fn narrow() -> QueueSettings {
    QueueSettings::default()
        .max_messages(1)
        .when_full(WhenFull::Wait(Duration::from_secs(5)))
}

fn publish_of(destination: &str, body: &'static str) -> Publish {
    let destination = Destination::parse(destination.to_owned()).unwrap();
    Publish::new(destination, Headers::new(), body)
}

/// Publishes, and waits for the confirmation.
fn publish(broker: &Hub, destination: &str, body: &'static str) {
    block_on(broker.publish(vec![publish_of(destination, body)], NOW)).unwrap();
}

fn message(body: &'static str) -> Arc<Message> {
    Arc::new(Message::new(publish_of("/t/a", body), "m".into(), None))
}

fn body(delivery: &Delivery) -> &str {
    std::str::from_utf8(delivery.message.body()).unwrap()
}

/// Takes the next delivery; also returns true if deliveries wait for the room that this made.
fn take(outbox: &Outbox) -> (Delivery, bool) {
    block_on(poll_fn(|context| {
        let mut batch = Vec::new();
        match outbox.poll_take(context, &mut batch, 1, usize::MAX) {
            Taken::Some { room_wanted, .. } => Poll::Ready((batch.remove(0), room_wanted)),
            Taken::Nothing => Poll::Pending,
            other => panic!("{other:?}"),
        }
    }))
}

/// One session, and the work of its task.
#[derive(Clone)]
struct Client {
    broker: Arc<Hub>,
    id: SessionId,
    outbox: Arc<Outbox>,
}

impl Client {
    fn new(broker: &Arc<Hub>) -> Self {
        Self::with_outbox(broker, 10_000)
    }

    fn with_outbox(broker: &Arc<Hub>, limit: usize) -> Self {
        let (id, outbox) = (
            SessionId::random(),
            Arc::new(Outbox::new(limit, Overflow::Close)),
        );
        let session = OpenSession::new(id, None, Arc::clone(&outbox));
        broker.open(session).into_ready().unwrap().unwrap();
        Self {
            broker: Arc::clone(broker),
            id,
            outbox,
        }
    }

    fn request(&self, pattern: &str) -> SubscribeRequest {
        SubscribeRequest::new(self.id, 0, Pattern::parse(pattern.to_owned()).unwrap())
    }

    fn subscribe(&self, pattern: &str) {
        block_on(self.broker.subscribe(self.request(pattern))).unwrap();
    }

    /// Subscribes with individual acknowledgement and at most `prefetch` unsettled deliveries.
    fn consume(&self, destination: &str, prefetch: u32) {
        let request = self
            .request(destination)
            .acknowledged(AckMode::ClientIndividual)
            .prefetch(NonZeroU32::new(prefetch).unwrap());
        block_on(self.broker.subscribe(request)).unwrap();
    }

    fn unsubscribe(&self) {
        block_on(self.broker.unsubscribe(self.id, 0)).unwrap();
    }

    /// Waits for the next delivery.
    fn next(&self) -> Delivery {
        let (delivery, room_wanted) = take(&self.outbox);
        if room_wanted {
            self.broker.room_again(self.id);
        }
        delivery
    }

    fn accept(&self, delivery: &Delivery) {
        let settle = Settle::new(
            Some(delivery.slot),
            DeliveryRef::Tag(delivery.tag),
            Outcome::Accepted,
        );
        block_on(self.broker.settle(self.id, settle)).unwrap();
    }

    /// Takes all queued deliveries.
    fn drain(&self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while self.outbox.queued_bytes() > 0 {
            deliveries.push(self.next());
        }
        deliveries
    }
}
