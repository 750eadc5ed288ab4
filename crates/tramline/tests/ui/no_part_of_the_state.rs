//! A part of the state that nobody says how to make.

use tramline::{MessageRouter, State, message};

#[derive(Clone)]
struct Accounts;

#[derive(Clone)]
struct App {
    accounts: Accounts,
}

async fn say(State(_): State<Accounts>, _: String) {}

fn main() {
    let app = App { accounts: Accounts };
    let _ = &app.accounts;
    let _: MessageRouter = MessageRouter::new()
        .route("/say", message(say))
        .with_state(app);
}
