//! Routes: how they are put together, and what may stand around handlers.

use std::time::Duration;

use serde_json::json;
use tower::Service;
use tower::ServiceBuilder;
use tower::layer::layer_fn;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::timeout::TimeoutLayer;
use tower::util::{MapRequestLayer, MapResponseLayer};
use tramline::broker::{Destination, Separator};
use tramline::extract::{Extension, Headers};
use tramline::policy::{Policy, deny, permit};
use tramline::presence::Presences;
use tramline::reply::{Effects, Payload, RejectedMessage};
use tramline::router::MessageService;
use tramline::{
    ByteString, EmbeddedBroker, Inbound, Json, MessageRouter, Messaging, Path, Rejection, To,
    ToUser, User, message, subscribe,
};

use crate::support::{Client, ERRORS, FrameExt, Log, Server, Setup, broker};

const NO_ROUTE: &str = "no handler takes messages for this destination";

async fn nothing() {}

async fn text() -> &'static str {
    "text"
}

async fn path(Path(captures): Path<Vec<String>>) -> String {
    captures.join("-")
}

/// Whoever hears what routes send to `/topic/**`, and of rejections.
async fn listener(server: &Server) -> Client {
    Client::subscribed(server, ["/topic/**", ERRORS]).await
}

#[tokio::test]
async fn nested_routes_have_all_captures_and_merged_ones_stay_where_they_are() {
    let server = Setup::new()
        .routes(|routes| {
            let inner = MessageRouter::new()
                .route("/", message(path).send_to("/topic/here/{a}/{b}"))
                .route("/{c}/end", message(path).send_to("/topic/{c}/{b}/{a}"))
                .route("/files/{*rest}", message(path).send_to("/topic/{rest}"));
            let middle = MessageRouter::new().nest("/b/{b}", inner);
            let plain = MessageRouter::new().route("/plain", message(text).send_to("/topic/plain"));
            routes.nest("/a/{a}", middle).merge(plain)
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for (sent, reply, body) in [
        ("/app/a/1/b/2", "/topic/here/1/2", "1-2"),
        ("/app/a/1/b/2/3/end", "/topic/3/2/1", "1-2-3"),
        ("/app/a/x/b/y/files/k/l/m", "/topic/k/l/m", "x-y-k/l/m"),
        ("/app/plain", "/topic/plain", "text"),
    ] {
        client.post(sent, "").await;
        client.expect_message(reply, body).await;
    }
    for sent in [
        "/app/a/1/b/2/",
        "/app/a//b/2",
        "/app/a/1/b",
        "/app/a/1/plain",
        "/app/a/1/b/2/files/",
    ] {
        client.post(sent, "").await;
        let rejection = client.expect_rejection("no-route").await;
        assert_eq!(
            (&rejection["destination"], &rejection["error"]),
            (&json!(sent), &json!(NO_ROUTE))
        );
    }
}

#[tokio::test]
async fn a_fixed_path_wins_over_captures() {
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/y/{*rest}", message(path).send_to("/topic/tail"))
                .route("/y/fixed", message(text).send_to("/topic/fixed"))
                .route("/x/{one}", message(path).send_to("/topic/capture"))
                .route("/x/fixed", message(text).send_to("/topic/fixed"))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for (sent, reply, body) in [
        ("/app/x/fixed", "/topic/fixed", "text"),
        ("/app/x/other", "/topic/capture", "other"),
        ("/app/y/fixed", "/topic/fixed", "text"),
        ("/app/y/fixed/more", "/topic/tail", "fixed/more"),
        ("/app/y/other//", "/topic/tail", "other//"),
    ] {
        client.post(sent, "").await;
        client.expect_message(reply, body).await;
    }
}

#[tokio::test]
async fn the_fallback_takes_sends_that_no_route_takes_and_no_subscriptions() {
    async fn otherwise(destination: Destination, body: String) -> To<String> {
        To::topic("/topic/otherwise", format!("{destination} {body}"))
    }
    let server = Setup::new()
        .routes(|routes| {
            routes
                .merge(MessageRouter::new().fallback(otherwise))
                .route("/asked", subscribe(text))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for sent in ["/app/unknown", "/app/asked", "/app/hello/x"] {
        client.post(sent, "hi").await;
        let said = format!("{sent} hi");
        client.expect_message("/topic/otherwise", &said).await;
    }
    assert_eq!(server.stats().rejected, 0);
    client
        .send("SUBSCRIBE\nid:9\ndestination:/app/unknown\n\n\0")
        .await;
    let detail =
        "nothing can be subscribed to at \"/app/unknown\": no handler answers subscriptions there";
    client.expect_error("subscription refused", detail).await;
}

#[tokio::test]
async fn one_path_can_have_a_handler_of_each_kind() {
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route(
                    "/both/{x}",
                    message(path).send_to("/topic/sent").subscribe(text),
                )
                .route("/apart", subscribe(text))
                .route("/apart", message(nothing))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    client.post("/app/both/1", "").await;
    client.expect_message("/topic/sent", "1").await;
    client.subscribe("both", "/app/both/2").await;
    client.expect_message("/app/both/2", "text").await;
    client.subscribe("apart", "/app/apart").await;
    client.expect_message("/app/apart", "text").await;
    client.post("/app/apart", "").await;
    client.expect_nothing(&server).await;
    assert_eq!(server.stats().rejected, 0);
}

/// A fixed path of one kind does not take the other kind's messages from a path with captures.
#[tokio::test]
async fn sends_and_subscribes_are_routed_apart() {
    let server = Setup::new()
        .routes(|routes| {
            routes
                .route("/rooms/{room}", message(path).send_to("/topic/room"))
                .route("/rooms/lobby", subscribe(text))
                .route("/seats/{seat}", subscribe(path))
                .route("/seats/front", message(text).send_to("/topic/front"))
                .route("/names/{a}", message(path).send_to("/topic/names"))
                .route("/names/{b}", subscribe(path))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for (sent, reply, body) in [
        ("/app/rooms/lobby", "/topic/room", "lobby"),
        ("/app/seats/front", "/topic/front", "text"),
        ("/app/names/x", "/topic/names", "x"),
    ] {
        client.post(sent, "").await;
        client.expect_message(reply, body).await;
    }
    for (asked, body) in [
        ("/app/rooms/lobby", "text"),
        ("/app/seats/front", "front"),
        ("/app/names/y", "y"),
    ] {
        client.subscribe(asked, asked).await;
        client.expect_message(asked, body).await;
    }
    assert_eq!(server.stats().rejected, 0);
}

#[tokio::test]
async fn the_same_routes_are_below_every_prefix() {
    let server = Setup::open_to_all(broker())
        .builder(|builder| builder.application_prefixes(["/app", "/api/v1"]))
        .start()
        .await;
    let mut client = listener(&server).await;
    for sent in ["/app/hello", "/api/v1/hello"] {
        client.post(sent, sent).await;
        let said = format!("Hello, {sent}!");
        client.expect_message("/topic/greetings", &said).await;
    }
    client.post("/api/hello", "").await;
    let error = client.expect("ERROR").await;
    let detail = "\"/api/hello\" leads nowhere: handlers are below \"/app\" or \"/api/v1\", what is for users is \
                  below \"/user\", and the broker carries what is below \"/topic\" or \"/queue\"";
    assert_eq!(error.text(), detail);
}

#[tokio::test]
async fn dots_may_stand_between_segments() {
    let server = Setup::open_to_all(broker())
        .builder(|builder| builder.application_separator(Separator::Dot))
        .routes(|_| {
            MessageRouter::new()
                .route("/rooms.{room}.say", message(path).send_to("/topic/{room}"))
                .route("/files/{*rest}", message(path).send_to("/topic/{rest}"))
                .route("/one.{name}", message(path).send_to("/topic/one"))
                .route("/one/{name}", subscribe(path))
                .nest(
                    "/nested.{a}",
                    MessageRouter::new().route("/{b}", message(path).send_to("/topic/nested")),
                )
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for (sent, reply, body) in [
        ("/app/rooms.7.say", "/topic/7", "7"),
        ("/app/files.a.b.c", "/topic/a.b.c", "a.b.c"),
        ("/app/files.a/b.c", "/topic/a/b.c", "a/b.c"),
        ("/app/one.x", "/topic/one", "x"),
        ("/app/nested.x.y", "/topic/nested", "x-y"),
        ("/app/nested.ü.😀", "/topic/nested", "ü-😀"),
    ] {
        client.post(sent, "").await;
        client.expect_message(reply, body).await;
    }
    client.subscribe("one", "/app/one.x").await;
    client.expect_message("/app/one.x", "x").await;
    for sent in ["/app/rooms..say", "/app/rooms.7.say.", "/app/files."] {
        client.post(sent, "").await;
        client.expect_rejection("no-route").await;
    }
}

/// Writes its name into the header `seen`.
fn stamp(
    name: &'static str,
) -> MapRequestLayer<impl Fn(Inbound) -> Inbound + Clone + Send + Sync + 'static> {
    MapRequestLayer::new(move |mut message: Inbound| {
        message.headers_mut().push("seen", name);
        message
    })
}

async fn seen(headers: Headers) -> String {
    let seen = headers.iter().filter(|(name, _)| *name == "seen");
    seen.map(|(_, value)| value).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn layers_that_were_added_later_are_further_out() {
    let server = Setup::new()
        .routes(|routes| {
            let inner = MessageRouter::new()
                .route(
                    "/seen",
                    message(seen)
                        .layer(stamp("first"))
                        .send_to("/topic/seen")
                        .layer(stamp("second")),
                )
                .layer(stamp("third"))
                .route("/later", message(seen).send_to("/topic/seen"))
                .route("/asked", subscribe(seen).layer(stamp("own")));
            routes
                .nest("/in", inner)
                .fallback(async |headers: Headers| To::topic("/topic/seen", seen(headers).await))
                .layer(stamp("outer"))
                .route("/bare", message(seen).send_to("/topic/seen"))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    for (sent, expected) in [
        ("/app/in/seen", "outer third second first"),
        ("/app/in/later", "outer"),
        ("/app/bare", ""),
        ("/app/unknown", "outer"),
    ] {
        client.post(sent, "").await;
        client.expect_message("/topic/seen", expected).await;
    }
    client.subscribe("asked", "/app/in/asked").await;
    client.expect_message("/app/in/asked", "outer own").await;
}

#[derive(Clone)]
struct Tenant(String);

#[tokio::test]
async fn a_layer_may_change_the_body_and_the_effects_and_leave_something() {
    async fn said(Extension(Tenant(tenant)): Extension<Tenant>, body: String) -> String {
        format!("{tenant}: {body}")
    }
    async fn tenant(tenant: Option<Extension<Tenant>>) -> String {
        tenant.map_or("none".into(), |Extension(Tenant(tenant))| tenant)
    }
    let server = Setup::new()
        .routes(|routes| {
            let shout = MapRequestLayer::new(|mut message: Inbound| {
                let loud = message.body().to_ascii_uppercase();
                message.set_body(loud);
                message.extensions_mut().insert(Tenant("acme".into()));
                message
            });
            let audit = MapResponseLayer::new(|mut effects: Effects| {
                let audited = Destination::parse("/topic/audit").unwrap();
                effects.publish(audited, Payload::untyped("one more"));
                effects
            });
            routes
                .route(
                    "/loud",
                    message(said)
                        .send_to("/topic/said")
                        .layer(shout)
                        .layer(audit),
                )
                .route("/said", message(said).send_to("/topic/said"))
                .route("/tenant", message(tenant).send_to("/topic/said"))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    client.post("/app/loud", "hi").await;
    client.expect_message("/topic/said", "acme: HI").await;
    client.expect_message("/topic/audit", "one more").await;
    client.post("/app/tenant", "").await;
    client.expect_message("/topic/said", "none").await;
    client.post("/app/said", "hi").await;
    client.expect_rejection("misconfigured").await;
}

/// Refuses messages that say "spam", before the handler sees them.
fn no_spam() -> impl tower::Layer<
    MessageService,
    Service = impl Service<
        Inbound,
        Response = Effects,
        Error = tower::BoxError,
        Future = impl Future<Output = Result<Effects, tower::BoxError>> + Send,
    > + Clone
              + Send
              + Sync
              + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    layer_fn(|inner: MessageService| {
        tower::service_fn(move |message: Inbound| {
            let mut inner = inner.clone();
            async move {
                if message.body() == "spam" {
                    let refused = Rejection::application("no spam, please");
                    return Err(refused.with_details(json!({ "word": "spam" })).into());
                }
                inner.call(message).await.map_err(Into::into)
            }
        })
    })
}

#[tokio::test]
async fn a_layer_may_refuse_by_a_rejection_or_by_any_error() {
    let server = Setup::new()
        .routes(|routes| {
            let never = message(async || std::future::pending::<()>().await);
            routes.layer(no_spam()).route(
                "/never",
                never.layer(TimeoutLayer::new(Duration::from_millis(20))),
            )
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    client.post_with("/app/hello", "receipt:1\n", "spam").await;
    let (message, receipt) = client.message_and_receipt().await;
    receipt.has("receipt-id", "1");
    let told: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
    let expected = json!({
        "kind": "application",
        "error": "no spam, please",
        "destination": "/app/hello",
        "details": { "word": "spam" },
    });
    assert_eq!(told, expected);
    client.post("/app/hello", "ham").await;
    client
        .expect_message("/topic/greetings", "Hello, ham!")
        .await;
    client.post("/app/never", "").await;
    let rejection = client.expect_rejection("refused").await;
    assert_eq!(rejection["error"], "request timed out");
    assert_eq!(server.stats().rejected, 2);
}

#[tokio::test]
async fn a_limit_over_all_sessions_lets_messages_wait_or_sheds_them() {
    for shed in [false, true] {
        let server = Setup::new()
            .routes(move |routes| {
                let limit = GlobalConcurrencyLimitLayer::new(1);
                match shed {
                    true => routes.layer(ServiceBuilder::new().load_shed().layer(limit)),
                    false => routes.layer(limit),
                }
            })
            .start()
            .await;
        let mut first = Client::connect(&server).await;
        let mut second = Client::subscribed(&server, [ERRORS]).await;
        first.post("/app/slow", "one").await;
        server.gate.started(1).await;
        second.post_with("/app/log", "receipt:2\n", "two").await;
        if shed {
            let (message, _) = second.message_and_receipt().await;
            assert!(message.text().contains("\"kind\":\"refused\""));
        }
        second.ping(b"read that?").await;
        second.expect_pong(b"read that?").await;
        assert!(server.gate.log().is_empty());
        server.gate.release();
        if !shed {
            second.expect("RECEIPT").await;
            assert_eq!(server.gate.log(), ["slow one", "two"]);
        }
    }
}

#[tokio::test]
async fn a_layer_that_panics_is_a_handler_that_panics() {
    let server = Setup::new()
        .routes(|routes| {
            let panics = MapRequestLayer::new(|message: Inbound| -> Inbound {
                panic!("a layer was asked to panic: {message:?}")
            });
            routes.route("/layered", message(nothing).layer(panics))
        })
        .start()
        .await;
    let mut client = listener(&server).await;
    client.post("/app/layered", "").await;
    client.expect_rejection("handler-panicked").await;
    assert_eq!(server.stats().handler_panics, 1);
    server.serves().await;
}

fn told_as(
    name: &'static str,
) -> impl Fn(RejectedMessage) -> ToUser<String> + Send + Sync + Clone + 'static {
    move |rejection| ToUser::session("/queue/errors", format!("{name}: {}", *rejection))
}

#[tokio::test]
async fn the_nearest_router_says_what_becomes_of_a_rejection() {
    async fn fails() -> Rejection {
        Rejection::application("failed")
    }
    let server = Setup::new()
        .routes(|_| {
            let own = MessageRouter::new()
                .route("/fails", message(fails))
                .on_rejection(told_as("own"));
            let none = MessageRouter::new()
                .route("/fails", message(fails))
                .nest("/own", own);
            let merged = MessageRouter::new()
                .route("/merged", message(fails))
                .on_rejection(told_as("merged"));
            MessageRouter::new()
                .nest("/none", none)
                .merge(merged)
                .on_rejection(told_as("outer"))
                .route("/late", message(fails))
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    for (sent, told) in [
        ("/app/none/fails", "outer: failed"),
        ("/app/none/own/fails", "own: failed"),
        ("/app/merged", "merged: failed"),
        ("/app/late", "outer: failed"),
    ] {
        client.post(sent, "").await;
        client.expect_message(ERRORS, told).await;
    }
    client.post("/app/nowhere", "").await;
    let told = format!("outer: {NO_ROUTE}");
    client.expect_message(ERRORS, &told).await;
    assert_eq!(server.stats().rejected, 5);
}

/// A notice of the application's own has what the default one has, and may be the default one.
#[tokio::test]
async fn a_notice_can_name_what_it_is_about() {
    async fn fails() -> Result<(), Rejection> {
        Err(Rejection::application("failed").with_details(serde_json::json!(7)))
    }
    let server = Setup::new()
        .routes(|_| {
            MessageRouter::new()
                .route("/fails", message(fails))
                .on_rejection(|rejected: RejectedMessage| {
                    let user = rejected.user();
                    let seen = format!(
                        "{} {:?} {} {:?}",
                        rejected.destination(),
                        user.as_ref().map(User::name),
                        rejected.kind(),
                        rejected.correlation_id(),
                    );
                    (
                        ToUser::session("/queue/errors", rejected.notice()),
                        ToUser::session("/queue/seen", seen),
                    )
                })
        })
        .start()
        .await;
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("0", ERRORS).await;
    alice.subscribe("1", "/user/queue/seen").await;
    alice
        .post_with("/app/fails", "correlation-id:c7\n", "x")
        .await;
    let notice = alice.expect("MESSAGE").await;
    notice
        .has("destination", ERRORS)
        .has("content-type", "application/json")
        .has("correlation-id", "c7");
    let body = r#"{"kind":"application","error":"failed","destination":"/app/fails","details":7}"#;
    assert_eq!(notice.text(), body);
    let seen = "/app/fails Some(\"alice\") application Some(\"c7\")";
    alice.expect_message("/user/queue/seen", seen).await;
}

#[tokio::test]
async fn who_cannot_tell_of_a_rejection_does_not_hide_it() {
    async fn fails() -> Rejection {
        Rejection::application("failed")
    }
    let server = Setup::new()
        .routes(|_| {
            let panics = MessageRouter::new()
                .route("/panics", message(fails))
                .on_rejection(|_| -> () { panic!("telling was asked to panic") });
            let lost = MessageRouter::new()
                .route("/lost", message(fails))
                .on_rejection(|rejection: RejectedMessage| {
                    let told = ToUser::session("/queue/errors", rejection.to_string());
                    (To::topic("/nowhere", "x"), told)
                });
            let silent = MessageRouter::new()
                .route("/silent", message(fails))
                .on_rejection(|_| ());
            panics.merge(lost).merge(silent)
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    client.post("/app/panics", "").await;
    assert_eq!(
        client.expect_rejection("application").await["error"],
        "failed"
    );
    client.expect_rejection("handler-panicked").await;
    client.post("/app/lost", "").await;
    client.expect_message(ERRORS, "failed").await;
    client.expect_rejection("bad-reply").await;
    client.post("/app/silent", "").await;
    client.expect_nothing(&server).await;
    let stats = server.stats();
    assert_eq!((stats.rejected, stats.handler_panics), (5, 1));
}

#[test]
fn every_mistake_is_told() {
    let routes: MessageRouter = MessageRouter::new()
        .connect(nothing)
        .connect(nothing)
        .fallback(nothing)
        .merge(MessageRouter::new().fallback(nothing))
        .nest(
            "/nest/",
            MessageRouter::new().fallback(nothing).fallback(nothing),
        )
        .nest("/tail/{*rest}", MessageRouter::new())
        .nest(
            "/fine",
            MessageRouter::new().route("no-slash", message(nothing)),
        )
        .route("/any/*", message(nothing))
        .route("/typed/{id:int}", message(nothing))
        .route("/same/{a}", message(nothing).subscribe(nothing))
        .route("/same/{b}", message(nothing).subscribe(nothing))
        .route("/ask", subscribe(nothing))
        .route("/ask", subscribe(nothing))
        .route("/room/{room}/{room}", message(nothing))
        .nest(
            "/seat/{seat}",
            MessageRouter::new().route("/{seat}", subscribe(nothing)),
        )
        .route("/", subscribe(nothing))
        .route("/mine", message(text).send_to_user("/queue/{who}"));
    let presences = Presences::new()
        .track("/topic/rooms/*")
        .track("/queue/x")
        .announce("/topic/a/{x}", "/topic/a/{y}")
        .announce("/topic/b/{x}", "/topic/b/{x")
        .announce("/topic/c/{x}", "/topic/c/*/{x}")
        .announce("/topic/d/{*rest}", "/topic/e/{rest}");
    let error = Messaging::builder()
        .routes(routes)
        .presence(presences)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(permit()))
        .build()
        .unwrap_err();
    let mistakes: Vec<&str> = error.errors().collect();
    let nested = "a prefix begins with `/` and captures no tail; to nest at `/` use `merge`";
    let wildcards = "there are no wildcards here; `{name}` captures one segment, and `{*name}` all that is left";
    let expected = [
        "two fallbacks: there can be one".to_owned(),
        "nest \"/nest/\": the nested router has a fallback; the outermost can have one".into(),
        "two fallbacks: there can be one".into(),
        format!("nest \"/tail/{{*rest}}\": {nested}"),
        "route \"no-slash\" in \"/fine\": a path begins with `/`".into(),
        "two connect handlers: there can be one".into(),
        format!("route \"/any/*\": \"*\": {wildcards}"),
        "route \"/typed/{id:int}\": {id:int}: a capture is a name; take its value by `Path` of a type that checks it"
            .into(),
        "route \"/same/{b}\": it would take the same destinations as route \"/same/{a}\"; keep one of them".into(),
        "route \"/ask\": two subscribe handlers".into(),
        "route \"/room/{room}/{room}\": {room} is there twice; each capture has a name of its own".into(),
        "route \"/seat/{seat}/{seat}\": {seat} is there twice; each capture has a name of its own".into(),
        "route \"/\": clients cannot send there: nothing is left of the destination below the application prefix; name \
         a segment, or nest this router below one"
            .into(),
        "route \"/mine\": reply destination \"/queue/{who}\" uses {who}, which its route does not capture".into(),
        format!("presence for \"/topic/rooms/*\": \"*\": {wildcards}"),
        "presence for \"/queue/x\": the broker carries no destination \"/queue/x\", only those below \"/topic\"".into(),
        "presence for \"/topic/a/{x}\": its topic \"/topic/a/{y}\" uses {y}, which the pattern does not capture".into(),
        "presence for \"/topic/b/{x}\": its topic \"/topic/b/{x\" has an unclosed `{`".into(),
        "presence for \"/topic/c/{x}\": destination \"/topic/c/*/x\" has a wildcard; messages go to one destination, \
         only subscriptions may use `*`, `?` and `**`"
            .into(),
    ];
    assert_eq!(mistakes, expected);
}

/// What is wrong with a path or a prefix does not hide what is wrong with the replies there.
#[test]
fn one_mistake_does_not_hide_another() {
    let wrong = || message(text).send_to("/queue/x").send_to("/topic/{who}");
    let routes: MessageRouter = MessageRouter::new()
        .route("hello", wrong())
        .route("/open/{who", wrong())
        .route("/any/*/:who", wrong())
        .route("/twice", message(nothing))
        .route("/twice", wrong())
        .nest("bad", MessageRouter::new().route("inner", wrong()))
        .nest("/", MessageRouter::new().route("/", wrong()))
        .nest(
            "/tail/{*rest}",
            MessageRouter::new().route("/", message(text).send_to("/topic/{rest}/{who}")),
        );
    let error = Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(deny()))
        .build()
        .unwrap_err();
    let nested = "a prefix begins with `/` and captures no tail; to nest at `/` use `merge`";
    let carried = "the broker carries no destination \"/queue/x\", only those below \"/topic\"";
    let who = "reply destination \"/topic/{who}\" uses {who}, which its route does not capture";
    let expected = [
        format!("nest \"bad\": {nested}"),
        "route \"inner\" in \"bad\": a path begins with `/`".into(),
        format!("nest \"/\": {nested}"),
        format!("nest \"/tail/{{*rest}}\": {nested}"),
        "route \"hello\": a path begins with `/`".into(),
        format!("route \"hello\": {carried}"),
        format!("route \"hello\": {who}"),
        "route \"/open/{who\": unclosed `{`".into(),
        format!("route \"/open/{{who\": {carried}"),
        "route \"/any/*/:who\": \"*\": there are no wildcards here; `{name}` captures one segment, and `{*name}` all \
         that is left"
            .into(),
        "route \"/any/*/:who\": captures are written {who}, not :who".into(),
        format!("route \"/any/*/:who\": {carried}"),
        "route \"/twice\": two message handlers".into(),
        format!("route \"/twice\": {carried}"),
        format!("route \"/twice\": {who}"),
        format!("route \"/bad/inner\": {carried}"),
        format!("route \"/bad/inner\": {who}"),
        "route \"/\": clients cannot send there: nothing is left of the destination below the application prefix; name \
         a segment, or nest this router below one"
            .into(),
        format!("route \"/\": {carried}"),
        format!("route \"/\": {who}"),
        "route \"/tail/{rest}\": reply destination \"/topic/{rest}/{who}\" uses {who}, which its route does not capture"
            .into(),
    ];
    assert_eq!(error.errors().collect::<Vec<_>>(), expected);
}

#[test]
fn routes_are_a_table_to_read() {
    let routes: MessageRouter = MessageRouter::new()
        .route(
            "/rooms/{room}",
            message(text)
                .send_to("/topic/{room}")
                .send_to_user("/queue/mine")
                .send_to_session("/queue/here")
                .subscribe(path),
        )
        .nest("/admin", MessageRouter::new().route("/", message(nothing)))
        .fallback(nothing)
        .connect(nothing)
        .disconnect(nothing);
    let here = module_path!();
    let expected = [
        format!(
            "MESSAGE    /rooms/{{room}}                    {here}::text -> /topic/{{room}}, user /queue/mine, session /queue/here"
        ),
        format!("SUBSCRIBE  /rooms/{{room}}                    {here}::path"),
        format!("MESSAGE    /admin                           {here}::nothing"),
        format!("MESSAGE    otherwise                        {here}::nothing"),
        format!("CONNECT                                     {here}::nothing"),
        format!("DISCONNECT                                  {here}::nothing"),
    ];
    assert_eq!(routes.to_string().lines().collect::<Vec<_>>(), expected);
    assert_eq!(
        routes.paths().collect::<Vec<_>>(),
        ["/rooms/{room}", "/admin"]
    );
    assert_eq!(format!("{routes:?}"), r#"{"/rooms/{room}", "/admin"}"#);
}

/// State is given router by router, and each handler has its own.
#[tokio::test]
async fn routers_with_different_states_merge() {
    use tramline::State;

    #[derive(Clone)]
    struct Names(Log, ByteString);

    async fn note(State(Names(log, name)): State<Names>) {
        log.add(name);
    }
    async fn number(State(number): State<u32>) -> Json<u32> {
        Json(number)
    }
    let log = Log::default();
    let names = |name: &'static str| Names(log.clone(), name.into());
    let (one, two) = (names("one"), names("two"));
    let server = Setup::new()
        .routes(move |routes| {
            let with = |path: &'static str, names: Names| {
                let routes = MessageRouter::new().route(path, message(note));
                routes.disconnect(note).with_state(names)
            };
            let numbers = MessageRouter::new().route("/n", message(number).send_to("/topic/n"));
            routes
                .merge(with("/one", one))
                .merge(with("/two", two))
                .merge(numbers.with_state(7))
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/n"]).await;
    client.post("/app/two", "").await;
    client.post("/app/one", "").await;
    client.post("/app/n", "").await;
    client.expect_message("/topic/n", "7").await;
    client.send("DISCONNECT\n\n\0").await;
    log.reads(["two", "one", "one", "two"]).await;
}
