use std::{future::IntoFuture, sync::Arc};

use bytes::Bytes;
use bytestring::ByteString;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};
use tramline_stomp::{Connected, Headers};

use crate::connect::Connect;
use crate::error::Error;
use crate::subscription::Subscribe;
use crate::{
    BoxFuture,
    handle::{Command, Handle},
};

/// A STOMP session with a server.
///
/// A clone is another handle to the same session, and costs one reference count. The frames of one task arrive in the
/// order of its awaits. When the last handle and the last [`Subscription`](crate::Subscription) are dropped, the
/// session ends like with [`disconnect`](Self::disconnect), in the background.
///
/// # Example: a whole conversation
///
/// ```no_run
/// use tramline_client::{Client, Error};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     let client = Client::connect("ws://localhost:8080/ws").await?;
///     let mut greetings = client.subscribe("/topic/greetings").await?;
///     client.send("/app/hello", r#"{"name":"Ann"}"#).receipt().await?;
///     if let Some(message) = greetings.next().await {
///         assert_eq!(message?.text()?, r#"{"content":"Hello, Ann!"}"#);
///     }
///     client.disconnect().await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    /// Connects by WebSocket, as in `ws://host:port/path`; the default port is 80.
    ///
    /// Other schemes are an [`Error::InvalidRequest`] when the builder is awaited.
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect::websocket(url.into())
    }

    /// Connects by plain STOMP over an open stream: a TCP connection to a broker, a TLS stream over one, a pipe in
    /// memory. For WebSocket over a stream, see [`Connect::over`].
    ///
    /// # Example: a broker's TCP port
    ///
    /// ```no_run
    /// use tokio::net::TcpStream;
    /// use tramline_client::{Client, Error};
    ///
    /// # async fn example() -> Result<(), Error> {
    /// let stream = TcpStream::connect("rabbit.internal:61613").await?;
    /// let client = Client::over(stream).login("app", "secret").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Connect {
        Connect::plain(stream)
    }

    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// The server's CONNECTED: version, user name, its own name.
    pub fn connected(&self) -> &Connected {
        &self.handle.connected
    }

    /// The reason why the session has ended; `None` while it is open.
    pub fn ended(&self) -> Option<&Error> {
        self.handle.ended()
    }

    /// Subscribes to a destination; await it to do so.
    pub fn subscribe(&self, destination: impl Into<ByteString>) -> Subscribe {
        Subscribe::new(self.handle.clone(), destination.into())
    }

    /// Sends a message to a destination; await it to do so.
    pub fn send(&self, destination: impl Into<ByteString>, body: impl Into<Bytes>) -> SendMessage {
        SendMessage {
            handle: self.handle.clone(),
            destination: destination.into(),
            headers: Headers::new(),
            body: body.into(),
            receipt: false,
        }
    }

    /// Ends the session for all handles: everything sent before is written, DISCONNECT is confirmed by its receipt, and
    /// the connection is closed in order.
    ///
    /// Messages that arrive meanwhile still go to their subscriptions, unless an inbox is full, and then every
    /// subscription ends with [`Error::Disconnected`]. Returns `Ok` at once after an earlier disconnect.
    ///
    /// Cancel-safe: if the future is dropped after its first poll, the session still ends.
    ///
    /// # Errors
    ///
    /// The error that ended the connection early; [`Error::Timeout`] if the server took longer than
    /// [`Connect::close_timeout`] to read what was sent, to confirm, or to close. The connection is closed in any case.
    pub async fn disconnect(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let asked = self.handle.submit(Command::Disconnect(reply));
        let outcome = match asked {
            Ok(()) => self.handle.answer(answer).await,
            Err(error) => Err(error),
        };
        match outcome {
            Err(Error::Disconnected) => Ok(()),
            outcome => outcome,
        }
    }
}

/// A message to send; await it to do so.
///
/// Without [`receipt`](Self::receipt) it resolves when the connection's task has taken the message, after waiting for
/// room in [the queue](Connect::send_queue) if necessary. That does not confirm delivery: if the connection breaks,
/// queued messages are lost.
///
/// Cancel-safe: if it is dropped while it waits for room, nothing is sent; if it is dropped while it waits for the
/// receipt, the message is still sent.
///
/// # Errors
///
/// The error that ended the connection. With a receipt, the message may have arrived nevertheless.
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
    receipt: bool,
}

impl SendMessage {
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

    /// Waits until the server confirms the message. The server decides what that means: Tramline's has stored or
    /// delivered it, or its handler has returned.
    pub fn receipt(mut self) -> Self {
        self.receipt = true;
        self
    }

    async fn send(self) -> Result<(), Error> {
        let bytes = self.body.len() + self.headers.encoded_len_hint() + self.destination.len();
        let room = self.handle.room(bytes).await?;
        let (reply, answer) = oneshot::channel();
        self.handle.submit(Command::Send {
            destination: self.destination,
            headers: self.headers,
            body: self.body,
            receipt: self.receipt.then_some(reply),
            room,
        })?;
        if self.receipt {
            self.handle.answer(answer).await?;
        }
        Ok(())
    }
}

impl IntoFuture for SendMessage {
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
