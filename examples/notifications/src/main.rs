//! The notifications alone, without their page: `cargo run -p tramline-example-notifications`.

use tokio::net::TcpListener;
use tramline::settings::Settings;
use tramline_example_login::Login;
use tramline_example_notifications::inbox::Inboxes;
use tramline_example_notifications::{messaging, router};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (login, inboxes) = (Login::new(), Inboxes::default());
    let messaging = messaging(&Settings::load()?, inboxes.clone()).build()?;
    let app = router(&messaging, inboxes).merge(login.router());

    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!(
        "POST to http://127.0.0.1:8080/notifications, listen at ws://127.0.0.1:8080/notifications/ws"
    );
    axum::serve(listener, login.identify(app)).await?;
    Ok(())
}
