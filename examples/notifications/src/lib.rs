//! Notifications: an application POSTs them by REST, browsers show them, and who is away finds them later.
//!
//! [`rest`] sends from a REST handler, [`inbox`] keeps what users have not seen, and this file says what clients may
//! subscribe to and send.

pub mod inbox;
pub mod rest;

use axum::Router;
use serde::{Deserialize, Serialize};
use tramline::policy::{Policy, authenticated, deny, permit};
use tramline::{
    Json, MessageRouter, Messaging, MessagingBuilder, Settings, State, User, message, subscribe,
};

use crate::inbox::{Inboxes, Kept};

/// Where everybody's notifications go.
pub const EVERYONE: &str = "/topic/notifications";

/// Where a user's go, in each of the user's browsers: `/user/queue/notifications` for the page.
pub const ONE_USER: &str = "/queue/notifications";

/// Which notifications a user has seen.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Their ids.
    pub ids: Vec<String>,
}

/// What was kept for the user: the answer to SUBSCRIBE, for that subscription alone.
pub async fn inbox(user: User, State(inboxes): State<Inboxes>) -> Json<Vec<Kept>> {
    Json(inboxes.of(user.name()))
}

/// Remembers what one browser of the user has shown; the reply tells the user's other browsers.
pub async fn seen(
    user: User,
    State(inboxes): State<Inboxes>,
    Json(seen): Json<Seen>,
) -> Json<Seen> {
    Json(Seen {
        ids: inboxes.see(user.name(), &seen.ids),
    })
}

/// What clients find behind the endpoint: everybody hears what is for everybody, users besides what is for them.
pub fn messaging(settings: &Settings, inboxes: Inboxes) -> MessagingBuilder {
    let routes = MessageRouter::new()
        .route("/inbox", subscribe(inbox))
        .route("/inbox/seen", message(seen).send_to_user("/queue/seen"))
        .with_state(inboxes);

    let policy = Policy::builder()
        .on_connect(permit())
        .on_subscribe(EVERYONE, permit())
        .on_subscribe("/user/queue/errors", permit())
        .on_subscribe("/user/queue/**", authenticated())
        .on_subscribe("/app/inbox", authenticated())
        .on_message("/app/inbox/seen", authenticated())
        .otherwise(deny());

    Messaging::builder()
        .settings(settings)
        .name("notifications")
        .routes(routes)
        .broker(settings.broker.embedded().topics("/topic"))
        .policy(policy)
}

/// The endpoint for browsers and the one for REST. Who may use the latter is for a layer of yours to say.
pub fn router(messaging: &Messaging, inboxes: Inboxes) -> Router {
    Router::new()
        .nest_service("/notifications/ws", messaging.endpoint().with_sockjs())
        .merge(rest::router(messaging.publisher(), inboxes))
}
