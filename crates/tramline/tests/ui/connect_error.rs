//! A connect handler whose error refuses nobody.

use tramline::{Connect, MessageRouter, User};

async fn login(connect: Connect) -> Result<User, String> {
    Err(format!("{:?} is not known", connect.login()))
}

fn main() {
    let _: MessageRouter = MessageRouter::new().connect(login);
}
