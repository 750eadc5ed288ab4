//! What bounds the rights of a session in time.

use std::time::Instant;

use crate::model::secret::Secret;

/// The parts of a session's rights that end, or are asked for again. Most sessions have none.
#[derive(Default)]
pub(super) struct Rights {
    pub(super) rechecks: Rechecks,
    /// The token of the HTTP request, until CONNECT.
    pub(super) of_request: Option<Secret>,
    pub(super) expiry: Option<Expiry>,
    /// The client sends too fast.
    pub(super) pace: Option<Pace>,
}

/// The checks of a session's subscriptions that are to come.
#[derive(Default)]
pub(super) struct Rechecks {
    /// The time at which the first kept answer ends.
    pub(super) due: Option<Instant>,
    /// All subscriptions are to be checked, once the checks that run are done.
    pub(super) again: bool,
    /// Checks run.
    pub(super) running: bool,
}

/// The end of the rights of a session's user.
pub(super) struct Expiry {
    /// The time at which the client is told, until it is.
    pub(super) notice: Option<Instant>,
    pub(super) end: Instant,
}

/// The pace of a client that is slowed down.
pub(super) struct Pace {
    /// Nothing is read until then.
    pub(super) until: Instant,
    /// It has been slowed down since then, without a pause.
    pub(super) since: Instant,
}
