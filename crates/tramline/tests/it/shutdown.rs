//! The server's own end.

use std::time::Duration;

use crate::support::{Client, DEADLINE, Request, SHORT, Server, Tcp, eventually};

const GOING_AWAY: &str = "the server is going away";

#[tokio::test]
async fn shutdown_says_goodbye_and_waits() {
    let server = Server::start().await;
    let mut idle = Client::subscribed(&server, ["/topic/x"]).await;
    let mut early = Client::open(&server).await;
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(DEADLINE).await });
    idle.expect_close(1001, GOING_AWAY).await;
    early.expect_close(1001, GOING_AWAY).await;
    assert_eq!(shutdown.await.unwrap(), 0);
    let stats = server.stats();
    assert_eq!(
        (
            stats.sessions_open,
            stats.protocol_errors,
            stats.vanished,
            stats.timeouts
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(
        server.messaging().shutdown(DEADLINE).await,
        0,
        "twice is once"
    );
}

#[tokio::test]
async fn shutdown_lets_handlers_finish_and_their_replies_arrive() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/slow"]).await;
    client
        .send("SEND\ndestination:/app/slow\nreceipt:1\n\nanswer\0")
        .await;
    server.gate.started(1).await;
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(DEADLINE).await });

    // From the moment it began, nobody is let in.
    let refused = loop {
        let answer = Request::upgrade("/ws").begin(&server).await;
        if answer.status != 101 {
            break answer.status;
        }
    };
    assert_eq!(refused, 503);
    for request in [
        Request::upgrade("/ws"),
        Request::get("/sockjs/info"),
        Request::post("/sockjs/0/abc/xhr"),
    ] {
        let answer = request.send(&server).await;
        answer.is(503, "the server is going away\n");
    }
    assert_eq!(server.stats().requests_refused, 4);
    assert!(!shutdown.is_finished());

    server.gate.release();
    let mut commands = Vec::new();
    for _ in 0..2 {
        let (frame, _) = client.expect_any().await;
        commands.push(frame.command.as_str());
        if frame.command.as_str() == "MESSAGE" {
            assert_eq!(frame.body, "slow answer");
        }
    }
    commands.sort_unstable();
    assert_eq!(commands, ["MESSAGE", "RECEIPT"]);
    client.expect_close(1001, GOING_AWAY).await;
    assert_eq!(shutdown.await.unwrap(), 0);
    assert_eq!(server.gate.log(), ["slow answer"]);
}

#[tokio::test]
async fn shutdown_writes_what_is_queued() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    let publisher = server.messaging().publisher();
    let body = "x".repeat(4000);
    for _ in 0..100 {
        publisher.send("/topic/x", body.clone()).await.unwrap();
    }
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(DEADLINE).await });
    for _ in 0..100 {
        client.expect_message("/topic/x", &body).await;
    }
    client.expect_close(1001, GOING_AWAY).await;
    assert_eq!(shutdown.await.unwrap(), 0);
}

#[tokio::test]
async fn shutdown_tells_who_was_still_there_at_its_deadline() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client
        .send("SEND\ndestination:/app/slow\nreceipt:1\n\nx\0")
        .await;
    server.gate.started(1).await;
    let left = server.messaging().shutdown(Duration::from_millis(50)).await;
    assert_eq!(left, 1);
    server.gate.release();
    client.expect("RECEIPT").await;
    client.expect_close(1001, GOING_AWAY).await;
    assert_eq!(server.messaging().shutdown(DEADLINE).await, 0);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_sessions() {
    let mut server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    let polling = Request::post("/sockjs/0/abc/xhr").send(&server).await;
    polling.is(200, "o\n");
    let publisher = server.messaging().publisher();
    assert_eq!(
        publisher
            .send("/topic/x", "x")
            .await
            .unwrap()
            .local_receivers,
        1
    );
    client.expect_message("/topic/x", "x").await;
    server.drop_handles().await;
    client.expect_close(1001, GOING_AWAY).await;
    let left = || {
        let sent = publisher.send("/topic/x", "x");
        let mut sent = std::pin::pin!(sent);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match sent.as_mut().poll(&mut context) {
            std::task::Poll::Ready(sent) => sent.unwrap().local_receivers,
            std::task::Poll::Pending => unreachable!("the embedded broker answers at once"),
        }
    };
    eventually("the subscription is gone", || left() == 0).await;
}

const WINDOW: &str = "retry-after-ms=0..1000";

#[tokio::test]
async fn drain_closes_every_session_with_1012_and_a_window_to_come_back_in() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::subscribed(&server, ["/topic/x"]).await);
    }
    let mut early = Client::open(&server).await;
    let mut tcp = Tcp::connect(&server).await;
    let opened = Request::post("/sockjs/0/abc/xhr").send(&server).await;
    opened.is(200, "o\n");
    server
        .counted("all are there", |stats| stats.sessions_open == 13)
        .await;

    let messaging = server.messaging().clone();
    let drain = tokio::spawn(async move { messaging.drain(SHORT).await });
    for client in &mut clients {
        client.expect_close(1012, WINDOW).await;
    }
    early.expect_close(1012, WINDOW).await;
    tcp.expect_error(WINDOW).await;
    let closed = Request::post("/sockjs/0/abc/xhr").send(&server).await;
    closed.is(200, &format!("c[1012,\"{WINDOW}\"]\n"));
    assert_eq!(drain.await.unwrap(), 0);
    let stats = server.stats();
    assert_eq!((stats.sessions_open, stats.protocol_errors), (0, 0));
}

#[tokio::test]
async fn sessions_go_on_until_their_turn_and_new_ones_are_refused() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/greetings"]).await;
    let messaging = server.messaging().clone();
    let drain = tokio::spawn(async move { messaging.drain(Duration::from_secs(3600)).await });
    let refused = loop {
        let answer = Request::get("/sockjs/info").send(&server).await;
        if answer.status != 200 {
            break answer;
        }
    };
    refused.is(503, "the server is going away\n");
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3590..=3606).contains(&seconds), "{seconds}");
    client.send("SEND\ndestination:/app/hello\n\nWorld\0").await;
    client
        .expect_message("/topic/greetings", "Hello, World!")
        .await;

    // Who cannot wait any longer closes the rest at once.
    drain.abort();
    client.expect_close(1012, "retry-after-ms=0..3600000").await;
    assert_eq!(server.messaging().shutdown(DEADLINE).await, 0);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_sessions_that_have_ended() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let messaging = server.messaging().clone();
    let drain = tokio::spawn(async move { messaging.drain(Duration::from_secs(3600)).await });
    client.send("DISCONNECT\nreceipt:1\n\n\0").await;
    client.expect("RECEIPT").await;
    client.expect_close(1000, "").await;
    let left = tokio::time::timeout(DEADLINE, drain).await;
    assert_eq!(left.expect("nobody is there").unwrap(), 0);
}
