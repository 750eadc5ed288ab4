//! Sessions driven by a test.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tramline_broker::{
    AckMode, Address, CommitError, Confirm, Counts, Delivery, DeliveryRef, Destination,
    DestinationStatistics, EmbeddedBroker, Headers, Hub, OpenSession, Outbox, Outcome, Overflow,
    Pattern, Publish, PublishError, Published, Refused, SessionId, Settle, SettleError,
    SubscribeError, SubscribeRequest, Taken, Target, Timestamp, Transaction,
};

pub(crate) const AUTO: AckMode = AckMode::Auto;
pub(crate) const CLIENT: AckMode = AckMode::Client;
pub(crate) const INDIVIDUAL: AckMode = AckMode::ClientIndividual;

/// The time at which the tests begin.
const START: u64 = 1_000_000;

/// The time `millis` milliseconds after the start.
pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

/// A broker of topics and queues.
pub(crate) fn broker() -> EmbeddedBroker {
    EmbeddedBroker::new().topics("/topic").queues("/queue")
}

pub(crate) struct Client<'b> {
    broker: &'b Hub,
    pub(crate) id: SessionId,
    pub(crate) outbox: Arc<Outbox>,
}

impl<'b> Client<'b> {
    pub(crate) fn open(broker: &'b Hub) -> Self {
        Self::with(broker, None, Outbox::new(1 << 24, Overflow::Close))
    }

    /// Opens a session whose outbox holds `limit` bytes.
    pub(crate) fn slow(broker: &'b Hub, limit: usize) -> Self {
        Self::with(broker, None, Outbox::new(limit, Overflow::Close))
    }

    pub(crate) fn with(broker: &'b Hub, user: Option<&'static str>, outbox: Outbox) -> Self {
        let client = Self {
            broker,
            id: SessionId::random(),
            outbox: Arc::new(outbox),
        };
        let outbox = Arc::clone(&client.outbox);
        let open = OpenSession::new(client.id, user.map(Into::into), outbox);
        ready(broker.open(open)).unwrap();
        client
    }

    pub(crate) fn request(&self, slot: u32, text: &str, ack: AckMode) -> SubscribeRequest {
        let separator = self.broker.separator(text);
        let pattern = Pattern::parse_separated(text.to_owned(), separator).unwrap();
        SubscribeRequest::new(self.id, slot, pattern).acknowledged(ack)
    }

    pub(crate) fn try_subscribe(&self, request: SubscribeRequest) -> Result<(), SubscribeError> {
        ready(self.broker.subscribe(request)).map(drop)
    }

    pub(crate) fn subscribe(&self, slot: u32, text: &str, ack: AckMode) {
        let request = self.request(slot, text, ack);
        self.try_subscribe(request).unwrap();
    }

    pub(crate) fn prefetch(&self, slot: u32, text: &str, ack: AckMode, count: u32) {
        let count = NonZeroU32::new(count).unwrap();
        let request = self.request(slot, text, ack).prefetch(count);
        self.try_subscribe(request).unwrap();
    }

    pub(crate) fn subscribe_user(&self, slot: u32, path: &'static str, ack: AckMode) {
        let path = Destination::parse(path).unwrap();
        let request = SubscribeRequest::new(self.id, slot, Address::User { path });
        self.try_subscribe(request.acknowledged(ack)).unwrap();
    }

    pub(crate) fn unsubscribe(&self, slot: u32) {
        ready(self.broker.unsubscribe(self.id, slot)).unwrap();
    }

    pub(crate) fn close(&self) {
        self.broker.close(self.id);
        self.outbox.close();
    }

    /// Takes queued deliveries, at most `count`, and reports room to the broker as a session does.
    pub(crate) fn take_some(&self, count: usize) -> (Vec<Delivery>, Taken) {
        let mut batch = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        let taken = self
            .outbox
            .poll_take(&mut context, &mut batch, count, usize::MAX);
        if let Taken::Some {
            room_wanted: true, ..
        } = taken
        {
            self.broker.room_again(self.id);
        }
        (batch, taken)
    }

    pub(crate) fn take(&self) -> Vec<Delivery> {
        self.take_some(usize::MAX).0
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.take().iter().map(body).collect()
    }

    pub(crate) fn try_settle(
        &self,
        slot: impl Into<Option<u32>>,
        delivery: DeliveryRef,
        outcome: Outcome,
    ) -> Result<(), SettleError> {
        let settle = Settle::new(slot.into(), delivery, outcome);
        ready(self.broker.settle(self.id, settle))
    }

    pub(crate) fn accept(&self, slot: u32, tag: u32) {
        let delivery = DeliveryRef::Tag(tag);
        self.try_settle(slot, delivery, Outcome::Accepted).unwrap();
    }

    pub(crate) fn release(&self, slot: u32, tag: u32) {
        let delivery = DeliveryRef::Tag(tag);
        self.try_settle(slot, delivery, Outcome::Released).unwrap();
    }

    pub(crate) fn reject(&self, slot: u32, tag: u32) {
        let delivery = DeliveryRef::Tag(tag);
        self.try_settle(slot, delivery, Outcome::Rejected).unwrap();
    }

    pub(crate) fn commit(
        &self,
        settles: Vec<Settle>,
        publishes: Vec<Publish>,
        now: Timestamp,
    ) -> Confirm<Result<Published, CommitError>> {
        let transaction = Transaction::new(settles, publishes);
        self.broker.commit(self.id, transaction, now)
    }
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body().to_vec()).unwrap()
}

/// Returns each message's body and how often it was delivered before.
pub(crate) fn tries(deliveries: &[Delivery]) -> Vec<(String, u32)> {
    let tries = deliveries
        .iter()
        .map(|delivery| (body(delivery), delivery.redeliveries));
    tries.collect()
}

pub(crate) fn tags(deliveries: &[Delivery]) -> Vec<u32> {
    deliveries.iter().map(|delivery| delivery.tag).collect()
}

pub(crate) fn to(destination: &str, body: &str) -> Publish {
    with_headers(destination, body, &[])
}

pub(crate) fn with_headers(destination: &str, body: &str, named: &[(&str, &str)]) -> Publish {
    let destination = Destination::parse(destination.to_owned()).unwrap();
    let mut headers = Headers::new();
    for (name, value) in named {
        headers.push(*name, *value);
    }
    Publish::new(destination, headers, body.to_owned())
}

pub(crate) fn to_user(name: &'static str, path: &'static str, body: &'static str) -> Publish {
    let path = Destination::parse(path).unwrap();
    let name = name.into();
    Publish::new(Target::User { name, path }, Headers::new(), body)
}

/// Publishes messages that must be accepted, at the start time; returns the number of subscriptions they reached.
pub(crate) fn publish(broker: &Hub, batch: Vec<Publish>) -> usize {
    let published = ready(broker.publish(batch, at(0)));
    published.unwrap().local_receivers
}

/// Publishes a message for each of `bodies`.
pub(crate) fn send(broker: &Hub, destination: &str, bodies: &[&str]) -> usize {
    let batch = bodies.iter().map(|body| to(destination, body)).collect();
    publish(broker, batch)
}

pub(crate) fn refused(broker: &Hub, publish: Publish) -> PublishError {
    let answer: Result<Published, Refused> = ready(broker.publish(vec![publish], at(0)));
    answer.unwrap_err().error
}

/// Returns an answer that must be known.
pub(crate) fn ready<T>(confirm: Confirm<T>) -> T {
    confirm.into_ready().expect("the answer is there")
}

/// Polls an answer.
pub(crate) fn poll<T>(confirm: &mut Confirm<T>) -> Poll<T> {
    Pin::new(confirm).poll(&mut Context::from_waker(Waker::noop()))
}

/// The broker's statistics of one destination.
pub(crate) fn known(broker: &Hub, destination: &'static str) -> DestinationStatistics {
    let pattern = Pattern::parse(destination).unwrap();
    let mut statistics = broker.statistics(&pattern, 1);
    statistics.selected.pop().expect("it is known")
}

pub(crate) fn counts(broker: &Hub, destination: &'static str) -> Counts {
    known(broker, destination).counts
}

pub(crate) fn totals(broker: &Hub) -> Counts {
    let nothing = Pattern::parse("/none").unwrap();
    broker.statistics(&nothing, 0).totals
}

pub(crate) fn bytes(broker: &Hub) -> usize {
    let nothing = Pattern::parse("/none").unwrap();
    broker.statistics(&nothing, 0).bytes
}
