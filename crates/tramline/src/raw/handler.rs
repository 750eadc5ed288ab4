//! Async functions as handlers of connections.

use std::future::Future;
use std::sync::Arc;

use super::shared::{BoxError, StartHandler};
use super::socket::Socket;

/// A return type of a handler of connections: nothing, or a `Result` whose error can be boxed.
///
/// Nothing and `Ok` close with 1000. An error closes with 1011, is logged and
/// [counted](super::RawStats::handler_errors), unless the connection was closed before, as when
/// [`send`](super::SocketSender::send) failed for that reason.
#[diagnostic::on_unimplemented(
    message = "a handler of connections cannot return `{Self}`",
    note = "return `()` or a `Result<(), E>` where `E` is an error"
)]
pub trait HandlerOutput: Send {
    /// The error, if it is one.
    fn into_result(self) -> Result<(), BoxError>;
}

impl HandlerOutput for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError> + Send> HandlerOutput for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

pub(super) fn erase<H, F>(handler: H) -> StartHandler
where
    H: Fn(Socket) -> F + Send + Sync + 'static,
    F: Future<Output: HandlerOutput> + Send + 'static,
{
    let handler = Arc::new(handler);
    Box::new(move |channel| {
        let handler = Arc::clone(&handler);
        // Called when first polled: a closure may panic before it returns its future.
        Box::pin(async move { handler(Socket::new(channel)).await.into_result() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::SendError;

    #[test]
    fn the_future_of_a_simple_handler_is_small() {
        async fn echo(mut socket: Socket) -> Result<(), SendError> {
            while let Some(message) = socket.receive().await {
                socket.send(message).await?;
            }
            Ok(())
        }
        fn size_of_output<F>(_: fn(Socket) -> F) -> usize {
            size_of::<F>()
        }
        let size = size_of_output(echo);
        assert!(size <= 128, "{size}");
    }
}
