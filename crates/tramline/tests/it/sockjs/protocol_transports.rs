//! What the newest script of sockjs-protocol expects of the transports, restated over real HTTP.
//!
//! The script talks to an echo. Here STOMP is inside the sessions, and its receipts are the echo: what is asked for as
//! `receipt` comes back as `receipt-id`, byte for byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::protocol::{at, start};
use super::*;

/// What to send to hear `text` again.
fn ask(text: &str) -> String {
    format!("SEND\ndestination:/topic/open/echo\nreceipt:{text}\n\n\0")
}

/// The message that then comes, as it stands in a frame.
fn answer(text: &str) -> String {
    format!(r"RECEIPT\nreceipt-id:{text}\n\n\u0000")
}

/// The same inside a script's string.
fn in_script(frame: &str) -> String {
    frame.replace('\\', r"\\").replace('"', r#"\""#)
}

fn request(method: &str, transport: &str) -> Request {
    Request::new(method, &at(&format!("/000/abc/{transport}")))
}

async fn send(server: &Server, messages: &[&str]) -> Response {
    let body = serde_json::to_string(messages).unwrap();
    request("POST", "xhr_send").body(body).send(server).await
}

async fn say(server: &Server, messages: &[&str]) {
    send(server, messages).await.is(204, "");
}

/// Opens a session and gets it to where it echoes.
async fn open(server: &Server) {
    request("POST", "xhr").send(server).await.is(200, "o\n");
    connect(server).await;
    let connected = request("POST", "xhr").send(server).await;
    assert!(connected.body.starts_with("a[\"CONNECTED"), "{connected:?}");
}

async fn connect(server: &Server) {
    say(
        server,
        &["CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0"],
    )
    .await;
}

/// `Protocol.test_simpleSession`, `SessionURLs.test_ignoringServerId`, `XhrPolling.test_transport`
#[tokio::test]
async fn xhr() {
    let server = start(|options| options).await;
    let opened = request("POST", "xhr").with("Origin", "test");
    let opened = opened.send(&server).await;
    opened
        .is(200, "o\n")
        .is_cors("test")
        .is_not_cached()
        .has("content-type", JAVASCRIPT)
        .has("set-cookie", None);
    connect(&server).await;
    request("POST", "xhr").send(&server).await;

    let payload = serde_json::to_string(&[ask("x")]).unwrap();
    let sent = request("POST", "xhr_send")
        .with("Origin", "test")
        .body(payload);
    let sent = sent.send(&server).await;
    sent.is(204, "")
        .is_cors("test")
        .is_not_cached()
        .has("content-type", TEXT);
    let other_server = Request::post(&at("/999/abc/xhr")).send(&server).await;
    other_server.is(200, &format!("a[\"{}\"]\n", answer("x")));

    let bad = Request::post(&at("/000/bad_session/xhr_send")).body("[\"a\"]");
    assert_eq!(bad.send(&server).await.status, 404);

    let _waiting = request("POST", "xhr").begin(&server).await;
    let second = request("POST", "xhr").send(&server).await;
    second.is(200, "c[2010,\"Another connection still open\"]\n");
}

/// `XhrPolling.test_content_types`, `test_sending_empty_frame`, `test_invalid_json`
#[tokio::test]
async fn xhr_send_takes_any_content_type_and_no_broken_json() {
    let server = start(|options| options).await;
    open(&server).await;
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
    let payload = serde_json::to_string(&[ask("a")]).unwrap();
    for content_type in types {
        let sent = request("POST", "xhr_send")
            .with("Content-Type", content_type)
            .body(payload.clone());
        sent.send(&server).await.is(204, "");
    }
    say(&server, &[]).await;
    for (body, text) in [("[\"x", "Broken JSON encoding."), ("", "Payload expected.")] {
        let refused = request("POST", "xhr_send").body(body).send(&server).await;
        refused.is(500, text).is_not_cached();
    }
    let mut got = String::new();
    while got.matches("RECEIPT").count() < types.len() {
        got += &request("POST", "xhr").send(&server).await.body;
    }
    assert_eq!(got.matches(&answer("a")).count(), types.len(), "{got}");
}

/// `XhrStreaming.test_transport` and `test_response_limit`: 31 messages of 128 bytes, and it is over.
#[tokio::test]
async fn xhr_streaming() {
    let server = start(|options| options).await;
    let stream = request("POST", "xhr_streaming").with("Origin", "test");
    let mut stream = stream.begin(&server).await;
    stream
        .is_cors("test")
        .is_not_cached()
        .has("content-type", JAVASCRIPT)
        .has("transfer-encoding", "chunked")
        .has("content-length", None);
    let prelude = "h".repeat(2048) + "\n";
    assert_eq!(stream.chunk().await, Some(prelude.clone()));
    assert_eq!(stream.chunk().await.unwrap(), "o\n");
    connect(&server).await;
    let connected = stream.chunk().await.unwrap();
    assert!(connected.starts_with("a[\"CONNECTED"), "{connected}");

    let text = "x".repeat(128);
    let framed = format!("a[\"{}\"]\n", answer(&text));
    let mut length = "o\n".len() + connected.len();
    while length < 4096 {
        say(&server, &[&ask(&text)]).await;
        assert_eq!(stream.chunk().await, Some(framed.clone()));
        length += framed.len();
    }
    assert_eq!(stream.chunk().await, None);
    // The next goes on, with a limit of its own.
    let mut next = request("POST", "xhr_streaming").begin(&server).await;
    assert_eq!(next.chunk().await, Some(prelude));
    say(&server, &[&ask("next")]).await;
    assert_eq!(
        next.chunk().await.unwrap(),
        format!("a[\"{}\"]\n", answer("next"))
    );
}

/// `EventSource`
#[tokio::test]
async fn eventsource() {
    let server = start(|options| options).await;
    let stream = request("GET", "eventsource").with("Origin", "test");
    let mut stream = stream.begin(&server).await;
    stream
        .is_not_cached()
        .is_cors("test")
        .has("content-type", "text/event-stream")
        .has("transfer-encoding", "chunked");
    assert_eq!(stream.chunk().await.unwrap(), "\r\n");
    assert_eq!(stream.chunk().await.unwrap(), "data: o\r\n\r\n");
    connect(&server).await;
    assert!(stream.chunk().await.unwrap().starts_with("data: a[\"CONN"));
    for text in ["x", "  \u{7f} "] {
        say(&server, &[&ask(text)]).await;
        let escaped = text.replace('\u{7f}', r"\u007f");
        assert_eq!(
            stream.chunk().await.unwrap(),
            format!("data: a[\"{}\"]\r\n\r\n", answer(&escaped))
        );
    }
    let text = "x".repeat(4096);
    say(&server, &[&ask(&text)]).await;
    assert_eq!(
        stream.chunk().await.unwrap(),
        format!("data: a[\"{}\"]\r\n\r\n", answer(&text))
    );
    assert_eq!(stream.chunk().await, None);
}

/// `HtmlFile`
#[tokio::test]
async fn htmlfile() {
    let server = start(|options| options).await;
    let mut stream = request("GET", "htmlfile?c=%63allback").begin(&server).await;
    stream
        .is_not_cached()
        .has("content-type", "text/html; charset=UTF-8")
        .has("transfer-encoding", "chunked");
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
    connect(&server).await;
    assert!(stream.chunk().await.unwrap().contains("CONNECTED"));
    say(&server, &[&ask("x")]).await;
    assert_eq!(
        stream.chunk().await.unwrap(),
        framed(&format!("a[\"{}\"]", answer("x")))
    );
    // What would end the script element is hidden from the browser, and the script reads it all the same.
    say(&server, &[&ask("</script>")]).await;
    let chunk = stream.chunk().await.unwrap();
    assert_eq!(chunk.matches("</script>").count(), 1, "{chunk}");
    assert!(chunk.contains(r"\u003c/script>"), "{chunk}");

    let text = "x".repeat(4096);
    say(&server, &[&ask(&text)]).await;
    assert_eq!(
        stream.chunk().await.unwrap(),
        framed(&format!("a[\"{}\"]", answer(&text)))
    );
    assert_eq!(stream.chunk().await, None);
}

/// `JsonPolling`
#[tokio::test]
async fn jsonp() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let server = start(|options| options).await;
    let poll = || request("GET", "jsonp?c=%63allback").send(&server);
    let opened = poll().await;
    opened
        .is(200, "/**/callback(\"o\");\r\n")
        .is_not_cached()
        .has("content-type", JAVASCRIPT)
        .has("x-content-type-options", "nosniff");
    let send = |content_type, body: String| {
        let sent = request("POST", "jsonp_send").with("Content-Type", content_type);
        sent.body(body).send(&server)
    };
    let form = |messages: &[&str]| {
        let json = serde_json::to_string(messages).unwrap();
        let encoded: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("d={encoded}")
    };
    let sent = send(FORM, form(&["CONNECT\naccept-version:1.2\n\n\0"])).await;
    sent.is(200, "ok").is_not_cached().has("content-type", TEXT);
    assert!(poll().await.body.starts_with("/**/callback(\"a[\\\"CONN"));

    send(FORM, form(&[&ask("x")])).await.is(200, "ok");
    let frame = format!("a[\"{}\"]", answer("x"));
    poll().await.is(
        200,
        &format!("/**/callback(\"{}\");\r\n", in_script(&frame)),
    );

    // A form's percent signs are decoded, a text's are not. Frames without messages are fine.
    send(FORM, form(&[])).await.is(200, "ok");
    let charset = "Application/X-WWW-Form-URLencoded; charset=UTF-8";
    send(charset, form(&[&ask("%61")])).await.is(200, "ok");
    poll().await;
    let json = serde_json::to_string(&[ask("%61bc")]).unwrap();
    send("text/plain", json).await.is(200, "ok");
    let body = poll().await.body;
    assert!(body.contains("receipt-id:%61bc"), "{body}");

    send(FORM, "d=%5B%22x".into())
        .await
        .is(500, "Broken JSON encoding.");
    for body in ["", "d=", "p=p"] {
        send(FORM, body.into()).await.is(500, "Payload expected.");
    }
    send(FORM, form(&[&ask("b")])).await.is(200, "ok");
    assert!(poll().await.body.contains("receipt-id:b"));

    let unknown = Request::post(&at("/000/unknown/jsonp_send")).body("[\"x\"]");
    assert_eq!(unknown.send(&server).await.status, 404);

    // test_close
    send(FORM, form(&["DISCONNECT\n\n\0"])).await.is(200, "ok");
    for _ in 0..2 {
        let closed = poll().await;
        closed.is(200, "/**/callback(\"c[1000,\\\"\\\"]\");\r\n");
    }
}

/// `test_no_callback` and `test_invalid_callback`
#[tokio::test]
async fn callbacks_that_are_none_make_no_session() {
    let server = start(|options| options).await;
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
    let server = start(|options| options.session_cookie(true)).await;
    let info = Request::get(&at("/info")).send(&server).await;
    info.has("set-cookie", None);
    assert!(info.body.contains(r#""cookie_needed":true"#));
    Request::get(&at("/iframe.html"))
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
        let path = at(&format!("/000/{number}/{transport}"));
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
    let server = start(|options| options).await;
    open(&server).await;
    let characters = [
        0x200c..=0x200f,
        0x2028..=0x202f,
        0x2060..=0x206f,
        0xfff0..=0xffff_u32,
    ];
    let text: String = characters
        .clone()
        .into_iter()
        .flatten()
        .filter_map(char::from_u32)
        .collect();
    let escaped: String = characters
        .into_iter()
        .flatten()
        .map(|code| format!("\\u{code:04x}"))
        .collect();
    say(&server, &[&ask(&text)]).await;
    let got = request("POST", "xhr").send(&server).await;
    got.is(200, &format!("a[\"{}\"]\n", answer(&escaped)));
    // Sent as escapes, as browsers do.
    let payload = format!(
        "[\"{}\"]",
        serde_json::to_string(&ask("")).unwrap().trim_matches('"')
    );
    let payload = payload.replace("receipt:", &format!("receipt:{escaped}"));
    let sent = request("POST", "xhr_send").body(payload);
    sent.send(&server).await.is(204, "");
    let got = request("POST", "xhr").send(&server).await;
    got.is(200, &format!("a[\"{}\"]\n", answer(&escaped)));
}

/// `HandlingClose.test_close_frame`
#[tokio::test]
async fn a_session_that_ends_says_so_to_every_stream() {
    let server = start(|options| options).await;
    open(&server).await;
    let prelude = "h".repeat(2048) + "\n";
    let mut first = request("POST", "xhr_streaming").begin(&server).await;
    assert_eq!(first.chunk().await, Some(prelude.clone()));
    say(&server, &["DISCONNECT\n\n\0"]).await;
    assert_eq!(first.chunk().await.unwrap(), "c[1000,\"\"]\n");
    let mut second = request("POST", "xhr_streaming").begin(&server).await;
    assert_eq!(second.chunk().await, Some(prelude));
    assert_eq!(second.chunk().await.unwrap(), "c[1000,\"\"]\n");
    assert_eq!(first.chunk().await, None);
    assert_eq!(second.chunk().await, None);
}

/// `HandlingClose.test_close_request` and `test_abort_xhr_streaming`
#[tokio::test]
async fn an_aborted_stream_ends_the_session() {
    let server = start(|options| options).await;
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
    server
        .counted("the abort shows", |stats| stats.vanished == 1)
        .await;
    let mut third = request("POST", "xhr_streaming").begin(&server).await;
    assert_eq!(third.chunk().await, Some(prelude));
    let interrupted = "c[1002,\"Connection interrupted\"]\n";
    assert_eq!(third.chunk().await.unwrap(), interrupted);
    assert_eq!(third.chunk().await, None);
    send(&server, &["x"]).await.is(204, "");
    assert_eq!(server.stats().requests_refused, 1);
}

/// `HandlingClose.test_abort_xhr_polling`
#[tokio::test]
async fn an_aborted_poll_ends_the_session() {
    let server = start(|options| options).await;
    open(&server).await;
    let waiting = request("POST", "xhr").begin(&server).await;
    let second = request("POST", "xhr").send(&server).await;
    second.is(200, "c[2010,\"Another connection still open\"]\n");
    drop(waiting);
    server
        .counted("the abort shows", |stats| stats.vanished == 1)
        .await;
    let third = request("POST", "xhr").send(&server).await;
    third.is(200, "c[1002,\"Connection interrupted\"]\n");
}

/// Where it was asked for, the session waits for the client.
#[tokio::test]
async fn an_aborted_poll_costs_nothing_where_it_was_so_configured() {
    let server = start(|options| options.on_abort(tramline::OnAbort::Keep)).await;
    open(&server).await;
    drop(request("POST", "xhr").begin(&server).await);
    let reborn = async {
        loop {
            let answer = request("POST", "xhr").begin(&server).await;
            say(&server, &[&ask("still here")]).await;
            let mut answer = answer;
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
    let server = start(|options| options).await;
    for version in ["1.0", "1.1"] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        let greeting = "Welcome to SockJS!\n";
        // The same connection again.
        for _ in 0..2 {
            let head = exchange(&mut connection, version, "GET", &at("")).await;
            assert!(head.contains("\r\ncontent-length: 19\r\n"), "{head}");
            assert!(!head.contains("transfer-encoding"), "{head}");
            let mut body = vec![0; 19];
            connection.read_exact(&mut body).await.unwrap();
            assert_eq!(body, greeting.as_bytes());
        }
        let path = at(&format!(
            "/000/{version}",
            version = version.replace('.', "-")
        ));
        let stream = format!("{path}/xhr_streaming");
        let head = exchange(&mut connection, version, "POST", &stream).await;
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(
            head.contains("transfer-encoding: chunked"),
            version == "1.1",
            "{head}"
        );
        let garbage = Request::post(&format!("{path}/xhr_send")).body("[\"HELLO\\n\\n\\u0000\"]");
        garbage.send(&server).await.is(204, "");
        let mut body = Vec::new();
        let read = async {
            // A chunked response leaves the connection open, the other ends with it.
            while !body.ends_with(b"\r\n0\r\n\r\n")
                && connection.read_buf(&mut body).await.unwrap() > 0
            {}
            String::from_utf8(body).unwrap()
        };
        let at = std::panic::Location::caller();
        let body = within(at, "the end of the response", String::new, read).await;
        let prelude = "h".repeat(2048) + "\n";
        if version == "1.0" {
            let rest = body.strip_prefix(&prelude).unwrap();
            assert!(rest.starts_with("o\na[\"ERROR"), "{rest}");
            assert!(rest.contains("\"]\nc[1002,\""), "{rest}");
        } else {
            let rest = body.strip_prefix(&format!("801\r\n{prelude}\r\n")).unwrap();
            assert!(rest.starts_with("2\r\no\n\r\n"), "{rest}");
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
