//! Whom messages are for.

use bytestring::ByteString;

use crate::destination::Destination;

/// Whom a message is for.
///
/// A user's or a session's address exists only as a value of this type: no text that a client can send becomes one,
/// it is never stored and never matched by a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// Everyone who subscribed to the destination.
    Destination(Destination),
    /// Every session of the user `name` that subscribed to `path` among its user destinations.
    User {
        /// The user's name, any characters.
        name: ByteString,
        /// What follows the user prefix: `/queue/errors` for a client's `/user/queue/errors`.
        path: Destination,
    },
    /// The one session `id`, where it subscribed to `path` among its user destinations.
    Session {
        /// The session.
        id: crate::session_id::SessionId,
        /// As for [`Target::User`].
        path: Destination,
    },
}

impl From<Destination> for Target {
    fn from(destination: Destination) -> Self {
        Self::Destination(destination)
    }
}
