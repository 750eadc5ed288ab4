//! REST and messaging in one program: an order posted by HTTP reaches every subscribed page, and a page can order too.
//!
//! `cargo run -p tramline --example rest_and_messaging`, then
//! `curl -H 'content-type: application/json' -d '{"item":"tea"}' http://127.0.0.1:8080/orders`.
//!
//! Its dependencies: `axum`, `serde` (feature `derive`), `tokio` (features `macros`, `net`, `rt-multi-thread`), `tramline`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::{Deserialize, Serialize};
use tramline::policy::{Policy, deny, permit};
use tramline::{EmbeddedBroker, Json, MessageRouter, Messaging, Publisher, message};

#[derive(Deserialize, Serialize)]
struct Order {
    item: String,
}

/// By HTTP: axum's `Json`, and the publisher to send with.
async fn by_http(
    State(publisher): State<Publisher>,
    axum::Json(order): axum::Json<Order>,
) -> StatusCode {
    match publisher.send("/topic/orders", Json(order)).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// By messaging, at `/app/orders`: our `Json`, and the return value is what is sent.
async fn by_message(Json(order): Json<Order>) -> Json<Order> {
    Json(order)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let routes =
        MessageRouter::new().route("/orders", message(by_message).send_to("/topic/orders"));
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/orders", permit())
        .on_subscribe("/topic/orders", permit())
        .otherwise(deny());
    let messaging = Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
        .build()?;
    let app = axum::Router::new()
        .route("/orders", post(by_http))
        .with_state(messaging.publisher())
        .nest_service("/ws", messaging.endpoint().with_sockjs());
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
    Ok(())
}
