use std::{future::IntoFuture, sync::Arc};

use bytes::Bytes;
use bytestring::ByteString;
use tokio::sync::oneshot;
use tramline_stomp::Headers;

use crate::BoxFuture;
use crate::error::Error;
use crate::handle::{Command, Confirm, Handle};
use crate::message::Message;

/// A message to send; await it to do so.
///
/// It resolves when the message is queued, after waiting for room in [the queue](crate::Connect::send_queue) if necessary.
/// That does not confirm delivery: if the connection breaks, messages are lost. [`flush`](Self::flush) waits until the
/// operating system has it, [`receipt`](Self::receipt) until the server confirms it.
///
/// Each wait has [a limit](crate::Connect::answer_timeout). Cancel-safe: if it is dropped while it waits for room, nothing is
/// sent; if it is dropped later, the message is still sent.
///
/// # Errors
///
/// The error that ended the connection; with a receipt, the message may have arrived nevertheless.
/// [`Error::InvalidMessage`] for a body that is not text over SockJS.
///
/// # Example: without and with a receipt
///
/// ```no_run
/// # async fn example(client: tramline_client::Client) -> Result<(), tramline_client::Error> {
/// client.send("/topic/chat", "hello").await?;
/// client
///     .send("/app/orders", r#"{"item":7}"#)
///     .content_type("application/json")
///     .header("priority", "9")
///     .receipt()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct SendMessage {
    handle: Arc<Handle>,
    destination: ByteString,
    headers: Headers,
    body: Bytes,
    transaction: Option<u64>,
    wait: Wait,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    Queued,
    Flushed,
    Receipt,
}

impl SendMessage {
    pub(crate) fn new(handle: Arc<Handle>, destination: ByteString, body: Bytes) -> Self {
        Self {
            handle,
            destination,
            headers: Headers::new(),
            body,
            transaction: None,
            wait: Wait::Queued,
        }
    }

    /// Body and headers of a received message, without those of its delivery.
    pub(crate) fn forward(handle: Arc<Handle>, destination: ByteString, message: &Message) -> Self {
        let headers = message.headers_to_forward();
        Self::new(handle, destination, message.body.clone()).headers(headers)
    }

    pub(crate) fn within(mut self, transaction: u64) -> Self {
        self.transaction = Some(transaction);
        self
    }

    /// Adds headers behind those that are there.
    pub(crate) fn headers(mut self, headers: Headers) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Adds a header. `destination`, `content-length` and `receipt` have no effect: the first of a name counts, and the
    /// client writes its own before these.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets the `content-type` header. Default none, which servers treat as bytes.
    pub fn content_type(self, content_type: impl Into<ByteString>) -> Self {
        self.header("content-type", content_type)
    }

    /// Waits until the message is written to the connection.
    pub fn flush(mut self) -> Self {
        self.wait = Wait::Flushed;
        self
    }

    /// Waits until the server confirms the message. The server decides what that means: Tramline's has stored or
    /// delivered it, or its handler has returned.
    pub fn receipt(mut self) -> Self {
        self.wait = Wait::Receipt;
        self
    }

    async fn send(self) -> Result<(), Error> {
        let inner = &self.handle.inner;
        let bytes = self.body.len() + self.headers.encoded_len_hint() + self.destination.len();
        inner.may_send(&self.body)?;
        let room = inner.room(bytes).await?;
        inner.may_send(&self.body)?;
        let (reply, answer) = oneshot::channel();
        let (confirm, waiting_for) = match self.wait {
            Wait::Queued => (Confirm::Never, ""),
            Wait::Flushed => (Confirm::Flushed(reply), "the message to be written"),
            Wait::Receipt => (Confirm::Receipt(reply), "the receipt of a message"),
        };
        self.handle.submit(Command::Send {
            destination: self.destination,
            headers: self.headers,
            body: self.body,
            transaction: self.transaction,
            confirm,
            room,
        })?;
        match self.wait {
            Wait::Queued => Ok(()),
            Wait::Flushed | Wait::Receipt => inner.answer(waiting_for, answer).await,
        }
    }
}

impl IntoFuture for SendMessage {
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
