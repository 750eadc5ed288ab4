//! RFC 6455 on the wire: what breaks it, and what may look odd and is right.

use crate::support::{Client, FrameExt, Server, Setup};

/// A client that breaks WebSocket is closed with the code for it, counted, and has nothing left behind.
async fn is_closed(first: u8, payload: &[u8], code: u16, reason: &str) {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    client.send_frame(first, payload).await;
    client.expect_close(code, reason).await;
    server
        .counted("the session is gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.stats().protocol_errors, 1);
    assert_eq!(server.receivers("/topic/x").await, 0);
    server.serves().await;
}

#[tokio::test]
async fn an_unmasked_frame_is_1002() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send_raw(b"\x81\x05Hello").await;
    let reason = "frame from a client without a mask; mask every frame";
    client.expect_close(1002, reason).await;
    assert_eq!(server.stats().protocol_errors, 1);
    server.serves().await;
}

#[tokio::test]
async fn a_reserved_opcode_is_1002() {
    let reason = "opcode 3 is reserved; use 0, 1, 2, 8, 9 or 10";
    is_closed(0x83, b"", 1002, reason).await;
}

#[tokio::test]
async fn a_reserved_bit_is_1002() {
    let reason = "reserved bits 100 set, which no negotiated extension uses; send them as 000";
    is_closed(0xc1, b"", 1002, reason).await;
}

#[tokio::test]
async fn a_continuation_of_nothing_is_1002() {
    let reason = "continuation frame without a message to continue; begin with opcode 1 or 2";
    is_closed(0x80, b"x", 1002, reason).await;
}

#[tokio::test]
async fn a_fragmented_ping_is_1002() {
    let reason = "control frame (opcode 9) without FIN; control frames cannot be fragmented";
    is_closed(0x09, b"", 1002, reason).await;
}

#[tokio::test]
async fn a_close_code_that_must_not_be_sent_is_1002() {
    let reason = "close code 1005 must not be sent; use 1000-1003, 1007-1014 or 3000-4999";
    is_closed(0x88, &1005u16.to_be_bytes(), 1002, reason).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_1007() {
    let reason = "text is not UTF-8 from byte 31 on; send bytes as a binary message";
    let message = b"SEND\ndestination:/topic/open/x\n\xff\n\0";
    is_closed(0x81, message, 1007, reason).await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_1009() {
    // 64 KiB of body and 128 KiB for headers, and as much again for what SockJS escapes.
    let reason =
        "message of 393217 bytes or more, limit 393216 (by `Limits::body`); send it as several";
    is_closed(0x81, &vec![b'x'; 393_217], 1009, reason).await;
}

#[tokio::test]
async fn a_fragmented_message_over_the_limit_is_1009() {
    let server = Setup::new()
        .limits(|limits| {
            limits.body = 1000;
            limits.header_line = 100;
            limits.header_count = 10;
        })
        .start()
        .await;
    let mut client = Client::open(&server).await;
    client.send_frame(0x01, &[b'\n'; 3000]).await;
    client.send_frame(0x80, &[b'\n'; 1001]).await;
    let reason =
        "message of 4001 bytes or more, limit 4000 (by `Limits::body`); send it as several";
    client.expect_close(1009, reason).await;
    assert_eq!(server.stats().protocol_errors, 1);
    server.serves().await;
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_a_ping_between() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/greetings"]).await;
    let message = "SEND\ndestination:/app/hello\n\nJürgen\0".as_bytes();
    let inside_umlaut = message.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
    client.send_frame(0x01, &message[..5]).await;
    client.ping(b"are you there?").await;
    client.expect_pong(b"are you there?").await;
    client.send_frame(0x00, &message[5..inside_umlaut]).await;
    client.send_frame(0x00, b"").await;
    client.send_frame(0x80, &message[inside_umlaut..]).await;
    client
        .expect_message("/topic/greetings", "Hello, Jürgen!")
        .await;
}

#[tokio::test]
async fn a_message_may_hold_several_frames_and_a_frame_may_span_messages() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/greetings"]).await;
    let send = |name: &str| format!("SEND\ndestination:/app/hello\n\n{name}\0");
    client
        .send(&format!("{}\n\n{}\r\n{}", send("a"), send("b"), send("c")))
        .await;
    for name in ["a", "b", "c"] {
        client
            .expect_message("/topic/greetings", &format!("Hello, {name}!"))
            .await;
    }
    // As stompjs cuts large frames into messages of 16 KiB; one message is binary, which means nothing.
    for piece in [
        "SEND\ndestin",
        "ation:/app/hello\n",
        "\nspan",
        "ned\0SEND\ndestination:/app/hello\n\n",
    ] {
        client.send(piece).await;
    }
    client.send_binary(b"twice\0").await;
    for name in ["spanned", "twice"] {
        client
            .expect_message("/topic/greetings", &format!("Hello, {name}!"))
            .await;
    }
}

#[tokio::test]
async fn bytes_may_trickle() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    let connect = b"CONNECT\naccept-version:1.2\n\n\0";
    client.send_raw(&[0x81, 0x80 | connect.len() as u8]).await;
    client.send_raw(&[0; 4]).await;
    for byte in connect {
        client.send_raw(&[*byte]).await;
    }
    client.expect("CONNECTED").await.has("version", "1.2");
}

#[tokio::test]
async fn pings_are_answered_before_and_after_connect() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    client.ping(b"").await;
    client.expect_pong(b"").await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    client.expect("CONNECTED").await;
    client.ping(&[7; 125]).await;
    client.expect_pong(&[7; 125]).await;
    // A pong that nobody asked for is a sign of life and no more.
    client.send_frame(0x8a, b"unasked").await;
    client.subscribe("0", "/topic/x").await;
}

#[tokio::test]
async fn a_clients_close_is_echoed() {
    let server = Server::start().await;
    for (code, reason) in [(1000, ""), (1001, "tab closed"), (4321, "own code")] {
        let mut client = Client::subscribed(&server, ["/topic/x"]).await;
        client.close(code, reason).await;
        client.expect_close(code, "").await;
    }
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    client.send_frame(0x88, b"").await;
    client.expect_close(1005, "").await;
    server
        .counted("all sessions are gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.receivers("/topic/x").await, 0);
    let stats = server.stats();
    assert_eq!(
        (stats.vanished, stats.protocol_errors),
        (0, 0),
        "a goodbye is no fault"
    );
    server.serves().await;
}

/// What came before the goodbye counts, although nobody waits for an answer.
#[tokio::test]
async fn what_a_client_sends_before_its_close_is_handled() {
    let server = Server::start().await;
    let mut listener = Client::subscribed(&server, ["/topic/greetings"]).await;
    let mut client = Client::connect(&server).await;
    client
        .send("SEND\ndestination:/app/hello\n\nlast words\0")
        .await;
    client.close(1000, "").await;
    listener
        .expect_message("/topic/greetings", "Hello, last words!")
        .await;
    client.expect_close(1000, "").await;
}
