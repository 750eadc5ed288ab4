//! What a session answers with.

use crate::receive::Receive;

/// One request that receives, from [`Session::attach`](super::Session::attach) to [`Output::End`]; whether it was accepted
/// or refused, it has its output polled in the same way.
#[derive(Debug)]
#[must_use = "its output must be polled, or the session told that it is over"]
pub struct Receiver {
    pub(super) receive: Receive,
    pub(super) standing: Standing,
    /// Bytes of its response so far, without the prelude.
    pub(super) sent: usize,
    /// The prelude, if any, is out.
    pub(super) started: bool,
}

impl Receiver {
    /// How it wants its frames.
    #[must_use]
    pub fn receive(&self) -> &Receive {
        &self.receive
    }

    /// Whether the session does not receive it: it gets one close frame, and the session knows nothing of it.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.standing, Standing::SecondOne | Standing::Closed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// With a number, so that a late word from a request that is over cannot touch its successor.
    Attached(u32),
    /// Refused: there is another receiver.
    SecondOne,
    /// Refused: the session is closed.
    Closed,
    /// Refused, and told so.
    Over,
}

/// What a call of [`Session::poll_output`](super::Session::poll_output) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Nothing to say at present; ask again after the next [`send`](super::Session::send), [`close`](super::Session::close) or
    /// [`handle_timeout`](super::Session::handle_timeout).
    Pending,
    /// One piece was appended; there may be more.
    Data,
    /// End the response after what was appended, if anything. The receiver is detached already.
    End,
}

/// Why a session may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// No receiver came for [`Config::disconnect_delay`](crate::Config::disconnect_delay): the client is gone. The application has yet to hear of it. What
    /// was queued is lost.
    Disconnected,
    /// The session had been closed, and has been remembered long enough.
    Forgotten,
}
