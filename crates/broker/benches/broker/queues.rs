//! Queues and transactions: a message from SEND to ACK.

use divan::Bencher;
use divan::counter::ItemsCount;
use tramline_broker::{
    Delivery, DeliveryRef, Destination, EmbeddedBroker, Hub, Outcome, Settle, Transaction,
};

use crate::support::{Client, NOW, message, publish};

/// Messages per run, enough for each of 100 consumers to receive some.
const MESSAGES: usize = 1_000;

fn accept(delivery: &Delivery) -> Settle {
    let tag = DeliveryRef::Tag(delivery.tag);
    Settle::new(Some(delivery.slot), tag, Outcome::Accepted)
}

/// Sends messages one by one; whenever the consumers are full, takes and settles their deliveries.
#[divan::bench(consts = [1, 100], args = [1, 100])]
fn send_deliver_settle<const CONSUMERS: usize>(bencher: Bencher<'_, '_>, prefetch: u32) {
    let broker = Hub::new(EmbeddedBroker::new().queues("/queue"));
    let clients: Vec<_> = (0..CONSUMERS).map(|_| Client::open(&broker)).collect();
    for client in &clients {
        client.consume(&broker, "/queue/a", prefetch);
    }
    let destination = Destination::parse("/queue/a").unwrap();
    let mut batch = Vec::new();
    bencher
        .counter(ItemsCount::new(MESSAGES))
        .with_inputs(|| -> Vec<_> { (0..MESSAGES).map(|_| vec![message(&destination)]).collect() })
        .bench_local_values(|messages| {
            let mut settled = 0;
            for (sent, message) in messages.into_iter().enumerate() {
                publish(&broker, message);
                if (sent + 1) % (CONSUMERS * prefetch as usize).min(MESSAGES) == 0 {
                    for client in &clients {
                        settled += client.take(&mut batch);
                        for delivery in &batch {
                            let answer = broker.settle(client.id, accept(delivery));
                            answer.into_ready().unwrap().unwrap();
                        }
                    }
                }
            }
            assert_eq!(settled, MESSAGES);
        });
}

/// Sends ten messages to one queue in a transaction that also acknowledges the previous ten.
#[divan::bench]
fn transaction_of_ten(bencher: Bencher<'_, '_>) {
    let broker = Hub::new(EmbeddedBroker::new().queues("/queue"));
    let client = Client::open(&broker);
    client.consume(&broker, "/queue/a", 100);
    let destination = Destination::parse("/queue/a").unwrap();
    let mut batch = Vec::new();
    bencher
        .counter(ItemsCount::new(10_usize))
        .with_inputs(|| (0..10).map(|_| message(&destination)).collect())
        .bench_local_values(|publishes| {
            let settles = batch.iter().map(accept).collect();
            let commit = broker.commit(client.id, Transaction::new(settles, publishes), NOW);
            commit.into_ready().unwrap().unwrap();
            assert_eq!(client.take(&mut batch), 10);
        });
}
