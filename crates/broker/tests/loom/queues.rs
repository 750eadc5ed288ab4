//! Queues: concurrent publishing, settling, waiting for room and unsubscribing.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use tramline_broker::{EmbeddedBroker, Hub, QueueSettings, Timestamp, Transaction, WhenFull};

use super::{Client, NOW, block_on, body, model, narrow, publish, publish_of};

fn narrow_queues() -> Hub {
    Hub::new(
        EmbeddedBroker::new()
            .queues("/q")
            .queue_settings("/q/**", narrow()),
    )
}

fn spawn_publish(
    broker: &Arc<Hub>,
    destination: &'static str,
    body: &'static str,
) -> thread::JoinHandle<()> {
    let broker = Arc::clone(broker);
    thread::spawn(move || publish(&broker, destination, body))
}

#[test]
fn publishers_who_wait_for_room_get_it() {
    model(|| {
        let broker = Arc::new(narrow_queues());
        let client = Client::new(&broker);
        client.consume("/q/a", 1);
        let publishers = [
            spawn_publish(&broker, "/q/a", "one"),
            spawn_publish(&broker, "/q/a", "two"),
        ];
        let mut seen: Vec<String> = (0..2)
            .map(|_| {
                let delivery = client.next();
                client.accept(&delivery);
                body(&delivery).to_owned()
            })
            .collect();
        seen.sort();
        assert_eq!(seen, ["one", "two"]);
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
}

#[test]
fn room_that_a_refused_transaction_had_set_aside_is_used() {
    model(|| {
        let never = QueueSettings::default()
            .max_messages(0)
            .when_full(WhenFull::Wait(Duration::ZERO));
        let broker = Hub::new(
            EmbeddedBroker::new()
                .queues("/q")
                .queue_settings("/q/never", never)
                .queue_settings("/q/**", narrow()),
        );
        let broker = Arc::new(broker);
        let client = Client::new(&broker);
        client.consume("/q/a", 1);
        let publisher = spawn_publish(&broker, "/q/a", "waits");
        let committing = {
            let (broker, id) = (Arc::clone(&broker), client.id);
            thread::spawn(move || {
                let publishes = vec![publish_of("/q/a", "x"), publish_of("/q/never", "x")];
                let transaction = Transaction::new(Vec::new(), publishes);
                block_on(broker.commit(id, transaction, NOW)).unwrap_err();
            })
        };
        let delivery = client.next();
        assert_eq!(body(&delivery), "waits");
        client.accept(&delivery);
        publisher.join().unwrap();
        committing.join().unwrap();
    });
}

#[test]
fn a_transaction_that_waits_for_room_gets_it() {
    model(|| {
        let broker = Arc::new(narrow_queues());
        let client = Client::new(&broker);
        client.consume("/q/a", 1);
        publish(&broker, "/q/a", "first");
        let committing = {
            let (broker, id) = (Arc::clone(&broker), client.id);
            thread::spawn(move || {
                let transaction = Transaction::new(Vec::new(), vec![publish_of("/q/a", "second")]);
                block_on(broker.commit(id, transaction, NOW)).unwrap();
            })
        };
        for expected in ["first", "second"] {
            let delivery = client.next();
            assert_eq!(body(&delivery), expected);
            client.accept(&delivery);
        }
        committing.join().unwrap();
    });
}

#[test]
fn what_a_leaving_consumer_had_goes_to_another() {
    model(|| {
        let broker = Arc::new(Hub::new(EmbeddedBroker::new().queues("/q")));
        let (leaver, stayer) = (Client::new(&broker), Client::new(&broker));
        leaver.consume("/q/a", 1);
        stayer.consume("/q/a", 1);
        let publisher = spawn_publish(&broker, "/q/a", "one");
        let leaving = {
            let leaver = leaver.clone();
            thread::spawn(move || leaver.unsubscribe())
        };
        let delivery = stayer.next();
        assert_eq!(body(&delivery), "one");
        let before = leaver.drain().len();
        assert_eq!(
            delivery.redeliveries,
            u32::try_from(before).unwrap(),
            "redelivered if it was delivered"
        );
        stayer.accept(&delivery);
        assert_eq!(stayer.outbox.queued_bytes(), 0);
        publisher.join().unwrap();
        leaving.join().unwrap();
    });
}

#[test]
fn a_consumer_moves_on_whenever_there_is_room() {
    // In an outbox for one message, then in a window of one unacknowledged message.
    for (limit, prefetch) in [(1, 10), (10_000, 1)] {
        model(move || {
            let broker = Arc::new(Hub::new(EmbeddedBroker::new().queues("/q")));
            let client = Client::with_outbox(&broker, limit);
            client.consume("/q/a", prefetch);
            let publisher = {
                let broker = Arc::clone(&broker);
                thread::spawn(move || {
                    publish(&broker, "/q/a", "one");
                    publish(&broker, "/q/a", "two");
                })
            };
            let first = client.next();
            if prefetch == 1 {
                client.accept(&first);
            }
            let second = client.next();
            assert_eq!([body(&first), body(&second)], ["one", "two"]);
            publisher.join().unwrap();
        });
    }
}

#[test]
fn a_queue_that_is_being_forgotten_is_looked_up_again() {
    model(|| {
        let broker = Arc::new(Hub::new(EmbeddedBroker::new().queues("/q")));
        broker.sweep(Timestamp::from_millis(1));
        let client = Client::new(&broker);
        client.consume("/q/a", 1);
        client.unsubscribe();
        broker.sweep(Timestamp::from_millis(10_001));
        assert_eq!(broker.destinations(), 1);
        let sweeping = {
            let broker = Arc::clone(&broker);
            thread::spawn(move || broker.sweep(Timestamp::from_millis(20_001)))
        };
        let publisher = spawn_publish(&broker, "/q/a", "kept");
        client.consume("/q/a", 1);
        assert_eq!(body(&client.next()), "kept");
        sweeping.join().unwrap();
        publisher.join().unwrap();
    });
}
