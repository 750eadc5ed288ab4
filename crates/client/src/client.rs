use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};
use tramline_stomp::Connected;

use crate::connect::Connect;
use crate::error::Error;
use crate::handle::{Command, Handle};
use crate::message::Message;
use crate::request::Request;
use crate::send::SendMessage;
use crate::sink::MessageSink;
use crate::state::States;
use crate::subscription::Subscribe;
use crate::transaction::Transaction;

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
    /// Connects to a URL:
    ///
    /// | URL | Is | Default port |
    /// |---|---|---|
    /// | `stomp://host:port` | STOMP over TCP | 61613 |
    /// | `stomps://host:port` | the same with TLS | 61614 |
    /// | `ws://host:port/path` | STOMP over WebSocket | 80 |
    /// | `wss://host:port/path` | the same with TLS | 443 |
    /// | `http://host:port/path` | STOMP over SockJS: its WebSocket, or else streaming, or else polling | 80 |
    /// | `https://host:port/path` | the same with TLS | 443 |
    ///
    /// Other schemes are an [`Error::InvalidRequest`] when the builder is awaited. TLS is the feature `tls`.
    pub fn connect(url: impl Into<String>) -> Connect {
        Connect::to(url.into())
    }

    /// Connects by plain STOMP over an open stream: a socket of another kind than TCP, a pipe in memory. For WebSocket
    /// over a stream, see [`Connect::over`].
    ///
    /// # Example: a broker's Unix socket
    ///
    /// ```no_run
    /// use tokio::net::UnixStream;
    /// use tramline_client::{Client, Error};
    ///
    /// # async fn example() -> Result<(), Error> {
    /// let stream = UnixStream::connect("/run/broker.sock").await?;
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

    /// The server's CONNECTED of the present connection, or of the last: version, user name, its own name.
    pub fn connected(&self) -> Arc<Connected> {
        self.handle.inner.connected()
    }

    /// The reason why the session has ended; `None` while it is open, or [opened again](Connect::reconnect).
    pub fn ended(&self) -> Option<&Error> {
        self.handle.inner.ended()
    }

    /// Returns the state of the connection and its changes.
    pub fn states(&self) -> States {
        States::new(self.handle.inner.state.subscribe())
    }

    /// Subscribes to a destination; await it to do so.
    pub fn subscribe(&self, destination: impl Into<ByteString>) -> Subscribe {
        Subscribe::new(self.handle.clone(), destination.into())
    }

    /// Subscribes to a destination whose bodies are JSON of type `T`; await it to do so. Options that are not the
    /// default: [`Subscribe::json`].
    #[cfg(feature = "json")]
    pub fn subscribe_json<T: serde::de::DeserializeOwned>(
        &self,
        destination: impl Into<ByteString>,
    ) -> crate::json::SubscribeJson<T> {
        self.subscribe(destination).json()
    }

    /// Sends a message to a destination; await it to do so.
    pub fn send(&self, destination: impl Into<ByteString>, body: impl Into<Bytes>) -> SendMessage {
        SendMessage::new(self.handle.clone(), destination.into(), body.into())
    }

    /// Sends a received message on, with its headers except those of its delivery, such as `message-id` and `ack`; await it
    /// to do so.
    pub fn forward(&self, destination: impl Into<ByteString>, message: &Message) -> SendMessage {
        SendMessage::forward(self.handle.clone(), destination.into(), message)
    }

    /// Returns a destination as a [`Sink`](futures_sink::Sink), the end of a pipeline.
    pub fn sink(&self, destination: impl Into<ByteString>) -> MessageSink {
        MessageSink::new(self.handle.clone(), destination.into())
    }

    /// Sends a value as JSON, with that content type; await it to do so.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidBody`] if the value cannot be written as JSON.
    ///
    /// # Example: a value with a receipt
    ///
    /// ```no_run
    /// # async fn example(client: tramline_client::Client) -> Result<(), tramline_client::Error> {
    /// client.send_json("/app/prices", &[1.5, 2.5])?.receipt().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "json")]
    pub fn send_json<T: serde::Serialize + ?Sized>(
        &self,
        destination: impl Into<ByteString>,
        value: &T,
    ) -> Result<SendMessage, Error> {
        let body = crate::json::body(value)?;
        Ok(self
            .send(destination, body)
            .content_type("application/json"))
    }

    /// Sends a request and returns its reply; await it to do so.
    ///
    /// # Example: a question
    ///
    /// ```no_run
    /// # async fn example(client: tramline_client::Client) -> Result<(), tramline_client::Error> {
    /// let price = client.request("/queue/prices", "ABC").await?;
    /// println!("{}", price.text()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(&self, destination: impl Into<ByteString>, body: impl Into<Bytes>) -> Request {
        Request::new(self.handle.clone(), destination.into(), body.into())
    }

    /// Answers a request: a message to its `reply-to`, with its `correlation-id`; await it to do so.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidMessage`] if the request has no `reply-to`.
    pub fn reply(&self, request: &Message, body: impl Into<Bytes>) -> Result<SendMessage, Error> {
        let to = request.headers.get_bytestring("reply-to").ok_or_else(|| {
            Error::invalid_message("what it answers has no header `reply-to`, so it wants no reply")
        })?;
        let reply = self.send(to.clone(), body);
        Ok(match request.headers.get_bytestring("correlation-id") {
            Some(correlation) => reply.header("correlation-id", correlation.clone()),
            None => reply,
        })
    }

    /// Begins a transaction: its messages and acknowledgements take effect at its
    /// [`commit`](Transaction::commit), all or none.
    ///
    /// Cancel-safe: a transaction that is dropped is aborted.
    ///
    /// # Errors
    ///
    /// The error that ended the connection.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Transaction::begin(self.handle.clone()).await
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
            Ok(()) => match answer.await {
                Ok(outcome) => outcome,
                Err(_) => Err(self.handle.inner.end()),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Err(Error::Disconnected) => Ok(()),
            outcome => outcome,
        }
    }
}
