//! Raw handlers for the Autobahn suite and the SockJS script: echoes, and one that closes.

use std::time::Duration;

use axum::Router;
use tramline::endpoint::Compression;
use tramline::raw::{CloseCode, RawEndpoint, RawEndpointBuilder, RawLimits, SendError, Socket};
use tramline::{BuildError, SockJs};

/// What the suites expect to find, each with its path.
pub(crate) struct Services(Vec<(&'static str, RawEndpoint)>);

/// The services of the SockJS script, and `/raw` for what is WebSocket alone.
///
/// # Errors
///
/// None: the parts fit together.
pub(crate) fn services() -> Result<Services, BuildError> {
    let mut large = RawLimits::default();
    large.message = 16 * 1024 * 1024;
    // One more, because the suite ends a message of 65,536 fragments with an empty one.
    large.fragments = 65_537;
    large.outbox = 64 * 1024 * 1024;
    // sockjs-client's own tests send 100 KB.
    let mut echoed = RawLimits::default();
    echoed.message = 1024 * 1024;
    let echoes = || RawEndpoint::builder(echo).limits(echoed.clone());
    let streaming = || {
        SockJs::default()
            .response_limit(4096)
            .client_library_url("https://cdn.jsdelivr.net/npm/sockjs-client@1/dist/sockjs.min.js")
    };
    let services = [
        (
            "/raw",
            RawEndpoint::builder(echo)
                .limits(large)
                .compression(Compression::AboveSize(0)),
        ),
        ("/echo", echoes().sockjs(streaming())),
        (
            "/disabled_websocket_echo",
            echoes().sockjs(streaming().websocket(false)),
        ),
        (
            "/cookie_needed_echo",
            echoes().sockjs(streaming().cookie_needed(true).session_cookie(true)),
        ),
        ("/close", RawEndpoint::builder(close).sockjs(streaming())),
    ];
    let built = services.map(|(path, builder)| Ok((path, at(path, builder)?)));
    built.into_iter().collect::<Result<_, _>>().map(Services)
}

/// With its whole path, so that `/echo` and `/echo//` are told apart; suites in browsers come from pages of their own.
fn at(path: &'static str, builder: RawEndpointBuilder) -> Result<RawEndpoint, BuildError> {
    builder.name(path).allowed_origins(["*"]).at(path).build()
}

async fn echo(mut socket: Socket) -> Result<(), SendError> {
    while let Some(message) = socket.receive().await {
        socket.send(message).await?;
    }
    Ok(())
}

const GO_AWAY: CloseCode = CloseCode::new(3000).unwrap();

async fn close(socket: Socket) {
    socket.close(GO_AWAY, "Go away!");
}

impl Services {
    pub(crate) fn router(&self) -> Router {
        self.0
            .iter()
            .fold(Router::new(), |router, (path, service)| {
                router
                    .route_service(path, service.clone())
                    .route_service(&format!("{path}/"), service.clone())
                    .route_service(&format!("{path}/{{*rest}}"), service.clone())
            })
    }

    /// Ends the sessions of all; gives how many did not end in time.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> usize {
        let mut left = 0;
        for (_, service) in &self.0 {
            left += service.shutdown(deadline).await;
        }
        left
    }
}
