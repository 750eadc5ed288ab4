//! Full queues: who waits, for how long, in what order, and what is dropped.

use std::task::Poll;
use std::time::Duration;

use tramline_broker::{
    Confirm, Hub, Publish, PublishError, Published, QueueSettings, Refused, WhenFull,
};

use crate::support::*;

/// A broker whose queues hold `max_messages` messages.
fn small(max_messages: usize, when_full: WhenFull) -> Hub {
    let settings = QueueSettings::default()
        .max_messages(max_messages)
        .when_full(when_full);
    Hub::new(broker().queue_settings("/queue/**", settings))
}

const WAIT: WhenFull = WhenFull::Wait(Duration::from_secs(2));

type Answer = Confirm<Result<Published, Refused>>;

fn later(broker: &Hub, batch: Vec<Publish>, millis: u64) -> Answer {
    let mut answer = broker.publish(batch, at(millis));
    assert!(poll(&mut answer).is_pending());
    answer
}

fn is_refused(answer: &mut Answer, done: usize, messages: usize, max_messages: usize) {
    let Poll::Ready(Err(refused)) = poll(answer) else {
        panic!("not refused");
    };
    assert_eq!(refused.done, done);
    let PublishError::QueueFull {
        queue,
        messages: there,
        max_messages: most,
        ..
    } = refused.error
    else {
        panic!("{refused}");
    };
    assert_eq!(&*queue, "/queue/a");
    assert_eq!((there, most), (messages, max_messages));
}

fn is_published(answer: &mut Answer, receivers: usize) {
    let published = Published::new(receivers);
    assert_eq!(poll(answer), Poll::Ready(Ok(published)));
}

#[test]
fn a_publisher_waits_until_an_ack_makes_room() {
    let broker = small(2, WAIT);
    let alice = Client::open(&broker);
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 1);
    send(&broker, "/queue/a", &["1", "2"]);
    let mut answer = later(&broker, vec![to("/queue/a", "3")], 0);
    assert_eq!(alice.bodies(), ["1"]);
    alice.accept(0, 1);
    is_published(&mut answer, 0);
    assert_eq!(alice.bodies(), ["2"]);
    alice.accept(0, 2);
    assert_eq!(alice.bodies(), ["3"]);
    assert_eq!(counts(&broker, "/queue/a").refused, 0);
}

#[test]
fn a_publisher_waits_no_longer_than_it_may() {
    let broker = small(1, WAIT);
    send(&broker, "/queue/a", &["1"]);
    let mut answer = later(&broker, vec![to("/queue/a", "2")], 500);
    broker.sweep(at(2_499));
    assert!(poll(&mut answer).is_pending());
    broker.sweep(at(2_500));
    is_refused(&mut answer, 0, 1, 1);
    assert_eq!(counts(&broker, "/queue/a").refused, 1);
    assert_eq!(known(&broker, "/queue/a").depth, 1);
}

#[test]
fn without_time_a_publisher_is_refused_at_once() {
    let broker = small(1, WhenFull::Wait(Duration::ZERO));
    send(&broker, "/queue/a", &["1"]);
    let text = refused(&broker, to("/queue/a", "2")).to_string();
    assert!(
        text.starts_with(r#"the queue "/queue/a" has no room: it holds 1 messages of 1, "#),
        "{text}"
    );
    assert_eq!(counts(&broker, "/queue/a").refused, 1);
}

#[test]
fn bytes_fill_a_queue_too_and_one_message_of_any_size_passes_an_empty_one() {
    let settings = QueueSettings::default()
        .max_bytes(100)
        .when_full(WhenFull::Wait(Duration::ZERO));
    let broker = Hub::new(broker().queue_settings("/queue/**", settings));
    let large = "x".repeat(1_000);
    send(&broker, "/queue/a", &[&large]);
    let error = refused(&broker, to("/queue/a", ""));
    assert!(matches!(
        error,
        PublishError::QueueFull { max_bytes: 100, .. }
    ));
}

#[test]
fn publishers_get_room_in_the_order_they_came() {
    let broker = small(1, WAIT);
    send(&broker, "/queue/a", &["1"]);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    let mut second = later(&broker, vec![to("/queue/a", "2")], 0);
    let mut third = later(&broker, vec![to("/queue/a", "3")], 0);
    assert_eq!(alice.bodies(), ["1"]);
    alice.accept(0, 1);
    is_published(&mut second, 1);
    assert!(poll(&mut third).is_pending());
    assert_eq!(alice.bodies(), ["2"]);
    alice.accept(0, 2);
    is_published(&mut third, 1);
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let settings = QueueSettings::default().max_bytes(300).when_full(WAIT);
    let broker = Hub::new(broker().queue_settings("/queue/**", settings));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    let large = "x".repeat(200);
    send(&broker, "/queue/a", &[&large]);
    let mut first = later(&broker, vec![to("/queue/a", &large)], 0);
    let mut small = later(&broker, vec![to("/queue/a", "fits")], 0);
    alice.accept(0, 1);
    is_published(&mut first, 1);
    is_published(&mut small, 1);
    assert_eq!(alice.bodies(), [large.clone(), large, "fits".to_owned()]);
}

#[test]
fn a_batch_goes_on_behind_a_message_that_waited() {
    let broker = small(1, WAIT);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.subscribe(1, "/topic/a", AUTO);
    let batch = vec![
        to("/queue/a", "1"),
        to("/queue/a", "2"),
        to("/topic/a", "3"),
        to("/queue/a", "4"),
    ];
    let mut answer = later(&broker, batch, 0);
    assert_eq!(alice.bodies(), ["1"]);
    broker.sweep(at(1_500));
    alice.accept(0, 1);
    assert_eq!(alice.bodies(), ["2", "3"]);
    broker.sweep(at(2_500));
    assert!(poll(&mut answer).is_pending(), "each has a time of its own");
    broker.sweep(at(3_500));
    is_refused(&mut answer, 3, 1, 1);
}

#[test]
fn a_publisher_behind_one_that_gave_up_gets_the_room() {
    let settings = QueueSettings::default().max_bytes(300).when_full(WAIT);
    let broker = Hub::new(broker().queue_settings("/queue/**", settings));
    send(&broker, "/queue/a", &[&"x".repeat(100)]);
    let large = to("/queue/a", &"x".repeat(290));
    let mut first = later(&broker, vec![large], 0);
    let mut second = later(&broker, vec![to("/queue/a", "fits")], 1_000);
    broker.sweep(at(2_000));
    is_refused(&mut first, 0, 1, 100_000);
    is_published(&mut second, 0);
}

#[test]
fn messages_that_expire_make_room() {
    let broker = small(1, WAIT);
    let short = with_headers("/queue/a", "1", &[("expiration", "1000")]);
    publish(&broker, vec![short]);
    let mut answer = later(&broker, vec![to("/queue/a", "2")], 0);
    broker.sweep(at(1_000));
    is_published(&mut answer, 0);
}

#[test]
fn rejected_messages_and_those_that_came_back_too_often_make_room() {
    let settings = QueueSettings::default()
        .max_messages(1)
        .when_full(WAIT)
        .max_deliveries(1);
    let broker = Hub::new(broker().queue_settings("/queue/**", settings));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &["1"]);
    let mut second = later(&broker, vec![to("/queue/a", "2")], 0);
    alice.reject(0, 1);
    is_published(&mut second, 1);
    let mut third = later(&broker, vec![to("/queue/a", "3")], 0);
    alice.release(0, 2);
    is_published(&mut third, 1);
    let mut fourth = later(&broker, vec![to("/queue/a", "4")], 0);
    alice.close();
    is_published(&mut fourth, 0);
}

#[test]
fn what_waits_longest_goes_for_what_is_new() {
    let broker = small(2, WhenFull::DropOldest);
    let alice = Client::open(&broker);
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 1);
    send(&broker, "/queue/a", &["1", "2", "3", "4"]);
    alice.take();
    assert_eq!(counts(&broker, "/queue/a").dropped_oldest, 2);
    alice.accept(0, 1);
    assert_eq!(alice.bodies(), ["4"]);
}

#[test]
fn the_new_one_goes_where_all_others_are_with_consumers() {
    let broker = small(2, WhenFull::DropOldest);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &["1", "2", "3"]);
    assert_eq!(alice.bodies(), ["1", "2"]);
    let counts = counts(&broker, "/queue/a");
    assert_eq!((counts.dropped_newest, counts.published), (1, 2));
}

#[test]
fn nothing_is_dropped_in_vain() {
    let settings = QueueSettings::default()
        .max_bytes(1_000)
        .when_full(WhenFull::DropOldest);
    let broker = Hub::new(broker().queue_settings("/queue/**", settings));
    let alice = Client::open(&broker);
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 1);
    send(&broker, "/queue/a", &[&"x".repeat(600), "small"]);
    send(&broker, "/queue/a", &[&"x".repeat(700)]);
    assert_eq!(known(&broker, "/queue/a").depth, 1);
    let counts = counts(&broker, "/queue/a");
    assert_eq!((counts.dropped_oldest, counts.dropped_newest), (0, 1));
}

#[test]
fn the_new_one_goes() {
    let broker = small(2, WhenFull::DropNewest);
    send(&broker, "/queue/a", &["1", "2", "3"]);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    assert_eq!(alice.bodies(), ["1", "2"]);
    let counts = counts(&broker, "/queue/a");
    assert_eq!((counts.dropped_newest, counts.published), (1, 2));
}

#[test]
fn what_a_closed_session_had_goes_out_before_what_waits_for_room() {
    let broker = small(3, WAIT);
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 1);
    alice.prefetch(1, "/queue/a", INDIVIDUAL, 1);
    let short = with_headers("/queue/a", "1", &[("expiration", "1000")]);
    publish(&broker, vec![short, to("/queue/a", "2")]);
    bob.prefetch(0, "/queue/a", INDIVIDUAL, 2);
    send(&broker, "/queue/a", &["3"]);
    let mut answer = later(&broker, vec![to("/queue/a", "4")], 1_000);
    alice.close();
    is_published(&mut answer, 0);
    assert_eq!(bob.bodies(), ["3", "2"]);
    assert_eq!(counts(&broker, "/queue/a").expired, 1);
}
