//! A link that is lost and comes back, an engine that refuses, and outboxes without room.

use tramline_broker::{
    DeliveryRef, PublishError, Refused, SettleError, SubscribeError, Token, Transaction,
};

use crate::harsh::Harsh;
use crate::manual::{Call, Manual};
use crate::support::{NOW, NodeSession, Seen, accepting, body, message, now, send, until, wait};

const ROOM: &str = "/topic/room";
const QUEUE: &str = "/queue/a";

#[test]
fn what_a_lost_link_had_comes_back_redelivered() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let session = NodeSession::open(&here);
    session.subscribe(0, QUEUE);
    for text in ["1", "2", "3"] {
        send(&there, QUEUE, text);
    }
    let before = session.take(2);
    wait(session.settling(&before[0])).unwrap();
    until(|| (session.outbox.queued_bytes() > 0).then_some(()));

    engines[0].lose();
    assert_eq!(
        session.outbox.queued_bytes(),
        0,
        "3 was not written, and is withdrawn"
    );
    let unknown = |tag| {
        Err(SettleError::UnknownDelivery {
            delivery: DeliveryRef::Tag(tag),
        })
    };
    assert_eq!(wait(session.settling(&before[1])), unknown(before[1].tag));

    engines[0].restore();
    let after = session.take(2);
    let seen = |n: usize| (body(&after[n]), after[n].redeliveries, after[n].slot);
    assert_eq!(seen(0), ("2".to_owned(), 1, 0));
    assert_eq!(seen(1), ("3".to_owned(), 1, 0));
    assert_eq!(wait(session.settling(&before[1])), unknown(before[1].tag));
    for delivery in &after {
        wait(session.settling(delivery)).unwrap();
    }
    send(&there, QUEUE, "4");
    assert_eq!(session.bodies(1), ["4"]);
}

#[test]
fn what_a_lost_link_had_goes_to_other_nodes() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let (lost, other) = (NodeSession::open(&here), NodeSession::open(&there));
    lost.subscribe(0, QUEUE);
    send(&there, QUEUE, "1");
    lost.take(1);
    other.subscribe(0, QUEUE);
    engines[0].lose();
    let taken = other.take(1);
    assert_eq!(
        (body(&taken[0]), taken[0].redeliveries),
        ("1".to_owned(), 1)
    );
}

#[test]
fn subscriptions_outlive_a_lost_link() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let seen = Seen::of(&here);
    let session = NodeSession::open_user(&here, "ann");
    session.subscribe(0, ROOM);
    session.subscribe(1, "/topic/*");
    engines[0].lose();
    seen.ends_with(&["available false"]);
    assert!(!here.is_available() && there.is_available());
    send(&there, ROOM, "missed");
    let refused = session.subscribing(2, "/topic/other");
    assert_eq!(wait(refused), Err(SubscribeError::BrokerUnavailable));
    let refused = session.subscribing(3, QUEUE);
    assert_eq!(wait(refused), Err(SubscribeError::BrokerUnavailable));
    wait(here.unsubscribe(session.id, 1)).unwrap();

    engines[0].restore();
    assert!(here.is_available());
    send(&there, ROOM, "seen");
    assert_eq!(session.bodies(1), ["seen"]);
    let known = until(|| there.remote_member(session.id));
    assert_eq!(known.subscriptions.len(), 1);
    session.subscribe(2, "/topic/other");
}

#[test]
fn what_is_under_way_when_a_link_is_lost_is_unknown_and_the_rest_unavailable() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let (session, other) = (NodeSession::open(&here), NodeSession::open(&there));
    session.subscribe(0, QUEUE);
    other.subscribe(0, ROOM);
    send(&here, QUEUE, "1");
    let taken = session.take(1);
    engines[0].hold();
    let publish = || here.publish(vec![message(ROOM, "x")], NOW);
    let commit = || {
        let publishes = vec![message(ROOM, "y")];
        here.commit(session.id, Transaction::new(Vec::new(), publishes), NOW)
    };
    let (mut published, mut committed) = (publish(), commit());
    let mut settled = session.settling(&taken[0]);
    let (mut topic, mut queue) = (session.subscribing(1, ROOM), session.subscribing(2, QUEUE));
    until(|| (engines[0].held() == 5).then_some(()));
    assert!(now(&mut published).is_none() && now(&mut committed).is_none());

    engines[0].lose();
    let unknown = PublishError::OutcomeUnknown;
    assert_eq!(wait(published), Err(Refused::new(0, unknown.clone())));
    assert_eq!(wait(committed), Err(unknown.into()));
    assert_eq!(now(&mut settled), Some(Err(SettleError::OutcomeUnknown)));
    assert_eq!(now(&mut topic), Some(Err(SubscribeError::OutcomeUnknown)));
    assert_eq!(now(&mut queue), Some(Err(SubscribeError::OutcomeUnknown)));
    let unavailable = PublishError::BrokerUnavailable;
    assert_eq!(
        wait(publish()),
        Err(Refused::new(0, unavailable.clone()).named(ROOM))
    );
    assert_eq!(wait(commit()), Err(unavailable.into()));
    assert_eq!(other.bodies(2), ["x", "y"], "it was done, once");
    engines[0].restore();
    send(&here, ROOM, "z");
    assert_eq!(other.bodies(1), ["z"]);
}

#[test]
fn answers_that_come_late_still_count() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let session = NodeSession::open(&here);
    engines[0].hold();
    let (mut topic, mut queue) = (session.subscribing(0, ROOM), session.subscribing(1, QUEUE));
    until(|| (engines[0].held() == 2).then_some(()));
    send(&there, ROOM, "too early");
    send(&there, QUEUE, "1");
    assert!(now(&mut topic).is_none() && now(&mut queue).is_none());
    engines[0].release();
    wait(topic).unwrap();
    wait(queue).unwrap();
    send(&there, ROOM, "2");
    let mut bodies = session.bodies(2);
    bodies.sort_unstable();
    assert_eq!(bodies, ["1", "2"]);
}

#[test]
fn what_the_engine_refuses_is_refused() {
    let ([here, _there], engines) = Harsh::nodes(|engine| engine);
    let session = NodeSession::open(&here);
    engines[0].refuse();
    let reason = || "not today".into();
    let refused = Err(SubscribeError::Refused { reason: reason() });
    assert_eq!(wait(session.subscribing(0, ROOM)), refused);
    assert_eq!(wait(session.subscribing(1, QUEUE)), refused);
    let refused = PublishError::Refused { reason: reason() };
    let published = wait(here.publish(vec![message(ROOM, "x")], NOW));
    assert_eq!(published, Err(Refused::new(0, refused).named(ROOM)));
    let member = here.member(session.id).unwrap();
    assert!(member.subscriptions(|_, _| true).is_empty());
    let refused = wait(NodeSession::new(&here, 1_000).opening(None)).unwrap_err();
    assert!(matches!(
        refused,
        tramline_broker::OpenError::Refused { .. }
    ));
    assert_eq!(here.sessions(), 1);
}

#[test]
fn credit_is_free_as_soon_as_the_engine_has_committed() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let consumer = engine.filled(&session, QUEUE);
    let credit = u64::from(consumer.credit().get());
    let deliver = |token| engine.deliver(&consumer, token);
    assert!(!deliver(credit));
    let taken = session.take(2);
    let settles = taken.iter().map(accepting).collect();
    let committed = hub.commit(session.id, Transaction::new(settles, Vec::new()), NOW);
    let Call::Commit(promise) = engine.next() else {
        panic!("it is asked to commit");
    };
    assert!(deliver(credit + 1) && deliver(credit + 2) && !deliver(credit + 3));
    promise.keep(Ok(Default::default()));
    wait(committed).unwrap();
    assert!(!deliver(credit + 4), "its place is taken");
}

#[test]
fn room_that_a_withdrawal_makes_is_for_the_other_consumers() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::new(&hub, 1_000);
    wait(session.opening(None)).unwrap();
    let consumers = [0, 1].map(|slot| {
        drop(session.subscribing(slot, QUEUE));
        match engine.next() {
            Call::Consume(consumer, promise) => {
                promise.keep(Ok(Default::default()));
                consumer
            }
            other => panic!("{other:?}"),
        }
    });
    for (n, consumer) in (0..).zip(&consumers) {
        let sent = message(QUEUE, &"x".repeat(800));
        assert!(consumer.deliver(Token(n), engine.local().message(sent), 0));
    }
    consumers[0].void();
    assert_eq!(session.take(1)[0].slot, 1);
}
