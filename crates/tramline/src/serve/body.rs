//! Bodies of requests, which may stall, and of answers, which end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::stats::ServeCounters;
use crate::net::endpoint::BoxError;
use crate::net::served::UnderWay;

/// The body of a request that a [`Server`](super::Server) has read the head of. Reading gives an error when nothing
/// arrives for [`body_time`](super::ServeLimits::body_time).
pub struct RequestBody {
    incoming: Incoming,
    time: Duration,
    /// Runs while nothing arrives.
    stalled: Option<Pin<Box<Sleep>>>,
    counters: Arc<ServeCounters>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, time: Duration, counters: Arc<ServeCounters>) -> Self {
        Self {
            incoming,
            time,
            stalled: None,
            counters,
        }
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(context) {
            this.stalled = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let time = this.time;
        let stalled = this
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        if stalled.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.stalled = None;
        this.counters.body_timeouts.increment();
        Poll::Ready(Some(Err("the request's body stalled".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestBody")
    }
}

/// The body of an answer, with the request that it answers.
pub(super) struct AnswerBody<B> {
    body: Pin<Box<B>>,
    _request: UnderWay,
}

impl<B> AnswerBody<B> {
    pub(super) fn new(body: B, request: UnderWay) -> Self {
        Self {
            body: Box::pin(body),
            _request: request,
        }
    }
}

impl<B: http_body::Body> http_body::Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
