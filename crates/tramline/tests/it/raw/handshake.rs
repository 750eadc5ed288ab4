//! Who comes in, and what the handler knows of them.

use http::{HeaderName, HeaderValue, header};
use tramline::User;
use tramline::raw::{HandshakeRefused, HandshakeRequest, StatusCode};

use super::*;

#[tokio::test]
async fn the_first_of_our_sub_protocols_that_the_client_offers_is_agreed_on() {
    for (offer, agreed) in [
        (None, None),
        (Some("chat.v1"), Some("chat.v1")),
        (Some("chat.v1, chat.v2"), Some("chat.v2")),
        (Some("soap,chat.v1 , x"), Some("chat.v1")),
        (Some("CHAT.V1"), None),
        (Some("soap"), None),
    ] {
        let (builder, mut sockets) = handed_over();
        let server = RawServer::start(builder.protocols(["chat.v2", "chat.v1"])).await;
        let mut request = Request::upgrade("/raw");
        if let Some(offer) = offer {
            request = request.with("Sec-WebSocket-Protocol", offer);
        }
        let client = request.open(&server).await;
        assert_eq!(client.subprotocol.as_deref(), agreed, "{offer:?}");
        assert_eq!(next(&mut sockets).await.protocol(), agreed, "{offer:?}");
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Tenant(String);

/// Knows who has a token; finds the tenant of those who come in.
async fn by_token(request: HandshakeRequest) -> Result<HandshakeRequest, HandshakeRefused> {
    let Some(tenant) = request.header("x-tenant").map(str::to_owned) else {
        let bearer = HeaderValue::from_static("Bearer");
        return Err(
            HandshakeRefused::new(StatusCode::UNAUTHORIZED, "which tenant?")
                .with_header(header::WWW_AUTHENTICATE, bearer),
        );
    };
    assert_eq!(request.uri().query(), Some("q=1"));
    assert_eq!(request.user().map(User::name), Some("alice"));
    let offered: Vec<_> = request.offered_protocols().map(str::to_owned).collect();
    Ok(request
        .with_attribute(Tenant(tenant))
        .with_user(User::new("carol"))
        .with_protocol(offered[1].clone()))
}

#[tokio::test]
async fn interceptors_refuse_or_add_what_the_handler_will_know() {
    let seen = Log::default();
    let log = seen.clone();
    let (builder, mut sockets) = handed_over();
    let builder = builder
        .keep_headers([HeaderName::from_static("x-kept")])
        .intercept(by_token)
        .intercept(move |request: HandshakeRequest| {
            log.add(format!("{request:?}"));
            let tenant = request.attributes().get::<Tenant>().cloned();
            async move {
                match tenant {
                    Some(Tenant(name)) if name == "closed" => {
                        Err(HandshakeRefused::new(StatusCode::OK, "no entry"))
                    }
                    _ => Ok(request),
                }
            }
        });
    let server = RawServer::start(builder).await;
    let request = Request::upgrade("/raw?q=1")
        .by_user("alice")
        .with("Sec-WebSocket-Protocol", "a, b")
        .with("x-kept", "yes")
        .with("x-secret", "hunter2");

    let refused = request.clone().send(&server).await;
    refused
        .is(401, "which tenant?")
        .has("www-authenticate", "Bearer");
    assert!(seen.lines().is_empty(), "the first refusal is the end");
    // A status that is none of refusal is one nevertheless.
    let closed = request
        .clone()
        .with("x-tenant", "closed")
        .send(&server)
        .await;
    closed.is(403, "no entry");
    assert_eq!(server.stats().requests_refused, 2);
    assert_eq!(server.stats().sessions_total, 0);

    let origin = format!("http://{}", server.address);
    let request = request.with("x-tenant", "acme").with("Origin", &origin);
    let client = request.open(&server).await;
    assert_eq!(client.subprotocol.as_deref(), Some("b"));
    let socket = next(&mut sockets).await;
    assert_eq!(socket.attributes().get(), Some(&Tenant("acme".into())));
    assert_eq!(socket.user().map(User::name), Some("carol"));
    assert_eq!(socket.protocol(), Some("b"));
    let handshake = socket.handshake();
    assert_eq!(handshake.origin(), Some(&*origin));
    assert_eq!(
        handshake.header(&HeaderName::from_static("x-kept")),
        Some("yes")
    );
    assert_eq!(handshake.header(&HeaderName::from_static("x-secret")), None);
    assert_eq!(handshake.remote().unwrap().ip(), server.address.ip());
    assert_ne!(handshake.remote(), socket.local());
    assert_eq!(socket.local(), Some(server.address));
    assert_eq!(socket.transport(), "websocket");
    let shown = seen.lines().join("\n");
    assert!(
        shown.contains("carol") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[tokio::test]
async fn interceptors_that_hang_are_a_503() {
    let builder = RawEndpoint::builder(echo)
        .intercept(|_| std::future::pending())
        .limits(limits(|limits| limits.handshake_time = SHORT));
    let server = RawServer::start(builder).await;
    let answer = Request::upgrade("/raw").send(&server).await;
    answer.is(503, "the server took too long to decide; try again later\n");
    assert_eq!(server.stats().requests_refused, 1);
}

#[tokio::test]
async fn foreign_pages_stay_outside_unless_they_are_allowed() {
    let builder = RawEndpoint::builder(echo).allowed_origins(["https://app.example"]);
    let server = RawServer::start(builder).await;
    let from = |origin: &str| Request::upgrade("/raw").with("Origin", origin);
    let refused = from("https://evil.example").send(&server).await;
    refused.is(403, "this page may not connect here\n");
    assert_eq!(server.stats().origins_refused, 1);
    from("https://app.example").open(&server).await;
    let own = format!("http://{}", server.address);
    from(&own).open(&server).await;
    server.echoes().await;
}

#[tokio::test]
async fn what_is_no_handshake_hears_why() {
    let server = RawServer::echo().await;
    let good = || Request::upgrade("/raw");
    for (request, status) in [
        (Request::post("/raw"), 405),
        (Request::get("/raw"), 400),
        (good().replace("Sec-WebSocket-Version", "8"), 426),
        (good().replace("Sec-WebSocket-Key", "short"), 400),
        (good().replace("Connection", "close"), 400),
        (Request::upgrade("/raw/elsewhere"), 404),
        (Request::upgrade("/raw/websocket"), 404),
    ] {
        let answer = request.send(&server).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(server.stats().requests_refused, 7);
    server.echoes().await;
}

#[tokio::test]
async fn an_endpoint_can_be_mounted_with_its_path_unstripped() {
    let endpoint = RawEndpoint::builder(echo).at("/at").build().unwrap();
    let app = Router::new()
        .route_service("/at", endpoint.clone())
        .route_service("/at/{*rest}", endpoint.clone());
    let server = RawServer::serve(Some(endpoint), app).await;
    let mut client = Request::upgrade("/at").open(&server).await.without_stomp();
    client.send("x").await;
    assert_eq!(client.expect_text().await, "x");
    assert_eq!(Request::upgrade("/at/x").send(&server).await.status, 404);
}

#[test]
fn every_mistake_is_said_at_once() {
    let wrong = RawEndpoint::builder(echo)
        .protocols(["ok", "not ok", "ok"])
        .allowed_origins(["app.example"])
        .limits(limits(|limits| limits.message = 0))
        .build();
    let error = wrong.unwrap_err();
    assert_eq!(error.errors().count(), 4, "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("the raw endpoint cannot be built:\n  - "),
        "{text}"
    );
    for mistake in [
        "\"not ok\"",
        "\"ok\" is named twice",
        "app.example",
        "`message`",
    ] {
        assert!(text.contains(mistake), "{mistake} in {text}");
    }
}
