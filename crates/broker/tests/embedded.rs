//! The embedded broker, as seen by sessions and publishers.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Waker};

use tramline_broker::{
    Address, Delivery, Destination, EmbeddedBroker, Headers, Hub, OpenSession, Outbox, Overflow,
    Pattern, Position, Publish, PublishError, SessionId, SubscribeError, SubscribeRequest, Target,
    Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

/// The time of the `n`th sweep, late enough after the others to remove unused destinations.
fn later(n: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + n * 10_000)
}

struct Client {
    id: SessionId,
    outbox: Arc<Outbox>,
}

impl Client {
    fn open(broker: &Hub, user: Option<&'static str>) -> Self {
        let client = Self {
            id: SessionId::random(),
            outbox: Arc::new(Outbox::new(1 << 24, Overflow::Close)),
        };
        let outbox = Arc::clone(&client.outbox);
        let open = OpenSession::new(client.id, user.map(Into::into), outbox);
        broker.open(open).into_ready().unwrap().unwrap();
        client
    }

    fn subscribe(&self, broker: &Hub, slot: u32, pattern: &'static str) {
        let request = SubscribeRequest::new(self.id, slot, Pattern::parse(pattern).unwrap());
        broker.subscribe(request).into_ready().unwrap().unwrap();
    }

    fn subscribe_user(&self, broker: &Hub, slot: u32, path: &'static str) {
        let path = Destination::parse(path).unwrap();
        let request = SubscribeRequest::new(self.id, slot, Address::User { path });
        broker.subscribe(request).into_ready().unwrap().unwrap();
    }

    fn take(&self) -> Vec<Delivery> {
        let mut batch = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        self.outbox
            .poll_take(&mut context, &mut batch, usize::MAX, usize::MAX);
        batch
    }

    fn bodies(&self) -> Vec<(u32, String)> {
        let text =
            |delivery: Delivery| String::from_utf8(delivery.message.body().to_vec()).unwrap();
        self.take()
            .into_iter()
            .map(|delivery| (delivery.slot, text(delivery)))
            .collect()
    }
}

fn to(destination: &str, body: &str) -> Publish {
    let destination = Destination::parse(destination.to_owned()).unwrap();
    Publish::new(destination, Headers::new(), body.to_owned())
}

fn publish(broker: &Hub, batch: Vec<Publish>) -> usize {
    broker
        .publish(batch, NOW)
        .into_ready()
        .unwrap()
        .unwrap()
        .local_receivers
}

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::new().topics("/topic")
}

#[test]
fn a_message_reaches_each_matching_subscription_once() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker, None), Client::open(&broker, None));
    alice.subscribe(&broker, 0, "/topic/a");
    alice.subscribe(&broker, 1, "/topic/**");
    bob.subscribe(&broker, 7, "/topic/b");
    assert_eq!(publish(&broker, vec![to("/topic/a", "one")]), 2);
    assert_eq!(publish(&broker, vec![to("/topic/nobody", "two")]), 1);
    let mut got = alice.bodies();
    got.sort();
    assert_eq!(
        got,
        [(0, "one".into()), (1, "one".into()), (1, "two".into())]
    );
    assert_eq!(bob.bodies(), []);
}

#[test]
fn a_subscription_ends_with_unsubscribe_and_with_its_session() {
    let broker = Hub::new(broker());
    let (alice, bob) = (Client::open(&broker, None), Client::open(&broker, None));
    for client in [&alice, &bob] {
        client.subscribe(&broker, 0, "/topic/a");
        client.subscribe(&broker, 1, "/topic/*");
    }
    assert_eq!(publish(&broker, vec![to("/topic/a", "x")]), 4);
    broker
        .unsubscribe(alice.id, 0)
        .into_ready()
        .unwrap()
        .unwrap();
    broker
        .unsubscribe(alice.id, 42)
        .into_ready()
        .unwrap()
        .unwrap();
    assert_eq!(publish(&broker, vec![to("/topic/a", "x")]), 3);
    broker.close(bob.id);
    broker.close(bob.id);
    assert_eq!(publish(&broker, vec![to("/topic/a", "x")]), 1);
    broker.close(alice.id);
    assert_eq!(publish(&broker, vec![to("/topic/a", "x")]), 0);
    assert_eq!(Arc::strong_count(&bob.outbox), 1);
}

#[test]
fn positions_count_up_within_an_epoch_and_a_forgotten_topic_starts_a_new_one() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker, None);
    alice.subscribe(&broker, 0, "/topic/a");
    publish(
        &broker,
        vec![
            to("/topic/a", "1"),
            to("/topic/b", "-"),
            to("/topic/a", "2"),
        ],
    );
    let positions: Vec<Position> = alice
        .take()
        .iter()
        .map(|d| d.message.position().unwrap())
        .collect();
    assert_eq!(positions[0].epoch, positions[1].epoch);
    assert_eq!([positions[0].sequence, positions[1].sequence], [1, 2]);

    broker
        .unsubscribe(alice.id, 0)
        .into_ready()
        .unwrap()
        .unwrap();
    assert_eq!(
        broker.destinations(),
        1,
        "nobody listens to /topic/b, so it leaves nothing behind"
    );
    broker.sweep(later(0));
    broker.sweep(later(1));
    assert_eq!(broker.destinations(), 1, "recently used");
    broker.sweep(later(2));
    assert_eq!(broker.destinations(), 0);

    alice.subscribe(&broker, 1, "/topic/a");
    publish(&broker, vec![to("/topic/a", "3")]);
    let position = alice.take()[0].message.position().unwrap();
    assert_ne!(position.epoch, positions[0].epoch);
    assert_eq!(position.sequence, 1);
}

#[test]
fn all_subscribers_see_one_order_whoever_publishes() {
    let broker = Arc::new(Hub::new(broker()));
    let clients: Vec<Client> = (0..4).map(|_| Client::open(&broker, None)).collect();
    for (n, client) in clients.iter().enumerate() {
        client.subscribe(
            &broker,
            0,
            if n % 2 == 0 { "/topic/a" } else { "/topic/**" },
        );
    }
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let broker = &broker;
            scope.spawn(move || {
                for n in 0..500 {
                    publish(broker, vec![to("/topic/a", &format!("{publisher}-{n}"))]);
                }
            });
        }
    });
    let seen: Vec<Vec<(u32, String)>> = clients.iter().map(Client::bodies).collect();
    assert_eq!(seen[0].len(), 2000);
    for other in &seen[1..] {
        assert_eq!(other, &seen[0]);
    }
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (_, body) in &seen[0] {
        let (publisher, n) = body.split_once('-').unwrap();
        let n: usize = n.parse().unwrap();
        assert_eq!(
            n,
            last.insert(publisher, n).map_or(0, |last| last + 1),
            "each publisher's own order"
        );
    }
}

#[test]
fn user_destinations_reach_every_session_of_the_user_or_one() {
    let broker = Hub::new(broker());
    let (desk, phone) = (
        Client::open(&broker, Some("a/b@c")),
        Client::open(&broker, Some("a/b@c")),
    );
    let stranger = Client::open(&broker, None);
    for client in [&desk, &phone, &stranger] {
        client.subscribe_user(&broker, 3, "/queue/errors");
    }
    let path = || Destination::parse("/queue/errors").unwrap();
    let user = Target::User {
        name: "a/b@c".into(),
        path: path(),
    };
    let to_user = Publish::new(user, Headers::new(), "user").shown_as("/user/queue/errors");
    assert_eq!(publish(&broker, vec![to_user]), 2);
    let to_session = |id| {
        Publish::new(
            Target::Session { id, path: path() },
            Headers::new(),
            "session",
        )
    };
    assert_eq!(publish(&broker, vec![to_session(stranger.id)]), 1);
    let delivered = desk.take();
    assert_eq!(delivered[0].message.destination(), "/user/queue/errors");
    assert_eq!(delivered[0].message.position(), None);
    assert_eq!(phone.bodies(), [(3, "user".into())]);
    assert_eq!(stranger.bodies(), [(3, "session".into())]);

    let other = Target::User {
        name: "a/b@c".into(),
        path: Destination::parse("/queue/other").unwrap(),
    };
    assert_eq!(
        publish(&broker, vec![Publish::new(other, Headers::new(), "x")]),
        0
    );
    broker.close(desk.id);
    broker.close(phone.id);
    let gone = Target::User {
        name: "a/b@c".into(),
        path: path(),
    };
    assert_eq!(
        publish(&broker, vec![Publish::new(gone, Headers::new(), "x")]),
        0
    );
}

#[test]
fn no_text_names_a_users_address() {
    let broker = Hub::new(broker());
    let victim = Client::open(&broker, Some("bob"));
    victim.subscribe_user(&broker, 0, "/queue/errors");
    let spy = Client::open(&broker, None);
    spy.subscribe(&broker, 0, "/topic/**");
    let user = Target::User {
        name: "bob".into(),
        path: Destination::parse("/queue/errors").unwrap(),
    };
    publish(&broker, vec![Publish::new(user, Headers::new(), "secret")]);
    assert_eq!(spy.bodies(), []);
}

#[test]
fn a_batch_ends_at_the_first_message_that_is_refused() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker, None);
    alice.subscribe(&broker, 0, "/topic/a");
    let batch = vec![
        to("/topic/a", "1"),
        to("/elsewhere", "2"),
        to("/topic/a", "3"),
    ];
    let refused = broker
        .publish(batch, NOW)
        .into_ready()
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.done, 1);
    assert_eq!(
        refused.to_string(),
        r#"no broker destination: "/elsewhere" is under none of /topic"#
    );
    assert_eq!(alice.bodies(), [(0, "1".to_owned())]);
}

#[test]
fn subscribing_elsewhere_or_without_a_session_is_refused() {
    let broker = Hub::new(broker());
    let alice = Client::open(&broker, None);
    for text in ["/topics/a", "/topic", "/**", "topic/a"] {
        let request = SubscribeRequest::new(alice.id, 0, Pattern::parse(text).unwrap());
        let answer = broker.subscribe(request).into_ready().unwrap();
        assert!(
            matches!(answer, Err(SubscribeError::UnknownDestination { .. })),
            "{text}"
        );
    }
    let request =
        SubscribeRequest::new(SessionId::random(), 0, Pattern::parse("/topic/a").unwrap());
    let answer = broker.subscribe(request).into_ready().unwrap();
    assert!(matches!(answer, Err(SubscribeError::UnknownSession { .. })));
}

#[test]
fn destinations_have_a_limit_and_forgotten_ones_make_room() {
    let broker = Hub::new(broker().max_destinations(2));
    let alice = Client::open(&broker, None);
    alice.subscribe(&broker, 0, "/topic/**");
    alice.subscribe(&broker, 1, "/topic/a");
    publish(&broker, vec![to("/topic/b", "x")]);
    let too_many = broker
        .publish(vec![to("/topic/c", "x")], NOW)
        .into_ready()
        .unwrap();
    assert_eq!(
        too_many.unwrap_err().error,
        PublishError::TooManyDestinations { limit: 2 }
    );
    let request = SubscribeRequest::new(alice.id, 2, Pattern::parse("/topic/d").unwrap());
    let answer = broker.subscribe(request).into_ready().unwrap();
    assert_eq!(
        answer,
        Err(SubscribeError::TooManyDestinations { limit: 2 })
    );
    for n in 0..3 {
        broker.sweep(later(n));
    }
    assert_eq!(broker.destinations(), 1, "the one that is subscribed to");
    assert_eq!(publish(&broker, vec![to("/topic/c", "x")]), 1);
}
