//! The connect options of a test's client.

use std::net::SocketAddr;

use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use tramline_stomp::{ClientConfig, HeartBeat, Version};

use crate::model::user::User;

/// A test client's connect options: its HTTP request, as far as sessions see it, and its CONNECT frame.
///
/// Given to the closure of [`TestMessaging::connect_with`](super::TestMessaging::connect_with). There is no HTTP in
/// between, so nothing checks the origin.
#[derive(Debug)]
#[must_use]
pub struct TestConnect {
    pub(super) request: Parts,
    pub(super) config: ClientConfig,
    pub(super) hears_rejections: bool,
}

impl TestConnect {
    /// An anonymous client that offers all versions of STOMP, and a heart-beat every 10 s, as browsers' clients do.
    pub(super) fn new() -> Self {
        let (request, ()) = Request::new(()).into_parts();
        let mut config = ClientConfig::new("localhost");
        // The client's limits have tests of their own; here only the server's limits apply.
        config.limits.body = usize::MAX;
        Self {
            request,
            config,
            hears_rejections: true,
        }
    }

    /// Sets the user that a middleware of the web framework would have found. Default: none.
    pub fn user(mut self, user: impl Into<User>) -> Self {
        self.request.extensions.insert(user.into());
        self
    }

    /// Sets the path of the HTTP request. Default `/`.
    ///
    /// # Panics
    ///
    /// If it is invalid.
    #[track_caller]
    pub fn path(mut self, path: &str) -> Self {
        match path.parse::<Uri>() {
            Ok(uri) => self.request.uri = uri,
            Err(error) => panic!("{path:?} is no path of a request: {error}"),
        }
        self
    }

    /// Adds a header of the HTTP request: a session keeps those that are named in
    /// [`keep_headers`](crate::MessagingBuilder::keep_headers). Default: none.
    ///
    /// # Panics
    ///
    /// If name or value cannot stand in a request.
    #[track_caller]
    pub fn request_header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            (Ok(name), Ok(value)) => self.request.headers.append(name, value),
            _ => panic!("{name:?}: {value:?} is no header of a request"),
        };
        self
    }

    /// Sets the page that the client's script came from. Default: none, as for programs.
    #[track_caller]
    pub fn origin(self, origin: &str) -> Self {
        self.request_header(header::ORIGIN.as_str(), origin)
    }

    /// Sets the address at the other end of the connection. Default: not known.
    pub fn remote(mut self, remote: SocketAddr) -> Self {
        self.request.extensions.insert(remote);
        self
    }

    /// The header `login` of CONNECT. Default: none.
    pub fn login(mut self, login: impl Into<ByteString>) -> Self {
        self.config.login = Some(login.into());
        self
    }

    /// The header `passcode` of CONNECT; no transcript shows it. Default: none.
    pub fn passcode(mut self, passcode: impl Into<ByteString>) -> Self {
        self.config.passcode = Some(passcode.into());
        self
    }

    /// The header `host` of CONNECT. Default `localhost`.
    pub fn host(mut self, host: impl Into<ByteString>) -> Self {
        self.config.host = host.into();
        self
    }

    /// One more header of CONNECT, such as `Authorization`.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.config.headers.push(name, value);
        self
    }

    /// Sets the versions of STOMP to offer. Default: all, so that 1.2 is chosen.
    pub fn versions(mut self, versions: impl IntoIterator<Item = Version>) -> Self {
        self.config.versions = versions.into_iter().collect();
        self
    }

    /// Sets the heart-beats to offer, in milliseconds. Default 10,000 both ways, as `@stomp/stompjs` does.
    pub fn heart_beat(mut self, heart_beat: HeartBeat) -> Self {
        self.config.heart_beat = heart_beat;
        self
    }

    /// Makes the client subscribe to nothing by itself: for tests that count subscriptions.
    ///
    /// Otherwise a client is subscribed to `/user/queue/errors`, if the policy permits it, for
    /// [`expect_rejection`](super::TestClient::expect_rejection).
    pub fn without_rejections(mut self) -> Self {
        self.hears_rejections = false;
        self
    }
}
