//! A client whose tests read like a conversation.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::panic::Location;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tramline_stomp::{Command, Decoded, Decoder, Frame, Limits, Version};
use tramline_websocket::{CloseCode, Config, Connection, Deflate, Event, OpCode, Role};

use super::cut;
use super::http::{Request, Response};
use super::server::Server;

/// A WebSocket client that speaks STOMP, or anything else it is told to say.
pub(crate) struct Client {
    stream: TcpStream,
    machine: Connection,
    decoder: Decoder,
    /// Whether messages are taken for STOMP; off for SockJS frames.
    stomp: bool,
    /// What came behind the answer to the handshake.
    unread: Vec<u8>,
    heard: VecDeque<Heard>,
    transcript: String,
    /// Bytes read since the handshake.
    pub(crate) received: usize,
    pub(crate) subprotocol: Option<String>,
    /// What `$KEY` stands for in what is said and expected: the end of the session's ack tokens.
    key: String,
}

#[derive(Debug)]
enum Heard {
    Frame { frame: Frame, text: bool },
    HeartBeat,
    Message(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    End(String),
}

impl Client {
    pub(super) fn new(response: Response) -> Self {
        let subprotocol = response.header("sec-websocket-protocol").map(str::to_owned);
        let deflate = Deflate::default().with_above(0);
        let deflate = deflate.confirm(response.header("sec-websocket-extensions"));
        let deflate = deflate.expect("the server answers what was offered");
        let mut limits = Limits::default();
        limits.body = 16 * 1024 * 1024;
        let huge = Config::default()
            .with_max_message(64 * 1024 * 1024)
            .with_max_frame(64 * 1024 * 1024);
        Self {
            stream: response.stream,
            machine: match deflate {
                Some(agreement) => Connection::new(Role::Client, huge).with_deflate(agreement),
                None => Connection::new(Role::Client, huge),
            },
            received: 0,
            decoder: Decoder::new(limits),
            stomp: true,
            unread: response.unread,
            heard: VecDeque::new(),
            transcript: String::new(),
            subprotocol,
            key: String::new(),
        }
    }

    /// A WebSocket at `/ws`, without a word of STOMP yet.
    #[track_caller]
    pub(crate) fn open(server: &Server) -> impl Future<Output = Self> {
        Request::upgrade("/ws").open(server)
    }

    /// An open STOMP 1.2 session at `/ws`.
    #[track_caller]
    pub(crate) fn connect(server: &Server) -> impl Future<Output = Self> {
        let opened = Self::open(server);
        async move { opened.await.connected().await }
    }

    /// An open session of `user`, as in [`Request::by_user`].
    #[track_caller]
    pub(crate) fn connect_as(server: &Server, user: &str) -> impl Future<Output = Self> {
        let opened = Request::upgrade("/ws").by_user(user).open(server);
        async move { opened.await.connected().await }
    }

    /// An open session that is subscribed to `destinations`, with the ids `0`, `1`, …
    #[track_caller]
    pub(crate) fn subscribed<const N: usize>(
        server: &Server,
        destinations: [&'static str; N],
    ) -> impl Future<Output = Self> {
        let connected = Self::connect(server);
        async move {
            let mut client = connected.await;
            for (id, destination) in destinations.iter().enumerate() {
                client.subscribe(&id.to_string(), destination).await;
            }
            client
        }
    }

    /// The same, with STOMP 1.2 connected.
    pub(crate) async fn connected(mut self) -> Self {
        self.send("CONNECT\naccept-version:1.2\n\n\0").await;
        self.expect("CONNECTED").await.has("version", "1.2");
        self
    }

    /// Takes messages as they are from now on, for SockJS.
    pub(crate) fn without_stomp(mut self) -> Self {
        self.stomp = false;
        self
    }

    /// Subscribes, and waits until the server has it.
    #[track_caller]
    pub(crate) fn subscribe<'a>(
        &'a mut self,
        id: &'a str,
        destination: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            self.send(&format!(
                "SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:sub-{id}\n\n\0"
            ))
            .await;
            let receipt = self.frame(at, "RECEIPT").await;
            receipt.has("receipt-id", &*format!("sub-{id}"));
        }
    }

    /// Sends a text message.
    pub(crate) async fn send(&mut self, text: &str) {
        let text = &text.replace("$KEY", &self.key);
        let _ = writeln!(self.transcript, ">> {}", shown(text.as_bytes()));
        let mut out = Vec::new();
        self.machine.send(OpCode::Text, text.as_bytes(), &mut out);
        self.write(&out).await;
    }

    /// Sends a binary message.
    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        let _ = writeln!(self.transcript, ">> (binary) {}", shown(bytes));
        let mut out = Vec::new();
        self.machine.send(OpCode::Binary, bytes, &mut out);
        self.write(&out).await;
    }

    /// Sends one WebSocket frame, masked, with this first byte.
    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let _ = writeln!(self.transcript, ">> frame {first:#04x} {}", shown(payload));
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(0x80 | len as u8),
            len @ 126..=0xffff => {
                out.push(0x80 | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        // A mask of zeros is a mask.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(payload);
        self.write(&out).await;
    }

    /// Sends bytes that are no WebSocket frame, or not a whole one.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let _ = writeln!(self.transcript, ">> raw {}", shown(bytes));
        self.write(bytes).await;
    }

    pub(crate) async fn ping(&mut self, payload: &[u8]) {
        let mut out = Vec::new();
        self.machine.ping(payload, &mut out);
        self.write(&out).await;
    }

    /// Says goodbye.
    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let _ = writeln!(self.transcript, ">> close {code} {reason:?}");
        self.machine.close(CloseCode::new(code).unwrap(), reason);
        let mut out = Vec::new();
        self.machine.poll_transmit(&mut out);
        self.write(&out).await;
    }

    /// Goes away by a TCP reset, as when its process is killed with unread data.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    async fn write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes).await {
            let _ = writeln!(self.transcript, "(writing failed: {error})");
        }
    }

    /// Writes as much as the server takes within `patience`; gives how much that was.
    pub(crate) async fn flood(
        &mut self,
        message: &str,
        most: usize,
        patience: std::time::Duration,
    ) -> usize {
        let mut out = Vec::new();
        self.machine
            .send(OpCode::Text, message.as_bytes(), &mut out);
        let mut written = 0;
        while written < most {
            match tokio::time::timeout(patience, self.stream.write(&out[written % out.len()..]))
                .await
            {
                Ok(Ok(len)) => written += len,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        let _ = writeln!(
            self.transcript,
            ">> {written} bytes of {}",
            shown(message.as_bytes())
        );
        written
    }

    /// Fails unless a frame with this command comes next, heart-beats aside.
    #[track_caller]
    pub(crate) fn expect<'a>(&'a mut self, command: &'a str) -> impl Future<Output = Frame> + 'a {
        let at = Location::caller();
        async move { self.frame(at, command).await }
    }

    /// Fails unless a MESSAGE with this body comes next.
    #[track_caller]
    pub(crate) fn expect_message<'a>(
        &'a mut self,
        destination: &'a str,
        body: &'a str,
    ) -> impl Future<Output = Frame> + 'a {
        let at = Location::caller();
        async move {
            let frame = self.frame(at, "MESSAGE").await;
            let got = (frame.headers.get("destination"), frame.text());
            if got != (Some(destination), body) {
                self.fail(at, &format!("a MESSAGE to {destination} saying {body:?}"));
            }
            frame
        }
    }

    /// Fails unless an ERROR with this `message` header and body comes next, and then the close that goes with it.
    #[track_caller]
    pub(crate) fn expect_error<'a>(
        &'a mut self,
        message: &'a str,
        body: &'a str,
    ) -> impl Future<Output = Frame> + 'a {
        let at = Location::caller();
        async move {
            let frame = self.frame(at, "ERROR").await;
            let [message, body] = &[message, body].map(|text| text.replace("$KEY", &self.key));
            // Without more to say, the body has the message.
            let body = if body.is_empty() { message } else { body };
            let (message, body) = (message.as_str(), body.as_str());
            assert_eq!(
                (frame.headers.get("message"), frame.text()),
                (Some(message), body),
                "{at}\n{}",
                self.transcript
            );
            let reason = body;
            self.closed(at, 1002, &cut(reason)).await;
            frame
        }
    }

    /// Fails unless the server closes next, with this code and reason, and ends the stream after our answer.
    #[track_caller]
    pub(crate) fn expect_close<'a>(
        &'a mut self,
        code: u16,
        reason: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move { self.closed(at, code, reason).await }
    }

    /// Fails unless a SockJS frame, or any other text message, comes next; gives it.
    #[track_caller]
    pub(crate) fn expect_text(&mut self) -> impl Future<Output = String> {
        let at = Location::caller();
        async move {
            match self.next(at, "a text message").await {
                Heard::Message(text) => text,
                _ => self.fail(at, "a text message"),
            }
        }
    }

    /// Fails unless a binary message comes next; gives it.
    #[track_caller]
    pub(crate) fn expect_binary(&mut self) -> impl Future<Output = Vec<u8>> {
        let at = Location::caller();
        async move {
            match self.next(at, "a binary message").await {
                Heard::Binary(bytes) => bytes,
                _ => self.fail(at, "a binary message"),
            }
        }
    }

    /// The next message, text or binary.
    #[track_caller]
    pub(crate) fn expect_text_or_binary(
        &mut self,
    ) -> impl Future<Output = Result<String, Vec<u8>>> {
        let at = Location::caller();
        async move {
            match self.next(at, "a message").await {
                Heard::Message(text) => Ok(text),
                Heard::Binary(bytes) => Err(bytes),
                _ => self.fail(at, "a message"),
            }
        }
    }

    /// Fails unless the server closes after binary messages at most.
    #[track_caller]
    pub(crate) fn expect_close_after_binaries<'a>(
        &'a mut self,
        code: u16,
        reason: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            loop {
                match self.next(at, "a close").await {
                    Heard::Binary(_) => {}
                    Heard::Close(got) => {
                        assert_eq!(got, Some((code, super::cut(reason))), "{at}");
                        return;
                    }
                    _ => self.fail(at, "a close"),
                }
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect_heart_beat(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let heard = self.next(at, "a heart-beat").await;
            if !matches!(heard, Heard::HeartBeat) {
                self.fail(at, "a heart-beat");
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect_pong<'a>(
        &'a mut self,
        payload: &'a [u8],
    ) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            match self.next(at, "a pong").await {
                Heard::Pong(got) => assert_eq!(got, payload, "{at}"),
                _ => self.fail(at, "a pong"),
            }
        }
    }

    /// How many pongs come before this text.
    #[track_caller]
    pub(crate) fn pongs_until<'a>(&'a mut self, text: &'a str) -> impl Future<Output = usize> + 'a {
        let at = Location::caller();
        async move {
            let mut pongs = 0;
            loop {
                match self.next(at, "pongs and a text").await {
                    Heard::Pong(_) => pongs += 1,
                    Heard::Message(got) if got == text => return pongs,
                    _ => self.fail(at, "pongs and a text"),
                }
            }
        }
    }

    /// The next MESSAGE, or code and reason of the close that comes instead.
    #[track_caller]
    pub(crate) fn expect_message_or_close(
        &mut self,
    ) -> impl Future<Output = Result<Frame, (u16, String)>> {
        let at = Location::caller();
        async move {
            match self.next(at, "a MESSAGE or a close").await {
                Heard::Frame { frame, .. } if frame.command == Command::Message => Ok(frame),
                Heard::Close(Some(close)) => Err(close),
                _ => self.fail(at, "a MESSAGE or a close"),
            }
        }
    }

    /// The next frame, and whether it came in a text message.
    #[track_caller]
    pub(crate) fn expect_any(&mut self) -> impl Future<Output = (Frame, bool)> {
        let at = Location::caller();
        async move {
            match self.next(at, "a frame").await {
                Heard::Frame { frame, text } => (frame, text),
                _ => self.fail(at, "a frame"),
            }
        }
    }

    async fn frame(&mut self, at: &'static Location<'static>, command: &str) -> Frame {
        loop {
            match self.next(at, command).await {
                Heard::HeartBeat => {}
                Heard::Frame { frame, .. } if frame.command.as_str() == command => return frame,
                _ => self.fail(at, command),
            }
        }
    }

    async fn closed(&mut self, at: &'static Location<'static>, code: u16, reason: &str) {
        loop {
            match self.next(at, "a close").await {
                Heard::HeartBeat => {}
                Heard::Close(got) => {
                    let expected = (code != 1005).then(|| (code, reason.to_owned()));
                    assert_eq!(got, expected, "{at}\n{}", self.transcript);
                    break;
                }
                _ => self.fail(at, &format!("close {code} {reason:?}")),
            }
        }
        match self.next(at, "the end of the stream").await {
            Heard::End(how) => assert_eq!(how, "end of stream", "{at}\n{}", self.transcript),
            _ => self.fail(at, "the end of the stream"),
        }
        // The server ended TCP first, as it should; so does the client now.
        let _ = self.stream.shutdown().await;
    }

    fn fail(&self, at: &Location<'_>, expected: &str) -> ! {
        panic!(
            "{at}: expected {expected}\n--- transcript ---\n{}",
            self.transcript
        )
    }

    async fn next(&mut self, at: &'static Location<'static>, what: &str) -> Heard {
        let mut unread = std::mem::take(&mut self.unread);
        self.take(&mut unread);
        let wait = async {
            loop {
                if let Some(heard) = self.heard.pop_front() {
                    return heard;
                }
                let mut bytes = vec![0; 64 * 1024];
                let read = self.stream.read(&mut bytes).await;
                match read {
                    Ok(0) => self.hear(Heard::End("end of stream".into())),
                    Ok(read) => self.take(&mut bytes[..read]),
                    Err(error) => self.hear(Heard::End(error.to_string())),
                }
                let mut out = Vec::new();
                self.machine.poll_transmit(&mut out);
                self.write(&out).await;
            }
        };
        // The transcript is lent to `wait`, so it is fetched when that is over.
        match tokio::time::timeout(super::DEADLINE, wait).await {
            Ok(heard) => heard,
            Err(_) => self.fail(at, what),
        }
    }

    fn take(&mut self, mut bytes: &mut [u8]) {
        self.received += bytes.len();
        loop {
            match self.machine.receive(&mut bytes) {
                Ok(None) => return,
                Ok(Some(Event::Text(text))) if !self.stomp => {
                    self.hear(Heard::Message(text.to_string()));
                }
                Ok(Some(Event::Binary(bytes))) if !self.stomp => {
                    self.hear(Heard::Binary(bytes.to_vec()));
                }
                Ok(Some(Event::Text(text))) => self.decode(text.into_bytes(), true),
                Ok(Some(Event::Binary(bytes))) => self.decode(bytes, false),
                Ok(Some(Event::Ping(_))) => {}
                Ok(Some(Event::Pong(payload))) => self.hear(Heard::Pong(payload.to_vec())),
                Ok(Some(Event::Close(frame))) => self.hear(Heard::Close(
                    frame.map(|frame| (frame.code.as_u16(), frame.reason.to_string())),
                )),
                Err(error) => panic!("the server broke WebSocket: {error}\n{}", self.transcript),
            }
        }
    }

    fn decode(&mut self, bytes: bytes::Bytes, text: bool) {
        self.decoder.feed(bytes);
        let mut frames = 0;
        loop {
            match self.decoder.next() {
                Ok(None) => break,
                Ok(Some(Decoded::HeartBeat)) => self.hear(Heard::HeartBeat),
                Ok(Some(Decoded::Frame(frame))) => {
                    if frame.command == Command::Connected {
                        let version = frame.headers.get("version").unwrap();
                        let version: Version = version.parse().unwrap();
                        self.decoder.set_version(version);
                        self.key = ack_key(frame.headers.get("session").unwrap());
                    }
                    self.hear(Heard::Frame { frame, text });
                }
                Err(error) => panic!("the server broke STOMP: {error}\n{}", self.transcript),
            }
            frames += 1;
        }
        assert_eq!(
            (frames, self.decoder.buffered()),
            (1, 0),
            "one frame per WebSocket message\n{}",
            self.transcript
        );
    }

    fn hear(&mut self, heard: Heard) {
        let _ = match &heard {
            Heard::Frame { frame, text } => {
                let kind = if *text { "" } else { "(binary) " };
                writeln!(
                    self.transcript,
                    "<< {kind}{}",
                    shown(&frame.to_bytes(Version::V1_0))
                )
            }
            other => writeln!(self.transcript, "<< {other:?}"),
        };
        self.heard.push_back(heard);
    }
}

/// The end of the ack tokens of a session: FNV-1a of its name.
pub(crate) fn ack_key(session: &str) -> String {
    let hash = session.bytes().fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
    });
    hash.max(1).to_string()
}

/// Bytes for a transcript: bounded, and readable where they are text.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.char_indices().nth(300) {
        None => text,
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], bytes.len()),
    }
}

/// Asking frames.
pub(crate) trait FrameExt {
    fn has<'a>(&self, name: &str, value: impl Into<Option<&'a str>>) -> &Self;
    fn text(&self) -> &str;
}

impl FrameExt for Frame {
    /// Fails unless the header has this value, or is absent.
    #[track_caller]
    fn has<'a>(&self, name: &str, value: impl Into<Option<&'a str>>) -> &Self {
        assert_eq!(self.headers.get(name), value.into(), "{name} of {self:?}");
        self
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
