//! Pings that keep a connection open through proxies, and notice peers that are gone without a word.

use std::time::{Duration, Instant};

/// When to ping, and how long silence may follow.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    every: Duration,
    timeout: Duration,
    next_ping: Instant,
    /// Nothing has come since a ping: until when something must.
    silent_until: Option<Instant>,
    /// That time is over; what has come meanwhile and was not read yet gets one more chance.
    overdue: bool,
    owed: bool,
}

/// Unless an option says otherwise: how often it pings, and how long it then waits.
pub(crate) const KEEP_ALIVE: Option<Duration> = Some(Duration::from_secs(25));
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How long what lies in the socket may take to be read once the time is over.
pub(crate) const LAST_CHANCE: Duration = Duration::from_millis(100);

impl KeepAlive {
    /// `None` for no pings: where `every` is `None` or zero.
    pub(crate) fn new(
        every: Option<Duration>,
        timeout: Duration,
        now: Instant,
    ) -> Option<Box<Self>> {
        let every = every.filter(|every| !every.is_zero())?;
        Some(Box::new(Self {
            every,
            timeout,
            next_ping: now + every,
            silent_until: None,
            overdue: false,
            owed: false,
        }))
    }

    /// Something has come, whatever it was.
    pub(crate) fn heard(&mut self) {
        self.silent_until = None;
        self.overdue = false;
    }

    pub(crate) fn next_timeout(&self) -> Instant {
        self.silent_until
            .map_or(self.next_ping, |until| until.min(self.next_ping))
    }

    /// Looks at the time; `listening` is whether all that has come was read, so that silence is the peer's and not
    /// ours. `Err` with the time that passed, when the peer is taken for gone.
    pub(crate) fn handle_timeout(&mut self, now: Instant, listening: bool) -> Result<(), Duration> {
        if self.silent_until.is_some_and(|until| until <= now) {
            if !listening {
                self.silent_until = Some(now + self.timeout);
            } else if self.overdue {
                return Err(self.timeout);
            } else {
                self.overdue = true;
                self.silent_until = Some(now + LAST_CHANCE);
            }
        }
        if self.next_ping <= now {
            self.next_ping = now + self.every;
            self.owed = true;
            self.silent_until.get_or_insert(now + self.timeout);
        }
        Ok(())
    }

    /// Whether a ping is due; said once.
    pub(crate) fn take_ping(&mut self) -> bool {
        std::mem::take(&mut self.owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn every_10_s_within_5_s(start: Instant) -> Box<KeepAlive> {
        KeepAlive::new(Some(10 * SECOND), 5 * SECOND, start).unwrap()
    }

    #[test]
    fn a_peer_that_answers_is_pinged_again_and_again() {
        let start = Instant::now();
        let mut pings = every_10_s_within_5_s(start);
        for round in 1..5 {
            let due = start + round * 10 * SECOND;
            assert_eq!(pings.next_timeout(), due);
            assert!(!pings.take_ping());
            assert_eq!(pings.handle_timeout(due, true), Ok(()));
            assert!(pings.take_ping() && !pings.take_ping());
            assert_eq!(pings.next_timeout(), due + 5 * SECOND);
            pings.heard();
        }
    }

    #[test]
    fn a_silent_peer_is_gone_after_one_last_look_at_the_socket() {
        let start = Instant::now();
        let mut pings = every_10_s_within_5_s(start);
        pings.handle_timeout(start + 10 * SECOND, true).unwrap();
        let late = start + 15 * SECOND;
        assert_eq!(pings.handle_timeout(late, true), Ok(()));
        assert_eq!(
            pings.handle_timeout(late + LAST_CHANCE, true),
            Err(5 * SECOND)
        );
        pings.heard();
        assert_eq!(pings.handle_timeout(late + LAST_CHANCE, true), Ok(()));
    }

    #[test]
    fn who_is_not_listened_to_is_not_silent() {
        let start = Instant::now();
        let mut pings = every_10_s_within_5_s(start);
        for seconds in 10..100 {
            let now = start + seconds * SECOND;
            assert_eq!(pings.handle_timeout(now, false), Ok(()));
        }
    }

    #[test]
    fn none_and_zero_are_no_pings() {
        assert!(KeepAlive::new(None, SECOND, Instant::now()).is_none());
        assert!(KeepAlive::new(Some(Duration::ZERO), SECOND, Instant::now()).is_none());
    }
}
