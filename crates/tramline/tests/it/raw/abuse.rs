//! Clients that mean harm or know no better: nobody else notices, and what they cost is bounded.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn handshakes_that_never_finish_make_no_sessions() {
    let server = RawServer::echo().await;
    let mut halves = Vec::new();
    for n in 0..300 {
        let mut half = TcpStream::connect(server.address).await.unwrap();
        let head = "GET /raw HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        half.write_all(&head.as_bytes()[..n % head.len()])
            .await
            .unwrap();
        halves.push(half);
    }
    server.echoes().await;
    assert_eq!(server.stats().sessions_total, 1);
    drop(halves);
    server.echoes().await;
}

#[tokio::test]
async fn interceptors_are_asked_once_for_each_and_those_who_leave_meanwhile_leave_nothing() {
    let asked = Log::default();
    let log = asked.clone();
    let builder = RawEndpoint::builder(echo).intercept(move |request| {
        log.add("asked");
        async move {
            tokio::time::sleep(SHORT).await;
            Ok(request)
        }
    });
    let server = RawServer::start(builder).await;
    let mut all = Vec::new();
    for _ in 0..20 {
        let mut leaves = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "GET /raw HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
            crate::support::KEY
        );
        leaves.write_all(request.as_bytes()).await.unwrap();
        all.push(leaves);
    }
    eventually("all were asked", || asked.lines().len() == 20).await;
    drop(all);
    server.echoes().await;
    server
        .counted("nothing is left", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(asked.lines().len(), 21);
}

#[tokio::test]
async fn fragments_without_end_end_at_the_limit() {
    let server = RawServer::echo().await;
    let mut client = server.client().await;
    client.send_frame(0x01, b"").await;
    let empty = [0x00, 0x80, 0, 0, 0, 0].repeat(4096);
    client.send_raw(&empty).await;
    let reason = "message in more than 4096 frames (`RawLimits::fragments`); send larger frames";
    client.expect_close(1009, reason).await;
    assert_eq!(server.stats().protocol_errors, 1);
    server.echoes().await;
}

/// Answers that the socket does not take are few, and of the latest pings (RFC 6455 §5.5.3): nothing gathers for a client
/// that reads nothing.
#[tokio::test]
async fn a_flood_of_pings_makes_nothing_grow() {
    const PINGS: usize = 200_000;
    let limits = limits(|limits| limits.outbox = 1000);
    let server = RawServer::start(RawEndpoint::builder(echo).limits(limits)).await;
    let request = Request::upgrade("/raw").receive_buffer(4096);
    let mut client = request.open(&server).await.without_stomp();
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.extend_from_slice(&[b'p'; 125]);
    for _ in 0..PINGS / 1000 {
        // More than all buffers between us hold: if the server waited for us to read, this would not end.
        client.send_raw(&ping.repeat(1000)).await;
    }
    client.send("there").await;
    let pongs = client.pongs_until("there").await;
    // What the kernel holds, and 130 more.
    assert!((130..PINGS / 2).contains(&pongs), "{pongs} pongs");
    assert_eq!(server.stats().protocol_errors, 0);
    assert_eq!(server.stats().messages_received, 1);
}

#[tokio::test]
async fn a_client_that_writes_byte_by_byte_is_understood() {
    let server = RawServer::echo().await;
    let mut client = server.client().await;
    let mut frame = vec![0x81, 0x80 | 12, 0, 0, 0, 0];
    frame.extend_from_slice("Grüezi mitn".as_bytes());
    for byte in frame {
        client.send_raw(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.expect_text().await, "Grüezi mitn");
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_close_is_let_go() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder).await;
    let answer = Request::upgrade("/raw").begin(&server).await;
    let mut stream = answer.stream;
    let socket = next(&mut sockets).await;
    socket.close(tramline::raw::CloseCode::NORMAL, "");
    // It neither closes nor leaves, and keeps sending.
    let mut close = [0; 4];
    stream.read_exact(&mut close).await.unwrap();
    assert_eq!(close, *b"\x88\x02\x03\xe8");
    while server.stats().sessions_open > 0 {
        // Once it is let go, writing fails.
        if stream.write_all(b"\x81\x81\0\0\0\0x").await.is_err() {
            break;
        }
        tokio::time::sleep(SHORT / 10).await;
    }
    server
        .counted("it is gone", |stats| stats.sessions_open == 0)
        .await;
}

#[tokio::test]
async fn many_that_read_nothing_are_each_closed_and_others_are_served() {
    let (builder, mut sockets) = handed_over();
    let limits = limits(|limits| limits.outbox = 100 * 1024);
    let server = RawServer::start(builder.limits(limits)).await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let slow = Request::upgrade("/raw")
            .receive_buffer(16 * 1024)
            .open(&server);
        stalled.push((slow.await, next(&mut sockets).await));
    }
    let mut reader = server.client().await;
    let last = next(&mut sockets).await.sender();
    let sessions = server.endpoint().sessions();
    let mut sent = 0;
    while server.stats().slow_consumers < 20 {
        sessions.broadcast(vec![b'x'; 50 * 1024]);
        sent += 1;
        // Who reads gets everything.
        assert_eq!(reader.expect_binary().await.len(), 50 * 1024);
        assert!(sent < 2000, "{} were closed", server.stats().slow_consumers);
    }
    assert!(!last.is_closed());
    assert_eq!(sessions.broadcast("the end"), 1);
    assert_eq!(reader.expect_text().await, "the end");
}
