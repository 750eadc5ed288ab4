//! Users, registry and presence over all nodes.

use std::sync::Arc;
use std::thread;

use tramline_broker::{
    Ending, Feed, Headers, Hub, MemberDescription, MemberEvent, OpenError, SessionContext,
    SessionId, SubscribeError,
};

use crate::engine::server::Server;
use crate::harsh::Harsh;
use crate::manual::Manual;
use crate::support::{NOW, NodeSession, Seen, body, message, now, send, to_user, until, wait};

const PATH: &str = "/queue/errors";

#[test]
fn a_user_s_messages_reach_the_sessions_on_all_nodes() {
    let (hubs, _engines) = Harsh::nodes::<3>(|engine| engine);
    let anns = hubs
        .each_ref()
        .map(|hub| NodeSession::open_user(hub, "ann"));
    let bob = NodeSession::open_user(&hubs[1], "bob");
    for session in anns.iter().chain([&bob]) {
        session.subscribe_user(0, PATH);
    }
    for (n, hub) in hubs.iter().enumerate() {
        let text = n.to_string();
        let batch = vec![to_user("ann", PATH, &text), to_user("eve", PATH, "lost")];
        let published = wait(hub.publish(batch, NOW)).unwrap();
        assert_eq!(published.local_receivers, 1, "of its own node");
    }
    hubs[0].close(anns[0].id);
    let batch = vec![to_user("ann", PATH, "3"), to_user("bob", PATH, "3")];
    wait(hubs[0].publish(batch, NOW)).unwrap();
    for session in &anns[1..] {
        assert_eq!(session.bodies(4), ["0", "1", "2", "3"]);
    }
    assert_eq!(bob.bodies(1), ["3"]);
}

#[test]
fn every_node_knows_the_sessions_of_all() {
    let (hubs, _engines) = Harsh::nodes::<2>(|engine| engine);
    let [here, there] = &hubs;
    let seen = hubs.each_ref().map(Seen::of);
    seen.iter()
        .for_each(|seen| seen.ends_with(&["available true"]));
    let ann = NodeSession::open_user(here, "ann");
    ann.subscribe(0, "/topic/a");
    ann.subscribe(1, "/queue/a");
    seen.iter().for_each(|seen| {
        seen.ends_with(&[
            "ann opened",
            "ann subscribed /topic/a",
            "ann subscribed /queue/a",
        ]);
    });
    let (bob, _other) = (
        NodeSession::open_user(there, "bob"),
        NodeSession::open(there),
    );
    seen.iter()
        .for_each(|seen| seen.ends_with(&["bob opened", "nobody opened"]));

    for hub in &hubs {
        assert_eq!(hub.users(), ["ann", "bob"]);
    }
    assert_eq!(
        (here.members_of("ann").len(), here.members_of("bob").len()),
        (1, 0)
    );
    assert_eq!((here.sessions(), here.remote_members().len()), (1, 2));
    let known = there.remote_members_of("ann").remove(0);
    assert_eq!((known.node, known.session), (here.node(), ann.id));
    let subscriptions = known.subscriptions.iter();
    let described: Vec<_> = subscriptions
        .map(|known| (known.slot, &*known.id, &*known.destination))
        .collect();
    assert_eq!(
        described,
        [(0, "id-0", "/topic/a"), (1, "id-1", "/queue/a")]
    );
    assert!(here.remote_member(bob.id).is_some() && here.remote_member(ann.id).is_none());

    wait(here.unsubscribe(ann.id, 0)).unwrap();
    here.close(ann.id);
    let expected = [
        "ann unsubscribed /topic/a",
        "ann unsubscribed /queue/a",
        "closed",
    ];
    seen.iter().for_each(|seen| seen.ends_with(&expected));
    assert_eq!(there.users(), ["bob"]);
}

#[test]
fn a_node_that_joins_later_knows_who_is_there() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let ann = NodeSession::open_user(&here, "ann");
    ann.subscribe(0, "/topic/a");
    engines[1].lose();
    until(|| here.remote_members().is_empty().then_some(()));
    let bob = NodeSession::open_user(&here, "bob");
    let seen = Seen::of(&there);
    engines[1].restore();
    until(|| (there.users() == ["ann", "bob"]).then_some(()));
    here.close(bob.id);
    seen.ends_with(&["closed"]);
    assert_eq!(there.remote_member(ann.id).unwrap().subscriptions.len(), 1);
}

#[test]
fn a_node_that_is_gone_ends_all_of_its_sessions() {
    let server = Server::new();
    let here = tramline_broker::Hub::new(Harsh::new(server.clone()));
    let there = tramline_broker::Hub::new(Harsh::new(server));
    wait(here.start()).unwrap();
    let ann = NodeSession::open_user(&there, "ann");
    ann.subscribe(0, "/topic/a");
    let seen = Seen::of(&here);
    until(|| (here.remote_member(ann.id)?.subscriptions.len() == 1).then_some(()));
    drop(there.stop(NOW));
    seen.ends_with(&["ann unsubscribed /topic/a", "closed"]);
    assert!(here.users().is_empty() && here.remote_members().is_empty());
}

#[test]
fn a_repeated_description_changes_only_what_differs() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let ann = NodeSession::open_user(&here, "ann");
    ann.subscribe(0, "/topic/a");
    ann.subscribe(1, "/topic/b");
    let with = |count| {
        until(|| {
            let known = there.remote_member(ann.id)?;
            (known.subscriptions.len() == count).then_some(known)
        })
    };
    let before = with(2);
    wait(here.unsubscribe(ann.id, 0)).unwrap();
    ann.subscribe(2, "/topic/c");
    until(|| {
        let known = there.remote_member(ann.id)?;
        known
            .subscriptions
            .iter()
            .any(|known| known.slot == 2)
            .then_some(())
    });
    let now = with(2);
    engines[1].lose();
    let seen = Seen::of(&there);
    let local = engines[1].local();
    let describe = |member: &MemberDescription| {
        local.announced(here.node(), MemberEvent::Opened(member.clone()));
    };
    describe(&before);
    describe(&before);
    let repeated = MemberEvent::Subscribed {
        session: ann.id,
        user: before.user.clone(),
        subscription: before.subscriptions[0].clone(),
    };
    local.announced(here.node(), repeated);
    let opened = [
        "ann opened",
        "ann subscribed /topic/a",
        "ann subscribed /topic/b",
    ];
    assert_eq!(seen.all(), opened);
    describe(&now);
    let changed = ["ann unsubscribed /topic/a", "ann subscribed /topic/c"];
    assert_eq!(seen.all()[opened.len()..], changed);
    assert_eq!(with(2), now);
}

#[test]
fn announcements_from_two_threads_are_seen_in_the_order_that_counts() {
    let ([here, there], engines) = Harsh::nodes(|engine| engine);
    let ann = NodeSession::open_user(&here, "ann");
    let opened = MemberEvent::Opened(until(|| there.remote_member(ann.id)));
    engines[1].lose();
    let seen = Seen::of(&there);
    let (local, node, session) = (engines[1].local(), here.node(), ann.id);
    thread::scope(|scope| {
        for event in [opened, MemberEvent::Closed { session }] {
            scope.spawn(move || {
                for _ in 0..2_000 {
                    local.announced(node, event.clone());
                }
            });
        }
    });
    let seen = seen.all();
    let expected = ["ann opened", "closed"].into_iter().cycle();
    assert!(expected.zip(&seen).all(|(expected, seen)| expected == seen));
    assert_eq!(there.remote_member(session).is_some(), seen.len() % 2 == 1);
}

#[test]
fn a_session_is_ended_from_another_node() {
    let (hubs, _engines) = Harsh::nodes::<2>(|engine| engine);
    let [here, there] = &hubs;
    let seen = hubs.each_ref().map(Seen::of);
    let ann = NodeSession::open_user(here, "ann");
    ann.subscribe(0, "/topic/a");
    send(there, "/topic/a", "the last");
    until(|| there.remote_member(ann.id));
    assert!(!there.end_session(SessionId::random(), 4001, "nobody"));
    assert!(there.end_session(ann.id, 4001, "not you"));
    until(|| (here.sessions() == 0).then_some(()));
    assert_eq!(
        ann.bodies(1),
        ["the last"],
        "what is queued is still written"
    );
    let (code, reason) = (4001, "not you".into());
    assert_eq!(ann.ending(), Ending::Requested { code, reason });
    seen[0].ends_with(&["ending 4001 not you", "ann unsubscribed /topic/a", "closed"]);
    seen[1].ends_with(&["ann unsubscribed /topic/a", "closed"]);
    assert!(!there.end_session(ann.id, 4001, "not you"));
}

#[test]
fn every_node_sees_one_order() {
    const EACH: usize = 100;
    let (hubs, _engines) = Harsh::nodes::<3>(Harsh::late);
    let sessions = hubs.each_ref().map(NodeSession::open);
    for (session, pattern) in sessions.iter().zip(["/topic/a", "/topic/*", "/topic/a"]) {
        session.subscribe(0, pattern);
    }
    thread::scope(|scope| {
        for (n, hub) in hubs.iter().enumerate() {
            scope.spawn(move || {
                let publish = |m| hub.publish(vec![message("/topic/a", &format!("{n} {m}"))], NOW);
                let answers: Vec<_> = (0..EACH).map(publish).collect();
                for answer in answers {
                    wait(answer).unwrap();
                }
            });
        }
    });
    let seen = sessions.each_ref().map(|session| session.take(3 * EACH));
    let bodies = seen
        .each_ref()
        .map(|seen| seen.iter().map(body).collect::<Vec<_>>());
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
    for (n, delivery) in (1..).zip(&seen[1]) {
        assert_eq!(delivery.message.position().unwrap().sequence, n);
    }
    let of_one = bodies[0].iter().filter(|body| body.starts_with("1 "));
    let expected = (0..EACH).map(|m| format!("1 {m}"));
    assert!(of_one.eq(expected.collect::<Vec<_>>().iter()));
}

/// Another thread closes the session while it is described.
#[derive(Debug)]
struct ClosedMeanwhile(Hub, SessionId);

impl SessionContext for ClosedMeanwhile {
    fn describe(&self) -> Headers {
        let close = || self.0.close(self.1);
        thread::scope(|scope| scope.spawn(close).join().unwrap());
        Headers::new()
    }
}

#[test]
fn a_session_that_is_closed_while_it_opens_was_never_there() {
    let ([here, there], _engines) = Harsh::nodes(|engine| engine);
    let seen = [&here, &there].map(Seen::of);
    let session = NodeSession::new(&here, 1_000);
    let context = Arc::new(ClosedMeanwhile(here.clone(), session.id));
    here.register(session.id, Arc::clone(&session.outbox), context);
    let opened = wait(session.opening(Some("ann")));
    assert_eq!(opened, Err(OpenError::Closed));
    here.unregister(session.id);
    let next = NodeSession::open(&here);
    for seen in seen {
        seen.ends_with(&["available true", "nobody opened"]);
    }
    assert_eq!(there.remote_member(session.id), None);
    here.close(next.id);
}

#[test]
fn a_session_is_announced_when_the_engine_has_confirmed_it() {
    let (hub, engine) = Manual::hub_asked_for_sessions();
    let seen = Seen::of(&hub);
    let (ann, bob) = (NodeSession::new(&hub, 1_000), NodeSession::new(&hub, 1_000));
    let (mut refused, mut opening) = (ann.opening(None), bob.opening(Some("bob")));
    let (of_ann, of_bob) = (engine.activation(), engine.activation());
    of_bob.confirm(Feed(1));
    let user_bob = engine.activation();
    assert_eq!((hub.sessions(), hub.users().len()), (0, 0));
    assert_eq!(seen.all(), [""; 0]);
    of_ann.refuse(SubscribeError::BrokerUnavailable);
    user_bob.confirm(Feed(2));
    assert_eq!(now(&mut refused), Some(Err(OpenError::BrokerUnavailable)));
    assert_eq!(now(&mut opening), Some(Ok(())));
    assert_eq!(seen.all(), ["bob opened"]);
    assert_eq!((hub.sessions(), hub.users().len()), (1, 1));
}
