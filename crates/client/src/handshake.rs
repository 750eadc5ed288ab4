//! The opening handshake of a WebSocket, by an HTTP library.

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tramline_websocket::{accept_key, client_key};

use crate::address::Address;
use crate::error::Error;
use crate::stream::BoxStream;

/// Checks an HTTP header that the application adds.
pub(crate) fn http_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let bad = || Error::invalid(format!("`{name}` and its value are not an HTTP header"));
    let parsed: HeaderName = name.parse().map_err(|_| bad())?;
    let ours = [
        header::CONNECTION,
        header::UPGRADE,
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    if ours.contains(&parsed) || parsed.as_str().starts_with("sec-websocket-") {
        let reason = format!("the HTTP header `{parsed}` is the handshake's own");
        return Err(Error::invalid(reason));
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
    value.set_sensitive(parsed == header::AUTHORIZATION || parsed == header::COOKIE);
    Ok((parsed, value))
}

/// Requests a WebSocket with these sub-protocols. Returns the stream, and the bytes read beyond the handshake.
pub(crate) async fn shake_hands(
    io: BoxStream,
    address: &Address,
    protocols: &[&str],
    headers: Vec<(HeaderName, HeaderValue)>,
) -> Result<(BoxStream, Bytes), Error> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| std::io::Error::other(error.to_string()))?;
    let key = client_key(nonce);
    let request = request(address, &key, protocols, headers)?;

    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake(TokioIo::new(io))
        .await
        .map_err(failed)?;
    // This task ends with the response, or when this future and so `sender` is dropped.
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(failed)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(response).await);
    }
    check(&response, &key, protocols)?;
    let upgraded = hyper::upgrade::on(response).await.map_err(failed)?;
    let parts = upgraded
        .downcast::<TokioIo<BoxStream>>()
        .map_err(|_| Error::bad_handshake("the stream is not the one it began with"))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

fn request(
    address: &Address,
    key: &str,
    protocols: &[&str],
    headers: Vec<(HeaderName, HeaderValue)>,
) -> Result<Request<Empty<Bytes>>, Error> {
    let mut request = Request::get(&address.path)
        .header(header::HOST, &address.authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, key);
    if !protocols.is_empty() {
        request = request.header(header::SEC_WEBSOCKET_PROTOCOL, protocols.join(", "));
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request
        .body(Empty::new())
        .map_err(|error| Error::invalid(error.to_string()))
}

/// Checks the server's response (RFC 6455 §4.1).
fn check(response: &Response<Incoming>, key: &str, protocols: &[&str]) -> Result<(), Error> {
    let value = |name| {
        let value: Option<&HeaderValue> = response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    if !value(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(Error::bad_handshake("it upgrades to another protocol"));
    }
    let connection = response.headers().get_all(header::CONNECTION);
    let upgrades = connection
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if !upgrades {
        return Err(Error::bad_handshake("`Connection: Upgrade` is missing"));
    }
    if value(header::SEC_WEBSOCKET_ACCEPT) != accept_key(key) {
        return Err(Error::bad_handshake("it does not accept our key"));
    }
    if response
        .headers()
        .contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
    {
        return Err(Error::bad_handshake(
            "it uses an extension, none is offered",
        ));
    }
    // A server that names none may still speak STOMP; CONNECT negotiates the version.
    let chosen = value(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = protocols.iter().any(|one| one.eq_ignore_ascii_case(chosen));
    if response
        .headers()
        .contains_key(header::SEC_WEBSOCKET_PROTOCOL)
        && !offered
    {
        return Err(Error::bad_handshake(
            "it chose a sub-protocol we did not offer",
        ));
    }
    Ok(())
}

/// Returns the error for a response of another status than expected.
pub(crate) async fn refused(response: Response<Incoming>) -> Error {
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT
        && let Some(Ok(frame)) = incoming.frame().await
    {
        if let Some(data) = frame.data_ref() {
            let room = BODY_LIMIT - body.len();
            body.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Error::Handshake { status, body }
}

pub(crate) fn failed(error: hyper::Error) -> Error {
    let network = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind);
    match network {
        Some(kind) => std::io::Error::new(kind, error).into(),
        None if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
            std::io::Error::new(std::io::ErrorKind::UnexpectedEof, error).into()
        }
        None => Error::bad_handshake(error.to_string()),
    }
}

/// The maximum response head in bytes: HTTP servers have the same limit for requests.
pub(crate) const HEAD_LIMIT: usize = 16 * 1024;

/// The maximum of a refusal's body that is kept, in bytes: enough for its text, not for a whole HTML page.
const BODY_LIMIT: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_handshake_are_ours() {
        assert!(http_header("Origin", "http://example").is_ok());
        for (name, value) in [
            ("Sec-WebSocket-Key", "x"),
            ("Upgrade", "x"),
            ("a b", "x"),
            ("a", "x\r\nb: c"),
        ] {
            assert!(http_header(name, value).is_err(), "{name}");
        }
    }
}
