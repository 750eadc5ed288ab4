//! An echo over SockJS, for the browser tests in `e2e`: what a session sends to `/app/echo/NAME` comes back at
//! `/topic/echo/NAME`.
//!
//! `cargo run -p tramline --example sockjs_echo -- LIBRARY [ORIGIN...]` listens on any free port and prints its address.
//! LIBRARY is the file of `sockjs-client` that it serves to pages and to SockJS's iframe; pages of the origins may connect
//! besides its own. Streaming responses end after 4096 bytes, so that clients have to come again often.

use std::io;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tramline::policy::{Policy, permit};
use tramline::{Bytes, EmbeddedBroker, Limits, MessageRouter, Messaging, Payload, SockJs, message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let library = arguments.next().ok_or_else(|| {
        io::Error::other("name the file of sockjs-client that is to be served, then the origins")
    })?;
    let library = Bytes::from(std::fs::read(library)?);
    let messaging = messaging(arguments)?;

    let options = SockJs::default()
        .response_limit(4096)
        .client_library_url("/sockjs.js");
    let javascript = [(CONTENT_TYPE, "text/javascript")];
    let app = Router::new()
        .route(
            "/",
            get(async || Html("<!doctype html><title>echo</title>")),
        )
        .route("/sockjs.js", get(async move || (javascript, library)))
        .nest_service("/echo", messaging.endpoint().sockjs(options));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("SockJS echo: http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

fn messaging(
    origins: impl Iterator<Item = String>,
) -> Result<Messaging, Box<dyn std::error::Error>> {
    async fn echo(body: Bytes) -> Payload {
        Payload::untyped(body)
    }

    let mut limits = Limits::default();
    limits.body = 1024 * 1024;
    limits.outbox = 4 * 1024 * 1024;
    let messaging = Messaging::builder()
        .name("echo")
        .routes(
            MessageRouter::new().route("/echo/{name}", message(echo).send_to("/topic/echo/{name}")),
        )
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().on_connect(permit()).otherwise(permit()))
        .limits(limits)
        .allowed_origins(origins)
        .build()?;
    Ok(messaging)
}
