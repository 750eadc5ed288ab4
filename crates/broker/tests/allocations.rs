//! Counts the broker's allocations: none per additional subscriber, and a fixed number per message of a queue.
//!
//! Only the steady state counts, not the first rounds, in which outboxes and queues grow.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Waker};

use allocation_counter::measure;
use tramline_broker::{
    AckMode, Delivery, DeliveryRef, Destination, EmbeddedBroker, Headers, History, Hub,
    OpenSession, Outbox, Outcome, Overflow, Pattern, Publish, SessionId, Settle, SubscribeRequest,
    Timestamp, TopicSettings, Transaction,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const ROUNDS: u64 = 100;

struct Client {
    id: SessionId,
    outbox: Arc<Outbox>,
}

impl Client {
    fn subscribed(broker: &Hub, pattern: &'static str, ack: AckMode) -> Self {
        let (id, outbox) = (
            SessionId::random(),
            Arc::new(Outbox::new(1 << 20, Overflow::Close)),
        );
        let open = broker.open(OpenSession::new(id, None, Arc::clone(&outbox)));
        open.into_ready().unwrap().unwrap();
        let request = SubscribeRequest::new(id, 0, Pattern::parse(pattern).unwrap())
            .acknowledged(ack)
            .prefetch(NonZeroU32::new(100).unwrap());
        broker.subscribe(request).into_ready().unwrap().unwrap();
        Self { id, outbox }
    }

    fn take(&self, batch: &mut Vec<Delivery>) {
        batch.clear();
        let mut context = Context::from_waker(Waker::noop());
        self.outbox.poll_take(&mut context, batch, 64, 1 << 20);
    }

    fn accept(&self, broker: &Hub, delivery: &Delivery) {
        let settled = broker.settle(self.id, accepted(delivery));
        settled.into_ready().unwrap().unwrap();
    }
}

fn accepted(delivery: &Delivery) -> Settle {
    let tag = DeliveryRef::Tag(delivery.tag);
    Settle::new(Some(delivery.slot), tag, Outcome::Accepted)
}

fn publish(broker: &Hub, destination: &Destination, headers: &Headers, count: usize) {
    let message = || Publish::new(destination.clone(), headers.clone(), "hello");
    let batch = (0..count).map(|_| message()).collect();
    broker.publish(batch, NOW).into_ready().unwrap().unwrap();
}

/// Returns the allocations of a round in the steady state.
fn per_round(mut round: impl FnMut()) -> u64 {
    for _ in 0..10 {
        round();
    }
    let counted = measure(|| (0..ROUNDS).for_each(|_| round()));
    assert_eq!(counted.count_total % ROUNDS, 0, "each round does the same");
    counted.count_total / ROUNDS
}

/// Publishes `burst` messages to `subscribers` sessions, all of which take them.
fn fan_out(subscribers: usize, pattern: &'static str, burst: usize) -> u64 {
    fan_out_by(Overflow::Close, subscribers, pattern, burst)
}

fn fan_out_by(overflow: Overflow, subscribers: usize, pattern: &'static str, burst: usize) -> u64 {
    let conflated = matches!(overflow, Overflow::Latest { .. });
    let mut headers = Headers::new();
    if conflated {
        headers.push("key", "of all");
    }
    let settings = TopicSettings::default().overflow(overflow);
    let broker = Hub::new(
        EmbeddedBroker::new()
            .topics("/topic")
            .topic_settings("/topic/**", settings),
    );
    let clients: Vec<_> = (0..subscribers)
        .map(|_| Client::subscribed(&broker, pattern, AckMode::Auto))
        .collect();
    let destination = Destination::parse("/topic/a").unwrap();
    let mut batch = Vec::with_capacity(64);
    per_round(|| {
        publish(&broker, &destination, &headers, burst);
        for client in &clients {
            client.take(&mut batch);
            assert_eq!(batch.len(), if conflated { 1 } else { burst });
        }
    })
}

#[test]
fn fan_out_asks_for_no_memory_per_delivery() {
    for pattern in ["/topic/a", "/topic/*"] {
        let one = fan_out(1, pattern, 1);
        // The batch, the run of one destination, and the message with its id.
        assert!(one <= 5, "{one}");
        assert_eq!(fan_out(1_000, pattern, 1), one, "{pattern}");
        assert_eq!(fan_out(1_000, pattern, 4), fan_out(1, pattern, 4));
    }
}

/// A topic that nobody subscribes to, which does not exist, so that each publish looks up whether it keeps messages.
#[test]
fn settings_by_pattern_cost_no_memory_per_message() {
    let unheard = |patterns: &[&'static str]| {
        let mut broker = EmbeddedBroker::new().topics("/topic");
        for pattern in patterns {
            broker = broker.history(*pattern, History::messages(10));
        }
        let broker = Hub::new(broker);
        let destination = Destination::parse("/topic/a").unwrap();
        per_round(|| publish(&broker, &destination, &Headers::new(), 1))
    };
    let kept = ["/topic/kept/**", "/topic/**/kept"];
    assert_eq!(unheard(&kept), unheard(&[]));
}

#[test]
fn a_burst_asks_once_for_each_outbox_s_queue() {
    // An outbox keeps room for a few deliveries only; it frees that of a burst when it is empty.
    let (one, many) = (fan_out(1, "/topic/a", 16), fan_out(1_000, "/topic/a", 16));
    assert_eq!(many - one, 999);
}

#[test]
fn conflation_asks_for_its_index_once_and_not_for_each_message() {
    let of = |burst| {
        let latest = || Overflow::latest("key");
        let one = fan_out_by(latest(), 1, "/topic/a", burst);
        let many = fan_out_by(latest(), 100, "/topic/a", burst);
        (many - one) / 99
    };
    // The index in its two parts, and the queue's own memory after it had grown.
    assert!(of(2) <= 2, "{}", of(2));
    assert_eq!(of(64), of(2));
}

#[test]
fn a_queue_s_message_from_send_to_ack() {
    let broker = Hub::new(EmbeddedBroker::new().queues("/queue"));
    let client = Client::subscribed(&broker, "/queue/a", AckMode::ClientIndividual);
    let destination = Destination::parse("/queue/a").unwrap();
    let mut batch = Vec::with_capacity(64);
    let count = per_round(|| {
        publish(&broker, &destination, &Headers::new(), 1);
        client.take(&mut batch);
        client.accept(&broker, &batch[0]);
    });
    // The published batch, and the message with its id.
    assert!(count <= 3, "{count}");
}

#[test]
fn a_transaction_of_ten_messages_and_ten_acks() {
    let broker = Hub::new(EmbeddedBroker::new().queues("/queue"));
    let client = Client::subscribed(&broker, "/queue/a", AckMode::ClientIndividual);
    let destination = Destination::parse("/queue/a").unwrap();
    let mut batch = Vec::with_capacity(64);
    let count = per_round(|| {
        let settles = batch.iter().map(accepted).collect();
        let message = || Publish::new(destination.clone(), Headers::new(), "hello");
        let publishes = (0..10).map(|_| message()).collect();
        let commit = broker.commit(client.id, Transaction::new(settles, publishes), NOW);
        commit.into_ready().unwrap().unwrap();
        client.take(&mut batch);
    });
    assert!(count <= 41, "{count}");
}
