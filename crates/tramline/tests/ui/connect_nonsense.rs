//! A connect handler that returns a name in place of a user.

use tramline::{Connect, MessageRouter};

async fn login(connect: Connect) -> Option<String> {
    connect.login().map(str::to_owned)
}

fn main() {
    let _: MessageRouter = MessageRouter::new().connect(login);
}
