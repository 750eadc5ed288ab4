//! Log lines that clients cause: how many there are, and what they may say.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tramline_broker::SessionId;

use super::counter::Counter;
use super::network::network;
use super::rates::Rates;

/// Lines at INFO or above that one session can cause within [`LOG_TIME`].
pub(crate) const SESSION_LOG_LINES: u32 = 10;

/// The same for all sessions and requests of one address.
pub(crate) const ADDRESS_LOG_LINES: u32 = 60;

/// The time for which lines are counted, from the first.
pub(crate) const LOG_TIME: Duration = Duration::from_secs(60);

/// The client that causes a line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Source {
    /// `None` if it is unknown; such clients share one count.
    pub(crate) remote: Option<SocketAddr>,
    /// `None` before there is one.
    pub(crate) session: Option<SessionId>,
}

/// Bounds the lines that the clients of one stack cause.
#[derive(Debug)]
pub(crate) struct LogBudget {
    counted: Mutex<Counted>,
    /// Suppressed lines since the last summary.
    suppressed: AtomicU64,
}

#[derive(Debug)]
struct Counted {
    lines: Rates<Key>,
    summary_due: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Session(SessionId),
    Address(Option<IpAddr>),
}

impl LogBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            counted: Mutex::new(Counted {
                lines: Rates::new(LOG_TIME),
                summary_due: now,
            }),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Returns true if `source` may cause another line; otherwise counts the line in `suppressed`.
    pub(crate) fn admit(&self, source: Source, now: Instant, suppressed: &Counter) -> bool {
        let address = source.remote.map(|remote| network(remote.ip()));
        let session = source.session.map(Key::Session);
        let keys = [
            Some((Key::Address(address), ADDRESS_LOG_LINES)),
            session.map(|session| (session, SESSION_LOG_LINES)),
        ];
        let keys = keys.into_iter().flatten();
        let mut counted = self.counted.lock();
        let lines = &mut counted.lines;
        if keys
            .clone()
            .all(|(key, most)| *lines.number(key, now) < most)
        {
            keys.for_each(|(key, _)| *lines.number(key, now) += 1);
            return true;
        }
        if self.suppressed.fetch_add(1, Ordering::Relaxed) == 0 {
            counted.summary_due = now + LOG_TIME;
        }
        suppressed.increment();
        false
    }

    /// Logs the number of suppressed lines, a minute after the first of them.
    pub(crate) fn summarize(&self, stack: &str, now: Instant) {
        if let Some(suppressed) = self.summary(now) {
            tracing::warn!(
                stack,
                suppressed,
                "lines were not written: a session causes {SESSION_LOG_LINES} a minute, an address {ADDRESS_LOG_LINES}"
            );
        }
    }

    fn summary(&self, now: Instant) -> Option<u64> {
        if self.suppressed.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let is_due = self.counted.lock().summary_due <= now;
        is_due.then(|| self.suppressed.swap(0, Ordering::Relaxed))
    }
}

/// Writes a value on one line: control characters, line ends and characters that change the direction of text are escaped.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for char in text.chars() {
                    match char {
                        // Quotes and backslashes stay: the text may have been escaped already.
                        ' '..='~' => self.0.write_char(char)?,
                        char => write!(self.0, "{}", char.escape_debug())?,
                    }
                }
                Ok(())
            }
        }
        write!(Escaping(f), "{}", self.0)
    }
}

/// Logs what a client did: one line with `$text` at `$level`, if `$admitted` returns true, and one with `$detail` at DEBUG.
///
/// Text of a peer or of an application's error stands in `$detail` only; `$text` is ours, and fields are numbers, ids and
/// names that the application chose. `cargo xtask tidy` finds lines that are logged in another way.
macro_rules! log_client {
    (DEBUG, { $($field:tt)* }, $text:expr) => {
        tracing::debug!($($field)*, "{}", $text)
    };
    (DEBUG, { $($field:tt)* }, $text:expr, $detail:expr) => {
        tracing::debug!($($field)*, detail = %$crate::model::log::Escaped($detail), "{}", $text)
    };
    ($level:ident if $admitted:expr, { $($field:tt)* }, $text:expr) => {
        if tracing::enabled!(tracing::Level::$level) && $admitted {
            tracing::event!(tracing::Level::$level, $($field)*, "{}", $text);
        } else {
            tracing::debug!($($field)*, "{}", $text);
        }
    };
    ($level:ident if $admitted:expr, { $($field:tt)* }, $text:expr, $detail:expr) => {{
        if tracing::enabled!(tracing::Level::$level) && $admitted {
            tracing::event!(tracing::Level::$level, $($field)*, "{}", $text);
        }
        $crate::model::log::log_client!(DEBUG, { $($field)* }, $text, $detail);
    }};
}

pub(crate) use log_client;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Source {
        Source {
            remote: Some(address.parse().unwrap()),
            session: None,
        }
    }

    fn admitted(budget: &LogBudget, sources: &[Source], now: Instant) -> u32 {
        let suppressed = Counter::default();
        let admitted = sources
            .iter()
            .filter(|source| budget.admit(**source, now, &suppressed));
        let count = admitted.count() as u32;
        assert_eq!(suppressed.get() as usize, sources.len() - count as usize);
        count
    }

    #[test]
    fn sessions_and_addresses_have_a_number_a_minute() {
        let start = Instant::now();
        let budget = LogBudget::new(start);
        let session = Source {
            session: Some(SessionId::random()),
            ..at("192.0.2.1:1")
        };
        for minute in 0..3 {
            let now = start + LOG_TIME * minute;
            assert_eq!(admitted(&budget, &[session; 100], now), SESSION_LOG_LINES);
            // Another session of the address has its own, and both count for the address.
            let other = Source {
                session: Some(SessionId::random()),
                ..session
            };
            assert_eq!(admitted(&budget, &[other; 100], now), SESSION_LOG_LINES);
            let left = ADDRESS_LOG_LINES - 2 * SESSION_LOG_LINES;
            assert_eq!(admitted(&budget, &[at("192.0.2.1:2"); 100], now), left);
            assert_eq!(admitted(&budget, &[at("192.0.2.2:1")], now), 1);
        }
        let network: Vec<Source> = (0..100)
            .map(|host| at(&format!("[2001:db8::{host}]:1")))
            .collect();
        assert_eq!(admitted(&budget, &network, start), ADDRESS_LOG_LINES);
        let unknown = [Source::default(); 100];
        assert_eq!(admitted(&budget, &unknown, start), ADDRESS_LOG_LINES);
    }

    #[test]
    fn the_number_of_suppressed_lines_is_said_once() {
        let start = Instant::now();
        let (budget, suppressed) = (LogBudget::new(start), Counter::default());
        for _ in 0..100 {
            budget.admit(at("192.0.2.1:1"), start, &suppressed);
        }
        assert_eq!(suppressed.get(), 100 - u64::from(ADDRESS_LOG_LINES));
        assert_eq!(budget.summary(start), None);
        assert_eq!(budget.summary(start + LOG_TIME), Some(suppressed.get()));
        assert_eq!(budget.summary(start + LOG_TIME * 2), None);
    }

    #[test]
    fn a_value_stays_on_its_line() {
        let escaped = Escaped("a \"b\"\nERROR c\r\u{1b}[31m\u{202e}\u{2028}\u{85}ü").to_string();
        assert_eq!(
            escaped,
            r#"a "b"\nERROR c\r\u{1b}[31m\u{202e}\u{2028}\u{85}ü"#
        );
    }
}
