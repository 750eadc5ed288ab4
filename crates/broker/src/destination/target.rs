//! Receivers of messages.

use bytestring::ByteString;

use crate::destination::Destination;

/// The receivers of a message.
///
/// Addresses of users and sessions exist only as values of this type: no text from a client becomes one, and none is
/// stored or matched by a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// Every subscriber of the destination.
    Destination(Destination),
    /// Every session of the user `name` that subscribed to `path` among its user destinations.
    User {
        /// The user's name; any characters.
        name: ByteString,
        /// The part after the user prefix: `/queue/errors` for a client's `/user/queue/errors`.
        path: Destination,
    },
    /// The session `id`, if it subscribed to `path` among its user destinations.
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
