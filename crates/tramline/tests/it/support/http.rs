//! HTTP/1.1 by hand: one request per connection, the answer taken apart.

use std::panic::Location;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Client, Listens, within};

/// The key of RFC 6455 §1.3, and what a server makes of it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request, with whatever headers it should have or lack.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// What follows the request without waiting for an answer.
    pipelined: Vec<u8>,
    receive_buffer: Option<u32>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            pipelined: Vec::new(),
            receive_buffer: None,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// A correct WebSocket handshake.
    pub(crate) fn upgrade(path: &str) -> Self {
        Self::get(path)
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Version", "13")
            .with("Sec-WebSocket-Key", KEY)
    }

    /// With one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// With this value in place of those the header had.
    pub(crate) fn replace(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// As the user that the login in front of the endpoint knows, `alice` or `alice:admin,auditor`.
    pub(crate) fn by_user(self, user: &str) -> Self {
        self.with("x-user", user)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Followed at once by these bytes.
    pub(crate) fn pipelined(mut self, bytes: &[u8]) -> Self {
        self.pipelined = bytes.to_vec();
        self
    }

    /// Over a socket that takes little before it is read.
    pub(crate) fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    fn to_bytes(&self, server: &impl Listens) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            head += &format!("Host: {}\r\n", server.address());
        }
        let framed = has("content-length") || has("transfer-encoding");
        if !framed && (self.method == "POST" || !self.body.is_empty()) {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        [head.as_bytes(), &self.body, &self.pipelined].concat()
    }

    /// Sends it and reads the head of the answer.
    #[track_caller]
    pub(crate) fn begin<S: Listens>(self, server: &S) -> impl Future<Output = Response> + use<S> {
        let at = Location::caller();
        let bytes = self.to_bytes(server);
        let address = server.address();
        async move {
            let exchange = async {
                let socket = TcpSocket::new_v4().unwrap();
                if let Some(bytes) = self.receive_buffer {
                    socket.set_recv_buffer_size(bytes).unwrap();
                }
                let mut stream = socket.connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                stream.write_all(&bytes).await.unwrap();
                let mut unread = Vec::new();
                let end = loop {
                    if let Some(end) = find(&unread, b"\r\n\r\n") {
                        break end;
                    }
                    let read = stream.read_buf(&mut unread).await.unwrap();
                    assert_ne!(read, 0, "{at}: no answer to {} {}", self.method, self.path);
                };
                let head = String::from_utf8(unread.drain(..end + 4).collect()).unwrap();
                Response::parse(at, &head, unread, stream)
            };
            within(at, "an HTTP answer", String::new, exchange).await
        }
    }

    /// Sends it and reads the whole answer.
    #[track_caller]
    pub(crate) fn send<S: Listens>(self, server: &S) -> impl Future<Output = Response> + use<S> {
        let begun = self.begin(server);
        async move {
            let mut response = begun.await;
            response.finish().await;
            response
        }
    }

    /// Opens a WebSocket, whose handshake must succeed.
    #[track_caller]
    pub(crate) fn open<S: Listens>(self, server: &S) -> impl Future<Output = Client> + use<S> {
        let at = Location::caller();
        let begun = self.begin(server);
        async move {
            let response = begun.await;
            assert_eq!(response.status, 101, "{at}: {response:?}");
            assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
            assert_eq!(response.header("upgrade"), Some("websocket"));
            assert_eq!(
                response.header("connection").map(str::to_ascii_lowercase),
                Some("upgrade".into())
            );
            Client::new(response)
        }
    }
}

/// An answer; its body as far as it was asked for.
#[derive(Debug)]
pub(crate) struct Response {
    at: &'static Location<'static>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) unread: Vec<u8>,
    pub(crate) stream: TcpStream,
}

impl Response {
    fn parse(
        at: &'static Location<'static>,
        head: &str,
        unread: Vec<u8>,
        stream: TcpStream,
    ) -> Self {
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Self {
            at,
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: String::new(),
            unread,
            stream,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| &**value);
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice in {self:?}");
        value
    }

    /// Fails unless these are status and body.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &str) -> &Self {
        assert_eq!((self.status, &*self.body), (status, body), "{self:?}");
        self
    }

    /// Fails unless the header has this value, or is absent.
    #[track_caller]
    pub(crate) fn has<'a>(&self, name: &str, value: impl Into<Option<&'a str>>) -> &Self {
        assert_eq!(self.header(name), value.into(), "{name} of {self:?}");
        self
    }

    async fn finish(&mut self) {
        if self.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                self.body += &chunk;
            }
            return;
        }
        let length = self
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            self.read_more().await;
        }
        self.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let line = loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                break String::from_utf8(self.unread.drain(..end + 2).collect()).unwrap();
            }
            self.read_more().await;
        };
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        while self.unread.len() < length + 2 {
            self.read_more().await;
        }
        let chunk: Vec<u8> = self.unread.drain(..length).collect();
        self.unread.drain(..2);
        (length > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    async fn read_more(&mut self) {
        let (stream, unread) = (&mut self.stream, &mut self.unread);
        let read = within(
            self.at,
            "the rest of an HTTP answer",
            || self.body.clone(),
            stream.read_buf(unread),
        );
        assert_ne!(
            read.await.unwrap(),
            0,
            "{}: the answer was cut off",
            self.at
        );
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
