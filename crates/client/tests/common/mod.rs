//! A server scripted by the test, made of the server's halves of our machines.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};
use tramline_client::{Client, Connect, Headers};
use tramline_stomp::{
    HeartBeat, Send, ServerConfig, ServerConnection, ServerEvent, Subscribe, encode_message_tail,
};
use tramline_websocket::{CloseCode, Config, Connection, Event, OpCode, Role, accept_key};

pub struct Server<I> {
    pub io: I,
    pub stomp: ServerConnection,
    websocket: Option<Connection>,
    events: VecDeque<ServerEvent>,
    /// The Close frame, once it has arrived.
    pub closed: Option<Option<u16>>,
    /// Frames and heart-beats that the client sent, in bytes.
    pub received: usize,
}

/// Returns a client builder whose WebSocket goes to the returned stream.
pub fn websocket() -> (Connect, DuplexStream) {
    let (near, far) = duplex(PIPE);
    (Client::connect("ws://tramline.test/ws?a=b").over(near), far)
}

/// Returns a client and its server, connected by WebSocket.
pub async fn connected() -> (Client, Server<DuplexStream>) {
    let (connect, far) = websocket();
    let (client, server) = tokio::join!(async { connect.await.unwrap() }, async {
        let mut server = Server::websocket(far).await;
        server.accept().await;
        server
    });
    (client, server)
}

/// Returns a client and its server, connected by plain STOMP.
pub async fn connected_plainly() -> (Client, Server<DuplexStream>) {
    let (near, far) = duplex(PIPE);
    let mut server = Server::new(far, None);
    let (client, ()) = tokio::join!(async { Client::over(near).await.unwrap() }, server.accept());
    (client, server)
}

impl<I: AsyncRead + AsyncWrite + Unpin> Server<I> {
    /// A server without WebSocket, on which a session is open.
    pub async fn plain(io: I) -> Self {
        let mut server = Self::new(io, None);
        server.accept().await;
        server
    }

    pub fn new(io: I, websocket: Option<Connection>) -> Self {
        let config = ServerConfig::default()
            .with_server("test")
            .with_heart_beat(HeartBeat {
                send: 10_000,
                receive: 10_000,
            });
        Self {
            io,
            stomp: ServerConnection::new(Arc::new(config), now()),
            websocket,
            events: VecDeque::new(),
            closed: None,
            received: 0,
        }
    }

    /// Answers the WebSocket handshake.
    pub async fn websocket(mut io: I) -> Self {
        let request = head(&mut io).await;
        let key = header(&request, "sec-websocket-key");
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n",
            accept_key(key)
        );
        io.write_all(answer.as_bytes()).await.unwrap();
        let websocket = Connection::new(Role::Server, Config::default());
        Self::new(io, Some(websocket))
    }

    /// Expects CONNECT, and opens the session.
    pub async fn accept(&mut self) {
        let event = self.event().await;
        let Some(ServerEvent::Connect(_)) = event else {
            panic!("not CONNECT: {event:?}")
        };
        self.stomp.accept(Some("ann"), Some("s1"), now());
        self.flush().await;
    }

    /// Returns the client's next event; `None` at its Close or the end of the stream.
    pub async fn event(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some(event) = self.stomp.poll_event() {
                return Some(event);
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// Expects SUBSCRIBE, and confirms it; returns its slot.
    pub async fn subscribed(&mut self) -> u32 {
        let subscribe = self.subscribe().await;
        self.receipt(subscribe.receipt.as_deref().unwrap()).await;
        subscribe.slot
    }

    pub async fn subscribe(&mut self) -> Subscribe {
        match self.event().await {
            Some(ServerEvent::Subscribe(subscribe)) => subscribe,
            other => panic!("not SUBSCRIBE: {other:?}"),
        }
    }

    pub async fn send(&mut self) -> Send {
        match self.event().await {
            Some(ServerEvent::Send(send)) => send,
            other => panic!("not SEND: {other:?}"),
        }
    }

    pub async fn receipt(&mut self, id: &str) {
        self.stomp.receipt(id);
        self.flush().await;
    }

    /// Delivers a message.
    pub async fn message(&mut self, slot: u32, body: &str) {
        let mut frame = self.stomp.message_head(slot).unwrap().to_vec();
        let version = self.stomp.version();
        let headers = Headers::from_iter([("content-type", "text/plain")]);
        let body = body.as_bytes();
        encode_message_tail(version, "m1", "/topic/a", &headers, body, &mut frame);
        self.write(&frame).await;
    }

    /// Delivers a message that is to be acknowledged.
    pub async fn deliver(&mut self, slot: u32, tag: u32, body: &str) {
        let mut frame = Vec::new();
        assert!(self.stomp.tagged_head(slot, tag, 0, &mut frame));
        let version = self.stomp.version();
        let headers = Headers::new();
        let id = format!("m{tag}");
        encode_message_tail(
            version,
            &id,
            "/queue/a",
            &headers,
            body.as_bytes(),
            &mut frame,
        );
        self.write(&frame).await;
    }

    /// Delivers a message with one more header.
    pub async fn message_with(&mut self, slot: u32, name: &str, value: &str, body: &str) {
        let mut frame = self.stomp.message_head(slot).unwrap().to_vec();
        let version = self.stomp.version();
        let headers = Headers::from_iter([(name, value)]);
        encode_message_tail(
            version,
            "m1",
            "/topic/a",
            &headers,
            body.as_bytes(),
            &mut frame,
        );
        self.write(&frame).await;
    }

    pub async fn reply(&mut self, slot: u32, correlation: &str, body: &str) {
        self.message_with(slot, "correlation-id", correlation, body)
            .await;
    }

    /// Expects DISCONNECT, confirms it, and does the close handshake.
    pub async fn disconnected(mut self) {
        let event = self.event().await;
        let Some(ServerEvent::Disconnect(disconnect)) = event else {
            panic!("not DISCONNECT: {event:?}")
        };
        self.receipt(disconnect.receipt.as_deref().unwrap()).await;
        assert!(self.event().await.is_none());
        if self.websocket.is_some() {
            assert_eq!(self.closed, Some(Some(1000)));
        }
        self.flush().await;
    }

    pub async fn close(&mut self, code: CloseCode, reason: &str) {
        self.websocket.as_mut().unwrap().close(code, reason);
        self.flush().await;
    }

    /// Writes the machines' output.
    pub async fn flush(&mut self) {
        while let Some(frame) = self.stomp.poll_transmit() {
            self.write(&frame).await;
        }
        let mut out = Vec::new();
        if let Some(websocket) = &mut self.websocket {
            websocket.poll_transmit(&mut out);
        }
        self.io.write_all(&out).await.unwrap();
    }

    pub async fn write(&mut self, frame: &[u8]) {
        let mut out = Vec::new();
        match &mut self.websocket {
            Some(websocket) => websocket.send(OpCode::Text, frame, &mut out),
            None => out.extend_from_slice(frame),
        }
        self.io.write_all(&out).await.unwrap();
    }

    /// Reads once; returns false at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let len = self.io.read(&mut buffer).await.unwrap_or(0);
        let mut input = &mut buffer[..len];
        if input.is_empty() || self.closed.is_some() {
            return false;
        }
        let Some(websocket) = &mut self.websocket else {
            self.received += len;
            self.stomp.receive(Bytes::copy_from_slice(input), now());
            return true;
        };
        while let Some(event) = websocket.receive(&mut input).unwrap() {
            match event {
                Event::Text(text) => {
                    self.received += text.len();
                    self.stomp.receive(text.into_bytes(), now());
                }
                Event::Binary(bytes) => {
                    self.received += bytes.len();
                    self.stomp.receive(bytes, now());
                }
                Event::Close(frame) => {
                    self.closed = Some(frame.map(|frame| frame.code.as_u16()));
                    return false;
                }
                Event::Ping(_) | Event::Pong(_) => {}
            }
        }
        true
    }
}

/// Reads up to the blank line of an HTTP request.
pub async fn head(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

pub fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value.trim())
}

/// A time limit that no test reaches; with a paused clock it costs no time.
pub async fn soon<T>(future: impl IntoFuture<Output = T>) -> T {
    timeout(Duration::from_secs(60), future)
        .await
        .expect("it takes for ever")
}

pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The capacity in bytes of the pipe between the two.
pub const PIPE: usize = 16 * 1024;
