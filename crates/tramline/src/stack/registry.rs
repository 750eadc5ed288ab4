//! Who is connected, and to what they subscribed.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytestring::ByteString;
use parking_lot::Mutex;
use tramline_broker::{Ending, Pattern, SessionId};

use super::shared::Shared;
use crate::model::connected::{ConnectedSession, ConnectedSubscription};
use crate::model::inbound::SessionRecord;
use crate::model::user::User;
use crate::stack::dispatch;

/// The sessions of each user of this node, by name.
#[derive(Default)]
pub(crate) struct Users(Mutex<HashMap<ByteString, Vec<Weak<SessionRecord>>>>);

impl Users {
    pub(crate) fn add(&self, session: &Arc<SessionRecord>) {
        if let Some(user) = session.user() {
            let mut users = self.0.lock();
            let sessions = users.entry(user.shared_name().clone()).or_default();
            if sessions.is_empty() {
                sessions.reserve_exact(1);
            }
            sessions.push(Arc::downgrade(session));
        }
    }

    pub(crate) fn remove(&self, session: &SessionRecord) {
        let Some(user) = session.user() else {
            return;
        };
        let mut users = self.0.lock();
        let Some(sessions) = users.get_mut(user.name()) else {
            return;
        };
        sessions.retain(|known| !std::ptr::eq(known.as_ptr(), session));
        if sessions.is_empty() {
            users.remove(user.name());
            if users.len() < users.capacity() / 4 {
                users.shrink_to_fit();
            }
        }
    }

    fn sessions(&self, name: &str) -> Vec<Arc<SessionRecord>> {
        let users = self.0.lock();
        let sessions = users.get(name).into_iter().flatten();
        sessions.filter_map(Weak::upgrade).collect()
    }

    fn names(&self) -> Vec<ByteString> {
        let mut names: Vec<_> = self.0.lock().keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

/// Who is connected to a stack, and to what they subscribed: from [`Messaging::registry`](crate::Messaging::registry), or
/// an extractor.
///
/// A session is here from its CONNECTED to its end, a subscription from when it is active. What is given is a copy of a
/// moment. It knows this node only. Keeping one does not keep the messaging alive; of a stack that is gone it knows
/// nobody. Spring: `SimpUserRegistry`.
///
/// # Example: how many see a room, and who leaves it
///
/// ```
/// use axum::extract::{Path, State};
/// use tramline::Registry;
///
/// async fn watchers(State(registry): State<Registry>, Path(room): Path<u32>) -> String {
///     registry.subscriptions(&format!("/topic/rooms/{room}")).len().to_string()
/// }
///
/// async fn ban(State(registry): State<Registry>, Path(name): Path<String>) -> String {
///     let closed = registry.close_user(&name, "you are banned");
///     format!("{closed} sessions were closed")
/// }
/// # let _ = (watchers, ban);
/// ```
#[derive(Clone)]
pub struct Registry(Weak<Shared>);

impl Registry {
    pub(super) fn of(stack: Weak<Shared>) -> Self {
        Self(stack)
    }

    /// The users that have a session, in the order of their names.
    pub fn users(&self) -> Vec<ConnectedUser> {
        let Some(stack) = self.0.upgrade() else {
            return Vec::new();
        };
        let names = stack.users.names().into_iter();
        names.filter_map(|name| self.user(&name)).collect()
    }

    /// How many users have a session.
    pub fn user_count(&self) -> usize {
        self.0
            .upgrade()
            .map_or(0, |stack| stack.users.0.lock().len())
    }

    /// The user `name`, if a session of that name is connected.
    pub fn user(&self, name: &str) -> Option<ConnectedUser> {
        let sessions = self.0.upgrade()?.users.sessions(name);
        let user = sessions.first()?.user()?.clone();
        Some(ConnectedUser {
            user,
            sessions: sessions.into_iter().map(ConnectedSession).collect(),
        })
    }

    /// All sessions, in no order: anonymous ones too.
    pub fn sessions(&self) -> Vec<ConnectedSession> {
        let Some(stack) = self.0.upgrade() else {
            return Vec::new();
        };
        let all = stack.sessions.all().into_iter();
        all.filter(|session| session.is_connected())
            .map(ConnectedSession)
            .collect()
    }

    /// The session `id`.
    pub fn session(&self, id: SessionId) -> Option<ConnectedSession> {
        let found = self.0.upgrade()?.sessions.find(id)?;
        found.is_connected().then_some(ConnectedSession(found))
    }

    /// The subscriptions that a message to `destination` would reach, as clients wrote them: those to just this destination,
    /// and those to a pattern that covers it. For what is sent to users, ask for what they subscribed to,
    /// `/user/queue/news`.
    ///
    /// Looks at every subscription of every session: for a page that an operator opens, not for each message.
    pub fn subscriptions(&self, destination: &str) -> Vec<ConnectedSubscription> {
        let Some(stack) = self.0.upgrade() else {
            return Vec::new();
        };
        let matches = |subscribed: &str| {
            subscribed == destination
                || (subscribed.contains(['*', '?', '{'])
                    && Pattern::parse_separated(
                        ByteString::from(subscribed),
                        stack.broker.separator(subscribed),
                    )
                    .is_ok_and(|pattern| pattern.matches(destination)))
        };
        let sessions = self.sessions().into_iter();
        sessions
            .flat_map(|session| session.subscriptions_where(matches))
            .collect()
    }

    /// Ends the session `id`: its client is closed with 1008 and `reason` (at most 123 bytes of it, over WebSocket), after
    /// what is queued for it. False if there is no such session.
    ///
    /// The session is nowhere any more at once: not here, not present, and nothing is published to it. Of what it has sent,
    /// nothing more is looked at. A handler that runs for it is waited for, and its connection stays so long: one that may
    /// have no end needs a [time limit](crate::MessageRouter::layer). Nothing keeps the client from connecting again: for
    /// that, let the [`connect`](crate::MessageRouter::connect) handler refuse it.
    pub fn close_session(&self, id: SessionId, reason: impl Into<ByteString>) -> bool {
        let found = self.session(id);
        if let (Some(ConnectedSession(session)), Some(stack)) = (&found, self.0.upgrade()) {
            stack.expel(session, reason.into());
        }
        found.is_some()
    }

    /// Ends every session of the user `name`, as [`close_session`](Self::close_session) does; gives how many there were.
    pub fn close_user(&self, name: &str, reason: impl Into<ByteString>) -> usize {
        let reason = reason.into();
        let Some(stack) = self.0.upgrade() else {
            return 0;
        };
        let sessions = stack.users.sessions(name);
        for session in &sessions {
            stack.expel(session, reason.clone());
        }
        sessions.len()
    }
}

impl Shared {
    /// Ends a session that the application does not want any more.
    fn expel(self: &Arc<Self>, session: &SessionRecord, reason: ByteString) {
        session.expelled.store(true, Ordering::Release);
        // First, since leaving the broker seals the outbox: what is queued there is still written.
        session.outbox.end(closed_by_application(reason));
        self.leave(session);
    }

    /// Nothing is published to the session any more, and it is nowhere any more. Once or several times.
    pub(crate) fn leave(self: &Arc<Self>, session: &SessionRecord) {
        session.gone.store(true, Ordering::Release);
        dispatch::close(&*self.broker, session.id());
        self.users.remove(session);
        for destination in session.subscriptions.take() {
            self.went(session, &destination);
        }
    }
}

/// Policy violation: what a client hears that may not stay. Spring Session closes with it too.
fn closed_by_application(reason: ByteString) -> Ending {
    Ending::Requested { code: 1008, reason }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("users", &self.user_count())
            .finish_non_exhaustive()
    }
}

/// A user and the sessions that it had when the [`Registry`] was asked.
#[derive(Clone, Debug)]
pub struct ConnectedUser {
    user: User,
    sessions: Vec<ConnectedSession>,
}

impl ConnectedUser {
    /// The name.
    pub fn name(&self) -> &str {
        self.user.name()
    }

    /// The user, as the login of the first of its sessions made it.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The sessions, in the order they were connected. Never empty.
    pub fn sessions(&self) -> &[ConnectedSession] {
        &self.sessions
    }
}
