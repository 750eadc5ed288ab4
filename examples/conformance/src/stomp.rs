//! STOMP for strangers: at `/stomp` by WebSocket and SockJS, and on a TCP port of its own.

use axum::Router;
use tramline::broker::History;
use tramline::limits::HeartBeat;
use tramline::login::ConnectRefused;
use tramline::policy::{Policy, permit};
use tramline::{BuildError, Connect, EmbeddedBroker, Limits, MessageRouter, Messaging, User};

/// Who says `guest` and `guest` may do anything; nobody else is let in.
///
/// # Errors
///
/// None: the parts fit together.
pub(crate) fn messaging() -> Result<Messaging, BuildError> {
    let mut limits = Limits::default();
    limits.body = 4 * 1024 * 1024;
    // Room for a few of the largest.
    limits.outbox = 32 * 1024 * 1024;
    limits.heart_beat = HeartBeat {
        send: 1000,
        receive: 1000,
    };
    Messaging::builder()
        .name("stomp")
        .routes(MessageRouter::new().connect(login))
        .policy(Policy::builder().otherwise(permit()))
        .broker(
            EmbeddedBroker::new()
                .topics("/topic")
                .queues("/queue")
                .history("/topic/history/**", History::messages(1_000)),
        )
        .limits(limits)
        // Suites in browsers come from pages of their own.
        .allowed_origins(["*"])
        .build()
}

async fn login(connect: Connect) -> Result<User, ConnectRefused> {
    match (connect.login(), connect.passcode()) {
        (Some("guest"), Some("guest")) => Ok(User::new("guest")),
        _ => Err(ConnectRefused::new(
            "login or passcode is wrong; here both are guest",
        )),
    }
}

/// Mounted with its whole path, so that `/stomp` and `/stomp//` are told apart.
pub(crate) fn router(messaging: &Messaging) -> Router {
    let endpoint = messaging.endpoint().with_sockjs().at("/stomp");
    Router::new()
        .route_service("/stomp", endpoint.clone())
        .route_service("/stomp/", endpoint.clone())
        .route_service("/stomp/{*rest}", endpoint)
}
