//! SockJS by hand: what `sockjs-client` says over HTTP and WebSocket, and what it must not.

use std::time::Duration;

use crate::support::{Client, FrameExt, Request, Response, SHORT, Server, Setup, within};

const NO_CACHE: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";
const JAVASCRIPT: &str = "application/javascript; charset=UTF-8";
const TEXT: &str = "text/plain; charset=UTF-8";
const PRELUDE_AND: usize = 2048;

/// One SockJS session by polling.
struct Polling<'a> {
    server: &'a Server,
    name: &'static str,
    user: Option<&'static str>,
}

impl<'a> Polling<'a> {
    fn new(server: &'a Server, name: &'static str) -> Self {
        Self {
            server,
            name,
            user: None,
        }
    }

    /// A session whose transport is open.
    async fn open(server: &'a Server, name: &'static str) -> Self {
        let session = Self::new(server, name);
        session.poll().await.is(200, "o\n");
        session
    }

    /// A session in which STOMP is connected.
    async fn connected(server: &'a Server, name: &'static str) -> Self {
        let session = Self::open(server, name).await;
        session
            .say("CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0")
            .await;
        let frames = session.frames().await;
        assert!(
            frames.starts_with(r#"a["CONNECTED\nversion:1.2\nheart-beat:10000,10000\nsession:"#),
            "{frames}"
        );
        session
    }

    fn request(&self, method: &str, transport: &str) -> Request {
        let path = format!("/sockjs/000/{}/{transport}", self.name);
        let request = Request::new(method, &path);
        match self.user {
            Some(user) => request.by_user(user),
            None => request,
        }
    }

    #[track_caller]
    fn poll(&self) -> impl Future<Output = Response> {
        self.request("POST", "xhr").send(self.server)
    }

    /// The next frame, without its line end.
    async fn frames(&self) -> String {
        let answer = self.poll().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.body.strip_suffix('\n').unwrap();
        body.to_owned()
    }

    /// Sends one message, which must be taken.
    async fn say(&self, message: &str) {
        let body = serde_json::to_string(&[message]).unwrap();
        self.send(&body).await.is(204, "");
    }

    #[track_caller]
    fn send(&self, body: &str) -> impl Future<Output = Response> {
        self.request("POST", "xhr_send")
            .body(body)
            .send(self.server)
    }
}

#[tokio::test]
async fn info_says_what_may_be_tried() {
    let server = Server::start().await;
    let mut entropies = Vec::new();
    for _ in 0..2 {
        let info = Request::get("/sockjs/info").send(&server).await;
        assert_eq!(info.status, 200);
        info.has("content-type", "application/json; charset=UTF-8")
            .has("cache-control", NO_CACHE)
            .has("access-control-allow-origin", "*")
            .has("access-control-allow-credentials", None);
        let (before, entropy) = info.body.split_once("\"entropy\":").unwrap();
        assert_eq!(
            before,
            r#"{"websocket":true,"origins":["*:*"],"cookie_needed":true,"#
        );
        let entropy: u32 = entropy.strip_suffix('}').unwrap().parse().unwrap();
        entropies.push(entropy);
    }
    assert_ne!(entropies[0], entropies[1]);
    let wrong = Request::post("/sockjs/info").send(&server).await;
    wrong.is(405, "").has("allow", "OPTIONS, GET");
}

#[tokio::test]
async fn info_follows_the_configuration_and_so_does_the_endpoint() {
    let server = Setup::new()
        .sockjs(|config| {
            config.websocket = false;
            config.cookie_needed = false;
        })
        .start()
        .await;
    let info = Request::get("/sockjs/info").send(&server).await;
    assert!(
        info.body
            .starts_with(r#"{"websocket":false,"origins":["*:*"],"cookie_needed":false,"#)
    );
    for path in ["/sockjs/000/abc/websocket", "/sockjs/websocket"] {
        assert_eq!(
            Request::upgrade(path).send(&server).await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn answers_to_options_are_cached_for_a_year() {
    let server = Setup::new().origin("https://app.example").start().await;
    for (path, methods) in [
        ("/sockjs/info", "OPTIONS, GET"),
        ("/sockjs/000/abc/xhr", "OPTIONS, POST"),
        ("/sockjs/000/abc/xhr_send", "OPTIONS, POST"),
        ("/sockjs/000/abc/xhr_streaming", "OPTIONS, POST"),
    ] {
        let answer = Request::new("OPTIONS", path)
            .with("Origin", "https://app.example")
            .with("Access-Control-Request-Method", "POST")
            .with("Access-Control-Request-Headers", "content-type, x-csrf")
            .send(&server)
            .await;
        answer
            .is(204, "")
            .has("cache-control", "public, max-age=31536000")
            .has("access-control-max-age", "31536000")
            .has("access-control-allow-methods", methods)
            .has("access-control-allow-origin", "https://app.example")
            .has("access-control-allow-credentials", "true")
            .has("access-control-allow-headers", "content-type, x-csrf")
            .has("vary", "origin");
        assert!(answer.header("expires").is_some());
        let plain = Request::new("OPTIONS", path).send(&server).await;
        plain
            .has("access-control-allow-origin", "*")
            .has("access-control-allow-credentials", None)
            .has("access-control-allow-headers", None);
    }
    assert_eq!(server.stats().sessions_total, 0);
    let wrong = Request::get("/sockjs/000/abc/xhr").send(&server).await;
    wrong.is(405, "").has("allow", "OPTIONS, POST");
    assert_eq!(server.stats().sessions_total, 0);
}

#[tokio::test]
async fn every_answer_lets_the_page_read_it_and_nobody_cache_it() {
    let server = Setup::new().origin("https://app.example").start().await;
    let from_page = |request: Request| request.with("Origin", "https://app.example");
    for request in [
        Request::get("/sockjs/info"),
        Request::post("/sockjs/000/abc/xhr"),
        Request::post("/sockjs/000/abc/xhr_send").body("[]"),
        Request::post("/sockjs/000/abc/xhr_send").body("broken"),
        Request::post("/sockjs/000/unknown/xhr_send").body("[]"),
    ] {
        let answer = from_page(request).send(&server).await;
        answer
            .has("cache-control", NO_CACHE)
            .has("access-control-allow-origin", "https://app.example")
            .has("access-control-allow-credentials", "true");
    }
}

#[tokio::test]
async fn polling_opens_sends_and_receives() {
    let server = Server::start().await;
    let session = Polling::new(&server, "abc");
    let opened = session.poll().await;
    opened
        .is(200, "o\n")
        .has("content-type", JAVASCRIPT)
        .has("cache-control", NO_CACHE);
    assert_eq!(server.stats().sessions_open, 1);
    let taken = session
        .send(r#"["CONNECT\naccept-version:1.1,1.0\nheart-beat:10000,10000\n\n\u0000"]"#)
        .await;
    taken.is(204, "").has("content-type", TEXT);
    let connected = session.frames().await;
    let shape = r#"a["CONNECTED\nversion:1.1\nheart-beat:10000,10000\nsession:"#;
    assert!(connected.starts_with(shape), "{connected}");
    assert!(connected.ends_with(r#"\n\n\u0000"]"#), "{connected}");
}

#[tokio::test]
async fn a_conversation_by_polling() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let subscribe = r#"SUBSCRIBE\nid:sub-0\ndestination:/topic/greetings\nreceipt:1\n\n\u0000"#;
    let send = r#"SEND\ndestination:/app/hello\n\nWörld \"x\"\u0000"#;
    session
        .send(&format!(r#"["{subscribe}"]"#))
        .await
        .is(204, "");
    assert_eq!(
        session.frames().await,
        r#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#
    );
    // Several messages in one request, and a frame over two of them.
    let (front, back) = send.split_at(12);
    session
        .send(&format!(r#"["{send}","{front}","{back}"]"#))
        .await
        .is(204, "");
    let mut got = String::new();
    while got.matches("MESSAGE").count() < 2 {
        got += &session.frames().await;
    }
    let shape = r#"a["MESSAGE\nsubscription:sub-0\nmessage-id:"#;
    assert!(got.starts_with(shape), "{got}");
    assert_eq!(
        got.matches(r#"\n\nHello, Wörld \"x\"!\u0000""#).count(),
        2,
        "{got}"
    );
    // A WebSocket client hears the same.
    let mut client = Client::subscribed(&server, ["/topic/greetings"]).await;
    session.send(&format!(r#"["{send}"]"#)).await.is(204, "");
    client
        .expect_message("/topic/greetings", "Hello, Wörld \"x\"!")
        .await;
    // What waits comes in one frame.
    session.frames().await;
    let publisher = server.messaging().publisher();
    for body in ["one", "two"] {
        publisher.send("/topic/greetings", body).await.unwrap();
    }
    let mut got = String::new();
    while !got.contains("two") {
        got += &session.frames().await;
    }
    assert!(got.find("one") < got.find("two"), "{got}");

    session.say("DISCONNECT\nreceipt:bye\n\n\0").await;
    let mut got = session.frames().await;
    assert!(
        got.ends_with(r#"a["RECEIPT\nreceipt-id:bye\n\n\u0000"]"#),
        "{got}"
    );
    for _ in 0..3 {
        got = session.frames().await;
        assert_eq!(got, r#"c[1000,""]"#);
    }
    server
        .counted("the session is gone", |stats| stats.sessions_open == 1)
        .await;
    assert_eq!(server.receivers("/topic/greetings").await, 1);
    let stats = server.stats();
    assert_eq!((stats.vanished, stats.protocol_errors), (0, 0));
}

#[tokio::test]
async fn a_poll_waits_for_something_to_say() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    let mut waiting = session.request("POST", "xhr").begin(&server).await;
    assert_eq!(waiting.status, 200);
    server
        .messaging()
        .publisher()
        .send("/topic/x", "at last")
        .await
        .unwrap();
    let chunk = waiting.chunk().await.unwrap();
    assert!(chunk.contains("at last"), "{chunk}");
    assert_eq!(waiting.chunk().await, None);
}

#[tokio::test]
async fn streaming_begins_with_a_prelude_and_goes_on() {
    let server = Server::start().await;
    let session = Polling::new(&server, "abc");
    let mut stream = session
        .request("POST", "xhr_streaming")
        .begin(&server)
        .await;
    assert_eq!(stream.status, 200);
    stream
        .has("content-type", JAVASCRIPT)
        .has("cache-control", NO_CACHE)
        .has("transfer-encoding", "chunked");
    assert_eq!(
        stream.chunk().await.unwrap(),
        "h".repeat(PRELUDE_AND) + "\n"
    );
    assert_eq!(stream.chunk().await.unwrap(), "o\n");
    session.say("CONNECT\naccept-version:1.2\n\n\0").await;
    let connected = stream.chunk().await.unwrap();
    assert!(
        connected.starts_with(r#"a["CONNECTED\nversion:1.2"#),
        "{connected}"
    );
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert_eq!(
        stream.chunk().await.unwrap(),
        "a[\"RECEIPT\\nreceipt-id:1\\n\\n\\u0000\"]\n"
    );
    for number in 0..3 {
        let body = format!("news {number}");
        server
            .messaging()
            .publisher()
            .send("/topic/x", body.clone())
            .await
            .unwrap();
        let chunk = stream.chunk().await.unwrap();
        assert!(chunk.contains(&body) && chunk.ends_with("\"]\n"), "{chunk}");
    }
    session.say("DISCONNECT\n\n\0").await;
    assert_eq!(stream.chunk().await.unwrap(), "c[1000,\"\"]\n");
    assert_eq!(stream.chunk().await, None);
}

#[tokio::test]
async fn a_stream_ends_at_its_limit_and_the_next_goes_on() {
    let server = Setup::new()
        .sockjs(|config| config.response_limit = 1000)
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    let publisher = server.messaging().publisher();
    let mut next = 0;
    for _ in 0..3 {
        let mut stream = session
            .request("POST", "xhr_streaming")
            .begin(&server)
            .await;
        assert_eq!(stream.chunk().await.unwrap().len(), PRELUDE_AND + 1);
        let mut length = 0;
        loop {
            let body = format!("<{next}>{}", "x".repeat(200));
            if length < 1000 {
                publisher.send("/topic/x", body.clone()).await.unwrap();
            }
            match stream.chunk().await {
                Some(chunk) => {
                    assert!(chunk.contains(&body), "{next}: {chunk}");
                    length += chunk.len();
                    next += 1;
                }
                None => break,
            }
        }
        assert!((1000..1500).contains(&length), "{length}");
    }
    assert_eq!(server.stats().sessions_total, 1);
}

#[tokio::test]
async fn nobody_sends_to_a_session_that_is_not_there() {
    let server = Server::start().await;
    let session = Polling::new(&server, "never");
    let answer = session.send("[\"x\"]").await;
    answer.is(404, "");
    assert_eq!(server.stats().sessions_total, 0);
    server.serves().await;
}

#[tokio::test]
async fn broken_payloads_are_500_and_the_session_goes_on() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    for (number, (body, text)) in [
        ("", "Payload expected."),
        ("[\"x\"", "Broken JSON encoding."),
        ("[\"x", "Broken JSON encoding."),
        ("{\"a\":1}", "Broken JSON encoding."),
        ("[1]", "Broken JSON encoding."),
        ("garbage", "Broken JSON encoding."),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = session.send(body).await;
        answer.is(500, text).has("content-type", TEXT);
        assert_eq!(server.stats().protocol_errors, number as u64 + 1);
    }
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert_eq!(
        session.frames().await,
        r#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#
    );
    server.serves().await;
}

#[tokio::test]
async fn oversize_payloads_are_413() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let huge = format!("[\"{}\"]", "x".repeat(600 * 1024));
    let answer = session.send(&huge).await;
    answer.is(413, "the body is too large or was cut off\n");
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert_eq!(
        session.frames().await,
        r#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#
    );
    assert_eq!(server.stats().protocol_errors, 1);
}

#[tokio::test]
async fn a_second_receiver_is_2010_and_the_first_does_not_notice() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let mut first = session
        .request("POST", "xhr_streaming")
        .begin(&server)
        .await;
    assert_eq!(first.chunk().await.unwrap().len(), PRELUDE_AND + 1);
    let refused = "c[2010,\"Another connection still open\"]\n";
    session.poll().await.is(200, refused);
    let streamed = session.request("POST", "xhr_streaming").send(&server).await;
    streamed.is(200, &format!("{}\n{refused}", "h".repeat(PRELUDE_AND)));
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert_eq!(
        first.chunk().await.unwrap(),
        "a[\"RECEIPT\\nreceipt-id:1\\n\\n\\u0000\"]\n"
    );
}

/// The session's name is in every proxy's log: knowing it is not enough.
#[tokio::test]
async fn a_session_belongs_to_its_user() {
    let server = Server::start().await;
    let session = |user| Polling {
        user,
        ..Polling::new(&server, "abc")
    };
    let alice = session(Some("alice"));
    alice.poll().await.is(200, "o\n");
    for other in [None, Some("bob")] {
        let other = session(other);
        other.send("[\"x\"]").await.is(404, "");
        other.poll().await.is(404, "");
        let streamed = other.request("POST", "xhr_streaming").send(&server).await;
        streamed.is(404, "");
    }
    alice.say("CONNECT\naccept-version:1.2\n\n\0").await;
    let connected = alice.frames().await;
    assert!(connected.contains(r"\nuser-name:alice\n"), "{connected}");
    assert_eq!(server.stats().sessions_total, 1);
    server.serves().await;
}

#[tokio::test]
async fn errors_end_a_polling_session_with_a_close_frame_that_can_be_asked_for_again() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    session.say("HELLO\n\n\0").await;
    let text = "`HELLO` is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a line of its own";
    assert_eq!(
        session.frames().await,
        format!(r#"a["ERROR\nmessage:{text}\ncontent-length:0\n\n\u0000"]"#)
    );
    for _ in 0..2 {
        assert_eq!(session.frames().await, format!(r#"c[1002,"{text}"]"#));
    }
    session.send("[\"x\"]").await.is(404, "");
    assert_eq!(server.stats().protocol_errors, 1);
    server.serves().await;
}

#[tokio::test]
async fn a_closed_session_is_forgotten_and_its_name_is_free_again() {
    let server = Setup::new()
        .sockjs(|config| config.disconnect_delay = SHORT)
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    session.say("DISCONNECT\n\n\0").await;
    assert_eq!(session.frames().await, r#"c[1000,""]"#);
    let reborn = async {
        loop {
            let answer = session.poll().await;
            if answer.body == "o\n" {
                return;
            }
            answer.is(200, "c[1000,\"\"]\n");
        }
    };
    within(
        std::panic::Location::caller(),
        "a fresh session",
        String::new,
        reborn,
    )
    .await;
    assert_eq!(server.stats().sessions_total, 2);
}

#[tokio::test]
async fn a_session_that_nobody_polls_has_vanished() {
    let server = Setup::new()
        .sockjs(|config| config.disconnect_delay = SHORT)
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    assert_eq!(server.receivers("/topic/x").await, 1);
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    assert_eq!(server.receivers("/topic/x").await, 0);
    server.serves().await;
}

/// A response that the client cut off is followed by another poll, or by nothing.
#[tokio::test]
async fn a_cut_off_stream_is_missed_after_the_disconnect_delay() {
    let server = Setup::new()
        .sockjs(|config| config.disconnect_delay = SHORT)
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    let mut stream = session
        .request("POST", "xhr_streaming")
        .begin(&server)
        .await;
    assert_eq!(stream.chunk().await.unwrap().len(), PRELUDE_AND + 1);
    drop(stream);
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    server.serves().await;
}

#[tokio::test]
async fn a_polling_client_that_never_connects_is_4500() {
    let server = Setup::new()
        .limits(|limits| limits.connect_time = SHORT)
        .start()
        .await;
    let session = Polling::open(&server, "abc").await;
    assert_eq!(
        session.frames().await,
        r#"c[4500,"no CONNECT frame came in time"]"#
    );
    assert_eq!(server.stats().timeouts, 1);
    server.serves().await;
}

#[tokio::test]
async fn quiet_receivers_get_heart_beat_frames() {
    let server = Setup::new()
        .sockjs(|config| config.heartbeat = Duration::from_millis(100))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    let start = std::time::Instant::now();
    session.poll().await.is(200, "h\n");
    assert!(start.elapsed() < 5 * SHORT, "{:?}", start.elapsed());
    let mut stream = session
        .request("POST", "xhr_streaming")
        .begin(&server)
        .await;
    stream.chunk().await.unwrap();
    for _ in 0..2 {
        assert_eq!(stream.chunk().await.unwrap(), "h\n");
    }
}

/// Two clocks would only wake phones twice.
#[tokio::test]
async fn sockjs_heart_beats_stop_where_stomp_has_its_own() {
    let server = Setup::new()
        .limits(|limits| limits.heart_beat.send = 500)
        .sockjs(|config| config.heartbeat = Duration::from_millis(200))
        .start()
        .await;
    let session = Polling::open(&server, "abc").await;
    session
        .say("CONNECT\naccept-version:1.2\nheart-beat:0,500\n\n\0")
        .await;
    session.frames().await;
    for _ in 0..2 {
        assert_eq!(session.frames().await, r#"a["\n"]"#);
    }
}

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
        format!(r#"a["ERROR\nmessage:{text}\ncontent-length:0\n\n\u0000"]"#)
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

/// SockJS carries text only, and says so where the message is.
#[tokio::test]
async fn bytes_that_are_no_text_are_refused_by_name() {
    let server = Server::start().await;
    let text = "a message to \"/topic/x\" has a body that is not UTF-8, which SockJS cannot carry; use WebSocket";
    let escaped = text.replace('"', "\\\"");
    let bytes = || tramline::Bytes::from_static(b"\xff\xfe");
    let publisher = server.messaging().publisher();

    let polling = Polling::connected(&server, "abc").await;
    polling
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    polling.frames().await;
    publisher.send("/topic/x", bytes()).await.unwrap();
    let length = text.len();
    assert_eq!(
        polling.frames().await,
        format!(
            r#"a["ERROR\nmessage:message cannot be carried\ncontent-type:text/plain\ncontent-length:{length}\n\n{escaped}\u0000"]"#
        )
    );
    assert_eq!(polling.frames().await, format!(r#"c[1003,"{escaped}"]"#));
    assert_eq!(server.stats().rejected, 1);

    // A WebSocket beside it is not concerned.
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    publisher.send("/topic/x", bytes()).await.unwrap();
    let (message, as_text) = client.expect_any().await;
    assert_eq!((&message.body[..], as_text), (&b"\xff\xfe"[..], false));
    message.has("subscription", "0");
}

#[tokio::test]
async fn shutdown_reaches_polling_sessions() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let mut waiting = session.request("POST", "xhr").begin(&server).await;
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(crate::support::DEADLINE).await });
    assert_eq!(
        waiting.chunk().await.unwrap(),
        "c[1001,\"the server is going away\"]\n"
    );
    assert_eq!(shutdown.await.unwrap(), 0);
}

/// Nobody new is let in, but who is in gets to hear the rest: here the reply of a handler that still runs.
#[tokio::test]
async fn shutdown_lets_polling_sessions_collect_what_is_theirs() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/slow\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    session.say("SEND\ndestination:/app/slow\n\nanswer\0").await;
    server.gate.started(1).await;
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(crate::support::DEADLINE).await });
    tokio::task::yield_now().await;
    let stranger = Polling::new(&server, "new").poll().await;
    stranger.is(503, "the server is going away\n");
    server.gate.release();
    let reply = session.frames().await;
    assert!(reply.contains("slow answer"), "{reply}");
    assert_eq!(
        session.frames().await,
        r#"c[1001,"the server is going away"]"#
    );
    assert_eq!(shutdown.await.unwrap(), 0);
}

/// A receiver that waits is told at once, whatever it is: an answer of the server itself as well as a message.
#[tokio::test]
async fn a_waiting_poll_hears_the_servers_own_frames() {
    let server = Server::start().await;
    let session = Polling::open(&server, "abc").await;
    let answers = [
        ("CONNECT\naccept-version:1.2\n\n\0", "CONNECTED"),
        (
            "SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0",
            "RECEIPT",
        ),
        ("SUBSCRIBE\nid:0\ndestination:/topic/x\n\n\0", "ERROR"),
    ];
    for (frame, answer) in answers {
        let waiting = session.request("POST", "xhr").begin(&server).await;
        let start = std::time::Instant::now();
        session.say(frame).await;
        let mut waiting = waiting;
        let chunk = waiting.chunk().await.unwrap();
        assert!(chunk.starts_with(&format!("a[\"{answer}")), "{chunk}");
        assert!(
            start.elapsed() < 5 * SHORT,
            "{answer} took {:?}",
            start.elapsed()
        );
    }
}

/// The name of a session that vanished is not taken for ever, nor is the memory for it.
#[tokio::test]
async fn a_vanished_session_is_forgotten_too() {
    let server = Setup::new()
        .sockjs(|config| config.disconnect_delay = SHORT)
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    let reborn = async {
        loop {
            let answer = session.poll().await;
            if answer.body == "o\n" {
                return;
            }
            answer.is(200, "c[3000,\"Go away!\"]\n");
        }
    };
    within(
        std::panic::Location::caller(),
        "a fresh session",
        String::new,
        reborn,
    )
    .await;
}

#[tokio::test]
async fn a_polling_client_that_does_not_fetch_its_messages_is_4500() {
    let server = Setup::new()
        .limits(|limits| limits.outbox = 64 * 1024)
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    let publisher = server.messaging().publisher();
    let body = "x".repeat(4000);
    let mut sent = 0;
    while server.stats().slow_consumers == 0 {
        publisher.send("/topic/x", body.clone()).await.unwrap();
        tokio::task::yield_now().await;
        sent += 1;
        assert!(sent < 1000, "the outbox has no end");
    }
    let mut got = 0;
    let close = loop {
        let frames = session.frames().await;
        if frames.starts_with('c') {
            break frames;
        }
        got += frames.matches("MESSAGE").count();
    };
    assert!(0 < got && got < sent, "{got} of {sent}");
    assert!(
        close.starts_with("c[4500,\"the client reads too slowly: "),
        "{close}"
    );
    server.serves().await;
}
