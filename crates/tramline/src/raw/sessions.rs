//! The application's view of all connections of an endpoint.

use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::SessionId;
use tramline_websocket::CloseCode;

use super::shared::RawStack;
use super::socket::SocketSender;
use crate::net::message::{Item, SharedMessage};

/// The open connections of a raw endpoint: to count them, to send to them, to close them.
///
/// From [`RawEndpoint::sessions`](super::RawEndpoint::sessions) or, in a handler,
/// [`SocketSender::sessions`]; cheap to clone. Keeping one does not keep the endpoint
/// alive.
///
/// # Example: a line for everyone
///
/// ```
/// use tramline::raw::{RawEndpoint, Socket};
///
/// async fn listen(mut socket: Socket) {
///     while socket.receive().await.is_some() {}
/// }
///
/// let news = RawEndpoint::builder(listen).build()?;
/// let readers = news.sessions();
/// assert_eq!(readers.broadcast("the tram is late"), 0);            // there are none yet
/// # Ok::<(), tramline::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<RawStack>);

impl Sessions {
    /// The number of connections.
    pub fn len(&self) -> usize {
        self.0.sessions.len()
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection with this [id](SocketSender::id), if it is still open.
    pub fn get(&self, id: SessionId) -> Option<SocketSender> {
        self.0.sessions.find(id).map(SocketSender)
    }

    /// All of them, in no particular order.
    pub fn all(&self) -> Vec<SocketSender> {
        let channels = self.0.sessions.all().into_iter();
        channels.map(SocketSender).collect()
    }

    /// Sends a message to all of them, as by [`try_send`](SocketSender::try_send); returns how many took it.
    ///
    /// Does not wait: [`RawLimits::overflow`](super::RawLimits::overflow) applies to a connection without room. The
    /// payload is shared.
    pub fn broadcast(&self, message: impl Into<SharedMessage>) -> usize {
        self.broadcast_to(message, |_| true)
    }

    /// Sends a message to those for which `wanted` returns true, as [`broadcast`](Self::broadcast) does.
    ///
    /// # Example: to one user's browsers
    ///
    /// ```
    /// use tramline::raw::Sessions;
    ///
    /// fn tell(sessions: &Sessions, user: &str, news: String) -> usize {
    ///     sessions.broadcast_to(news, |session| session.user().is_some_and(|is| is.name() == user))
    /// }
    /// # let _ = tell;
    /// ```
    pub fn broadcast_to(
        &self,
        message: impl Into<SharedMessage>,
        wanted: impl Fn(&SocketSender) -> bool,
    ) -> usize {
        let item: Item = message.into().into_item();
        let sessions = self.all().into_iter();
        sessions
            .filter(wanted)
            .filter(|session| session.0.try_send(item.clone()).is_ok())
            .count()
    }

    /// Closes all of them with this code and reason, as [`close`](SocketSender::close) does. New ones may come.
    pub fn close(&self, code: CloseCode, reason: impl Into<ByteString>) {
        let reason = reason.into();
        for session in self.all() {
            session.close(code, reason.clone());
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.0).finish()
    }
}
