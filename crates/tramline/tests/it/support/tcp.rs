//! A client on a bare TCP connection, or on any stream.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::panic::Location;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tramline_stomp::{Command, Decoded, Decoder, Frame, Limits, Version};

use super::client::shown;
use super::server::Server;
use super::{FrameExt, within};

/// Speaks STOMP, or anything else it is told to say, without a transport around it.
pub(crate) struct Tcp<S = TcpStream> {
    pub(crate) stream: S,
    decoder: Decoder,
    heard: VecDeque<Heard>,
    transcript: String,
}

#[derive(Debug)]
enum Heard {
    Frame(Frame),
    HeartBeat,
    End(String),
}

impl Tcp {
    /// A connection, without a word yet.
    pub(crate) async fn open(server: &Server) -> Self {
        Self::on(TcpStream::connect(server.tcp).await.unwrap())
    }

    /// A connection over a socket that takes little before it is read.
    pub(crate) async fn open_narrow(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::on(socket.connect(server.tcp).await.unwrap())
    }

    /// An open STOMP 1.2 session.
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::open(server).await.connected().await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tcp<S> {
    pub(crate) fn on(stream: S) -> Self {
        let mut limits = Limits::default();
        limits.body = 16 * 1024 * 1024;
        Self {
            stream,
            decoder: Decoder::new(limits),
            heard: VecDeque::new(),
            transcript: String::new(),
        }
    }

    pub(crate) async fn connected(mut self) -> Self {
        self.send("CONNECT\naccept-version:1.2\n\n\0").await;
        self.expect("CONNECTED").await.has("version", "1.2");
        self
    }

    pub(crate) async fn send(&mut self, text: impl AsRef<[u8]>) {
        let bytes = text.as_ref();
        let _ = writeln!(self.transcript, ">> {}", shown(bytes));
        if let Err(error) = self.stream.write_all(bytes).await {
            let _ = writeln!(self.transcript, "(writing failed: {error})");
        }
    }

    /// Sends nothing more, and goes on listening.
    pub(crate) async fn finish(&mut self) {
        let _ = writeln!(self.transcript, ">> end of stream");
        self.stream.shutdown().await.unwrap();
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
            self.send(format!(
                "SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:sub-{id}\n\n\0"
            ))
            .await;
            let receipt = self.frame(at, "RECEIPT").await;
            receipt.has("receipt-id", &*format!("sub-{id}"));
        }
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
            if (frame.headers.get("destination"), frame.text()) != (Some(destination), body) {
                self.fail(at, &format!("a MESSAGE to {destination} saying {body:?}"));
            }
            frame
        }
    }

    /// Fails unless an ERROR with this `message` header comes next, and then the end.
    #[track_caller]
    pub(crate) fn expect_error<'a>(
        &'a mut self,
        message: &'a str,
    ) -> impl Future<Output = Frame> + 'a {
        let at = Location::caller();
        async move {
            let frame = self.frame(at, "ERROR").await;
            if frame.headers.get("message") != Some(message) {
                self.fail(at, &format!("an ERROR saying {message:?}"));
            }
            self.ended(at).await;
            frame
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

    /// Fails unless the server ends the stream next, in order; then so does the client.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move { self.ended(at).await }
    }

    /// The next frame.
    #[track_caller]
    pub(crate) fn expect_any(&mut self) -> impl Future<Output = Frame> {
        let at = Location::caller();
        async move {
            match self.next(at, "a frame").await {
                Heard::Frame(frame) => frame,
                _ => self.fail(at, "a frame"),
            }
        }
    }

    /// The next MESSAGE, or the ERROR that comes instead.
    #[track_caller]
    pub(crate) fn expect_message_or_error(&mut self) -> impl Future<Output = Result<Frame, Frame>> {
        let at = Location::caller();
        async move {
            match self.next(at, "a MESSAGE or an ERROR").await {
                Heard::Frame(frame) if frame.command == Command::Message => Ok(frame),
                Heard::Frame(frame) if frame.command == Command::Error => Err(frame),
                _ => self.fail(at, "a MESSAGE or an ERROR"),
            }
        }
    }

    async fn frame(&mut self, at: &'static Location<'static>, command: &str) -> Frame {
        loop {
            match self.next(at, command).await {
                Heard::HeartBeat => {}
                Heard::Frame(frame) if frame.command.as_str() == command => return frame,
                _ => self.fail(at, command),
            }
        }
    }

    async fn ended(&mut self, at: &'static Location<'static>) {
        match self.next(at, "the end of the stream").await {
            Heard::End(how) => assert_eq!(how, "end of stream", "{at}\n{}", self.transcript),
            _ => self.fail(at, "the end of the stream"),
        }
        // The server's socket waits for it.
        let _ = self.stream.shutdown().await;
    }

    fn fail(&self, at: &Location<'_>, expected: &str) -> ! {
        panic!(
            "{at}: expected {expected}\n--- transcript ---\n{}",
            self.transcript
        )
    }

    async fn next(&mut self, at: &'static Location<'static>, what: &str) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            let mut bytes = vec![0; 64 * 1024];
            let transcript = self.transcript.clone();
            let read = self.stream.read(&mut bytes);
            match within(at, what, || transcript, read).await {
                Ok(0) => self.hear(Heard::End("end of stream".into())),
                Ok(read) => self.decode(Bytes::copy_from_slice(&bytes[..read])),
                Err(error) => self.hear(Heard::End(error.to_string())),
            }
        }
    }

    fn decode(&mut self, bytes: Bytes) {
        self.decoder.feed(bytes);
        loop {
            match self.decoder.next() {
                Ok(None) => return,
                Ok(Some(Decoded::HeartBeat)) => self.hear(Heard::HeartBeat),
                Ok(Some(Decoded::Frame(frame))) => {
                    if frame.command == Command::Connected {
                        let version = frame.headers.get("version").unwrap();
                        self.decoder.set_version(version.parse().unwrap());
                    }
                    self.hear(Heard::Frame(frame));
                }
                Err(error) => panic!("the server broke STOMP: {error}\n{}", self.transcript),
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        let _ = match &heard {
            Heard::Frame(frame) => {
                let bytes = frame.to_bytes(Version::V1_0);
                writeln!(self.transcript, "<< {}", shown(&bytes))
            }
            other => writeln!(self.transcript, "<< {other:?}"),
        };
        self.heard.push_back(heard);
    }
}
