//! The shares of sessions, users and addresses: a client at its limit is refused by name, and changes nothing for
//! others.

use std::sync::Arc;
use std::task::{Context, Waker};

use tramline_broker::{
    AckMode, DeliveryRef, Destination, EmbeddedBroker, Headers, Hold, Holder, Hub, Member,
    OpenSession, Outbox, Outcome, Overflow, Pattern, Publish, PublishError, Resource, SessionId,
    Settle, ShareUsedUp, Shares, SubscribeError, SubscribeRequest, Timestamp, Transaction,
};

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::new().topics("/topic").queues("/queue")
}

fn open(hub: &Hub, user: Option<&str>, address: &str) -> Arc<Member> {
    let (id, outbox) = (SessionId::random(), Outbox::new(65_536, Overflow::Close));
    let user = user.map(|user| user.to_owned().into());
    let open = OpenSession::new(id, user, Arc::new(outbox)).address(address.to_owned());
    hub.open(open).into_ready().unwrap().unwrap();
    hub.member(id).unwrap()
}

fn subscribe(hub: &Hub, member: &Member, slot: u32, pattern: &str) -> Result<(), SubscribeError> {
    let pattern = Pattern::parse(pattern.to_owned()).unwrap();
    let request = SubscribeRequest::new(member.id(), slot, pattern);
    hub.subscribe(request).into_ready().unwrap().map(drop)
}

fn to(destination: &str) -> Publish {
    let destination = Destination::parse(destination.to_owned()).unwrap();
    Publish::new(destination, Headers::new(), "x")
}

fn send(hub: &Hub, member: &Member, destination: &str) -> Result<(), PublishError> {
    publish_by(hub, member, to(destination))
}

fn publish_by(hub: &Hub, member: &Member, publish: Publish) -> Result<(), PublishError> {
    let sent = hub.publish_by(member, vec![publish], NOW);
    let sent = sent.into_ready().unwrap();
    sent.map(drop).map_err(|refused| refused.error)
}

/// Holder, resource and limit of a refusal.
fn used_up(error: ShareUsedUp) -> (Holder, Resource, usize) {
    (error.holder, error.resource, error.limit)
}

fn refusal(answer: Result<(), SubscribeError>) -> (Holder, Resource, usize) {
    match answer {
        Err(SubscribeError::ShareUsedUp(error)) => used_up(error),
        answer => panic!("{answer:?}"),
    }
}

fn refused_send(answer: Result<(), PublishError>) -> (Holder, Resource, usize) {
    match answer {
        Err(PublishError::ShareUsedUp(error)) => used_up(error),
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn patterns_have_a_share_per_session_user_and_address() {
    let hub = Hub::new(broker().max_patterns(Shares::new(2, 3, 100)));
    for user in [Some("mallory"), None] {
        let holder = match user {
            Some(_) => Holder::User,
            None => Holder::Address,
        };
        let first = open(&hub, user, "192.0.2.1");
        let second = open(&hub, user, "192.0.2.1");
        for slot in 0..2 {
            subscribe(&hub, &first, slot, &format!("/topic/{slot}/*")).unwrap();
        }
        let third = subscribe(&hub, &first, 2, "/topic/2/*");
        assert_eq!(refusal(third), (Holder::Session, Resource::Patterns, 2));
        subscribe(&hub, &second, 0, "/topic/0/*").unwrap();
        let fourth = subscribe(&hub, &second, 1, "/topic/1/*");
        assert_eq!(refusal(fourth), (holder, Resource::Patterns, 3));
        // The session lives on, and only patterns are refused.
        subscribe(&hub, &first, 3, "/topic/plain").unwrap();
        subscribe(
            &hub,
            &open(&hub, Some("alice"), "192.0.2.1"),
            0,
            "/topic/0/*",
        )
        .unwrap();
        subscribe(&hub, &open(&hub, None, "192.0.2.2"), 0, "/topic/0/*").unwrap();
        drop(hub.unsubscribe(first.id(), 0));
        subscribe(&hub, &second, 1, "/topic/1/*").unwrap();
        hub.close(first.id());
        hub.close(second.id());
        let again = open(&hub, user, "192.0.2.1");
        subscribe(&hub, &again, 0, "/topic/0/*").unwrap();
        hub.close(again.id());
    }
}

#[test]
fn patterns_that_are_compared_one_by_one_have_a_small_share() {
    let hub = Hub::new(broker());
    let mallory = open(&hub, None, "192.0.2.1");
    for slot in 0..16 {
        subscribe(&hub, &mallory, slot, &format!("/topic/*x{slot}*")).unwrap();
    }
    let before = hub
        .statistics(&Pattern::parse("/**").unwrap(), 0)
        .totals
        .refused;
    let refused = subscribe(&hub, &mallory, 16, "/topic/?");
    assert_eq!(
        refusal(refused),
        (Holder::Session, Resource::ScannedPatterns, 16)
    );
    let after = hub
        .statistics(&Pattern::parse("/**").unwrap(), 0)
        .totals
        .refused;
    assert_eq!(after, before + 1);
    subscribe(&hub, &mallory, 17, "/topic/x*").unwrap();
}

#[test]
fn names_have_a_share_and_others_go_on() {
    let hub = Hub::new(broker().max_destinations(100).max_destinations_each(3, 4));
    let mallory = open(&hub, Some("mallory"), "192.0.2.1");
    let again = open(&hub, Some("mallory"), "192.0.2.1");
    let alice = open(&hub, Some("alice"), "192.0.2.1");
    subscribe(&hub, &alice, 0, "/topic/**").unwrap();
    send(&hub, &mallory, "/queue/1").unwrap();
    subscribe(&hub, &mallory, 0, "/queue/2").unwrap();
    send(&hub, &mallory, "/topic/3").unwrap();
    let used_up = |holder, limit| (holder, Resource::Destinations, limit);
    let session = used_up(Holder::Session, 3);
    assert_eq!(refused_send(send(&hub, &mallory, "/queue/4")), session);
    assert_eq!(refused_send(send(&hub, &mallory, "/topic/4")), session);
    assert_eq!(refusal(subscribe(&hub, &mallory, 1, "/topic/4")), session);
    assert_eq!(refusal(subscribe(&hub, &mallory, 1, "/queue/4")), session);
    for destination in ["/queue/4", "/topic/4"] {
        let transaction = Transaction::new(Vec::new(), vec![to(destination)]);
        let committed = hub.commit(mallory.id(), transaction, NOW).into_ready();
        let error = committed.unwrap().unwrap_err().to_string();
        assert!(
            error.contains("the session has 3 destinations in use"),
            "{error}"
        );
    }
    send(&hub, &mallory, "/queue/1").unwrap();
    send(&hub, &again, "/queue/4").unwrap();
    assert_eq!(
        refused_send(send(&hub, &again, "/queue/5")),
        used_up(Holder::User, 4)
    );
    send(&hub, &alice, "/queue/5").unwrap();
    hub.publish(vec![to("/queue/6")], NOW)
        .into_ready()
        .unwrap()
        .unwrap();
    // A topic's name is free again when it is no longer used.
    for seconds in 1..4 {
        hub.sweep(Timestamp::from_millis(1_000 + seconds * 20_000));
    }
    send(&hub, &mallory, "/queue/7").unwrap();
}

#[test]
fn clients_leave_a_reserve_of_names() {
    let hub = Hub::new(broker().max_destinations(32));
    let mallory = open(&hub, None, "192.0.2.1");
    for name in 0..30 {
        send(&hub, &mallory, &format!("/queue/{name}")).unwrap();
    }
    let refused = send(&hub, &mallory, "/queue/30");
    assert_eq!(
        refused,
        Err(PublishError::TooManyDestinations { limit: 30 })
    );
    let mut own = (30..32).map(|name| to(&format!("/queue/{name}")));
    hub.publish(own.by_ref().collect(), NOW)
        .into_ready()
        .unwrap()
        .unwrap();
    assert_eq!(hub.destinations(), 32);
}

const KIB: usize = 1024;

/// A message that takes a little less than `kib` KiB of memory.
fn large(destination: &str, kib: usize) -> Publish {
    let destination = Destination::parse(destination.to_owned()).unwrap();
    Publish::new(destination, Headers::new(), vec![b'x'; kib * KIB - 500])
}

fn bytes(hub: &Hub) -> usize {
    hub.statistics(&Pattern::parse("/**").unwrap(), 0).bytes
}

#[test]
fn bytes_have_a_share_per_session_user_and_address() {
    let hub = Hub::new(broker().max_bytes_each(20 * KIB, 30 * KIB));
    for user in [Some("mallory"), None] {
        let holder = match user {
            Some(_) => Holder::User,
            None => Holder::Address,
        };
        let first = open(&hub, user, "192.0.2.1");
        let second = open(&hub, user, "192.0.2.1");
        let queue = format!("/queue/of-{holder:?}");
        publish_by(&hub, &first, large(&queue, 10)).unwrap();
        publish_by(&hub, &first, large(&queue, 10)).unwrap();
        for destination in [&*queue, "/queue/other", "/topic/nobody"] {
            let refused = refused_send(publish_by(&hub, &first, large(destination, 10)));
            assert_eq!(refused, (Holder::Session, Resource::Bytes, 20 * KIB));
        }
        publish_by(&hub, &second, large(&queue, 10)).unwrap();
        let refused = refused_send(publish_by(&hub, &second, large(&queue, 10)));
        assert_eq!(refused, (holder, Resource::Bytes, 30 * KIB));
        // Others do not notice.
        let alice = open(&hub, Some("alice"), "192.0.2.1");
        publish_by(&hub, &alice, large("/queue/of-alice", 10)).unwrap();
        consume(&hub, &alice, "/queue/of-alice");
        // What is delivered and acknowledged is the share's again, whoever does it.
        consume(&hub, &alice, &queue);
        publish_by(&hub, &first, large(&queue, 10)).unwrap();
        consume(&hub, &alice, &queue);
        assert_eq!(bytes(&hub), 0);
        for session in [first, second, alice] {
            hub.close(session.id());
        }
    }
}

/// Receives and accepts everything that waits in `queue`.
fn consume(hub: &Hub, member: &Member, queue: &str) {
    let id = SessionId::random();
    let outbox = Arc::new(Outbox::new(1 << 20, Overflow::Close));
    let opened = hub.open(OpenSession::new(id, member.user(), Arc::clone(&outbox)));
    opened.into_ready().unwrap().unwrap();
    let request = SubscribeRequest::new(id, 0, Pattern::parse(queue.to_owned()).unwrap());
    hub.subscribe(request.acknowledged(AckMode::Client))
        .into_ready()
        .unwrap()
        .unwrap();
    let mut batch = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    let _ = outbox.poll_take(&mut context, &mut batch, 1_000, usize::MAX);
    let last = batch.last().expect("a message in the queue").tag;
    let settle = Settle::new(Some(0), DeliveryRef::Tag(last), Outcome::Accepted);
    hub.settle(id, settle).into_ready().unwrap().unwrap();
    hub.close(id);
}

#[test]
fn a_transaction_counts_while_it_is_open() {
    let hub = Hub::new(broker().max_bytes_each(20 * KIB, 30 * KIB));
    let mallory = open(&hub, Some("mallory"), "192.0.2.1");
    let (mut first, mut second) = (Hold::default(), Hold::default());
    hub.hold(&mallory, 9 * KIB, &mut first).unwrap();
    hub.hold(&mallory, 9 * KIB, &mut second).unwrap();
    let refused = refused_send(hub.hold(&mallory, 9 * KIB, &mut first));
    assert_eq!(refused, (Holder::Session, Resource::Bytes, 20 * KIB));
    let refused = refused_send(publish_by(&hub, &mallory, large("/topic/a", 10)));
    assert_eq!(refused.0, Holder::Session);
    drop(second);
    hub.hold(&mallory, 9 * KIB, &mut first).unwrap();
    drop(first);
    assert_eq!(bytes(&hub), 0);
}

#[test]
fn clients_leave_a_reserve_of_memory_for_topics_and_for_the_application() {
    let all = 160 * KIB;
    let hub = Hub::new(broker().max_bytes(all));
    let mut sessions = (0..).map(|number| open(&hub, None, &format!("192.0.2.{number}")));
    let reader = sessions.next().unwrap();
    subscribe(&hub, &reader, 0, "/topic/a").unwrap();
    for session in sessions.by_ref().take(14) {
        publish_by(&hub, &session, large("/queue/a", 10)).unwrap();
    }
    let alice = sessions.next().unwrap();
    let limit = all - all / 8;
    let refused = publish_by(&hub, &alice, large("/queue/a", 10));
    assert_eq!(refused, Err(PublishError::OutOfMemory { limit }));
    publish_by(&hub, &alice, large("/topic/a", 9)).unwrap();
    let limit = all - all / 16;
    let refused = publish_by(&hub, &alice, large("/topic/a", 9));
    assert_eq!(refused, Err(PublishError::OutOfMemory { limit }));
    let own = hub.publish(vec![large("/topic/a", 9)], NOW);
    assert_eq!(own.into_ready().unwrap().unwrap().local_receivers, 1);
}
