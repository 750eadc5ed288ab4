//! How often passwords may be guessed.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Keys that one table remembers; beyond that, those that have waited longest go.
const MOST_KEYS: usize = 65_536;

/// How many failed logins are answered before the next ones have to wait.
///
/// Each attempt uses one of a number of free ones, and time gives them back one by one; a login that succeeds gives its own
/// back. Who has none left is answered 429 with the time to wait, and no password is compared.
///
/// | Counted by | Free | One more every |
/// |---|---|---|
/// | name and address | 5 | 10 s |
/// | address (IPv6: the /64 network) | 20 | 3 s |
/// | name, from anywhere | 50 | 10 s |
///
/// The last is against guessing from many addresses. It means that an attacker with many of them can keep a user out while the
/// attack lasts, but for addresses from which that user has logged in before.
///
/// # Example: three attempts, then one a minute
///
/// ```
/// use std::time::Duration;
/// use tramline_login::Throttle;
///
/// let throttle = Throttle::default().per_name_and_address(3, Duration::from_secs(60));
/// # let _ = throttle;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    both: Rate,
    address: Rate,
    name: Rate,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    free: u32,
    every: Duration,
}

impl Default for Throttle {
    fn default() -> Self {
        let rate = |free, seconds| Rate {
            free,
            every: Duration::from_secs(seconds),
        };
        Self {
            both: rate(5, 10),
            address: rate(20, 3),
            name: rate(50, 10),
        }
    }
}

impl Throttle {
    /// Sets the free attempts for a name from one address, and the time after which there is one more. At least 1.
    #[must_use]
    pub fn per_name_and_address(mut self, free: u32, every: Duration) -> Self {
        self.both = Rate::new(free, every);
        self
    }

    /// Sets the same for one address, whatever the names. At least 1.
    #[must_use]
    pub fn per_address(mut self, free: u32, every: Duration) -> Self {
        self.address = Rate::new(free, every);
        self
    }

    /// Sets the same for one name, whatever the addresses. At least 1.
    #[must_use]
    pub fn per_name(mut self, free: u32, every: Duration) -> Self {
        self.name = Rate::new(free, every);
        self
    }
}

impl Rate {
    fn new(free: u32, every: Duration) -> Self {
        Self {
            free: free.max(1),
            every,
        }
    }
}

/// The attempts of names and addresses.
#[derive(Debug)]
pub(crate) struct Attempts {
    throttle: Throttle,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    both: Table<(String, Option<IpAddr>)>,
    address: Table<IpAddr>,
    name: Table<String>,
    /// Where a user has logged in, until when that counts.
    known: Table<(String, Option<IpAddr>)>,
}

/// For how long a user's address is known.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 3600);

/// One attempt that was let through.
#[derive(Debug)]
pub(crate) struct Attempt {
    name: String,
    address: Option<IpAddr>,
}

impl Attempts {
    pub(crate) fn new(throttle: Throttle) -> Self {
        Self {
            throttle,
            tables: Mutex::default(),
        }
    }

    /// Takes a free attempt, or says how long to wait.
    pub(crate) fn begin(
        &self,
        name: &str,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<Attempt, Duration> {
        let Throttle {
            both,
            address: by_address,
            name: by_name,
        } = self.throttle;
        let address = address.map(network);
        let key = (name.to_owned(), address);
        let mut tables = self.tables.lock();
        let is_known = tables.known.0.get(&key).is_some_and(|until| *until > now);
        let waits = [
            tables.both.wait(&key, both, now),
            address.map_or(Duration::ZERO, |address| {
                tables.address.wait(&address, by_address, now)
            }),
            match is_known {
                true => Duration::ZERO,
                false => tables.name.wait(&key.0, by_name, now),
            },
        ];
        let wait = waits.into_iter().max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        tables.both.take(key.clone(), both, now);
        if let Some(address) = address {
            tables.address.take(address, by_address, now);
        }
        if !is_known {
            tables.name.take(key.0.clone(), by_name, now);
        }
        let (name, address) = key;
        Ok(Attempt { name, address })
    }

    /// Gives an attempt back: the password was right.
    pub(crate) fn succeeded(&self, attempt: Attempt, now: Instant) {
        let Attempt { name, address } = attempt;
        let mut tables = self.tables.lock();
        if let Some(address) = address {
            tables.address.give(&address, self.throttle.address);
        }
        tables.name.give(&name, self.throttle.name);
        tables.both.0.remove(&(name.clone(), address));
        tables.known.insert((name, address), now + KNOWN, now);
    }
}

/// For each key the time at which all its attempts will be free again.
#[derive(Debug)]
struct Table<K>(HashMap<K, Instant>);

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn wait(&self, key: &K, rate: Rate, now: Instant) -> Duration {
        let Some(free_at) = self.0.get(key) else {
            return Duration::ZERO;
        };
        let used = free_at.saturating_duration_since(now);
        (used + rate.every).saturating_sub(rate.every * rate.free)
    }

    fn take(&mut self, key: K, rate: Rate, now: Instant) {
        let before = self.0.get(&key).copied().unwrap_or(now).max(now);
        self.insert(key, before + rate.every, now);
    }

    fn give(&mut self, key: &K, rate: Rate) {
        if let Some(free_at) = self.0.get_mut(key)
            && let Some(earlier) = free_at.checked_sub(rate.every)
        {
            *free_at = earlier;
        }
    }

    fn insert(&mut self, key: K, until: Instant, now: Instant) {
        if self.0.len() >= MOST_KEYS && !self.0.contains_key(&key) {
            self.0.retain(|_, until| *until > now);
            if self.0.len() >= MOST_KEYS {
                let mut times: Vec<Instant> = self.0.values().copied().collect();
                let (_, middle, _) = times.select_nth_unstable(MOST_KEYS / 2);
                let middle = *middle;
                self.0.retain(|_, until| *until > middle);
            }
        }
        self.0.insert(key, until);
    }
}

/// An IPv6 client has a whole /64 network to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_name_from_one_address_waits_and_no_other() {
        let attempts = Attempts::new(Throttle::default());
        let now = Instant::now();
        let here = address("192.0.2.1");
        for _ in 0..5 {
            attempts.begin("ada", here, now).unwrap();
        }
        assert_eq!(attempts.begin("ada", here, now).unwrap_err(), 10 * SECOND);
        assert_eq!(
            attempts.begin("ada", here, now + 4 * SECOND).unwrap_err(),
            6 * SECOND
        );
        attempts.begin("ben", here, now).unwrap();
        attempts.begin("ada", address("192.0.2.2"), now).unwrap();
        attempts.begin("ada", here, now + 10 * SECOND).unwrap();
        attempts.begin("ada", here, now + 10 * SECOND).unwrap_err();
    }

    #[test]
    fn an_address_waits_whatever_the_names() {
        let attempts = Attempts::new(Throttle::default());
        let now = Instant::now();
        for number in 0..20 {
            let from = format!("2001:db8::{number}");
            attempts
                .begin(&format!("user{number}"), address(&from), now)
                .unwrap();
        }
        let wait = attempts.begin("one-more", address("2001:db8::ffff"), now);
        assert_eq!(wait.unwrap_err(), 3 * SECOND);
        attempts
            .begin("one-more", address("2001:db8:0:1::1"), now)
            .unwrap();
    }

    #[test]
    fn a_name_waits_wherever_it_is_guessed_but_where_its_user_was() {
        let attempts = Attempts::new(Throttle::default());
        let now = Instant::now();
        let home = address("192.0.2.1");
        let login = attempts.begin("ada", home, now).unwrap();
        attempts.succeeded(login, now);
        for number in 0..50 {
            attempts
                .begin("ada", address(&format!("198.51.100.{number}")), now)
                .unwrap();
        }
        let wait = attempts
            .begin("ada", address("203.0.113.1"), now)
            .unwrap_err();
        assert_eq!(wait, 10 * SECOND);
        attempts.begin("ada", home, now).unwrap();
    }

    #[test]
    fn a_login_that_succeeds_costs_nothing() {
        let attempts = Attempts::new(Throttle::default());
        let now = Instant::now();
        let here = address("192.0.2.1");
        for _ in 0..200 {
            let login = attempts.begin("ada", here, now).unwrap();
            attempts.succeeded(login, now);
        }
    }

    #[test]
    fn the_tables_do_not_grow_for_ever() {
        let mut table = Table::default();
        let now = Instant::now();
        for number in 0..MOST_KEYS as u32 * 2 {
            table.insert(number, now + SECOND * (number + 1), now);
            assert!(table.0.len() <= MOST_KEYS);
        }
        assert!(
            table.0.contains_key(&(MOST_KEYS as u32 * 2 - 1)),
            "the newest stay"
        );
    }
}
