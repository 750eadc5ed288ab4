use std::time::Duration;

use crate::error::Error;

/// How a client connects again when its connection is lost: by exponential back-off with jitter.
///
/// Before attempt *n* it waits `first × 2ⁿ⁻¹`, at most `longest`, of which a random part up to the half is taken off, so
/// that the clients of a server that restarts do not come at once. Each attempt tries all addresses, beginning with the
/// one that worked last, and asks for [fresh credentials](crate::Connect::credentials). The count begins anew once the
/// session is open and its subscriptions are confirmed. A server that closes with a retry window
/// (`retry-after-ms=A..B` in the reason, as Tramline does when it is drained) is obeyed instead, up to ten minutes.
///
/// What happens to what:
///
/// - **Subscriptions** are made again, before anything else is sent. If the messages of one with `ack:auto` carried `position`, it
///   goes on after the last it received, by `resume-from`; not one to a pattern. Messages that a subscription with acknowledgements received and did not
///   acknowledge come again: those unread are removed, and to acknowledge an old one is an
///   [`Error::NotAcknowledgeable`].
/// - **Sends** that were not handed to the connection wait, or fail: [`fail_sends`](Self::fail_sends). Those that were,
///   and whose receipt did not come, receive the connection's error: the server may have carried them out, so nothing is
///   ever sent twice.
/// - **Transactions** end, without effect. **Requests** fail, and may have been carried out.
///
/// Errors that another attempt does not mend end the client: an invalid URL, violations of a protocol, refused handshakes
/// (4xx except 408 and 429), close codes that blame the client (1002, 1003, 1007–1010), and an ERROR in answer to CONNECT,
/// such as a wrong password; with a source of credentials those of login are tried again.
///
/// # Example: for as long as it takes, with a fresh token
///
/// ```no_run
/// use std::time::Duration;
/// use tramline_client::{Client, Credentials, Error, Reconnect};
///
/// # async fn example() -> Result<(), Error> {
/// let client = Client::connect("wss://one.example/ws")
///     .fallback("wss://two.example/ws")
///     .credentials(|| async { Ok(Credentials::bearer(std::fs::read_to_string("token")?)) })
///     .reconnect(Reconnect::new().longest(Duration::from_secs(60)))
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reconnect {
    first: Duration,
    longest: Duration,
    attempts: Option<u32>,
    pub(crate) fail_sends: bool,
}

impl Reconnect {
    /// Attempts for ever, after 1 s at first and 30 s at most; sends wait.
    pub fn new() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            attempts: None,
            fail_sends: false,
        }
    }

    /// Sets the wait before the first attempt. Default 1 s.
    #[must_use]
    pub fn first(mut self, wait: Duration) -> Self {
        self.first = wait;
        self
    }

    /// Sets the longest wait. Default 30 s: half a minute after a server is back, so are its clients.
    #[must_use]
    pub fn longest(mut self, wait: Duration) -> Self {
        self.longest = wait;
        self
    }

    /// Ends the client after so many failed attempts in a row. Default never.
    #[must_use]
    pub fn attempts(mut self, limit: u32) -> Self {
        self.attempts = Some(limit);
        self
    }

    /// Sends fail at once while there is no connection, with the error that ended it. By default they wait in
    /// [the queue](crate::Connect::send_queue), and when that is full for room in it.
    #[must_use]
    pub fn fail_sends(mut self) -> Self {
        self.fail_sends = true;
        self
    }

    /// Returns the wait before attempt `attempt`, which is 1 or more; `None` if there are no more.
    pub(crate) fn wait(&self, attempt: u32, error: &Error, random: f64) -> Option<Duration> {
        if self.attempts.is_some_and(|limit| attempt > limit) {
            return None;
        }
        if let Some((from, to)) = retry_window(error) {
            return Some(from + (to - from).mul_f64(random));
        }
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let wait = self.first.saturating_mul(factor).min(self.longest);
        Some(wait.mul_f64(1.0 - random / 2.0))
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads `retry-after-ms=A..B` where the server says why it ends the session: in the close reason, or over TCP in the
/// ERROR.
fn retry_window(error: &Error) -> Option<(Duration, Duration)> {
    let told = match error.cause() {
        Error::ClosedByServer {
            code: Some(1012),
            reason,
        } => &**reason,
        Error::ServerError { message, body } if body.is_empty() => &**message,
        Error::ServerError { body, .. } => body.as_str(),
        _ => return None,
    };
    let (_, window) = told.split_once("retry-after-ms=")?;
    let window = window.split_whitespace().next()?;
    let (from, to) = window.split_once("..")?;
    let limited = |text: &str| Some(text.parse::<u64>().ok()?.min(LONGEST_WINDOW));
    let (from, to) = (limited(from)?, limited(to)?);
    Some((
        Duration::from_millis(from),
        Duration::from_millis(to.max(from)),
    ))
}

/// A number from 0 to less than 1.
pub(crate) fn random() -> f64 {
    let mut bits = [0; 4];
    // Without entropy the waits are those without jitter.
    let _ = getrandom::fill(&mut bits);
    f64::from(u32::from_ne_bytes(bits)) / (f64::from(u32::MAX) + 1.0)
}

/// In milliseconds: the longest wait that a server may ask for.
const LONGEST_WINDOW: u64 = 600_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(reason: &str) -> Error {
        Error::ClosedByServer {
            code: Some(1012),
            reason: reason.into(),
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_with_jitter() {
        let reconnect = Reconnect::new();
        let waits = |random| {
            let wait = |attempt| {
                reconnect
                    .wait(attempt, &Error::Disconnected, random)
                    .unwrap()
            };
            [1, 2, 5, 6, 4_000_000].map(|attempt| wait(attempt).as_millis())
        };
        assert_eq!(waits(0.0), [1000, 2000, 16_000, 30_000, 30_000]);
        assert_eq!(waits(1.0), [500, 1000, 8000, 15_000, 15_000]);
    }

    #[test]
    fn attempts_have_a_limit_if_asked_for() {
        let reconnect = Reconnect::new().attempts(2);
        assert!(reconnect.wait(2, &Error::Disconnected, 0.0).is_some());
        assert!(reconnect.wait(3, &Error::Disconnected, 0.0).is_none());
    }

    #[test]
    fn a_servers_window_comes_first() {
        let wait = |reason, random| Reconnect::new().wait(1, &closed(reason), random).unwrap();
        assert_eq!(
            wait("retry-after-ms=4000..8000", 0.0),
            Duration::from_secs(4)
        );
        assert_eq!(
            wait("retry-after-ms=4000..8000", 0.5),
            Duration::from_secs(6)
        );
        assert_eq!(wait("retry-after-ms=9..1", 0.5), Duration::from_millis(9));
        let capped = wait("retry-after-ms=0..99999999999", 1.0);
        assert_eq!(capped, Duration::from_secs(600));
        for none in [
            "",
            "retry-after-ms=",
            "retry-after-ms=1",
            "retry-after-ms=a..b",
        ] {
            assert_eq!(wait(none, 0.0), Duration::from_secs(1), "{none}");
        }
        let error = Error::ServerError {
            message: "shutting down".into(),
            body: "retry-after-ms=7..7".into(),
        };
        let wait = Reconnect::new().wait(1, &error, 0.0);
        assert_eq!(wait, Some(Duration::from_millis(7)));
    }

    #[test]
    fn random_numbers_are_in_their_range_and_differ() {
        let numbers: Vec<_> = (0..8).map(|_| random()).collect();
        assert!(numbers.iter().all(|one| (0.0..1.0).contains(one)));
        assert!(numbers.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
