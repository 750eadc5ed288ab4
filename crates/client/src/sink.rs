use std::{
    collections::VecDeque,
    fmt,
    future::IntoFuture,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use bytestring::ByteString;
use futures_sink::Sink;
use tramline_stomp::Headers;

use crate::BoxFuture;
use crate::error::Error;
use crate::handle::Handle;
use crate::message::Message;
use crate::send::SendMessage;

/// A message for a [`MessageSink`]: a body with headers.
///
/// # Example: a received message, passed on
///
/// ```no_run
/// use tramline_client::{Message, Outgoing};
///
/// fn pass_on(message: &Message) -> Outgoing {
///     Outgoing::from(message).header("via", "bridge")
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outgoing {
    headers: Headers,
    body: Bytes,
}

impl Outgoing {
    /// Creates a message without headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            headers: Headers::new(),
            body: body.into(),
        }
    }

    /// Adds a header. `destination`, `content-length` and `receipt` have no effect.
    #[must_use]
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }
}

impl From<&Message> for Outgoing {
    /// Body and headers of a received message, without those that a server gives each delivery anew.
    fn from(message: &Message) -> Self {
        Self {
            headers: message.headers_to_forward(),
            body: message.body.clone(),
        }
    }
}

impl From<String> for Outgoing {
    fn from(body: String) -> Self {
        Self::new(body)
    }
}

impl From<Bytes> for Outgoing {
    fn from(body: Bytes) -> Self {
        Self::new(body)
    }
}

/// A destination as a [`Sink`]: the end of a pipeline. From [`Client::sink`](crate::Client::sink).
///
/// Each message is sent with a receipt. It takes messages while fewer than its window are unconfirmed; `flush` and `close`
/// wait until all are confirmed. Messages are confirmed in any order, and sent in theirs.
///
/// # Errors
///
/// As [`SendMessage`]: the message that failed may have arrived. After an error the sink can be used again, if the client
/// can; messages that were unconfirmed then are still waited for.
///
/// # Example: the lines of a file
///
/// ```no_run
/// use futures_util::SinkExt;
/// use tramline_client::{Client, Error};
///
/// # async fn example(client: Client, lines: Vec<String>) -> Result<(), Error> {
/// let mut log = client.sink("/topic/log");
/// for line in lines {
///     log.feed(line.into()).await?;
/// }
/// log.close().await?; // every line is confirmed
/// # Ok(())
/// # }
/// ```
#[must_use = "a sink does nothing by itself"]
pub struct MessageSink {
    handle: Arc<Handle>,
    destination: ByteString,
    window: usize,
    /// Sends whose receipts have not come, the oldest first.
    unconfirmed: VecDeque<BoxFuture<Result<(), Error>>>,
}

impl MessageSink {
    pub(crate) fn new(handle: Arc<Handle>, destination: ByteString) -> Self {
        Self {
            handle,
            destination,
            window: WINDOW,
            unconfirmed: VecDeque::new(),
        }
    }

    /// Sets how many messages may be unconfirmed. Default 64: enough for a server on another continent to be busy.
    pub fn window(mut self, messages: usize) -> Self {
        self.window = messages.max(1);
        self
    }

    /// Ready when at most `left` messages are unconfirmed. All are polled, in their order, because each is sent by its first
    /// poll.
    fn poll_confirmed(
        &mut self,
        context: &mut Context<'_>,
        left: usize,
    ) -> Poll<Result<(), Error>> {
        let mut failed = None;
        self.unconfirmed
            .retain_mut(|sending| match sending.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(outcome) => {
                    failed = failed.take().or(outcome.err());
                    false
                }
            });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if self.unconfirmed.len() <= left => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

impl Sink<Outgoing> for MessageSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let left = self.window - 1;
        self.poll_confirmed(context, left)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Outgoing) -> Result<(), Error> {
        let (handle, destination) = (self.handle.clone(), self.destination.clone());
        let send = SendMessage::new(handle, destination, message.body).headers(message.headers);
        self.unconfirmed.push_back(send.receipt().into_future());
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_confirmed(context, 0)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_flush(context))?;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for MessageSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSink")
            .field("destination", &self.destination)
            .field("window", &self.window)
            .field("unconfirmed", &self.unconfirmed.len())
            .finish_non_exhaustive()
    }
}

const WINDOW: usize = 64;
