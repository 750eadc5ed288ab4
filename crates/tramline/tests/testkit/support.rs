//! A stack to test the kit with.

use tramline::login::Handshake;
use tramline::policy::{Policy, authenticated, deny, permit, role};
use tramline::test::TestMessaging;
use tramline::{
    EmbeddedBroker, Json, Limits, MessageRouter, Messaging, MessagingBuilder, Path, Rejection, To,
    ToUser, User, message, subscribe,
};

/// Whoever is greeted, and how.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Greeting {
    pub(crate) content: String,
}

async fn greet(name: String) -> Json<Greeting> {
    let content = format!("Hello, {name}!");
    Json(Greeting { content })
}

async fn say(user: User, Path(room): Path<u32>, line: String) -> To<String> {
    To::topic(
        format!("/topic/rooms/{room}"),
        format!("{}: {line}", user.name()),
    )
}

async fn refuse() -> Result<(), Rejection> {
    Err(Rejection::application("nobody gets this right").with_details(vec![1, 2]))
}

async fn whoami(user: Option<User>, handshake: Handshake) -> String {
    let name = user.as_ref().map_or("nobody", User::name);
    let tenant = handshake.header(&http::HeaderName::from_static("x-tenant"));
    let other = handshake.header(&http::header::USER_AGENT);
    let (path, origin, remote) = (handshake.path(), handshake.origin(), handshake.remote());
    format!("{name} {path} {origin:?} {remote:?} {tenant:?} {other:?}")
}

async fn slow() -> &'static str {
    tokio::time::sleep(std::time::Duration::from_secs(300)).await;
    "at last"
}

async fn whisper(line: String) -> (ToUser<String>, ToUser<&'static str>) {
    (
        ToUser::named("bob", "/queue/whispers", line),
        ToUser::session("/queue/status", "sent"),
    )
}

async fn history(Path(room): Path<u32>) -> Json<Vec<u32>> {
    Json(vec![room; 3])
}

pub(crate) fn routes() -> MessageRouter {
    MessageRouter::new()
        .route("/hello", message(greet).send_to("/topic/greetings"))
        .route("/rooms/{room}/say", message(say))
        .route("/rooms/{room}/history", subscribe(history))
        .route("/whisper", message(whisper))
        .route("/refuse", message(refuse))
        .route("/whoami", message(whoami).send_to("/topic/who"))
        .route(
            "/slow",
            message(slow)
                .send_to("/topic/slow")
                .time_limit(std::time::Duration::from_secs(600)),
        )
}

pub(crate) fn builder() -> MessagingBuilder {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/admin/**", role("admin"))
        .on_message("/app/**", permit())
        .on_message("/queue/**", authenticated())
        .on_message("/topic/open", permit())
        .on_subscribe("/topic/secret/**", role("admin"))
        .on_subscribe("/**", permit())
        .otherwise(deny());
    Messaging::builder()
        .routes(routes())
        .broker(EmbeddedBroker::new().topics("/topic").queues("/queue"))
        .policy(policy)
        .keep_headers([http::HeaderName::from_static("x-tenant")])
}

pub(crate) fn app() -> TestMessaging {
    TestMessaging::new(builder().build().unwrap())
}

pub(crate) fn limited(change: impl FnOnce(&mut Limits)) -> TestMessaging {
    let mut limits = Limits::default();
    change(&mut limits);
    TestMessaging::new(builder().limits(limits).build().unwrap())
}
