use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use crate::text::{excerpt, trim};

/// A peer is considered dead after a silence of this many times the negotiated interval, or a longer time that
/// [`ServerConfig::min_silence`](crate::ServerConfig::min_silence) sets.
///
/// The specification only asks for "an error margin"; three is Spring's choice, and it tolerates two missed heart-beats
/// of a busy peer.
pub const READ_TOLERANCE: u32 = 3;

/// One side's abilities and wishes: the value of a `heart-beat` header.
///
/// Both numbers are milliseconds, and zero means "none" (STOMP 1.2, "Heart-beating"). Heart-beats are scheduled at 90 % of
/// the agreed interval, so that none is late.
///
/// # Example: two sides agree
///
/// ```
/// use std::time::Duration;
/// use tramline_stomp::HeartBeat;
///
/// let ours = HeartBeat { send: 10_000, receive: 10_000 };
/// let theirs: HeartBeat = "0, 20000".parse()?;
///
/// let agreed = ours.negotiate(theirs);
/// assert_eq!(agreed.send_every, Some(Duration::from_secs(20)));
/// assert_eq!(agreed.expect_within, None, "the peer cannot send heart-beats");
/// # Ok::<(), tramline_stomp::InvalidHeartBeat>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HeartBeat {
    /// The longest silence that this side guarantees, in milliseconds.
    pub send: u32,
    /// The longest silence that this side wants from its peer, in milliseconds.
    pub receive: u32,
}

impl HeartBeat {
    /// No heart-beats in either direction: the meaning of an absent header.
    pub const NONE: HeartBeat = HeartBeat {
        send: 0,
        receive: 0,
    };

    /// Returns what both sides will do: in each direction the slower of guarantee and wish, or nothing if either is
    /// zero.
    pub fn negotiate(self, theirs: HeartBeat) -> Negotiated {
        Negotiated {
            send_every: interval(self.send, theirs.receive).map(from_millis),
            expect_within: interval(self.receive, theirs.send).map(from_millis),
        }
    }
}

impl fmt::Display for HeartBeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.send, self.receive)
    }
}

impl FromStr for HeartBeat {
    type Err = InvalidHeartBeat;

    /// Parses `send,receive`; blanks around the numbers are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text
            .split_once(',')
            .and_then(|(send, receive)| Some((digits(send)?, digits(receive)?)));
        let Some((send, receive)) = digits else {
            return Err(InvalidHeartBeat::Malformed {
                value: excerpt(text),
            });
        };
        match (send.parse(), receive.parse()) {
            (Ok(send), Ok(receive)) => Ok(Self { send, receive }),
            _ => Err(InvalidHeartBeat::TooLarge {
                value: excerpt(text),
            }),
        }
    }
}

/// An invalid `heart-beat` value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHeartBeat {
    /// It is not two numbers.
    #[error(
        "`{value}` is not a heart-beat; send two numbers of milliseconds with a comma between \
         them, such as 10000,10000"
    )]
    Malformed {
        /// The beginning of the value.
        value: String,
    },

    /// One of its numbers is over the limit.
    #[error(
        "`{value}` exceeds the limit of {} milliseconds; send less, or 0 for no heart-beats in \
         that direction",
        u32::MAX
    )]
    TooLarge {
        /// The beginning of the value.
        value: String,
    },
}

/// The result of negotiating two [`HeartBeat`]s, seen from one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Negotiated {
    /// This side writes something at least this often.
    pub send_every: Option<Duration>,
    /// The peer writes something at least this often; it is considered dead after at least [`READ_TOLERANCE`] times as
    /// long.
    pub expect_within: Option<Duration>,
}

/// The timers of one connection, in either role.
///
/// Intervals are milliseconds, zero for none: half of a `Duration`, and every session has two.
#[derive(Debug)]
pub(crate) struct Timers {
    /// Time from one write to the heart-beat after it: shorter than agreed.
    beat_after: u32,
    /// Time from one read after which the peer is considered dead.
    read_within: u32,
    last_write: Instant,
    last_read: Instant,
    running: bool,
    reading_paused: bool,
}

/// The times that a connection's timers add to the agreed intervals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Margins {
    /// The period of the caller's timer, or zero.
    pub(crate) period: Duration,
    /// The least silence after which the peer is considered dead.
    pub(crate) min_silence: Duration,
}

/// The action that a timer requires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    Nothing,
    HeartBeat,
    PeerGone { silent_for: Duration },
}

impl Timers {
    /// Creates timers that do not fire before [`Timers::agree`] and [`Timers::start`].
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            beat_after: 0,
            read_within: 0,
            last_write: now,
            last_read: now,
            running: false,
            reading_paused: false,
        }
    }

    /// Sets the intervals of the timers without starting them.
    pub(crate) fn agree(&mut self, ours: HeartBeat, theirs: HeartBeat, margins: Margins) {
        let Margins {
            period,
            min_silence,
        } = margins;
        let send_every = interval(ours.send, theirs.receive);
        self.beat_after = send_every.map_or(0, |every| beat_after(every, period));
        let expect_within = interval(ours.receive, theirs.send);
        self.read_within = expect_within.map_or(0, |within| {
            within
                .saturating_mul(READ_TOLERANCE)
                .max(u32::try_from(min_silence.as_millis()).unwrap_or(u32::MAX))
        });
    }

    /// Starts both timers from the last write and the last read.
    pub(crate) fn start(&mut self) {
        self.running = true;
    }

    pub(crate) fn stop(&mut self) {
        self.running = false;
    }

    /// Returns true if this side sends heart-beats.
    pub(crate) fn sends(&self) -> bool {
        self.running && self.beat_after > 0
    }

    pub(crate) fn wrote(&mut self, now: Instant) {
        self.last_write = now;
    }

    pub(crate) fn read(&mut self, now: Instant) {
        self.last_read = now;
    }

    pub(crate) fn is_reading_paused(&self) -> bool {
        self.reading_paused
    }

    /// Unread bytes are not the peer's fault: its time restarts at the resume.
    pub(crate) fn pause_reading(&mut self, paused: bool, now: Instant) {
        if self.reading_paused && !paused {
            self.last_read = now;
        }
        self.reading_paused = paused;
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match (self.write_deadline(), self.read_deadline()) {
            (Some(write), Some(read)) => Some(write.min(read)),
            (write, read) => write.or(read),
        }
    }

    /// Returns what is due at `now`. A heart-beat counts as written.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Due {
        if self.read_deadline().is_some_and(|at| at <= now) {
            let silent_for = now.saturating_duration_since(self.last_read);
            return Due::PeerGone { silent_for };
        }
        if self.write_deadline().is_some_and(|at| at <= now) {
            self.last_write = now;
            return Due::HeartBeat;
        }
        Due::Nothing
    }

    fn write_deadline(&self) -> Option<Instant> {
        self.sends()
            .then(|| self.last_write.checked_add(from_millis(self.beat_after)))
            .flatten()
    }

    fn read_deadline(&self) -> Option<Instant> {
        (self.running && self.read_within > 0 && !self.reading_paused)
            .then(|| self.last_read.checked_add(from_millis(self.read_within)))
            .flatten()
    }
}

/// Returns the time after a write at which a heart-beat is due, in milliseconds: 90 % of the agreed interval, since the
/// peer measures what the network and a busy machine add. Rounded down to whole periods of the caller's timer, which
/// fires after the deadline and not before.
fn beat_after(every: u32, period: Duration) -> u32 {
    let period = u32::try_from(period.as_millis()).unwrap_or(u32::MAX).max(1);
    let early = every - every.div_ceil(10);
    (early / period * period).max(period.min(every)).max(1)
}

fn interval(guaranteed: u32, wanted: u32) -> Option<u32> {
    (guaranteed > 0 && wanted > 0).then(|| guaranteed.max(wanted))
}

fn from_millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

/// Strips blanks from a number; `parse` alone would accept a sign.
fn digits(text: &str) -> Option<&str> {
    let digits = trim(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then_some(digits)
}

#[cfg(test)]
mod tests;
