//! Where a server is: a URL taken apart.

use std::fmt;

use http::Uri;

use crate::error::Error;

/// The parts of a URL.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For the `Host` header.
    pub(crate) authority: String,
    /// With the query. It may contain a token.
    pub(crate) path: String,
}

/// What is spoken over the byte stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// STOMP without a framing of its own.
    Stomp,
    WebSocket,
    SockJs,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        // The URL is not repeated in errors: its query may contain a token.
        let uri: Uri = url.parse().map_err(|error| {
            Error::invalid(format!("not a URL such as ws://host:port/path ({error})"))
        })?;
        let scheme = uri.scheme_str().ok_or_else(|| {
            Error::invalid("the URL has no scheme; begin it with stomp://, ws:// or http://")
        })?;
        let (protocol, tls, default_port) = match scheme {
            "stomp" => (Protocol::Stomp, false, STOMP_PORT),
            "stomps" => (Protocol::Stomp, true, STOMPS_PORT),
            "ws" => (Protocol::WebSocket, false, 80),
            "wss" => (Protocol::WebSocket, true, 443),
            "http" => (Protocol::SockJs, false, 80),
            "https" => (Protocol::SockJs, true, 443),
            scheme => {
                return Err(Error::invalid(format!(
                    "the scheme `{scheme}` is not supported; use stomp://, stomps://, ws://, wss://, or http:// and \
                     https:// for SockJS"
                )));
            }
        };
        let authority = uri
            .authority()
            .filter(|authority| !authority.host().is_empty())
            .ok_or_else(|| Error::invalid("the URL has no host"))?;
        if authority.as_str().contains('@') {
            return Err(Error::invalid(
                "the URL has a user name or password; use `login`, or `http_header` with \
                 `authorization`",
            ));
        }
        let path = uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string);
        if protocol == Protocol::Stomp && !matches!(&*path, "" | "/") {
            return Err(Error::invalid(
                "a stomp:// URL has no path; name a virtual host with `Connect::host`",
            ));
        }
        Ok(Self {
            protocol,
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            authority: authority.to_string(),
            path,
        })
    }

    /// The same server with another path, for WebSocket.
    pub(crate) fn websocket(&self, path: String) -> Self {
        Self {
            protocol: Protocol::WebSocket,
            path,
            ..self.clone()
        }
    }
}

impl fmt::Display for Address {
    /// Without path and query, which may contain a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.protocol, self.tls) {
            (Protocol::Stomp, false) => "stomp",
            (Protocol::Stomp, true) => "stomps",
            (Protocol::WebSocket, false) => "ws",
            (Protocol::WebSocket, true) => "wss",
            (Protocol::SockJs, false) => "http",
            (Protocol::SockJs, true) => "https",
        };
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

/// The port of STOMP brokers.
const STOMP_PORT: u16 = 61613;

/// The port of STOMP over TLS, as RabbitMQ has it.
const STOMPS_PORT: u16 = 61614;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let address = Address::parse("ws://[::1]:9000/chat?room=1").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("::1", 9000));
        assert_eq!(address.authority, "[::1]:9000");
        assert_eq!(address.path, "/chat?room=1");
        assert_eq!(address.to_string(), "ws://[::1]:9000");

        for (url, shown) in [
            ("ws://example", "ws://example:80"),
            ("wss://example/ws?token=secret", "wss://example:443"),
            ("stomp://example", "stomp://example:61613"),
            ("stomps://example:7/", "stomps://example:7"),
            ("http://example/sockjs", "http://example:80"),
            ("https://example/sockjs", "https://example:443"),
        ] {
            assert_eq!(Address::parse(url).unwrap().to_string(), shown);
        }
        assert_eq!(Address::parse("ws://example").unwrap().path, "/");
    }

    #[test]
    fn other_urls_are_refused_with_a_reason() {
        for (url, reason) in [
            ("tcp://example/", "the scheme `tcp` is not supported"),
            ("example.org", "the URL has no scheme"),
            ("/path", "the URL has no scheme"),
            ("ws://ann:secret@example/", "the URL has a user name"),
            ("stomp://example/vhost", "a stomp:// URL has no path"),
            ("ws:///path", "not a URL"),
            ("", "not a URL"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
