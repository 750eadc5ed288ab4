//! Expiry of messages.

use std::time::Duration;

use tramline_broker::{Hub, PublishError, QueueSettings};

use crate::support::*;

fn living(millis: u64) -> Hub {
    let settings = QueueSettings::default()
        .time_to_live(Duration::from_millis(millis))
        .dead_letters("/topic/dead");
    Hub::new(broker().queue_settings("/queue/short", settings))
}

/// The number of messages that wait in the queue at each of the times.
fn depths<const N: usize>(broker: &Hub, queue: &'static str, times: [u64; N]) -> [usize; N] {
    times.map(|time| {
        broker.sweep(at(time));
        known(broker, queue).depth
    })
}

#[test]
fn expires_is_a_time_and_expiration_a_duration() {
    let broker = Hub::new(broker());
    let expires = at(2_000).as_millis().to_string();
    let batch = vec![
        with_headers("/queue/a", "1", &[("expiration", "1000")]),
        with_headers("/queue/a", "2", &[("expires", &expires)]),
        with_headers("/queue/a", "3", &[("expires", "0")]),
        with_headers(
            "/queue/a",
            "the earlier counts",
            &[("expires", &expires), ("expiration", "500")],
        ),
        to("/queue/a", "for ever"),
    ];
    publish(&broker, batch);
    let times = [499, 500, 999, 1_000, 1_999, 2_000, 1_000_000_000];
    assert_eq!(depths(&broker, "/queue/a", times), [5, 4, 4, 3, 3, 2, 2]);
    assert_eq!(counts(&broker, "/queue/a").expired, 3);
    assert_eq!(counts(&broker, "/queue/a").discarded, 0);
}

#[test]
fn a_queues_time_is_for_messages_that_say_nothing() {
    let broker = living(1_000);
    let batch = vec![
        to("/queue/short", "1"),
        with_headers("/queue/short", "2", &[("expiration", "3000")]),
        with_headers("/queue/short", "3", &[("expires", "0")]),
    ];
    publish(&broker, batch);
    let depths = depths(&broker, "/queue/short", [999, 1_000, 2_999, 3_000]);
    assert_eq!(depths, [3, 1, 1, 0], "`expires:0` says nothing");
}

#[test]
fn an_expired_message_is_not_delivered_swept_or_not() {
    let broker = Hub::new(broker());
    let batch = vec![
        with_headers("/queue/a", "1", &[("expiration", "1000")]),
        to("/queue/a", "2"),
    ];
    publish(&broker, batch);
    ready(broker.publish(vec![to("/queue/a", "3")], at(1_000))).unwrap();
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    assert_eq!(alice.bodies(), ["2", "3"]);
    assert_eq!(counts(&broker, "/queue/a").expired, 1);
}

#[test]
fn a_message_that_is_expired_when_it_comes_reaches_nobody() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    let late = with_headers("/queue/a", "1", &[("expires", "1")]);
    assert_eq!(publish(&broker, vec![late.clone()]), 0);
    let answer = ready(alice.commit(Vec::new(), vec![late], at(0)));
    assert_eq!(answer.unwrap().local_receivers, 0);
    assert!(alice.take().is_empty());
    assert_eq!(counts(&broker, "/queue/a").expired, 2);
}

#[test]
fn what_a_consumer_has_does_not_expire_until_it_comes_back() {
    let broker = living(1_000);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/short", INDIVIDUAL);
    alice.subscribe(1, "/topic/dead", AUTO);
    send(&broker, "/queue/short", &["1", "2"]);
    broker.sweep(at(5_000));
    assert_eq!(counts(&broker, "/queue/short").expired, 0);
    alice.accept(0, 1);
    alice.unsubscribe(0);
    broker.sweep(at(5_001));
    assert_eq!(known(&broker, "/queue/short").depth, 0);
    assert_eq!(counts(&broker, "/queue/short").expired, 1);
    let dead = alice.take().pop().unwrap();
    let headers = dead.message.headers();
    assert_eq!(headers.get("dead-letter-reason"), Some("expired"));
    assert_eq!(headers.get("original-delivery-count"), Some("1"));
}

#[test]
fn dead_letters_live_as_long_as_their_new_place_says() {
    let settings = QueueSettings::default().dead_letters("/queue/dead");
    let broker = Hub::new(broker().queue_settings("/queue/a", settings));
    let short = with_headers("/queue/a", "1", &[("expiration", "10")]);
    publish(&broker, vec![short]);
    broker.sweep(at(10));
    broker.sweep(at(1_000_000));
    assert_eq!(known(&broker, "/queue/dead").depth, 1);
}

#[test]
fn two_places_of_dead_letters_do_not_play_ball() {
    let to = |place| {
        QueueSettings::default()
            .time_to_live(Duration::ZERO)
            .dead_letters(place)
    };
    let broker = Hub::new(
        broker()
            .queue_settings("/queue/a", to("/queue/b"))
            .queue_settings("/queue/b", to("/queue/a")),
    );
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.subscribe(1, "/queue/b", INDIVIDUAL);
    send(&broker, "/queue/a", &["1", "2"]);
    assert_eq!(alice.take().len(), 2);
}

#[test]
fn what_is_no_number_of_milliseconds_is_refused_by_name() {
    let broker = Hub::new(broker());
    for header in ["expires", "expiration"] {
        for value in ["", "soon", "-1", "+1", "1.5", " 1", "18446744073709551616"] {
            let error = refused(&broker, with_headers("/queue/a", "1", &[(header, value)]));
            let value = value.into();
            assert_eq!(error, PublishError::InvalidExpiry { header, value });
        }
        let end = with_headers("/queue/a", "1", &[(header, "18446744073709551615")]);
        publish(&broker, vec![end]);
    }
    let long = "9".repeat(100);
    let error = refused(
        &broker,
        with_headers("/queue/a", "1", &[("expires", &long)]),
    );
    assert!(error.to_string().len() < 200, "{error}");
    assert_eq!(known(&broker, "/queue/a").depth, 2);
}
