//! The registry of each node lists the sessions of all.

use std::net::SocketAddr;

use tramline::User;
use tramline::test::{TestConnect, TestMessaging};

use super::engine::Engine;
use super::engine::server::Server;
use super::support::{app, nodes, reads};

fn of(users: &[(&str, usize)]) -> Vec<(String, usize)> {
    let users = users.iter();
    users
        .map(|(name, sessions)| ((*name).to_owned(), *sessions))
        .collect()
}

fn by(subscribers: &[(&str, bool)]) -> Vec<(String, bool)> {
    let subscribers = subscribers.iter();
    subscribers
        .map(|(name, here)| ((*name).to_owned(), *here))
        .collect()
}

#[tokio::test]
async fn every_node_lists_the_users_sessions_and_subscriptions_of_all() {
    let nodes = nodes::<3>(|engine| engine).await;
    let [one, two, three] = &nodes;
    let (here, there) = (one.connect("ada").await, two.connect("ada").await);
    let bob = three.connect("bob").await;
    let anonymous = one.app.connect_with(TestConnect::without_rejections).await;
    let room = here.subscribe("/topic/rooms/7").await;
    let _all = bob.subscribe("/topic/rooms/*").await;
    let _queue = there.subscribe("/queue/jobs").await;
    let _mine = there.subscribe("/user/queue/x").await;
    one.settle();
    for node in &nodes {
        assert_eq!(node.users(), of(&[("ada", 2), ("bob", 1)]));
        let registry = node.app.registry();
        assert_eq!((registry.user_count(), registry.sessions().len()), (2, 4));
    }
    assert_eq!(
        one.subscribers("/topic/rooms/7"),
        by(&[("ada", true), ("bob", false)])
    );
    assert_eq!(two.subscribers("/topic/rooms/8"), by(&[("bob", false)]));
    assert_eq!(two.subscribers("/queue/jobs"), by(&[("ada", true)]));
    assert_eq!(three.subscribers("/queue/jobs"), by(&[("ada", false)]));
    assert_eq!(three.subscribers("/user/queue/x"), by(&[("ada", false)]));

    let seen = three
        .app
        .registry()
        .session(anonymous.session_id())
        .unwrap();
    assert!(seen.user().is_none() && seen.subscriptions().is_empty());
    assert!(
        one.app
            .registry()
            .session(bob.session_id())
            .unwrap()
            .node()
            .is_some()
    );
    assert!(
        three
            .app
            .registry()
            .session(bob.session_id())
            .unwrap()
            .node()
            .is_none()
    );

    room.unsubscribe().await;
    bob.disconnect().await;
    there.cut().await;
    one.settle();
    for (node, ada_is_here) in nodes.iter().zip([true, false, false]) {
        assert_eq!(node.users(), of(&[("ada", 1)]));
        assert_eq!(node.subscribers("/topic/rooms/7"), by(&[]));
        assert_eq!(node.subscribers("/queue/jobs"), by(&[]));
        let ada = node.app.registry().user("ada").unwrap();
        assert_eq!(ada.sessions()[0].id(), here.session_id());
        assert_eq!(ada.sessions()[0].node().is_none(), ada_is_here);
    }
}

#[tokio::test]
async fn a_session_elsewhere_is_described_with_roles_and_handshake() {
    let [here, there] = nodes(|engine| engine).await;
    let remote: SocketAddr = "192.0.2.7:1234".parse().unwrap();
    let user = User::new("ada").with_roles(["admin"]);
    let connected = there.app.connect_with(|client| {
        let client = client.user(user).remote(remote).path("/ws?x");
        client.origin("https://app.example").without_rejections()
    });
    let ada = connected.await;
    let subscription = ada.subscribe("/topic/*").await;
    here.settle();
    let known = here.app.registry().session(ada.session_id()).unwrap();
    let (user, handshake) = (known.user().unwrap(), known.handshake());
    assert!(user.name() == "ada" && user.has_role("admin") && !user.has_role("clerk"));
    assert_eq!(handshake.path(), "/ws");
    assert_eq!(handshake.origin(), Some("https://app.example"));
    assert_eq!(handshake.remote(), Some(remote));
    let subscriptions = known.subscriptions();
    assert_eq!(subscriptions.len(), 1);
    assert_eq!(subscriptions[0].destination, "/topic/*");
    let at_home = there.app.registry().session(ada.session_id()).unwrap();
    assert_eq!(at_home.subscriptions()[0].id, subscriptions[0].id);

    // A copy of the moment when it was asked for.
    subscription.unsubscribe().await;
    here.settle();
    assert_eq!(
        (known.subscriptions().len(), at_home.subscriptions().len()),
        (1, 0)
    );
    let again = here.app.registry().session(ada.session_id()).unwrap();
    assert!(again.subscriptions().is_empty());
}

#[tokio::test]
async fn a_node_that_stops_takes_its_sessions_with_it() {
    let [one, two, three] = nodes(|engine| engine).await;
    let (ada, bob) = (one.connect("ada").await, two.connect("bob").await);
    let _room = ada.subscribe("/topic/rooms/7").await;
    assert_eq!(
        one.app.shutdown(std::time::Duration::from_secs(10)).await,
        0
    );
    assert_eq!(ada.closed().await.code(), Some(1001));
    one.settle();
    for node in [&two, &three] {
        assert_eq!(node.users(), of(&[("bob", 1)]));
        assert_eq!(node.subscribers("/topic/rooms/7"), by(&[]));
    }
    assert_eq!(one.users(), of(&[]), "it is with the others no more");
    drop(bob);
}

/// Two nodes over the example's engine, which leaves when it is dropped.
fn two() -> [TestMessaging; 2] {
    let server = Server::new();
    [(); 2].map(|()| app(Engine::new(server.clone())).0)
}

#[tokio::test]
async fn a_node_that_is_dropped_is_gone_with_its_sessions() {
    let [here, there] = two();
    here.start().await.unwrap();
    let ada = there.connect_as("ada").await;
    let _room = ada.subscribe("/topic/rooms/7").await;
    let at_home = here.clone();
    let rooms = || at_home.registry().subscriptions("/topic/rooms/7").len();
    reads(rooms, 1).await;
    let (registry, presence) = (here.registry(), here.presence());
    reads(
        || presence.members("/topic/rooms/7"),
        vec!["ada".to_owned()],
    )
    .await;
    drop((ada, _room, there));
    reads(|| registry.sessions().len(), 0).await;
    reads(|| presence.members("/topic/rooms/7"), Vec::new()).await;
    assert!(registry.users().is_empty());
}
