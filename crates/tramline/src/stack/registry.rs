//! The registry of connected users, sessions and subscriptions.

use std::fmt;
use std::sync::Weak;

use bytestring::ByteString;
use tramline_broker::{Pattern, SessionId};

use super::shared::MessagingStack;
use crate::app::token::token_id;
use crate::model::connected::{ConnectedSession, ConnectedSubscription};
use crate::model::user::User;

/// The connected users and sessions of a stack, and their subscriptions: from
/// [`Messaging::registry`](crate::Messaging::registry), or an extractor.
///
/// A session is listed from its CONNECTED to its end, a subscription while it is active. Results are snapshots. The
/// registry covers all nodes that the broker joins: sessions of other nodes as they were last described. Keeping one
/// does not keep the messaging alive; once the stack is gone the registry is empty. Spring: `SimpUserRegistry`.
///
/// # Example: the audience of a room, and one who must leave it
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
pub struct Registry(Weak<MessagingStack>);

impl Registry {
    pub(crate) fn of(stack: Weak<MessagingStack>) -> Self {
        Self(stack)
    }

    /// The users that have a session, in the order of their names.
    pub fn users(&self) -> Vec<ConnectedUser> {
        let Some(stack) = self.0.upgrade() else {
            return Vec::new();
        };
        let names = stack.hub.users().into_iter();
        names.filter_map(|name| self.user(&name)).collect()
    }

    /// The number of users that have a session.
    pub fn user_count(&self) -> usize {
        self.0.upgrade().map_or(0, |stack| stack.hub.users().len())
    }

    /// The user `name`, if a session of that name is connected.
    pub fn user(&self, name: &str) -> Option<ConnectedUser> {
        let stack = self.0.upgrade()?;
        let here = stack.hub.members_of(name).into_iter();
        let elsewhere = stack.hub.remote_members_of(name).into_iter();
        let sessions: Vec<ConnectedSession> = here
            .filter_map(ConnectedSession::of)
            .chain(elsewhere.map(ConnectedSession::elsewhere))
            .collect();
        Some(ConnectedUser {
            user: sessions.first()?.user()?,
            sessions,
        })
    }

    /// All sessions, in no order: anonymous ones too.
    pub fn sessions(&self) -> Vec<ConnectedSession> {
        let Some(stack) = self.0.upgrade() else {
            return Vec::new();
        };
        let here = stack.hub.members().into_iter();
        let elsewhere = stack.hub.remote_members().into_iter();
        here.filter(|member| member.is_open())
            .filter_map(ConnectedSession::of)
            .chain(elsewhere.map(ConnectedSession::elsewhere))
            .collect()
    }

    /// The session `id`.
    pub fn session(&self, id: SessionId) -> Option<ConnectedSession> {
        let hub = &self.0.upgrade()?.hub;
        let here = hub.member(id).filter(|member| member.is_open());
        match here {
            Some(member) => ConnectedSession::of(member),
            None => hub.remote_member(id).map(ConnectedSession::elsewhere),
        }
    }

    /// The subscriptions that a message to `destination` would reach, as clients wrote them: those to just this
    /// destination, and those to a pattern that covers it. For messages to users, pass the destination that they
    /// subscribed to, `/user/queue/news`.
    ///
    /// Scans every subscription of every session: for a page that an operator opens, not for each message.
    pub fn subscriptions(&self, destination: &str) -> Vec<ConnectedSubscription> {
        let Some(stack) = self.0.upgrade() else {
            return Vec::new();
        };
        let matches = |subscribed: &str| {
            subscribed == destination
                || (subscribed.contains(['*', '?', '{'])
                    && Pattern::parse_separated(
                        ByteString::from(subscribed),
                        stack.hub.separator(subscribed),
                    )
                    .is_ok_and(|pattern| pattern.matches(destination)))
        };
        let sessions = self.sessions().into_iter();
        sessions
            .flat_map(|session| session.subscriptions_where(matches))
            .collect()
    }

    /// The subscriptions of all sessions that `wanted` takes, in no order; each names its session, user and destination.
    ///
    /// Scans every subscription of every session, as [`subscriptions`](Self::subscriptions) does.
    ///
    /// # Example: what a user is subscribed to below a topic
    ///
    /// ```
    /// # fn count(registry: &tramline::Registry) -> usize {
    /// let found = registry.find_subscriptions(|subscription| {
    ///     subscription.destination.starts_with("/topic/rooms/")
    ///         && subscription.session.user().is_some_and(|user| user.name() == "alice")
    /// });
    /// # found.len()
    /// # }
    /// # let _ = count;
    /// ```
    pub fn find_subscriptions(
        &self,
        wanted: impl Fn(&ConnectedSubscription) -> bool,
    ) -> Vec<ConnectedSubscription> {
        let sessions = self.sessions().into_iter();
        sessions
            .flat_map(|session| session.subscriptions())
            .filter(wanted)
            .collect()
    }

    /// Ends the session `id`: its client is closed with 1008 and `reason` (at most 123 bytes of it, over WebSocket),
    /// after the messages queued for it. Returns false if there is no such session.
    ///
    /// When this returns, a session of this node is no longer listed, and receives no publishes; it leaves presence at
    /// once, perhaps by another thread. A session of another node is ended there, and disappears here when that node
    /// announces it. Frames that it has sent are not
    /// handled any more. A running handler is waited for, and its connection stays open that long: a handler that may
    /// never end needs a [time limit](crate::MessageRouter::layer). The client may connect again, unless the
    /// [`connect`](crate::MessageRouter::connect) handler refuses it.
    pub fn close_session(&self, id: SessionId, reason: impl Into<ByteString>) -> bool {
        let stack = self.0.upgrade();
        stack.is_some_and(|stack| stack.hub.end_session(id, POLICY_VIOLATION, reason.into()))
    }

    /// Ends every session of the user `name`, as [`close_session`](Self::close_session) does; returns how many there
    /// were.
    pub fn close_user(&self, name: &str, reason: impl Into<ByteString>) -> usize {
        let reason = reason.into();
        let Some(user) = self.user(name) else {
            return 0;
        };
        let sessions = user.sessions().iter();
        sessions
            .filter(|session| self.close_session(session.id(), reason.clone()))
            .count()
    }

    /// Has the session `id` check its subscriptions again, since the rights of its user have changed: by all rules of the
    /// policy, whose [kept answers](crate::policy::Rule::cached_for) are dropped. A subscription that is denied now ends:
    /// its client receives what a denied SUBSCRIBE receives. Returns false if there is no such session.
    ///
    /// A check sees the destination, and not the headers of the SUBSCRIBE. Messages that are queued when the subscription
    /// ends are not written; what is published until the checks have answered is.
    ///
    /// # Example: out of a room
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use std::sync::{Arc, Mutex};
    /// use tramline::policy::{Policy, Refusals, check_with_state, permit};
    /// use tramline::{EmbeddedBroker, Messaging, State, User, test::TestMessaging};
    ///
    /// #[derive(Clone, Default)]
    /// struct Banned(Arc<Mutex<HashSet<String>>>);
    ///
    /// async fn is_welcome(user: User, State(banned): State<Banned>) -> bool {
    ///     !banned.0.lock().unwrap().contains(user.name())
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
    /// let banned = Banned::default();
    /// let policy = Policy::builder()
    ///     .on_subscribe("/topic/rooms/*", check_with_state(banned.clone(), is_welcome))
    ///     .otherwise(permit());
    /// let messaging = Messaging::builder()
    ///     .broker(EmbeddedBroker::new().topics("/topic"))
    ///     .policy(policy)
    ///     .refusals(Refusals::Notify)
    ///     .build()?;
    /// let registry = messaging.registry();
    /// let alice = TestMessaging::new(messaging).connect_as("alice").await;
    /// let room = alice.subscribe("/topic/rooms/7").await;
    ///
    /// banned.0.lock().unwrap().insert("alice".into());
    /// assert_eq!(registry.recheck_user("alice"), 1);
    /// assert_eq!(alice.expect_rejection().await.kind, "denied");
    /// assert!(registry.subscriptions("/topic/rooms/7").is_empty());
    /// # drop(room);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recheck_session(&self, id: SessionId) -> bool {
        let stack = self.0.upgrade();
        stack.is_some_and(|stack| stack.hub.recheck_session(id))
    }

    /// Has every session of the user `name` check its subscriptions again, as [`recheck_session`](Self::recheck_session)
    /// does; returns how many there were.
    pub fn recheck_user(&self, name: &str) -> usize {
        let sessions = self
            .user(name)
            .map(|user| user.sessions)
            .unwrap_or_default();
        let sessions = sessions.iter();
        sessions
            .filter(|session| self.recheck_session(session.id()))
            .count()
    }

    /// Revokes the token with this id (claim `jti`): ends the sessions of this node that have it, as
    /// [`close_session`](Self::close_session) does, and returns how many there were. With
    /// [`MessagingBuilder::tokens`](crate::MessagingBuilder::tokens) neither CONNECT nor a renewal takes it for a week, on
    /// this node and until it restarts: let tokens live for less, call this on every node, and let the check of tokens know
    /// what must outlive a restart.
    pub fn revoke_token(&self, id: &str, reason: impl Into<ByteString>) -> usize {
        let Some(stack) = self.0.upgrade() else {
            return 0;
        };
        if let Some(tokens) = &stack.tokens {
            // First: a login that is not found below finds this.
            tokens.revoke(id);
        }
        let reason = reason.into();
        let members = stack.hub.members().into_iter();
        members
            .filter_map(ConnectedSession::of)
            .filter(|session| session.user().as_ref().and_then(token_id) == Some(id))
            .filter(|session| self.close_session(session.id(), reason.clone()))
            .count()
    }
}

impl ConnectedSession {
    /// Ends this session, as [`Registry::close_session`] does: for a listener of events that keeps the sessions which it
    /// may have to end. Returns false if it has ended, or belongs to another node.
    pub fn close(&self, reason: impl Into<ByteString>) -> bool {
        let registry = self.handle::<Registry>();
        registry.is_some_and(|registry| registry.close_session(self.id(), reason))
    }
}

/// The close code for a client that the application removes. Spring Session closes with it too.
const POLICY_VIOLATION: u16 = 1008;

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

    /// The user, as the login of the first of its sessions returned it.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// The sessions, in the order in which they connected. Never empty.
    pub fn sessions(&self) -> &[ConnectedSession] {
        &self.sessions
    }
}
