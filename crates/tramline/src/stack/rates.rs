//! Rates of what clients do.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::Mutex;

use crate::model::buckets::{Buckets, Rate};
use crate::model::clock::now;
use crate::model::inbound::SessionRecord;
use crate::model::network::network;

/// The rates at which clients may do things; for [`MessagingBuilder::rates`](crate::MessagingBuilder::rates).
///
/// A *client* is a user, or while it has none its network address (of IPv6 the /64). All its sessions have one rate. Clients
/// of the machine itself (`127.0.0.1`, `::1`, or of no known address) have none: behind a proxy on the same machine, name it
/// in [`trusted_proxies`](crate::MessagingBuilder::trusted_proxies), and its clients' addresses count.
///
/// Who sends faster than [`frames`](Self::frames) and [`bytes`](Self::bytes) is **slowed down**: the server reads less from
/// it, TCP does the rest, and nothing is lost. Who goes on so for [`patience`](Self::patience) is closed with 1008 and a reason
/// that names the rate.
///
/// # Example: a stack for one hundred small clients
///
/// ```
/// use tramline::limits::{Rate, Rates};
/// use tramline::Messaging;
///
/// let mut rates = Rates::default();
/// rates.frames = Some(Rate::per_second(20));
/// let builder = Messaging::builder().rates(rates);
/// # let _ = builder;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rates {
    /// New connections of one address, for SockJS new sessions. Beyond it, HTTP is answered 429 with `Retry-After`, and a TCP
    /// connection is closed. Default 50 a second, 1,000 at once: a company that reloads its pages.
    pub connections: Option<Rate>,
    /// Logins that are refused, of one address, and to one `login` name. Beyond it, CONNECT is refused without asking whether
    /// it is right. Default 1 a second, 20 at once: more than any person mistypes, and too few to guess a password.
    pub refused_logins: Option<Rate>,
    /// Frames of one client. Default 2,000 a second, 20,000 at once.
    pub frames: Option<Rate>,
    /// Bytes that one client sends. Default 8 MiB a second, 64 MiB at once.
    pub bytes: Option<Rate>,
    /// Frames of all clients together. Default none.
    pub frames_in_all: Option<Rate>,
    /// Bytes that all clients together send. Default none.
    pub bytes_in_all: Option<Rate>,
    /// The time for which a client may be slowed down without a pause. Default 60 s.
    pub patience: Duration,
}

impl Default for Rates {
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            connections: Some(Rate::per_second(50).burst(1000)),
            refused_logins: Some(Rate::per_second(1).burst(20)),
            frames: Some(Rate::per_second(2000)),
            bytes: Some(Rate::per_second(8 * MIB).burst(64 * MIB)),
            frames_in_all: None,
            bytes_in_all: None,
            patience: Duration::from_secs(60),
        }
    }
}

impl Rates {
    /// No rates at all: for a stack whose clients are all trusted.
    pub fn none() -> Self {
        Self {
            connections: None,
            refused_logins: None,
            frames: None,
            bytes: None,
            frames_in_all: None,
            bytes_in_all: None,
            patience: Duration::from_secs(60),
        }
    }

    /// Returns an error for each rate at which nothing could pass.
    pub(crate) fn errors(&self) -> Vec<String> {
        let rates = [
            ("connections", self.connections),
            ("refused_logins", self.refused_logins),
            ("frames", self.frames),
            ("bytes", self.bytes),
            ("frames_in_all", self.frames_in_all),
            ("bytes_in_all", self.bytes_in_all),
        ];
        let rates = rates.into_iter();
        rates
            .filter_map(|(name, rate)| rate.map(|rate| (name, rate)))
            .filter(|(_, rate)| rate.per_second == 0 || rate.burst == 0)
            .map(|(name, rate)| format!("rate `{name}` is {rate}: nothing could pass"))
            .collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    User(ByteString),
    Network(IpAddr),
}

/// What clients have done of late.
#[derive(Debug)]
pub(crate) struct RateTable {
    pub(crate) rates: Rates,
    connections: Option<Mutex<Buckets<IpAddr>>>,
    refused_logins: Option<Mutex<Buckets<Client>>>,
    frames: Option<Mutex<Buckets<Client>>>,
    bytes: Option<Mutex<Buckets<Client>>>,
    frames_in_all: Option<Mutex<Buckets<()>>>,
    bytes_in_all: Option<Mutex<Buckets<()>>>,
}

/// What a client that is too fast has to wait for.
pub(crate) struct TooFast {
    pub(crate) wait: Duration,
    pub(crate) name: &'static str,
    pub(crate) rate: Rate,
}

/// The longest that a client waits before it is asked again: what it was answered may not be the last word.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl RateTable {
    pub(crate) fn new(rates: Rates) -> Self {
        fn table<K: Eq + std::hash::Hash>(rate: Option<Rate>) -> Option<Mutex<Buckets<K>>> {
            rate.map(|rate| Mutex::new(Buckets::new(rate)))
        }
        Self {
            connections: table(rates.connections),
            refused_logins: table(rates.refused_logins),
            frames: table(rates.frames),
            bytes: table(rates.bytes),
            frames_in_all: table(rates.frames_in_all),
            bytes_in_all: table(rates.bytes_in_all),
            rates,
        }
    }

    /// Takes one more connection from an address.
    ///
    /// # Errors
    ///
    /// The time after which there may be one.
    pub(crate) fn connection(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        match (&self.connections, address.filter(is_counted)) {
            (Some(table), Some(address)) => table.lock().try_take(network(address), now()),
            _ => Ok(()),
        }
    }

    /// Counts what one read of a session has brought.
    #[inline]
    pub(crate) fn read(
        &self,
        session: &SessionRecord,
        bytes: usize,
        frames: u32,
    ) -> Option<TooFast> {
        let address = session.handshake().remote()?.ip();
        if !is_counted(&address) {
            return None;
        }
        self.count(session, address, bytes, frames)
    }

    #[inline(never)]
    fn count(
        &self,
        session: &SessionRecord,
        address: IpAddr,
        bytes: usize,
        frames: u32,
    ) -> Option<TooFast> {
        let user = session.user();
        let client = || match &user {
            Some(user) => Client::User(user.shared_name().clone()),
            None => Client::Network(network(address)),
        };
        let (now, bytes) = (now(), u32::try_from(bytes).unwrap_or(u32::MAX));
        let rates = &self.rates;
        let waits = [
            (
                "frames",
                rates.frames,
                take(&self.frames, client, frames, now),
            ),
            ("bytes", rates.bytes, take(&self.bytes, client, bytes, now)),
            (
                "frames_in_all",
                rates.frames_in_all,
                take(&self.frames_in_all, || (), frames, now),
            ),
            (
                "bytes_in_all",
                rates.bytes_in_all,
                take(&self.bytes_in_all, || (), bytes, now),
            ),
        ];
        let waits = waits.into_iter().filter(|(_, _, wait)| !wait.is_zero());
        let (name, rate, wait) = waits.max_by_key(|(_, _, wait)| *wait)?;
        Some(TooFast {
            wait: wait.min(LONGEST_WAIT),
            name,
            rate: rate?,
        })
    }

    /// Returns the time for which no login of this session is decided: its address, or the name that it gives, has too many
    /// that were refused.
    pub(crate) fn login(&self, session: &SessionRecord, name: Option<&str>) -> Option<Duration> {
        self.refused(session, name, 0)
    }

    /// Counts a login that was refused.
    pub(crate) fn login_refused(&self, session: &SessionRecord, name: Option<&str>) {
        self.refused(session, name, 1);
    }

    fn refused(
        &self,
        session: &SessionRecord,
        name: Option<&str>,
        number: u32,
    ) -> Option<Duration> {
        let table = self.refused_logins.as_ref()?;
        let address = session.handshake().remote()?.ip();
        let address = Some(address).filter(is_counted)?;
        let name = name.map(|name| Client::User(name.into()));
        let keys = [Some(Client::Network(network(address))), name];
        let (now, mut table) = (now(), table.lock());
        let keys = keys.into_iter().flatten();
        let wait = keys.map(|key| table.take(key, number, now)).max()?;
        (!wait.is_zero()).then_some(wait)
    }
}

fn take<K: Eq + std::hash::Hash>(
    table: &Option<Mutex<Buckets<K>>>,
    key: impl FnOnce() -> K,
    number: u32,
    now: Instant,
) -> Duration {
    match table {
        Some(table) if number > 0 => table.lock().take(key(), number, now),
        _ => Duration::ZERO,
    }
}

/// Returns whether clients of this address have rates: the machine's own have none.
fn is_counted(address: &IpAddr) -> bool {
    !address.to_canonical().is_loopback()
}
