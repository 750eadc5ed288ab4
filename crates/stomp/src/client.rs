use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;

pub use self::{
    config::ClientConfig,
    event::{ClientError, ClientEvent, Connected, Message},
};
use crate::{
    Command, Decoded, Decoder, Frame, Headers, HeartBeat, InvalidHeartBeat, Version,
    heart_beat::{Due, Timers},
    outgoing::Outgoing,
    text::excerpt,
};

mod config;
mod event;

/// The client's side of one STOMP session.
///
/// It works as [`ServerConnection`](crate::ServerConnection) does: after every call, poll events
/// and transmits until both answer `None`, and arm a timer for
/// [`next_timeout`](Self::next_timeout). CONNECT is queued from the start. What is sent before
/// [`ClientEvent::Connected`] waits for it, because the version decides how a frame is written.
///
/// # Example: subscribe, and leave
///
/// ```
/// use std::time::Instant;
/// use tramline_stomp::{Bytes, ClientConfig, ClientConnection, ClientEvent, Headers};
///
/// let now = Instant::now();
/// let mut client = ClientConnection::new(ClientConfig::new("example"), now);
/// assert!(client.poll_transmit().unwrap().starts_with(b"CONNECT\naccept-version:1.0,1.1,1.2\n"));
///
/// client.receive(Bytes::from_static(b"CONNECTED\nversion:1.2\n\n\0"), now);
/// assert!(matches!(client.poll_event(), Some(ClientEvent::Connected(_))));
///
/// let id = client.subscribe("/topic/a", Headers::new(), None);
/// assert_eq!(client.poll_transmit().unwrap(), "SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0");
///
/// client.unsubscribe(&id, None);
/// client.disconnect(Some("bye"));
/// assert_eq!(client.poll_transmit().unwrap(), "UNSUBSCRIBE\nid:0\n\n\0");
/// assert_eq!(client.poll_transmit().unwrap(), "DISCONNECT\nreceipt:bye\n\n\0");
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
    /// A failure that no `poll_event` has told yet.
    failure: Option<Box<ClientError>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Connecting,
    Connected,
    Failed,
}

impl ClientConnection {
    /// A connection whose stream begins now, with CONNECT queued.
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        let mut decoder = Decoder::new(config.limits);
        // An ERROR may come instead of CONNECTED: it is read as the best version offered.
        let best = config.versions.iter().copied().max();
        decoder.set_version(best.unwrap_or(Version::V1_0));
        let mut connection = Self {
            heart_beat: config.heart_beat,
            decoder,
            timers: Timers::new(now),
            outgoing: Outgoing::default(),
            waiting: Vec::new(),
            next_subscription: 0,
            failure: None,
            state: State::Connecting,
            offered: Vec::new(),
        };
        let (connect, offered) = connect(config);
        connection.write(&connect);
        connection.offered = offered;
        connection
    }

    /// Takes bytes that the server sent, cut anywhere. Any byte shows that it lives.
    pub fn receive(&mut self, bytes: Bytes, now: Instant) {
        self.timers.read(now);
        self.decoder.feed(bytes);
    }

    /// What the server did next, or `None` until there is more to read.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        if let Some(error) = self.failure.take() {
            return Some(ClientEvent::Failed(*error));
        }
        while self.state != State::Failed {
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

    /// Queues SUBSCRIBE: `id`, `destination`, `receipt`, then the `headers`. Answers the id, which
    /// is not used twice in this connection.
    pub fn subscribe(
        &mut self,
        destination: &str,
        headers: Headers,
        receipt: Option<&str>,
    ) -> ByteString {
        let id = ByteString::from(self.next_subscription.to_string());
        self.next_subscription += 1;
        let frame = Frame::new(Command::Subscribe)
            .header(name("id"), id.clone())
            .header(name("destination"), destination);
        self.queue(with(frame, receipt, headers));
        id
    }

    /// Queues UNSUBSCRIBE. Messages that are on their way still come.
    pub fn unsubscribe(&mut self, id: &str, receipt: Option<&str>) {
        let frame = Frame::new(Command::Unsubscribe).header(name("id"), id);
        self.queue(with(frame, receipt, Headers::new()));
    }

    /// Queues DISCONNECT. With a receipt the server has read everything once it is answered
    /// (STOMP 1.2, "DISCONNECT"). Send nothing afterwards.
    pub fn disconnect(&mut self, receipt: Option<&str>) {
        let frame = Frame::new(Command::Disconnect);
        self.queue(with(frame, receipt, Headers::new()));
    }

    /// The next frame or heart-beat to write, encoded; one per call.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.outgoing.pop()
    }

    /// The version agreed on; before CONNECTED, the highest offered.
    pub fn version(&self) -> Version {
        self.decoder.version()
    }

    /// Whether CONNECTED has come and nothing has failed since.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Takes note that something was written to the server, so that no heart-beat is needed.
    pub fn wrote(&mut self, now: Instant) {
        self.timers.wrote(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), unless something is read or written
    /// before. `None` before CONNECTED, and if no heart-beats were agreed.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }

    /// Queues a heart-beat if one is due; or fails the session, if the server was silent for
    /// [`READ_TOLERANCE`](crate::READ_TOLERANCE) times the agreed interval. Early calls do
    /// nothing.
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

    /// Says that nothing is read from the server until further notice: its silence does not count
    /// then, and its time starts anew at the resume.
    pub fn pause_reading(&mut self, paused: bool, now: Instant) {
        self.timers.pause_reading(paused, now);
    }

    fn frame(&mut self, frame: Frame) -> Result<ClientEvent, ClientError> {
        match (frame.command, self.state) {
            (Command::Error, _) => {
                self.end();
                Ok(ClientEvent::Error(frame))
            }
            (Command::Connected, State::Connecting) => self.connected(frame.headers),
            (Command::Message, State::Connected) => message(frame),
            (Command::Receipt, State::Connected) => {
                required(&frame, "receipt-id").map(ClientEvent::Receipt)
            }
            (command, _) => Err(ClientError::UnexpectedFrame { command }),
        }
    }

    fn connected(&mut self, headers: Headers) -> Result<ClientEvent, ClientError> {
        let named = headers.get("version").unwrap_or(Version::V1_0.as_str());
        let version = named
            .parse()
            .ok()
            .filter(|version| self.offered.contains(version))
            .ok_or_else(|| ClientError::VersionNotOffered {
                version: excerpt(named),
            })?;
        let theirs = headers
            .get("heart-beat")
            .map_or(Ok(HeartBeat::NONE), str::parse)
            .map_err(|error: InvalidHeartBeat| ClientError::from(error))?;
        self.decoder.set_version(version);
        self.timers.agree(self.heart_beat, theirs);
        self.timers.start();
        self.state = State::Connected;
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

    fn queue(&mut self, frame: Frame) {
        match self.state {
            State::Connecting => self.waiting.push(frame),
            State::Connected => self.write(&frame),
            State::Failed => {}
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
        self.state = State::Failed;
        self.decoder.finish();
        self.timers.stop();
        self.waiting = Vec::new();
    }
}

/// The CONNECT frame, which takes the secrets out of the configuration, and the versions offered.
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

fn message(frame: Frame) -> Result<ClientEvent, ClientError> {
    Ok(ClientEvent::Message(Message {
        subscription: required(&frame, "subscription")?,
        message_id: required(&frame, "message-id")?,
        destination: required(&frame, "destination")?,
        headers: frame.headers,
        body: frame.body,
    }))
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
