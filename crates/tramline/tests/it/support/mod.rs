//! A server per test, and clients that do by hand what browsers do for us, so that they can do it wrong.

mod acking;
mod client;
mod faults;
mod http;
mod server;
mod talk;
mod tcp;
mod witness;

use std::future::Future;
use std::net::SocketAddr;
use std::panic::Location;
use std::time::Duration;

pub(crate) use self::acking::{ack, answer, broker, nack, protocol_errors, rejected};
pub(crate) use self::client::{Client, FrameExt};
pub(crate) use self::faults::Faults;
pub(crate) use self::http::{KEY, Request, Response};
pub(crate) use self::server::{SHORT, Server, Setup, login};
pub(crate) use self::talk::ERRORS;
pub(crate) use self::tcp::Tcp;
pub(crate) use self::witness::{Door, Log, Told};

/// A server that requests can be sent to.
pub(crate) trait Listens {
    fn address(&self) -> SocketAddr;
}

impl Listens for Server {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

/// How long anything may take before a test fails: long for a busy machine, and nothing waits for it when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// The first 123 bytes: what a close frame has room for.
pub(crate) fn cut(text: &str) -> String {
    let mut end = text.len().min(123);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Waits for `future`, and fails with what `context` tells when it takes too long.
pub(crate) async fn within<T>(
    at: &'static Location<'static>,
    what: &str,
    context: impl FnOnce() -> String,
    future: impl Future<Output = T>,
) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{at}: waited in vain for {what}\n{}", context()),
    }
}

/// Asks `condition` again and again until it holds.
#[track_caller]
pub(crate) fn eventually(
    what: &'static str,
    mut condition: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let at = Location::caller();
    async move {
        let wait = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within(at, what, String::new, wait).await;
    }
}
