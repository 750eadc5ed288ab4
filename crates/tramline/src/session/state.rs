//! The states of a session.

use std::sync::Arc;
use std::time::Instant;

use tramline_broker::Outbox;

use super::end::End;
use crate::model::disconnected::Disconnected;

/// The course of a session, which only moves downward in this list.
///
/// Its [`Login`] is apart from that: a client may leave, or be sent away, while its login is being decided, which then
/// has the same deadline as ever.
#[derive(Debug)]
pub(super) enum Phase {
    /// Frames are read and handled, and deliveries are written.
    Open,
    /// The server's side ends it: running work is finished and queued deliveries are written, but no further frame is
    /// handled.
    Draining(Box<End>),
    /// The client is gone: nothing is written any more, but running work is finished, and what it sent is handled unless
    /// the session was draining.
    Gone(Box<Gone>),
    /// It ends now, whatever it was doing.
    Ending(Box<End>),
    /// It has ended; the disconnect handlers run.
    Ended(Option<Disconnecting>),
}

/// The end of a session whose client is gone, while what it sent is still handled.
#[derive(Debug)]
pub(super) struct Gone {
    end: Arc<End>,
    was_draining: bool,
    /// What is not handled then is given up; `None` once it is.
    until: Option<Instant>,
}

/// The disconnect handlers of a session, which run one after the other.
#[derive(Debug)]
pub(super) struct Disconnecting {
    pub(super) why: Arc<Disconnected>,
    /// The number of handlers that were called.
    pub(super) called: u32,
}

/// The client's login.
#[derive(Debug)]
pub(super) enum Login {
    /// CONNECT has to arrive, and the login handler to decide, until then.
    Awaited { deadline: Instant },
    /// The login handler has decided and listeners were told; a check of the policy has to decide until then. Boxed: a
    /// second `Instant` here would make every session larger.
    Checked { deadline: Box<Instant> },
    /// It is decided and listeners were told; the broker has not confirmed the session, or never will.
    Decided,
    /// CONNECTED is queued, and the transport was not told of it.
    Accepted,
    /// The client is logged in.
    Done,
}

impl Phase {
    /// Returns whether the transport is read.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Returns whether the client is gone.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Returns whether the session ends now, or has ended.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self, Self::Ending(_) | Self::Ended(_))
    }

    /// Returns whether the session has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    /// Returns whether frames that arrived are still handled.
    pub(super) fn handles_frames(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Gone(gone) => !gone.was_draining,
            Self::Draining(_) | Self::Ending(_) | Self::Ended(_) => false,
        }
    }

    /// Returns whether deliveries are still written.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Open | Self::Draining(_))
    }

    /// The session ends now.
    pub(super) fn end(&mut self, end: End) {
        if !self.is_ending() {
            *self = Self::Ending(Box::new(end));
        }
    }

    /// The time until which what a client sent before it left is handled.
    pub(super) fn left_behind_until(&self) -> Option<Instant> {
        match self {
            Self::Gone(gone) => gone.until,
            _ => None,
        }
    }

    /// Nothing further of what a client sent before it left is handled.
    pub(super) fn give_up_left_behind(&mut self) {
        if let Self::Gone(gone) = self {
            gone.was_draining = true;
            gone.until = None;
        }
    }

    /// The server's side ends the session.
    pub(super) fn drain(&mut self, end: End) {
        if self.writes() {
            *self = Self::Draining(Box::new(end));
        }
    }

    /// The client is gone, and what it sent is handled `until` then; false if that makes no difference any more.
    pub(super) fn lose(&mut self, end: End, until: Instant) -> bool {
        let was_draining = match self {
            Self::Open => false,
            Self::Draining(_) => true,
            Self::Gone(_) | Self::Ending(_) | Self::Ended(_) => return false,
        };
        *self = Self::Gone(Box::new(Gone {
            end: Arc::new(end),
            was_draining,
            until: Some(until),
        }));
        true
    }

    /// Takes the end, if it has come; `idle` says that no work is running.
    #[cold]
    pub(super) fn take_end(&mut self, idle: bool, outbox: &Outbox) -> Option<Arc<End>> {
        match self {
            Self::Open | Self::Ended(_) => return None,
            // What the client sent is handled without its transport, unless it may still read answers.
            Self::Gone(gone) if !idle => {
                return (!matches!(*gone.end, End::HalfClosed)).then(|| Arc::clone(&gone.end));
            }
            // Once sealed, nobody can add to what the session has to write, or it might never end.
            Self::Draining(_) if !(idle && outbox.seal()) => return None,
            _ => {}
        }
        match std::mem::replace(self, Self::Ended(None)) {
            Self::Gone(gone) => Some(gone.end),
            Self::Draining(end) | Self::Ending(end) => Some(Arc::from(end)),
            Self::Open | Self::Ended(_) => None,
        }
    }
}

impl Login {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Awaited { deadline } => Some(*deadline),
            Self::Checked { deadline } => Some(**deadline),
            _ => None,
        }
    }

    /// Returns whether the client is logged in.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Returns whether CONNECTED was queued.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self, Self::Accepted | Self::Done)
    }

    /// Returns whether listeners were told of the session.
    pub(super) fn is_announced(&self) -> bool {
        !matches!(self, Self::Awaited { .. })
    }
}

#[cfg(test)]
mod tests {
    use tramline_broker::Overflow;

    use super::*;

    fn gone() -> End {
        End::HalfClosed
    }

    fn requested() -> End {
        End::Requested {
            code: 1001,
            reason: "the server is going away".into(),
        }
    }

    #[test]
    fn frames_of_a_client_that_left_are_handled_unless_the_session_was_draining() {
        let mut state = Phase::Open;
        assert!(state.lose(gone(), Instant::now()) && state.is_gone());
        assert!(state.handles_frames() && !state.writes());

        let mut state = Phase::Open;
        state.drain(requested());
        assert!(state.writes() && !state.is_open() && !state.handles_frames());
        assert!(state.lose(gone(), Instant::now()) && !state.handles_frames());
        assert!(
            !state.lose(gone(), Instant::now()),
            "it makes a difference once"
        );
        state.drain(requested());
        assert!(state.is_gone());
    }

    #[test]
    fn running_work_delays_the_end_unless_the_session_cannot_go_on() {
        let outbox = Outbox::new(1, Overflow::Close);
        let mut state = Phase::Open;
        assert!(state.take_end(true, &outbox).is_none());
        state.drain(requested());
        assert!(state.take_end(false, &outbox).is_none());
        let end = state.take_end(true, &outbox);
        assert!(matches!(end.as_deref(), Some(End::Requested { .. })));

        let mut state = Phase::Open;
        state.lose(gone(), Instant::now());
        assert!(state.take_end(false, &outbox).is_none());
        state.end(End::NoConnect);
        state.end(End::SlowLogin);
        let end = state.take_end(false, &outbox);
        assert!(
            matches!(end.as_deref(), Some(End::NoConnect)),
            "the first counts"
        );
        assert!(state.is_ending() && state.take_end(true, &outbox).is_none());
    }
}
