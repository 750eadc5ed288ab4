use std::{
    collections::VecDeque,
    fmt,
    future::IntoFuture,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;
use futures_core::Stream;
use futures_sink::Sink;
use http::header;
use tokio::{
    io::AsyncWrite,
    time::{Sleep, sleep, timeout},
};
use tramline_websocket::{CloseCode, Connection, ConnectionState, Event, OpCode, Role};

use crate::BoxFuture;
use crate::address::{Address, Protocol};
use crate::error::Error;
use crate::handshake;
use crate::link::{poll_read, websocket_config};
use crate::sockjs::{self, Cut, Way};
use crate::stream::{BoxStream, Dialer};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// A message of a [`Socket`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SocketMessage {
    /// Text.
    Text(ByteString),
    /// Bytes. SockJS has none.
    Binary(Bytes),
}

impl From<&str> for SocketMessage {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for SocketMessage {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// A raw connection without STOMP: WebSocket or SockJS, as a [`Stream`] and a [`Sink`] of messages.
///
/// The stream ends when the server closes with 1000 or without a code; any other end is one error before that. Pings are
/// answered while the stream is read. `close` of the sink does the close handshake, and waits 5 s at most for the server's
/// part; messages that arrive meanwhile can still be read. Dropping it closes the connection without one.
///
/// Bounded: it holds one unfinished message of at most [`max_message`](ConnectSocket::max_message), the messages of one read
/// (64 KiB), and what the sink has taken: it takes no more while 64 KiB wait.
///
/// # Example: an echo
///
/// ```no_run
/// use futures_util::{SinkExt, StreamExt};
/// use tramline_client::{Error, Socket, SocketMessage};
///
/// # async fn example() -> Result<(), Error> {
/// let mut socket = Socket::connect("wss://echo.example/").await?;
/// socket.send("hello".into()).await?;
/// assert_eq!(socket.next().await.transpose()?, Some(SocketMessage::from("hello")));
/// socket.close().await
/// # }
/// ```
pub struct Socket {
    io: BoxStream,
    framing: Framing,
    received: VecDeque<SocketMessage>,
    /// Encoded bytes; `io` has taken those before `written`.
    out: Vec<u8>,
    written: usize,
    end: End,
    /// The limit of a close.
    closing: Option<Pin<Box<Sleep>>>,
}

enum Framing {
    WebSocket(Box<Connection>),
    /// SockJS by HTTP: what has arrived of a message with its length in front.
    Lengths(BytesMut),
}

enum End {
    Open,
    Because(Error),
    Told,
}

impl Socket {
    /// Connects to a URL: `ws://` and `wss://`, or `http://` and `https://` for SockJS, which goes by its WebSocket, or else
    /// by streaming, or else by polling.
    pub fn connect(url: impl Into<String>) -> ConnectSocket {
        ConnectSocket {
            url: url.into(),
            protocols: Vec::new(),
            http_headers: Vec::new(),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(10),
            max_message: MAX_MESSAGE,
        }
    }

    fn new(io: BoxStream, framing: Framing, leading: &[u8]) -> Self {
        let mut socket = Self {
            io,
            framing,
            received: VecDeque::new(),
            out: Vec::new(),
            written: 0,
            end: End::Open,
            closing: None,
        };
        if !leading.is_empty() {
            socket.read(&mut leading.to_vec());
        }
        socket
    }

    /// Takes what was read; nothing is the end of the stream.
    fn read(&mut self, mut input: &mut [u8]) {
        if input.is_empty() {
            let words = "the stream ended without a closing handshake";
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, words);
            return self.ended(Some(error.into()));
        }
        match &mut self.framing {
            Framing::Lengths(partial) => {
                partial.extend_from_slice(input);
                while let Some(text) = take(partial) {
                    // The sender made it of text.
                    let text = ByteString::try_from(text).unwrap_or_default();
                    self.received.push_back(SocketMessage::Text(text));
                }
            }
            Framing::WebSocket(websocket) => loop {
                match websocket.receive(&mut input) {
                    Ok(None) => return,
                    Ok(Some(Event::Text(text))) => {
                        self.received.push_back(SocketMessage::Text(text));
                    }
                    Ok(Some(Event::Binary(bytes))) => {
                        self.received.push_back(SocketMessage::Binary(bytes));
                    }
                    Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
                    Ok(Some(Event::Close(frame))) => {
                        let code = frame.as_ref().map(|frame| frame.code.as_u16());
                        let reason = frame.map(|frame| frame.reason).unwrap_or_default();
                        let expected = matches!(code, None | Some(1000));
                        let error = Error::ClosedByServer { code, reason };
                        return self.ended((!expected).then_some(error));
                    }
                    Err(error) => return self.ended(Some(error.into())),
                }
            },
        }
    }

    /// The first reason counts; none is an end in order.
    fn ended(&mut self, error: Option<Error>) {
        if matches!(self.end, End::Open) {
            self.end = match error {
                Some(_) if self.closing.is_some() => End::Told,
                Some(error) => End::Because(error),
                None => End::Told,
            };
        }
    }

    /// Reads once.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let read = ready!(poll_read(&mut self.io, context, |input| input.to_vec()));
        match read {
            Ok(mut input) => self.read(&mut input),
            Err(error) => {
                let error = match Error::from(error) {
                    Error::ClosedByServer {
                        code: Some(1000), ..
                    } => None,
                    error => Some(error),
                };
                self.ended(error);
            }
        }
        Poll::Ready(())
    }

    /// Writes until at most `left` bytes wait.
    fn poll_output(&mut self, context: &mut Context<'_>, left: usize) -> Poll<Result<(), Error>> {
        if let Framing::WebSocket(websocket) = &mut self.framing {
            websocket.poll_transmit(&mut self.out);
        }
        while self.out.len() - self.written > left {
            let bytes = &self.out[self.written..];
            let written = ready!(Pin::new(&mut self.io).poll_write(context, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.written += written;
        }
        if self.written == self.out.len() {
            self.written = 0;
            self.out = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for Socket {
    type Item = Result<SocketMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            // Pongs, and the answer to a Close. If it cannot be written, reading tells why.
            let _ = self.poll_output(context, 0);
            if let Some(message) = self.received.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            match std::mem::replace(&mut self.end, End::Told) {
                End::Open => self.end = End::Open,
                End::Because(error) => return Poll::Ready(Some(Err(error))),
                End::Told => return Poll::Ready(None),
            }
            ready!(self.poll_input(context));
        }
    }
}

impl Sink<SocketMessage> for Socket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_output(context, WRITE_SIZE)
    }

    fn start_send(mut self: Pin<&mut Self>, message: SocketMessage) -> Result<(), Error> {
        let this = &mut *self;
        if this.closing.is_some() || !matches!(this.end, End::Open) {
            return Err(Error::Disconnected);
        }
        match (&mut this.framing, message) {
            (Framing::WebSocket(websocket), SocketMessage::Text(text)) => {
                websocket.send(OpCode::Text, text.as_bytes(), &mut this.out);
            }
            (Framing::WebSocket(websocket), SocketMessage::Binary(bytes)) => {
                websocket.send(OpCode::Binary, &bytes, &mut this.out);
            }
            (Framing::Lengths(_), SocketMessage::Text(text)) => {
                let length = u32::try_from(text.len())
                    .map_err(|_| Error::invalid_message("it has 4 GiB or more"))?;
                this.out.extend_from_slice(&length.to_be_bytes());
                this.out.extend_from_slice(text.as_bytes());
            }
            (Framing::Lengths(_), SocketMessage::Binary(_)) => {
                return Err(Error::invalid_message(
                    "SockJS carries text only; encode it, for example as base64, or connect by ws://",
                ));
            }
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_output(context, 0))?;
        Pin::new(&mut self.io)
            .poll_flush(context)
            .map_err(Error::from)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.closing.is_none() {
            self.closing = Some(Box::pin(sleep(CLOSE_TIME)));
            if let Framing::WebSocket(websocket) = &mut self.framing
                && websocket.state() == ConnectionState::Open
            {
                websocket.close(CloseCode::NORMAL, "");
            }
        }
        loop {
            if let Some(closing) = &mut self.closing
                && closing.as_mut().poll(context).is_ready()
            {
                self.ended(None);
                let (waiting_for, after) = ("the server to close", CLOSE_TIME);
                return Poll::Ready(Err(Error::Timeout { waiting_for, after }));
            }
            if !matches!(self.end, End::Open) {
                return Poll::Ready(Ok(()));
            }
            ready!(self.as_mut().poll_flush(context))?;
            if let Framing::Lengths(_) = self.framing {
                // SockJS by HTTP has no close of the client's: the server notices that nobody asks any more.
                self.ended(None);
                return Pin::new(&mut self.io)
                    .poll_shutdown(context)
                    .map_err(Error::from);
            }
            ready!(self.poll_input(context));
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

/// A raw connection to open; await it to do so. From [`Socket::connect`].
///
/// # Errors
///
/// As those of [`Connect`](crate::Connect) that are not of STOMP.
#[must_use = "nothing happens until it is awaited"]
pub struct ConnectSocket {
    url: String,
    protocols: Vec<String>,
    http_headers: Vec<(String, String)>,
    #[cfg(feature = "tls")]
    tls: Tls,
    connect_timeout: Duration,
    max_message: usize,
}

impl ConnectSocket {
    /// Offers a WebSocket sub-protocol. A server that chooses one that was not offered is refused.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocols.push(name.into());
        self
    }

    /// Adds a header to the HTTP requests, such as `authorization`, `cookie` or `origin`.
    pub fn http_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.http_headers.push((name.into(), value.into()));
        self
    }

    /// Sets the header `Authorization: Bearer TOKEN`. Default none.
    pub fn bearer(self, token: impl fmt::Display) -> Self {
        self.http_header(header::AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    /// Sets the certificates of `wss://` and `https://`. Default [`Tls::system`].
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The time limit for everything until the connection is open. Default 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The maximum of a message that the server sends, in bytes. Default 1,048,576. A longer one ends the connection with
    /// [`Error::Protocol`].
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    async fn connect(self) -> Result<Socket, Error> {
        let address = Address::parse(&self.url)?;
        if address.protocol == Protocol::Stomp {
            return Err(Error::invalid(
                "a raw connection is ws:// or wss://, or http:// or https:// for SockJS; for STOMP see \
                 `Client::connect`",
            ));
        }
        let headers = self.http_headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| handshake::http_header(name, value))
            .collect::<Result<_, _>>()?;
        #[cfg(feature = "tls")]
        let tls = address.tls.then(|| self.tls.connector()).transpose()?;
        let dialer = Dialer {
            dial: None,
            #[cfg(feature = "tls")]
            tls,
        };
        if cfg!(not(feature = "tls")) && address.tls {
            return Err(Error::invalid(
                "wss:// and https:// need the feature `tls` of tramline-client",
            ));
        }
        let protocols: Vec<_> = self.protocols.iter().map(String::as_str).collect();
        let open = async {
            let stream = dialer.open(&address).await?;
            let way = match address.protocol {
                Protocol::SockJs => {
                    let server = sockjs::Server::new(&dialer, &address, headers);
                    server
                        .open(stream, &protocols, self.max_message, Cut::ByLength)
                        .await?
                }
                _ => {
                    let (stream, leading) =
                        handshake::shake_hands(stream, &address, &protocols, headers).await?;
                    Way::WebSocket(stream, leading)
                }
            };
            Ok(match way {
                Way::WebSocket(stream, leading) => {
                    let config = websocket_config(0)
                        .with_max_message(self.max_message)
                        .with_max_frame(self.max_message);
                    let machine = Connection::new(Role::Client, config);
                    Socket::new(stream, Framing::WebSocket(Box::new(machine)), &leading)
                }
                Way::Http(stream) => Socket::new(stream, Framing::Lengths(BytesMut::new()), &[]),
            })
        };
        let after = self.connect_timeout;
        let opened = timeout(after, open).await;
        let waiting_for = "the connection";
        let opened = opened.unwrap_or(Err(Error::Timeout { waiting_for, after }));
        opened.map_err(|error: Error| Error::Connect {
            address: address.to_string(),
            cause: Box::new(error),
        })
    }
}

impl IntoFuture for ConnectSocket {
    type Output = Result<Socket, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.connect())
    }
}

impl fmt::Debug for ConnectSocket {
    /// The address without path and query, headers without values: all of them may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Address::parse(&self.url).map(|address| address.to_string());
        let names = self.http_headers.iter().map(|(name, _)| name);
        f.debug_struct("ConnectSocket")
            .field("address", &address.ok())
            .field("protocols", &self.protocols)
            .field("http_headers", &names.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Takes a whole message from the front.
fn take(partial: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(partial.get(..4)?.try_into().ok()?) as usize;
    if partial.len() - 4 < length {
        return None;
    }
    partial.advance(4);
    Some(partial.split_to(length).freeze())
}

/// The maximum of a message, in bytes.
const MAX_MESSAGE: usize = 1024 * 1024;

/// While so many bytes wait to be written, the sink takes nothing.
const WRITE_SIZE: usize = 64 * 1024;

/// How long the server has to answer a Close.
const CLOSE_TIME: Duration = Duration::from_secs(5);
