//! The same handlers over SockJS.

use tramline::raw::{CloseCode, HandshakeRefused, StatusCode};

use super::*;

#[tokio::test]
async fn a_handler_echoes_over_every_way_that_sockjs_has() {
    let server = RawServer::start(RawEndpoint::builder(echo).with_sockjs()).await;
    Request::get("/raw")
        .send(&server)
        .await
        .is(200, "Welcome to SockJS!\n");
    for path in ["/raw", "/raw/websocket"] {
        let mut client = Request::upgrade(path).open(&server).await.without_stomp();
        client.send("[plain]").await;
        assert_eq!(client.expect_text().await, "[plain]", "{path}");
    }
    let framed = Request::upgrade("/raw/000/abc/websocket");
    let mut client = framed.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    client.send(r#"["ä","\"b\"\n"]"#).await;
    assert_eq!(client.expect_text().await, r#"a["ä"]"#);
    assert_eq!(client.expect_text().await, r#"a["\"b\"\n"]"#);

    let poll = || Request::post("/raw/000/polls/xhr").send(&server);
    poll().await.is(200, "o\n");
    let send = |body: &str| {
        Request::post("/raw/000/polls/xhr_send")
            .body(body)
            .send(&server)
    };
    send(r#"["one"]"#).await.is(204, "");
    poll().await.is(200, "a[\"one\"]\n");
    assert_eq!(server.stats().sessions_total, 4);
    assert_eq!(server.stats().messages_received, 5);
}

/// Escapes are the transport's: what the handler is given is what is bounded, by any way.
#[tokio::test]
async fn a_message_is_bounded_without_its_escapes() {
    let builder = RawEndpoint::builder(|mut socket: Socket| async move {
        while let Some(message) = socket.receive().await {
            socket.send(format!("{} bytes", message.len())).await?;
        }
        Ok::<_, SendError>(())
    });
    let server = RawServer::start(builder.with_sockjs()).await;
    let escaped = |len: usize| format!("[\"{}\"]", r"\u0000".repeat(len));
    let text = "Message too large: 65537 bytes, 65536 allowed.";
    let reason = format!("{text} (`RawLimits::message`)");

    let framed = Request::upgrade("/raw/000/abc/websocket");
    let mut client = framed.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    client.send(&escaped(65_536)).await;
    assert_eq!(client.expect_text().await, r#"a["65536 bytes"]"#);
    client.send(&escaped(65_537)).await;
    assert_eq!(client.expect_text().await, format!(r#"c[1009,"{reason}"]"#));
    client.expect_close(1009, &reason).await;
    assert_eq!(server.stats().protocol_errors, 1);

    let poll = |name: &str| Request::post(&format!("/raw/000/{name}/xhr")).send(&server);
    let send = |name: &str, transport: &str, body: String| {
        let request = Request::post(&format!("/raw/000/{name}/{transport}"));
        request.body(body).send(&server)
    };
    for (before, (name, transport)) in [("one", "xhr_send"), ("two", "jsonp_send")]
        .into_iter()
        .enumerate()
    {
        poll(name).await.is(200, "o\n");
        assert!(send(name, transport, escaped(65_536)).await.status < 300);
        poll(name).await.is(200, "a[\"65536 bytes\"]\n");
        send(name, transport, escaped(65_537)).await.is(413, text);
        let closed = format!("c[1009,\"{reason}\"]\n");
        poll(name).await.is(200, &closed);
        server
            .counted("the session is over", |stats| stats.sessions_open == 0)
            .await;
        // What is said to a session that is over does not end it once more.
        assert!(send(name, transport, escaped(65_537)).await.status < 300);
        poll(name).await.is(200, &closed);
        let stats = server.stats();
        assert_eq!(
            (stats.protocol_errors, stats.requests_refused),
            (before as u64 + 2, before as u64 + 1)
        );
    }
}

/// The envelope has a limit too, and many messages that fit one by one may go beyond it together.
#[tokio::test]
async fn an_envelope_is_bounded_too() {
    let server = RawServer::start(RawEndpoint::builder(echo).with_sockjs()).await;
    let envelope = |len: usize| {
        let one = format!("\"{}\",", "x".repeat(60_000));
        let rest = len - 8 * one.len() - 4;
        format!("[{}\"{}\"]", one.repeat(8), "x".repeat(rest))
    };
    let (fits, too_large) = (envelope(524_288), envelope(524_289));
    let framed = Request::upgrade("/raw/000/abc/websocket");
    let mut client = framed.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    client.send(&fits).await;
    for _ in 0..8 {
        assert_eq!(client.expect_text().await.len(), 60_000 + 5);
    }
    client.expect_text().await;
    client.send(&too_large).await;
    let reason = "message of 524289 bytes or more, limit 524288 (by `RawLimits::message`); send it as several";
    assert_eq!(client.expect_text().await, format!(r#"c[1009,"{reason}"]"#));
    client.expect_close(1009, reason).await;
    assert_eq!(server.stats().protocol_errors, 1);

    Request::post("/raw/000/polls/xhr")
        .send(&server)
        .await
        .is(200, "o\n");
    let send = |body: &str| {
        let request = Request::post("/raw/000/polls/xhr_send");
        request.body(body).send(&server)
    };
    send(&fits).await.is(204, "");
    assert_eq!(send(&too_large).await.status, 413);
    assert_eq!(server.stats().protocol_errors, 2);
}

#[tokio::test]
async fn what_sockjs_cannot_carry_is_refused_by_name() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder.with_sockjs()).await;
    for (path, transport) in [
        ("/raw/000/abc/websocket", "sockjs-websocket"),
        ("/raw/000/abc/xhr_streaming", "sockjs-http"),
    ] {
        let request = if transport == "sockjs-http" {
            Request::post(path)
        } else {
            Request::upgrade(path)
        };
        let _answer = request.begin(&server).await;
        let socket = next(&mut sockets).await;
        assert_eq!(socket.transport(), transport);
        let bytes = socket.send(vec![1, 2]).await;
        assert_eq!(bytes, Err(SendError::BinaryOverSockJs));
        assert_eq!(socket.ping("").await, Err(SendError::PingOverSockJs));
        let everyone = server.endpoint().sessions();
        assert_eq!(everyone.broadcast(vec![1, 2]), 0);
        assert!(!socket.is_closed());
        socket.send("text").await.unwrap();
        everyone.close(CloseCode::NORMAL, "");
        server
            .counted("it is gone", |stats| stats.sessions_open == 0)
            .await;
    }
}

#[tokio::test]
async fn a_close_is_a_close_frame() {
    let builder = RawEndpoint::builder(|socket: Socket| async move {
        socket.close(CloseCode::new(3000).unwrap(), "Go away!");
    });
    let server = RawServer::start(builder.with_sockjs()).await;
    let framed = Request::upgrade("/raw/000/abc/websocket");
    let mut client = framed.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    assert_eq!(client.expect_text().await, r#"c[3000,"Go away!"]"#);
    client.expect_close(3000, "Go away!").await;
    let poll = || Request::post("/raw/000/polls/xhr").send(&server);
    poll().await.is(200, "o\n");
    for _ in 0..2 {
        poll().await.is(200, "c[3000,\"Go away!\"]\n");
    }
}

#[tokio::test]
async fn interceptors_are_asked_once_for_each_session() {
    let asked = Log::default();
    let log = asked.clone();
    let builder = RawEndpoint::builder(echo).with_sockjs().intercept(
        move |request: tramline::raw::HandshakeRequest| {
            log.add(request.uri().path());
            async move {
                match request.header("x-token") {
                    Some("right") => Ok(request),
                    _ => Err(HandshakeRefused::new(StatusCode::UNAUTHORIZED, "no token")),
                }
            }
        },
    );
    let server = RawServer::start(builder).await;
    let poll = Request::post("/raw/000/abc/xhr");
    poll.clone().send(&server).await.is(401, "no token");
    let with_token = poll.clone().with("x-token", "right");
    with_token.send(&server).await.is(200, "o\n");
    let send = Request::post("/raw/000/abc/xhr_send").body(r#"["x"]"#);
    send.send(&server).await.is(204, "");
    poll.send(&server).await.is(200, "a[\"x\"]\n");
    assert_eq!(asked.lines().len(), 2, "{:?}", asked.lines());
    assert_eq!(server.stats().sessions_total, 1);
    assert_eq!(server.stats().requests_refused, 1);
}

#[tokio::test]
async fn shared_messages_are_escaped_and_whole_for_all() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder.with_sockjs()).await;
    let mut plain = server.client().await;
    let framed = Request::upgrade("/raw/000/abc/websocket");
    let mut framed = framed.open(&server).await.without_stomp();
    assert_eq!(framed.expect_text().await, "o");
    next(&mut sockets).await;
    next(&mut sockets).await;
    let line = format!("\"{}\"", "ä".repeat(20_000));
    assert_eq!(server.endpoint().sessions().broadcast(line.clone()), 2);
    assert_eq!(plain.expect_text().await, line);
    let escaped = line.replace('"', "\\\"");
    assert_eq!(framed.expect_text().await, format!("a[\"{escaped}\"]"));
}
