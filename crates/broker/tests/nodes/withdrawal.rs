//! What an engine can no longer deliver: its subscriptions end, or go on with a gap.

use tramline_broker::{
    Control, DeliveryRef, Ending, Feed, Gap, OpenError, Position, SettleError, Source,
    SubscribeError,
};

use crate::harsh::Harsh;
use crate::manual::{Call, Manual};
use crate::support::{NodeSession, message, now, send, until, wait};

const ROOM: &str = "/topic/room";
const QUEUE: &str = "/queue/a";

/// The slot of the subscription that `session` is told has ended, and the reason.
fn ended(session: &NodeSession) -> (u32, String) {
    match session.control() {
        Control::SubscriptionEnded {
            subscription,
            reason,
        } => (subscription.slot, reason.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_source_that_a_restored_link_is_refused_ends_for_its_subscribers() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let (ann, bob) = (
        NodeSession::open_user(&here, "ann"),
        NodeSession::open(&here),
    );
    ann.subscribe(0, "/topic/other");
    ann.subscribe(1, ROOM);
    bob.subscribe(0, ROOM);
    send(&there, ROOM, "before");
    until(|| (bob.outbox.queued_bytes() > 0).then_some(()));
    engines[0].lose();
    engines[0].restore_without(ROOM);

    let reason = format!("{ROOM} was refused");
    assert_eq!(ended(&ann), (1, reason.clone()));
    assert_eq!(ended(&bob), (0, reason));
    assert_eq!(bob.bodies(1), ["before"], "it can still be written");
    let subscriptions = |session: &NodeSession| {
        let member = here.member(session.id).unwrap();
        member.subscriptions(|_, _| true).len()
    };
    assert_eq!((subscriptions(&ann), subscriptions(&bob)), (1, 0));
    until(|| (there.remote_member(ann.id)?.subscriptions.len() == 1).then_some(()));

    // The next subscription asks the engine anew.
    bob.subscribe(1, ROOM);
    send(&there, ROOM, "after");
    let taken = bob.take(1);
    assert_eq!(taken[0].slot, 1);
    wait(here.unsubscribe(bob.id, 1)).unwrap();
    until(|| (!engines[0].has_source(|source| source.to_string() == ROOM)).then_some(()));
}

#[test]
fn a_consumer_that_a_restored_link_is_refused_ends() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let session = NodeSession::open(&here);
    session.subscribe(0, QUEUE);
    send(&there, QUEUE, "1");
    let taken = session.take(1);
    engines[0].lose();
    engines[0].restore_without(QUEUE);
    assert_eq!(ended(&session), (0, format!("{QUEUE} was refused")));
    let delivery = DeliveryRef::Tag(taken[0].tag);
    let unknown = Err(SettleError::UnknownDelivery { delivery });
    assert_eq!(wait(session.settling(&taken[0])), unknown);
    wait(here.unsubscribe(session.id, 0)).unwrap();
    session.subscribe(1, QUEUE);
    assert_eq!(session.bodies(1), ["1"]);
}

#[test]
fn the_sessions_of_a_user_that_a_restored_link_is_refused_end() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let (ann, bob) = (
        NodeSession::open_user(&here, "ann"),
        NodeSession::open_user(&here, "bob"),
    );
    engines[0].lose();
    engines[0].restore_without("user \"ann\"");
    let reason = "user \"ann\" was refused".into();
    assert_eq!(ann.ending(), Ending::Requested { code: 1013, reason });
    until(|| (there.users() == ["bob"]).then_some(()));
    assert_eq!(here.users(), ["bob"]);
    let own = Source::Session(ann.id);
    until(|| (!engines[0].has_source(|source| *source == own)).then_some(()));
    bob.subscribe(0, ROOM);
}

#[test]
fn subscriptions_are_told_what_a_restored_link_missed() {
    let ([here, _there], engines) = Harsh::nodes(|engine| engine);
    let session = NodeSession::open_user(&here, "ann");
    session.subscribe(0, ROOM);
    session.subscribe_user(1, "/queue/x");
    engines[0].lose();
    engines[0].restore();
    // The user's and the session's source; what was not taken yet is told once.
    let mut told = [session.control(), session.control()].map(|control| match control {
        Control::MessagesMissed { slot, gap: None } => slot,
        other => panic!("{other:?}"),
    });
    told.sort_unstable();
    assert_eq!(told, [0, 1]);
}

#[test]
fn gaps_that_a_session_has_not_taken_become_one() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let subscribing = session.subscribing(0, ROOM);
    engine.activation().confirm(Feed(7));
    wait(subscribing).unwrap();
    let gap = |epoch, after, up_to| {
        let at = |sequence| Position { epoch, sequence };
        let (after, up_to) = (at(after), at(up_to));
        Gap { after, up_to }
    };
    let source = Source::Pattern(tramline_broker::Pattern::parse(ROOM).unwrap());
    let missed = |gap| engine.local().missed(&source, Feed(7), Some(gap));
    let told = |gap| Control::MessagesMissed { slot: 0, gap };
    missed(gap(1, 3, 5));
    missed(gap(1, 8, 9));
    assert_eq!(session.control(), told(Some(gap(1, 3, 9))));
    missed(gap(1, 10, 11));
    missed(gap(2, 0, 3));
    assert_eq!(session.control(), told(None));
    engine.local().missed(&source, Feed(8), None);
    missed(gap(2, 5, 6));
    assert_eq!(
        session.control(),
        told(Some(gap(2, 5, 6))),
        "of its own feed"
    );
}

#[test]
fn an_instruction_does_not_wait_for_deliveries_and_an_end_is_the_last() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let consumer = engine.filled(&session, QUEUE);
    consumer.missed(None);
    assert!(hub.end_session(session.id, 4000, "away"));
    let missed = Control::MessagesMissed { slot: 0, gap: None };
    assert_eq!(session.control(), missed);
    assert_eq!(
        session.take(1)[0].slot,
        0,
        "what is queued is still written"
    );
    let (code, reason) = (4000, "away".into());
    assert_eq!(session.ending(), Ending::Requested { code, reason });
}

#[test]
fn an_end_by_the_engine_is_not_asked_of_it() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let local = engine.local();
    let consumer = engine.filled(&session, QUEUE);
    let subscribing = session.subscribing(1, ROOM);
    let activation = engine.activation();
    let source = activation.source().clone();
    assert!(!local.end_source(&source, Feed(7), "not yet"));
    activation.confirm(Feed(7));
    wait(subscribing).unwrap();
    assert!(!local.end_source(&source, Feed(8), "another feed"));

    assert!(local.end_source(&source, Feed(7), "gone") && local.end_consumer(&consumer, "gone"));
    assert!(!local.end_source(&source, Feed(7), "gone") && !local.end_consumer(&consumer, "gone"));
    assert_eq!(local.deliver(Feed(7), vec![message(ROOM, "x")]), Ok(0));
    assert!(!engine.deliver(&consumer, 1_000));
    hub.close(session.id);
    assert_eq!(engine.names(), [""; 0]);
}

#[test]
fn a_subscription_that_ends_before_its_answer_is_seen_is_unavailable() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let mut subscribing = session.subscribing(0, QUEUE);
    let Call::Consume(consumer, promise) = engine.next() else {
        panic!("a queue is consumed");
    };
    assert!(engine.local().end_consumer(&consumer, "gone"));
    promise.keep(Ok(Default::default()));
    let unavailable = Err(SubscribeError::BrokerUnavailable);
    assert_eq!(now(&mut subscribing), Some(unavailable));
    assert_eq!(engine.names(), [""; 0]);
}

#[test]
fn a_session_whose_source_ends_while_it_opens_is_not_opened() {
    let (hub, engine) = Manual::hub_asked_for_sessions();
    let session = NodeSession::new(&hub, 1_000);
    let mut opening = session.opening(Some("ann"));
    engine.activation().confirm(Feed(1));
    let of_user = engine.activation();
    let own = Source::Session(session.id);
    assert!(engine.local().end_source(&own, Feed(1), "gone"));
    of_user.confirm(Feed(2));
    assert_eq!(now(&mut opening), Some(Err(OpenError::OutcomeUnknown)));
    assert_eq!((hub.sessions(), hub.registered()), (0, 0));
}
