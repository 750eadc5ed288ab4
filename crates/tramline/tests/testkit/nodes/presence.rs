//! Presence over all nodes: users count, not their sessions.

use std::time::Duration;

use super::support::{Node, nodes};

const ROOM: &str = "/topic/rooms/7";

/// Who is in the room, which every node sees alike.
fn members(nodes: &[&Node]) -> Vec<String> {
    nodes[0].settle();
    let members = nodes[0].app.presence().members(ROOM);
    for node in nodes {
        assert_eq!(node.app.presence().members(ROOM), members);
    }
    members
}

#[tokio::test]
async fn a_user_on_two_nodes_is_one_user() {
    let [one, two, three] = nodes(|engine| engine).await;
    let all = [&one, &two, &three];
    let watcher = three.connect("eve").await;
    let mut changes = watcher.subscribe("/topic/rooms/7/who").await;
    let (here, there) = (one.connect("ada").await, two.connect("ada").await);
    let bob = two.connect("bob").await;
    let first = here.subscribe(ROOM).await;
    assert_eq!(members(&all), ["ada"]);
    let second = there.subscribe(ROOM).await;
    let _bobs = bob.subscribe(ROOM).await;
    assert_eq!(members(&all), ["ada", "bob"]);
    first.unsubscribe().await;
    assert_eq!(
        members(&all),
        ["ada", "bob"],
        "she is there by another session"
    );
    second.unsubscribe().await;
    assert_eq!(members(&all), ["bob"]);
    bob.cut().await;
    assert!(members(&all).is_empty());

    let expected = [
        ("joined", "ada"),
        ("joined", "bob"),
        ("left", "ada"),
        ("left", "bob"),
    ];
    for (event, user) in expected {
        let announced = format!(r#"{{"event":"{event}","user":"{user}"}}"#);
        assert_eq!(changes.next_text().await, announced);
    }
    changes.expect_nothing().await;
    // Each node reports each change once.
    for node in all {
        let log = node.events().into_iter();
        let moves = log.filter(|line| line.starts_with("joined") || line.starts_with("left"));
        let expected = expected.map(|(event, user)| format!("{event} {user} {ROOM}"));
        assert_eq!(moves.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_node_that_is_gone_takes_its_users_with_it() {
    let [one, two] = nodes(|engine| engine).await;
    let (here, there) = (one.connect("ada").await, two.connect("ada").await);
    let bob = two.connect("bob").await;
    let _rooms = [
        here.subscribe(ROOM).await,
        there.subscribe(ROOM).await,
        bob.subscribe(ROOM).await,
    ];
    assert_eq!(members(&[&one, &two]), ["ada", "bob"]);
    let watcher = one.connect("eve").await;
    let mut changes = watcher.subscribe("/topic/rooms/7/who").await;
    one.events();
    assert_eq!(two.app.shutdown(Duration::from_secs(10)).await, 0);
    assert_eq!(members(&[&one]), ["ada"]);
    assert_eq!(one.events(), [format!("left bob {ROOM}")]);
    let left = r#"{"event":"left","user":"bob"}"#;
    assert_eq!(changes.next_text().await, left);
    changes.expect_nothing().await;
    for client in [there, bob] {
        client.closed().await;
    }
}

#[tokio::test]
async fn a_link_that_is_lost_and_restored_is_announced_on_both_sides() {
    let [one, two] = nodes(|engine| engine).await;
    let (ada, bob) = (one.connect("ada").await, two.connect("bob").await);
    let _rooms = [ada.subscribe(ROOM).await, bob.subscribe(ROOM).await];
    assert_eq!(members(&[&one, &two]), ["ada", "bob"]);
    let (eve, kim) = (one.connect("eve").await, two.connect("kim").await);
    let who = "/topic/rooms/7/who";
    let mut watched = [
        (eve.subscribe(who).await, "bob"),
        (kim.subscribe(who).await, "ada"),
    ];
    two.engine.lose();
    two.engine.restore();
    for (changes, other) in &mut watched {
        for event in ["left", "joined"] {
            let announced = format!(r#"{{"event":"{event}","user":"{other}"}}"#);
            assert_eq!(changes.next_text().await, announced);
        }
        changes.expect_nothing().await;
    }
}

/// On each node the last of her sessions to end may be the other node's.
#[tokio::test]
async fn a_user_who_leaves_two_nodes_at_once_has_left() {
    let [one, two] = nodes(|engine| engine).await;
    let (here, there) = (one.connect("ada").await, two.connect("ada").await);
    let _rooms = [here.subscribe(ROOM).await, there.subscribe(ROOM).await];
    assert_eq!(members(&[&one, &two]), ["ada"]);
    let watchers = [one.connect("eve").await, two.connect("kim").await];
    let mut watched = Vec::new();
    for watcher in &watchers {
        watched.push(watcher.subscribe("/topic/rooms/7/who").await);
    }
    let registries = [&one, &two].map(|node| node.app.registry());
    for registry in registries {
        registry.close_user("ada", "gone");
    }
    for changes in &mut watched {
        let left = r#"{"event":"left","user":"ada"}"#;
        assert_eq!(changes.next_text().await, left);
        changes.expect_nothing().await;
    }
}
