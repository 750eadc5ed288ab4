//! Messages for users and sessions, wherever those are connected.

use tramline::test::{TestClient, TestSubscription};

use super::support::{Node, nodes};

/// A client of `ada` on each node, subscribed to `/user/queue/x`.
async fn adas(nodes: &[Node; 3]) -> (Vec<TestClient>, Vec<TestSubscription>) {
    let (mut clients, mut subscriptions) = (Vec::new(), Vec::new());
    for node in nodes {
        let ada = node.connect("ada").await;
        subscriptions.push(ada.subscribe("/user/queue/x").await);
        clients.push(ada);
    }
    (clients, subscriptions)
}

/// Each subscription has received just `expected`.
async fn each_received(node: &Node, subscriptions: &mut [TestSubscription], expected: &[&str]) {
    node.settle();
    for subscription in subscriptions {
        for text in expected {
            let message = subscription.next().await;
            assert_eq!(message.text(), *text);
            assert_eq!(message.destination(), "/user/queue/x");
        }
        subscription.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_publisher_on_any_node_reaches_every_session_once() {
    let nodes = nodes::<3>(|engine| engine).await;
    let (_clients, mut subscriptions) = adas(&nodes).await;
    let bob = nodes[1].connect("bob").await;
    let bobs = bob.subscribe("/user/queue/x").await;
    for (node, text) in nodes.iter().zip(["0", "1", "2"]) {
        let publisher = node.app.publisher();
        let sent = publisher.send_to_user("ada", "/queue/x", text).await;
        assert_eq!(sent.unwrap().local_receivers, 1, "of its own node");
        let missed = publisher.send_to_user("ada", "/queue/y", text).await;
        assert_eq!(missed.unwrap().local_receivers, 0);
    }
    each_received(&nodes[0], &mut subscriptions, &["0", "1", "2"]).await;
    bobs.expect_nothing().await;
}

#[tokio::test]
async fn a_handler_s_replies_to_a_user_reach_every_session_once() {
    let nodes = nodes::<3>(|engine| engine).await;
    let (clients, mut subscriptions) = adas(&nodes).await;
    let bob = nodes[2].connect("bob").await;
    let bobs = bob.subscribe("/user/queue/x").await;
    bob.send("/app/tell/ada", "by name").await;
    bobs.expect_nothing().await;
    clients[1].send("/app/all-of-mine", "her own").await;
    each_received(&nodes[0], &mut subscriptions, &["by name", "her own"]).await;
    bobs.expect_nothing().await;
}

#[tokio::test]
async fn a_reply_to_the_asking_session_reaches_no_other() {
    let nodes = nodes::<3>(|engine| engine).await;
    let (clients, mut subscriptions) = adas(&nodes).await;
    clients[1].send("/app/reply", "for you").await;
    each_received(&nodes[0], &mut subscriptions[1..2], &["for you"]).await;
    each_received(&nodes[0], &mut subscriptions, &[]).await;
}

#[tokio::test]
async fn a_client_s_send_to_a_user_is_the_policy_s_to_permit() {
    let nodes = nodes::<3>(|engine| engine).await;
    let (_clients, mut subscriptions) = adas(&nodes).await;
    let bob = nodes[2].connect("bob").await;
    bob.send("/user/ada/queue/x", "from bob").await;
    each_received(&nodes[0], &mut subscriptions, &["from bob"]).await;
    bob.send("/user/ada/queue/closed", "no").await;
    bob.expect_denied("/user/ada/queue/closed").await;
}

#[tokio::test]
async fn a_message_for_one_session_finds_it_on_its_node() {
    let nodes = nodes::<3>(|engine| engine).await;
    let (clients, mut subscriptions) = adas(&nodes).await;
    let session = clients[2].session_id();
    for (node, receivers) in nodes.iter().zip([0, 0, 1]) {
        let publisher = node.app.publisher();
        let sent = publisher.send_to_session(session, "/queue/x", "hers").await;
        assert_eq!(sent.unwrap().local_receivers, receivers);
    }
    each_received(&nodes[0], &mut subscriptions[2..], &["hers"; 3]).await;
    each_received(&nodes[0], &mut subscriptions, &[]).await;
}

#[tokio::test]
async fn who_unsubscribes_or_leaves_receives_nothing_more() {
    let nodes = nodes::<3>(|engine| engine).await;
    let (clients, mut subscriptions) = adas(&nodes).await;
    clients[0].disconnect().await;
    drop(subscriptions.remove(0));
    subscriptions.remove(0).unsubscribe().await;
    let again = clients[1].subscribe("/user/queue/other").await;
    let publisher = nodes[0].app.publisher();
    let sent = publisher.send_to_user("ada", "/queue/x", "late").await;
    assert_eq!(sent.unwrap().local_receivers, 0);
    each_received(&nodes[0], &mut subscriptions, &["late"]).await;
    again.expect_nothing().await;
}
