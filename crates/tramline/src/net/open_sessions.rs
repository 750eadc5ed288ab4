//! The table of open raw sockets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tramline_broker::SessionId;

use super::lifecycle::Lifecycle;

/// The open sessions of an endpoint, by id, and its lifecycle.
pub(crate) struct OpenSessions<T> {
    sessions: Mutex<HashMap<SessionId, Weak<T>>>,
    lifecycle: Lifecycle,
}

impl<T> OpenSessions<T> {
    /// Adds a session; returns false if it must end at once, because the others were asked to end just before.
    pub(crate) fn add(&self, id: SessionId, session: &Arc<T>) -> bool {
        self.sessions.lock().insert(id, Arc::downgrade(session));
        !self.lifecycle.is_closing()
    }

    pub(crate) fn remove(&self, id: SessionId) {
        let mut sessions = self.sessions.lock();
        sessions.remove(&id);
        if sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
        drop(sessions);
        self.lifecycle.session_gone();
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let sessions = self.sessions.lock();
        sessions.values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn find(&self, id: SessionId) -> Option<Arc<T>> {
        self.sessions.lock().get(&id)?.upgrade()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.lock().len()
    }
}

impl<T> Default for OpenSessions<T> {
    fn default() -> Self {
        Self {
            sessions: Mutex::default(),
            lifecycle: Lifecycle::default(),
        }
    }
}

impl<T> fmt::Debug for OpenSessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSessions")
            .field("open", &self.len())
            .field("lifecycle", &self.lifecycle)
            .finish_non_exhaustive()
    }
}
