//! The notifications alone, without their page: `cargo run -p tramline-example-notifications`.

use tokio::net::TcpListener;
use tramline::settings::Settings;
use tramline_example_login::{login, people};
use tramline_example_notifications::inbox::Inboxes;
use tramline_example_notifications::{Key, messaging, router};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (inboxes, key) = (Inboxes::default(), Key::random());
    let login = login(people()).sockets("/notifications/ws").build()?;
    let messaging = messaging(&Settings::load()?, inboxes.clone());
    let messaging = login.bind(messaging).build()?;
    let app = login.protect(router(&messaging, inboxes, key));

    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!(
        "log in at http://127.0.0.1:8080/login, find the key at /notifications/key, POST to /notifications, and listen at \
         ws://127.0.0.1:8080/notifications/ws"
    );
    tramline::serve(listener, app).await?;
    Ok(())
}
