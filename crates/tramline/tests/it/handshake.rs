//! From HTTP to a session: paths, methods, headers, origins, sub-protocols.

use crate::support::{Client, FrameExt, Request, Server, Setup};

const NOT_FOUND: &str = "there is nothing here; clients connect to the endpoint's own path\n";
const FOREIGN: &str = "this page may not connect here\n";

#[tokio::test]
async fn unknown_paths_are_404() {
    let server = Server::start().await;
    for path in [
        "/ws/nowhere",
        "/ws/info",
        "/ws/websocket",
        "/ws/0/abc/xhr",
        "/at/x",
        "/at//",
    ] {
        let answer = Request::upgrade(path).send(&server).await;
        answer.is(404, NOT_FOUND);
    }
    for path in [
        "/sockjs/nowhere",
        "/sockjs/info/",
        "/sockjs/0/abc/polling",
        "/sockjs/0/a.c/xhr",
        "/sockjs/0//xhr",
        "/sockjs-at//",
        "/sockjs-at/iframe.htm",
    ] {
        let answer = Request::get(path).send(&server).await;
        answer.is(404, NOT_FOUND);
    }
    assert_eq!(server.stats().requests_refused, 13);
    assert_eq!(server.stats().sessions_total, 0);
    server.serves().await;
}

#[tokio::test]
async fn only_get_opens_a_websocket() {
    let server = Server::start().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        for path in ["/ws", "/ws/"] {
            let answer = Request::new(method, path).send(&server).await;
            answer
                .is(405, "a WebSocket handshake is a GET\n")
                .has("allow", "GET");
        }
    }
    let head = Request::new("HEAD", "/ws").begin(&server).await;
    assert_eq!(head.status, 405);
    let posted = Request::upgrade("/sockjs/websocket");
    let posted = Request::post("/sockjs/0/abc/websocket")
        .with("Upgrade", "websocket")
        .send(&server)
        .await
        .status
        + posted.send(&server).await.status;
    assert_eq!(posted, 405 + 101);
    assert_eq!(server.stats().requests_refused, 10);
    server.serves().await;
}

/// The SockJS greeting is the same: the path is right, so 405 says more than 404.
#[tokio::test]
async fn other_methods_at_a_sockjs_endpoints_own_path_are_405() {
    let server = Server::start().await;
    let answer = Request::post("/sockjs").send(&server).await;
    assert_eq!(answer.status, 405, "{answer:?}");
    server.serves().await;
}

#[tokio::test]
async fn wrong_upgrade_headers_are_400() {
    let server = Server::start().await;
    let upgrade = "Can \"Upgrade\" only to \"WebSocket\".\n";
    let connection = "\"Connection\" must be \"upgrade\".\n";
    let whole = || Request::upgrade("/ws");
    for (request, text) in [
        (Request::get("/ws"), upgrade),
        (whole().replace("Upgrade", "h2c"), upgrade),
        (whole().replace("Upgrade", "websockets"), upgrade),
        (whole().replace("Connection", "keep-alive"), connection),
        (whole().replace("Connection", "close"), connection),
    ] {
        request.send(&server).await.is(400, text);
    }
    // Lists and any case are fine, as Firefox and proxies send them.
    whole()
        .replace("Connection", "keep-alive, UPGRADE")
        .replace("Upgrade", "WebSocket")
        .open(&server)
        .await;
    let listed = whole()
        .replace("Connection", "keep-alive")
        .with("Connection", "Upgrade");
    listed.open(&server).await;
    assert_eq!(server.stats().requests_refused, 5);
    server.serves().await;
}

#[tokio::test]
async fn other_websocket_versions_are_426() {
    let server = Server::start().await;
    let whole = || Request::upgrade("/ws");
    for request in [
        whole().without("Sec-WebSocket-Version"),
        whole().replace("Sec-WebSocket-Version", "8"),
        whole().replace("Sec-WebSocket-Version", "13, 8"),
    ] {
        let answer = request.send(&server).await;
        answer
            .is(426, "only WebSocket version 13 is spoken here\n")
            .has("sec-websocket-version", "13");
    }
    assert_eq!(server.stats().requests_refused, 3);
    server.serves().await;
}

#[tokio::test]
async fn a_key_is_sixteen_bytes_in_base64() {
    let server = Server::start().await;
    let whole = || Request::upgrade("/ws");
    for request in [
        whole().without("Sec-WebSocket-Key"),
        whole().replace("Sec-WebSocket-Key", ""),
        whole().replace("Sec-WebSocket-Key", "c2hvcnQ="),
        whole().replace("Sec-WebSocket-Key", "not base64 not base64 !!"),
    ] {
        let answer = request.send(&server).await;
        answer.is(400, "\"Sec-WebSocket-Key\" must be 16 bytes in base64\n");
    }
    assert_eq!(server.stats().requests_refused, 4);
    server.serves().await;
}

#[tokio::test]
async fn pages_of_foreign_origins_are_403_everywhere() {
    let server = Setup::new().origin("https://app.example").start().await;
    let requests = [
        Request::upgrade("/ws"),
        Request::upgrade("/sockjs/websocket"),
        Request::upgrade("/sockjs/000/abc/websocket"),
        Request::get("/sockjs"),
        Request::get("/sockjs/info"),
        Request::new("OPTIONS", "/sockjs/info"),
        Request::post("/sockjs/000/abc/xhr"),
        Request::new("OPTIONS", "/sockjs/000/abc/xhr"),
        Request::post("/sockjs/000/abc/xhr_streaming"),
        Request::post("/sockjs/000/abc/xhr_send").body("[]"),
    ];
    let mut refused = 0;
    for request in requests {
        for origin in [
            "http://evil.example",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "http://127.0.0.1:1",
            "null",
        ] {
            let answer = request.clone().with("Origin", origin).send(&server).await;
            answer
                .is(403, FOREIGN)
                .has("access-control-allow-origin", None);
            refused += 1;
        }
    }
    assert_eq!(server.stats().origins_refused, refused);
    assert_eq!(server.stats().sessions_total, 0);
    server.serves().await;
}

#[tokio::test]
async fn own_allowed_and_absent_origins_pass() {
    let server = Setup::new().origin("https://app.example").start().await;
    let own = format!("http://{}", server.address);
    for origin in [
        Some(&*own),
        Some("https://app.example"),
        Some("https://APP.example:443"),
        None,
    ] {
        let with = |request: Request| match origin {
            Some(origin) => request.with("Origin", origin),
            None => request,
        };
        with(Request::upgrade("/ws")).open(&server).await;
        let info = with(Request::get("/sockjs/info")).send(&server).await;
        assert_eq!(info.status, 200, "{origin:?}");
        info.has("access-control-allow-origin", origin.unwrap_or("*"));
        let session = format!("/sockjs/000/{}/xhr", origin.map_or(0, str::len));
        let xhr = with(Request::post(&session)).send(&server).await;
        assert_eq!(xhr.status, 200, "{origin:?}");
    }
    assert_eq!(server.stats().origins_refused, 0);
}

/// A page that any site could have brought here asks for nobody: whoever is logged in stays out of it.
#[tokio::test]
async fn what_any_page_may_open_has_no_user() {
    let server = Setup::new()
        .origin("*")
        .origin("https://app.example")
        .builder(|builder| builder.keep_headers([http::header::COOKIE]))
        .start()
        .await;
    for (origin, user) in [
        ("https://evil.example", None),
        ("null", None),
        ("https://app.example", Some("alice")),
    ] {
        let request = Request::upgrade("/ws")
            .with("Origin", origin)
            .with("Cookie", "session=1")
            .with("x-user", "alice");
        let mut client = request.open(&server).await;
        client.send("CONNECT\naccept-version:1.2\n\n\0").await;
        let connected = client.expect("CONNECTED").await;
        connected.has("user-name", user);
    }
}

/// A stranger's page whose name was pointed to this server (DNS rebinding) has the host that it asks for.
#[tokio::test]
async fn a_name_that_was_pointed_here_is_403() {
    let rebound = || {
        Request::upgrade("/ws")
            .with("Origin", "http://evil.example:8080")
            .with("Host", "evil.example:8080")
    };
    let server = Server::start().await;
    rebound().send(&server).await.is(403, FOREIGN);
    assert_eq!(server.stats().origins_refused, 1);

    let naming = Setup::new()
        .builder(|builder| builder.allowed_hosts(["intranet"]))
        .start()
        .await;
    let named = Request::upgrade("/ws")
        .with("Origin", "http://intranet")
        .with("Host", "intranet");
    named.open(&naming).await;
    rebound().send(&naming).await.is(403, FOREIGN);
    let program = Request::upgrade("/ws").with("Host", "evil.example");
    program.send(&naming).await.is(403, FOREIGN);
    naming.serves().await;
}

#[tokio::test]
async fn a_handshake_that_lost_its_upgrade_hears_so() {
    let server = Server::start().await;
    let lost = "this handshake lost its \"Upgrade\" or \"Connection\" header on the way: a proxy in between has to pass both \
                on\n";
    for path in [
        "/ws",
        "/sockjs",
        "/sockjs/websocket",
        "/sockjs/0/a/websocket",
    ] {
        for header in ["Upgrade", "Connection"] {
            let request = Request::upgrade(path).without(header);
            request.send(&server).await.is(400, lost);
        }
    }
}

/// TLS may end at a proxy in front of us: host and port are compared, not the scheme.
#[tokio::test]
async fn the_own_origin_is_told_by_the_host_header() {
    let server = Server::start().await;
    let at = |origin, host| {
        Request::upgrade("/ws")
            .with("Origin", origin)
            .with("Host", host)
    };
    at("https://chat.example", "chat.example")
        .open(&server)
        .await;
    let other_port = at("https://chat.example", "chat.example:8080");
    other_port.send(&server).await.is(403, FOREIGN);
    server.serves().await;
}

#[tokio::test]
async fn any_origin_passes_where_the_application_says_so() {
    let server = Setup::new().origin("*").start().await;
    let request = Request::upgrade("/ws").with("Origin", "null");
    request.open(&server).await;
}

#[tokio::test]
async fn the_first_offered_subprotocol_that_is_stomp_is_echoed_as_written() {
    let server = Server::start().await;
    for (offers, chosen) in [
        (&[][..], None),
        (&["v12.stomp"], Some("v12.stomp")),
        (&["v10.stomp, v11.stomp, v12.stomp"], Some("v10.stomp")),
        (&["v12.stomp,v11.stomp"], Some("v12.stomp")),
        (&["mqtt, V11.Stomp"], Some("V11.Stomp")),
        (&["mqtt", "v11.stomp", "v12.stomp"], Some("v11.stomp")),
        (&["mqtt, soap"], None),
    ] {
        let mut request = Request::upgrade("/ws");
        for offer in offers {
            request = request.with("Sec-WebSocket-Protocol", offer);
        }
        let mut client = request.open(&server).await;
        assert_eq!(client.subprotocol.as_deref(), chosen, "{offers:?}");
        client.send("CONNECT\naccept-version:1.1,1.2\n\n\0").await;
        client.expect("CONNECTED").await.has("version", "1.2");
    }
}

#[tokio::test]
async fn nested_endpoints_see_one_place_and_unstripped_ones_tell_slashes_apart() {
    let server = Server::start().await;
    for path in [
        "/ws",
        "/ws/",
        "/ws//",
        "/at",
        "/at/",
        "/ws?token=a%20b",
        "/at?x",
    ] {
        let mut client = Request::upgrade(path).open(&server).await;
        client.send("CONNECT\naccept-version:1.2\n\n\0").await;
        client.expect("CONNECTED").await;
    }
    let unstripped = Request::upgrade("/at//").send(&server).await;
    unstripped.is(404, NOT_FOUND);
    for path in [
        "/sockjs",
        "/sockjs/",
        "/sockjs//",
        "/sockjs-at",
        "/sockjs-at/",
    ] {
        let answer = Request::get(path).send(&server).await;
        answer
            .is(200, "Welcome to SockJS!\n")
            .has("content-type", "text/plain; charset=UTF-8");
    }
    let unstripped = Request::get("/sockjs-at//").send(&server).await;
    unstripped.is(404, NOT_FOUND);
    // One endpoint takes both: plain WebSocket at its own path, SockJS below it.
    for path in [
        "/sockjs",
        "/sockjs/",
        "/sockjs-at",
        "/sockjs/websocket",
        "/sockjs-at/websocket",
    ] {
        let mut client = Request::upgrade(path).open(&server).await;
        client.send("CONNECT\naccept-version:1.2\n\n\0").await;
        client.expect("CONNECTED").await;
    }
}

#[tokio::test]
async fn what_is_sent_right_behind_the_handshake_is_not_lost() {
    let server = Server::start().await;
    let connect = b"CONNECT\naccept-version:1.2\n\n\0";
    let mut frame = vec![0x81, 0x80 | connect.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(connect);
    let mut client = Request::upgrade("/ws")
        .pipelined(&frame)
        .open(&server)
        .await;
    client.expect("CONNECTED").await.has("version", "1.2");
    // Such a connection runs on a wrapped stream, and serves as any other.
    client.subscribe("0", "/topic/greetings").await;
    client
        .send("SEND\ndestination:/app/hello\n\nearly bird\0")
        .await;
    client
        .expect_message("/topic/greetings", "Hello, early bird!")
        .await;
    client.close(1000, "").await;
    client.expect_close(1000, "").await;
}

/// The mistake of whoever mounts it, so it is 500 and not the client's.
#[tokio::test]
async fn a_web_server_that_cannot_upgrade_says_so() {
    let server = Server::start().await;
    let mut endpoint = server.messaging().endpoint();
    let request = http::Request::get("/")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = tower_service::Service::call(&mut endpoint, request).await;
    assert_eq!(answer.unwrap().status(), 500);
    assert_eq!(server.stats().sessions_total, 0);
}

#[tokio::test]
async fn connected_tells_version_heart_beat_user_and_session_in_this_order() {
    let server = Server::start().await;
    let mut anonymous = Client::open(&server).await;
    anonymous
        .send("CONNECT\naccept-version:1.0,1.1,1.2\nhost:x\n\n\0")
        .await;
    let connected = anonymous.expect("CONNECTED").await;
    let names: Vec<&str> = connected.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["version", "heart-beat", "session"]);
    connected
        .has("version", "1.2")
        .has("heart-beat", "10000,10000");

    let mut alice = Request::upgrade("/ws").by_user("alice").open(&server).await;
    alice
        .send("STOMP\naccept-version:1.1\nlogin:mallory\n\n\0")
        .await;
    let connected = alice.expect("CONNECTED").await;
    let names: Vec<&str> = connected.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["version", "heart-beat", "user-name", "session"]);
    connected.has("version", "1.1").has("user-name", "alice");
    assert_eq!(server.stats().sessions_open, 2);
    assert_eq!(server.stats().sessions_total, 2);
}
