//! Pings that keep a connection open through proxies, and detect peers that have vanished.

use std::time::{Duration, Instant};

/// The schedule of pings, and the limit on silence after one.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    every: Duration,
    timeout: Duration,
    next_ping: Instant,
    /// Set while nothing has come since a ping: the time until which something must.
    silent_until: Option<Instant>,
    /// That time has passed; input that arrived meanwhile and was not read yet gets one more chance.
    overdue: bool,
    owed: bool,
}

/// The default interval of pings, and the default time to wait for an answer.
pub(crate) const KEEP_ALIVE: Option<Duration> = Some(Duration::from_secs(25));
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The time to read what is already in the socket once the deadline has passed.
pub(crate) const LAST_CHANCE: Duration = Duration::from_millis(100);

impl KeepAlive {
    /// Returns `None` for no pings: if `every` is `None` or zero.
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

    /// Records that something has come, whatever it was.
    pub(crate) fn received(&mut self) {
        self.silent_until = None;
        self.overdue = false;
    }

    pub(crate) fn next_timeout(&self) -> Instant {
        self.silent_until
            .map_or(self.next_ping, |until| until.min(self.next_ping))
    }

    /// Checks the deadlines; `listening` is true if all input that had come was read, so that the silence is the peer's
    /// and not ours. Returns `Err` with the time that passed when the peer counts as gone.
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

    /// Returns true once when a ping is due.
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
            pings.received();
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
        pings.received();
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
