//! STOMP for strangers: at `/stomp` by WebSocket and SockJS, and on a TCP port of its own.

use std::error::Error;
use std::path::Path;

use axum::Router;
use tramline::broker::{Durability, History};
use tramline::interceptor::{ClientFrame, Interceptor, Refusal};
use tramline::limits::HeartBeat;
use tramline::login::ConnectRefused;
use tramline::policy::{Policy, permit};
use tramline::store::Store;
use tramline::{Connect, EmbeddedBroker, Limits, MessageRouter, Messaging, User};

/// Who says `guest` and `guest` may do anything; nobody else is let in.
///
/// # Errors
///
/// If the store in `data` cannot be opened; otherwise the parts fit together.
pub(crate) fn messaging(data: Option<&Path>) -> Result<Messaging, Box<dyn Error>> {
    let mut broker = EmbeddedBroker::new()
        .topics("/topic")
        .queues("/queue")
        .history("/topic/history/**", History::messages(1_000));
    if let Some(directory) = data {
        let store = Store::open(directory)?;
        eprintln!("store in {}: {}", directory.display(), store.report());
        broker = broker
            .store(store)
            .durable("/queue/durable/**", Durability::Synced)
            .durable("/topic/durable/**", Durability::Synced);
    }
    let mut limits = Limits::default();
    limits.body = 4 * 1024 * 1024;
    // Room for a few of the largest.
    limits.outbox = 32 * 1024 * 1024;
    limits.heart_beat = HeartBeat {
        send: 1000,
        receive: 1000,
    };
    let mut builder = Messaging::builder();
    if data.is_none() {
        builder = builder.interceptor(NothingDurable);
    }
    let builder = builder
        .name("stomp")
        .routes(MessageRouter::new().connect(login))
        .policy(Policy::builder().otherwise(permit()))
        .broker(broker)
        .limits(limits)
        // Suites in browsers come from pages of their own.
        .allowed_origins(["*"]);
    Ok(builder.build()?)
}

/// Refuses what is called durable, and would not be.
struct NothingDurable;

impl Interceptor for NothingDurable {
    fn inbound(&self, frame: &mut ClientFrame<'_>) -> Result<(), Refusal> {
        let destination = frame.destination().unwrap_or_default();
        let is_durable = |prefix| destination.starts_with(prefix);
        match is_durable("/queue/durable/") || is_durable("/topic/durable/") {
            true => Err(Refusal::close(
                "nothing is durable here; start the server with --data DIR",
            )),
            false => Ok(()),
        }
    }
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
