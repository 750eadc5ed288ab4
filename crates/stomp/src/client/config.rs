use bytestring::ByteString;

use crate::decoder::Limits;
use crate::headers::Headers;
use crate::heart_beat::HeartBeat;
use crate::version::Version;

/// The configuration of a client connection.
///
/// `Debug` does not show the passcode.
///
/// # Example: a client that requires 1.2
///
/// ```
/// use tramline_stomp::{ClientConfig, Version};
///
/// let config = ClientConfig::new("chat.example")
///     .with_versions(vec![Version::V1_2])
///     .with_login("ann", "secret");
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The versions offered. Default all; an empty list offers 1.0.
    pub versions: Vec<Version>,

    /// The `host` header: the requested virtual host. 1.1 requires it.
    pub host: ByteString,

    /// The `login` header. Default none.
    pub login: Option<ByteString>,

    /// The `passcode` header. Default none.
    pub passcode: Option<ByteString>,

    /// The heart-beats offered, in milliseconds. Default 10,000 both ways, as the server's.
    pub heart_beat: HeartBeat,

    /// Further headers of CONNECT, after the others. Default none.
    pub headers: Headers,

    /// Limits on what the server may send; see [`Limits`] for the defaults.
    pub limits: Limits,
}

impl ClientConfig {
    /// Creates the default configuration for this virtual host.
    pub fn new(host: impl Into<ByteString>) -> Self {
        Self {
            versions: Version::ALL.to_vec(),
            host: host.into(),
            login: None,
            passcode: None,
            heart_beat: HeartBeat {
                send: 10_000,
                receive: 10_000,
            },
            headers: Headers::new(),
            limits: Limits::default(),
        }
    }

    /// Sets [`ClientConfig::versions`].
    #[must_use]
    pub fn with_versions(mut self, versions: Vec<Version>) -> Self {
        self.versions = versions;
        self
    }

    /// Sets a login and a passcode.
    #[must_use]
    pub fn with_login(
        mut self,
        login: impl Into<ByteString>,
        passcode: impl Into<ByteString>,
    ) -> Self {
        self.login = Some(login.into());
        self.passcode = Some(passcode.into());
        self
    }

    /// Sets [`ClientConfig::heart_beat`].
    #[must_use]
    pub fn with_heart_beat(mut self, heart_beat: HeartBeat) -> Self {
        self.heart_beat = heart_beat;
        self
    }

    /// Adds a header to CONNECT.
    #[must_use]
    pub fn with_header(
        mut self,
        name: impl Into<ByteString>,
        value: impl Into<ByteString>,
    ) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets [`ClientConfig::limits`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig")
            .field("versions", &self.versions)
            .field("host", &self.host)
            .field("login", &self.login)
            .field("passcode", &self.passcode.as_ref().map(|_| "***"))
            .field("heart_beat", &self.heart_beat)
            .field("headers", &self.headers)
            .field("limits", &self.limits)
            .finish()
    }
}
