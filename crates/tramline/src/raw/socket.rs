//! The application's handles of a connection.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use bytestring::ByteString;
use http::Extensions;
use tramline_broker::SessionId;
use tramline_websocket::CloseCode;

use super::channel::Channel;
use super::closed::Closed;
use super::send_error::SendError;
use super::sessions::Sessions;
use crate::model::user::Handshake;
use crate::model::user::User;
use crate::net::message::{Item, Message, Outgoing, Received};

/// A client's connection, owned by its handler: receives, and does everything a [`SocketSender`] does.
///
/// There is one for each connection, and it cannot be cloned; [`sender`](Self::sender) can. Moving it to another task is
/// possible, but the connection is closed when the handler returns.
///
/// # Example: a handler
///
/// ```
/// use tramline::raw::{Message, SendError, Socket};
///
/// async fn shout(mut socket: Socket) -> Result<(), SendError> {
///     while let Some(message) = socket.receive().await {
///         if let Message::Text(text) = message {
///             socket.send(text.to_uppercase()).await?;
///         }
///     }
///     Ok(())
/// }
/// # let _ = tramline::raw::RawEndpoint::builder(shout);
/// ```
pub struct Socket {
    sender: SocketSender,
    /// The parts so far of a message that is to be received as a whole.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes in each idle session in place of 32"
    )]
    joined: Option<Box<Vec<u8>>>,
}

impl Socket {
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        Self {
            sender: SocketSender(channel),
            joined: None,
        }
    }

    /// Receives the next message, in the order in which the client sent them; `None` when nothing more will come,
    /// because either side closed or the connection was lost. [`closed`](SocketSender::closed) returns the reason.
    ///
    /// Pings are answered automatically. Nothing more is read from the client while a message waits to be received, so
    /// TCP slows down a client that sends faster than its handler works, and at most the content of one read waits (64
    /// KiB of frames). If the endpoint has [`partial_messages`](super::RawEndpointBuilder::partial_messages), the parts
    /// are joined here.
    ///
    /// # Cancel safety
    ///
    /// In a `select!` that another branch wins, no message is lost: it is there for the next call.
    pub async fn receive(&mut self) -> Option<Message> {
        loop {
            match self.receive_event().await? {
                Received::Message(message) => return Some(message),
                Received::Part { part, is_last } => {
                    if let Some(message) = self.join(part, is_last) {
                        return Some(message);
                    }
                }
                Received::Pong(_) => {}
            }
        }
    }

    /// As [`receive`](Self::receive), for handlers that want parts of messages, or pongs, if the endpoint passes them
    /// on by [`partial_messages`](super::RawEndpointBuilder::partial_messages) or
    /// [`pongs`](super::RawEndpointBuilder::pongs).
    ///
    /// # Cancel safety
    ///
    /// As [`receive`](Self::receive). Use one of the two throughout: a part that one has taken is missing in the other.
    pub async fn receive_event(&mut self) -> Option<Received> {
        poll_fn(|context| self.sender.0.poll_receive(context)).await
    }

    /// Returns another handle to this client, to be kept and used anywhere.
    pub fn sender(&self) -> SocketSender {
        self.sender.clone()
    }

    fn join(&mut self, part: Message, is_last: bool) -> Option<Message> {
        if is_last && self.joined.is_none() {
            return Some(part);
        }
        let joined = self.joined.get_or_insert_default();
        joined.extend_from_slice(part.as_bytes());
        if !is_last {
            return None;
        }
        let whole = Bytes::from(*self.joined.take()?);
        match part {
            // Parts of text are text, so this holds for all of them.
            Message::Text(_) => ByteString::try_from(whole).ok().map(Message::Text),
            Message::Binary(_) => Some(Message::Binary(whole)),
        }
    }
}

impl Deref for Socket {
    type Target = SocketSender;

    fn deref(&self) -> &SocketSender {
        &self.sender
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.sender.0).finish()
    }
}

/// A handle for sending to one client, from anywhere: cheap to clone; it does not keep the connection open.
///
/// Messages arrive in the order in which they were queued, from whichever task. Queued messages are written in as few
/// writes as possible, and bounded by [`RawLimits::outbox`](super::RawLimits::outbox).
///
/// # Example: messages for one client from another task
///
/// ```
/// use std::time::Duration;
/// use tramline::raw::{Socket, SocketSender};
///
/// async fn tick(client: SocketSender) {
///     let mut every_second = tokio::time::interval(Duration::from_secs(1));
///     for n in 0.. {
///         every_second.tick().await;
///         if client.send(n.to_string()).await.is_err() {
///             return;                                     // it is gone; `closed` would say why
///         }
///     }
/// }
///
/// async fn ticker(mut socket: Socket) {
///     tokio::spawn(tick(socket.sender()));
///     while socket.receive().await.is_some() {}           // until the client leaves
/// }
/// # let _ = tramline::raw::RawEndpoint::builder(ticker);
/// ```
#[derive(Clone)]
pub struct SocketSender(pub(super) Arc<Channel>);

impl SocketSender {
    /// Queues a message, and waits for room if there is none. Completes when the message is queued, which does not mean
    /// that the client has read it.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the connection is closing or closed, also while waiting: a client that takes nothing
    /// for [`RawLimits::send_time`](super::RawLimits::send_time) is closed. [`SendError::BinaryOverSockJs`] for bytes
    /// over SockJS.
    ///
    /// # Cancel safety
    ///
    /// If dropped before it completes, it has queued nothing. Several that wait concurrently are queued in no
    /// particular order.
    pub fn send(
        &self,
        message: impl Into<Outgoing>,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        self.queue(Ok(message.into().0))
    }

    /// Queues a message if there is room; if not, the endpoint's [`Overflow`](super::Overflow) policy decides. Never
    /// waits: for senders with many clients, which one slow client must not delay.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`SendError::Overflow`] or [`SendError::Full`], depending on the policy.
    pub fn try_send(&self, message: impl Into<Outgoing>) -> Result<(), SendError> {
        self.0.try_send(message.into().0)
    }

    /// Queues a ping with a payload of at most 125 bytes; the client answers with a [`Pong`](super::Received::Pong) of
    /// the same payload. The endpoint's own [keep-alive](super::RawLimits::keep_alive) pings do not need this.
    ///
    /// # Errors
    ///
    /// [`SendError::PingTooLong`], [`SendError::PingOverSockJs`], [`SendError::Closed`].
    pub fn ping(
        &self,
        payload: impl Into<Bytes>,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        let payload: Bytes = payload.into();
        self.queue(match payload.len() {
            ..=MAX_PING => Ok(Item::Ping(payload)),
            len => Err(SendError::PingTooLong { len }),
        })
    }

    /// Closes the connection with this code and reason, after the queued messages are written. A reason longer than
    /// 123 bytes is cut.
    ///
    /// Returns at once. From then on nothing can be sent, and the handler receives the messages that came before and
    /// then `None`. The first close counts.
    ///
    /// # Example: an application's own code
    ///
    /// ```
    /// use tramline::raw::{CloseCode, Socket};
    ///
    /// const TABLE_FULL: CloseCode = CloseCode::new(4001).unwrap();
    ///
    /// async fn no_seat(socket: Socket) {
    ///     socket.close(TABLE_FULL, "this table has no seat left");
    /// }
    /// # let _ = tramline::raw::RawEndpoint::builder(no_seat);
    /// ```
    pub fn close(&self, code: CloseCode, reason: impl Into<ByteString>) {
        self.0.close(code, reason.into());
    }

    /// Returns true if the connection is closing or closed, so that nothing can be sent.
    pub fn is_closed(&self) -> bool {
        self.0.is_over()
    }

    /// Waits until the connection has ended, and returns the reason. For handlers that would not notice otherwise,
    /// because they neither receive nor send for long; the connection's end does not stop the handler.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and called again at any time.
    ///
    /// # Example: work that ends with its client
    ///
    /// ```
    /// use tramline::raw::{SendError, Socket};
    ///
    /// # async fn long_computation() -> String { String::new() }
    /// async fn compute(socket: Socket) -> Result<(), SendError> {
    ///     tokio::select! {
    ///         result = long_computation() => socket.send(result).await,
    ///         _why = socket.closed() => Ok(()),
    ///     }
    /// }
    /// # let _ = tramline::raw::RawEndpoint::builder(compute);
    /// ```
    pub async fn closed(&self) -> Closed {
        let closed = poll_fn(|context| self.0.poll_closed(context)).await;
        (*closed).clone()
    }

    /// The reason for the connection's end, if it has ended.
    pub fn why_closed(&self) -> Option<Closed> {
        self.0.closed().map(|closed| (*closed).clone())
    }

    /// All connections of the same endpoint, including this one: to broadcast, or to find a client.
    pub fn sessions(&self) -> Sessions {
        Sessions(Arc::clone(&self.0.stack))
    }

    /// The session's id: random, so that it cannot be guessed.
    pub fn id(&self) -> SessionId {
        self.0.opening.info.id
    }

    /// The authenticated user, if there is one: the [`User`] that a middleware or an interceptor set on the request.
    pub fn user(&self) -> Option<&User> {
        self.0.opening.info.user.as_ref()
    }

    /// The kept parts of the HTTP request: path, origin, remote address, and the headers named by
    /// [`keep_headers`](super::RawEndpointBuilder::keep_headers).
    pub fn handshake(&self) -> &Handshake {
        &self.0.opening.info.handshake
    }

    /// Values that [interceptors](super::RawEndpointBuilder::intercept) added, by type.
    pub fn attributes(&self) -> &Extensions {
        &self.0.opening.attributes
    }

    /// The sub-protocol that was agreed on, if any.
    pub fn protocol(&self) -> Option<&str> {
        self.0.opening.protocol.as_deref()
    }

    /// The server's own address of the connection, if the socket reports it. The client's is
    /// [`handshake().remote()`](Handshake::remote).
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.opening.local
    }

    /// The transport of the connection: `websocket`, `sockjs-websocket` or `sockjs-http`.
    pub fn transport(&self) -> &'static str {
        self.0.transport
    }

    /// Not an async function: every handler's future would hold the item once for each call in between.
    fn queue(
        &self,
        item: Result<Item, SendError>,
    ) -> impl Future<Output = Result<(), SendError>> + Send {
        let mut item = item.map(Some);
        poll_fn(move |context| match &mut item {
            Ok(item) => self.0.poll_send(context, item),
            Err(error) => Poll::Ready(Err(error.clone())),
        })
    }
}

/// The longest payload of a ping (RFC 6455 §5.5).
const MAX_PING: usize = 125;

impl fmt::Debug for SocketSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketSender").field(&self.0).finish()
    }
}
