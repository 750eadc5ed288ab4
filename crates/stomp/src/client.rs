use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;

pub use self::{
    config::ClientConfig,
    event::{ClientError, ClientEvent, Connected},
    message::{Delivery, Message, NotAcknowledgeable},
};
use crate::ack_mode::AckMode;
use crate::command::Command;
use crate::decoder::{Decoded, Decoder};
use crate::frame::Frame;
use crate::headers::Headers;
use crate::heart_beat::{HeartBeat, InvalidHeartBeat, Margins};
use crate::version::Version;
use crate::{
    heart_beat::{Due, Timers},
    outgoing::Outgoing,
    text::excerpt,
};

mod config;
mod event;
mod message;

/// The client's side of one STOMP session.
///
/// It works like [`ServerConnection`](crate::ServerConnection): after every call, poll events and transmits until both
/// return `None`, and arm a timer for [`next_timeout`](Self::next_timeout). CONNECT is queued from the start. Frames
/// sent before [`ClientEvent::Connected`] wait for it, because the version decides how a frame is written.
///
/// # Example: subscribe, and leave
///
/// ```
/// use std::time::Instant;
/// use tramline_stomp::{AckMode, Bytes, ClientConfig, ClientConnection, ClientEvent, Headers};
///
/// let now = Instant::now();
/// let mut client = ClientConnection::new(ClientConfig::new("example"), now);
/// assert!(client.poll_transmit().unwrap().starts_with(b"CONNECT\naccept-version:1.0,1.1,1.2\n"));
///
/// client.receive(Bytes::from_static(b"CONNECTED\nversion:1.2\n\n\0"), now);
/// assert!(matches!(client.poll_event(), Some(ClientEvent::Connected(_))));
///
/// let id = client.subscribe("/topic/a", AckMode::Auto, Headers::new(), None);
/// assert_eq!(client.poll_transmit().unwrap(), "SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
///
/// client.unsubscribe(&id, None);
/// client.disconnect(Some("bye"));
/// assert_eq!(client.poll_transmit().unwrap(), "UNSUBSCRIBE\nid:0\n\n\0");
/// assert_eq!(client.poll_transmit().unwrap(), "DISCONNECT\nreceipt:bye\n\n\0");
/// ```
///
/// # Example: consume a message and reply in one transaction
///
/// ```
/// # use std::time::Instant;
/// # use tramline_stomp::{AckMode, Bytes, ClientConfig, ClientConnection, ClientEvent, Headers};
/// # let now = Instant::now();
/// # let mut client = ClientConnection::new(ClientConfig::new("example"), now);
/// # client.poll_transmit();
/// # client.receive(Bytes::from_static(b"CONNECTED\nversion:1.2\n\n\0"), now);
/// # client.poll_event();
/// client.subscribe("/queue/jobs", AckMode::ClientIndividual, Headers::new(), None);
/// # client.poll_transmit();
/// client.receive(
///     Bytes::from_static(
///         b"MESSAGE\nsubscription:0\nack:0-1\nmessage-id:m\ndestination:/queue/jobs\n\njob\0",
///     ),
///     now,
/// );
/// let Some(ClientEvent::Message(message)) = client.poll_event() else { panic!() };
///
/// let transaction = client.begin(None);
/// client.send_in(&transaction, "/queue/done", Headers::new(), "job", None);
/// client.ack_in(&transaction, &message, Headers::new(), None)?;
/// client.commit(&transaction, Some("both"));
///
/// assert_eq!(client.poll_transmit().unwrap(), "BEGIN\ntransaction:0\n\n\0");
/// assert_eq!(
///     client.poll_transmit().unwrap(),
///     "SEND\ndestination:/queue/done\ntransaction:0\ncontent-length:3\n\njob\0",
/// );
/// assert_eq!(client.poll_transmit().unwrap(), "ACK\nid:0-1\ntransaction:0\n\n\0");
/// assert_eq!(client.poll_transmit().unwrap(), "COMMIT\ntransaction:0\nreceipt:both\n\n\0");
/// # Ok::<(), tramline_stomp::NotAcknowledgeable>(())
/// ```
#[derive(Debug)]
pub struct ClientConnection {
    offered: Vec<Version>,
    heart_beat: HeartBeat,
    decoder: Decoder,
    timers: Timers,
    outgoing: Outgoing,
    /// Frames that wait for CONNECTED.
    waiting: Vec<Frame>,
    next_subscription: u64,
    next_transaction: u64,
    /// A failure that `poll_event` has not yet returned.
    failure: Option<Box<ClientError>>,
    state: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    Connected,
    Failed,
}

impl ClientConnection {
    /// Creates a connection whose stream begins now, with CONNECT queued.
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        let mut decoder = Decoder::new(config.limits);
        // An ERROR may come instead of CONNECTED; it is decoded as the highest offered version.
        let best = config.versions.iter().copied().max();
        decoder.set_version(best.unwrap_or(Version::V1_0));
        let mut connection = Self {
            heart_beat: config.heart_beat,
            decoder,
            timers: Timers::new(now),
            outgoing: Outgoing::default(),
            waiting: Vec::new(),
            next_subscription: 0,
            next_transaction: 0,
            failure: None,
            state: Phase::Connecting,
            offered: Vec::new(),
        };
        let (connect, offered) = connect(config);
        connection.write(&connect);
        connection.offered = offered;
        connection
    }

    /// Takes bytes from the server, cut anywhere. Any byte shows that the server is alive.
    pub fn receive(&mut self, bytes: Bytes, now: Instant) {
        self.timers.read(now);
        self.decoder.feed(bytes);
    }

    /// Returns the server's next event, or `None` until more is received.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        if let Some(error) = self.failure.take() {
            return Some(ClientEvent::Failed(*error));
        }
        while self.state != Phase::Failed {
            match self.decoder.next() {
                Ok(None) => return None,
                Ok(Some(Decoded::HeartBeat)) => {}
                Ok(Some(Decoded::Frame(frame))) => {
                    return Some(self.frame(frame).unwrap_or_else(|error| self.failed(error)));
                }
                Err(error) => return Some(self.failed(error.into())),
            }
        }
        None
    }

    /// Queues SEND: `destination`, `receipt`, then the `headers`.
    pub fn send(
        &mut self,
        destination: &str,
        headers: Headers,
        body: impl Into<Bytes>,
        receipt: Option<&str>,
    ) {
        let frame = Frame::new(Command::Send).header(name("destination"), destination);
        self.queue(with(frame, receipt, headers).body(body));
    }

    /// Like [`send`](Self::send), in an open transaction: the message is sent at its [`commit`](Self::commit).
    pub fn send_in(
        &mut self,
        transaction: &str,
        destination: &str,
        headers: Headers,
        body: impl Into<Bytes>,
        receipt: Option<&str>,
    ) {
        let frame = Frame::new(Command::Send)
            .header(name("destination"), destination)
            .header(name("transaction"), transaction);
        self.queue(with(frame, receipt, headers).body(body));
    }

    /// Queues SUBSCRIBE: `id`, `destination`, `ack` unless it is [`AckMode::Auto`], `receipt`, then the `headers`.
    /// Returns the id, which is not reused in this connection.
    ///
    /// In the other modes [`ack`](Self::ack) or [`nack`](Self::nack) each message or, with [`AckMode::Client`], one now
    /// and then: it counts for those before it.
    pub fn subscribe(
        &mut self,
        destination: &str,
        ack: AckMode,
        headers: Headers,
        receipt: Option<&str>,
    ) -> ByteString {
        let id = ByteString::from(self.next_subscription.to_string());
        self.next_subscription += 1;
        let frame = Frame::new(Command::Subscribe)
            .header(name("id"), id.clone())
            .header(name("destination"), destination);
        let frame = match ack {
            AckMode::Auto => frame,
            _ => frame.header(name("ack"), name(ack.as_str())),
        };
        self.queue(with(frame, receipt, headers));
        id
    }

    /// Queues ACK for a message, given as [`&Message`](Message) or [`Delivery`]: it is consumed.
    ///
    /// The frame refers to the message as the negotiated version requires: 1.2 by the header `id`, 1.1 by
    /// `subscription` and `message-id`, 1.0 by `message-id`. Then come `receipt` and the `headers`.
    ///
    /// # Errors
    ///
    /// Nothing is queued if the message needs no ACK; see [`NotAcknowledgeable`].
    pub fn ack(
        &mut self,
        message: impl Into<Delivery>,
        headers: Headers,
        receipt: Option<&str>,
    ) -> Result<(), NotAcknowledgeable> {
        self.acknowledge(Command::Ack, &message.into(), None, headers, receipt)
    }

    /// Queues NACK for a message: it is not consumed, and the server may deliver it again, to this client or another.
    /// Otherwise like [`ack`](Self::ack).
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack), and always in a 1.0 session.
    pub fn nack(
        &mut self,
        message: impl Into<Delivery>,
        headers: Headers,
        receipt: Option<&str>,
    ) -> Result<(), NotAcknowledgeable> {
        self.acknowledge(Command::Nack, &message.into(), None, headers, receipt)
    }

    /// Like [`ack`](Self::ack), in an open transaction: if that is aborted, the message waits for its ACK as before.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn ack_in(
        &mut self,
        transaction: &str,
        message: impl Into<Delivery>,
        headers: Headers,
        receipt: Option<&str>,
    ) -> Result<(), NotAcknowledgeable> {
        let within = Some(transaction);
        self.acknowledge(Command::Ack, &message.into(), within, headers, receipt)
    }

    /// Like [`nack`](Self::nack), in an open transaction.
    ///
    /// # Errors
    ///
    /// As [`nack`](Self::nack).
    pub fn nack_in(
        &mut self,
        transaction: &str,
        message: impl Into<Delivery>,
        headers: Headers,
        receipt: Option<&str>,
    ) -> Result<(), NotAcknowledgeable> {
        let within = Some(transaction);
        self.acknowledge(Command::Nack, &message.into(), within, headers, receipt)
    }

    /// Queues BEGIN. Returns the transaction's id, which is not reused in this connection.
    ///
    /// Its messages and acknowledgements take effect at its [`commit`](Self::commit), all or none. The end of a session
    /// aborts its open transactions.
    pub fn begin(&mut self, receipt: Option<&str>) -> ByteString {
        let id = ByteString::from(self.next_transaction.to_string());
        self.next_transaction += 1;
        self.transaction(Command::Begin, &id, receipt);
        id
    }

    /// Queues COMMIT; once a requested receipt arrives, the whole transaction is done.
    pub fn commit(&mut self, transaction: &str, receipt: Option<&str>) {
        self.transaction(Command::Commit, transaction, receipt);
    }

    /// Queues ABORT: the transaction has no effect.
    pub fn abort(&mut self, transaction: &str, receipt: Option<&str>) {
        self.transaction(Command::Abort, transaction, receipt);
    }

    /// Queues UNSUBSCRIBE. Messages that are on their way still arrive.
    pub fn unsubscribe(&mut self, id: &str, receipt: Option<&str>) {
        self.unsubscribe_with(id, Headers::new(), receipt);
    }

    /// Like [`unsubscribe`](Self::unsubscribe), with more headers: `durable:true` ends a durable subscription for good.
    pub fn unsubscribe_with(&mut self, id: &str, headers: Headers, receipt: Option<&str>) {
        let frame = Frame::new(Command::Unsubscribe).header(name("id"), id);
        self.queue(with(frame, receipt, headers));
    }

    /// Queues DISCONNECT. A requested receipt confirms that the server has read everything (STOMP 1.2, "DISCONNECT").
    /// Send nothing afterwards.
    pub fn disconnect(&mut self, receipt: Option<&str>) {
        let frame = Frame::new(Command::Disconnect);
        self.queue(with(frame, receipt, Headers::new()));
    }

    /// Returns the next frame or heart-beat to write, encoded; one per call.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.outgoing.pop()
    }

    /// The negotiated version; before CONNECTED, the highest offered.
    pub fn version(&self) -> Version {
        self.decoder.version()
    }

    /// Returns true if CONNECTED has arrived and nothing has failed since.
    pub fn is_connected(&self) -> bool {
        self.state == Phase::Connected
    }

    /// Notes that something was written to the server, so that no heart-beat is needed.
    pub fn wrote(&mut self, now: Instant) {
        self.timers.wrote(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), unless something is read or written before. `None` before
    /// CONNECTED, and if no heart-beats were negotiated.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }

    /// Queues a heart-beat if one is due; or fails the session, if the server was silent for
    /// [`READ_TOLERANCE`](crate::READ_TOLERANCE) times the negotiated interval. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.timers.handle_timeout(now) {
            Due::Nothing => {}
            Due::HeartBeat => self.outgoing.push_heart_beat(),
            Due::PeerGone { silent_for } => {
                self.end();
                self.failure = Some(Box::new(ClientError::HeartBeatTimeout { silent_for }));
            }
        }
    }

    /// Pauses or resumes reading: while it is paused the server's silence does not count, and its time restarts at the
    /// resume.
    pub fn pause_reading(&mut self, paused: bool, now: Instant) {
        self.timers.pause_reading(paused, now);
    }

    fn frame(&mut self, frame: Frame) -> Result<ClientEvent, ClientError> {
        match (frame.command, self.state) {
            (Command::Error, _) => {
                self.end();
                Ok(ClientEvent::Error(frame))
            }
            (Command::Connected, Phase::Connecting) => self.connected(frame.headers),
            (Command::Message, Phase::Connected) => message::read(frame).map(ClientEvent::Message),
            (Command::Receipt, Phase::Connected) => {
                required(&frame, "receipt-id").map(ClientEvent::Receipt)
            }
            (command, _) => Err(ClientError::UnexpectedFrame { command }),
        }
    }

    fn connected(&mut self, mut headers: Headers) -> Result<ClientEvent, ClientError> {
        let named = headers.get("version").unwrap_or(Version::V1_0.as_str());
        let version = named
            .parse()
            .ok()
            .filter(|version| self.offered.contains(version))
            .ok_or_else(|| ClientError::VersionNotOffered {
                version: excerpt(named),
            })?;
        if version == Version::V1_0 {
            headers.trim_values();
        }
        let theirs = headers
            .get("heart-beat")
            .map_or(Ok(HeartBeat::NONE), str::parse)
            .map_err(|error: InvalidHeartBeat| ClientError::from(error))?;
        self.decoder.set_version(version);
        self.timers
            .agree(self.heart_beat, theirs, Margins::default());
        self.timers.start();
        self.state = Phase::Connected;
        for frame in std::mem::take(&mut self.waiting) {
            self.write(&frame);
        }
        let optional = |name: &str| headers.get_bytestring(name).cloned();
        Ok(ClientEvent::Connected(Connected {
            version,
            session: optional("session"),
            server: optional("server"),
            user_name: optional("user-name"),
            headers,
        }))
    }

    fn acknowledge(
        &mut self,
        command: Command,
        delivery: &Delivery,
        transaction: Option<&str>,
        headers: Headers,
        receipt: Option<&str>,
    ) -> Result<(), NotAcknowledgeable> {
        let mut frame = delivery.frame(command, self.version())?;
        if let Some(transaction) = transaction {
            frame = frame.header(name("transaction"), transaction);
        }
        self.queue(with(frame, receipt, headers));
        Ok(())
    }

    fn transaction(&mut self, command: Command, id: &str, receipt: Option<&str>) {
        let frame = Frame::new(command).header(name("transaction"), id);
        self.queue(with(frame, receipt, Headers::new()));
    }

    fn queue(&mut self, frame: Frame) {
        match self.state {
            Phase::Connecting => self.waiting.push(frame),
            Phase::Connected => self.write(&frame),
            Phase::Failed => {}
        }
    }

    fn write(&mut self, frame: &Frame) {
        self.outgoing.push(frame.to_bytes(self.decoder.version()));
    }

    fn failed(&mut self, error: ClientError) -> ClientEvent {
        self.end();
        ClientEvent::Failed(error)
    }

    fn end(&mut self) {
        self.state = Phase::Failed;
        self.decoder.finish();
        self.timers.stop();
        self.waiting = Vec::new();
    }
}

/// Returns the CONNECT frame, which takes the secrets out of the configuration, and the offered versions.
fn connect(config: ClientConfig) -> (Frame, Vec<Version>) {
    let mut offered = config.versions;
    offered.sort_unstable();
    offered.dedup();
    if offered.is_empty() {
        offered.push(Version::V1_0);
    }
    let accept: Vec<_> = offered.iter().map(|version| version.as_str()).collect();
    let mut frame = Frame::new(Command::Connect)
        .header(name("accept-version"), accept.join(","))
        .header(name("host"), config.host)
        .header(name("heart-beat"), config.heart_beat.to_string());
    for (header, value) in [("login", config.login), ("passcode", config.passcode)] {
        if let Some(value) = value {
            frame.headers.push(name(header), value);
        }
    }
    frame.headers.extend(config.headers);
    (frame, offered)
}

fn required(frame: &Frame, header: &'static str) -> Result<ByteString, ClientError> {
    let missing = ClientError::MissingHeader {
        command: frame.command,
        header,
    };
    frame.headers.get_bytestring(header).cloned().ok_or(missing)
}

fn with(mut frame: Frame, receipt: Option<&str>, headers: Headers) -> Frame {
    if let Some(receipt) = receipt {
        frame.headers.push(name("receipt"), receipt);
    }
    frame.headers.extend(headers);
    frame
}

fn name(name: &'static str) -> ByteString {
    ByteString::from_static(name)
}

#[cfg(test)]
mod tests;
