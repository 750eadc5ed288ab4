//! SockJS frames on a WebSocket.

use super::*;

#[tokio::test]
async fn the_websocket_transport_frames_both_ways() {
    let server = Server::start().await;
    let request = Request::upgrade("/sockjs/000/abc/websocket").by_user("alice");
    let mut client = request.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    let connect = r#"CONNECT\naccept-version:1.1,1.0\nheart-beat:10000,10000\n\n\u0000"#;
    client.send(&format!(r#"["{connect}"]"#)).await;
    let connected = client.expect_text().await;
    assert!(
        connected.starts_with(
            r#"a["CONNECTED\nversion:1.1\nheart-beat:10000,10000\nuser-name:alice\nsession:"#
        ),
        "{connected}"
    );
    client
        .send(r#"["SUBSCRIBE\nid:sub-0\ndestination:/topic/greetings\nreceipt:1\n\n\u0000"]"#)
        .await;
    assert_eq!(
        client.expect_text().await,
        r#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#
    );
    // A bare string, and nothing at all, are taken too.
    client.send("").await;
    client
        .send(r#""SEND\ndestination:/app/hello\n\n<b>\u00e4</b>\u0000""#)
        .await;
    let message = client.expect_text().await;
    assert!(
        message.starts_with(r#"a["MESSAGE\nsubscription:sub-0\nmessage-id:"#),
        "{message}"
    );
    assert!(
        message.ends_with(r#"\n\nHello, <b>ä</b>!\u0000"]"#),
        "{message}"
    );
    client.send(r#"["DISCONNECT\nreceipt:2\n\n\u0000"]"#).await;
    assert_eq!(
        client.expect_text().await,
        r#"a["RECEIPT\nreceipt-id:2\n\n\u0000"]"#
    );
    assert_eq!(client.expect_text().await, r#"c[1000,""]"#);
    client.expect_close(1000, "").await;
    server.serves().await;
}

#[tokio::test]
async fn errors_end_a_sockjs_websocket_with_a_close_frame() {
    let server = Server::start().await;
    let mut client = Request::upgrade("/sockjs/000/abc/websocket")
        .open(&server)
        .await
        .without_stomp();
    assert_eq!(client.expect_text().await, "o");
    client.send(r#"["SEND\n\n\u0000"]"#).await;
    let text = "SEND came before the session was open; send CONNECT or STOMP first";
    assert_eq!(
        client.expect_text().await,
        format!(
            r#"a["ERROR\nmessage:{text}\ncontent-type:text/plain\ncontent-length:{}\n\n{text}\u0000"]"#,
            text.len()
        )
    );
    assert_eq!(client.expect_text().await, format!(r#"c[1002,"{text}"]"#));
    client.expect_close(1002, text).await;
    assert_eq!(server.stats().protocol_errors, 1);
}

/// As the protocol's script has it: broken JSON closes the WebSocket, without a SockJS close frame.
#[tokio::test]
async fn broken_json_closes_a_sockjs_websocket() {
    let server = Server::start().await;
    for (number, broken) in ["[\"a", "{}", "garbage"].iter().enumerate() {
        let mut client = Request::upgrade("/sockjs/000/abc/websocket")
            .open(&server)
            .await
            .without_stomp();
        assert_eq!(client.expect_text().await, "o");
        client.send(broken).await;
        client.expect_close(1007, "Broken JSON encoding.").await;
        assert_eq!(server.stats().protocol_errors, number as u64 + 1);
    }
    server.serves().await;
}

#[tokio::test]
async fn two_websockets_may_bear_the_same_name() {
    let server = Server::start().await;
    let open = || Request::upgrade("/sockjs/000/abc/websocket").open(&server);
    let (mut one, mut two) = (open().await.without_stomp(), open().await.without_stomp());
    assert_eq!(
        (one.expect_text().await, two.expect_text().await),
        ("o".into(), "o".into())
    );
    assert_eq!(server.stats().sessions_open, 2);
}

/// SockJS carries text only: such a message is not written, and counted; session and neighbours go on.
#[tokio::test]
async fn bytes_that_are_no_text_are_left_out() {
    let server = Server::start().await;
    let bytes = || tramline::Bytes::from_static(b"\xff\xfe");
    let publisher = server.messaging().publisher();

    let polling = Polling::connected(&server, "abc").await;
    polling
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    polling.frames().await;
    publisher.send("/topic/x", bytes()).await.unwrap();
    publisher.send("/topic/x", "text").await.unwrap();
    let frames = polling.frames().await;
    assert!(frames.starts_with(r#"a["MESSAGE\n"#), "{frames}");
    assert!(frames.contains(r#"\n\ntext\u0000""#), "{frames}");
    let stats = server.stats();
    assert_eq!((stats.messages_not_carried, stats.rejected), (1, 0));

    // A WebSocket beside it is not concerned.
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    publisher.send("/topic/x", bytes()).await.unwrap();
    let (message, as_text) = client.expect_any().await;
    assert_eq!((&message.body[..], as_text), (&b"\xff\xfe"[..], false));
    message.has("subscription", "0");
}

/// A raised body limit holds for SockJS over WebSocket too.
#[tokio::test]
async fn large_bodies_pass_where_they_may() {
    let server = Setup::new()
        .limits(|limits| limits.body = 2 << 20)
        .start()
        .await;
    let request = Request::upgrade("/sockjs/0/abc/websocket");
    let mut client = request.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    client
        .send(r#"["CONNECT\naccept-version:1.2\n\n\u0000"]"#)
        .await;
    client.expect_text().await;
    let body = "x".repeat(600 * 1024);
    let frame = format!(r#"["SEND\ndestination:/topic/open/x\nreceipt:1\n\n{body}\u0000"]"#);
    client.send(&frame).await;
    let answer = client.expect_text().await;
    assert!(answer.contains("RECEIPT"), "{answer}");
}

/// Proxies cut what is silent, and not every client agrees on heart-beats.
#[tokio::test]
async fn a_quiet_client_without_heart_beats_gets_those_of_sockjs() {
    let server = Setup::new()
        .sockjs(|options| options.heartbeat(Duration::from_millis(100)))
        .start()
        .await;
    let request = Request::upgrade("/sockjs/0/abc/websocket");
    let mut client = request.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    for _ in 0..2 {
        assert_eq!(client.expect_text().await, "h");
    }
}
