//! Transactions are carried out completely or not at all.

use std::task::Poll;
use std::time::Duration;

use tramline_broker::{
    CommitError, DeliveryRef, EmbeddedBroker, Hub, Outcome, PublishError, QueueSettings, Settle,
    SettleError, TopicSettings, WhenFull,
};

use crate::support::*;

fn accepted(slot: u32, tag: u32) -> Settle {
    Settle::new(Some(slot), DeliveryRef::Tag(tag), Outcome::Accepted)
}

fn small(max_messages: usize, when_full: WhenFull) -> Hub {
    Hub::new(small_queues(max_messages, when_full))
}

fn small_queues(max_messages: usize, when_full: WhenFull) -> EmbeddedBroker {
    let settings = QueueSettings::default()
        .max_messages(max_messages)
        .when_full(when_full);
    broker().queue_settings("/queue/small/**", settings)
}

const WAIT: WhenFull = WhenFull::Wait(Duration::from_secs(2));

#[test]
fn settles_come_first_then_messages_in_order() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.prefetch(0, "/queue/a", CLIENT, 2);
    alice.subscribe(1, "/topic/a", AUTO);
    send(&broker, "/queue/a", &["1", "2", "3"]);
    assert_eq!(alice.bodies(), ["1", "2"]);
    let publishes = vec![
        to("/topic/a", "x"),
        to("/queue/a", "4"),
        to("/topic/a", "y"),
    ];
    let published = ready(alice.commit(vec![accepted(0, 2)], publishes, at(0))).unwrap();
    assert_eq!(published.local_receivers, 3);
    assert_eq!(alice.bodies(), ["3", "x", "4", "y"]);
}

#[test]
fn nothing_is_done_where_something_cannot_be() {
    let broker = Hub::new(small_queues(1, WhenFull::Wait(Duration::ZERO)).max_bytes(10_000));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    alice.subscribe(1, "/topic/a", AUTO);
    send(&broker, "/queue/a", &["1"]);
    send(&broker, "/queue/small/full", &["1"]);
    alice.take();
    let ok = || to("/topic/a", "x");
    let bad_expiry = with_headers("/queue/b", "", &[("expires", "soon")]);
    for (settles, publish, expected) in [
        (vec![accepted(0, 1), accepted(0, 1)], ok(), "no delivery 1 "),
        (vec![accepted(0, 1), accepted(0, 9)], ok(), "no delivery 9 "),
        (vec![accepted(0, 1), accepted(1, 1)], ok(), "no delivery 1 "),
        (vec![accepted(0, 1)], to("/other", ""), "no broker dest"),
        (vec![accepted(0, 1)], bad_expiry, "the header `expires`"),
        (
            vec![accepted(0, 1)],
            to("/queue/small/full", ""),
            "the queue ",
        ),
        (
            vec![accepted(0, 1)],
            to("/queue/b", &"x".repeat(10_000)),
            "the broker holds",
        ),
    ] {
        let answer = alice.commit(settles, vec![ok(), publish, ok()], at(0));
        let error = ready(answer).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(alice.take().is_empty());
    assert_eq!(known(&broker, "/queue/a").unsettled, 1);
    assert_eq!(known(&broker, "/queue/small/full").depth, 1);
    alice.accept(0, 1);
}

#[test]
fn one_subscription_may_be_settled_in_many_ways() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", CLIENT);
    send(&broker, "/queue/a", &["1", "2", "3", "4"]);
    alice.take();
    let settle = |tag, outcome| Settle::new(None, DeliveryRef::Tag(tag), outcome);
    let settles = vec![
        settle(1, Outcome::Accepted),
        settle(3, Outcome::Released),
        settle(4, Outcome::Rejected),
    ];
    ready(alice.commit(settles, Vec::new(), at(0))).unwrap();
    assert_eq!(tries(&alice.take()), [("2".into(), 1), ("3".into(), 1)]);
    let backward = vec![accepted(0, 6), accepted(0, 5)];
    let error = ready(alice.commit(backward, Vec::new(), at(0))).unwrap_err();
    let delivery = DeliveryRef::Tag(5);
    let unknown = SettleError::UnknownDelivery { delivery };
    assert_eq!(error, CommitError::Settle(unknown), "6 settles 5 too");
}

#[test]
fn a_session_that_is_not_open_settles_nothing_in_a_transaction() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &["1"]);
    alice.close();
    let answer = alice.commit(vec![accepted(0, 1)], Vec::new(), at(0));
    assert!(matches!(ready(answer), Err(CommitError::Settle(_))));
}

#[test]
fn a_commit_waits_for_room_for_all_of_it() {
    let broker = small(2, WAIT);
    let alice = Client::open(&broker);
    alice.prefetch(0, "/queue/small/a", INDIVIDUAL, 1);
    alice.subscribe(1, "/topic/a", AUTO);
    send(&broker, "/queue/small/a", &["1", "2"]);
    assert_eq!(alice.bodies(), ["1"]);
    let bob = Client::open(&broker);
    let publishes = vec![
        to("/topic/a", "x"),
        to("/queue/small/a", "3"),
        to("/queue/small/a", "4"),
    ];
    let mut answer = bob.commit(Vec::new(), publishes, at(0));
    assert!(poll(&mut answer).is_pending());
    alice.accept(0, 1);
    assert_eq!(alice.bodies(), ["2"], "and no x");
    assert!(poll(&mut answer).is_pending());
    alice.accept(0, 2);
    assert!(poll(&mut answer).is_ready());
    assert_eq!(alice.bodies(), ["x", "3"]);
}

#[test]
fn a_commit_waits_no_longer_than_it_may() {
    let broker = small(1, WAIT);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/small/a", &["1"]);
    send(&broker, "/queue/a", &["1"]);
    let publishes = vec![to("/queue/small/a", "2")];
    let mut answer = alice.commit(vec![accepted(0, 1)], publishes, at(0));
    broker.sweep(at(1_999));
    assert!(poll(&mut answer).is_pending());
    broker.sweep(at(2_000));
    let Poll::Ready(Err(CommitError::Publish(error))) = poll(&mut answer) else {
        panic!("not refused");
    };
    assert!(matches!(error, PublishError::QueueFull { .. }));
    alice.accept(0, 1);
}

#[test]
fn a_commit_uses_the_room_that_its_own_acks_make() {
    let broker = small(2, WhenFull::Wait(Duration::ZERO));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/small/a", CLIENT);
    send(&broker, "/queue/small/a", &["1", "2"]);
    alice.take();
    let publishes = vec![to("/queue/small/a", "3"), to("/queue/small/a", "4")];
    ready(alice.commit(vec![accepted(0, 2)], publishes, at(0))).unwrap();
    assert_eq!(alice.bodies(), ["3", "4"]);
}

#[test]
fn a_commit_that_waits_counts_on_the_room_that_its_own_acks_will_make() {
    let broker = small(2, WAIT);
    let (alice, bob) = (Client::open(&broker), Client::open(&broker));
    alice.prefetch(0, "/queue/small/a", INDIVIDUAL, 1);
    bob.prefetch(0, "/queue/small/a", INDIVIDUAL, 1);
    send(&broker, "/queue/small/a", &["1", "2"]);
    let publishes = vec![to("/queue/small/a", "3"), to("/queue/small/a", "4")];
    let mut answer = alice.commit(vec![accepted(0, 1)], publishes, at(0));
    assert!(poll(&mut answer).is_pending());
    bob.accept(0, 1);
    assert!(poll(&mut answer).is_ready());
    assert_eq!(known(&broker, "/queue/small/a").unsettled, 2);
}

#[test]
fn a_commit_waits_behind_publishers_unless_it_makes_room() {
    let settings = QueueSettings::default().max_bytes(300).when_full(WAIT);
    let broker = Hub::new(broker().queue_settings("/queue/**", settings));
    let alice = Client::open(&broker);
    alice.subscribe(0, "/queue/a", INDIVIDUAL);
    send(&broker, "/queue/a", &[&"x".repeat(100), "2"]);
    alice.take();
    let large = to("/queue/a", &"y".repeat(200));
    let mut first = broker.publish(vec![large], at(0));
    assert!(poll(&mut first).is_pending());
    let bob = Client::open(&broker);
    let mut behind = bob.commit(Vec::new(), vec![to("/queue/a", "4")], at(0));
    assert!(poll(&mut behind).is_pending(), "it would fit");
    let instead = alice.commit(vec![accepted(0, 2)], vec![to("/queue/a", "3")], at(0));
    ready(instead).unwrap();
    alice.accept(0, 1);
    assert!(poll(&mut first).is_ready());
    let bodies = alice.bodies();
    assert_eq!(bodies[0], "3");
    assert!(poll(&mut behind).is_ready() && bodies[2] == "4");
}

#[test]
fn a_commit_that_waits_settles_what_it_was_called_for_or_is_not_carried_out() {
    let broker = small(3, WAIT);
    let alice = Client::open(&broker);
    alice.prefetch(0, "/queue/small/a", CLIENT, 2);
    send(&broker, "/queue/small/a", &["1", "2", "3"]);
    let release = Settle::new(Some(0), DeliveryRef::Tag(2), Outcome::Released);
    let publishes = vec![to("/queue/small/a", "4")];
    let mut answer = alice.commit(vec![release], publishes, at(0));
    assert!(poll(&mut answer).is_pending());
    alice.accept(0, 1);
    let Poll::Ready(Err(CommitError::Settle(error))) = poll(&mut answer) else {
        panic!("carried out");
    };
    assert!(matches!(error, SettleError::UnknownDelivery { .. }));
    assert_eq!(
        tries(&alice.take()),
        [("1".into(), 0), ("2".into(), 0), ("3".into(), 0)]
    );
}

#[test]
fn a_commit_that_waits_keeps_nothing_of_a_topic_subscription_that_ended() {
    let settings = TopicSettings::default().dead_letters("/queue/dead");
    let broker = small_queues(1, WAIT).topic_settings("/topic/a", settings);
    let broker = Hub::new(broker);
    let alice = Client::open(&broker);
    alice.prefetch(0, "/topic/a", INDIVIDUAL, 1);
    send(&broker, "/queue/small/a", &["1"]);
    let before = bytes(&broker);
    send(&broker, "/topic/a", &["1", "2"]);
    let reject = Settle::new(Some(0), DeliveryRef::Tag(1), Outcome::Rejected);
    let publishes = vec![to("/queue/small/a", "2")];
    let mut answer = alice.commit(vec![reject], publishes, at(0));
    assert!(poll(&mut answer).is_pending());
    alice.take();
    alice.unsubscribe(0);
    assert_eq!(bytes(&broker), before);
    let bob = Client::open(&broker);
    bob.subscribe(0, "/queue/small/a", INDIVIDUAL);
    bob.accept(0, 1);
    assert!(matches!(poll(&mut answer), Poll::Ready(Ok(_))));
    assert_eq!(bob.bodies(), ["1", "2"]);
    assert_eq!(totals(&broker).dead_lettered, 0);
}

#[test]
fn what_can_never_fit_is_refused_at_once() {
    let broker = small(2, WAIT);
    let alice = Client::open(&broker);
    let three = (0..3).map(|_| to("/queue/small/a", "")).collect();
    let error = ready(alice.commit(Vec::new(), three, at(0))).unwrap_err();
    let CommitError::Publish(PublishError::QueueFull { max_messages, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(max_messages, 2);
}

#[test]
fn a_full_queue_that_drops_its_oldest_makes_room_for_a_transaction() {
    let broker = small(2, WhenFull::DropOldest);
    let alice = Client::open(&broker);
    send(&broker, "/queue/small/a", &["1", "2"]);
    let publishes = vec![to("/queue/small/a", "3")];
    ready(alice.commit(Vec::new(), publishes, at(0))).unwrap();
    assert_eq!(counts(&broker, "/queue/small/a").dropped_oldest, 1);
    alice.subscribe(0, "/queue/small/a", INDIVIDUAL);
    assert_eq!(alice.bodies(), ["2", "3"]);
    let publishes = vec![to("/queue/small/a", "4")];
    let error = ready(alice.commit(Vec::new(), publishes, at(0))).unwrap_err();
    assert!(
        matches!(error, CommitError::Publish(PublishError::QueueFull { .. })),
        "all others are with consumers"
    );
    assert_eq!(counts(&broker, "/queue/small/a").dropped_oldest, 1);
}

#[test]
fn a_full_queue_that_drops_what_is_new_refuses_a_transaction() {
    let broker = small(1, WhenFull::DropNewest);
    let alice = Client::open(&broker);
    send(&broker, "/queue/small/a", &["1"]);
    let publishes = vec![to("/queue/small/a", "2")];
    assert!(ready(alice.commit(Vec::new(), publishes, at(0))).is_err());
    let counts = counts(&broker, "/queue/small/a");
    assert_eq!((counts.refused, counts.dropped_newest), (1, 0));
}

#[test]
fn room_that_was_set_aside_in_vain_is_given_back() {
    let broker = small(1, WhenFull::Wait(Duration::ZERO));
    let alice = Client::open(&broker);
    send(&broker, "/queue/small/full", &["1"]);
    for n in 0..20 {
        let free = format!("/queue/small/{n}");
        let publishes = vec![to(&free, "2"), to("/queue/small/full", "3")];
        assert!(ready(alice.commit(Vec::new(), publishes, at(0))).is_err());
        assert_eq!(send(&broker, &free, &["fits"]), 0);
    }
}
