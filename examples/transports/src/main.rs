//! One echo over every transport.
//!
//! In the gallery with its page (`cargo run --release`), or alone: `cargo run -p tramline-example-transports`.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, Method, Uri, header};
use axum::response::IntoResponse;
use axum::routing::post;
use tramline::endpoint::SockJsTransport;
use tramline::raw::{RawEndpoint, SendError, Socket};
use tramline::{BuildError, SockJs};

async fn echo(mut socket: Socket) -> Result<(), SendError> {
    while let Some(message) = socket.receive().await {
        socket.send(message).await?;
    }
    Ok(())
}

/// The same handler behind servers that offer more or less.
#[derive(Clone, Debug)]
pub struct Echoes {
    all: RawEndpoint,
    without_websocket: RawEndpoint,
    polling: RawEndpoint,
}

impl Echoes {
    /// Puts the endpoints together.
    ///
    /// # Errors
    ///
    /// None: the parts fit together.
    pub fn build() -> Result<Self, BuildError> {
        let by = |options: SockJs| {
            RawEndpoint::builder(echo)
                .name("echo")
                .sockjs(options)
                .build()
        };
        Ok(Self {
            all: by(SockJs::default())?,
            without_websocket: by(SockJs::default().websocket(false))?,
            polling: by(SockJs::default().transports([SockJsTransport::Xhr]))?,
        })
    }

    /// What the page talks to.
    pub fn router(&self) -> Router {
        Router::new()
            .nest_service("/echo", self.all.clone())
            .nest_service("/echo-without-websocket", self.without_websocket.clone())
            .nest_service("/echo-polling", self.polling.clone())
            .route("/echo-rest", post(rest))
    }

    /// Closes all connections and gives how many were left at the deadline.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        let left = tokio::join!(
            self.all.shutdown(deadline),
            self.without_websocket.shutdown(deadline),
            self.polling.shutdown(deadline)
        );
        left.0 + left.1 + left.2
    }
}

/// The same without a connection, for comparison. The answer says how large the request's head was, which a browser never
/// tells its page.
async fn rest(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let first_line = method.as_str().len() + path.len() + "  HTTP/1.1\r\n".len();
    let lines = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let head = first_line + lines.sum::<usize>() + "\r\n".len();
    let answer = [
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (HeaderName::from_static("request-head"), head.to_string()),
    ];
    (answer, body)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("an echo: ws://127.0.0.1:8080/echo, and http://127.0.0.1:8080/echo for SockJS");
    axum::serve(listener, Echoes::build()?.router()).await?;
    Ok(())
}
