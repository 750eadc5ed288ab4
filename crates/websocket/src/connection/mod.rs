//! The machine: sending, closing, and the replies that the protocol requires.

mod message;
mod receive;

use std::collections::VecDeque;
use std::collections::hash_map::{DefaultHasher, RandomState};
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use bytes::Bytes;
use bytestring::ByteString;

use self::message::Message;
use self::receive::{Frame, PartialHead};
use crate::close::{self, CloseCode, CloseFrame};
use crate::config::{Config, Role};
use crate::deflate::{Agreement, Extension};
use crate::error::Error;
use crate::frame::{self, Kind, MAX_CONTROL, MAX_MASKED_HEAD, OpCode};
use crate::mask::apply_mask;

/// A complete and checked message or control frame from the peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A text message.
    Text(ByteString),
    /// A binary message.
    Binary(Bytes),
    /// A ping, at most 125 bytes. The pong that answers it is already queued.
    Ping(Bytes),
    /// A pong, at most 125 bytes: the answer to a ping, or an unsolicited sign of life (RFC 6455 §5.5.3).
    Pong(Bytes),
    /// The peer closes and sends nothing more. The answer is already queued. `None` if it gave no code.
    Close(Option<CloseFrame>),
}

/// The progress of the closing handshake (RFC 6455 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Messages go both ways.
    Open,
    /// We closed: nothing more is sent, and the peer's messages are delivered until its Close arrives.
    Closing,
    /// The peer closed or violated the protocol: its input is ignored, and our Close waits in
    /// [`poll_transmit`](Connection::poll_transmit).
    PeerClosing,
    /// Both are done and nothing is left to transmit: end TCP, the server first (RFC 6455 §7.1.1).
    Closed,
}

/// One end of a WebSocket, from the end of its opening handshake to the end of its closing handshake.
///
/// Lend the peer's bytes to [`receive`](Self::receive) until that returns `Ok(None)`, then write what
/// [`poll_transmit`](Self::poll_transmit) appends, then end TCP if the machine [`is_closed`](Self::is_closed). Your own
/// messages may be appended at any time; they and the machine's replies are whole frames and may be mixed in any order.
///
/// The value is about a hundred bytes. It owns heap memory only while a message, a control frame, a pong or a Close is
/// incomplete or queued, and then at most twice what the peer has sent of it and 4 KiB (of pongs 32 KiB); compression adds what
/// [`Deflate`](crate::Deflate) says.
///
/// # Example: a server that echoes
///
/// ```
/// use tramline_websocket::{Config, Connection, Error, Event, OpCode, Role};
///
/// /// Returns what to write after `read` was read.
/// fn echo(connection: &mut Connection, mut read: &mut [u8]) -> Result<Vec<u8>, Error> {
///     let mut out = Vec::new();
///     while let Some(event) = connection.receive(&mut read)? {
///         match event {
///             Event::Text(text) => connection.send(OpCode::Text, text.as_bytes(), &mut out),
///             Event::Binary(bytes) => connection.send(OpCode::Binary, &bytes, &mut out),
///             Event::Ping(_) | Event::Pong(_) | Event::Close(_) => {}
///         }
///     }
///     connection.poll_transmit(&mut out);
///     Ok(out)
/// }
///
/// let mut connection = Connection::new(Role::Server, Config::default());
/// let mut hello = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// assert_eq!(echo(&mut connection, &mut hello)?, b"\x81\x05Hello");
///
/// let mut close = *b"\x88\x82\0\0\0\0\x03\xe8";
/// assert_eq!(echo(&mut connection, &mut close)?, b"\x88\x02\x03\xe8");
/// assert!(connection.is_closed());
/// # Ok::<(), Error>(())
/// ```
pub struct Connection {
    config: Config,
    keys: MaskKeys,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The message that has arrived in part.
    message: Option<Box<Message>>,
    /// Payload of a control frame that arrives in pieces.
    control: Vec<u8>,
    owed: Option<Box<Owed>>,
    /// Set if compression was negotiated.
    deflate: Option<Box<Extension>>,
    head: PartialHead,
    role: Role,
    state: ConnectionState,
}

/// The machine's own replies. Usually none.
#[derive(Default)]
struct Owed {
    pongs: Pongs,
    close: Option<Vec<u8>>,
}

/// Payloads of pings to answer, each behind its length: one byte. At most [`MAX_PONGS`] bytes.
#[derive(Default)]
struct Pongs(VecDeque<u8>);

/// The most bytes of unanswered pings, with one more for each: 130 of the largest and 16,384 empty ones. Enough for what
/// one read brings from an honest peer, and few for one that reads nothing.
const MAX_PONGS: usize = 16 * 1024;

impl Pongs {
    /// Adds a payload, and drops the oldest if there are too many (RFC 6455 §5.5.3 allows to answer the latest only).
    fn push(&mut self, payload: &[u8]) {
        while self.0.len() + 1 + payload.len() > MAX_PONGS {
            let Some(len) = self.0.pop_front() else { break };
            self.0.drain(..usize::from(len));
        }
        // Control frames have at most 125 bytes.
        self.0.push_back(payload.len() as u8);
        self.0.extend(payload);
    }

    /// Returns the payloads, the oldest first.
    fn payloads(&mut self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0.make_contiguous();
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first()?;
            let (payload, after) = after.split_at(usize::from(*len));
            rest = after;
            Some(payload)
        })
    }
}

impl Connection {
    /// Creates a machine for a connection after its handshake.
    ///
    /// A client's mask keys start at a seed that differs between connections and cannot be guessed from outside the
    /// process; use [`new_client`](Self::new_client) to choose it.
    #[must_use]
    pub fn new(role: Role, config: Config) -> Self {
        let seed = match role {
            Role::Server => 0,
            Role::Client => RandomState::new().build_hasher().finish(),
        };
        Self::with_seed(role, config, seed)
    }

    /// Sets the limits for frames that begin from now on.
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// Creates a client's machine whose mask keys follow from `seed`, so that its bytes are reproducible.
    ///
    /// Outside of tests and simulations the seed must be random: masks keep an attacker who chooses a payload from
    /// choosing the bytes that a proxy sees (RFC 6455 §10.3). Keys seen on the wire do not reveal the next one (§5.3):
    /// each is a hash of the seed and a number. The hash is the standard library's and may change with it.
    #[must_use]
    pub fn new_client(config: Config, seed: u64) -> Self {
        Self::with_seed(Role::Client, config, seed)
    }

    /// Compresses and inflates messages as negotiated in the handshake (RFC 7692); see [`Deflate`](crate::Deflate) for
    /// the cost.
    ///
    /// # Example: both ends of a handshake
    ///
    /// ```
    /// use tramline_websocket::{Config, Connection, Deflate, Event, OpCode, Role};
    ///
    /// let deflate = Deflate::default();
    /// let accepted = deflate.accept([deflate.offer().as_str()]).unwrap();
    /// let confirmed = deflate.confirm([accepted.response().as_str()])?.unwrap();
    /// let mut server = Connection::new(Role::Server, Config::default()).with_deflate(accepted);
    /// let mut client = Connection::new(Role::Client, Config::default()).with_deflate(confirmed);
    ///
    /// let message = "again and ".repeat(1000);
    /// let mut wire = Vec::new();
    /// client.send(OpCode::Text, message.as_bytes(), &mut wire);
    /// assert!(wire.len() < 100);
    /// let event = server.receive(&mut wire.as_mut_slice()).unwrap();
    /// assert_eq!(event, Some(Event::Text(message.into())));
    /// # Ok::<(), tramline_websocket::NegotiationError>(())
    /// ```
    #[must_use]
    pub fn with_deflate(mut self, agreement: Agreement) -> Self {
        self.deflate = Some(Box::new(Extension::new(&agreement, self.role)));
        self
    }

    /// Appends one whole message to `out` as a single frame, compressed if that was negotiated and is worth it.
    ///
    /// Ignored after a Close was queued or received, as the RFC requires (§5.5.1); check [`state`](Self::state) where
    /// that matters. The payload of [`OpCode::Text`] must be UTF-8. The caller guarantees that, and only debug builds
    /// check it; a peer closes with 1007 on invalid text.
    #[inline]
    pub fn send(&mut self, opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
        debug_assert!(
            opcode != OpCode::Text || std::str::from_utf8(payload).is_ok(),
            "text must be UTF-8"
        );
        if self.state == ConnectionState::Open {
            let deflate = self.deflate.as_deref_mut();
            match deflate.and_then(|deflate| deflate.compress(payload)) {
                None => self.put_frame(opcode.into(), false, payload, out),
                Some(payload) => self.put_frame(opcode.into(), true, &payload, out),
            }
        }
    }

    /// Appends a ping to `out`; the peer answers with [`Event::Pong`] and the same payload. Ignored like
    /// [`send`](Self::send) after a Close.
    ///
    /// # Panics
    ///
    /// If the payload is longer than the 125 bytes that a control frame may have (RFC 6455 §5.5). Payloads of pings are
    /// tokens of this end, so that is a bug in the program.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        assert!(
            payload.len() <= MAX_CONTROL,
            "ping of {} bytes; a control frame has at most 125",
            payload.len()
        );
        if self.state == ConnectionState::Open {
            self.put_frame(Kind::Ping, false, payload, out);
        }
    }

    /// Queues a Close for [`poll_transmit`](Self::poll_transmit): it starts the closing handshake, or answers the
    /// peer's Close.
    ///
    /// In [`ConnectionState::PeerClosing`] a Close is queued already; this call replaces it, so that an application can answer
    /// with a code and reason of its own. In [`ConnectionState::Closing`] and [`ConnectionState::Closed`] the call is ignored: the first
    /// Close counts. A reason is cut at 123 bytes, never inside a character.
    ///
    /// # Example: a Close, and the peer's answer
    ///
    /// ```
    /// use tramline_websocket::{CloseCode, Config, Connection, Event, Role, ConnectionState};
    ///
    /// let mut server = Connection::new(Role::Server, Config::default());
    /// server.close(CloseCode::GOING_AWAY, "shutting down");
    /// let mut out = Vec::new();
    /// server.poll_transmit(&mut out);
    /// assert_eq!(out, b"\x88\x0f\x03\xe9shutting down");
    /// assert_eq!(server.state(), ConnectionState::Closing);
    ///
    /// let mut answer = *b"\x88\x82\0\0\0\0\x03\xe9";
    /// let event = server.receive(&mut answer.as_mut_slice())?;
    /// assert!(matches!(event, Some(Event::Close(Some(close))) if close.code == CloseCode::GOING_AWAY));
    /// assert!(server.is_closed());
    /// # Ok::<(), tramline_websocket::Error>(())
    /// ```
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        match self.state {
            ConnectionState::Open => self.state = ConnectionState::Closing,
            ConnectionState::PeerClosing => {}
            ConnectionState::Closing | ConnectionState::Closed => return,
        }
        self.owe().close = Some(close::payload(code, reason));
    }

    /// Appends the machine's replies to `out` and returns true if there were any: a pong for each ping, then a Close.
    ///
    /// Of the pings that arrived before this call the latest 16 KiB are answered, counted with one byte more for each; RFC
    /// 6455 §5.5.3 allows to leave out older ones, so a flood of pings makes nothing grow. Call it after [`receive`](Self::receive), after [`close`](Self::close), and after an error.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(mut owed) = self.owed.take() else {
            return false;
        };
        for payload in owed.pongs.payloads() {
            self.put_frame(Kind::Pong, false, payload, out);
        }
        if let Some(payload) = owed.close {
            self.put_frame(Kind::Close, false, &payload, out);
            if self.state == ConnectionState::PeerClosing {
                self.state = ConnectionState::Closed;
            }
        }
        true
    }

    /// Returns true if [`poll_transmit`](Self::poll_transmit) has something to append.
    #[inline]
    #[must_use]
    pub fn has_transmit(&self) -> bool {
        self.owed.is_some()
    }

    /// Returns the progress of the closing handshake.
    #[inline]
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.state
    }

    /// Returns true if both ends are done and TCP should end: the same as [`ConnectionState::Closed`].
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == ConnectionState::Closed
    }

    /// Returns the received bytes of a head, a control frame or a message that is still incomplete.
    ///
    /// Zero between messages. At most twice as much and 4 KiB is allocated for them.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.head.len()
            + self.control.len()
            + self.message.as_ref().map_or(0, |message| message.held())
    }

    /// Returns the received part of a message that is still incomplete, for applications that process parts as they
    /// arrive; `None` if there is nothing new.
    ///
    /// Call it when [`receive`](Self::receive) has used up its input. The event at the message's end then holds the
    /// rest, which may be empty. Text is cut between characters. The peer's frames are not visible: proxies may split
    /// messages differently. Returned parts still count for the limits of [`Config`](crate::Config).
    ///
    /// # Example: parts of one message
    ///
    /// ```
    /// use tramline_websocket::{Config, Connection, Event, Role};
    ///
    /// let mut client = Connection::new(Role::Client, Config::default());
    /// let (mut first, mut second) = (*b"\x01\x03Hel\x80", *b"\x02lo");
    /// assert_eq!(client.receive(&mut first.as_mut_slice())?, None);
    /// assert_eq!(client.take_part(), Some(Event::Text("Hel".into())));
    /// assert_eq!(client.take_part(), None);
    /// assert_eq!(client.receive(&mut second.as_mut_slice())?, Some(Event::Text("lo".into())));
    /// # Ok::<(), tramline_websocket::Error>(())
    /// ```
    pub fn take_part(&mut self) -> Option<Event> {
        self.message.as_mut()?.take()
    }

    fn with_seed(role: Role, config: Config, seed: u64) -> Self {
        Self {
            config,
            keys: MaskKeys { seed, used: 0 },
            frame: None,
            message: None,
            control: Vec::new(),
            owed: None,
            deflate: None,
            head: PartialHead::default(),
            role,
            state: ConnectionState::Open,
        }
    }

    fn owe(&mut self) -> &mut Owed {
        self.owed.get_or_insert_default()
    }

    /// Handles the peer's Close: answers with its own code, unless our Close is on its way already (§5.5.1).
    fn peer_closed(&mut self, frame: Option<&CloseFrame>) {
        let answer = frame.map_or_else(Vec::new, |frame| close::payload(frame.code, ""));
        self.end(answer);
    }

    /// Handles an error of the peer: queues its close code and stops reading (§7.1.7).
    fn fail(&mut self, error: &Error) {
        self.end(close::payload(error.close_code(), &error.to_string()));
    }

    /// Ends the peer's input: drops what is incomplete, and makes sure that exactly one Close is sent.
    fn end(&mut self, close: Vec<u8>) {
        self.frame = None;
        self.message = None;
        self.deflate = None;
        self.control = Vec::new();
        self.head = PartialHead::default();
        self.state = match self.state {
            ConnectionState::Open => {
                self.owe().close = Some(close);
                ConnectionState::PeerClosing
            }
            // Our Close is still queued: it also answers the peer's.
            ConnectionState::Closing if self.owed.is_some() => ConnectionState::PeerClosing,
            ConnectionState::Closing => ConnectionState::Closed,
            ended @ (ConnectionState::PeerClosing | ConnectionState::Closed) => ended,
        };
    }

    #[inline]
    fn put_frame(&mut self, kind: Kind, compressed: bool, payload: &[u8], out: &mut Vec<u8>) {
        out.reserve(MAX_MASKED_HEAD + payload.len());
        match self.role {
            Role::Server => {
                frame::put_head(out, kind, compressed, payload.len(), None);
                out.extend_from_slice(payload);
            }
            Role::Client => {
                let key = self.keys.next();
                frame::put_head(out, kind, compressed, payload.len(), Some(key));
                let start = out.len();
                out.extend_from_slice(payload);
                apply_mask(&mut out[start..], key, 0);
            }
        }
    }
}

/// The mask keys of a client; unused in a server.
struct MaskKeys {
    seed: u64,
    used: u64,
}

impl MaskKeys {
    fn next(&mut self) -> [u8; 4] {
        self.used += 1;
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write_u64(self.used);
        ((hasher.finish() >> 32) as u32).to_be_bytes()
    }
}

/// Omits payloads and mask keys.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("state", &self.state)
            .field("config", &self.config)
            .field("buffered", &self.buffered())
            .field("has_transmit", &self.has_transmit())
            .finish_non_exhaustive()
    }
}
