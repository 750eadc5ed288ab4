//! Who may ask: pages, by their origin, and proxies.

use super::*;

async fn status(server: &Server, request: Request) -> u16 {
    request.begin(server).await.status
}

#[tokio::test]
async fn foreign_pages_hear_403_on_every_path() {
    let server = Server::start().await;
    for (method, path) in [
        ("GET", "/sockjs"),
        ("GET", "/sockjs/info"),
        ("OPTIONS", "/sockjs/info"),
        ("GET", "/sockjs/iframe.html"),
        ("GET", "/sockjs/websocket"),
        ("GET", "/sockjs/0/a/websocket"),
        ("POST", "/sockjs/0/a/xhr"),
        ("OPTIONS", "/sockjs/0/a/xhr"),
        ("POST", "/sockjs/0/a/xhr_send"),
        ("POST", "/sockjs/0/a/xhr_streaming"),
        ("GET", "/sockjs/0/a/eventsource"),
        ("GET", "/sockjs/0/a/htmlfile?c=x"),
        ("GET", "/sockjs/0/a/jsonp?c=x"),
        ("POST", "/sockjs/0/a/jsonp_send"),
    ] {
        let request = Request::new(method, path).with("Origin", "https://evil.example");
        let answer = request.send(&server).await;
        assert_eq!(answer.status, 403, "{path}");
        answer.has("access-control-allow-origin", None);
    }
    assert_eq!(server.stats().origins_refused, 14);
    assert_eq!(server.stats().sessions_total, 0);
}

#[tokio::test]
async fn patterns_allow_what_fits_them() {
    let server = Setup::new()
        .origin("https://*.example.com:[8080,8443]")
        .start()
        .await;
    for (origin, expected) in [
        ("https://a.example.com:8080", 200),
        ("https://a.b.example.com:8443", 200),
        ("https://a.example.com", 403),
        ("https://example.com:8080", 403),
        ("null", 403),
    ] {
        let info = Request::get("/sockjs/info").with("Origin", origin);
        assert_eq!(status(&server, info).await, expected, "{origin}");
    }
}

/// A script element says not where it stands, and comes with the visitor's cookies.
#[tokio::test]
async fn scripts_and_frames_must_show_where_they_stand() {
    let server = Setup::new().origin("https://app.example").start().await;
    let own_page = format!("http://{}/page", server.address);
    let mut number = 0;
    for transport in ["jsonp", "htmlfile"] {
        for (header, expected) in [
            (None, 403),
            (Some(("Referer", "https://evil.example/")), 403),
            (Some(("Sec-Fetch-Site", "cross-site")), 403),
            (Some(("Sec-Fetch-Site", "same-origin")), 200),
            (Some(("Referer", "https://app.example/page")), 200),
            (Some(("Referer", &*own_page)), 200),
        ] {
            number += 1;
            let request = Request::get(&format!("/sockjs/0/{number}/{transport}?c=x"));
            let request = match header {
                Some((name, value)) => request.with(name, value),
                None => request,
            };
            assert_eq!(status(&server, request).await, expected, "{header:?}");
        }
    }
    assert_eq!(server.stats().origins_refused, 6);
    assert_eq!(server.stats().sessions_total, 6);
}

/// TLS ends before us: pages are `https`, and `Host` has no port.
#[tokio::test]
async fn behind_tls_the_default_works() {
    let server = Server::start().await;
    for (host, origin, expected) in [
        ("app.example", "https://app.example", 200),
        ("app.example", "https://other.example", 403),
        ("app.example:8443", "https://app.example:8443", 200),
    ] {
        let info = Request::get("/sockjs/info")
            .with("Host", host)
            .with("Origin", origin);
        assert_eq!(status(&server, info).await, expected, "{origin}");
    }
}

/// The server under test puts no address into requests, so `*` is what can trust.
#[tokio::test]
async fn a_trusted_proxy_says_what_the_client_asked_for() {
    let forwarded = || {
        Request::get("/sockjs/info")
            .with("Host", "inner:8080")
            .with("X-Forwarded-Host", "app.example")
            .with("Origin", "https://app.example")
    };
    let trusting = Setup::new().trusted_proxy("*").start().await;
    assert_eq!(status(&trusting, forwarded()).await, 200);
    let careful = Server::start().await;
    assert_eq!(status(&careful, forwarded()).await, 403);
    let naming = Setup::new().trusted_proxy("127.0.0.1").start().await;
    assert_eq!(status(&naming, forwarded()).await, 403);
    let known = forwarded().with("x-peer", "127.0.0.1:9");
    assert_eq!(status(&naming, known).await, 200);
    let stranger = forwarded().with("x-peer", "127.0.0.2:9");
    assert_eq!(status(&naming, stranger).await, 403);
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let server = Setup::new().trusted_proxy("127.0.0.1").start().await;
    for (peer, address) in [("127.0.0.1:9", "1.2.3.4"), ("127.0.0.2:9", "127.0.0.2")] {
        let request = Request::upgrade("/ws")
            .with("x-peer", peer)
            .with("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 127.0.0.1");
        let mut client = request.open(&server).await.connected().await;
        client.subscribe("0", "/topic/handshake").await;
        client.send("SEND\ndestination:/app/handshake\n\n\0").await;
        let told = client.expect("MESSAGE").await;
        let body = String::from_utf8(told.body.to_vec()).unwrap();
        assert!(body.contains(&format!(r#""remote":"{address}""#)), "{body}");
    }
}
