//! Ends, by whosever doing: codes both ways, and who hears of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tramline::raw::CloseCode;

use super::*;
use crate::support::Told;

fn code(code: u16) -> CloseCode {
    CloseCode::new(code).unwrap()
}

#[tokio::test]
async fn a_handler_that_returns_closes_with_1000_after_its_last_word() {
    let server = RawServer::start(RawEndpoint::builder(|socket: Socket| async move {
        socket.send("one").await?;
        socket.send("two").await
    }))
    .await;
    let mut client = server.client().await;
    assert_eq!(client.expect_text().await, "one");
    assert_eq!(client.expect_text().await, "two");
    client.expect_close(1000, "").await;
    server
        .counted("it is gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.stats().handler_errors, 0);
}

#[tokio::test]
async fn a_handler_that_fails_closes_with_1011() {
    async fn fails(mut socket: Socket) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let number: i32 = socket.receive().await.unwrap().as_text().unwrap().parse()?;
        Ok(socket.send((number + 1).to_string()).await?)
    }
    let server = RawServer::start(RawEndpoint::builder(fails)).await;
    let mut client = server.client().await;
    client.send("41").await;
    assert_eq!(client.expect_text().await, "42");
    client.expect_close(1000, "").await;
    let mut client = server.client().await;
    client.send("forty-one").await;
    client.expect_close(1011, "the server failed").await;
    assert_eq!(server.stats().handler_errors, 1);
}

#[tokio::test]
async fn a_panic_costs_its_own_connection_only() {
    let server = RawServer::start(
        RawEndpoint::builder(|mut socket: Socket| {
            assert_ne!(socket.handshake().origin(), Some("https://panics.example"));
            async move {
                while let Some(message) = socket.receive().await {
                    assert_ne!(message.as_text(), Some("panic"), "as asked");
                    socket.send(message).await?;
                }
                Ok::<_, SendError>(())
            }
        })
        .allowed_origins(["*"]),
    )
    .await;
    let mut bystander = server.client().await;
    let mut client = server.client().await;
    client.send("first").await;
    client.send("panic").await;
    assert_eq!(client.expect_text().await, "first");
    client.expect_close(1011, "the server failed").await;
    assert_eq!(server.stats().handler_panics, 1);
    let early = Request::upgrade("/raw").with("Origin", "https://panics.example");
    early
        .open(&server)
        .await
        .expect_close(1011, "the server failed")
        .await;
    assert_eq!(server.stats().handler_panics, 2);
    bystander.send("still there?").await;
    assert_eq!(bystander.expect_text().await, "still there?");
    drop(bystander);
    server
        .counted("nothing is left", |stats| stats.sessions_open == 0)
        .await;
}

#[tokio::test]
async fn the_server_closes_with_a_code_of_its_own_after_what_is_queued() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder).await;
    let mut client = server.client().await;
    let mut socket = next(&mut sockets).await;
    socket.send("last words").await.unwrap();
    socket.close(code(4001), "no seat left");
    socket.close(code(4002), "the first counts");
    assert!(socket.is_closed());
    assert_eq!(socket.send("too late").await, Err(SendError::Closed));
    assert_eq!(socket.receive().await, None);
    assert_eq!(client.expect_text().await, "last words");
    client.expect_close(4001, "no seat left").await;
    let why = Closed::ByServer {
        code: code(4001),
        reason: "no seat left".into(),
    };
    assert_eq!(socket.closed().await, why);
    assert_eq!(socket.why_closed(), Some(why));
}

#[tokio::test]
async fn the_clients_close_comes_after_its_messages() {
    for (close, expected) in [(Some((3001, "done")), Some(code(3001))), (None, None)] {
        let (builder, mut sockets) = handed_over();
        let server = RawServer::start(builder).await;
        let mut client = server.client().await;
        let mut socket = next(&mut sockets).await;
        assert_eq!(socket.why_closed(), None);
        client.send("before").await;
        match close {
            Some((code, reason)) => client.close(code, reason).await,
            None => client.send_frame(0x88, b"").await,
        }
        let why = Closed::ByClient {
            code: expected,
            reason: close.map_or("", |(_, reason)| reason).into(),
        };
        assert_eq!(closed(&socket.sender()).await, why);
        assert_eq!(socket.receive().await.unwrap().as_text(), Some("before"));
        assert_eq!(socket.receive().await, None);
        assert_eq!(socket.send("x").await, Err(SendError::Closed));
        client
            .expect_close(close.map_or(1005, |(code, _)| code), "")
            .await;
        server
            .counted("it is gone", |stats| stats.sessions_open == 0)
            .await;
        assert_eq!(server.stats().vanished, 0);
    }
}

#[tokio::test]
async fn what_came_with_the_close_is_answered_before_it() {
    let server = RawServer::echo().await;
    let mut client = server.client().await;
    client
        .send_raw(b"\x81\x81\0\0\0\0a\x81\x81\0\0\0\0b\x88\x82\0\0\0\0\x03\xe8")
        .await;
    assert_eq!(client.expect_text().await, "a");
    assert_eq!(client.expect_text().await, "b");
    client.expect_close(1000, "").await;
    // So it is with what breaks a rule.
    let mut client = server.client().await;
    client.send_raw(b"\x81\x81\0\0\0\0a\x83\x80\0\0\0\0").await;
    assert_eq!(client.expect_text().await, "a");
    let reason = "opcode 3 is reserved; use 0, 1, 2, 8, 9 or 10";
    client.expect_close(1002, reason).await;
    assert_eq!(server.stats().messages_sent, 3);
}

#[tokio::test]
async fn a_client_that_vanishes_is_told_and_counted() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder).await;
    let client = server.client().await;
    let mut socket = next(&mut sockets).await;
    client.reset();
    let why = closed(&socket.sender()).await;
    assert!(matches!(why, Closed::Vanished { .. }), "{why:?}");
    assert_eq!(socket.receive().await, None);
    server
        .counted("it is gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.stats().vanished, 1);
}

#[tokio::test]
async fn a_handler_outlives_its_connection_and_ends_when_it_likes() {
    let log = Log::default();
    let written = log.clone();
    let server = RawServer::start(RawEndpoint::builder(move |mut socket: Socket| {
        let log = log.clone();
        async move {
            while socket.receive().await.is_some() {}
            tokio::time::sleep(SHORT).await;
            log.add("wrote it all down");
        }
    }))
    .await;
    let mut client = server.client().await;
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
    assert_eq!(server.stats().sessions_open, 1);
    server
        .counted("the handler returned", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(written.lines(), ["wrote it all down"]);
}

#[tokio::test]
async fn a_handler_that_does_not_end_after_its_connection_is_dropped() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&dropped);
    let mut limits = RawLimits::default();
    limits.handler_time = SHORT;
    // By pings it shows that a client is gone whose messages nobody reads.
    limits.keep_alive = Some(SHORT);
    let endpoint = RawEndpoint::builder(move |_socket: Socket| {
        let told = Told(Arc::clone(&told));
        async move {
            std::future::pending::<()>().await;
            drop(told);
        }
    });
    let server = RawServer::start(endpoint.limits(limits)).await;
    let mut polite = server.client().await;
    polite.close(1000, "").await;
    polite.expect_close(1000, "").await;
    let mut heard = server.client().await;
    heard.send("nobody reads this").await;
    heard.reset();
    server
        .counted("both are gone", |stats| {
            stats.sessions_open == 0 && stats.handler_timeouts == 2
        })
        .await;
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn shutdown_closes_with_1001_and_lets_nobody_in() {
    let server = RawServer::echo().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(server.client().await);
    }
    server
        .counted("three came", |stats| stats.sessions_open == 3)
        .await;
    let endpoint = server.endpoint().clone();
    let shutdown = tokio::spawn(async move { endpoint.shutdown(DEADLINE).await });
    for client in &mut clients {
        client.expect_close(1001, "the server is going away").await;
    }
    assert_eq!(shutdown.await.unwrap(), 0);
    let late = Request::upgrade("/raw").send(&server).await;
    late.is(503, "the server is going away\n");
}

#[tokio::test]
async fn drain_closes_with_1012_and_a_window_to_come_back_in() {
    let server = RawServer::echo().await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(server.client().await);
    }
    server
        .counted("five came", |stats| stats.sessions_open == 5)
        .await;
    let endpoint = server.endpoint().clone();
    let drain = tokio::spawn(async move { endpoint.drain(SHORT).await });
    for client in &mut clients {
        client.expect_close(1012, "retry-after-ms=0..1000").await;
    }
    assert_eq!(drain.await.unwrap(), 0);
    let late = Request::upgrade("/raw").send(&server).await;
    late.is(503, "the server is going away\n");
}

#[tokio::test]
async fn shutdown_says_who_did_not_make_it() {
    let server = RawServer::start(RawEndpoint::builder(|_socket: Socket| {
        std::future::pending::<()>()
    }))
    .await;
    let mut client = server.client().await;
    server
        .counted("it came", |stats| stats.sessions_open == 1)
        .await;
    assert_eq!(server.endpoint().shutdown(Duration::ZERO).await, 1);
    client.expect_close(1001, "the server is going away").await;
    assert_eq!(
        server.endpoint().shutdown(SHORT).await,
        1,
        "its handler hangs"
    );
}

#[tokio::test]
async fn dropping_the_last_handle_closes_with_1001() {
    let mut server = RawServer::echo().await;
    let mut client = server.client().await;
    client.send("x").await;
    client.expect_text().await;
    let sessions = server.endpoint().sessions();
    server.endpoint = None;
    server.task.abort();
    client.expect_close(1001, "the server is going away").await;
    eventually("all are gone", || sessions.is_empty()).await;
}
