//! Settings that an operator may change without a new build.

mod keys;
mod sources;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use bytestring::ByteString;
use http::HeaderName;
use serde::de::{Deserialize, Deserializer, Error as _};
use tramline_broker::{EmbeddedBroker, Shares};

pub use self::sources::SettingsLoader;
use self::value::Value;
use crate::net::compression::Compression;
use crate::net::endpoint::SockJs;
#[cfg(feature = "serve")]
use crate::serve::ServeLimits;
use crate::stack::builder::MessagingBuilder;
use crate::stack::limits::Limits;
use crate::stack::policy::Refusals;
use tramline_broker::Separator;

/// Settings that an operator may change without a new build: limits and options from a file and the environment.
/// Feature `settings`.
///
/// [`load`](Self::load) reads them; [`MessagingBuilder::settings`] takes them, and so does [`EmbeddedBroker`] by
/// [`BrokerSettings::embedded`]. Decisions of the code stay in the code: routes, policy, and which destinations the
/// broker carries and how.
///
/// The [guide](crate::guide::settings) lists every key with its variable, unit, default and reason, and the syntax of
/// values. The type also reads by serde, as a section of an application's own configuration.
///
/// # Example: settings for operators, and others that stay in the code
///
/// ```
/// use tramline::policy::{Policy, permit};
/// use tramline::settings::Settings;
/// use tramline::Messaging;
///
/// let settings = Settings::load()?;
/// let messaging = Messaging::builder()
///     .settings(&settings)
///     .name("chat") // after the settings: not for the operator to choose
///     .broker(settings.broker.embedded().topics("/topic"))
///     .policy(Policy::builder().otherwise(permit()))
///     .build()?;
/// let endpoint = messaging.endpoint().with_sockjs(); // with the settings' options
/// # let _ = endpoint;
/// # assert_eq!(settings.limits.body, 65_536);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Example: a section of an application's own configuration
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Configuration {
///     listen: std::net::SocketAddr,
///     messaging: tramline::settings::Settings,
/// }
///
/// let text = r#"{"listen": "127.0.0.1:8080", "messaging": {"limits": {"body": "16 KiB", "send_time": "5 s"}}}"#;
/// let configuration: Configuration = serde_json::from_str(text)?;
/// assert_eq!(configuration.messaging.limits.body, 16_384);
///
/// let wrong = serde_json::from_str::<Configuration>(&text.replace("5 s", "5")).err().unwrap();
/// assert!(wrong.to_string().contains("limits.send_time = \"5\": must be a time, a whole number with its unit"), "{wrong}");
/// # let _ = configuration.listen;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// [`MessagingBuilder::name`].
    pub name: ByteString,
    /// [`MessagingBuilder::application_prefixes`].
    pub application_prefixes: Vec<ByteString>,
    /// [`MessagingBuilder::application_separator`].
    pub application_separator: Separator,
    /// [`MessagingBuilder::user_prefix`].
    pub user_prefix: ByteString,
    /// [`MessagingBuilder::refusals`].
    pub refusals: Refusals,
    /// [`MessagingBuilder::allowed_origins`].
    pub allowed_origins: Vec<ByteString>,
    /// [`MessagingBuilder::allowed_hosts`].
    pub allowed_hosts: Vec<ByteString>,
    /// [`MessagingBuilder::trusted_proxies`].
    pub trusted_proxies: Vec<ByteString>,
    /// [`MessagingBuilder::keep_headers`].
    pub keep_headers: Vec<HeaderName>,
    /// [`MessagingBuilder::compression`].
    pub compression: Compression,
    /// [`MessagingBuilder::limits`].
    pub limits: Limits,
    /// The options for [`Endpoint::with_sockjs`](crate::endpoint::Endpoint::with_sockjs).
    pub sockjs: SockJs,
    /// Limits of the embedded broker as a whole.
    pub broker: BrokerSettings,
    /// [`Server::limits`](crate::serve::Server::limits).
    #[cfg(feature = "serve")]
    pub serve: ServeLimits,
}

/// Limits of the [`EmbeddedBroker`] as a whole; those of single topics and queues are set in the code that names them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerSettings {
    /// [`EmbeddedBroker::max_bytes`].
    pub max_bytes: usize,
    /// [`EmbeddedBroker::max_bytes_each`]: of a session, and of a user or address.
    pub max_bytes_each: (Option<usize>, Option<usize>),
    /// [`EmbeddedBroker::max_destinations`].
    pub max_destinations: usize,
    /// [`EmbeddedBroker::max_destinations_each`]: of a session, and of a user or address.
    pub max_destinations_each: (usize, usize),
    /// [`EmbeddedBroker::max_patterns`].
    pub max_patterns: Shares,
    /// [`EmbeddedBroker::max_scanned_patterns`].
    pub max_scanned_patterns: Shares,
    /// [`EmbeddedBroker::default_prefetch`].
    pub default_prefetch: NonZeroU32,
    /// [`EmbeddedBroker::max_prefetch`].
    pub max_prefetch: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: ByteString::from_static("messaging"),
            application_prefixes: vec![ByteString::from_static("/app")],
            application_separator: Separator::default(),
            user_prefix: ByteString::from_static("/user"),
            refusals: Refusals::default(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            keep_headers: Vec::new(),
            compression: Compression::default(),
            limits: Limits::default(),
            sockjs: SockJs::default(),
            broker: BrokerSettings::default(),
            #[cfg(feature = "serve")]
            serve: ServeLimits::default(),
        }
    }
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            max_bytes: EmbeddedBroker::DEFAULT_MAX_BYTES,
            max_bytes_each: (None, None),
            max_destinations: EmbeddedBroker::DEFAULT_MAX_DESTINATIONS,
            max_destinations_each: EmbeddedBroker::DEFAULT_MAX_DESTINATIONS_EACH,
            max_patterns: EmbeddedBroker::DEFAULT_MAX_PATTERNS,
            max_scanned_patterns: EmbeddedBroker::DEFAULT_MAX_SCANNED_PATTERNS,
            default_prefetch: EmbeddedBroker::DEFAULT_PREFETCH,
            max_prefetch: EmbeddedBroker::DEFAULT_MAX_PREFETCH,
        }
    }
}

impl BrokerSettings {
    /// An [`EmbeddedBroker`] with these limits, still without topics and queues.
    pub fn embedded(&self) -> EmbeddedBroker {
        let (bytes, names) = (self.max_bytes_each, self.max_destinations_each);
        EmbeddedBroker::new()
            .max_bytes(self.max_bytes)
            .max_bytes_each(bytes.0, bytes.1)
            .max_destinations(self.max_destinations)
            .max_destinations_each(names.0, names.1)
            .max_patterns(self.max_patterns)
            .max_scanned_patterns(self.max_scanned_patterns)
            .default_prefetch(self.default_prefetch)
            .max_prefetch(self.max_prefetch)
    }
}

impl Settings {
    /// Reads the defaults, a file that overrides them, and the environment, which overrides both.
    ///
    /// The file is the one that the variable `TRAMLINE_CONFIG` names, which must exist; if that is unset or empty,
    /// `tramline.toml` in the working directory, if it exists. Variables are named like `TRAMLINE_LIMITS_BODY`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] with all errors: the operator's fault.
    pub fn load() -> Result<Self, SettingsError> {
        let loader = match env::var_os("TRAMLINE_CONFIG") {
            Some(path) if !path.is_empty() => Self::loader().file(path),
            _ => Self::loader().file_if_there("tramline.toml"),
        };
        loader.environment("TRAMLINE").load()
    }

    /// Reads the defaults and one file that overrides them; no environment.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if the file cannot be read, and with all errors in it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SettingsError> {
        Self::loader().file(path).load()
    }

    /// Reads the defaults and the environment's variables that begin with `TRAMLINE_` and override them; no file.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] with all errors.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::loader().environment("TRAMLINE").load()
    }

    /// A loader for other files, other variables, another order.
    pub fn loader() -> SettingsLoader {
        SettingsLoader::default()
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let mut loader = Self::loader();
        loader.section("", values);
        loader.load().map_err(D::Error::custom)
    }
}

impl MessagingBuilder {
    /// Takes all of `settings` but [`broker`](Settings::broker), whose limits are taken by
    /// [`BrokerSettings::embedded`], and `serve`, which [`Server::limits`](crate::serve::Server::limits) takes. Feature
    /// `settings`.
    ///
    /// Later calls of the builder override the settings; the settings replace the values of earlier calls, even by a
    /// default.
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.sockjs = settings.sockjs.clone();
        self.name(settings.name.clone())
            .application_prefixes(settings.application_prefixes.iter().cloned())
            .application_separator(settings.application_separator)
            .user_prefix(settings.user_prefix.clone())
            .refusals(settings.refusals)
            .allowed_origins(settings.allowed_origins.iter().cloned())
            .allowed_hosts(settings.allowed_hosts.iter().cloned())
            .trusted_proxies(settings.trusted_proxies.iter().cloned())
            .keep_headers(settings.keep_headers.iter().cloned())
            .compression(settings.compression)
            .limits(settings.limits.clone())
    }
}

/// All errors in the sources that [`Settings`] were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    errors: Vec<String>,
}

impl SettingsError {
    fn new(errors: Vec<String>) -> Self {
        Self { errors }
    }

    /// The errors, one text each: the file and line or the variable, the key, the value, and what is allowed.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(String::as_str)
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be used:")?;
        self.errors
            .iter()
            .try_for_each(|error| write!(f, "\n  - {error}"))
    }
}

impl std::error::Error for SettingsError {}
