//! The memory limit, and that all memory is released.

use tramline_broker::{Hub, Message, Outbox, Overflow, PublishError, QueueSettings};

use crate::support::*;

/// Memory for `messages` with bodies of `bytes` in all.
const fn memory(messages: usize, bytes: usize) -> usize {
    messages * Message::OVERHEAD + bytes
}

#[test]
fn beyond_its_bytes_the_broker_refuses_by_name() {
    let limit = memory(3, 1_000);
    let broker = Hub::new(broker().max_bytes(limit));
    let body = "x".repeat(300);
    send(&broker, "/queue/a", &[&body, &body]);
    for destination in ["/queue/a", "/queue/b", "/topic/a"] {
        let error = refused(&broker, to(destination, &"x".repeat(500)));
        assert_eq!(error, PublishError::OutOfMemory { limit });
    }
    assert_eq!(totals(&broker).refused, 3);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.take();
    alice.accept(0, 1);
    send(&broker, "/topic/a", &[&"x".repeat(500)]);
}

#[test]
fn every_message_of_a_batch_to_one_topic_counts() {
    let broker = Hub::new(broker().max_bytes(memory(3, 1_000)));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/topic/a", AUTO);
    let body = "x".repeat(300);
    let batch = (0..10).map(|_| to("/topic/a", &body)).collect();
    let refused = ready(broker.publish(batch, at(0))).unwrap_err();
    assert_eq!(refused.done, 3);
    assert!(matches!(refused.error, PublishError::OutOfMemory { .. }));
    assert_eq!(alice.take().len(), 3);
    let nobody_listens = (0..10).map(|_| to("/topic/b", &body)).collect();
    assert_eq!(publish(&broker, nobody_listens), 0);
}

#[test]
fn a_message_without_a_body_counts_too() {
    let broker = Hub::new(broker().max_bytes(memory(10, 500)));
    let batch = (0..20).map(|_| to("/queue/a", "")).collect();
    let refused = ready(broker.publish(batch, at(0))).unwrap_err();
    assert_eq!(refused.done, 10);
}

#[test]
fn a_message_counts_once_however_many_wait_for_it() {
    let broker = Hub::new(broker());
    let clients: Vec<_> = (0..10).map(|_| Client::open(&broker)).collect();
    for client in &clients {
        client.subscribe(0, "/topic/a", AUTO);
    }
    send(&broker, "/topic/a", &[&"x".repeat(1_000)]);
    let expected = memory(1, 1_000);
    assert!((expected..expected + 100).contains(&bytes(&broker)));
    for client in &clients {
        assert!(bytes(&broker) > 0);
        client.take();
    }
    assert_eq!(bytes(&broker), 0);
}

#[test]
fn all_of_it_comes_back_whatever_became_of_the_messages() {
    let settings = QueueSettings::default()
        .max_deliveries(3)
        .dead_letters("/queue/dead");
    let broker = Hub::new(broker().queue_settings("/queue/a", settings));
    let alice = Client::open(&broker);
    let user = Outbox::new(1 << 20, Overflow::Close);
    let user = Client::with(&broker, Some("ann"), user);
    user.subscribe_user(0, "/queue/errors", CLIENT);
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 3);
    alice.prefetch(1, "/topic/a", CLIENT, 1);
    send(&broker, "/queue/a", &["1", "2", "3", "4"]);
    send(&broker, "/topic/a", &["1", "2", "3"]);
    publish(&broker, vec![to_user("ann", "/queue/errors", "1")]);
    alice.take();
    alice.accept(0, 1);
    alice.release(0, 2);
    alice.reject(0, 3);
    alice.close();
    user.close();
    assert_eq!(known(&broker, "/queue/a").depth, 2);
    assert_eq!(known(&broker, "/queue/dead").depth, 1);
    let bob = Client::open(&broker);
    bob.subscribe(0, "/queue/a", CLIENT);
    bob.subscribe(1, "/queue/dead", CLIENT);
    bob.take();
    bob.accept(0, 2);
    bob.accept(1, 1);
    assert_eq!(bytes(&broker), 0);
}

#[test]
fn queues_that_nobody_uses_are_forgotten_and_only_they() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/consumed", INDIVIDUAL);
    alice.subscribe(1, "/queue/left", INDIVIDUAL);
    alice.unsubscribe(1);
    send(&broker, "/queue/filled", &["1"]);
    send(&broker, "/queue/taken", &["1"]);
    alice.subscribe(2, "/queue/taken", INDIVIDUAL);
    alice.accept(2, 1);
    alice.unsubscribe(2);
    assert_eq!(broker.destinations(), 4);
    for n in 0..4 {
        broker.sweep(at(n * 10_000));
    }
    assert_eq!(broker.destinations(), 2);
    assert_eq!(send(&broker, "/queue/consumed", &["2"]), 1);
    assert_eq!(counts(&broker, "/queue/filled").published, 1);
    assert_eq!(send(&broker, "/queue/left", &["2"]), 0);
    assert_eq!(counts(&broker, "/queue/left").published, 1, "anew");
    assert_eq!(totals(&broker).published, 4);
}
