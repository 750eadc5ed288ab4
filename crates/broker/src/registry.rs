//! Users, their sessions, and what each session subscribed to.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::Arc;

use bytestring::ByteString;

use crate::sync::{Mutex, MutexGuard};
use crate::window::Window;
use crate::{Destination, Lost, Message, OpenSession, Outbox, SessionId};

/// One for models: whom a shard separates they are to see together.
const SHARDS: usize = if cfg!(loom) { 1 } else { 16 };

/// The sessions of this node; `P` is a broker's own record of a subscription.
///
/// A session is in at most two maps: by its id, and by its user's name.
#[derive(Debug)]
pub(crate) struct Registry<P> {
    sessions: [Mutex<HashMap<SessionId, Arc<Session<P>>>>; SHARDS],
    users: [Mutex<Users<P>>; SHARDS],
    hasher: RandomState,
}

type Users<P> = HashMap<ByteString, Vec<Arc<Session<P>>>>;

#[derive(Debug)]
pub(crate) struct Session<P> {
    id: SessionId,
    user: Option<ByteString>,
    pub(crate) outbox: Arc<Outbox>,
    /// Held while something is settled, committed or ended: a transaction that waited is done by whoever made room for it,
    /// and must not meet the session's own end.
    turn: Mutex<()>,
    subscriptions: Mutex<Subscriptions<P>>,
}

#[derive(Debug)]
struct Subscriptions<P> {
    held: Vec<(u32, Held<P>)>,
    closed: bool,
}

/// A subscription of a session.
#[derive(Clone, Debug)]
pub(crate) enum Held<P> {
    /// To one of its user destinations, perhaps through a window of what is to be acknowledged.
    User(Destination, Option<Arc<Window>>),
    /// To something that the broker keeps.
    Broker(P),
}

impl<P> Default for Registry<P> {
    fn default() -> Self {
        Self {
            sessions: Default::default(),
            users: Default::default(),
            hasher: RandomState::new(),
        }
    }
}

impl<P> Registry<P> {
    pub(crate) fn open(&self, session: OpenSession) {
        let session = Arc::new(Session {
            id: session.id,
            user: session.user,
            outbox: session.outbox,
            turn: Mutex::new(()),
            subscriptions: Mutex::new(Subscriptions {
                held: Vec::new(),
                closed: false,
            }),
        });
        if let Some(user) = &session.user {
            let mut users = self.users_shard(user).lock();
            users
                .entry(user.clone())
                .or_default()
                .push(Arc::clone(&session));
        }
        self.sessions_shard(session.id)
            .lock()
            .insert(session.id, session);
    }

    /// Forgets a session; gives what it was subscribed to.
    pub(crate) fn close(&self, id: SessionId) -> Vec<Held<P>> {
        let Some(session) = self.sessions_shard(id).lock().remove(&id) else {
            return Vec::new();
        };
        if let Some(user) = &session.user
            && let Entry::Occupied(mut sessions) = self.users_shard(user).lock().entry(user.clone())
        {
            sessions.get_mut().retain(|other| other.id != id);
            if sessions.get().is_empty() {
                sessions.remove();
            }
        }
        // What one of its subscriptions had is not for another of them.
        session.outbox.seal();
        let mut subscriptions = session.subscriptions.lock();
        subscriptions.closed = true;
        std::mem::take(&mut subscriptions.held)
            .into_iter()
            .map(|(_, held)| held)
            .collect()
    }

    pub(crate) fn session(&self, id: SessionId) -> Option<Arc<Session<P>>> {
        self.sessions_shard(id).lock().get(&id).cloned()
    }

    /// The sessions of the user called `name`.
    pub(crate) fn sessions_of(&self, name: &ByteString) -> Vec<Arc<Session<P>>> {
        self.users_shard(name)
            .lock()
            .get(name)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.iter().map(|shard| shard.lock().len()).sum()
    }

    fn sessions_shard(&self, id: SessionId) -> &Mutex<HashMap<SessionId, Arc<Session<P>>>> {
        &self.sessions[id.shard(SHARDS)]
    }

    fn users_shard(&self, name: &str) -> &Mutex<Users<P>> {
        &self.users[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl<P> Session<P> {
    /// Keeps the session's other calls waiting. Of one session at a time, and before any lock of a queue or topic.
    pub(crate) fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Records a subscription; gives it back when the session was closed meanwhile.
    pub(crate) fn hold(&self, slot: u32, held: Held<P>) -> Result<(), Held<P>> {
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.closed {
            return Err(held);
        }
        subscriptions.held.push((slot, held));
        Ok(())
    }

    /// Takes the record of a subscription out.
    pub(crate) fn release(&self, slot: u32) -> Option<Held<P>> {
        let held = &mut self.subscriptions.lock().held;
        let at = held.iter().position(|(known, _)| *known == slot)?;
        Some(held.remove(at).1)
    }

    /// Queues a message for each of this session's subscriptions to the user destination `path`.
    pub(crate) fn deliver(&self, path: &Destination, message: &Arc<Message>) -> (usize, Lost) {
        let message = std::slice::from_ref(message);
        let subscriptions = self.subscriptions.lock();
        let (mut receivers, mut lost) = (0, Lost::default());
        for (slot, held) in &subscriptions.held {
            match held {
                Held::User(subscribed, window) if subscribed == path => {
                    lost += match window {
                        Some(window) => window.push(message, self.outbox.policy(), None),
                        None => self.outbox.push(*slot, message),
                    };
                    receivers += 1;
                }
                _ => {}
            }
        }
        (receivers, lost)
    }
}

impl<P: Clone> Session<P> {
    /// The subscription `slot`.
    pub(crate) fn held(&self, slot: u32) -> Option<Held<P>> {
        let subscriptions = self.subscriptions.lock();
        let mut held = subscriptions.held.iter();
        let (_, held) = held.find(|(known, _)| *known == slot)?;
        Some(held.clone())
    }

    /// All subscriptions, by their slots.
    pub(crate) fn all_held(&self) -> Vec<(u32, Held<P>)> {
        self.subscriptions.lock().held.clone()
    }
}
