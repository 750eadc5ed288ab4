//! Options of subscriptions, with an engine that supports all of them.

use tramline_broker::{
    Address, DurableName, Pattern, Position, Start, SubscribeError, SubscribeOptions,
    SubscribeRequest,
};

use crate::manual::{Call, Manual};
use crate::support::{NOW, NodeSession, message, now, to, wait};

fn options(set: impl FnOnce(&mut SubscribeOptions)) -> SubscribeOptions {
    let mut options = SubscribeOptions::default();
    set(&mut options);
    options
}

fn selector() -> SubscribeOptions {
    options(|options| options.selector = Some("a = 1".into()))
}

fn durable() -> SubscribeOptions {
    options(|options| options.durable = Some("mine".into()))
}

fn pattern(text: &'static str) -> Address {
    Pattern::parse(text).unwrap().into()
}

#[test]
fn the_engine_sees_those_of_queues_and_durable_subscriptions() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open_user(&hub, "ann");
    let mut selected = durable();
    selected.selector = selector().selector;
    for (slot, (address, wanted)) in (0..).zip([
        (pattern("/queue/a"), selector()),
        (pattern("/topic/a"), durable()),
        (pattern("/topic/*"), selected),
    ]) {
        let request = SubscribeRequest::new(session.id, slot, address);
        drop(hub.subscribe(request.options(wanted.clone())));
        let Call::Consume(consumer, _) = engine.next() else {
            panic!("it is consumed");
        };
        let id = wanted.durable.clone();
        let name = id.map(|id| DurableName {
            user: "ann".into(),
            id,
        });
        assert_eq!(consumer.durable(), name.as_ref());
        let mut seen = wanted;
        seen.durable = None;
        assert_eq!(*consumer.options(), seen);
    }
}

#[test]
fn an_anonymous_session_has_no_durable_subscription() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let request = SubscribeRequest::new(session.id, 0, pattern("/topic/a"));
    let answer = now(&mut hub.subscribe(request.options(durable())));
    assert_eq!(answer, Some(Err(SubscribeError::AnonymousDurable)));
    assert!(engine.names().is_empty(), "the engine is not asked");
}

#[test]
fn the_engine_sees_whose_messages_it_publishes() {
    let (hub, engine) = Manual::hub();
    let ann = NodeSession::open_user(&hub, "ann");
    let member = hub.member(ann.id).unwrap();
    let _own = hub.publish(vec![message("/topic/a", "x")], NOW);
    let _ann_s = hub.publish_by(&member, vec![message("/topic/a", "x")], NOW);
    assert_eq!(engine.publishers(), [None, Some(ann.id)]);
    let user = engine.local().member(ann.id).unwrap().user();
    assert_eq!(user.as_deref(), Some("ann"));
}

#[test]
fn others_are_refused_by_name() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    let (epoch, sequence) = (1, 1);
    let start = Start::After(Position { epoch, sequence });
    let [topic, topics] = [pattern("/topic/a"), pattern("/topic/*")];
    let path = to("/queue/errors");
    for (address, options, expected) in [
        (
            topic.clone(),
            options(|o| o.start = start.clone()),
            "resume-from",
        ),
        (topic, options(|o| o.browse = true), "browser"),
        (topics, options(|o| o.retained = true), "retained"),
        (Address::User { path: path.clone() }, selector(), "selector"),
        (Address::User { path }, durable(), "durable"),
        (Address::Application, durable(), "durable"),
    ] {
        let request = SubscribeRequest::new(session.id, 0, address.clone());
        let answer = now(&mut hub.subscribe(request.options(options)));
        let refused = SubscribeError::Unsupported { option: expected };
        assert_eq!(answer, Some(Err(refused)), "{address:?}");
    }
    assert!(engine.names().is_empty(), "the engine is not asked");
    let path = to("/queue/errors");
    let plain = SubscribeRequest::new(session.id, 0, Address::User { path });
    wait(hub.subscribe(plain)).unwrap();
}
