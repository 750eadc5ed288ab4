//! What a client may not do, and what it hears then.

use std::time::Duration;

use crate::support::{Server, Setup};

use super::*;

/// Small limits, each of its own size.
fn small() -> RawLimits {
    limits(|limits| {
        limits.message = 100;
        limits.frame = Some(60);
        limits.fragments = 5;
    })
}

#[tokio::test]
async fn bad_input_is_closed_with_its_code_and_counted() {
    let long = [b'x'; 101];
    type Frames<'a> = &'a [(u8, &'a [u8])];
    let frames: [(Frames<'_>, u16, &str); 9] = [
        (
            &[(0x83, b"")],
            1002,
            "opcode 3 is reserved; use 0, 1, 2, 8, 9 or 10",
        ),
        (
            &[(0x09, b"")],
            1002,
            "control frame (opcode 9) without FIN; control frames cannot be fragmented",
        ),
        (
            &[(0x81, b"\xff")],
            1007,
            "text is not UTF-8 from byte 0 on; send bytes as a binary message",
        ),
        (
            &[(0x01, b"a"), (0x80, b"\xc0")],
            1007,
            "text is not UTF-8 from byte 1 on; send bytes as a binary message",
        ),
        (
            &[(0x82, &long[..61])],
            1009,
            "frame of 61 bytes, limit 60 (`RawLimits::frame`); send it in smaller frames",
        ),
        (
            &[(0x02, &long[..60]), (0x80, &long[..41])],
            1009,
            "message of 101 bytes or more, limit 100 (`RawLimits::message`); send it as several",
        ),
        (
            &[(0x82, &long)],
            1009,
            "message of 101 bytes or more, limit 100 (`RawLimits::message`); send it as several",
        ),
        (
            &[
                (0x02, b""),
                (0, b""),
                (0, b""),
                (0, b""),
                (0, b""),
                (0, b""),
            ],
            1009,
            "message in more than 5 frames (`RawLimits::fragments`); send larger frames",
        ),
        (
            &[(0x88, &[3, 238])],
            1002,
            "close code 1006 must not be sent; use 1000-1003, 1007-1014 or 3000-4999",
        ),
    ];
    for (frames, code, reason) in frames {
        for parts in [false, true] {
            let builder = RawEndpoint::builder(echo)
                .limits(small())
                .partial_messages(parts);
            let server = RawServer::start(builder).await;
            let mut client = server.client().await;
            client.send("good").await;
            assert_eq!(client.expect_text().await, "good");
            for (first, payload) in frames {
                client.send_frame(*first, payload).await;
            }
            client.expect_close(code, reason).await;
            server
                .counted("it is gone", |stats| stats.sessions_open == 0)
                .await;
            let stats = server.stats();
            assert_eq!(
                (stats.protocol_errors, stats.handler_errors),
                (1, 0),
                "{reason}"
            );
            server.echoes().await;
        }
    }
}

#[tokio::test]
async fn what_was_good_before_the_violation_is_received() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder).await;
    let mut client = server.client().await;
    let mut socket = next(&mut sockets).await;
    client.send_raw(b"\x81\x81\0\0\0\0a\x83\x80\0\0\0\0").await;
    let why = closed(&socket.sender()).await;
    assert!(
        matches!(&why, Closed::Violation { code, .. } if code.as_u16() == 1002),
        "{why:?}"
    );
    assert_eq!(socket.receive().await.unwrap().as_text(), Some("a"));
    assert_eq!(socket.receive().await, None);
}

#[tokio::test]
async fn a_message_at_its_limit_passes() {
    let server = RawServer::start(RawEndpoint::builder(echo).limits(small())).await;
    let mut client = server.client().await;
    for (first, len) in [(0x02, 60), (0, 0), (0, 0), (0, 0), (0x80, 40)] {
        client.send_frame(first, &vec![b'x'; len]).await;
    }
    assert_eq!(client.expect_binary().await, [b'x'; 100]);
}

#[tokio::test]
async fn a_connection_on_which_nothing_happens_is_closed_with_1001() {
    let idle = || limits(|limits| limits.idle_timeout = Some(SHORT));
    let server = RawServer::start(RawEndpoint::builder(echo).limits(idle())).await;
    let mut client = server.client().await;
    client.send("x").await;
    assert_eq!(client.expect_text().await, "x");
    let reason = "no message came or went for 300ms (`RawLimits::idle_timeout`)";
    client.expect_close(1001, reason).await;
    assert_eq!(server.stats().timeouts, 1);

    // Pings are no messages; what the server sends is.
    let server = RawServer::start(
        RawEndpoint::builder(|socket: Socket| async move {
            for n in 0..20 {
                tokio::time::sleep(SHORT / 5).await;
                socket.send(n.to_string()).await?;
            }
            std::future::pending::<Result<(), SendError>>().await
        })
        .limits(idle()),
    )
    .await;
    let mut client = server.client().await;
    for n in 0..20 {
        assert_eq!(client.expect_text().await, n.to_string());
    }
    client.ping(b"").await;
    client.expect_pong(b"").await;
    client.expect_close(1001, reason).await;
}

fn pinging() -> RawLimits {
    limits(|limits| {
        limits.keep_alive = Some(SHORT);
        limits.keep_alive_timeout = SHORT;
    })
}

#[tokio::test]
async fn a_half_open_connection_is_found_out() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder.limits(pinging())).await;
    // It is there, and says nothing, not even pong: as when its network is gone.
    let _client = server.client().await;
    let socket = next(&mut sockets).await;
    let why = closed(&socket.sender()).await;
    let error = "nothing came for 300ms after a ping (`keep_alive_timeout`)".into();
    assert_eq!(why, Closed::Silent { error });
    assert_eq!((server.stats().timeouts, server.stats().vanished), (1, 0));
    server
        .counted("it is gone", |stats| stats.sessions_open == 0)
        .await;
}

#[tokio::test]
async fn who_answers_pings_stays() {
    let pongs = Log::default();
    let log = pongs.clone();
    let server = RawServer::start(
        RawEndpoint::builder(move |mut socket: Socket| {
            let log = log.clone();
            async move {
                while let Some(event) = socket.receive_event().await {
                    log.add(format!("{event:?}"));
                    if log.lines().len() == 5 {
                        return socket.send("five pongs").await;
                    }
                }
                Ok(())
            }
        })
        .pongs(true)
        .limits(pinging()),
    )
    .await;
    let mut client = server.client().await;
    // Reading is what answers.
    assert_eq!(client.expect_text().await, "five pongs");
    assert_eq!(pongs.lines(), [r#"Pong(b"")"#; 5]);
    assert_eq!(server.stats().timeouts, 0);
}

#[tokio::test]
async fn a_busy_handler_is_not_taken_for_a_silent_client() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder.limits(pinging())).await;
    let mut client = server.client().await;
    let mut socket = next(&mut sockets).await;
    client.send("work").await;
    // The message waits, so nothing is read, and no pong is seen, for much longer than the timeout.
    tokio::time::sleep(SHORT * 5).await;
    assert_eq!(socket.receive().await.unwrap().as_text(), Some("work"));
    socket.send("done").await.unwrap();
    assert_eq!(client.expect_text().await, "done");
    assert_eq!(server.stats().timeouts, 0);
}

#[tokio::test]
async fn stomp_sessions_are_pinged_too() {
    let server = Setup::new()
        .limits(|limits| {
            limits.keep_alive = Some(SHORT);
            limits.keep_alive_timeout = SHORT;
            limits.heart_beat = tramline::limits::HeartBeat {
                send: 10_000,
                receive: 0,
            };
        })
        .start()
        .await;
    let silent = Client::connect(&server).await;
    server
        .counted("the silent one is found out", |stats| stats.timeouts == 1)
        .await;
    drop(silent);
    // Those that agreed on heart-beats too: what a page sends says less about the connection.
    let mut agreed = Client::open(&server).await;
    agreed
        .send("CONNECT\naccept-version:1.2\nheart-beat:0,10000\n\n\0")
        .await;
    agreed.expect("CONNECTED").await;
    server
        .counted("this one too", |stats| stats.timeouts == 2)
        .await;
    drop(agreed);
    serves(&server).await;
}

async fn serves(server: &Server) {
    server.serves().await;
}

#[tokio::test]
async fn nothing_more_is_read_while_messages_wait() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder).await;
    let mut client = server.client().await;
    let mut socket = next(&mut sockets).await;
    let message = "x".repeat(1000);
    let most = 256 * 1024 * 1024;
    let written = client
        .flood(&message, most, Duration::from_millis(500))
        .await;
    assert!(written < most, "all {written} bytes were taken");
    let waiting = server.stats().messages_received;
    assert!(waiting <= 66, "{waiting} messages wait in the server");
    // When the handler takes them, all the others follow.
    let whole = written / (1000 + 8);
    for n in 0..whole {
        let message = tokio::time::timeout(DEADLINE, socket.receive()).await;
        assert_eq!(
            message.unwrap().unwrap().len(),
            1000,
            "message {n} of {whole}"
        );
    }
}
