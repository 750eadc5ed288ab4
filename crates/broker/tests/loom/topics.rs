//! Topics: concurrent subscribing, publishing and removal.

use std::sync::Arc;

use loom::thread;
use tramline_broker::{Delivery, Hub, Timestamp};

use super::{Client, body, model, publish, topics};

/// Subscribes, and returns the messages published from then on.
fn subscribe_and_publish(client: &Client, pattern: &str) -> Vec<String> {
    client.subscribe(pattern);
    publish(&client.broker, "/t/a", "mine");
    bodies(&client.drain())
}

fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|one| body(one).to_owned()).collect()
}

/// Runs `other` concurrently with a subscription that must not miss messages.
fn beside_a_new_subscriber(pattern: &'static str, prepare: fn(&Arc<Hub>), other: fn(&Hub)) {
    model(move || {
        let broker = topics();
        prepare(&broker);
        let client = Client::new(&broker);
        let other = {
            let broker = Arc::clone(&broker);
            thread::spawn(move || other(&broker))
        };
        let seen = subscribe_and_publish(&client, pattern);
        assert!(seen.iter().any(|body| body == "mine"), "{seen:?}");
        other.join().unwrap();
    });
}

/// A topic that was not used since its first sweep.
fn unused_topic(broker: &Arc<Hub>) {
    broker.sweep(Timestamp::from_millis(1));
    let client = Client::new(broker);
    client.subscribe("/t/a");
    client.unsubscribe();
    broker.sweep(Timestamp::from_millis(10_001));
    assert_eq!(broker.destinations(), 1);
}

fn last_sweep(broker: &Hub) {
    broker.sweep(Timestamp::from_millis(20_001));
}

#[test]
fn a_subscriber_sees_what_comes_after_it_whoever_else_publishes() {
    for pattern in ["/t/a", "/t/*"] {
        beside_a_new_subscriber(
            pattern,
            |_| {},
            |broker| publish(broker, "/t/a", "another's"),
        );
    }
}

#[test]
fn a_known_topic_sees_new_patterns() {
    beside_a_new_subscriber(
        "/t/*",
        |broker| Client::new(broker).subscribe("/t/a"),
        |broker| publish(broker, "/t/a", "another's"),
    );
}

#[test]
fn a_topic_that_is_being_forgotten_is_looked_up_again() {
    for pattern in ["/t/a", "/t/*"] {
        beside_a_new_subscriber(pattern, unused_topic, last_sweep);
    }
}

#[test]
fn the_last_of_a_pattern_leaves_while_the_next_comes() {
    model(|| {
        let broker = topics();
        let (leaver, comer) = (Client::new(&broker), Client::new(&broker));
        leaver.subscribe("/t/*");
        publish(&broker, "/t/a", "known");
        let leaving = thread::spawn(move || leaver.unsubscribe());
        assert_eq!(subscribe_and_publish(&comer, "/t/*"), ["mine"]);
        leaving.join().unwrap();
        comer.unsubscribe();
        let left = broker.publish(vec![super::publish_of("/t/a", "nobody's")], super::NOW);
        assert_eq!(left.into_ready().unwrap().unwrap().local_receivers, 0);
    });
}

#[test]
fn all_subscribers_see_one_order() {
    model(|| {
        let broker = topics();
        let clients = [Client::new(&broker), Client::new(&broker)];
        clients[0].subscribe("/t/a");
        clients[1].subscribe("/t/*");
        let other = {
            let broker = Arc::clone(&broker);
            thread::spawn(move || publish(&broker, "/t/a", "one"))
        };
        publish(&broker, "/t/a", "two");
        other.join().unwrap();
        let seen = clients.map(|client| client.drain());
        assert_eq!(seen[0].len(), 2);
        assert_eq!(bodies(&seen[0]), bodies(&seen[1]));
        let numbers = seen[0].iter().map(|one| one.message.position().unwrap());
        let numbers: Vec<u64> = numbers.map(|position| position.sequence).collect();
        assert_eq!(numbers, [1, 2]);
    });
}

#[test]
fn a_session_that_closes_while_it_subscribes_leaves_nothing_behind() {
    for pattern in ["/t/a", "/t/*"] {
        model(move || {
            let broker = topics();
            let client = Client::new(&broker);
            let closing = {
                let (broker, id) = (Arc::clone(&broker), client.id);
                thread::spawn(move || broker.close(id))
            };
            // Refused or undone: either is right.
            let _ = broker.subscribe(client.request(pattern)).into_ready();
            closing.join().unwrap();
            let sent = broker.publish(vec![super::publish_of("/t/a", "x")], super::NOW);
            assert_eq!(sent.into_ready().unwrap().unwrap().local_receivers, 0);
        });
    }
}

#[test]
fn a_window_moves_on_whenever_there_is_room() {
    // In an outbox for one message, then in a window of one unacknowledged message.
    for (limit, prefetch) in [(1, 10), (10_000, 1)] {
        model(move || {
            let broker = topics();
            let client = Client::with_outbox(&broker, limit);
            client.consume("/t/a", prefetch);
            let publisher = {
                let broker = Arc::clone(&broker);
                thread::spawn(move || {
                    publish(&broker, "/t/a", "");
                    publish(&broker, "/t/a", "");
                })
            };
            let first = client.next();
            if prefetch == 1 {
                client.accept(&first);
            }
            let second = client.next();
            let number = |one: &Delivery| one.message.position().unwrap().sequence;
            assert_eq!([number(&first), number(&second)], [1, 2]);
            publisher.join().unwrap();
        });
    }
}
