//! A hub with a durable broker, and a session of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tramline_broker::{
    AckMode, Control, Delivery, DeliveryRef, Destination, Durability, EmbeddedBroker, Headers, Hub,
    OpenSession, Outbox, Outcome, Overflow, Pattern, Publish, PublishError, QueueSettings,
    SessionId, Settle, SubscribeError, SubscribeOptions, SubscribeRequest, Subscribed, Taken,
    Timestamp, Transaction,
};
use tramline_store::Store;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Queues that are durable, with dead letters after two deliveries, and `/queue/memory`, which is not.
pub(crate) fn broker(store: Store) -> EmbeddedBroker {
    let tries = QueueSettings::default()
        .max_deliveries(2)
        .dead_letters("/queue/dead");
    let long = QueueSettings::default().max_messages(1_000_000);
    EmbeddedBroker::new()
        .queues("/queue")
        .topics("/topic")
        .queue_settings("/queue/tries", tries)
        .queue_settings("/queue/long", long)
        .store(store)
        .durable("/queue/written", Durability::Written)
        .durable("/queue/?*", Durability::Synced)
        .durable("/topic/kept/**", Durability::Synced)
}

pub(crate) fn hub(store: Store) -> Hub {
    let hub = Hub::new(broker(store));
    assert!(hub.errors().is_empty(), "{:?}", hub.errors());
    hub
}

pub(crate) fn to(destination: &str, body: &str) -> Publish {
    let destination = Destination::parse(destination.to_owned()).unwrap();
    let headers = Headers::from_iter([("kind", "order")]);
    Publish::new(destination, headers, body.to_owned())
}

pub(crate) fn send(hub: &Hub, destination: &str, bodies: &[&str]) -> Result<(), PublishError> {
    let batch = bodies.iter().map(|body| to(destination, body)).collect();
    let published = wait(hub.publish(batch, NOW));
    published.map(drop).map_err(|refused| refused.error)
}

pub(crate) struct Client<'h> {
    hub: &'h Hub,
    id: SessionId,
    outbox: Arc<Outbox>,
}

impl<'h> Client<'h> {
    pub(crate) fn consuming(hub: &'h Hub, queue: &str) -> Self {
        let client = Self::of(hub, None);
        client
            .subscribe(queue, SubscribeOptions::default())
            .unwrap();
        client
    }

    /// A session of `user`.
    pub(crate) fn of(hub: &'h Hub, user: Option<&str>) -> Self {
        let client = Self {
            hub,
            id: SessionId::random(),
            outbox: Arc::new(Outbox::new(1 << 24, Overflow::Close)),
        };
        let user = user.map(|user| user.to_owned().into());
        let open = OpenSession::new(client.id, user, Arc::clone(&client.outbox));
        wait(hub.open(open)).unwrap();
        client
    }

    pub(crate) fn subscribe(
        &self,
        destination: &str,
        options: SubscribeOptions,
    ) -> Result<Subscribed, SubscribeError> {
        let pattern = Pattern::parse(destination.to_owned()).unwrap();
        let request = SubscribeRequest::new(self.id, 0, pattern)
            .acknowledged(AckMode::ClientIndividual)
            .options(options);
        wait(self.hub.subscribe(request))
    }

    /// A session of alice that uses her durable subscription `id`.
    pub(crate) fn durable(hub: &'h Hub, id: &str, destination: &str) -> Self {
        let client = Self::of(hub, Some("alice"));
        client.subscribe(destination, durable(id)).unwrap();
        client
    }

    /// Ends its durable subscription.
    pub(crate) fn end(&self) {
        wait(self.hub.unsubscribe_durable(self.id, 0)).unwrap();
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Waits for deliveries: `count` of them, or more.
    pub(crate) fn take(&self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let mut batch = Vec::new();
            wait(std::future::poll_fn(|context| {
                let most = usize::MAX;
                match self.outbox.poll_take(context, &mut batch, most, most) {
                    Taken::Nothing => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            }));
            self.hub.room_again(self.id);
            taken.append(&mut batch);
        }
        taken
    }

    /// True if more deliveries are there now.
    pub(crate) fn has_more(&self) -> bool {
        let mut batch = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        self.outbox
            .poll_take(&mut context, &mut batch, 1, usize::MAX);
        !batch.is_empty()
    }

    /// True if the next thing it is told is that messages are missing.
    pub(crate) fn was_told(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let taken = self
            .outbox
            .poll_take(&mut context, &mut Vec::new(), 1, usize::MAX);
        matches!(
            taken,
            Taken::Control(Control::MessagesMissed { slot: 0, .. })
        )
    }

    /// The deliveries that are there: body, and how often it was delivered before.
    pub(crate) fn bodies(&self, count: usize) -> Vec<(String, u32)> {
        let taken = self.take(count);
        let read = taken.iter().map(|delivery| {
            let body = String::from_utf8(delivery.message.body().to_vec()).unwrap();
            (body, delivery.redeliveries)
        });
        read.collect()
    }

    pub(crate) fn settle(&self, delivery: &Delivery, outcome: Outcome) {
        wait(self.hub.settle(self.id, settle(delivery, outcome))).unwrap();
    }

    pub(crate) fn commit(&self, settles: Vec<Settle>, publishes: Vec<Publish>) {
        let transaction = Transaction::new(settles, publishes);
        wait(self.hub.commit(self.id, transaction, NOW)).unwrap();
    }

    pub(crate) fn close(&self) {
        self.hub.close(self.id);
        self.outbox.close();
    }
}

pub(crate) fn durable(id: &str) -> SubscribeOptions {
    let mut options = SubscribeOptions::default();
    options.durable = Some(id.to_owned().into());
    options
}

pub(crate) fn settle(delivery: &Delivery, outcome: Outcome) -> Settle {
    Settle::new(Some(0), DeliveryRef::Tag(delivery.tag), outcome)
}
