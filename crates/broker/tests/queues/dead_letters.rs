//! Dead letters and their destinations.

use tramline_broker::{
    Delivery, DeliveryRef, Hub, Outcome, QueueSettings, TopicSettings, WhenFull,
};

use crate::support::*;

fn tried(times: u32) -> QueueSettings {
    QueueSettings::default()
        .max_deliveries(times)
        .dead_letters("/queue/dead")
}

fn header<'d>(delivery: &'d Delivery, name: &str) -> Option<&'d str> {
    delivery.message.headers().get(name)
}

#[test]
fn a_rejected_message_goes_there_with_the_reason() {
    let broker = Hub::new(broker().queue_settings("/queue/a", tried(3)));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.subscribe(1, "/queue/dead", INDIVIDUAL);
    let headers = [("expires", "9000000"), ("colour", "red")];
    publish(&broker, vec![with_headers("/queue/a", "1", &headers)]);
    alice.take();
    alice.reject(0, 1);
    let dead = alice.take();
    assert_eq!(tries(&dead), [("1".into(), 0)]);
    assert_eq!(dead[0].slot, 1);
    assert_eq!(dead[0].message.destination(), "/queue/dead");
    for (name, value) in [
        ("dead-letter-reason", Some("rejected")),
        ("original-destination", Some("/queue/a")),
        ("original-delivery-count", Some("1")),
        ("colour", Some("red")),
        ("expires", None),
    ] {
        assert_eq!(header(&dead[0], name), value, "{name}");
    }
    let counts = counts(&broker, "/queue/a");
    assert_eq!((counts.dead_lettered, counts.discarded), (1, 0));
}

/// A delivery that a session did not write is settled alone, even if its client acknowledges cumulatively.
#[test]
fn what_expired_before_it_was_written_goes_there_alone() {
    let settings = TopicSettings::default().dead_letters("/queue/dead");
    let broker = broker()
        .queue_settings("/queue/a", tried(3))
        .topic_settings("/topic/a", settings);
    let broker = Hub::new(broker);
    let alice = Client::open(&broker);
    alice.subscribe(1, "/queue/dead", INDIVIDUAL);
    for (slot, destination) in [(2, "/queue/a"), (3, "/topic/a")] {
        alice.subscribe(slot, destination, CLIENT);
        send(&broker, destination, &["1", "2", "3"]);
        assert_eq!(alice.take().len(), 3);
        let alone = || DeliveryRef::Only(2);
        let settled = alice.try_settle(slot, alone(), Outcome::Expired);
        assert_eq!(settled, Ok(()));
        assert!(alice.try_settle(slot, alone(), Outcome::Expired).is_err());
        let dead = alice.take();
        assert_eq!(tries(&dead), [("2".into(), 0)]);
        assert_eq!(header(&dead[0], "dead-letter-reason"), Some("expired"));
        assert_eq!(header(&dead[0], "original-delivery-count"), Some("0"));
        let now = counts(&broker, destination);
        assert_eq!((now.expired, now.dead_lettered, now.acked), (1, 1, 0));
        alice.accept(slot, 3);
        assert_eq!(counts(&broker, destination).acked, 2);
    }
}

/// Time passes between calls too: by `pass_time`.
#[test]
fn nothing_is_handed_out_that_has_expired_meanwhile() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    let later = at(300);
    let headers = [("expiration", "300")];
    publish(&broker, vec![with_headers("/queue/a", "1", &headers)]);
    publish(&broker, vec![with_headers("/queue/b", "2", &headers)]);
    bob.subscribe(0, "/queue/b", INDIVIDUAL);
    let given = bob.take();
    assert_eq!(given[0].message.expires_at(), Some(later));
    broker.pass_time(later);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    assert!(alice.take().is_empty());
    bob.release(0, 1);
    assert!(bob.take().is_empty(), "nor again");
    for queue in ["/queue/a", "/queue/b"] {
        assert_eq!(counts(&broker, queue).expired, 1);
    }
}

#[test]
fn a_message_goes_there_after_so_many_deliveries() {
    let broker = Hub::new(broker().queue_settings("/queue/a", tried(2)));
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    bob.subscribe(0, "/queue/dead", INDIVIDUAL);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &["1"]);
    alice.release(0, 1);
    assert!(bob.take().is_empty());
    assert_eq!(alice.take().len(), 2);
    alice.close();
    let dead = bob.take();
    assert_eq!(
        header(&dead[0], "dead-letter-reason"),
        Some("max-deliveries")
    );
    assert_eq!(header(&dead[0], "original-delivery-count"), Some("2"));
}

#[test]
fn without_a_number_a_message_comes_back_without_end() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &["1"]);
    for n in 1..=50 {
        alice.release(0, n);
    }
    assert_eq!(tries(&alice.take()).len(), 51);
    assert_eq!(known(&broker, "/queue/a").unsettled, 1);
}

#[test]
fn without_a_place_they_are_discarded_and_counted() {
    let broker =
        Hub::new(broker().queue_settings("/queue/**", QueueSettings::default().max_deliveries(1)));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &["1", "2"]);
    alice.reject(0, 1);
    alice.release(0, 2);
    alice.take();
    let counts = counts(&broker, "/queue/a");
    assert_eq!((counts.discarded, counts.dead_lettered), (2, 0));
    assert_eq!(bytes(&broker), 0);
}

#[test]
fn they_keep_their_order() {
    let broker = Hub::new(broker().queue_settings("/queue/a", tried(1)));
    let alice = Client::open(&broker);
    let bodies = ["1", "2", "3", "4", "5", "6", "7"];
    alice.subscribe(0, "/queue/a", CLIENT);
    send(&broker, "/queue/a", &bodies);
    alice.reject(0, 3);
    alice.release(0, 5);
    alice.unsubscribe(0);
    alice.take();
    alice.subscribe(1, "/queue/dead", CLIENT);
    assert_eq!(alice.bodies(), bodies);
}

#[test]
fn what_dies_among_the_dead_letters_is_gone() {
    let broker = Hub::new(broker().queue_settings("/queue/**", tried(1)));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/dead", INDIVIDUAL);
    send(&broker, "/queue/dead", &["1", "2"]);
    alice.take();
    alice.reject(0, 1);
    alice.release(0, 2);
    assert!(alice.take().is_empty());
    assert_eq!(bytes(&broker), 0);
    assert_eq!(counts(&broker, "/queue/dead").discarded, 2);
}

#[test]
fn dead_letters_of_a_full_place_are_discarded_and_counted() {
    let full = QueueSettings::default().max_messages(1);
    let broker = Hub::new(
        broker()
            .queue_settings("/queue/dead", full)
            .queue_settings("/queue/a", tried(1)),
    );
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &["1", "2"]);
    alice.reject(0, 1);
    alice.reject(0, 2);
    assert_eq!(known(&broker, "/queue/dead").depth, 1);
    let counts = counts(&broker, "/queue/a");
    assert_eq!((counts.dead_lettered, counts.discarded), (1, 1));
}

#[test]
fn dead_letters_may_go_to_a_topic_or_push_older_ones_out() {
    let ring = QueueSettings::default()
        .max_messages(1)
        .when_full(WhenFull::DropOldest);
    let broker = Hub::new(
        broker()
            .queue_settings("/queue/dead", ring)
            .queue_settings("/queue/a", tried(1))
            .queue_settings(
                "/queue/b",
                QueueSettings::default().dead_letters("/topic/dead"),
            ),
    );
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.subscribe(1, "/queue/b", INDIVIDUAL);
    alice.subscribe(2, "/topic/dead", AUTO);
    send(&broker, "/queue/a", &["1", "2"]);
    send(&broker, "/queue/b", &["3"]);
    alice.take();
    alice.reject(0, 1);
    alice.reject(0, 2);
    alice.reject(1, 1);
    let dead = alice.take();
    assert_eq!(tries(&dead), [("3".into(), 0)]);
    assert_eq!(header(&dead[0], "original-destination"), Some("/queue/b"));
    alice.subscribe(3, "/queue/dead", INDIVIDUAL);
    assert_eq!(alice.bodies(), ["2"]);
}

#[test]
fn what_a_topics_subscriber_rejects_goes_there_if_the_topic_says_so() {
    let settings = TopicSettings::default().dead_letters("/queue/dead");
    let broker = Hub::new(broker().topic_settings("/topic/a", settings));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/topic/a", INDIVIDUAL);
    alice.subscribe(1, "/topic/b", CLIENT);
    alice.subscribe(2, "/queue/dead", INDIVIDUAL);
    for topic in ["/topic/a", "/topic/b"] {
        send(&broker, topic, &["1", "2", "3"]);
    }
    alice.take();
    alice.reject(0, 1);
    alice.release(0, 2);
    alice.accept(0, 3);
    alice.release(1, 3);
    let dead = alice.take();
    assert_eq!(tries(&dead), [("1".into(), 0), ("2".into(), 0)]);
    for letter in &dead {
        assert_eq!(header(letter, "dead-letter-reason"), Some("rejected"));
        assert_eq!(header(letter, "original-destination"), Some("/topic/a"));
        assert_eq!(header(letter, "original-delivery-count"), Some("1"));
    }
    let of = |topic| counts(&broker, topic);
    assert_eq!(of("/topic/a").dead_lettered, 2);
    assert_eq!(of("/topic/a").acked, 1);
    assert_eq!(of("/topic/b").discarded, 3);
}

#[test]
fn what_dies_among_a_topics_dead_letters_is_gone() {
    let settings = TopicSettings::default().dead_letters("/topic/dead");
    let broker = Hub::new(broker().topic_settings("/topic/**", settings));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/topic/dead", INDIVIDUAL);
    send(&broker, "/topic/dead", &["1"]);
    assert_eq!(alice.take().len(), 1);
    alice.reject(0, 1);
    assert!(alice.take().is_empty());
    assert_eq!(counts(&broker, "/topic/dead").discarded, 1);
}

#[test]
fn a_closed_session_receives_none_of_the_dead_letters_that_its_end_makes() {
    let settings = tried(1).dead_letters("/topic/dead");
    let broker = Hub::new(broker().queue_settings("/queue/a", settings));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.subscribe(1, "/topic/dead", AUTO);
    send(&broker, "/queue/a", &["1"]);
    alice.close();
    assert_eq!(counts(&broker, "/queue/a").dead_lettered, 1);
    assert_eq!(totals(&broker).delivered, 1, "before it closed");
}
