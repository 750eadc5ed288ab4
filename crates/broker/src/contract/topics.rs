//! The contract's clauses about topics.

use std::collections::{HashMap, HashSet};
use std::thread;

use super::member::{Trial, body, to};
use crate::AckMode;
use crate::broker::Order;
use crate::errors::PublishError;
use crate::hub::outbox::Delivery;
use crate::request::Outcome;

pub(super) fn all_subscribers_see_the_declared_order(trial: &Trial<'_>) {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 50;
    let topic = trial.topic("order");
    let members = [trial.open(), trial.open(), trial.open()];
    for (member, pattern) in members.iter().zip([&*topic, &topic, &trial.topic("*")]) {
        member.subscribe(0, pattern);
    }
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let topic = &topic;
            scope.spawn(move || {
                for n in 0..EACH {
                    let message = to(topic, &format!("{publisher} {n}"));
                    let published = trial.publish_as(publisher, vec![message]);
                    published.expect("a message is published");
                }
            });
        }
    });
    let seen = members.map(|member| member.take(PUBLISHERS * EACH));
    let bodies = |seen: &[Delivery]| seen.iter().map(body).collect::<Vec<_>>();
    if trial.order() == Order::Destination {
        assert_eq!(bodies(&seen[0]), bodies(&seen[1]));
        assert_eq!(bodies(&seen[0]), bodies(&seen[2]), "behind a pattern");
    }
    for seen in &seen {
        let mut next: HashMap<String, usize> = HashMap::new();
        for text in bodies(seen) {
            let (publisher, n) = text.split_once(' ').expect("what was sent");
            let expected = next.entry(publisher.to_owned()).or_default();
            assert_eq!(n, expected.to_string(), "publisher {publisher}");
            *expected += 1;
        }
    }
    for (a, b) in seen[0].iter().zip(&seen[0][1..]) {
        if let (Some(a), Some(b)) = (a.message.position(), b.message.position()) {
            assert_eq!((a.epoch, a.sequence + 1), (b.epoch, b.sequence));
        }
    }
    let ids: HashSet<_> = seen[0].iter().map(|seen| seen.message.id()).collect();
    assert_eq!(ids.len(), PUBLISHERS * EACH, "message ids differ");
}

pub(super) fn a_subscription_is_active_once_it_is_confirmed(trial: &Trial<'_>) {
    let member = trial.open();
    for slot in 0..20 {
        let topic = trial.topic(&format!("active/{slot}"));
        member.subscribe(slot, &topic);
        trial.send(&topic, &["seen"]);
        assert_eq!(member.take(1)[0].slot, slot);
    }
}

pub(super) fn each_subscription_that_covers_a_message_gets_it_once(trial: &Trial<'_>) {
    let member = trial.open();
    member.subscribe(0, &trial.topic("a/b"));
    member.subscribe(1, &trial.topic("a/*"));
    member.subscribe(2, &trial.topic("**"));
    member.subscribe(3, &trial.topic("a/c"));
    member.subscribe(4, &trial.topic("a/b"));
    let published = trial.publish(vec![to(&trial.topic("a/b"), "x")]);
    published.expect("a message is published");
    let taken = member.take(4);
    let mut slots: Vec<u32> = taken.iter().map(|taken| taken.slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2, 4]);
    assert_eq!(taken[0].message.destination(), trial.topic("a/b"));
    member.nothing();
}

pub(super) fn what_needs_no_settling_has_no_tag(trial: &Trial<'_>) {
    let member = trial.open();
    member.subscribe(0, &trial.topic("a"));
    member.subscribe_as(1, &trial.topic("a"), AckMode::Client, 10);
    trial.send(&trial.topic("a"), &["x"]);
    for taken in member.take(2) {
        assert_eq!(taken.tag == 0, taken.slot == 0, "{taken:?}");
        assert_eq!(taken.redeliveries, 0);
    }
}

pub(super) fn a_batch_ends_at_the_first_that_is_refused(trial: &Trial<'_>) {
    let member = trial.open();
    let topic = trial.topic("a");
    member.subscribe(0, &topic);
    let batch = vec![
        to(&topic, "1"),
        to(&topic, "2"),
        to(&trial.nowhere(), "3"),
        to(&topic, "4"),
    ];
    let refused = trial.publish(batch).expect_err("the third is refused");
    assert_eq!(refused.done, 2);
    let rest: Vec<&[u8]> = refused.rest.iter().map(|publish| &*publish.body).collect();
    assert_eq!(rest, [b"4"], "what is behind it is given back");
    assert!(matches!(
        refused.error,
        PublishError::UnknownDestination { .. }
    ));
    assert_eq!(member.bodies(2), ["1", "2"]);
    member.nothing();
}

pub(super) fn a_subscriber_that_takes_nothing_stops_nobody(trial: &Trial<'_>) {
    let topic = trial.topic("a");
    let (slow, other) = (trial.open_slow(1_000), trial.open());
    slow.subscribe(0, &topic);
    other.subscribe(0, &topic);
    let large = "x".repeat(300);
    trial.send(&topic, &[large.as_str(); 10]);
    assert_eq!(other.take(10).len(), 10);
    slow.ending();
    slow.close();
    trial.send(&topic, &["on it goes"]);
    assert_eq!(other.bodies(1), ["on it goes"]);
}

pub(super) fn a_topic_that_is_acknowledged_is_a_window(trial: &Trial<'_>) {
    let topic = trial.topic("a");
    let member = trial.open();
    member.subscribe_as(0, &topic, AckMode::Client, 2);
    trial.send(&topic, &["1", "2", "3", "4"]);
    let first = member.take(2);
    member.nothing();
    member.settled(&first[1], Outcome::Accepted);
    let second = member.take(2);
    assert_eq!([body(&second[0]), body(&second[1])], ["3", "4"]);
    member.settled(&second[0], Outcome::Released);
    member.nothing();
}
