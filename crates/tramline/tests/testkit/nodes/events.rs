//! What each node's listeners are told, and that it is told once.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::support::{node, nodes, reads};

#[tokio::test]
async fn a_session_s_events_are_its_own_node_s() {
    let [here, there] = nodes(|engine| engine).await;
    for node in [&here, &there] {
        assert_eq!(node.events(), ["available"]);
    }
    let ada = there.connect("ada").await;
    let room = ada.subscribe("/topic/rooms/7").await;
    let _plain = ada.subscribe("/topic/a").await;
    room.unsubscribe().await;
    let _room = ada.subscribe("/topic/rooms/8").await;
    ada.disconnect().await;
    let at_home = [
        "connect ada",
        "connected ada",
        "joined ada /topic/rooms/7",
        "subscribed ada /topic/rooms/7",
        "subscribed ada /topic/a",
        "left ada /topic/rooms/7",
        "unsubscribed ada /topic/rooms/7",
        "joined ada /topic/rooms/8",
        "subscribed ada /topic/rooms/8",
        "left ada /topic/rooms/8",
        "disconnected ada Client",
    ];
    assert_eq!(there.events(), at_home);
    let moves = at_home.into_iter();
    let moves = moves.filter(|line| line.starts_with("joined") || line.starts_with("left"));
    assert_eq!(here.events(), moves.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_shutdown_is_reported_once() {
    let [here, there] = nodes(|engine| engine).await;
    let ada = there.connect("ada").await;
    there.events();
    for _ in 0..2 {
        assert_eq!(there.app.shutdown(Duration::from_secs(10)).await, 0);
    }
    assert_eq!(there.events(), ["disconnected ada Server", "unavailable"]);
    assert_eq!(here.events(), ["available"], "it goes on");
    ada.closed().await;
}

#[tokio::test]
async fn a_shutdown_or_drain_that_nobody_waits_for_stops_the_broker() {
    for drains in [false, true] {
        let node = node().await;
        let ada = node.connect("ada").await;
        node.events();
        let (app, time) = (node.app.messaging(), Duration::from_secs(10));
        let polled = std::future::poll_fn(|context| {
            Poll::Ready(match drains {
                true => pin!(app.drain(time)).poll(context),
                false => pin!(app.shutdown(time)).poll(context),
            })
        });
        assert_eq!(polled.await, Poll::Pending);
        ada.closed().await;
        let events = || node.log.lock().clone();
        reads(|| events().last().cloned(), Some("unavailable".to_owned())).await;
        assert_eq!(app.shutdown(time).await, 0);
        let unavailable = |line: &&String| *line == "unavailable";
        assert_eq!(events().iter().filter(unavailable).count(), 1);
    }
}
