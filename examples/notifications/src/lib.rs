//! Notifications: an application POSTs them by REST, browsers show them, and who is away finds them later.
//!
//! `rest.rs` sends from a REST handler, `inbox.rs` keeps what users have not seen, and this file says what clients may
//! subscribe to and send.

pub mod inbox;
mod key;
mod rest;

use axum::Router;
use serde::{Deserialize, Serialize};
use tramline::broker::History;
use tramline::policy::{Policy, authenticated, deny, permit};
use tramline::settings::Settings;
use tramline::{
    EmbeddedBroker, Json, MessageRouter, Messaging, MessagingBuilder, State, User, message,
    subscribe,
};

use crate::inbox::{Inboxes, Kept};
pub use crate::key::Key;

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
pub async fn kept(user: User, State(inboxes): State<Inboxes>) -> Json<Vec<Kept>> {
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

/// Notifications for everyone that the server keeps for those whose connection was lost, for an hour at most.
const KEPT_FOR_EVERYONE: usize = 50;

fn broker(broker: EmbeddedBroker) -> EmbeddedBroker {
    broker
        .topics("/topic")
        .history(EVERYONE, History::messages(KEPT_FOR_EVERYONE))
}

/// What clients find behind the endpoint: everybody hears what is for everybody, users besides what is for them.
pub fn messaging(settings: &Settings, inboxes: Inboxes) -> MessagingBuilder {
    let routes = MessageRouter::new()
        .route("/inbox", subscribe(kept))
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
        .broker(broker(settings.broker.embedded()))
        .policy(policy)
}

/// The endpoint for browsers and the one for REST, which asks for a user or the key.
pub fn router(messaging: &Messaging, inboxes: Inboxes, key: Key) -> Router {
    Router::new()
        .nest_service("/notifications/ws", messaging.endpoint().with_sockjs())
        .merge(rest::router(messaging.publisher(), inboxes, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Level;

    #[tokio::test]
    async fn handlers_are_functions() {
        let inboxes = Inboxes::default();
        let notification = inboxes.notification(Level::Info, "hello".to_owned());
        inboxes.keep("ada", notification.clone()).unwrap();
        let ids = vec![notification.id, "of nobody".to_owned()];

        let ask = async |name: &'static str| kept(User::new(name), State(inboxes.clone())).await;
        let Json(before) = ask("ada").await;
        assert_eq!((before.len(), before[0].seen), (1, false));
        let said = Json(Seen { ids: ids.clone() });
        let Json(told) = seen(User::new("ada"), State(inboxes.clone()), said).await;
        assert_eq!(told.ids, ids[..1]);
        let Json(after) = ask("ada").await;
        assert_eq!((after.len(), after[0].seen), (1, true));
        assert!(ask("bob").await.is_empty());
    }
}
