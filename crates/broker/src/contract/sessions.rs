//! The contract's clauses about sessions, their ends, and messages to users and sessions.

use super::member::{Trial, body, to, to_session, to_user};
use crate::AckMode;
use crate::errors::{CommitError, PublishError, SubscribeError};
use crate::request::{DeliveryRef, Outcome};
use crate::session_id::SessionId;

const PATH: &str = "/queue/errors";

pub(super) fn what_is_not_served_is_refused(trial: &Trial<'_>) {
    let nowhere = trial.nowhere();
    let member = trial.open();
    let answer = member.try_subscribe(0, &nowhere, AckMode::Auto, 1);
    assert!(matches!(
        answer,
        Err(SubscribeError::UnknownDestination { .. })
    ));
    let refused = trial.publish(vec![to(&nowhere, "x")]);
    let refused = refused.expect_err("nobody carries it");
    assert_eq!(refused.done, 0);
    assert!(matches!(
        refused.error,
        PublishError::UnknownDestination { .. }
    ));
    let refused = member.commit(Vec::new(), vec![to(&nowhere, "x")]);
    assert!(matches!(
        refused,
        Err(CommitError::Publish(
            PublishError::UnknownDestination { .. }
        ))
    ));
}

pub(super) fn who_is_not_open_is_refused(trial: &Trial<'_>) {
    let member = trial.open();
    member.close();
    for destination in [trial.topic("a"), trial.queue("a")] {
        let answer = member.try_subscribe(0, &destination, AckMode::Auto, 1);
        let session = member.id;
        assert_eq!(answer, Err(SubscribeError::UnknownSession { session }));
    }
    let delivery = DeliveryRef::Tag(1);
    assert!(member.settle(0, delivery, Outcome::Accepted).is_err());
}

pub(super) fn nothing_comes_after_unsubscribe(trial: &Trial<'_>) {
    let (topic, queue) = (trial.topic("a"), trial.queue("a"));
    let member = trial.open();
    member.subscribe(0, &topic);
    member.subscribe(1, &trial.topic("*"));
    member.subscribe(2, &queue);
    member.subscribe_as(3, &topic, AckMode::Client, 1);
    member.subscribe_user(4, PATH);
    for slot in 0..5 {
        member.unsubscribe(slot);
    }
    trial.send(&topic, &["1"]);
    trial.send(&queue, &["1"]);
    let published = trial.publish(vec![to_session(member.id, PATH, "1")]);
    assert_eq!(published.map(|published| published.local_receivers), Ok(0));
    member.nothing();
}

pub(super) fn nothing_comes_after_close(trial: &Trial<'_>) {
    let (topic, queue) = (trial.topic("a"), trial.queue("a"));
    let member = trial.open_user(&trial.user("ann"));
    member.subscribe(0, &topic);
    member.subscribe(1, &queue);
    member.subscribe_as(2, &trial.topic("*"), AckMode::Client, 1);
    member.subscribe_user(3, PATH);
    trial.close(member.id);
    trial.send(&topic, &["1"]);
    trial.send(&queue, &["1"]);
    let batch = vec![
        to_session(member.id, PATH, "1"),
        to_user(&trial.user("ann"), PATH, "1"),
    ];
    let published = trial.publish(batch);
    assert_eq!(published.map(|published| published.local_receivers), Ok(0));
    member.nothing();
    let other = trial.open();
    other.subscribe(0, &queue);
    assert_eq!(other.bodies(1), ["1"]);
}

pub(super) fn a_users_messages_reach_all_sessions_of_the_user(trial: &Trial<'_>) {
    let (ann, bob) = (trial.user("ann"), trial.user("bob"));
    let (desk, phone) = (trial.open_user(&ann), trial.open_user(&ann));
    let (other, nobody) = (trial.open_user(&bob), trial.open());
    for member in [&desk, &phone, &other, &nobody] {
        member.subscribe_user(0, PATH);
    }
    desk.subscribe_user(1, "/queue/other");
    let hello = to_user(&ann, PATH, "hello").shown_as("/user/queue/errors");
    trial.publish(vec![hello]).expect("a user may be sent to");
    for member in [&desk, &phone] {
        let taken = member.take(1);
        assert_eq!((taken[0].slot, body(&taken[0])), (0, "hello".to_owned()));
        assert_eq!(taken[0].message.destination(), "/user/queue/errors");
    }
    for member in [&desk, &phone, &other, &nobody] {
        member.nothing();
    }
    let nobody_is = to_user(&trial.user("eve"), PATH, "lost");
    trial
        .publish(vec![nobody_is])
        .expect("who is not there is no error");
}

pub(super) fn a_sessions_messages_reach_it_alone(trial: &Trial<'_>) {
    let ann = trial.user("ann");
    let (desk, phone) = (trial.open_user(&ann), trial.open_user(&ann));
    desk.subscribe_user(0, PATH);
    phone.subscribe_user(0, PATH);
    let batch = vec![
        to_session(desk.id, PATH, "1"),
        to_session(desk.id, "/queue/other", "2"),
        to_session(SessionId::random(), PATH, "3"),
        to_session(desk.id, PATH, "4"),
    ];
    trial.publish(batch).expect("sessions may be sent to");
    assert_eq!(desk.bodies(2), ["1", "4"]);
    desk.nothing();
    phone.nothing();
}

pub(super) fn ending_what_is_not_there_is_ignored(trial: &Trial<'_>) {
    let member = trial.open();
    member.subscribe(0, &trial.topic("a"));
    member.unsubscribe(7);
    trial.close(SessionId::random());
    trial.send(&trial.topic("a"), &["1"]);
    assert_eq!(member.bodies(1), ["1"]);
    trial.close(member.id);
    trial.close(member.id);
    member.unsubscribe(0);
}
