//! Nodes that share a broker.

use tramline_broker::{Control, Destination, Ending, Headers, Publish, Target};
use tramline_relay::BrokerKind;

use crate::brokers::shared;
use crate::support::{Session, node, publishing, relay, unique, until, wait};

fn to_user(name: &str) -> Publish {
    let path = Destination::parse("/queue/news").unwrap();
    let name = name.to_owned().into();
    Publish::new(Target::User { name, path }, Headers::new(), "hello")
}

fn nodes_know_each_others_sessions(kind: BrokerKind) {
    let Some(broker) = shared(kind) else { return };
    let name = unique("").replace('/', "n");
    let here = node(relay(broker).nodes(name.clone()));
    let ann = Session::open(&here, Some("ann"));
    ann.subscribe_user(0, "/queue/news");

    // One that comes later learns what is there, and is learned of.
    let there = node(relay(broker).nodes(name.clone()));
    until("ann, seen from there", || {
        (there.users() == ["ann"]).then_some(())
    });
    let bob = Session::open(&there, Some("bob"));
    until("bob, seen from here", || {
        (here.users() == ["ann", "bob"]).then_some(())
    });
    until("ann's subscription", || {
        let members = there.remote_members_of("ann");
        (members.len() == 1 && members[0].subscriptions.len() == 1).then_some(())
    });

    // A stranger with another name is none of them.
    let stranger = node(relay(broker).nodes(format!("{name}-other")));
    wait(publishing(&there, to_user("ann"))).unwrap();
    assert_eq!(ann.body(), "hello");
    assert!(stranger.users().is_empty());

    assert!(here.end_session(bob.id, 4000, "out"));
    let ending = Ending::Requested {
        code: 4000,
        reason: "out".into(),
    };
    assert_eq!(bob.control(), Control::End(ending));
    until("bob's end, seen from here", || {
        (here.users() == ["ann"]).then_some(())
    });

    // A node that stops takes its sessions along.
    let eve = Session::open(&there, Some("eve"));
    until("eve, seen from here", || {
        (here.users() == ["ann", "eve"]).then_some(())
    });
    wait(there.stop(std::time::SystemTime::now().into()));
    until("eve's end, seen from here", || {
        (here.users() == ["ann"]).then_some(())
    });
    drop(eve);
}

#[test]
fn by_rabbitmq() {
    nodes_know_each_others_sessions(BrokerKind::RabbitMq);
}

#[test]
fn by_activemq() {
    nodes_know_each_others_sessions(BrokerKind::ActiveMq);
}

#[test]
fn by_artemis() {
    nodes_know_each_others_sessions(BrokerKind::Artemis);
}
