//! Sources: the activations that the engine receives, and the receivers of messages.

use std::thread;

use tramline_broker::{Feed, Pattern, Position, PublishError, Source, SubscribeError, Subscribed};

use crate::harsh::Harsh;
use crate::manual::{Call, Manual};
use crate::support::{NodeSession, body, message, now, send, until, wait};

const ROOM: &str = "/topic/room";

fn overlapping(change: impl Fn(Harsh) -> Harsh) {
    let ([here, there], _engines) = Harsh::nodes(change);
    let session = NodeSession::open(&here);
    let patterns = ["/topic/a/b", "/topic/a/*", "/topic/**", "/topic/a/c"];
    for (slot, pattern) in (0..).zip(patterns) {
        session.subscribe(slot, pattern);
    }
    send(&there, "/topic/a/b", "1");
    send(&there, "/topic/a/c", "2");
    let taken = session.take(6);
    let of = |text| {
        let own = taken.iter().filter(|delivery| body(delivery) == text);
        let mut slots: Vec<u32> = own.map(|delivery| delivery.slot).collect();
        slots.sort_unstable();
        slots
    };
    assert_eq!((of("1"), of("2")), (vec![0, 1, 2], vec![1, 2, 3]));
    wait(session.hub.unsubscribe(session.id, 1)).unwrap();
    send(&there, "/topic/a/b", "3");
    let slots: Vec<u32> = session.take(2).iter().map(|taken| taken.slot).collect();
    assert!(!slots.contains(&1), "{slots:?}");
    send(&there, "/topic/z", "the next");
    assert_eq!(session.bodies(1), ["the next"]);
}

#[test]
fn overlapping_patterns_deliver_once_each() {
    overlapping(|engine| engine);
}

#[test]
fn overlapping_patterns_deliver_once_each_where_one_feed_brings_all() {
    overlapping(Harsh::wide);
}

#[test]
fn a_late_message_for_an_ended_source_reaches_nobody() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let deliver = |feed| engine.local().deliver(Feed(feed), vec![message(ROOM, "x")]);
    let first = session.subscribing(0, ROOM);
    assert_eq!(deliver(7), Ok(0), "it is not active");
    engine.activation().confirm(Feed(7));
    wait(first).unwrap();
    assert_eq!(deliver(7), Ok(1));
    wait(hub.unsubscribe(session.id, 0)).unwrap();
    assert_eq!(deliver(7), Ok(0));
    assert!(matches!(engine.next(), Call::Deactivate(_)));

    let again = session.subscribing(1, ROOM);
    assert_eq!(deliver(7), Ok(0), "the next life is not active");
    engine.activation().confirm(Feed(8));
    wait(again).unwrap();
    assert_eq!((deliver(7), deliver(8)), (Ok(0), Ok(1)));
}

#[test]
fn those_who_join_while_the_answer_is_pending_share_it() {
    let (hub, engine) = Manual::hub();
    let (one, two) = (NodeSession::open(&hub), NodeSession::open(&hub));
    let mut pending = [one.subscribing(0, ROOM), two.subscribing(0, ROOM)];
    assert_eq!(engine.names(), ["activate"], "the engine is asked once");
    assert!(pending.iter_mut().all(|pending| now(pending).is_none()));
    engine.activation().confirm(Feed(7));
    for pending in pending {
        wait(pending).unwrap();
    }
    two.subscribe(1, ROOM);
    let delivered = engine.local().deliver(Feed(7), vec![message(ROOM, "x")]);
    assert_eq!(delivered, Ok(3));

    wait(hub.unsubscribe(one.id, 0)).unwrap();
    wait(hub.unsubscribe(two.id, 0)).unwrap();
    assert!(engine.names().is_empty(), "it still has a subscriber");
    hub.close(two.id);
    assert_eq!(engine.names(), ["deactivate"]);
}

#[test]
fn a_later_subscription_to_an_active_source_does_not_get_its_start() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let pending = [0, 1].map(|slot| session.subscribing(slot, ROOM));
    let (epoch, sequence) = (1, 5);
    let start = Subscribed::after(Position { epoch, sequence });
    engine.activation().confirm_at(Feed(7), start.clone());
    for pending in pending {
        assert_eq!(wait(pending), Ok(start.clone()));
    }
    let later = wait(session.subscribing(2, ROOM));
    assert_eq!(later, Ok(Subscribed::default()), "its start is not known");
}

#[test]
fn those_who_share_an_answer_are_all_refused_by_it() {
    let (hub, engine) = Manual::hub();
    let (one, two) = (NodeSession::open(&hub), NodeSession::open(&hub));
    let pending = [one.subscribing(0, ROOM), two.subscribing(0, ROOM)];
    let reason = "no such room".into();
    let refused = SubscribeError::Refused { reason };
    engine.activation().refuse(refused.clone());
    for pending in pending {
        assert_eq!(wait(pending), Err(refused.clone()));
    }
    wait(hub.unsubscribe(one.id, 0)).unwrap();
    hub.close(two.id);
    assert!(engine.names().is_empty(), "there is nothing to end");
    let again = one.subscribing(1, ROOM);
    engine.activation().confirm(Feed(7));
    wait(again).unwrap();
}

#[test]
fn a_source_may_end_before_its_answer() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let first = session.subscribing(0, ROOM);
    let late = engine.activation();
    wait(hub.unsubscribe(session.id, 0)).unwrap();
    assert_eq!(wait(first), Err(SubscribeError::OutcomeUnknown));
    let source = late.source().clone();
    assert!(matches!(engine.next(), Call::Deactivate(ended) if ended == source));

    let second = session.subscribing(1, ROOM);
    engine.activation().confirm(Feed(8));
    wait(second).unwrap();
    late.confirm(Feed(7));
    let deliver = |feed| engine.local().deliver(Feed(feed), vec![message(ROOM, "x")]);
    let delivered = (deliver(7), deliver(8));
    assert_eq!(delivered, (Ok(0), Ok(1)), "the late answer is of no matter");
}

#[test]
fn a_late_refusal_does_not_end_the_next_life() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let first = session.subscribing(0, ROOM);
    let late = engine.activation();
    drop(first);
    wait(hub.unsubscribe(session.id, 0)).unwrap();
    assert!(matches!(engine.next(), Call::Deactivate(_)));
    let second = session.subscribing(1, ROOM);
    late.refuse(SubscribeError::BrokerUnavailable);
    engine.activation().confirm(Feed(8));
    wait(second).unwrap();
}

#[test]
fn a_session_that_closes_while_the_engine_is_called_leaves_nothing_there() {
    let (hub, engine) = Manual::hub();
    for (destination, expected) in [
        (ROOM, ["activate", "deactivate"]),
        ("/queue/a", ["consume", "cancel"]),
    ] {
        let session = NodeSession::open(&hub);
        let (came, go_on) = engine.stop();
        let meanwhile = thread::scope(|scope| {
            let subscribing = scope.spawn(|| session.subscribing(0, destination));
            came.recv().unwrap();
            hub.close(session.id);
            let meanwhile = engine.names();
            go_on.send(()).unwrap();
            drop(subscribing.join().unwrap());
            meanwhile
        });
        assert!(meanwhile.is_empty(), "calls come one by one: {meanwhile:?}");
        assert_eq!(engine.names(), expected);
        drop((engine.next(), engine.next()));
    }
}

#[test]
fn a_source_that_is_left_and_joined_at_once_stays_with_its_subscribers() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let session = NodeSession::open(&here);
                for slot in 0..200 {
                    session.subscribe(slot, ROOM);
                    drop(here.unsubscribe(session.id, slot));
                }
            });
        }
    });
    let session = NodeSession::open(&here);
    session.subscribe(0, ROOM);
    send(&there, ROOM, "x");
    assert_eq!(session.bodies(1), ["x"]);
    here.close(session.id);
    let left = || !engines[0].has_source(|source| matches!(source, Source::Pattern(_)));
    until(|| left().then_some(()));
}

#[test]
fn a_refused_opening_closes_the_session() {
    let (hub, engine) = Manual::hub_asked_for_sessions();
    let session = NodeSession::new(&hub, 1_000);
    let opening = session.opening(Some("ann"));
    assert_eq!((hub.sessions(), hub.registered()), (0, 1));
    engine.activation().confirm(Feed(7));
    let of_user = engine.activation();
    assert_eq!(*of_user.source(), Source::User("ann".into()));
    of_user.refuse(SubscribeError::BrokerUnavailable);
    let error = wait(opening).unwrap_err();
    assert_eq!(error, tramline_broker::OpenError::BrokerUnavailable);
    assert_eq!((hub.sessions(), hub.registered()), (0, 0));
    let ended = engine.next();
    assert!(matches!(ended, Call::Deactivate(source) if source == Source::Session(session.id)));
}

#[test]
fn a_destination_too_many_does_not_keep_others_from_their_messages() {
    let (hub, engine) = Manual::hub_of_destinations(1);
    let session = NodeSession::open(&hub);
    for (slot, pattern) in [(0, ROOM), (1, "/topic/new/*")] {
        let subscribing = session.subscribing(slot, pattern);
        engine.activation().confirm(Feed(7));
        wait(subscribing).unwrap();
    }
    let batch = [
        ("/topic/new/1", "1"),
        ("/topic/new/1", "2"),
        (ROOM, "3"),
        ("/topic/new/2", "4"),
        (ROOM, "5"),
    ];
    let batch = batch.map(|(destination, body)| message(destination, body));
    let delivered = engine.local().deliver(Feed(7), batch.into());
    let too_many = PublishError::TooManyDestinations { limit: 1 };
    assert_eq!(delivered, Err(too_many));
    assert_eq!(session.bodies(2), ["3", "5"]);
    let all = Pattern::parse("/**").unwrap();
    assert_eq!(hub.statistics(&all, 1).totals.refused, 3);
}

#[test]
fn what_is_delivered_here_reaches_the_subscribers_of_any_feed_and_no_other_node() {
    let ([here, there], _engines) = Harsh::nodes(|engine| engine);
    let (session, other) = (NodeSession::open(&here), NodeSession::open(&there));
    session.subscribe(0, ROOM);
    session.subscribe(1, "/topic/*");
    other.subscribe(0, ROOM);
    assert!(here.is_topic_of_nodes(ROOM) && !here.is_topic_of_nodes("/queue/a"));
    assert_eq!(here.deliver_here(message(ROOM, "here")), 2);
    assert_eq!(here.deliver_here(message("/queue/a", "here")), 0);
    send(&here, ROOM, "all");
    let taken = session.take(4);
    let here: Vec<_> = taken.iter().filter(|taken| body(taken) == "here").collect();
    assert!(here.len() == 2 && here.iter().all(|taken| taken.message.position().is_none()));
    assert_eq!(other.bodies(1), ["all"]);
}
