//! Response bodies: nothing, a text, or a SockJS session that streams.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::net::transport::sockjs::Receiver;

/// The body of an [`Endpoint`](crate::endpoint::Endpoint)'s responses.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Receiver(Receiver),
}

impl Body {
    pub(super) fn receiver(receiver: Receiver) -> Self {
        Self(Inner::Receiver(receiver))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(Inner::Full(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Inner::Receiver(receiver) = &mut self.0 {
            return receiver
                .poll_next(context)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece))));
        }
        Poll::Ready(match std::mem::take(&mut self.0) {
            Inner::Full(bytes) if !bytes.is_empty() => Some(Ok(Frame::data(bytes))),
            _ => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(bytes) => bytes.is_empty(),
            Inner::Receiver(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Receiver(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Empty => "Body::Empty",
            Inner::Full(_) => "Body::Full",
            Inner::Receiver(_) => "Body::Receiver",
        })
    }
}

/// An error of any type, from the body of a request.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
