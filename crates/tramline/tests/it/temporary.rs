//! Temporary queues: replies that only the session receives which asked for them.

use tramline::policy::{Policy, deny, permit};
use tramline_stomp::Version;

use crate::support::{Client, FrameExt, Server, Setup, broker};

async fn server() -> Server {
    Setup::open_to_all(broker()).start().await
}

const ASK: &str = "SEND\ndestination:/queue/ask\nreply-to:/temp-queue/answers\n\nhow many?\0";

/// Takes a request from the queue; returns the name that its reply goes to.
async fn taken(worker: &mut Client) -> String {
    let request = worker.expect_message("/queue/ask", "how many?").await;
    request.headers.get("reply-to").unwrap().to_owned()
}

/// RabbitMQ's way: the client subscribes to nothing.
#[tokio::test]
async fn a_reply_comes_without_a_subscription() {
    let server = server().await;
    let mut worker = Client::subscribed(&server, ["/queue/ask"]).await;
    for version in Version::ALL {
        let mut client = Client::connect_in(&server, version).await;
        for answer in ["7", "8"] {
            client.send(ASK).await;
            let name = taken(&mut worker).await;
            assert!(name.starts_with("/reply-queue/"), "{name}");
            worker.post(&name, answer).await;
            let reply = client.expect_message("/temp-queue/answers", answer).await;
            reply.has("subscription", "/temp-queue/answers");
        }
        client
            .done("UNSUBSCRIBE\nid:/temp-queue/answers\n\n\0")
            .await;
    }
}

/// ActiveMQ's way: the client subscribes, before or after it asks.
#[tokio::test]
async fn a_client_may_subscribe_to_its_replies() {
    let server = server().await;
    let mut worker = Client::subscribed(&server, ["/queue/ask"]).await;
    let mut client = Client::connect(&server).await;
    client.subscribe("mine", "/temp-queue/answers").await;
    client.send(ASK).await;
    let name = taken(&mut worker).await;
    worker.post(&name, "7").await;
    let reply = client.expect_message("/temp-queue/answers", "7").await;
    reply.has("subscription", "mine");

    let mut late = Client::connect(&server).await;
    late.send(ASK).await;
    let name = taken(&mut worker).await;
    late.subscribe("mine", "/temp-queue/answers").await;
    worker.post(&name, "8").await;
    let reply = late.expect_message("/temp-queue/answers", "8").await;
    reply.has("subscription", "mine");
    late.expect_nothing(&server).await;
}

#[tokio::test]
async fn no_other_session_receives_them_and_they_end_with_theirs() {
    let server = server().await;
    let mut worker = Client::subscribed(&server, ["/queue/ask"]).await;
    let mut client = Client::connect(&server).await;
    let mut other = Client::connect(&server).await;
    other.subscribe("s", "/temp-queue/answers").await;
    client.send(ASK).await;
    let name = taken(&mut worker).await;
    // Its name for replies is none to subscribe to.
    let mut thief = Client::connect(&server).await;
    thief
        .send(&format!("SUBSCRIBE\nid:0\ndestination:{name}\n\n\0"))
        .await;
    assert!(thief.expect("ERROR").await.text().contains("leads nowhere"));
    worker.post(&name, "7").await;
    client.expect_message("/temp-queue/answers", "7").await;
    other.expect_nothing(&server).await;
    // Its own queue of that name is its own.
    other.post("/temp-queue/answers", "8").await;
    other.expect_message("/temp-queue/answers", "8").await;
    client.expect_nothing(&server).await;
    client.done("DISCONNECT\n\n\0").await;
    worker
        .done(format!("SEND\ndestination:{name}\n\ntoo late\0"))
        .await;
}

/// Handlers and the application answer like clients.
#[tokio::test]
async fn the_application_replies_too() {
    let server = server().await;
    let mut worker = Client::subscribed(&server, ["/queue/ask"]).await;
    let mut client = Client::connect(&server).await;
    client.send(ASK).await;
    let name = taken(&mut worker).await;
    let publisher = server.messaging().publisher();
    let published = publisher.send(name, "9").await.unwrap();
    assert_eq!(published.local_receivers, 1);
    client.expect_message("/temp-queue/answers", "9").await;
}

#[tokio::test]
async fn the_policy_decides() {
    let closed = Policy::builder().on_subscribe("/temp-queue/**", deny());
    let closed = Setup::open_to_all(broker()).policy(closed.otherwise(permit()));
    let closed = closed.start().await;
    let mut client = Client::connect(&closed).await;
    client.send(ASK).await;
    let error = client.expect("ERROR").await;
    assert!(
        error
            .text()
            .contains("the policy denies subscriptions to it"),
        "{}",
        error.text()
    );
    let half = Policy::builder().on_message("/reply-queue/**", deny());
    let half = Setup::open_to_all(broker()).policy(half.otherwise(permit()));
    let half = half.start().await;
    let mut worker = Client::subscribed(&half, ["/queue/ask"]).await;
    let mut client = Client::connect(&half).await;
    client.send(ASK).await;
    let name = taken(&mut worker).await;
    worker
        .send(&format!("SEND\ndestination:{name}\n\n7\0"))
        .await;
    worker.expect("ERROR").await;
    client.expect_nothing(&half).await;
}

/// A subscription that a `reply-to` makes counts like others.
#[tokio::test]
async fn they_are_bounded() {
    let setup = Setup::open_to_all(broker()).limits(|limits| limits.subscriptions = 2);
    let server = setup.start().await;
    let mut client = Client::connect(&server).await;
    let ask = |at: usize| ASK.replace("answers", &at.to_string());
    client.send(&ask(0)).await;
    client.send(&ask(1)).await;
    client.send(&ask(2)).await;
    let error = client.expect("ERROR").await;
    assert!(
        error.text().contains("as many subscriptions as it may"),
        "{}",
        error.text()
    );
}
