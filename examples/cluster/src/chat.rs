//! One node of the chat.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tramline::policy::{Policy, authenticated, deny, permit};
use tramline::presence::{Presence, Presences};
use tramline::{
    BuildError, Connect, Json, MessageRouter, Messaging, State, User, message, subscribe,
};
use tramline_relay::StompRelay;

#[derive(Deserialize)]
struct Line {
    text: String,
}

/// What everybody sees of a line.
#[derive(Serialize)]
struct Said {
    user: String,
    text: String,
    /// The node that its writer is at.
    node: String,
}

async fn say(State(node): State<String>, user: User, Json(line): Json<Line>) -> Json<Said> {
    let (user, text) = (user.name().to_owned(), line.text);
    Json(Said { user, text, node })
}

/// What a page asks first.
#[derive(Serialize)]
struct Welcome {
    node: String,
    members: Vec<String>,
}

async fn welcome(State(node): State<String>, presence: Presence) -> Json<Welcome> {
    let members = presence.members("/topic/chat");
    Json(Welcome { node, members })
}

/// Whoever comes is who they say: a demo's login, not an application's.
async fn login(connect: Connect) -> Option<User> {
    let name = connect.login().filter(|name| !name.is_empty())?;
    Some(User::new(name.to_owned()))
}

fn messaging(node: String, broker: String) -> Result<Messaging, BuildError> {
    let routes = MessageRouter::new()
        .connect(login)
        .route("/welcome", subscribe(welcome))
        .route("/say", message(say).send_to("/topic/chat"))
        .with_state(node);
    let policy = Policy::builder()
        .on_connect(authenticated())
        .on_message("/app/say", permit())
        .on_subscribe("/app/welcome", permit())
        .on_subscribe("/topic/chat", permit())
        .on_subscribe("/topic/chat/presence", permit())
        .otherwise(deny());
    Messaging::builder()
        .name("cluster")
        .routes(routes)
        .broker(
            StompRelay::new([broker])
                .topics("/topic")
                .login("guest", "guest")
                .nodes("cluster"),
        )
        .presence(Presences::new().announce("/topic/chat", "/topic/chat/presence"))
        .policy(policy)
        .trusted_proxies(["127.0.0.1"])
        .build()
}

/// Serves a node until it is stopped.
pub(crate) async fn serve(
    name: String,
    listen: &str,
    broker: String,
) -> Result<(), Box<dyn std::error::Error>> {
    let messaging = messaging(name, broker)?;
    messaging.start().await?;
    let app = Router::new()
        .route("/", get(Html(include_str!("../page/index.html"))))
        .nest_service("/ws", messaging.endpoint());
    let listener = TcpListener::bind(listen).await?;
    tramline::serve(listener, app).await?;
    Ok(())
}
