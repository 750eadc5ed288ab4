//! The machine: what an application sends and closes, and what the protocol owes in return.

mod message;
mod receive;

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

/// Something the peer sent, whole and checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A text message.
    Text(ByteString),
    /// A binary message.
    Binary(Bytes),
    /// A ping, at most 125 bytes. The pong that answers it is already queued.
    Ping(Bytes),
    /// A pong, at most 125 bytes: the answer to a ping, or unasked for as a sign of life (RFC 6455 §5.5.3).
    Pong(Bytes),
    /// The peer closes; it sends nothing more. The answer is already queued. `None` if it gave no code.
    Close(Option<CloseFrame>),
}

/// How far the closing handshake has come (RFC 6455 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Messages go both ways.
    Open,
    /// We closed: nothing more is sent, and what the peer still sends is delivered until its Close arrives.
    Closing,
    /// The peer closed or broke the protocol: it is not heard any more, and our Close waits in
    /// [`poll_transmit`](Connection::poll_transmit).
    PeerClosing,
    /// Both are done and nothing is left to transmit: end TCP, the server first (RFC 6455 §7.1.1).
    Closed,
}

/// One end of a WebSocket, from the end of its opening handshake to the end of its closing handshake.
///
/// Lend what the peer sent to [`receive`](Self::receive) until that returns `Ok(None)`, then write what
/// [`poll_transmit`](Self::poll_transmit) appends, then end TCP if the machine [`is_closed`](Self::is_closed).
/// Messages of one's own may be appended at any time; they and what the machine owes are whole frames and may be mixed
/// in any order.
///
/// The value is about a hundred bytes. It owns heap memory only while a message, a control frame, a pong or a Close is
/// incomplete or waits, and then at most twice what the peer has sent of it and 4 KiB; with compression, what
/// [`Deflate`](crate::Deflate) says besides.
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
    /// The message of which at least a byte or a frame has arrived, but not all.
    message: Option<Box<Message>>,
    /// Payload of a control frame that did not arrive in one piece.
    control: Vec<u8>,
    owed: Option<Box<Owed>>,
    /// Where compression was agreed on.
    deflate: Option<Box<Extension>>,
    head: PartialHead,
    role: Role,
    state: State,
}

/// What the machine itself has to say. Most of the time: nothing.
#[derive(Default)]
struct Owed {
    pong: Option<Bytes>,
    close: Option<Vec<u8>>,
}

impl Connection {
    /// Starts a machine for a connection whose handshake is done.
    ///
    /// A client's mask keys begin at a seed that differs from connection to connection and cannot be guessed from
    /// outside the process; use [`new_client`](Self::new_client) to choose it.
    #[must_use]
    pub fn new(role: Role, config: Config) -> Self {
        let seed = match role {
            Role::Server => 0,
            Role::Client => RandomState::new().build_hasher().finish(),
        };
        Self::with_seed(role, config, seed)
    }

    /// Starts a machine for a client whose mask keys follow from `seed`, so that its bytes can be repeated.
    ///
    /// Outside of tests and simulations the seed must be random: masks keep whoever chooses a payload from choosing
    /// the bytes that a proxy on the way sees (RFC 6455 §10.3). Keys that went over the wire do not tell the next one
    /// (§5.3): each is a hash of the seed and a number. The hash is the standard library's and may change with it.
    #[must_use]
    pub fn new_client(config: Config, seed: u64) -> Self {
        Self::with_seed(Role::Client, config, seed)
    }

    /// Compresses and inflates messages as the handshake agreed (RFC 7692); see [`Deflate`](crate::Deflate) for what
    /// that costs.
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

    /// Appends one whole message to `out` as a single frame, compressed if that was agreed and is worth it.
    ///
    /// Ignored after a Close was queued or received, as the RFC demands (§5.5.1); ask [`state`](Self::state) where that
    /// matters. The payload of [`OpCode::Text`] must be UTF-8. That is the caller's promise, checked in debug builds
    /// only; a peer that finds it broken will close with 1007.
    #[inline]
    pub fn send(&mut self, opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
        debug_assert!(
            opcode != OpCode::Text || std::str::from_utf8(payload).is_ok(),
            "text must be UTF-8"
        );
        if self.state == State::Open {
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
    /// tokens that this end invents, so that is a mistake in the program.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        assert!(
            payload.len() <= MAX_CONTROL,
            "ping of {} bytes; a control frame has at most 125",
            payload.len()
        );
        if self.state == State::Open {
            self.put_frame(Kind::Ping, false, payload, out);
        }
    }

    /// Queues a Close for [`poll_transmit`](Self::poll_transmit): the first step of the closing handshake, or the
    /// answer to the peer's.
    ///
    /// In [`State::PeerClosing`] a Close is queued already; this call replaces it, which lets an application answer
    /// with a code and words of its own. In [`State::Closing`] and [`State::Closed`] the call is ignored: the first
    /// Close stands. A reason longer than 123 bytes is cut there, never inside a character.
    ///
    /// # Example: goodbye, and the peer's answer
    ///
    /// ```
    /// use tramline_websocket::{CloseCode, Config, Connection, Event, Role, State};
    ///
    /// let mut server = Connection::new(Role::Server, Config::default());
    /// server.close(CloseCode::GOING_AWAY, "shutting down");
    /// let mut out = Vec::new();
    /// server.poll_transmit(&mut out);
    /// assert_eq!(out, b"\x88\x0f\x03\xe9shutting down");
    /// assert_eq!(server.state(), State::Closing);
    ///
    /// let mut answer = *b"\x88\x82\0\0\0\0\x03\xe9";
    /// let event = server.receive(&mut answer.as_mut_slice())?;
    /// assert!(matches!(event, Some(Event::Close(Some(close))) if close.code == CloseCode::GOING_AWAY));
    /// assert!(server.is_closed());
    /// # Ok::<(), tramline_websocket::Error>(())
    /// ```
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        match self.state {
            State::Open => self.state = State::Closing,
            State::PeerClosing => {}
            State::Closing | State::Closed => return,
        }
        self.owe().close = Some(close::payload(code, reason));
    }

    /// Appends what the machine itself owes to `out` and returns whether there was anything: the pong for the latest
    /// ping, then a Close.
    ///
    /// Of several pings that arrived before this call only the last is answered (RFC 6455 §5.5.3), so a flood of pings
    /// makes nothing grow. Call it after [`receive`](Self::receive), after [`close`](Self::close), and after an error.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(owed) = self.owed.take() else {
            return false;
        };
        if let Some(payload) = owed.pong {
            self.put_frame(Kind::Pong, false, &payload, out);
        }
        if let Some(payload) = owed.close {
            self.put_frame(Kind::Close, false, &payload, out);
            if self.state == State::PeerClosing {
                self.state = State::Closed;
            }
        }
        true
    }

    /// Returns whether [`poll_transmit`](Self::poll_transmit) has something to append.
    #[inline]
    #[must_use]
    pub fn has_transmit(&self) -> bool {
        self.owed.is_some()
    }

    /// Returns how far the closing handshake has come.
    #[inline]
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns whether both ends are done and TCP should end: the same as [`State::Closed`].
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Returns the bytes received of a head, a control frame or a message that is still incomplete.
    ///
    /// Zero between messages. What is allocated for them is at most twice as much and 4 KiB.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.head.len()
            + self.control.len()
            + self.message.as_ref().map_or(0, |message| message.held())
    }

    /// Hands out what has been received of a message that is still incomplete, for applications that want its parts as
    /// they arrive and not as a whole; `None` if there is nothing new.
    ///
    /// Call it when [`receive`](Self::receive) has used up its input. The event that `receive` gives at the message's end
    /// then holds the rest, which may be empty. Text is cut between characters. How the peer cut its message into frames
    /// does not show: proxies may cut it otherwise. What was handed out still counts for the limits of
    /// [`Config`](crate::Config).
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
            state: State::Open,
        }
    }

    fn owe(&mut self) -> &mut Owed {
        self.owed.get_or_insert_default()
    }

    /// The peer closed: answers with its own code, unless our Close is on its way already (§5.5.1).
    fn peer_closed(&mut self, frame: Option<&CloseFrame>) {
        let answer = frame.map_or_else(Vec::new, |frame| close::payload(frame.code, ""));
        self.end(answer);
    }

    /// The peer broke a rule: tells it which, and stops listening (§7.1.7).
    fn fail(&mut self, error: &Error) {
        self.end(close::payload(error.close_code(), &error.to_string()));
    }

    /// Nothing more is heard from the peer: lets go of what it began, and sees to it that one Close goes out.
    fn end(&mut self, close: Vec<u8>) {
        self.frame = None;
        self.message = None;
        self.deflate = None;
        self.control = Vec::new();
        self.head = PartialHead::default();
        self.state = match self.state {
            State::Open => {
                self.owe().close = Some(close);
                State::PeerClosing
            }
            // Our Close waits: it is the answer to the peer's too.
            State::Closing if self.owed.is_some() => State::PeerClosing,
            State::Closing => State::Closed,
            ended @ (State::PeerClosing | State::Closed) => ended,
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

/// The masks of a client; idle in a server.
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

/// Leaves out payloads and mask keys.
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
