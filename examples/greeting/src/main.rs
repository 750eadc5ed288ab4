//! Serves the greeting without its page: `cargo run -p tramline-example-greeting`, then connect to
//! `ws://127.0.0.1:8080/ws`.

use axum::Router;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let messaging = tramline_example_greeting::messaging()?;
    let app = Router::new().nest_service("/ws", messaging.endpoint().with_sockjs());
    axum::serve(TcpListener::bind("127.0.0.1:8080").await?, app).await?;
    Ok(())
}
