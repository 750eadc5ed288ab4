//! Engines that answer late: receipts wait for them, and the order stays.

use std::pin::pin;

use super::harsh::Harsh;
use super::support::{Raw, answers, node, nodes, until};

/// More than a session reads and publishes at once.
const EACH: usize = 50;

#[tokio::test]
async fn every_node_sees_one_order() {
    let nodes = nodes::<3>(Harsh::late).await;
    let mut clients = Vec::new();
    let mut subscriptions = Vec::new();
    for (node, pattern) in nodes.iter().zip(["/topic/a", "/topic/*", "/topic/a"]) {
        let client = node.connect("ada").await;
        subscriptions.push(client.subscribe(pattern).await);
        clients.push(client);
    }
    for number in 0..EACH {
        for (at, client) in clients.iter().enumerate() {
            // Some by way of a handler.
            let to = if number % 2 == 0 {
                "/topic/a"
            } else {
                "/app/say"
            };
            client.send_without_receipt(to, format!("{at} {number}"));
        }
    }
    let mut orders = Vec::new();
    for subscription in &mut subscriptions {
        let mut order = Vec::new();
        for _ in 0..3 * EACH {
            order.push(subscription.next_text().await);
        }
        subscription.expect_nothing().await;
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
    for at in 0..3 {
        let own = format!("{at} ");
        let of_one = orders[0].iter().filter(|text| text.starts_with(&own));
        let expected: Vec<_> = (0..EACH).map(|number| format!("{own}{number}")).collect();
        assert!(of_one.eq(&expected), "each publisher's own order");
    }
}

#[tokio::test]
async fn a_receipt_waits_for_the_confirmation() {
    let [here, there] = nodes(|engine| engine).await;
    let (ada, bob) = (here.connect("ada").await, there.connect("bob").await);
    let mut received = bob.subscribe("/topic/a").await;
    for (to, held) in [("/topic/a", 1), ("/app/say", 1)] {
        here.engine.hold();
        let mut sending = pin!(ada.send(to, "x"));
        tokio::select! {
            biased;
            () = &mut sending => panic!("{to}: no receipt before the confirmation"),
            text = received.next_text() => assert_eq!(text, "x"),
        }
        // The subscriber on the other node has it, and the sender's receipt still waits.
        tokio::select! {
            biased;
            () = &mut sending => panic!("{to}: no receipt before the confirmation"),
            () = until("the answer", || (here.engine.held() == held).then_some(())) => {}
        }
        here.engine.release();
        sending.await;
    }
    received.expect_nothing().await;
}

#[tokio::test]
async fn receipts_come_in_the_order_of_their_frames() {
    let [node] = nodes(Harsh::late).await;
    let watcher = node.connect("eve").await;
    let mut watched = watcher.subscribe("/topic/a").await;
    let frames = [
        "SUBSCRIBE\nid:0\ndestination:/topic/a\nreceipt:0\n\n\0",
        "SEND\ndestination:/topic/a\nreceipt:1\n\none\0",
        "SEND\ndestination:/topic/a\nreceipt:2\n\ntwo\0",
        "UNSUBSCRIBE\nid:0\nreceipt:3\n\n\0",
        "SEND\ndestination:/app/say\nreceipt:4\n\nthree\0",
        "DISCONNECT\nreceipt:5\n\n\0",
    ];
    let said = Raw::connect(&node.app).await.last(&frames.concat()).await;
    let expected = (0..6).map(|receipt| format!("RECEIPT {receipt}"));
    assert_eq!(answers(&said), expected.collect::<Vec<_>>());
    for text in ["one", "two", "three"] {
        assert_eq!(watched.next_text().await, text);
    }
    watched.expect_nothing().await;
}

#[tokio::test]
async fn a_subscription_counts_once_it_is_confirmed() {
    let node = node().await;
    let ada = node.connect("ada").await;
    node.events();
    node.engine.hold();
    {
        let mut subscribing = pin!(ada.subscribe("/topic/rooms/7"));
        tokio::select! {
            biased;
            _ = &mut subscribing => panic!("no receipt before the confirmation"),
            () = until("the answer", || (node.engine.held() == 1).then_some(())) => {}
        }
        assert!(node.subscribers("/topic/rooms/7").is_empty());
        assert!(node.app.presence().members("/topic/rooms/7").is_empty());
        assert!(node.events().is_empty());
        node.engine.release();
        let mut room = subscribing.await;
        assert_eq!(node.subscribers("/topic/rooms/7").len(), 1);
        assert_eq!(
            node.events(),
            ["joined ada /topic/rooms/7", "subscribed ada /topic/rooms/7"]
        );
        ada.send("/topic/rooms/7", "x").await;
        assert_eq!(room.next_text().await, "x");
    }
}
