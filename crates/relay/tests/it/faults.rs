//! Links that are cut or stall, and brokers that are killed and come back.

use std::time::Duration;

use tramline_broker::{Control, Headers, PublishError, SubscribeError};
use tramline_relay::BrokerKind;

use crate::brokers::{TestBroker, shared};
use crate::proxy::Proxy;
use crate::support::{
    Session, body, message, node, publishing, relay_to, send, unique, until, wait,
};

const KIND: BrokerKind = BrokerKind::RabbitMq;

#[test]
fn after_a_cut_sessions_are_told_and_go_on() {
    let Some(broker) = shared(KIND) else { return };
    let proxy = Proxy::before(broker.address());
    let hub = node(relay_to(&proxy.address));
    let (topic, queue) = (unique("/topic"), unique("/queue"));
    let session = Session::open(&hub, Some("ann"));
    session.subscribe(0, &topic);
    session.subscribe(1, &queue);
    send(&hub, &queue, "kept");
    let first = session.take();
    assert_eq!((body(&first), first.redeliveries), ("kept".to_owned(), 0));

    proxy.cut();
    let (missed, again) = session.notice_and_delivery();
    assert_eq!(missed, Control::MessagesMissed { slot: 0, gap: None });
    assert_eq!((body(&again), again.redeliveries), ("kept".to_owned(), 1));
    assert!(session.settle(&first).is_err(), "its link is gone");
    assert_eq!(session.settle(&again), Ok(()));
    send(&hub, &topic, "on it goes");
    assert_eq!(session.body(), "on it goes");
}

#[test]
fn publishers_wait_for_a_broker_that_is_away_and_no_longer_than_told() {
    let Some(broker) = shared(KIND) else { return };
    let proxy = Proxy::before(broker.address());
    let relay = relay_to(&proxy.address).wait_time(Duration::from_secs(3));
    let hub = node(relay.backoff(Duration::from_millis(50), Duration::from_millis(100)));
    let topic = unique("/topic");
    send(&hub, &topic, "its destination is known");
    proxy.refuse(true);
    proxy.cut();
    until("the loss", || (!hub.is_available()).then_some(()));

    let refused = wait(publishing(&hub, message(&topic, "too early"))).unwrap_err();
    assert_eq!(
        (refused.done, refused.error),
        (0, PublishError::BrokerUnavailable)
    );
    let session = Session::open(&hub, Some("ann"));
    let refused = session.try_subscribe(0, &topic);
    assert_eq!(refused, Err(SubscribeError::BrokerUnavailable));

    let waits = publishing(&hub, message(&topic, "in time"));
    proxy.refuse(false);
    wait(waits).expect("the broker is back");
    session.subscribe(1, &topic);
    send(&hub, &topic, "seen");
    assert_eq!(session.body(), "seen");
}

#[test]
fn what_was_sent_and_not_answered_is_unknown_and_not_sent_again() {
    let Some(broker) = shared(KIND) else { return };
    let proxy = Proxy::before(broker.address());
    let hub = node(relay_to(&proxy.address));
    let queue = unique("/queue");
    send(&hub, &queue, "its destination is known");
    proxy.stall(true);
    let sent = publishing(&hub, message(&queue, "lost"));
    // What is not yet carried is lost with the link.
    let session = Session::open(&hub, None);
    proxy.cut();
    let refused = wait(sent).unwrap_err();
    assert_eq!(refused.error, PublishError::OutcomeUnknown);
    proxy.stall(false);
    session.subscribe(0, &queue);
    assert_eq!(session.body(), "its destination is known");
    send(&hub, &queue, "the next");
    assert_eq!(session.body(), "the next");
}

#[test]
fn a_silent_link_is_seen_by_its_heart_beats() {
    let Some(broker) = shared(KIND) else { return };
    let proxy = Proxy::before(broker.address());
    let hub = node(relay_to(&proxy.address).heart_beat(2_000, 2_000));
    let topic = unique("/topic");
    let session = Session::open(&hub, None);
    session.subscribe(0, &topic);
    proxy.stall(true);
    until("the loss", || (!hub.is_available()).then_some(()));
    proxy.stall(false);
    assert!(matches!(
        session.control(),
        Control::MessagesMissed { slot: 0, .. }
    ));
    send(&hub, &topic, "on it goes");
    assert_eq!(session.body(), "on it goes");
}

#[test]
fn the_next_address_is_tried() {
    let Some(broker) = shared(KIND) else { return };
    // Port 1 is nobody's.
    let relay = tramline_relay::StompRelay::new(["127.0.0.1:1".to_owned(), broker.address()])
        .topics("/topic")
        .login("guest", "guest")
        .runtime(crate::support::runtime().handle().clone());
    let hub = node(relay);
    let session = Session::open(&hub, None);
    let topic = unique("/topic");
    session.subscribe(0, &topic);
    send(&hub, &topic, "here");
    assert_eq!(session.body(), "here");
}

#[test]
fn memory_is_bounded_while_the_broker_is_away() {
    let Some(broker) = shared(KIND) else { return };
    let proxy = Proxy::before(broker.address());
    let hub = node(relay_to(&proxy.address).max_waiting_bytes(10_000));
    let topic = unique("/topic");
    send(&hub, &topic, "its destination is known");
    proxy.refuse(true);
    proxy.cut();
    until("the loss", || (!hub.is_available()).then_some(()));
    let large = "x".repeat(6_000);
    let waits = publishing(&hub, message(&topic, &large));
    let refused = wait(publishing(&hub, message(&topic, &large))).unwrap_err();
    assert_eq!(refused.error, PublishError::BrokerUnavailable);
    proxy.refuse(false);
    wait(waits).expect("the broker is back");
}

/// Kills a broker and starts it again.
fn a_restart_is_survived(kind: BrokerKind) {
    let Some(broker) = TestBroker::start(kind, true) else {
        return;
    };
    let hub = node(relay_to(&broker.address()).nodes("restart"));
    let (topic, queue) = (unique("/topic"), unique("/queue"));
    let session = Session::open(&hub, Some("ann"));
    session.subscribe(0, &topic);
    session.subscribe_user(2, "/queue/news");
    send(&hub, &queue, "not persistent");
    // Mnesia, where RabbitMQ keeps the names of queues, may hold back what it writes for two seconds: a queue that is newer
    // is gone after a crash, with its messages.
    std::thread::sleep(Duration::from_secs(3));
    let mut headers = Headers::new();
    headers.push("persistent", "true");
    for n in 0..20 {
        let mut persistent = message(&queue, &n.to_string());
        persistent.headers = headers.clone();
        wait(publishing(&hub, persistent)).expect("the broker confirms it");
    }
    broker.kill();
    until("the loss", || (!hub.is_available()).then_some(()));
    broker.start_again();
    until("the return", || hub.is_available().then_some(()));
    session.subscribe(1, &queue);
    for n in 0..20 {
        let taken = session.take_persistent();
        assert_eq!(
            body(&taken),
            n.to_string(),
            "what was confirmed is there, in order"
        );
        assert_eq!(session.settle(&taken), Ok(()));
    }
    send(&hub, &topic, "on it goes");
    assert_eq!(session.body(), "on it goes");
    assert_eq!(hub.sessions(), 1, "nobody was dropped");
}

#[test]
fn a_restart_of_rabbitmq_is_survived() {
    a_restart_is_survived(BrokerKind::RabbitMq);
}

#[test]
fn a_restart_of_activemq_is_survived() {
    a_restart_is_survived(BrokerKind::ActiveMq);
}

#[test]
fn a_restart_of_artemis_is_survived() {
    a_restart_is_survived(BrokerKind::Artemis);
}
