//! What the relay is told about its broker.

use std::fmt;
use std::time::Duration;

use bytestring::ByteString;
use tramline_broker::{Destination, Headers, Pattern};
use tramline_stomp::{ClientConfig, HeartBeat, Limits};

use crate::kind::BrokerKind;
use crate::names::{Family, Shape, Spelled};

/// The answers to all questions that the builder of [`StompRelay`](crate::StompRelay) asks.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) addresses: Vec<String>,
    pub(crate) families: Vec<Family>,
    pub(crate) kind: Option<BrokerKind>,
    pub(crate) virtual_host: ByteString,
    pub(crate) system: Option<Login>,
    pub(crate) client: Option<Login>,
    pub(crate) nodes: Option<ByteString>,
    pub(crate) heart_beat: HeartBeat,
    pub(crate) connect_time: Duration,
    pub(crate) wait_time: Duration,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) max_waiting: usize,
    pub(crate) max_body: usize,
    pub(crate) send_headers: Vec<(ByteString, Headers)>,
    pub(crate) subscribe_headers: Vec<(ByteString, Headers)>,
}

/// A name and a password; `Debug` does not show the latter.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) name: ByteString,
    pub(crate) passcode: ByteString,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("name", &self.name)
            .field("passcode", &"***")
            .finish()
    }
}

impl Options {
    pub(crate) fn new(addresses: Vec<String>) -> Self {
        Self {
            addresses,
            families: Vec::new(),
            kind: None,
            virtual_host: ByteString::from_static("/"),
            system: None,
            client: None,
            nodes: None,
            heart_beat: HeartBeat {
                send: 10_000,
                receive: 10_000,
            },
            connect_time: Duration::from_secs(10),
            wait_time: Duration::from_secs(10),
            backoff: (Duration::from_millis(200), Duration::from_secs(10)),
            max_waiting: 64 * 1024 * 1024,
            max_body: 16 * 1024 * 1024,
            send_headers: Vec::new(),
            subscribe_headers: Vec::new(),
        }
    }

    /// Errors in these options, one text each.
    pub(crate) fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if self.addresses.is_empty() {
            errors.push("relay: no address; name at least one, as \"rabbit1:61613\"".to_owned());
        }
        for address in &self.addresses {
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(port)) if port > 0) {
                errors.push(format!(
                    "relay address {address:?}: must be a host and a port, as \"rabbit1:61613\""
                ));
            }
        }
        if let Some(name) = &self.nodes
            && !is_plain(name)
        {
            errors.push(format!(
                "relay nodes {name:?}: must be a name of letters, digits, `-` and `_`, and not empty"
            ));
        }
        for (what, time) in [
            ("connect_time", self.connect_time),
            ("wait_time", self.wait_time),
            ("backoff", self.backoff.0),
        ] {
            if time.is_zero() {
                errors.push(format!(
                    "relay {what}: is 0; give a time, as Duration::from_secs(10)"
                ));
            }
        }
        if self.backoff.0 > self.backoff.1 {
            let (first, last) = self.backoff;
            errors.push(format!(
                "relay backoff: begins with {first:?}, more than its end {last:?}"
            ));
        }
        let of_sends = self
            .send_headers
            .iter()
            .map(|headers| ("send_headers", headers));
        let of_subscribes = self
            .subscribe_headers
            .iter()
            .map(|headers| ("subscribe_headers", headers));
        for (what, (pattern, headers)) in of_sends.chain(of_subscribes) {
            if let Err(error) = Pattern::parse(pattern.clone()) {
                errors.push(format!("relay {what} for {pattern:?}: {error}"));
            }
            if let Some((name, _)) = headers.iter().find(|(name, _)| is_ours(name)) {
                errors.push(format!(
                    "relay {what} for {pattern:?}: the relay sets {name:?} itself"
                ));
            }
        }
        errors
    }

    /// The family of a destination's or pattern's text.
    pub(crate) fn family(&self, text: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.covers(text))
    }

    /// Spells a destination for `broker`, with its kind; `None` if it is below no prefix.
    pub(crate) fn spell(
        &self,
        broker: BrokerKind,
        destination: &Destination,
    ) -> Option<Result<(Spelled, Shape), String>> {
        let family = self.family(destination)?;
        let spelled = family.destination(broker, destination);
        Some(spelled.map(|spelled| (spelled, family.kind)))
    }

    /// The default headers of a SEND to `destination`.
    pub(crate) fn send_headers(&self, destination: &str) -> Option<&Headers> {
        first_covering(&self.send_headers, |pattern| pattern.matches(destination))
    }

    /// The default headers of a SUBSCRIBE to `pattern`.
    pub(crate) fn subscribe_headers(&self, pattern: &Pattern) -> Option<&Headers> {
        first_covering(&self.subscribe_headers, |covering| covering.covers(pattern))
    }

    /// The CONNECT of a link, by the system's login or the clients'.
    pub(crate) fn connect(&self, by_system: bool, client_id: Option<&str>) -> ClientConfig {
        let limits = Limits::default().with_body(self.max_body);
        let mut config = ClientConfig::new(self.virtual_host.clone())
            .with_heart_beat(self.heart_beat)
            .with_limits(limits);
        let login = match by_system {
            true => &self.system,
            false => &self.client,
        };
        if let Some(Login { name, passcode }) = login.as_ref().or(self.system.as_ref()) {
            config = config.with_login(name.clone(), passcode.clone());
        }
        if let Some(id) = client_id {
            config = config.with_header("client-id", id);
        }
        config
    }
}

fn first_covering(
    all: &[(ByteString, Headers)],
    covers: impl Fn(&Pattern) -> bool,
) -> Option<&Headers> {
    let mut all = all.iter();
    let covering =
        all.find(|(text, _)| Pattern::parse(text.clone()).is_ok_and(|pattern| covers(&pattern)));
    covering.map(|(_, headers)| headers)
}

/// Returns true for headers that say what the relay's frames are, and so come neither from clients nor from settings.
pub(crate) fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "destination"
            | "receipt"
            | "transaction"
            | "content-length"
            | "id"
            | "ack"
            | "subscription"
            | "message-id"
            | "redelivered"
            | "delivery-count"
            | "destination-type"
            | "login"
            | "passcode"
    ) || name.starts_with("tramline-")
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
