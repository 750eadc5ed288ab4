//! What the newest script of sockjs-protocol expects of the transports, restated over real HTTP, with the script's own
//! services.

use std::net::SocketAddr;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tramline::raw::{CloseCode, RawEndpoint, RawStats, SendError, Socket};

use super::*;
use crate::support::{Listens, eventually};

/// A server with an echo at `/echo`, and at `/close` a service that closes at once. It ends when it is dropped.
struct Services {
    address: SocketAddr,
    echo: RawEndpoint,
    task: JoinHandle<()>,
}

impl Services {
    async fn start(change: impl Fn(SockJs) -> SockJs) -> Self {
        async fn echo(mut socket: Socket) -> Result<(), SendError> {
            while let Some(message) = socket.receive().await {
                socket.send(message).await?;
            }
            Ok(())
        }
        async fn close(socket: Socket) {
            socket.close(CloseCode::new(3000).unwrap(), "Go away!");
        }

        let options = || {
            change(
                SockJs::default()
                    .response_limit(4096)
                    .client_library_url("/sockjs.min.js"),
            )
        };
        let echo = RawEndpoint::builder(echo).allowed_origins(["*"]);
        let close = RawEndpoint::builder(close).allowed_origins(["*"]);
        let echo = echo.sockjs(options()).build().unwrap();
        let close = close.sockjs(options()).build().unwrap();
        let app = Router::new()
            .nest_service("/echo", echo.clone())
            .nest_service("/close", close);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            echo,
            task,
        }
    }

    fn stats(&self) -> RawStats {
        self.echo.stats()
    }

    /// Waits until an abort is noticed.
    async fn vanished(&self) {
        let echo = self.echo.clone();
        eventually("the abort shows", move || echo.stats().vanished == 1).await;
    }
}

impl Listens for Services {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The same inside a script's string.
fn in_script(frame: &str) -> String {
    frame.replace('\\', r"\\").replace('"', r#"\""#)
}

/// In the session of the test.
fn request(method: &str, transport: &str) -> Request {
    Request::new(method, &format!("/echo/000/abc/{transport}"))
}

async fn send(server: &Services, body: &str) -> Response {
    request("POST", "xhr_send").body(body).send(server).await
}

async fn say(server: &Services, body: &str) {
    send(server, body).await.is(204, "");
}

async fn poll(server: &Services) -> Response {
    request("POST", "xhr").send(server).await
}

/// `Protocol.test_simpleSession`, `SessionURLs.test_ignoringServerId`, `XhrPolling.test_transport`
#[tokio::test]
async fn xhr() {
    let server = Services::start(|options| options).await;
    let opened = request("POST", "xhr").with("Origin", "test");
    let opened = opened.send(&server).await;
    opened
        .is(200, "o\n")
        .is_cors("test")
        .is_not_cached()
        .has("content-type", JAVASCRIPT)
        .has("set-cookie", None);

    let sent = request("POST", "xhr_send")
        .with("Origin", "test")
        .body("[\"x\"]");
    let sent = sent.send(&server).await;
    sent.is(204, "")
        .is_cors("test")
        .is_not_cached()
        .has("content-type", TEXT);
    let other_server = Request::post("/echo/999/abc/xhr").send(&server).await;
    other_server.is(200, "a[\"x\"]\n");

    let bad = Request::post("/echo/000/bad_session/xhr_send").body("[\"a\"]");
    assert_eq!(bad.send(&server).await.status, 404);

    let _waiting = request("POST", "xhr").begin(&server).await;
    poll(&server)
        .await
        .is(200, "c[2010,\"Another connection still open\"]\n");
}

/// `XhrPolling.test_content_types`, `test_sending_empty_frame`, `test_invalid_json`
#[tokio::test]
async fn xhr_send_takes_any_content_type_and_no_broken_json() {
    let server = Services::start(|options| options).await;
    poll(&server).await.is(200, "o\n");
    let types = [
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "",
        "application/json; charset=utf-8",
        "text/xml; charset=utf-8",
        "text/xml",
        "application/x-www-form-urlencoded",
    ];
    for content_type in types {
        let sent = request("POST", "xhr_send")
            .with("Content-Type", content_type)
            .body("[\"a\"]");
        sent.send(&server).await.is(204, "");
    }
    say(&server, "[]").await;
    for (body, text) in [("[\"x", "Broken JSON encoding."), ("", "Payload expected.")] {
        send(&server, body).await.is(500, text).is_not_cached();
    }
    let mut got = 0;
    while got < types.len() {
        got += poll(&server).await.body.matches("\"a\"").count();
    }
    assert_eq!(got, types.len());
    say(&server, "[\"b\"]").await;
    poll(&server).await.is(200, "a[\"b\"]\n");
}

/// `XhrStreaming.test_transport` and `test_response_limit`: 31 messages of 128 bytes, and it is over.
#[tokio::test]
async fn xhr_streaming() {
    let server = Services::start(|options| options).await;
    let stream = request("POST", "xhr_streaming").with("Origin", "test");
    let mut stream = stream.begin(&server).await;
    stream
        .is_cors("test")
        .is_not_cached()
        .has("content-type", JAVASCRIPT)
        .has("transfer-encoding", "chunked")
        .has("x-accel-buffering", "no")
        .has("content-length", None);
    let prelude = "h".repeat(2048) + "\n";
    assert_eq!(stream.chunk().await, Some(prelude.clone()));
    assert_eq!(stream.chunk().await.unwrap(), "o\n");
    let messages = format!("[\"{}\"]", "x".repeat(128));
    for _ in 0..31 {
        say(&server, &messages).await;
        assert_eq!(stream.chunk().await, Some(format!("a{messages}\n")));
    }
    assert_eq!(stream.chunk().await, None);
    // The next goes on, with a limit of its own.
    let mut next = request("POST", "xhr_streaming").begin(&server).await;
    assert_eq!(next.chunk().await, Some(prelude));
    say(&server, "[\"next\"]").await;
    assert_eq!(next.chunk().await.unwrap(), "a[\"next\"]\n");
}

/// `EventSource`
#[tokio::test]
async fn eventsource() {
    let server = Services::start(|options| options).await;
    let stream = request("GET", "eventsource").with("Origin", "test");
    let mut stream = stream.begin(&server).await;
    stream
        .is_not_cached()
        .is_cors("test")
        .has("content-type", "text/event-stream")
        .has("transfer-encoding", "chunked")
        .has("x-accel-buffering", "no");
    assert_eq!(stream.chunk().await.unwrap(), "\r\n");
    assert_eq!(stream.chunk().await.unwrap(), "data: o\r\n\r\n");
    for messages in [r#"["x"]"#, r#"["  \u0000\n\r "]"#] {
        say(&server, messages).await;
        assert_eq!(
            stream.chunk().await.unwrap(),
            format!("data: a{messages}\r\n\r\n")
        );
    }
    // What `sockjs-client` would take for the beginning of an escape, and everybody reads as a percent sign.
    say(&server, r#"["100 %"]"#).await;
    let event = "data: a[\"100 \\u0025\"]\r\n\r\n";
    assert_eq!(stream.chunk().await.unwrap(), event);

    let messages = format!("[\"{}\"]", "x".repeat(4096));
    say(&server, &messages).await;
    assert_eq!(
        stream.chunk().await.unwrap(),
        format!("data: a{messages}\r\n\r\n")
    );
    assert_eq!(stream.chunk().await, None);
}

/// `HtmlFile`
#[tokio::test]
async fn htmlfile() {
    let server = Services::start(|options| options).await;
    let mut stream = request("GET", "htmlfile?c=%63allback").begin(&server).await;
    stream
        .is_not_cached()
        .has("content-type", "text/html; charset=UTF-8")
        .has("transfer-encoding", "chunked")
        .has("x-accel-buffering", "no");
    let head = r#"<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.callback;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>"#;
    let prelude = stream.chunk().await.unwrap();
    assert_eq!(prelude.trim(), head);
    assert!(prelude.len() > 1024);
    let framed = |frame: &str| format!("<script>\np(\"{}\");\n</script>\r\n", in_script(frame));
    assert_eq!(stream.chunk().await.unwrap(), framed("o"));
    say(&server, r#"["x"]"#).await;
    assert_eq!(stream.chunk().await.unwrap(), framed(r#"a["x"]"#));
    // What would end the script element is hidden from the browser, and the script reads it all the same.
    say(&server, r#"["</script>"]"#).await;
    let hidden = framed(r#"a["</script>"]"#).replacen("</", "\\u003c/", 1);
    assert_eq!(stream.chunk().await.unwrap(), hidden);

    let frame = format!("[\"{}\"]", "x".repeat(4096));
    say(&server, &frame).await;
    assert_eq!(stream.chunk().await, Some(framed(&format!("a{frame}"))));
    assert_eq!(stream.chunk().await, None);
}

/// `JsonPolling`
#[tokio::test]
async fn jsonp() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let server = Services::start(|options| options).await;
    let poll = || request("GET", "jsonp?c=%63allback").send(&server);
    let opened = poll().await;
    opened
        .is(200, "/**/callback(\"o\");\r\n")
        .is_not_cached()
        .has("content-type", JAVASCRIPT)
        .has("x-content-type-options", "nosniff");
    let send = |content_type, body: &str| {
        let sent = request("POST", "jsonp_send").with("Content-Type", content_type);
        sent.body(body).send(&server)
    };
    let sent = send(FORM, "d=%5B%22x%22%5D").await;
    sent.is(200, "ok").is_not_cached().has("content-type", TEXT);
    let framed = |messages: &str| format!("/**/callback(\"{}\");\r\n", in_script(messages));
    poll().await.is(200, &framed(r#"a["x"]"#));

    // A form's percent signs are decoded, a text's are not. Frames without messages are fine.
    send(FORM, "d=%5B%5D").await.is(200, "ok");
    let charset = "Application/X-WWW-Form-URLencoded; charset=UTF-8";
    send(charset, "d=%5B%22abc%22%5D").await.is(200, "ok");
    poll().await.is(200, &framed(r#"a["abc"]"#));
    send("text/plain", r#"["%61bc"]"#).await.is(200, "ok");
    poll().await.is(200, &framed(r#"a["%61bc"]"#));

    send(FORM, "d=%5B%22x")
        .await
        .is(500, "Broken JSON encoding.");
    for body in ["", "d=", "p=p"] {
        send(FORM, body).await.is(500, "Payload expected.");
    }
    send(FORM, "d=%5B%22b%22%5D").await.is(200, "ok");
    poll().await.is(200, &framed(r#"a["b"]"#));

    let unknown = Request::post("/echo/000/unknown/jsonp_send").body("[\"x\"]");
    assert_eq!(unknown.send(&server).await.status, 404);

    // test_close
    let poll = || Request::get("/close/000/abc/jsonp?c=x").send(&server);
    poll().await.is(200, "/**/x(\"o\");\r\n");
    for _ in 0..2 {
        poll()
            .await
            .is(200, "/**/x(\"c[3000,\\\"Go away!\\\"]\");\r\n");
    }
}

/// `test_no_callback` and `test_invalid_callback`
#[tokio::test]
async fn callbacks_that_are_none_make_no_session() {
    let server = Services::start(|options| options).await;
    for transport in ["htmlfile", "jsonp"] {
        for (query, text) in [
            ("", "\"callback\" parameter required"),
            ("?c=", "\"callback\" parameter required"),
            ("?c=%20", "invalid \"callback\" parameter"),
            ("?c=*", "invalid \"callback\" parameter"),
            ("?c=abc(", "invalid \"callback\" parameter"),
            ("?c=abc%28", "invalid \"callback\" parameter"),
        ] {
            let refused = request("GET", &format!("{transport}{query}"));
            let refused = refused.send(&server).await;
            refused.is(500, text).has("content-type", TEXT);
        }
    }
    assert_eq!(server.stats().protocol_errors, 12);
    assert_eq!(server.stats().sessions_total, 0);
}

/// `JsessionidCookie`
#[tokio::test]
async fn the_cookie_for_load_balancers() {
    let server = Services::start(|options| options.session_cookie(true)).await;
    let info = Request::get("/echo/info").send(&server).await;
    info.has("set-cookie", None);
    assert!(info.body.contains(r#""cookie_needed":true"#));
    Request::get("/echo/iframe.html")
        .send(&server)
        .await
        .has("set-cookie", None);

    for (number, (method, transport)) in [
        ("POST", "xhr"),
        ("POST", "xhr_streaming"),
        ("GET", "eventsource"),
        ("GET", "htmlfile?c=%63allback"),
        ("GET", "jsonp?c=%63allback"),
        ("POST", "jsonp_send"),
        ("POST", "xhr_send"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/echo/000/{number}/{transport}");
        let fresh = Request::new(method, &path).begin(&server).await;
        fresh.has("set-cookie", "JSESSIONID=dummy; path=/");
        let known = Request::new(method, &path).with("Cookie", "a=b; JSESSIONID=abcdef");
        let known = known.begin(&server).await;
        known.has("set-cookie", "JSESSIONID=abcdef; path=/");
    }
}

/// `JSONEncoding.test_xhr_server_encodes` and `test_xhr_server_decodes`
#[tokio::test]
async fn spiteful_characters_come_and_go() {
    let server = Services::start(|options| options).await;
    poll(&server).await.is(200, "o\n");
    let by_server = [
        0x200c..=0x200f,
        0x2028..=0x202f,
        0x2060..=0x206f,
        0xfff0..=0xffff_u32,
    ];
    let escapes = |code| format!("\\u{code:04x}");
    let escaped: String = by_server.into_iter().flatten().map(escapes).collect();
    let raw: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
    // Sent as they are, and as escapes: they come back as escapes.
    for sent in [&raw, &escaped] {
        say(&server, &format!("[\"{sent}\"]")).await;
        let got = poll(&server).await;
        got.is(200, &format!("a[\"{escaped}\"]\n"));
    }
    // All that browsers may escape, whole blocks of what the script picks from: sent escaped, it is read as it was.
    let by_client = [
        0..=0x1f_u32,
        0x7f..=0x9f,
        0x300..=0x1fff,
        0x2000..=0x2fff,
        0xf900..=0xffff,
    ];
    let escaped: String = by_client.into_iter().flatten().map(escapes).collect();
    say(&server, &format!("[\"{escaped}\"]")).await;
    let got = poll(&server).await.body;
    let got: Vec<String> = serde_json::from_str(&got[1..]).unwrap();
    let sent: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
    assert_eq!(got, [sent]);
}

/// `Protocol.test_closeSession`
#[tokio::test]
async fn the_close_frame_is_there_again_and_again() {
    let server = Services::start(|options| options).await;
    let poll = || Request::post("/close/000/abc/xhr").send(&server);
    poll().await.is(200, "o\n");
    for _ in 0..3 {
        poll().await.is(200, "c[3000,\"Go away!\"]\n");
    }
}

/// `HandlingClose.test_close_frame`
#[tokio::test]
async fn a_session_that_ends_says_so_to_every_stream() {
    let server = Services::start(|options| options).await;
    let prelude = "h".repeat(2048) + "\n";
    let stream = || Request::post("/close/000/abc/xhr_streaming").begin(&server);
    let mut first = stream().await;
    assert_eq!(first.chunk().await, Some(prelude.clone()));
    assert_eq!(first.chunk().await.unwrap(), "o\n");
    assert_eq!(first.chunk().await.unwrap(), "c[3000,\"Go away!\"]\n");
    let mut second = stream().await;
    assert_eq!(second.chunk().await, Some(prelude));
    assert_eq!(second.chunk().await.unwrap(), "c[3000,\"Go away!\"]\n");
    assert_eq!(first.chunk().await, None);
    assert_eq!(second.chunk().await, None);
}

/// `Websocket.test_transport`, `test_close`, `test_empty_frame`, `test_broken_json`; `RawWebsocket`
#[tokio::test]
async fn websockets_with_frames_and_without() {
    let server = Services::start(|options| options).await;
    let open = |path| {
        let opened = Request::upgrade(path).open(&server);
        async move { opened.await.without_stomp() }
    };
    let mut client = open("/echo/000/abc/websocket").await;
    assert_eq!(client.expect_text().await, "o");
    client.send("").await;
    client.send("[]").await;
    client.send("[\"a\"]").await;
    assert_eq!(client.expect_text().await, "a[\"a\"]");
    client.send("[\"a").await;
    client.expect_close(1007, "Broken JSON encoding.").await;

    let mut closed = open("/close/000/abc/websocket").await;
    assert_eq!(closed.expect_text().await, "o");
    assert_eq!(closed.expect_text().await, "c[3000,\"Go away!\"]");
    closed.expect_close(3000, "Go away!").await;

    let mut raw = open("/echo/websocket").await;
    raw.send("Hello world!\u{ffff}").await;
    assert_eq!(raw.expect_text().await, "Hello world!\u{ffff}");
    let mut closed = open("/close/websocket").await;
    closed.expect_close(3000, "Go away!").await;
}

/// `HandlingClose.test_close_request` and `test_abort_xhr_streaming`
#[tokio::test]
async fn an_aborted_stream_ends_the_session() {
    let server = Services::start(|options| options).await;
    let prelude = "h".repeat(2048) + "\n";
    let mut first = request("POST", "xhr_streaming").begin(&server).await;
    assert_eq!(first.chunk().await, Some(prelude.clone()));
    assert_eq!(first.chunk().await.unwrap(), "o\n");

    let mut second = request("POST", "xhr_streaming").begin(&server).await;
    assert_eq!(second.chunk().await, Some(prelude.clone()));
    let still_open = "c[2010,\"Another connection still open\"]\n";
    assert_eq!(second.chunk().await.unwrap(), still_open);
    assert_eq!(second.chunk().await, None);

    drop(first);
    server.vanished().await;
    let mut third = request("POST", "xhr_streaming").begin(&server).await;
    assert_eq!(third.chunk().await, Some(prelude));
    let interrupted = "c[1002,\"Connection interrupted\"]\n";
    assert_eq!(third.chunk().await.unwrap(), interrupted);
    assert_eq!(third.chunk().await, None);
    send(&server, "[\"x\"]").await.is(204, "");
    assert_eq!(server.stats().requests_refused, 1);
}

/// `HandlingClose.test_abort_xhr_polling`
#[tokio::test]
async fn an_aborted_poll_ends_the_session() {
    let server = Services::start(|options| options).await;
    poll(&server).await.is(200, "o\n");
    let waiting = request("POST", "xhr").begin(&server).await;
    poll(&server)
        .await
        .is(200, "c[2010,\"Another connection still open\"]\n");
    drop(waiting);
    server.vanished().await;
    poll(&server)
        .await
        .is(200, "c[1002,\"Connection interrupted\"]\n");
}

/// Where it was asked for, the session waits for the client.
#[tokio::test]
async fn an_aborted_poll_costs_nothing_where_it_was_so_configured() {
    let server =
        Services::start(|options| options.on_abort(tramline::endpoint::OnAbort::Keep)).await;
    poll(&server).await.is(200, "o\n");
    drop(request("POST", "xhr").begin(&server).await);
    let reborn = async {
        loop {
            let mut answer = request("POST", "xhr").begin(&server).await;
            say(&server, "[\"still here\"]").await;
            let chunk = answer.chunk().await.unwrap();
            if !chunk.starts_with("c[2010") {
                return chunk;
            }
        }
    };
    let at = std::panic::Location::caller();
    let chunk = within(at, "the session goes on", String::new, reborn).await;
    assert!(chunk.contains("still here"), "{chunk}");
}

/// `Http10` and `Http11`
#[tokio::test]
async fn old_http_and_new() {
    let server = Services::start(|options| options).await;
    for version in ["1.0", "1.1"] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        let greeting = "Welcome to SockJS!\n";
        // The same connection again.
        for _ in 0..2 {
            let head = exchange(&mut connection, version, "GET", "/echo").await;
            assert!(head.contains("\r\ncontent-length: 19\r\n"), "{head}");
            assert!(!head.contains("transfer-encoding"), "{head}");
            let mut body = vec![0; 19];
            connection.read_exact(&mut body).await.unwrap();
            assert_eq!(body, greeting.as_bytes());
        }
        let path = format!("/close/000/{}/xhr_streaming", version.replace('.', "-"));
        let head = exchange(&mut connection, version, "POST", &path).await;
        assert!(!head.contains("content-length"), "{head}");
        let chunked = head.contains("transfer-encoding: chunked");
        assert_eq!(chunked, version == "1.1", "{head}");
        let prelude = "h".repeat(2048) + "\n";
        let expected = if chunked {
            format!("801\r\n{prelude}\r\n2\r\no\n\r\n13\r\nc[3000,\"Go away!\"]\n\r\n0\r\n\r\n")
        } else {
            prelude + "o\nc[3000,\"Go away!\"]\n"
        };
        let mut body = vec![0; expected.len()];
        let at = std::panic::Location::caller();
        let read = connection.read_exact(&mut body);
        within(at, "the whole response", String::new, read)
            .await
            .unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        if !chunked {
            let closed = connection.read_u8();
            let closed = within(at, "the end of the connection", String::new, closed).await;
            assert!(closed.is_err(), "the response's end is the connection's");
        }
    }
}

/// Sends a request and reads the head of the answer, in lower case.
async fn exchange(connection: &mut TcpStream, version: &str, method: &str, path: &str) -> String {
    let length = if method == "POST" {
        "Content-Length: 0\r\n"
    } else {
        ""
    };
    let request = format!(
        "{method} {path} HTTP/{version}\r\nHost: x\r\nConnection: Keep-Alive\r\n{length}\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
    };
    let at = std::panic::Location::caller();
    within(at, "an answer", String::new, read).await;
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.contains(" 200 ok\r\n"), "{head}");
    head
}
