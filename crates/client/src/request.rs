use std::{collections::hash_map::Entry, future::IntoFuture, sync::Arc, time::Duration};

use bytes::Bytes;
use bytestring::ByteString;
use tokio::{sync::oneshot, time::timeout};
use tramline_stomp::{AckMode, Headers};

use crate::BoxFuture;
use crate::error::Error;
use crate::handle::{Command, Handle, Wanted};
use crate::inbox::Target;
use crate::message::Message;
use crate::replies::Replies;
use crate::send::SendMessage;

/// A request to send: from [`Client::request`](crate::Client::request); await it for its reply.
///
/// The message has the headers `reply-to`, where the client listens, and `correlation-id`, which the reply has to repeat, as
/// [`Client::reply`](crate::Client::reply) does. The first request of a client to a reply destination subscribes to it.
///
/// Cancel-safe: if it is dropped, the request may have been sent, and its reply is dropped.
///
/// # Errors
///
/// [`Error::Timeout`] if no reply came in time, and the error that ended the connection: the request may have been carried
/// out. [`Error::InvalidMessage`] as for a [send](SendMessage).
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct Request {
    handle: Arc<Handle>,
    destination: ByteString,
    headers: Headers,
    body: Bytes,
    reply_to: ByteString,
    limit: Duration,
}

impl Request {
    pub(crate) fn new(handle: Arc<Handle>, destination: ByteString, body: Bytes) -> Self {
        Self {
            handle,
            destination,
            headers: Headers::new(),
            body,
            reply_to: ByteString::from_static(REPLY_TO),
            limit: Duration::from_secs(30),
        }
    }

    /// Adds a header. `reply-to` and `correlation-id` have no effect: the first of a name counts, and the client writes its
    /// own before these.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets the `content-type` header. Default none, which servers treat as bytes.
    pub fn content_type(self, content_type: impl Into<ByteString>) -> Self {
        self.header("content-type", content_type)
    }

    /// Sets where replies come to. Default `/temp-queue/replies`, the session's own at Tramline, RabbitMQ and ActiveMQ. With
    /// a server that has no temporary queues: a user destination such as `/user/queue/replies`, or a queue that no other
    /// client reads.
    pub fn reply_to(mut self, destination: impl Into<ByteString>) -> Self {
        self.reply_to = destination.into();
        self
    }

    /// Sets the time limit for the reply. Default 30 s, as long as Tramline lets a handler run.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    async fn request(self) -> Result<Message, Error> {
        let after = self.limit;
        let reply = timeout(after, self.reply()).await;
        reply.unwrap_or(Err(Error::Timeout {
            waiting_for: "the reply to a request",
            after,
        }))
    }

    async fn reply(self) -> Result<Message, Error> {
        let replies = replies(&self.handle, &self.reply_to).await?;
        let mut waiting = replies.wait();
        let message = SendMessage::new(self.handle.clone(), self.destination, self.body)
            .header("reply-to", self.reply_to)
            .header("correlation-id", waiting.correlation.clone())
            .headers(self.headers);
        message.await?;
        let reply = (&mut waiting.reply).await;
        reply.unwrap_or_else(|_| Err(self.handle.inner.end()))
    }
}

impl IntoFuture for Request {
    type Output = Result<Message, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.request())
    }
}

/// Returns the waiting requests of a reply destination, subscribed to.
async fn replies(handle: &Arc<Handle>, reply_to: &ByteString) -> Result<Arc<Replies>, Error> {
    let mut known = handle.replies.lock().await;
    let entry = match known.entry(reply_to.clone()) {
        Entry::Occupied(known) => return Ok(known.get().clone()),
        Entry::Vacant(entry) => entry,
    };
    let connected = handle.inner.connected();
    let server = connected.server.as_deref().unwrap_or_default();
    // RabbitMQ makes the queue at the first SEND, and refuses to subscribe to it.
    let implicit = server.starts_with("RabbitMQ") && reply_to.starts_with("/temp-queue/");
    let replies = Arc::new(Replies::new()?);
    let room = handle.inner.room(reply_to.len()).await?;
    let (reply, answer) = oneshot::channel();
    handle.submit(Command::Subscribe {
        wanted: Wanted {
            destination: reply_to.clone(),
            ack: AckMode::Auto,
            headers: Headers::new(),
            confirmed: !implicit,
            implicit,
        },
        target: Target::Replies(replies.clone()),
        receipt: (!implicit).then_some(reply),
        room,
    })?;
    // From here on there is a subscription, even if this future is dropped.
    entry.insert(replies.clone());
    if !implicit {
        handle
            .inner
            .answer("the receipt of SUBSCRIBE", answer)
            .await?;
    }
    Ok(replies)
}

const REPLY_TO: &str = "/temp-queue/replies";
