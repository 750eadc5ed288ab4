//! SockJS as a client: a WebSocket where one passes, else two HTTP requests that look like a byte stream.
//!
//! Source: sockjs-protocol 0.3.3, "RawWebsocket", "XhrStreaming" and "XhrPolling".

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    time::timeout,
};
use tramline_sockjs::{PayloadLimits, frame::message_array, parse_messages};

use crate::address::Address;
use crate::error::Error;
use crate::handshake::{self, HEAD_LIMIT, failed, refused};
use crate::stream::{BoxStream, Dialer};

/// A SockJS endpoint.
pub(crate) struct Server {
    dialer: Dialer,
    address: Address,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// How messages are told apart in the stream of a session by HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// They are not: STOMP finds its frames by itself.
    Nowhere,
    /// Each has its length in front, four bytes with the highest first.
    ByLength,
}

/// How a session is carried.
pub(crate) enum Way {
    /// An upgraded stream, and what was read beyond its handshake.
    WebSocket(BoxStream, Bytes),
    /// Text that goes through HTTP requests.
    Http(BoxStream),
}

impl Server {
    pub(crate) fn new(
        dialer: &Dialer,
        address: &Address,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Self {
        Self {
            dialer: dialer.clone(),
            address: address.clone(),
            headers,
        }
    }

    /// Opens a session; the first request goes over `stream`. `max_message`: of one frame, in bytes.
    pub(crate) async fn open(
        self,
        stream: BoxStream,
        protocols: &[&str],
        max_message: usize,
        cut: Cut,
    ) -> Result<Way, Error> {
        let mut requests = self.requests();
        requests.connect(stream).await?;
        let began = Instant::now();
        let response = requests.send(Method::GET, "/info", Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response).await);
        }
        let info = body(response, INFO_LIMIT).await?;
        let patience = patience(began.elapsed());
        if allows_websocket(&info) {
            let address = self.address.websocket(self.path("/websocket"));
            match timeout(patience, self.websocket(&address, protocols)).await {
                Ok(Ok(way)) => return Ok(way),
                Ok(Err(error)) => {
                    tracing::debug!(target: "tramline::client", %error, "no WebSocket, so SockJS goes by HTTP");
                }
                Err(_) => {
                    tracing::debug!(target: "tramline::client", "no WebSocket in time, so SockJS goes by HTTP");
                }
            }
        }
        let lines = max_message.saturating_mul(6).saturating_add(LINE);
        for transport in ["/xhr_streaming", "/xhr"] {
            let url = session_url()?;
            let mut receiver = Receiver {
                requests: requests.again(),
                url: format!("{url}{transport}"),
                lines: None,
                limit: lines,
                cut,
            };
            match timeout(patience, receiver.opened()).await {
                Ok(Ok(())) => {
                    let sender = Sender {
                        requests: receiver.requests.again(),
                        url: format!("{url}/xhr_send"),
                        cut,
                    };
                    return Ok(Way::Http(carry(receiver, sender)));
                }
                Ok(Err(error)) if transport == "/xhr" => return Err(error),
                // What holds back a stream lets single responses pass.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(Error::Timeout {
            waiting_for: "SockJS to open",
            after: patience,
        })
    }

    async fn websocket(&self, address: &Address, protocols: &[&str]) -> Result<Way, Error> {
        let stream = self.dialer.open(&self.address).await?;
        let headers = self.headers.clone();
        let (stream, leading) = handshake::shake_hands(stream, address, protocols, headers).await?;
        Ok(Way::WebSocket(stream, leading))
    }

    fn requests(&self) -> Requests {
        Requests {
            dialer: self.dialer.clone(),
            address: self.address.clone(),
            headers: self.headers.clone(),
            cookies: Arc::default(),
            connection: None,
        }
    }

    fn path(&self, suffix: &str) -> String {
        join(&self.address.path, suffix)
    }
}

/// HTTP requests one after the other, over a connection that is kept as long as the server keeps it.
struct Requests {
    dialer: Dialer,
    address: Address,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// By these the requests of a session reach the same node. Shared by both directions.
    cookies: Arc<Mutex<Vec<(String, String)>>>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Requests {
    /// Requests over another connection, with the same cookies.
    fn again(&self) -> Self {
        Self {
            dialer: self.dialer.clone(),
            address: self.address.clone(),
            headers: self.headers.clone(),
            cookies: self.cookies.clone(),
            connection: None,
        }
    }

    async fn connect(&mut self, stream: BoxStream) -> Result<(), Error> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_LIMIT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        // It ends when its sender is dropped.
        tokio::spawn(connection);
        self.connection = Some(sender);
        Ok(())
    }

    async fn send(
        &mut self,
        method: Method,
        suffix: &str,
        payload: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        let kept = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !kept {
            let stream = self.dialer.open(&self.address).await?;
            self.connect(stream).await?;
        }
        let mut request = Request::builder()
            .method(method)
            .uri(join(&self.address.path, suffix))
            .header(header::HOST, &self.address.authority)
            .header(header::CONTENT_TYPE, "text/plain;charset=UTF-8");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let cookies = self.cookies.lock().clone();
        if !cookies.is_empty() {
            let pairs: Vec<_> = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        let request = request
            .body(Full::new(payload))
            .map_err(|error| Error::invalid(error.to_string()))?;
        let Some(connection) = &mut self.connection else {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        };
        let response = connection.send_request(request).await.map_err(failed)?;
        self.keep_cookies(&response);
        Ok(response)
    }

    fn keep_cookies(&self, response: &Response<Incoming>) {
        let set = response.headers().get_all(header::SET_COOKIE);
        for cookie in set.iter().filter_map(|value| value.to_str().ok()) {
            let pair = cookie.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            let mut cookies = self.cookies.lock();
            cookies.retain(|(known, _)| *known != name);
            if cookies.len() < COOKIES {
                cookies.push((name, value));
            }
        }
    }
}

/// The direction from the server.
struct Receiver {
    requests: Requests,
    url: String,
    lines: Option<Lines>,
    /// The maximum of a frame, in bytes.
    limit: usize,
    cut: Cut,
}

impl Receiver {
    /// Waits for the open frame.
    async fn opened(&mut self) -> Result<(), Error> {
        match self.frame().await?.as_slice() {
            b"o" => Ok(()),
            other => Err(not_sockjs(other)),
        }
    }

    /// Writes the server's messages until it ends the session; returns the reason.
    async fn run(mut self, mut to: impl AsyncWrite + Unpin) -> Error {
        loop {
            let frame = match self.frame().await {
                Ok(frame) => frame,
                Err(error) => return error,
            };
            let mut limits = PayloadLimits::default();
            limits.bytes = self.limit;
            limits.messages = usize::MAX;
            match frame.split_first() {
                Some((b'a', messages)) => {
                    let Ok(messages) = parse_messages(messages, &limits) else {
                        return not_sockjs(&frame);
                    };
                    for message in messages {
                        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
                        if self.cut == Cut::ByLength && to.write_u32(length).await.is_err() {
                            return Error::Disconnected;
                        }
                        if to.write_all(message.as_bytes()).await.is_err() {
                            return Error::Disconnected;
                        }
                    }
                }
                Some((b'c', close)) => return closed(close).unwrap_or_else(|| not_sockjs(&frame)),
                Some((b'h', _)) => {}
                Some((b'o', [])) => {
                    // The server does not know the session any more, and opened another.
                    return Error::ClosedByServer {
                        code: Some(1006),
                        reason: "the server lost the session".into(),
                    };
                }
                _ => return not_sockjs(&frame),
            }
        }
    }

    /// Returns the next frame, after as many requests as it takes.
    async fn frame(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                none => {
                    let response = self.requests.send(Method::POST, &self.url, Bytes::new());
                    let response = response.await?;
                    if response.status() != StatusCode::OK {
                        return Err(refused(response).await);
                    }
                    none.insert(Lines {
                        body: response.into_body(),
                        buffer: Vec::new(),
                        searched: 0,
                    })
                }
            };
            match lines.next(self.limit).await? {
                // The prelude of a stream, which makes browsers show it.
                Some(line) if line.len() == PRELUDE && line.iter().all(|byte| *byte == b'h') => {}
                Some(line) => return Ok(line),
                None => self.lines = None,
            }
        }
    }
}

/// The lines of a response that is still being sent.
struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// So many bytes of it have no line feed.
    searched: usize,
}

impl Lines {
    async fn next(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let found = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(at) = found.map(|at| at + self.searched) {
                let rest = self.buffer.split_off(at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > limit {
                return Err(Error::bad_handshake(format!(
                    "a frame of SockJS has more than {limit} bytes; see `Connect::max_body`"
                )));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(failed(error)),
                None => return Ok(None),
            }
        }
    }
}

/// The direction to the server.
struct Sender {
    requests: Requests,
    url: String,
    cut: Cut,
}

impl Sender {
    /// Sends what can be read, until its end.
    async fn run(mut self, mut from: impl AsyncRead + Unpin) -> Result<(), Error> {
        let mut text = Vec::new();
        loop {
            if self.cut == Cut::ByLength {
                let Ok(length) = from.read_u32().await else {
                    return Ok(());
                };
                text.resize(length as usize, 0);
                from.read_exact(&mut text).await?;
            } else {
                text.reserve(PIPE);
                if from.read_buf(&mut text).await? == 0 {
                    return Ok(());
                }
            }
            let complete = match std::str::from_utf8(&text) {
                Ok(text) => text.len(),
                // A character may be cut in two.
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => {
                    return Err(Error::invalid(
                        "SockJS carries text only, and a frame has bytes that are not UTF-8; encode the body, for \
                         example as base64, or connect by ws:// or stomp://",
                    ));
                }
            };
            let rest = text.split_off(complete);
            self.post(&text).await?;
            text = rest;
        }
    }

    async fn post(&mut self, text: &[u8]) -> Result<(), Error> {
        let mut payload = Vec::with_capacity(text.len() + 8);
        message_array(
            &mut payload,
            [std::str::from_utf8(text).unwrap_or_default()],
        );
        // The frame of a server without its letter.
        payload.remove(0);
        let response = self.requests.send(Method::POST, &self.url, payload.into());
        let response = response.await?;
        if !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::OK) {
            return Err(refused(response).await);
        }
        // Else the connection could not be used again.
        body(response, INFO_LIMIT).await?;
        Ok(())
    }
}

/// Makes a stream of both directions. A task of its own carries it, and ends with the session or when the stream is
/// dropped.
fn carry(receiver: Receiver, sender: Sender) -> BoxStream {
    let (near, far) = duplex(PIPE);
    let end = Arc::new(Mutex::new(None));
    let stream = HttpStream {
        pipe: near,
        end: end.clone(),
    };
    tokio::spawn(async move {
        let (from, to) = tokio::io::split(far);
        let mut receiving = std::pin::pin!(receiver.run(to));
        let reason = tokio::select! {
            reason = &mut receiving => reason,
            sent = sender.run(from) => match sent {
                Err(error) => error,
                Ok(()) => timeout(LINGER, receiving).await.unwrap_or(Error::Disconnected),
            },
        };
        *end.lock() = Some(reason);
        // With this the pipe ends, and its reader finds the reason.
    });
    Box::new(stream)
}

/// The near end of the pipe; its end of stream has a reason.
struct HttpStream {
    pipe: DuplexStream,
    end: Arc<Mutex<Option<Error>>>,
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.pipe).poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before {
            let reason = self.end.lock().take();
            if let Some(reason) = reason {
                return Poll::Ready(Err(io::Error::other(reason)));
            }
        }
        read
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }
}

/// Reads `[CODE,"REASON"]`.
fn closed(close: &[u8]) -> Option<Error> {
    let text = std::str::from_utf8(close).ok()?;
    let (code, reason) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(',')?;
    let reason = parse_messages(reason.as_bytes(), &PayloadLimits::default()).ok()?;
    Some(Error::ClosedByServer {
        code: Some(code.trim().parse().ok()?),
        reason: reason.into_iter().next()?,
    })
}

fn not_sockjs(frame: &[u8]) -> Error {
    let beginning = String::from_utf8_lossy(&frame[..frame.len().min(40)]).into_owned();
    Error::bad_handshake(format!("{beginning:?} is no frame of SockJS"))
}

/// Returns true unless the server's `info` says that WebSocket is off.
fn allows_websocket(info: &[u8]) -> bool {
    let info: String = String::from_utf8_lossy(info).split_whitespace().collect();
    !info.contains(r#""websocket":false"#)
}

/// How long a transport may take to open, by the time that `info` took: as sockjs-client has it, with a floor for TLS.
fn patience(info: Duration) -> Duration {
    (info * 4).max(Duration::from_secs(2))
}

/// Returns a new session's path below the endpoint: three digits for a load balancer, and 128 random bits.
fn session_url() -> Result<String, Error> {
    let mut random = [0; 18];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let (server, session) = random.split_at(2);
    let server = u16::from_be_bytes([server[0], server[1]]) % 1000;
    let session: String = session.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("/{server:03}/{session}"))
}

/// Adds to a path, in front of its query.
fn join(path: &str, suffix: &str) -> String {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (path, String::new()),
    };
    format!("{}{suffix}{query}", path.trim_end_matches('/'))
}

async fn body(response: Response<Incoming>, limit: usize) -> Result<Vec<u8>, Error> {
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(failed)?;
        body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if body.len() > limit {
            let reason = format!("a response of SockJS has more than {limit} bytes");
            return Err(Error::bad_handshake(reason));
        }
    }
    Ok(body)
}

/// The capacity of the pipe in bytes, each way: what waits for a request.
const PIPE: usize = 64 * 1024;

/// The maximum of `info`, in bytes: it has four short members.
const INFO_LIMIT: usize = 4 * 1024;

/// The maximum of a frame's headers and of what else may come in one line, in bytes, each of them escaped.
const LINE: usize = 512 * 1024;

/// The length of the line that comes first in a stream.
const PRELUDE: usize = 2048;

/// The maximum of cookies that are kept: those of load balancers are one or two.
const COOKIES: usize = 16;

/// How long the server has to end a session that we have left.
const LINGER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_has_code_and_reason() {
        let error = closed(br#"[1012,"retry-after-ms=0..1000"]"#).unwrap();
        assert!(
            matches!(&error, Error::ClosedByServer { code: Some(1012), reason } if reason == "retry-after-ms=0..1000"),
            "{error:?}"
        );
        for broken in ["", "[]", "[1]", "[x,\"y\"]", "[70000,\"y\"]", "[1,y]"] {
            assert!(closed(broken.as_bytes()).is_none(), "{broken}");
        }
    }

    #[test]
    fn paths_are_added_in_front_of_the_query() {
        assert_eq!(join("/ws", "/info"), "/ws/info");
        assert_eq!(join("/", "/info"), "/info");
        assert_eq!(join("/ws/?token=x", "/info"), "/ws/info?token=x");
    }

    #[test]
    fn only_a_clear_no_keeps_from_websocket() {
        assert!(allows_websocket(br#"{"websocket":true}"#));
        assert!(!allows_websocket(br#"{"entropy":1, "websocket" : false}"#));
        assert!(allows_websocket(b"{}"));
    }
}
