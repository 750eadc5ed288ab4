//! Requests that are never answered: their outcome is unknown, and no wait is endless.

use tramline_broker::{
    CommitError, Feed, OpenError, PublishError, Refused, SettleError, SubscribeError, Timestamp,
    Token, Transaction, UnsubscribeError,
};

use crate::manual::{Call, Manual};
use crate::support::{NOW, NodeSession, Seen, TOO_LATE, accepting, message, now, wait};

const ROOM: &str = "/topic/room";
const QUEUE: &str = "/queue/a";

/// Returns a consumer with one delivery.
fn consumer() -> (
    NodeSession,
    std::sync::Arc<Manual>,
    tramline_broker::Delivery,
) {
    let (hub, engine) = Manual::hub();
    hub.sweep(NOW);
    let session = NodeSession::open(&hub);
    let subscribing = session.subscribing(0, QUEUE);
    let Call::Consume(consumer, promise) = engine.next() else {
        panic!("a queue is consumed");
    };
    promise.keep(Ok(Default::default()));
    wait(subscribing).unwrap();
    let sent = engine.local().message(message(QUEUE, "x"));
    assert!(consumer.deliver(Token(5), sent, 0));
    let delivery = session.take(1).remove(0);
    (session, engine, delivery)
}

#[test]
fn a_publish() {
    let (hub, engine) = Manual::hub();
    let unknown = Err(Refused::new(0, PublishError::OutcomeUnknown));
    let mut silent = hub.publish(vec![message(ROOM, "x")], NOW);
    let Call::Publish(late) = engine.next() else {
        panic!("it is asked to publish");
    };
    hub.sweep(NOW);
    assert!(now(&mut silent).is_none());
    hub.sweep(TOO_LATE);
    assert_eq!(now(&mut silent), Some(unknown.clone()));
    late.keep(Ok(Default::default()));

    let mut dropped = hub.publish(vec![message(ROOM, "x")], TOO_LATE);
    drop(engine.next());
    assert_eq!(now(&mut dropped), Some(unknown));
}

#[test]
fn a_subscription_to_a_topic() {
    let (hub, engine) = Manual::hub();
    hub.sweep(NOW);
    let (one, two) = (NodeSession::open(&hub), NodeSession::open(&hub));
    let mut silent = [one.subscribing(0, ROOM), two.subscribing(0, ROOM)];
    let late = engine.activation();
    hub.sweep(TOO_LATE);
    for silent in &mut silent {
        assert_eq!(now(silent), Some(Err(SubscribeError::OutcomeUnknown)));
    }
    assert_eq!(engine.names(), ["deactivate"], "the engine may have it");
    late.confirm(Feed(7));
    let delivered = engine.local().deliver(Feed(7), vec![message(ROOM, "x")]);
    assert_eq!(delivered, Ok(0), "the client was told that it has none");
    let described = hub.member(one.id).unwrap();
    assert_eq!(described.subscriptions(|_, _| true), []);
    drop(engine.next());

    let mut dropped = one.subscribing(1, ROOM);
    drop(engine.activation());
    assert_eq!(now(&mut dropped), Some(Err(SubscribeError::OutcomeUnknown)));
}

#[test]
fn a_subscription_to_a_queue() {
    let (hub, engine) = Manual::hub();
    hub.sweep(NOW);
    let session = NodeSession::open(&hub);
    let mut silent = session.subscribing(0, QUEUE);
    let Call::Consume(consumer, late) = engine.next() else {
        panic!("a queue is consumed");
    };
    hub.sweep(TOO_LATE);
    assert_eq!(now(&mut silent), Some(Err(SubscribeError::OutcomeUnknown)));
    assert_eq!(engine.names(), ["cancel"], "the engine may have it");
    late.keep(Ok(Default::default()));
    let sent = engine.local().message(message(QUEUE, "x"));
    assert!(!consumer.deliver(Token(1), sent, 0));
}

#[test]
fn an_end_of_a_subscription() {
    let (session, engine, _delivery) = consumer();
    let mut silent = session.hub.unsubscribe(session.id, 0);
    let Call::Cancel(late) = engine.next() else {
        panic!("it is asked to cancel");
    };
    session.hub.sweep(NOW);
    assert_eq!(now(&mut silent), None);
    session.hub.sweep(TOO_LATE);
    assert_eq!(now(&mut silent), Some(Err(UnsubscribeError)));
    late.keep(Ok(()));

    let (session, engine, _delivery) = consumer();
    let mut dropped = session.hub.unsubscribe(session.id, 0);
    drop(engine.next());
    assert_eq!(now(&mut dropped), Some(Err(UnsubscribeError)));
}

#[test]
fn a_settlement() {
    let (session, engine, delivery) = consumer();
    let mut silent = session.settling(&delivery);
    let _kept = engine.next();
    session.hub.sweep(TOO_LATE);
    assert_eq!(now(&mut silent), Some(Err(SettleError::OutcomeUnknown)));

    let (session, engine, delivery) = consumer();
    let mut dropped = session.settling(&delivery);
    drop(engine.next());
    assert_eq!(now(&mut dropped), Some(Err(SettleError::OutcomeUnknown)));
}

#[test]
fn a_settlement_that_nobody_waits_for_is_counted_and_observed() {
    let (session, engine, delivery) = consumer();
    let hub = &session.hub;
    let seen = Seen::of(hub);
    let failed = || {
        let all = tramline_broker::Pattern::parse("/**").unwrap();
        hub.statistics(&all, 0).totals.settlements_failed
    };
    let settle = || hub.settle_unawaited(session.id, accepting(&delivery));
    settle();
    let Call::Settle(promise) = engine.next() else {
        panic!("it is asked to settle");
    };
    promise.keep(Err(SettleError::BrokerUnavailable));
    settle();
    assert!(
        engine.names().is_empty(),
        "there is no such delivery any more"
    );
    hub.sweep(NOW);
    assert_eq!(failed(), 1);
    assert_eq!(seen.all(), ["not settled: the broker is not available"]);

    let consumer = engine.filled_at(&session, 1, QUEUE);
    let delivery = session.take(1).remove(0);
    assert_eq!(delivery.slot, consumer.slot());
    hub.settle_unawaited(session.id, accepting(&delivery));
    let _silent = engine.next();
    hub.sweep(NOW);
    assert_eq!(failed(), 1);
    hub.sweep(TOO_LATE);
    assert_eq!(failed(), 2);
    let unknown = format!("not settled: {}", SettleError::OutcomeUnknown);
    assert_eq!(seen.all().last(), Some(&unknown));
}

#[test]
fn a_commit() {
    let (session, engine, delivery) = consumer();
    let unknown = CommitError::Publish(PublishError::OutcomeUnknown);
    let commit = |at| {
        let transaction = Transaction::new(vec![accepting(&delivery)], Vec::new());
        session.hub.commit(session.id, transaction, at)
    };
    let mut silent = commit(NOW);
    let _kept = engine.next();
    session.hub.sweep(TOO_LATE);
    assert_eq!(now(&mut silent), Some(Err(unknown.clone())));
    let mut dropped = commit(TOO_LATE);
    drop(engine.next());
    assert_eq!(now(&mut dropped), Some(Err(unknown)));
}

#[test]
fn an_opening() {
    let (hub, engine) = Manual::hub_asked_for_sessions();
    hub.sweep(NOW);
    let session = NodeSession::new(&hub, 1_000);
    let mut silent = session.opening(Some("ann"));
    let _kept = engine.activation();
    hub.sweep(TOO_LATE);
    assert_eq!(now(&mut silent), Some(Err(OpenError::OutcomeUnknown)));
    assert_eq!((hub.sessions(), hub.users().len()), (0, 0));
}

#[test]
fn no_time_passes_before_somebody_says_it() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let mut silent = session.subscribing(0, ROOM);
    let _kept = engine.activation();
    hub.sweep(NOW);
    let almost = Timestamp::from_millis(TOO_LATE.as_millis() - 2_000);
    hub.sweep(almost);
    assert!(
        now(&mut silent).is_none(),
        "it has waited for less than 30 s"
    );
    hub.sweep(TOO_LATE);
    assert_eq!(now(&mut silent), Some(Err(SubscribeError::OutcomeUnknown)));
}

#[test]
fn a_commit_that_failed_takes_its_deliveries_up_again() {
    let (session, engine, delivery) = consumer();
    let transaction = Transaction::new(vec![accepting(&delivery)], Vec::new());
    let mut commit = session.hub.commit(session.id, transaction, NOW);
    let Call::Commit(promise) = engine.next() else {
        panic!("it is asked to commit");
    };
    promise.keep(Err(PublishError::BrokerUnavailable.into()));
    let error = now(&mut commit).unwrap().unwrap_err();
    assert_eq!(error, PublishError::BrokerUnavailable.into());
    let settling = session.settling(&delivery);
    let Call::Settle(promise) = engine.next() else {
        panic!("it is asked to settle");
    };
    promise.keep(Ok(()));
    wait(settling).unwrap();
}

#[test]
fn a_commit_of_unknown_outcome_leaves_room_for_what_the_engine_sends_after_it() {
    for unknown in [
        CommitError::Publish(PublishError::OutcomeUnknown),
        CommitError::Settle(SettleError::OutcomeUnknown),
    ] {
        let (hub, engine) = Manual::hub();
        let session = NodeSession::open(&hub);
        let consumer = engine.filled(&session, QUEUE);
        let credit = u64::from(consumer.credit().get());
        let settles = session.take(2).iter().map(accepting).collect();
        let mut commit = hub.commit(session.id, Transaction::new(settles, Vec::new()), NOW);
        let Call::Commit(promise) = engine.next() else {
            panic!("it is asked to commit");
        };
        promise.keep(Err(unknown.clone()));
        assert_eq!(now(&mut commit), Some(Err(unknown)));
        let delivered = [0, 1, 2].map(|more| engine.deliver(&consumer, credit + more));
        assert_eq!(delivered, [true, true, false]);
    }
}
