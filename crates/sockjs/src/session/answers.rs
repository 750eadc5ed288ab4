//! Receivers, and the results of a session's methods.

use crate::receive::Receive;

/// One receiving request, from [`SockJsSession::attach`](super::SockJsSession::attach) to [`Output::End`]; its output is polled in
/// the same way whether it was accepted or refused.
#[derive(Debug)]
#[must_use = "its output must be polled, or the session told that it is over"]
pub struct Receiver {
    pub(super) receive: Receive,
    pub(super) standing: Standing,
    /// Bytes of its response so far, without the prelude.
    pub(super) sent: usize,
    /// The prelude, if any, was sent.
    pub(super) started: bool,
}

impl Receiver {
    /// The framing that it needs.
    #[must_use]
    pub fn receive(&self) -> &Receive {
        &self.receive
    }

    /// Returns true if the session refused it: it gets one close frame, and is not attached.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.standing, Standing::SecondOne | Standing::Closed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// With a number, so that a late call from a finished request cannot affect its successor.
    Attached(u32),
    /// Refused: another receiver is attached.
    SecondOne,
    /// Refused: the session is closed.
    Closed,
    /// Refused, and its close frame is sent.
    Over,
}

/// The result of [`SockJsSession::poll_output`](super::SockJsSession::poll_output).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// There is no output now; poll again after the next [`send`](super::SockJsSession::send),
    /// [`close`](super::SockJsSession::close) or [`handle_timeout`](super::SockJsSession::handle_timeout).
    Pending,
    /// One piece was appended; there may be more.
    Data,
    /// End the response after the appended bytes, if any. The receiver is detached already.
    End,
}

/// The reason why a session may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedOut {
    /// No receiver came for [`Config::disconnect_delay`](crate::Config::disconnect_delay): the client is gone. The
    /// application does not know yet. Queued messages are lost.
    Disconnected,
    /// The session had been closed, and the time for late requests is over.
    Forgotten,
}
