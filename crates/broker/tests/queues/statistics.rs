//! The broker's statistics.

use tramline_broker::{DestinationKind, Hub, Message, Pattern};

use crate::support::*;

#[test]
fn a_queue_says_what_it_has_and_what_it_did() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 2);
    bob.prefetch(0, "/queue/a", INDIVIDUAL, 1);
    send(&broker, "/queue/a", &["1", "2", "3", "4", "5"]);
    let known = known(&broker, "/queue/a");
    assert_eq!(&*known.destination, "/queue/a");
    assert_eq!(known.kind, DestinationKind::Queue);
    assert_eq!((known.subscribers, known.depth, known.unsettled), (2, 2, 3));
    assert_eq!(known.bytes + 5 * Message::OVERHEAD, bytes(&broker));
    alice.accept(0, 1);
    bob.release(0, 1);
    let counts = counts(&broker, "/queue/a");
    assert_eq!((counts.published, counts.delivered), (5, 5));
    assert_eq!((counts.acked, counts.redelivered), (1, 1));
    assert_eq!(totals(&broker), counts);
}

#[test]
fn a_topic_says_who_listens_to_it_patterns_included() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.subscribe(0, "/topic/a", AUTO);
    assert_eq!(known(&broker, "/topic/a").subscribers, 1);
    bob.subscribe(0, "/topic/*", CLIENT);
    bob.subscribe(1, "/topic/*/b", AUTO);
    assert_eq!(known(&broker, "/topic/a").subscribers, 2);
    send(&broker, "/topic/a", &["1", "2", "3"]);
    bob.accept(0, 2);
    bob.unsubscribe(0);
    let known = known(&broker, "/topic/a");
    assert_eq!(known.kind, DestinationKind::Topic);
    assert_eq!((known.subscribers, known.depth, known.unsettled), (1, 0, 0));
    let counts = known.counts;
    assert_eq!(
        (counts.published, counts.delivered, counts.acked),
        (3, 6, 2)
    );
}

#[test]
fn the_whole_counts_what_no_destination_counts() {
    let broker = Hub::new(broker().max_bytes(1 << 20));
    let alice = Client::open(&broker);
    send(&broker, "/topic/nobody", &["1"]);
    publish(&broker, vec![to_user("ann", "/queue/a", "2")]);
    let everything = Pattern::parse("/**").unwrap();
    let statistics = broker.statistics(&everything, 10);
    assert_eq!((statistics.sessions, statistics.destinations), (1, 0));
    assert_eq!((statistics.bytes, statistics.max_bytes), (0, 1 << 20));
    assert_eq!(statistics.totals.published, 2);
    assert_eq!(statistics.selected, []);
    alice.close();
    assert_eq!(broker.statistics(&everything, 10).sessions, 0);
}

#[test]
fn destinations_are_selected_by_pattern_and_limit_in_the_order_of_their_names() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    for (slot, text) in [
        "/topic/b",
        "/queue/b",
        "/topic/a",
        "/queue/a/c",
        "/topic/a/c",
    ]
    .into_iter()
    .enumerate()
    {
        alice.subscribe(slot as u32, text, AUTO);
    }
    let names = |pattern: &'static str, limit| -> Vec<String> {
        let pattern = Pattern::parse(pattern).unwrap();
        let statistics = broker.statistics(&pattern, limit);
        assert_eq!(statistics.destinations, 5);
        let selected = statistics.selected.iter();
        selected
            .map(|known| known.destination.to_string())
            .collect()
    };
    let all = [
        "/queue/a/c",
        "/queue/b",
        "/topic/a",
        "/topic/a/c",
        "/topic/b",
    ];
    assert_eq!(names("/**", 9), all);
    assert_eq!(names("/**", 2), all[..2]);
    assert_eq!(names("/topic/*", 9), ["/topic/a", "/topic/b"]);
    assert_eq!(names("/*/b", 9), ["/queue/b", "/topic/b"]);
    assert_eq!(names("/topic/a", 0), [""; 0]);
}

#[test]
fn rates_are_of_the_last_ten_seconds() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.subscribe(0, "/topic/a", AUTO);
    bob.subscribe(0, "/topic/a", AUTO);
    bob.subscribe(1, "/queue/a", AUTO);
    let rates = |name| {
        let known = known(&broker, name);
        (known.published_per_second, known.delivered_per_second)
    };
    broker.sweep(at(0));
    for name in ["/topic/a", "/queue/a"] {
        send(&broker, name, &["x"; 30]);
    }
    broker.sweep(at(9_999));
    assert_eq!(rates("/topic/a"), (0.0, 0.0));
    broker.sweep(at(10_000));
    assert_eq!(rates("/topic/a"), (3.0, 6.0));
    assert_eq!(rates("/queue/a"), (3.0, 3.0));
    broker.sweep(at(30_000));
    assert_eq!(rates("/topic/a"), (0.0, 0.0));
}
