//! Request bodies, which are read to their end whatever the answer is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// Bytes of a request's body that are read and dropped where the answer does not need them.
pub(crate) const DISCARDED: usize = 16 * 1024 * 1024;

/// The time for which they are read.
pub(crate) const DISCARD_TIME: Duration = Duration::from_secs(30);

/// The body of a request. When it is dropped, a task reads the rest, within [`DISCARDED`] and [`DISCARD_TIME`].
///
/// An HTTP server closes the connection after the answer if the service has dropped the body before its end. Bytes of the
/// body that arrive later make TCP reset the connection, and the part of the answer that the client has not received yet
/// is lost. Clients do write late: some end an empty body in two writes, `0\r\n` and `\r\n`.
pub(crate) struct Incoming<B: Discarded>(Option<Pin<Box<B>>>);

/// A body whose rest a task can read.
pub(crate) trait Discarded: Body<Data: Buf + Send> + Send + 'static {}

impl<B: Body<Data: Buf + Send> + Send + 'static> Discarded for B {}

impl<B: Discarded> Incoming<B> {
    pub(super) fn new(body: B) -> Self {
        Self((!body.is_end_stream()).then(|| Box::pin(body)))
    }
}

impl<B: Discarded> Body for Incoming<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(body.as_mut().poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.0.as_ref().map(Body::size_hint);
        rest.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl<B: Discarded> Drop for Incoming<B> {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        // Without a runtime the connection has ended.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DISCARD_TIME, discard(body)));
        }
    }
}

async fn discard<B: Discarded>(mut body: Pin<Box<B>>) {
    let mut left = DISCARDED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Buf::remaining);
        let Some(rest) = left.checked_sub(length) else {
            return;
        };
        left = rest;
    }
}
