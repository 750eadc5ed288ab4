//! What travels, and how it is cut.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message as Foreign;
use tramline::endpoint::Compression;
use tramline::raw::{CloseCode, Message, Received};
use tramline_websocket::{Config, Connection, Deflate, OpCode, Role};

use super::*;

#[tokio::test]
async fn a_foreign_client_hears_its_echo() {
    let server = RawServer::echo().await;
    let url = format!("ws://{}/raw", server.address);
    let (mut client, answer) = tokio_tungstenite::connect_async(url).await.unwrap();
    assert_eq!(answer.status(), 101);
    let large = "ä".repeat(32 * 1024);
    let messages = [
        Foreign::text("Grüezi"),
        Foreign::binary(vec![0, 159, 146, 150]),
        Foreign::text(""),
        Foreign::binary(vec![]),
        Foreign::text(large),
        Foreign::binary(vec![7; 64 * 1024]),
    ];
    for message in messages {
        client.send(message.clone()).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), message);
    }
    client.send(Foreign::Ping("hello?".into())).await.unwrap();
    let pong = client.next().await.unwrap().unwrap();
    assert_eq!(pong, Foreign::Pong("hello?".into()));
    client.close(None).await.unwrap();
    while let Some(last) = client.next().await {
        assert_eq!(last.unwrap(), Foreign::Close(None));
    }
    server
        .counted("it is gone", |stats| stats.sessions_open == 0)
        .await;
    let stats = server.stats();
    assert_eq!((stats.messages_received, stats.messages_sent), (6, 6));
    assert_eq!((stats.vanished, stats.protocol_errors), (0, 0));
}

#[tokio::test]
async fn a_foreign_client_that_sends_all_at_once_hears_all_in_order() {
    let server = RawServer::echo().await;
    let url = format!("ws://{}/raw", server.address);
    let (client, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let (mut out, mut back) = client.split();
    let send = async {
        for n in 0..5000 {
            out.feed(Foreign::text(n.to_string())).await.unwrap();
        }
        out.flush().await.unwrap();
    };
    let hear = async {
        for n in 0..5000 {
            let message = back.next().await.unwrap().unwrap();
            assert_eq!(message, Foreign::text(n.to_string()));
        }
    };
    let both = async { tokio::join!(send, hear) };
    tokio::time::timeout(DEADLINE, both).await.unwrap();
}

#[tokio::test]
async fn fragments_are_one_message_and_pings_between_them_are_answered() {
    let server = RawServer::echo().await;
    let mut client = server.client().await;
    client.send_frame(0x01, b"Gr").await;
    client.send_frame(0x00, "ü".as_bytes()).await;
    client.send_frame(0x89, b"between").await;
    client.send_frame(0x80, b"ezi").await;
    client.expect_pong(b"between").await;
    assert_eq!(client.expect_text().await, "Grüezi");
    client.send_frame(0x02, &[1]).await;
    client.send_frame(0x80, &[2]).await;
    assert_eq!(client.expect_binary().await, [1, 2]);
}

#[tokio::test]
async fn a_handler_that_only_sends_has_its_pings_answered_and_notices_the_close() {
    let server = RawServer::start(RawEndpoint::builder(|socket: Socket| async move {
        let mut sent = 0;
        while socket.send(sent.to_string()).await.is_ok() {
            sent += 1;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }))
    .await;
    let mut client = server.client().await;
    assert_eq!(client.expect_text().await, "0");
    client.ping(b"?").await;
    client.close(1001, "bye").await;
    server
        .counted("the handler returned", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.stats().handler_errors, 0);
}

/// Names what comes.
async fn describe(mut socket: Socket) -> Result<(), SendError> {
    while let Some(received) = socket.receive_event().await {
        let line = match received {
            Received::Message(Message::Text(text)) => format!("text {text}"),
            Received::Message(Message::Binary(bytes)) => format!("{} bytes", bytes.len()),
            Received::Part { part, is_last } => {
                let text = part.as_text().map_or("bytes", |text| text);
                format!("part {text:?} {is_last}")
            }
            Received::Pong(payload) => format!("pong {payload:?}"),
            other => format!("{other:?}"),
        };
        socket.send(line).await?;
    }
    Ok(())
}

#[tokio::test]
async fn parts_are_handed_on_as_they_arrive() {
    let server = RawServer::start(RawEndpoint::builder(describe).partial_messages(true)).await;
    let mut client = server.client().await;
    client.send_frame(0x01, b"a\xe2").await;
    assert_eq!(client.expect_text().await, r#"part "a" false"#);
    client.send_frame(0x00, b"\x82\xacb").await;
    assert_eq!(client.expect_text().await, r#"part "€b" false"#);
    client.send_frame(0x80, b"").await;
    assert_eq!(client.expect_text().await, r#"part "" true"#);
    client.send("whole").await;
    assert_eq!(client.expect_text().await, r#"part "whole" true"#);
    // Half a frame is a part too.
    client.send_raw(b"\x82\x84\0\0\0\0ab").await;
    assert_eq!(client.expect_text().await, r#"part "bytes" false"#);
    client.send_raw(b"cd").await;
    assert_eq!(client.expect_text().await, r#"part "bytes" true"#);
}

#[tokio::test]
async fn who_receives_whole_messages_gets_them_put_together() {
    let server = RawServer::start(RawEndpoint::builder(echo).partial_messages(true)).await;
    let mut client = server.client().await;
    client.send_frame(0x01, b"a\xe2").await;
    server
        .counted("the first part", |stats| stats.messages_received == 1)
        .await;
    client.send_frame(0x00, b"\x82\xac").await;
    server
        .counted("the second part", |stats| stats.messages_received == 2)
        .await;
    client.send_frame(0x80, b"b").await;
    assert_eq!(client.expect_text().await, "a€b");
    client.send_frame(0x02, b"\xff").await;
    server
        .counted("another part", |stats| stats.messages_received == 4)
        .await;
    client.send_frame(0x80, b"\xfe").await;
    assert_eq!(client.expect_binary().await, b"\xff\xfe");
}

#[tokio::test]
async fn pongs_are_shown_to_those_who_want_them() {
    for (pongs, first) in [(true, r#"pong b"7""#), (false, "text x")] {
        let builder = RawEndpoint::builder(|socket: Socket| async move {
            socket.ping("7").await?;
            describe(socket).await
        });
        let server = RawServer::start(builder.pongs(pongs)).await;
        let mut client = server.client().await;
        client.send_frame(0x8a, b"7").await;
        client.send("x").await;
        assert_eq!(client.expect_text().await, first, "pongs {pongs}");
    }
}

#[tokio::test]
async fn a_ping_that_is_too_long_is_not_sent() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder).await;
    let mut client = server.client().await;
    let socket = next(&mut sockets).await;
    let refused = socket.ping(vec![0; 126]).await;
    assert_eq!(refused, Err(SendError::PingTooLong { len: 126 }));
    socket.ping(vec![0; 125]).await.unwrap();
    socket.send("after").await.unwrap();
    assert_eq!(client.expect_text().await, "after");
}

#[tokio::test]
async fn a_receive_that_is_dropped_loses_nothing() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder).await;
    let mut client = server.client().await;
    let mut socket = next(&mut sockets).await;
    for n in 0..50 {
        let waiting = tokio::time::timeout(std::time::Duration::from_micros(200), socket.receive());
        client.send(&n.to_string()).await;
        let message = match waiting.await {
            Ok(message) => message,
            Err(_) => socket.receive().await,
        };
        assert_eq!(message.unwrap().as_text(), Some(&*n.to_string()));
    }
}

#[tokio::test]
async fn large_messages_are_compressed_for_those_who_offer_it() {
    const OFFER: &str = "permessage-deflate; client_max_window_bits";
    let builder = RawEndpoint::builder(echo)
        .compression(Compression::On)
        .with_sockjs();
    let server = RawServer::start(builder).await;
    let line = "a \"quoted\" line\n".repeat(500);
    let array = serde_json::to_string(&[&line]).unwrap();
    let framed = |path: &str| path.ends_with("/websocket");
    for (path, offer) in [
        ("/raw", true),
        ("/raw", false),
        ("/raw/000/abc/websocket", true),
        ("/raw/000/abc/websocket", false),
    ] {
        let mut request = Request::upgrade(path);
        if offer {
            request = request.with("Sec-WebSocket-Extensions", OFFER);
        }
        let mut client = request.open(&server).await.without_stomp();
        let (said, heard) = if framed(path) {
            assert_eq!(client.expect_text().await, "o");
            (array.clone(), format!("a{array}"))
        } else {
            (line.clone(), line.clone())
        };
        // Its own echo, and what is for all.
        for broadcast in [false, true] {
            let before = client.received;
            if broadcast {
                server.endpoint().sessions().broadcast(line.clone());
            } else {
                client.send(&said).await;
            }
            assert_eq!(client.expect_text().await, heard, "{path} {offer}");
            let small = client.received - before < heard.len() / 10;
            assert_eq!(small, offer, "{path} {} bytes", client.received - before);
        }
        client.close(1000, "").await;
        server
            .counted("it is gone", |stats| stats.sessions_open == 0)
            .await;
    }
}

/// The frame of a message that is a thousand times as long as its frame.
fn bomb(len: usize) -> Vec<u8> {
    let deflate = Deflate::default();
    let agreement = deflate.accept([deflate.offer().as_str()]).unwrap();
    let mut client = Connection::new(Role::Client, Config::default()).with_deflate(agreement);
    let mut frame = Vec::new();
    client.send(OpCode::Binary, &vec![b'x'; len], &mut frame);
    assert!(frame.len() * 500 < len, "{}", frame.len());
    frame
}

/// One read can hold some seven hundred of these, 45 MiB together.
#[tokio::test]
async fn what_one_read_inflates_to_does_not_wait_in_memory() {
    const OFFER: &str = "permessage-deflate; client_no_context_takeover";
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder.compression(Compression::AboveSize(0))).await;
    let request = Request::upgrade("/raw").with("Sec-WebSocket-Extensions", OFFER);
    let mut client = request.open(&server).await.without_stomp();
    let mut socket = next(&mut sockets).await;
    let sent = 700;
    client.send_raw(&bomb(65_536).repeat(sent)).await;
    server
        .counted("some have come", |stats| stats.messages_received > 0)
        .await;
    for n in 1..=sent {
        let message = tokio::time::timeout(DEADLINE, socket.receive()).await;
        assert_eq!(message.unwrap().unwrap().len(), 65_536);
        // A quarter of a mebibyte, and what a kibibyte of input may become.
        let waiting = server.stats().messages_received - n as u64;
        assert!(waiting <= 4 + 16, "{waiting} messages wait");
    }
    // What came behind them is not lost.
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
}

/// So that others have their turn.
#[tokio::test]
async fn a_large_message_is_inflated_in_many_turns() {
    const OFFER: &str = "permessage-deflate; client_no_context_takeover";
    let (builder, mut sockets) = handed_over();
    let large = limits(|limits| limits.message = 16 << 20);
    let builder = builder
        .compression(Compression::AboveSize(0))
        .limits(large)
        .partial_messages(true);
    let server = RawServer::start(builder).await;
    let request = Request::upgrade("/raw").with("Sec-WebSocket-Extensions", OFFER);
    let mut client = request.open(&server).await.without_stomp();
    let mut socket = next(&mut sockets).await;
    client.send_raw(&bomb(16 << 20)).await;
    let (mut parts, mut len) = (0, 0);
    while let Some(Received::Part { part, is_last }) = socket.receive_event().await {
        parts += 1;
        len += part.len();
        if is_last {
            break;
        }
    }
    assert_eq!(len, 16 << 20);
    assert!(parts >= 16, "{parts} parts");
}

#[tokio::test]
async fn a_goodbye_is_heard_by_a_client_that_goes_on_sending_bombs() {
    const OFFER: &str = "permessage-deflate; client_no_context_takeover";
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder.compression(Compression::AboveSize(0))).await;
    let request = Request::upgrade("/raw").with("Sec-WebSocket-Extensions", OFFER);
    let mut client = request.open(&server).await.without_stomp();
    let socket = next(&mut sockets).await;
    client.send_raw(&bomb(65_536).repeat(2000)).await;
    socket.close(CloseCode::NORMAL, "");
    client.send_raw(&bomb(65_536).repeat(2000)).await;
    client.expect_close(1000, "").await;
    server
        .counted("it is gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.stats().protocol_errors, 0);
}

#[tokio::test]
async fn a_compressed_message_in_parts_is_the_same() {
    let builder = RawEndpoint::builder(echo)
        .compression(Compression::AboveSize(0))
        .partial_messages(true);
    let server = RawServer::start(builder).await;
    let request = Request::upgrade("/raw").with("Sec-WebSocket-Extensions", "permessage-deflate");
    let mut client = request.open(&server).await.without_stomp();
    let text: String = (0..9000).map(|n| format!("{n} ")).collect();
    for _ in 0..3 {
        client.send(&text).await;
        assert_eq!(client.expect_text().await, text);
    }
}
