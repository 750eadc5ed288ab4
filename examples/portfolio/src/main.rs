//! The stock portfolio alone, for clients of your own: `cargo run -p tramline-example-portfolio`.
//!
//! Its page is in the gallery: `cargo run --release`.

use axum::Router;
use tokio::net::TcpListener;
use tramline::Messaging;
use tramline_example_login::{login, people};
use tramline_example_portfolio::Application;
use tramline_example_portfolio::quotes::Quotes;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let login = login(people()).sockets("/portfolio").build()?;
    let portfolio = Application::start(login.bind(Messaging::builder()), Quotes::default())?;
    let endpoint = portfolio.messaging().endpoint().with_sockjs();
    let app = login.protect(Router::new().nest_service("/portfolio", endpoint));
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("stock portfolio: SockJS at http://127.0.0.1:8080/portfolio, after a login at /login");
    tramline::serve(listener, app).await?;
    Ok(())
}
