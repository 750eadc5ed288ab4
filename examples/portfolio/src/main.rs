//! The stock portfolio alone, for clients of your own: `cargo run -p tramline-example-portfolio`.
//!
//! Its page is in the gallery: `cargo run --release`.

use axum::Router;
use tokio::net::TcpListener;
use tramline::Messaging;
use tramline_example_login::Login;
use tramline_example_portfolio::Application;
use tramline_example_portfolio::quotes::Quotes;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let portfolio = Application::start(Messaging::builder(), Quotes::default())?;
    let login = Login::new();
    let endpoint = portfolio.messaging().endpoint().with_sockjs();
    let app = login.identify(
        Router::new()
            .nest_service("/portfolio", endpoint)
            .merge(login.router()),
    );
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("stock portfolio: SockJS at http://127.0.0.1:8080/portfolio, after POST /login");
    axum::serve(listener, app).await?;
    Ok(())
}
