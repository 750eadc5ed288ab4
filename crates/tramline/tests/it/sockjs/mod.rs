//! SockJS by hand: what `sockjs-client` says over HTTP and WebSocket, and what it must not.

mod abuse;
mod bodies;
mod ending;
mod late_bodies;
mod origins;
mod polling;
mod protocol;
mod protocol_transports;
mod queues;
mod theft;
mod websocket;

use std::time::Duration;

use tramline::SockJs;

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
        .sockjs(|options| options.websocket(false).cookie_needed(false))
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
