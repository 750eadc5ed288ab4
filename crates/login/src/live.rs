//! Web sessions that this process has in hand, and the sockets that end with them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytestring::ByteString;
use parking_lot::Mutex;
use tower_sessions::session::Id;
use tramline::SessionId;
use tramline::raw::{CloseCode, SocketSender};
use tramline::registry::ConnectedSession;

use crate::csrf::Token;
use crate::ticket::Ticket;

/// The web session of a request whose visitor has logged in: in the request's extensions, and in those of the sockets that
/// it opened.
///
/// In a handler of messages it is an [`Extension<WebSession>`](tramline::extract::Extension); elsewhere
/// [`Handshake::extension`](tramline::login::Handshake::extension) has it.
#[derive(Clone)]
pub struct WebSession(pub(crate) Arc<Live>);

impl WebSession {
    /// The name of the user who logged in.
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// Returns true once it has ended, by whatever way.
    pub fn has_ended(&self) -> bool {
        self.0.ended().is_some()
    }

    /// Closes a raw socket when the web session ends, with 1008 and the reason; at once if it has ended. STOMP sessions need
    /// no call: [`Login::bind`](crate::Login::bind) sees to them.
    ///
    /// # Example: a raw socket that ends with the login
    ///
    /// ```
    /// use tramline::raw::{HandshakeRefused, HandshakeRequest, RawEndpoint, Socket};
    /// use tramline_login::WebSession;
    ///
    /// async fn known(request: HandshakeRequest) -> Result<HandshakeRequest, HandshakeRefused> {
    ///     let session = request.extensions().get::<WebSession>().cloned();
    ///     let refused = HandshakeRefused::new(http::StatusCode::UNAUTHORIZED, "log in first");
    ///     Ok(request.with_attribute(session.ok_or(refused)?))
    /// }
    ///
    /// async fn echo(mut socket: Socket) {
    ///     let sender = socket.sender();
    ///     if let Some(session) = sender.attributes().get::<WebSession>() {
    ///         session.close_with(sender.clone());
    ///     }
    ///     while let Some(message) = socket.receive().await {
    ///         if sender.send(message).await.is_err() {
    ///             break;
    ///         }
    ///     }
    /// }
    ///
    /// let endpoint = RawEndpoint::builder(echo).intercept(known).build()?;
    /// # let _ = endpoint;
    /// # Ok::<(), tramline::BuildError>(())
    /// ```
    pub fn close_with(&self, socket: SocketSender) {
        self.0.hold(Held::Raw(socket));
    }
}

/// Without the id and the token, which are secrets.
impl fmt::Debug for WebSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSession")
            .field("user", &self.user())
            .field("has_ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}

/// A web session that requests or sockets have in hand.
pub(crate) struct Live {
    pub(crate) id: Id,
    pub(crate) user: String,
    pub(crate) since: u64,
    pub(crate) csrf: Token,
    /// When it was last used.
    seen: AtomicU64,
    /// The same as the store has it.
    pub(crate) stored: AtomicU64,
    /// When the store was last asked whether it still exists.
    pub(crate) checked: AtomicU64,
    /// A frame came since the last look.
    active: AtomicBool,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    ended: Option<ByteString>,
    held: Vec<Held>,
}

impl Sockets {
    fn prune(&mut self) {
        self.held.retain(|held| match held {
            Held::Stomp(_) => true,
            Held::Raw(socket) => !socket.is_closed(),
        });
    }
}

enum Held {
    Stomp(ConnectedSession),
    Raw(SocketSender),
}

impl Held {
    fn close(&self, reason: &ByteString) {
        match self {
            Self::Stomp(session) => {
                session.close(reason.clone());
            }
            Self::Raw(socket) => socket.close(CloseCode::POLICY_VIOLATION, reason.clone()),
        }
    }
}

impl Live {
    fn new(id: Id, ticket: &Ticket, now: u64) -> Self {
        Self {
            id,
            user: ticket.user.clone(),
            since: ticket.since,
            csrf: ticket.csrf.clone(),
            seen: AtomicU64::new(ticket.seen),
            stored: AtomicU64::new(ticket.seen),
            checked: AtomicU64::new(now),
            active: AtomicBool::new(false),
            sockets: Mutex::default(),
        }
    }

    /// Notes that a frame came: once between two looks of the sweep it is a write.
    pub(crate) fn mark_active(&self) {
        if !self.active.load(Ordering::Relaxed) {
            self.active.store(true, Ordering::Relaxed);
        }
    }

    /// When it was last used, by a request or a frame.
    pub(crate) fn seen(&self, now: u64) -> u64 {
        if self.active.swap(false, Ordering::Relaxed) {
            self.touch(now);
        }
        self.seen.load(Ordering::Relaxed)
    }

    pub(crate) fn touch(&self, now: u64) {
        self.seen.fetch_max(now, Ordering::Relaxed);
    }

    /// The reason for its end, if it has ended.
    pub(crate) fn ended(&self) -> Option<ByteString> {
        self.sockets.lock().ended.clone()
    }

    pub(crate) fn hold_stomp(&self, session: ConnectedSession) {
        self.hold(Held::Stomp(session));
    }

    fn hold(&self, socket: Held) {
        let mut sockets = self.sockets.lock();
        if let Some(reason) = sockets.ended.clone() {
            drop(sockets);
            socket.close(&reason);
            return;
        }
        if sockets.held.len() == sockets.held.capacity() {
            sockets.prune();
        }
        sockets.held.push(socket);
    }

    /// Drops raw sockets that are closed.
    pub(crate) fn prune(&self) {
        self.sockets.lock().prune();
    }

    pub(crate) fn release(&self, id: SessionId) {
        let mut sockets = self.sockets.lock();
        let is_other = |held: &Held| !matches!(held, Held::Stomp(session) if session.id() == id);
        sockets.held.retain(is_other);
        if sockets.held.len() < sockets.held.capacity() / 4 {
            sockets.held.shrink_to_fit();
        }
    }

    /// Ends it here: closes its sockets, and those that are still to come. Returns how many were open; the first reason
    /// counts.
    pub(crate) fn end(&self, reason: ByteString) -> usize {
        let held = {
            let mut sockets = self.sockets.lock();
            let reason = sockets.ended.get_or_insert(reason).clone();
            (std::mem::take(&mut sockets.held), reason)
        };
        let (held, reason) = held;
        for socket in &held {
            socket.close(&reason);
        }
        held.len()
    }
}

/// The web sessions that this process has in hand, by id.
#[derive(Default)]
pub(crate) struct LiveSessions(Mutex<HashMap<Id, Weak<Live>>>);

impl LiveSessions {
    /// The one with that id, made of its ticket if there is none.
    pub(crate) fn of(&self, id: Id, ticket: &Ticket, now: u64) -> Arc<Live> {
        let mut sessions = self.0.lock();
        if let Some(live) = sessions.get(&id).and_then(Weak::upgrade) {
            return live;
        }
        if sessions.len() == sessions.capacity() {
            sessions.retain(|_, live| live.strong_count() > 0);
        }
        let live = Arc::new(Live::new(id, ticket, now));
        sessions.insert(id, Arc::downgrade(&live));
        live
    }

    /// All of them; those that nobody holds any more are removed.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        let mut sessions = self.0.lock();
        sessions.retain(|_, live| live.strong_count() > 0);
        if sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
        sessions.values().filter_map(Weak::upgrade).collect()
    }
}

impl fmt::Debug for LiveSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} live web sessions", self.0.lock().len())
    }
}
