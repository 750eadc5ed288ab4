//! Consumers of queues: who receives messages, how many at a time, and how they are settled.

use tramline_broker::{DeliveryRef, Hub, Outcome, SettleError, SubscribeError};

use crate::support::*;

#[test]
fn messages_wait_for_a_consumer_and_each_goes_to_one() {
    let broker = Hub::new(broker());
    assert_eq!(send(&broker, "/queue/a", &["1", "2", "3"]), 0);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    assert_eq!(tags(&alice.take()), [1, 2, 3]);
    let bob = Client::open(&broker);
    bob.subscribe(0, "/queue/a", INDIVIDUAL);
    assert_eq!(send(&broker, "/queue/a", &["4", "5", "6", "7"]), 4);
    assert_eq!(alice.bodies(), ["4", "6"]);
    assert_eq!(bob.bodies(), ["5", "7"], "in turn");
}

#[test]
fn a_consumer_without_room_is_passed_over_until_it_settles() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 1);
    bob.prefetch(0, "/queue/a", INDIVIDUAL, 3);
    send(&broker, "/queue/a", &["1", "2", "3", "4", "5"]);
    assert_eq!(alice.bodies(), ["1"]);
    assert_eq!(bob.bodies(), ["2", "3", "4"]);
    assert_eq!(known(&broker, "/queue/a").depth, 1);
    alice.accept(0, 1);
    assert_eq!(alice.bodies(), ["5"]);
}

#[test]
fn prefetch_has_a_default_and_a_limit() {
    let broker = Hub::new(
        broker()
            .default_prefetch(2.try_into().unwrap())
            .max_prefetch(4),
    );
    send(&broker, "/queue/a", &["1", "2", "3", "4", "5"]);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", AUTO);
    assert_eq!(alice.bodies(), ["1", "2"], "AUTO is settled too");
    alice.unsubscribe(0);
    alice.prefetch(1, "/queue/a", AUTO, 4);
    assert_eq!(alice.bodies(), ["1", "2", "3", "4"]);
    let request = alice.request(2, "/queue/a", AUTO);
    let answer = alice.try_subscribe(request.prefetch(5.try_into().unwrap()));
    let error = SubscribeError::PrefetchTooLarge {
        wanted: 5,
        limit: 4,
    };
    assert_eq!(answer, Err(error));
}

#[test]
fn a_default_prefetch_beyond_the_limit_is_the_limit() {
    let broker = Hub::new(broker().max_prefetch(1));
    send(&broker, "/queue/a", &["1", "2"]);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    assert_eq!(alice.bodies(), ["1"]);
}

#[test]
fn a_queue_is_consumed_by_its_own_name() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    for text in ["/queue/*", "/queue/a?", "/queue/**"] {
        let answer = alice.try_subscribe(alice.request(0, text, AUTO));
        let pattern = text.into();
        assert_eq!(answer, Err(SubscribeError::PatternOnQueue { pattern }));
    }
    assert_eq!(broker.destinations(), 0);
}

#[test]
fn the_mode_client_settles_all_before_and_the_mode_individual_does_not() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", CLIENT);
    alice.subscribe(1, "/queue/b", INDIVIDUAL);
    for queue in ["/queue/a", "/queue/b"] {
        send(&broker, queue, &["1", "2", "3"]);
    }
    alice.accept(0, 2);
    alice.accept(1, 2);
    let unsettled = |queue| known(&broker, queue).unsettled;
    assert_eq!(unsettled("/queue/a"), 1);
    assert_eq!(unsettled("/queue/b"), 2);
    assert_eq!(counts(&broker, "/queue/a").acked, 2);
    assert_eq!(counts(&broker, "/queue/b").acked, 1);
    alice.accept(1, 3);
    alice.accept(1, 1);
    assert_eq!(known(&broker, "/queue/b").bytes, 0);
}

#[test]
fn what_does_not_wait_to_be_settled_is_an_error_by_name() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.subscribe(0, "/queue/a", CLIENT);
    alice.subscribe(1, "/topic/a", AUTO);
    bob.subscribe(0, "/queue/b", CLIENT);
    send(&broker, "/queue/a", &["1", "2"]);
    send(&broker, "/topic/a", &["1"]);
    let unknown = |slot: Option<u32>, tag: u32| {
        let delivery = DeliveryRef::Tag(tag);
        let answer = alice.try_settle(slot, delivery.clone(), Outcome::Accepted);
        assert_eq!(answer, Err(SettleError::UnknownDelivery { delivery }));
    };
    unknown(Some(0), 0);
    unknown(Some(0), 3);
    unknown(Some(0), u32::MAX);
    unknown(Some(1), 1);
    unknown(Some(7), 1);
    alice.accept(0, 2);
    unknown(Some(0), 1);
    unknown(Some(0), 2);
    unknown(None, 2);
    send(&broker, "/queue/a", &["3"]);
    let stranger = bob.try_settle(0, DeliveryRef::Tag(3), Outcome::Accepted);
    assert!(stranger.is_err(), "another session's delivery");
    alice.unsubscribe(0);
    unknown(Some(0), 3);
    alice.close();
    unknown(Some(0), 3);
}

#[test]
fn a_delivery_is_found_by_its_message_id_with_or_without_its_subscription() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.subscribe(1, "/queue/b", INDIVIDUAL);
    send(&broker, "/queue/a", &["1"]);
    send(&broker, "/queue/b", &["2", "3"]);
    let ids: Vec<_> = alice.take();
    let id = |n: usize| DeliveryRef::MessageId(ids[n].message.id().clone());
    let accept = |slot: Option<u32>, id| alice.try_settle(slot, id, Outcome::Accepted);
    assert!(accept(Some(0), id(1)).is_err(), "of another subscription");
    assert_eq!(accept(Some(1), id(1)), Ok(()));
    assert_eq!(accept(None, id(2)), Ok(()));
    assert_eq!(accept(None, id(0)), Ok(()));
    assert!(accept(None, id(0)).is_err());
    assert_eq!(bytes_but_for(&broker, ids), 0);
}

fn bytes_but_for<T>(broker: &Hub, held: T) -> usize {
    drop(held);
    bytes(broker)
}

#[test]
fn released_messages_come_back_to_where_they_stood() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 2);
    send(&broker, "/queue/a", &["1", "2", "3", "4"]);
    assert_eq!(alice.bodies(), ["1", "2"]);
    alice.release(0, 1);
    let again = alice.take();
    assert_eq!(tries(&again), [("1".into(), 1)]);
    assert_eq!(again[0].tag, 3, "a tag of its own");
    alice.accept(0, 3);
    assert_eq!(alice.bodies(), ["3"]);
}

#[test]
fn what_a_consumer_leaves_goes_to_others_in_order_and_is_marked() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.subscribe(0, "/queue/a", CLIENT);
    send(&broker, "/queue/a", &["1", "2", "3", "4"]);
    assert_eq!(alice.take().len(), 4);
    alice.accept(0, 1);
    bob.prefetch(0, "/queue/a", INDIVIDUAL, 2);
    alice.unsubscribe(0);
    assert_eq!(tries(&bob.take()), [("2".into(), 1), ("3".into(), 1)]);
    bob.close();
    let carol = Client::open(&broker);
    carol.subscribe(0, "/queue/a", INDIVIDUAL);
    let expected = [("2".into(), 2), ("3".into(), 2), ("4".into(), 1)];
    assert_eq!(tries(&carol.take()), expected);
    assert_eq!(counts(&broker, "/queue/a").redelivered, 2 + 3);
}

#[test]
fn a_session_that_closes_gives_nothing_to_its_own_other_consumers() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 1);
    alice.prefetch(1, "/queue/a", INDIVIDUAL, 2);
    send(&broker, "/queue/a", &["1", "2"]);
    alice.close();
    bob.subscribe(0, "/queue/a", INDIVIDUAL);
    assert_eq!(tries(&bob.take()), [("1".into(), 1), ("2".into(), 1)]);
    assert_eq!(counts(&broker, "/queue/a").delivered, 4);
}

#[test]
fn what_a_closed_session_had_goes_out_in_order() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.prefetch(0, "/queue/a", INDIVIDUAL, 1);
    alice.prefetch(1, "/queue/a", INDIVIDUAL, 1);
    send(&broker, "/queue/a", &["1", "2"]);
    alice.accept(0, 1);
    send(&broker, "/queue/a", &["3"]);
    bob.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.close();
    assert_eq!(tries(&bob.take()), [("2".into(), 1), ("3".into(), 1)]);
}

#[test]
fn a_full_outbox_waits_and_resumes() {
    let broker = Hub::new(broker());
    let slow = Client::slow(&broker, 900);
    slow.subscribe(0, "/queue/a", INDIVIDUAL);
    let body = "x".repeat(300);
    send(&broker, "/queue/a", &[body.as_str(); 5]);
    let unsettled = || known(&broker, "/queue/a").unsettled;
    assert_eq!(unsettled(), 2);
    assert_eq!(slow.take_some(1).0.len(), 1);
    assert_eq!(unsettled(), 3, "half of it is free");
    assert_eq!(slow.take().len(), 2);
    assert_eq!(unsettled(), 5);
    assert_eq!(slow.take().len(), 2);
}

#[test]
fn a_message_too_large_for_any_outbox_passes_an_empty_one() {
    let broker = Hub::new(broker());
    let slow = Client::slow(&broker, 10);
    slow.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &["larger than that", "as this is"]);
    assert_eq!(slow.take().len(), 1);
    assert_eq!(slow.take().len(), 1);
}

#[test]
fn an_overflown_session_keeps_no_message_of_a_queue() {
    let broker = Hub::new(broker());
    let (slow, bob) = (Client::slow(&broker, 200), Client::open(&broker));
    slow.subscribe(0, "/queue/a", AUTO);
    slow.subscribe(1, "/topic/a", AUTO);
    send(&broker, "/queue/a", &["1"]);
    let large = "x".repeat(300);
    send(&broker, "/topic/a", &[&large, &large]);
    send(&broker, "/queue/a", &["2"]);
    assert!(slow.take().is_empty());
    slow.close();
    bob.subscribe(0, "/queue/a", AUTO);
    assert_eq!(tries(&bob.take()), [("1".into(), 1), ("2".into(), 0)]);
}

/// Subscribes with a selector.
fn selecting(client: &Client<'_>, slot: u32, selector: &str) -> Result<(), SubscribeError> {
    let mut request = client.request(slot, "/queue/a", INDIVIDUAL);
    request.options.selector = Some(selector.to_owned().into());
    client.try_subscribe(request)
}

fn send_kinds(broker: &Hub, all: &[(&str, &str)]) -> usize {
    let messages = all.iter();
    let messages = messages.map(|(kind, body)| with_headers("/queue/a", body, &[("kind", kind)]));
    publish(broker, messages.collect())
}

#[test]
fn selectors_pick_and_leave_the_rest_to_others() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    send_kinds(&broker, &[("b", "1"), ("a", "2"), ("b", "3"), ("a", "4")]);
    selecting(&alice, 0, "kind = 'a'").unwrap();
    assert_eq!(alice.bodies(), ["2", "4"]);
    assert_eq!(known(&broker, "/queue/a").depth, 2);
    // What nobody wants waits, and what comes behind it is not held up.
    assert_eq!(send_kinds(&broker, &[("b", "5"), ("a", "6")]), 1);
    assert_eq!(alice.bodies(), ["6"]);
    bob.subscribe(0, "/queue/a", INDIVIDUAL);
    assert_eq!(bob.bodies(), ["1", "3", "5"]);
    // What comes back goes to those who want it, at its old place.
    alice.close();
    assert_eq!(bob.bodies(), ["2", "4", "6"]);
    let carol = Client::open(&broker);
    selecting(&carol, 0, "kind = 'b'").unwrap();
    bob.close();
    assert_eq!(carol.bodies(), ["1", "3", "5"]);
    assert_eq!(known(&broker, "/queue/a").depth, 3);
    let refused = selecting(&carol, 1, "kind LIKE").unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("the header `selector` is invalid")
    );
}

#[test]
fn a_selecting_consumer_without_room_goes_on_where_it_was() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    let mut request = alice.request(0, "/queue/a", INDIVIDUAL);
    request.options.selector = Some("kind = 'a'".into());
    alice
        .try_subscribe(request.prefetch(1.try_into().unwrap()))
        .unwrap();
    let all = ["a", "b", "a", "b", "a"]
        .iter()
        .zip(["1", "2", "3", "4", "5"]);
    let all: Vec<(&str, &str)> = all.map(|(kind, body)| (*kind, body)).collect();
    send_kinds(&broker, &all);
    for (tag, body) in (1..).zip(["1", "3", "5"]) {
        assert_eq!(alice.bodies(), [body]);
        alice.accept(0, tag);
    }
    assert_eq!(alice.bodies(), Vec::<String>::new());
    send_kinds(&broker, &[("b", "6"), ("a", "7")]);
    assert_eq!(alice.bodies(), ["7"]);
}

/// Each message is looked at once by each consumer, however often others come and settle.
#[test]
fn selectors_go_to_the_consumers_in_turn() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    selecting(&alice, 0, "kind IN ('a', 'b')").unwrap();
    selecting(&bob, 0, "kind IN ('b', 'c')").unwrap();
    let kinds = ["a", "b", "c", "b", "c", "a", "d"];
    let all: Vec<(&str, &str)> = kinds.iter().map(|kind| (*kind, *kind)).collect();
    assert_eq!(send_kinds(&broker, &all), 6);
    let (alices, bobs) = (alice.bodies(), bob.bodies());
    assert_eq!(alices.len() + bobs.len(), 6);
    assert!(
        alices.iter().all(|kind| kind == "a" || kind == "b"),
        "{alices:?}"
    );
    assert!(
        bobs.iter().all(|kind| kind == "b" || kind == "c"),
        "{bobs:?}"
    );
}
