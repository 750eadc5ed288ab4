//! What the newest script of sockjs-protocol expects of everything that is there before a session, asked over real HTTP.
//!
//! Each test says in its name or above it which of the script's it restates.

use super::*;

/// Where `//` is told from `/`.
const BASE: &str = "/sockjs-at";

/// What the iframe page loads.
const LIBRARY: &str = "https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js";

/// A server as the script wants it: every origin, responses of 4096 bytes.
async fn start(change: impl FnOnce(SockJs) -> SockJs) -> Server {
    Setup::new()
        .origin("*")
        .sockjs(|options| change(options.response_limit(4096).client_library_url(LIBRARY)))
        .start()
        .await
}

fn at(path: &str) -> String {
    format!("{BASE}{path}")
}

impl Response {
    /// `verify_cors`
    #[track_caller]
    pub(super) fn is_cors<'a>(&self, origin: impl Into<Option<&'a str>>) -> &Self {
        let origin = origin.into();
        self.has("access-control-allow-origin", origin.unwrap_or("*"))
            .has("access-control-allow-credentials", origin.map(|_| "true"))
    }

    /// `verify_not_cached`
    #[track_caller]
    pub(super) fn is_not_cached(&self) -> &Self {
        self.has("cache-control", NO_CACHE)
            .has("expires", None)
            .has("last-modified", None)
    }

    /// Cached for a year from now on.
    #[track_caller]
    pub(super) fn is_cached(&self) -> &Self {
        let expires = self.header("expires").expect("Expires");
        assert!(expires.ends_with(" GMT"), "{expires}");
        let year = |date: &str| date.split(' ').nth(3).unwrap().parse::<u32>().unwrap();
        assert_eq!(year(expires), year(self.header("date").unwrap()) + 1);
        self.has("cache-control", "public, max-age=31536000")
            .has("last-modified", None)
    }
}

#[tokio::test]
async fn the_greeting() {
    let server = start(|options| options).await;
    for path in ["", "/"] {
        let greeting = Request::get(&at(path)).send(&server).await;
        greeting
            .is(200, "Welcome to SockJS!\n")
            .has("content-type", TEXT)
            .has("set-cookie", None);
    }
    for path in ["/a", "/a.html", "//", "///", "/a/a", "/a/a/", "/a/"] {
        let answer = Request::get(&at(path)).send(&server).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_iframe_page_is_the_same_under_every_version() {
    let server = start(|options| options.client_library_url("/lib/sockjs.js")).await;
    let page = r#"<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="/lib/sockjs.js"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>
"#;
    let mut etags = Vec::new();
    for path in [
        "/iframe.html",
        "/iframe-a.html",
        "/iframe-.html",
        "/iframe-0.1.2.html",
        "/iframe-0.1.2abc-dirty.2144.html",
        "/iframe-a.html?t=1234",
        "/iframe-0.1.2.html?t=123414",
        "/iframe-0.1.2abc-dirty.2144.html?t=qweqweq123",
    ] {
        let answer = Request::get(&at(path)).send(&server).await;
        answer
            .is(200, page)
            .is_cached()
            .has("content-type", "text/html; charset=UTF-8")
            .has("set-cookie", None)
            .has("content-security-policy", None)
            .has("x-frame-options", None);
        etags.push(answer.header("etag").expect("ETag").to_owned());
    }
    etags.dedup();
    assert_eq!(etags.len(), 1, "{etags:?}");
    for path in [
        "/iframe.htm",
        "/iframe",
        "/IFRAME.HTML",
        "/IFRAME",
        "/iframe.HTML",
        "/iframe.xml",
        "/iframe-/.html",
    ] {
        let answer = Request::get(&at(path)).send(&server).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let wrong = Request::post(&at("/iframe.html")).send(&server).await;
    wrong
        .is(405, "")
        .has("allow", "GET")
        .has("content-type", None);

    // test_cacheability
    let again = Request::get(&at("/iframe.html")).with("If-None-Match", &etags[0]);
    let again = again.send(&server).await;
    again
        .is(304, "")
        .is_cached()
        .has("content-type", None)
        .has("etag", &*etags[0]);
    let other = Request::get(&at("/iframe.html")).with("If-None-Match", "\"other\"");
    other.send(&server).await.is(200, page);
}

/// Whoever embeds the page speaks with our own origin: the same may as may connect.
#[tokio::test]
async fn the_iframe_page_is_embedded_by_allowed_pages_only() {
    let setup = Setup::new()
        .origin("https://app.example")
        .origin("https://*.example.org:[8080,8443]")
        .sockjs(|options| options.client_library_url(LIBRARY));
    let server = setup.start().await;
    let page = Request::get("/sockjs/iframe.html").send(&server).await;
    page.has("x-frame-options", "SAMEORIGIN").has(
        "content-security-policy",
        "frame-ancestors 'self' https://app.example:443 https://*.example.org:8080 https://*.example.org:8443",
    );
    assert!(
        page.body
            .contains("https://cdn.jsdelivr.net/npm/sockjs-client@1/")
    );
}

/// `InfoTest`
#[tokio::test]
async fn info_of_the_script() {
    let server = start(|options| options).await;
    let info = Request::get(&at("/info")).with("Origin", "test");
    let info = info.send(&server).await;
    info.is_not_cached()
        .is_cors("test")
        .has("content-type", "application/json; charset=UTF-8")
        .has("set-cookie", None);
    let document: serde_json::Value = serde_json::from_str(&info.body).unwrap();
    assert_eq!(document["websocket"], true);
    assert_eq!(document["cookie_needed"], true);
    assert_eq!(document["origins"], serde_json::json!(["*:*"]));
    assert!(document["entropy"].as_u64().unwrap() <= u64::from(u32::MAX));
    Request::get(&at("/info")).send(&server).await.is_cors(None);

    let wsoff = start(|options| options.websocket(false)).await;
    let info = Request::get(&at("/info")).send(&wsoff).await;
    assert!(info.body.contains(r#""websocket":false"#), "{}", info.body);
}

/// `verify_options` of each class, and `test_request_headers_cors`
#[tokio::test]
async fn answers_to_options() {
    let server = start(|options| options).await;
    for (path, methods) in [
        ("/info", "OPTIONS, GET"),
        ("/abc/abc/xhr", "OPTIONS, POST"),
        ("/abc/abc/xhr_send", "OPTIONS, POST"),
        ("/abc/abc/xhr_streaming", "OPTIONS, POST"),
    ] {
        for origin in ["test", "null"] {
            let options = Request::new("OPTIONS", &at(path)).with("Origin", origin);
            let answer = options.clone().send(&server).await;
            answer
                .is(204, "")
                .is_cached()
                .is_cors(origin)
                .has("access-control-max-age", "31536000")
                .has("access-control-allow-methods", methods)
                .has("access-control-allow-headers", None)
                .has("set-cookie", None);
            for (wanted, allowed) in [("a, b, c", Some("a, b, c")), ("", None)] {
                let asked = options
                    .clone()
                    .with("Access-Control-Request-Headers", wanted);
                let answer = asked.send(&server).await;
                answer.has("access-control-allow-headers", allowed);
            }
        }
    }
    assert_eq!(server.stats().sessions_total, 0);
}

/// `verify405`
#[tokio::test]
async fn wrong_methods_hear_what_is_right() {
    let server = start(|options| options).await;
    for (path, method, allow) in [
        ("/info", "POST", "OPTIONS, GET"),
        ("/0/a/websocket", "POST", "GET"),
        ("/0/a/xhr", "GET", "OPTIONS, POST"),
        ("/0/a/xhr", "PUT", "OPTIONS, POST"),
        ("/0/a/xhr_send", "GET", "OPTIONS, POST"),
        ("/0/a/xhr_streaming", "GET", "OPTIONS, POST"),
        ("/0/a/eventsource", "POST", "GET"),
        ("/0/a/eventsource", "OPTIONS", "GET"),
        ("/0/a/htmlfile", "POST", "GET"),
        ("/0/a/jsonp", "POST", "GET"),
        ("/0/a/jsonp", "OPTIONS", "GET"),
        ("/0/a/jsonp_send", "GET", "POST"),
    ] {
        let answer = Request::new(method, &at(path)).send(&server).await;
        answer
            .is(405, "")
            .has("allow", allow)
            .has("content-type", None);
    }
    let upgrade = Request::post(&at("/0/0/websocket"))
        .with("Upgrade", "WebSocket")
        .with("Connection", "Upgrade");
    upgrade
        .send(&server)
        .await
        .is(405, "")
        .has("allow", "GET")
        .has("content-type", None);
    assert_eq!(server.stats().requests_refused, 13);
}

/// `SessionURLs`
#[tokio::test]
async fn any_name_is_a_session_if_it_has_no_dot() {
    let server = start(|options| options).await;
    for path in ["/a/a", "/_/_", "/1/1", "/abcdefgh_i-j%20/abcdefg_i-j%20"] {
        let opened = Request::post(&at(&format!("{path}/xhr")))
            .send(&server)
            .await;
        opened.is(200, "o\n");
    }
    for path in ["//", "/a./a", "/a/a.", "/./.", "/", "///"] {
        for method in ["GET", "POST"] {
            let request = Request::new(method, &at(&format!("{path}/xhr")));
            assert_eq!(request.send(&server).await.status, 404, "{path}");
        }
    }
    assert_eq!(server.stats().sessions_total, 4);
}

/// `WebsocketHttpErrors` and `Websocket.test_headersSanity`
#[tokio::test]
async fn handshakes_that_are_none() {
    let server = start(|options| options).await;
    let plain = Request::get(&at("/0/0/websocket")).send(&server).await;
    plain.is(400, "Can \"Upgrade\" only to \"WebSocket\".\n");
    let rewritten = Request::get(&at("/0/0/websocket"))
        .with("Upgrade", "WebSocket")
        .with("Connection", "close");
    let rewritten = rewritten.send(&server).await;
    rewritten.is(400, "\"Connection\" must be \"upgrade\".\n");
    let right = Request::upgrade(&at("/0/0/websocket"))
        .replace("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")
        .begin(&server)
        .await;
    right
        .has("sec-websocket-accept", "HSmrc0sMlYUkAGmm5OPpG2HaGWk=")
        .has("upgrade", "websocket")
        .has("content-length", None);
    assert_eq!(right.status, 101);
}

/// Both are off together, and `/info` says so.
#[tokio::test]
async fn what_is_not_offered_is_not_there() {
    use tramline::endpoint::SockJsTransport::{Jsonp, WebSocket, XhrStreaming};

    for (options, present) in [
        (
            SockJs::default().transports([XhrStreaming]),
            &["xhr_streaming", "xhr_send"][..],
        ),
        (
            SockJs::default()
                .transports([WebSocket, Jsonp])
                .websocket(false),
            &["jsonp", "jsonp_send"],
        ),
    ] {
        let server = start(|_| options).await;
        for name in [
            "websocket",
            "xhr",
            "xhr_send",
            "xhr_streaming",
            "eventsource",
            "htmlfile",
            "jsonp",
            "jsonp_send",
        ] {
            // A method that none of them has: 405 where there is one.
            let request = Request::new("PUT", &at(&format!("/0/a/{name}")));
            let status = if present.contains(&name) { 405 } else { 404 };
            assert_eq!(request.send(&server).await.status, status, "{name}");
        }
        let raw = Request::upgrade(&at("/websocket")).send(&server).await;
        assert_eq!(raw.status, 404);
        let info = Request::get(&at("/info")).send(&server).await;
        assert!(info.body.contains(r#""websocket":false"#), "{}", info.body);
    }
}

#[tokio::test]
async fn cors_can_be_left_to_others() {
    let server = start(|options| options.cors(false)).await;
    for (method, path) in [
        ("GET", "/info"),
        ("OPTIONS", "/info"),
        ("POST", "/0/a/xhr"),
        ("OPTIONS", "/0/a/xhr"),
    ] {
        let request = Request::new(method, &at(path)).with("Origin", "https://app.example");
        let answer = request.send(&server).await;
        assert!(answer.status < 300, "{answer:?}");
        let cors = |(name, _): &(String, String)| name.starts_with("access-control");
        assert!(!answer.headers.iter().any(cors), "{answer:?}");
    }
}
