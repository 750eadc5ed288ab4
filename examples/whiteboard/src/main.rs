//! The whiteboard alone, without its page: STOMP at `/whiteboard/ws`, the login at `/login`.

use tokio::net::TcpListener;
use tramline_example_login::{login, people};
use tramline_example_whiteboard::{messaging, router};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let login = login(people()).sockets("/whiteboard/ws").build()?;
    let messaging = login.bind(messaging()).build()?;
    let app = login.protect(router(&messaging));
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!(
        "a whiteboard: log in at http://127.0.0.1:8080/login, then STOMP at ws://127.0.0.1:8080/whiteboard/ws"
    );
    tramline::serve(listener, app).await?;
    Ok(())
}
