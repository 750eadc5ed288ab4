//! Options of subscriptions, with an engine that supports all of them.

use tramline_broker::{
    Address, Pattern, Position, Start, SubscribeError, SubscribeOptions, SubscribeRequest,
};

use crate::manual::{Call, Manual};
use crate::support::{Session, now, to, wait};

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
    let session = Session::open(&hub);
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
        assert_eq!(*consumer.options(), wanted);
    }
}

#[test]
fn others_are_refused_by_name() {
    let (hub, engine) = Manual::hub();
    let session = Session::open(&hub);
    let (epoch, sequence) = (1, 1);
    let start = Start::After(Position { epoch, sequence });
    let [topic, topics] = [pattern("/topic/a"), pattern("/topic/*")];
    let path = to("/queue/errors");
    for (address, options, expected) in [
        (topic.clone(), selector(), "selector"),
        (topic.clone(), options(|o| o.start = start), "resume-from"),
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
