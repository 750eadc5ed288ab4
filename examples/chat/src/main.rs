//! The chat alone, without its page: STOMP at `/chat/ws`, the login at `/login`.

use tokio::net::TcpListener;
use tramline_example_chat::{messaging, router};
use tramline_example_login::Login;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (messaging, login) = (messaging().build()?, Login::new());
    let app = login.identify(router(&messaging).merge(login.router()));
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("a chat: POST http://127.0.0.1:8080/login, then STOMP at ws://127.0.0.1:8080/chat/ws");
    axum::serve(listener, app).await?;
    Ok(())
}
