//! What the broker refuses, what it is asked for, and who is disturbed.

use tramline_broker::{Hub, Publish, PublishError, SubscribeError, SubscribeOptions, Target};
use tramline_relay::BrokerKind;

use crate::brokers::shared;
use crate::proxy::Proxy;
use crate::support::{
    Session, body, message, node, publishing, relay, relay_to, send, unique, wait,
};

const RABBIT: BrokerKind = BrokerKind::RabbitMq;

#[test]
fn ten_thousand_subscribers_are_one_subscription() {
    let Some(broker) = shared(RABBIT) else { return };
    let proxy = Proxy::before(broker.address());
    let hub = node(relay_to(&proxy.address));
    let topic = unique("/topic");
    let sessions: Vec<Session> = (0..10_000).map(|_| Session::open(&hub, None)).collect();
    for session in &sessions {
        session.subscribe(0, &topic);
    }
    send(&hub, &topic, "hello");
    for session in &sessions {
        assert_eq!(session.body(), "hello");
    }
    // The first one tries the destination.
    assert_eq!(proxy.count("SUBSCRIBE\n"), 2 + proxy.count("UNSUBSCRIBE\n"));
    assert_eq!(proxy.count("UNSUBSCRIBE\n"), 1);
    assert_eq!(proxy.count("CONNECT\n"), 3);
}

#[test]
fn a_refused_destination_disturbs_nobody_else() {
    let Some(broker) = shared(RABBIT) else { return };
    let hub = node(relay(broker).topics("/exchange/there-is-none"));
    let (topic, session) = (unique("/topic"), Session::open(&hub, None));
    session.subscribe(0, &topic);
    send(&hub, &topic, "before");
    assert_eq!(session.body(), "before");

    let refused = session.try_subscribe(1, "/exchange/there-is-none/a");
    assert!(
        matches!(refused, Err(SubscribeError::Refused { .. })),
        "{refused:?}"
    );
    let batch = vec![
        message(&topic, "1"),
        message("/exchange/there-is-none/a", "2"),
        message(&topic, "3"),
    ];
    let refused = wait(hub.publish(batch, std::time::SystemTime::now().into())).unwrap_err();
    assert_eq!(refused.done, 1);
    assert!(
        matches!(refused.error, PublishError::Refused { .. }),
        "{refused:?}"
    );
    assert_eq!(refused.rest.len(), 1, "what is behind it is given back");

    send(&hub, &topic, "after");
    // A notice that messages were missed would panic here.
    for expected in ["1", "after"] {
        assert_eq!(body(&session.take_only()), expected);
    }
}

#[test]
fn a_wrong_password_is_the_reason_of_the_failed_start() {
    let Some(broker) = shared(RABBIT) else { return };
    let hub = Hub::new(relay(broker).login("guest", "wrong-password"));
    let error = wait(hub.start()).unwrap_err().to_string();
    assert!(!error.contains("wrong-password"), "{error}");
    assert!(
        error.to_lowercase().contains("connect") || error.contains("denied"),
        "{error}"
    );
}

#[test]
fn wildcards_and_odd_names_reach_their_subscribers() {
    for kind in [RABBIT, BrokerKind::ActiveMq, BrokerKind::Artemis] {
        let Some(broker) = shared(kind) else { return };
        let hub = node(relay(broker));
        let (base, session) = (unique("/topic"), Session::open(&hub, None));
        session.subscribe(0, &format!("{base}/*/price"));
        session.subscribe(1, &format!("{base}/**"));
        session.subscribe(2, &format!("{base}/a*"));
        for (name, slots) in [
            ("acme.com/price", vec![0, 1]),
            ("abc", vec![1, 2]),
            ("b é%2F#>,x", vec![1]),
            ("deep/er/still", vec![1]),
        ] {
            let destination = format!("{base}/{name}");
            send(&hub, &destination, name);
            let mut seen = Vec::new();
            for _ in &slots {
                let taken = session.take();
                assert_eq!(taken.message.destination(), destination, "{kind}");
                assert_eq!(body(&taken), name);
                seen.push(taken.slot);
            }
            seen.sort_unstable();
            assert_eq!(seen, slots, "{name} at {kind}");
        }
    }
}

#[test]
fn a_durable_subscription_keeps_what_comes_meanwhile() {
    for kind in [RABBIT, BrokerKind::ActiveMq, BrokerKind::Artemis] {
        let Some(broker) = shared(kind) else { return };
        let hub = node(relay(broker));
        let topic = unique("/topic");
        let subscribe = |session: &Session| {
            let mut options = SubscribeOptions::default();
            options.durable = Some("news".into());
            let request = session
                .request(0, &topic)
                .acknowledged(tramline_broker::AckMode::Client);
            wait(hub.subscribe(request.options(options)))
                .unwrap_or_else(|error| panic!("{kind}: {error}"));
        };
        let user = unique("ann");
        let session = Session::open(&hub, Some(&user));
        subscribe(&session);
        send(&hub, &topic, "1");
        let taken = session.take();
        assert_eq!(session.settle(&taken), Ok(()));
        wait(hub.unsubscribe(session.id, 0)).expect("it ends");
        hub.close(session.id);
        send(&hub, &topic, "2");
        let session = Session::open(&hub, Some(&user));
        subscribe(&session);
        assert_eq!(session.body(), "2", "{kind}");
        wait(hub.unsubscribe_durable(session.id, 0)).expect("it ends");
        hub.close(session.id);
        send(&hub, &topic, "3");
        let session = Session::open(&hub, Some(&user));
        subscribe(&session);
        send(&hub, &topic, "4");
        assert_eq!(session.body(), "4", "{kind}");
    }
}

#[test]
fn a_message_reaches_its_queue_as_it_was() {
    for kind in [RABBIT, BrokerKind::ActiveMq, BrokerKind::Artemis] {
        let Some(broker) = shared(kind) else { return };
        let hub = node(relay(broker).send_headers("/queue/**", [("persistent", "true")]));
        let (queue, session) = (unique("/queue"), Session::open(&hub, None));
        let mut publish: Publish = message(&format!("{queue}/a.b"), "\0body\u{e9}");
        publish.headers.push("content-type", "text/plain");
        publish.headers.push("x-own", "a:b\\c\nd");
        publish.headers.push("receipt", "forged");
        assert!(matches!(publish.target, Target::Destination(_)));
        wait(publishing(&hub, publish)).expect("it is published");
        session.subscribe(0, &format!("{queue}/a.b"));
        let taken = session.take();
        assert_eq!(body(&taken), "\0body\u{e9}", "{kind}");
        let headers = taken.message.headers();
        assert_eq!(headers.get("content-type"), Some("text/plain"), "{kind}");
        assert_eq!(headers.get("x-own"), Some("a:b\\c\nd"), "{kind}");
        assert_eq!(headers.get("receipt"), None, "{kind}");
        assert_eq!(headers.get("persistent"), Some("true"), "{kind}");
        assert!(
            headers
                .iter()
                .all(|(name, _)| !name.starts_with("tramline-")),
            "{headers:?}"
        );
        assert_eq!(
            taken.message.destination(),
            format!("{queue}/a.b"),
            "{kind}"
        );
        assert_eq!(session.settle(&taken), Ok(()));
    }
}

#[test]
fn a_durable_subscription_in_use_is_refused_with_the_brokers_reason() {
    let Some(broker) = shared(BrokerKind::ActiveMq) else {
        return;
    };
    let hub = node(relay(broker));
    let (topic, user) = (unique("/topic"), unique("ann"));
    let subscribe = |session: &Session| {
        let mut options = SubscribeOptions::default();
        options.durable = Some("news".into());
        wait(hub.subscribe(session.request(0, &topic).options(options)))
    };
    let sessions = [(); 2].map(|()| Session::open(&hub, Some(&user)));
    subscribe(&sessions[0]).expect("it is new");
    let refused = subscribe(&sessions[1]).unwrap_err().to_string();
    assert!(refused.contains("connected"), "{refused}");
    send(&hub, &topic, "to the first");
    assert_eq!(sessions[0].body(), "to the first");
}

#[test]
fn clients_have_no_part_in_what_nodes_say() {
    let Some(broker) = shared(RABBIT) else { return };
    let name = unique("").replace('/', "n");
    let hub = node(relay(broker).nodes(name.clone()));
    let session = Session::open(&hub, None);
    session.subscribe(0, "/topic/**");
    let own = format!("/topic/tramline/nodes/{name}");
    let refused = wait(publishing(&hub, message(&own, "forged"))).unwrap_err();
    assert!(
        matches!(refused.error, PublishError::Refused { .. }),
        "{refused:?}"
    );
    assert!(session.try_subscribe(1, &own).is_err());
    // Its announcement comes by that topic.
    let other = node(relay(broker).nodes(name));
    let _ann = Session::open(&other, Some("ann"));
    crate::support::until("ann", || (hub.users() == ["ann"]).then_some(()));
    let topic = unique("/topic");
    send(&hub, &topic, &topic);
    let seen = until_body(&session, &topic);
    assert!(
        seen.iter()
            .all(|destination| !destination.contains("nodes")),
        "{seen:?}"
    );
}

/// Takes deliveries up to the one with this body; returns their destinations. Other tests publish, too.
fn until_body(session: &Session, body_of_last: &str) -> Vec<String> {
    let mut destinations = Vec::new();
    loop {
        let taken = session.take();
        destinations.push(taken.message.destination().to_owned());
        if body(&taken) == body_of_last {
            return destinations;
        }
    }
}
