//! Engines that never answer: each request ends in an error that says so, and nothing hangs.

use std::time::Duration;

use tramline::broker::PublishError;
use tramline::events::DisconnectCause;
use tramline::publisher::SendError;
use tramline::test::{AckMode, TestClient, TestMessage, TestSubscription};

use super::support::{Node, Raw, answers, node, until};

/// From now on the engine answers nothing, and time passes when nothing else is left to do.
fn never_answer(node: &Node) {
    node.settle();
    node.engine.hold();
    tokio::time::pause();
}

/// The session ends with `error`, whose detail is that `outcome` is not known.
async fn ends(client: &TestClient, error: &str, outcome: &str) {
    let end = client.closed().await;
    assert_eq!(
        (end.code(), end.error()),
        (Some(1002), Some(error)),
        "{end}"
    );
    let expected = format!("the broker did not answer; whether it {outcome} is not known");
    assert_eq!(end.detail(), Some(&*expected));
}

/// A client with one delivery of a queue.
async fn consumer(node: &Node) -> (TestClient, TestSubscription, TestMessage) {
    let ada = node.connect("ada").await;
    let subscribing = ada.subscribe_with("/queue/jobs", |s| s.ack(AckMode::ClientIndividual));
    let mut jobs = subscribing.await;
    ada.send("/queue/jobs", "one").await;
    let job = jobs.next().await;
    (ada, jobs, job)
}

#[tokio::test]
async fn a_send() {
    let node = node().await;
    let ada = node.connect("ada").await;
    never_answer(&node);
    ada.send("/topic/a", "x").await;
    ends(&ada, "message not published", "has the message").await;
    assert_eq!(node.events().last().unwrap(), "disconnected ada Refused");
    assert!(node.users().is_empty());
}

#[tokio::test]
async fn what_follows_a_send_is_not_done() {
    let node = node().await;
    let raw = Raw::connect(&node.app).await;
    never_answer(&node);
    let frames = "SEND\ndestination:/topic/a\nreceipt:1\n\none\0\
                  SEND\ndestination:/topic/a\nreceipt:2\n\ntwo\0\
                  SUBSCRIBE\nid:0\ndestination:/topic/a\nreceipt:3\n\n\0\
                  DISCONNECT\nreceipt:4\n\n\0";
    assert_eq!(
        answers(&raw.last(frames).await),
        ["ERROR 1 message not published"]
    );
}

#[tokio::test]
async fn a_subscribe() {
    let node = node().await;
    let (ada, bob) = (node.connect("ada").await, node.connect("bob").await);
    never_answer(&node);
    for (client, to) in [(ada, "/topic/a"), (bob, "/queue/jobs")] {
        let subscribed = client.subscribe(to).await;
        ends(&client, "subscription refused", "subscribed").await;
        assert!(node.subscribers(to).is_empty());
        drop(subscribed);
    }
}

#[tokio::test]
async fn an_unsubscribe() {
    let node = node().await;
    let (ada, jobs, _job) = consumer(&node).await;
    let topic = ada.subscribe("/topic/a").await;
    never_answer(&node);
    // That a topic is no longer wanted needs no answer.
    topic.unsubscribe().await;
    let unsubscribed = tokio::spawn(jobs.unsubscribe());
    ends(&ada, "subscription not ended", "ended the subscription").await;
    assert!(unsubscribed.await.is_err(), "there is no receipt");
    assert_eq!(node.events().last().unwrap(), "disconnected ada Refused");
}

#[tokio::test]
async fn an_unsubscribe_that_asks_for_no_receipt_and_a_goodbye() {
    let node = node().await;
    let mut raw = Raw::connect(&node.app).await;
    let subscribe = "SUBSCRIBE\nid:0\ndestination:/queue/jobs\nreceipt:1\n\n\0";
    raw.until("receipt-id:1\n", subscribe).await;
    never_answer(&node);
    let frames = "UNSUBSCRIBE\nid:0\n\n\0\
                  DISCONNECT\nreceipt:2\n\n\0";
    assert_eq!(answers(&raw.last(frames).await), ["RECEIPT 1", "RECEIPT 2"]);
}

#[tokio::test]
async fn an_ack() {
    let node = node().await;
    let (ada, jobs, job) = consumer(&node).await;
    never_answer(&node);
    let acked = tokio::spawn(async move { jobs.ack(&job).await });
    ends(&ada, "not acknowledged", "settled the delivery").await;
    assert!(acked.await.is_err(), "there is no receipt");
}

#[tokio::test]
async fn a_commit() {
    let node = node().await;
    let raw = Raw::connect(&node.app).await;
    never_answer(&node);
    let frames = "BEGIN\ntransaction:t\nreceipt:1\n\n\0\
                  SEND\ntransaction:t\ndestination:/topic/a\nreceipt:2\n\nx\0\
                  SEND\ntransaction:t\ndestination:/app/say\nreceipt:3\n\nx\0\
                  COMMIT\ntransaction:t\nreceipt:4\n\n\0\
                  DISCONNECT\nreceipt:5\n\n\0";
    let said = raw.last(frames).await;
    let expected = [1, 2, 3].map(|receipt| format!("RECEIPT {receipt}"));
    let error = "ERROR 4 transaction not committed".to_owned();
    assert_eq!(answers(&said), [&expected[..], &[error]].concat());
    assert!(
        said.contains("the broker did not answer; whether"),
        "{said}"
    );
}

#[tokio::test]
async fn a_connect() {
    let node = node().await;
    node.events();
    never_answer(&node);
    let refused = node
        .app
        .try_connect_with(|client| client.user(tramline::User::new("ada")));
    let end = refused.await.unwrap_err();
    assert_eq!(end.error(), Some("session refused"));
    let expected = "the broker did not answer; whether it opened the session is not known";
    assert_eq!(end.detail(), Some(expected));
    assert_eq!(node.events(), ["connect ada", "disconnected ada Refused"]);
    assert!(node.app.registry().sessions().is_empty());
}

#[tokio::test]
async fn a_publisher() {
    let node = node().await;
    never_answer(&node);
    let publisher = node.app.publisher();
    for sent in [
        publisher.send("/topic/a", "x").await,
        publisher.send_to_user("ada", "/queue/x", "x").await,
    ] {
        let error = sent.unwrap_err();
        let unknown = matches!(error, SendError::Publish(PublishError::OutcomeUnknown));
        assert!(unknown, "{error:?}");
    }
}

/// The rejection does not need the engine that has just failed.
#[tokio::test]
async fn a_handler_s_reply() {
    let node = node().await;
    let ada = node.app.connect_as("ada").await;
    never_answer(&node);
    ada.send("/app/say", "x").await;
    let rejection = ada.expect_rejection().await;
    assert_eq!(
        (&*rejection.kind, &*rejection.destination),
        ("not-published", "/app/say")
    );
    assert!(rejection.error.contains("did not answer"), "{rejection:?}");
    ada.disconnect().await;
}

#[tokio::test]
async fn a_session_that_waits_can_be_closed() {
    let node = node().await;
    let ada = node.connect("ada").await;
    never_answer(&node);
    ada.send_without_receipt("/topic/a", "x");
    until("the answer", || (node.engine.held() == 1).then_some(())).await;
    let registry = node.app.registry();
    assert!(registry.close_session(ada.session_id(), "not you"));
    assert!(registry.sessions().is_empty());
    let end = ada.closed().await;
    assert_eq!(
        (end.code(), end.reason(), end.error()),
        (Some(1008), "not you", None)
    );
    assert_eq!(node.events().last().unwrap(), "disconnected ada Server");
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_is_gone_in_the_end() {
    let node = node().await;
    let ada = node.connect("ada").await;
    never_answer(&node);
    ada.send_without_receipt("/topic/a", "x");
    until("the answer", || (node.engine.held() == 1).then_some(())).await;
    ada.cut().await;
    let vanished = format!("disconnected ada {:?}", DisconnectCause::Vanished);
    let last = node.events().pop();
    assert!(last == Some(vanished) || last.as_deref() == Some("disconnected ada Refused"));
    assert!(node.app.registry().sessions().is_empty());
}

#[tokio::test]
async fn shutdown_ends() {
    let node = node().await;
    let (ada, bob) = (node.connect("ada").await, node.connect("bob").await);
    never_answer(&node);
    ada.send_without_receipt("/topic/a", "x");
    until("the answer", || (node.engine.held() == 1).then_some(())).await;
    let messaging = node.app.messaging();
    let left = messaging.shutdown(Duration::from_secs(5)).await;
    assert_eq!(left, 1, "ada's SEND is waited for");
    assert_eq!(bob.closed().await.code(), Some(1001));
    assert_eq!(messaging.shutdown(Duration::from_secs(60)).await, 0);
    // What became of her SEND is the last that she reads.
    ends(&ada, "message not published", "has the message").await;
}
