//! Two browsers greet each other: the program of the guide's page "getting started", which says how to run it.

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower_http::services::ServeDir;
use tramline::policy::{Policy, deny, permit};
use tramline::{EmbeddedBroker, Json, MessageRouter, Messaging, message};

#[derive(Deserialize)]
struct Hello {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    content: String,
}

async fn greet(Json(hello): Json<Hello>) -> Json<Greeting> {
    let content = format!("Hello, {}!", hello.name);
    Json(Greeting { content })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();

    let routes = MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings"));

    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/greetings", permit())
        .on_subscribe("/user/queue/errors", permit())
        .otherwise(deny());

    let messaging = Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
        .build()?;

    let app = axum::Router::new()
        .nest_service("/ws", messaging.endpoint().with_sockjs())
        .fallback_service(ServeDir::new("page"));

    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
