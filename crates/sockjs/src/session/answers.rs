//! What a session answers with.

/// Names one attached request, so that a late word from a request that is over cannot touch its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReceiverId(pub(super) u32);

/// The answer to a request that wants to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Attach {
    /// It is the session's receiver now; poll its output.
    Accepted(ReceiverId),
    /// It is answered, with status 200, by this and nothing more; the session has not noticed it.
    Refused(Refusal),
}

/// The whole body for a request that was refused: a close frame in the framing of its transport.
///
/// Send prelude and frame as two chunks where the response is chunked: streaming clients of the test scripts read so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What responses of this transport begin with; often nothing.
    pub prelude: &'static [u8],
    /// `c[2010,"Another connection still open"]`, or the session's own close frame.
    pub frame: Vec<u8>,
}

impl Refusal {
    /// Both in one piece.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        if self.prelude.is_empty() {
            self.frame
        } else {
            [self.prelude, &self.frame].concat()
        }
    }
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
