//! An echo over SockJS, for the browser tests in `e2e`. At the word `close` it closes, as the SockJS script's service does.
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
use tramline::raw::{CloseCode, Message, RawEndpoint, RawLimits, SendError, Socket};
use tramline::{Bytes, SockJs};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let library = arguments.next().ok_or_else(|| {
        io::Error::other("name the file of sockjs-client that is to be served, then the origins")
    })?;
    let library = Bytes::from(std::fs::read(library)?);

    let mut limits = RawLimits::default();
    limits.message = 1024 * 1024;
    limits.outbox = 4 * 1024 * 1024;
    let options = SockJs::default()
        .response_limit(4096)
        .client_library_url("/sockjs.js");
    let endpoint = RawEndpoint::builder(echo)
        .limits(limits)
        .allowed_origins(arguments)
        .sockjs(options)
        .build()?;

    let javascript = [(CONTENT_TYPE, "text/javascript")];
    let app = Router::new()
        .route(
            "/",
            get(async || Html("<!doctype html><title>echo</title>")),
        )
        .route("/sockjs.js", get(async move || (javascript, library)))
        .nest_service("/echo", endpoint);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("SockJS echo: http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

const GO_AWAY: CloseCode = CloseCode::new(3000).unwrap();

async fn echo(mut socket: Socket) -> Result<(), SendError> {
    while let Some(message) = socket.receive().await {
        if matches!(&message, Message::Text(text) if text == "close") {
            socket.close(GO_AWAY, "Go away!");
            return Ok(());
        }
        socket.send(message).await?;
    }
    Ok(())
}
