//! The opening handshake (RFC 6455 §4.2), and the way from the HTTP connection to the bare socket.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tramline_websocket::{Agreement, accept_key, is_valid_key};

use super::body::Body;
use super::refusals::{not_get, text};
use super::stack::Stack;
use crate::model::log::{Source, log_client};
use crate::net::compression;
#[cfg(feature = "serve")]
use crate::net::served::{Link, Served};
use crate::net::transport::io::{Io, prepare};
use crate::net::transport::messages::RawFraming;
use crate::net::transport::websocket::WebSocket;
use crate::net::wheel::Driver;

/// Checks a handshake; returns the response that accepts it, or one with the error.
#[expect(
    clippy::result_large_err,
    reason = "once per connection, and it is the answer"
)]
pub(super) fn check<S: Stack>(
    stack: &S,
    parts: &Parts,
) -> Result<(Response<Body>, Option<Agreement>), Response<Body>> {
    if parts.method != Method::GET {
        return Err(not_get());
    }
    if parts.version < Version::HTTP_11 {
        return Err(text(
            StatusCode::BAD_REQUEST,
            "a WebSocket handshake needs HTTP/1.1\n",
        ));
    }
    let headers = &parts.headers;
    let once = |name: &HeaderName| headers.get_all(name).iter().count() <= 1;
    if !once(&header::SEC_WEBSOCKET_KEY) || !once(&header::SEC_WEBSOCKET_VERSION) {
        return Err(text(
            StatusCode::BAD_REQUEST,
            "\"Sec-WebSocket-Key\" and \"Sec-WebSocket-Version\" must stand once\n",
        ));
    }
    let is_without = |name| !headers.contains_key(name);
    if !is_without(header::SEC_WEBSOCKET_KEY)
        && (is_without(header::UPGRADE) || is_without(header::CONNECTION))
    {
        return Err(text(
            StatusCode::BAD_REQUEST,
            "this handshake lost its \"Upgrade\" or \"Connection\" header on the way: a proxy in between has to pass both on\n",
        ));
    }
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err(text(
            StatusCode::BAD_REQUEST,
            "Can \"Upgrade\" only to \"WebSocket\".\n",
        ));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(text(
            StatusCode::BAD_REQUEST,
            "\"Connection\" must be \"upgrade\".\n",
        ));
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let mut response = text(
            StatusCode::UPGRADE_REQUIRED,
            "only WebSocket version 13 is spoken here\n",
        );
        response.headers_mut().insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
        return Err(response);
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| key.to_str().ok());
    let Some(key) = key.filter(|key| is_valid_key(key)) else {
        return Err(text(
            StatusCode::BAD_REQUEST,
            "\"Sec-WebSocket-Key\" must be 16 bytes in base64\n",
        ));
    };
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::try_from(accept_key(key));
    let agreement = stack.front().compression.negotiate(headers);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(agreement) = &agreement {
        compression::answer(agreement, headers);
    }
    Ok((response, agreement))
}

/// The answer where the web server keeps the connection.
pub(super) fn impossible<S: Stack>(
    stack: &S,
    parts: &Parts,
    transport: &'static str,
) -> Response<Body> {
    log_client!(
        ERROR if stack.may_log_request(parts),
        { stack = stack.name(), transport },
        "the web server does not let connections be upgraded",
        parts.uri.path()
    );
    let error = "this web server does not let connections be upgraded\n";
    text(StatusCode::INTERNAL_SERVER_ERROR, error)
}

/// The sub-protocols that a client offers, in its order.
pub(crate) fn offered_protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// Starts the session when the connection has left HTTP.
pub(super) fn start<S: Stack, F: RawFraming>(
    stack: Arc<S>,
    mut opening: S::Opening,
    connection: OnUpgrade,
    agreement: Option<Agreement>,
    framing: impl FnOnce(Instant) -> F + Send + 'static,
) {
    tokio::spawn(async move {
        let upgraded = match connection.await {
            Ok(upgraded) => upgraded,
            Err(error) if error.is_user() => {
                stack.counters().requests.increment();
                log_client!(
                    ERROR if stack.may_log(Source::default()),
                    { stack = stack.name() },
                    "the web server keeps connections that it has said to upgrade; with hyper, serve them by \
                     `serve_connection(..).with_upgrades()`",
                    error
                );
                return;
            }
            Err(error) => {
                log_client!(
                    DEBUG,
                    { stack = stack.name() },
                    "a connection was lost during its handshake",
                    error
                );
                return;
            }
        };
        let io = bare(upgraded, |socket| {
            let remote = socket.peer_addr().ok();
            S::connected(&mut opening, remote, socket.local_addr().ok());
            prepare(socket);
        });
        let session = run(stack, opening, io, agreement, framing);
        // A separate task: that of the handshake is larger, and its memory is freed for the next one.
        tokio::spawn(session);
    });
}

/// The session on a connection that has left HTTP.
pub(super) fn run<S: Stack, F: RawFraming>(
    stack: Arc<S>,
    opening: S::Opening,
    io: Io,
    agreement: Option<Agreement>,
    framing: impl FnOnce(Instant) -> F,
) -> impl Future<Output = ()> + Send + 'static {
    Driver::start(&stack);
    let (config, keep_alive) = stack.websocket();
    let framing = framing(stack.wheel().now());
    let config = (config, S::LIMITS_OF);
    let before_login = stack.before_login();
    let transport = WebSocket::new(io, config, before_login, agreement, framing, keep_alive);
    stack.session(opening, transport)
}

/// The socket below the HTTP connection, if there is one and HTTP left nothing unread; else its wrapper. `on_socket`
/// gets the socket in either case.
fn bare(upgraded: Upgraded, on_socket: impl FnOnce(&TcpStream)) -> Io {
    #[cfg(feature = "serve")]
    let upgraded = match upgraded.downcast::<TokioIo<Served>>() {
        Ok(parts) => {
            let (link, place) = parts.io.into_inner().into_parts();
            on_socket(link.socket());
            let is_empty = parts.read_buf.is_empty();
            return match link {
                Link::Plain(socket) if is_empty => Io::Served(Box::new((socket, place))),
                Link::Plain(socket) => behind((parts.read_buf, place), socket.into_split()),
                #[cfg(feature = "tls")]
                Link::Tls(stream) if is_empty => Io::Tls(Box::new((*stream, Some(place)))),
                #[cfg(feature = "tls")]
                Link::Tls(stream) => behind((parts.read_buf, place), tokio::io::split(stream)),
            };
        }
        Err(upgraded) => upgraded,
    };
    // Of axum's server, which finds out the version of HTTP first; and of hyper itself.
    let found = downcast::<TokioIo<TcpStream>>(upgraded).map(|parts| (parts.io, parts.read_buf));
    let found = found.or_else(|upgraded| {
        let parts = upgraded.downcast::<TokioIo<TcpStream>>();
        parts.map(|parts| (parts.io, parts.read_buf))
    });
    match found {
        Ok((io, read)) => {
            let socket = io.into_inner();
            on_socket(&socket);
            if read.is_empty() {
                return Io::Tcp(socket);
            }
            behind((read, ()), socket.into_split())
        }
        Err(upgraded) => Io::Other(Box::new(TokioIo::new(upgraded))),
    }
}

/// A socket behind bytes that HTTP has read, which keep what else there is of the connection.
fn behind<T: Send + Unpin + 'static>(
    read: (Bytes, T),
    (reader, writer): (
        impl AsyncRead + Send + Unpin + 'static,
        impl AsyncWrite + Send + Unpin + 'static,
    ),
) -> Io {
    struct Read<T>((Bytes, T));

    impl<T> AsRef<[u8]> for Read<T> {
        fn as_ref(&self) -> &[u8] {
            &self.0.0
        }
    }

    let reader = std::io::Cursor::new(Read(read)).chain(reader);
    Io::Other(Box::new(tokio::io::join(reader, writer)))
}
