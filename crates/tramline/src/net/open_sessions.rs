//! The raw sockets that are open now.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tramline_broker::SessionId;

use super::lifecycle::Lifecycle;

/// The open sessions of an endpoint, by id, and whether new ones may come.
pub(crate) struct OpenSessions<T> {
    sessions: Mutex<HashMap<SessionId, Weak<T>>>,
    lifecycle: Lifecycle,
}

impl<T> OpenSessions<T> {
    /// Adds a session; false if it has to end at once, because the others were told to end just before.
    pub(crate) fn add(&self, id: SessionId, session: &Arc<T>) -> bool {
        self.sessions.lock().insert(id, Arc::downgrade(session));
        !self.is_closing()
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

    pub(crate) fn is_closing(&self) -> bool {
        self.lifecycle.is_closing()
    }

    /// Lets no more in; gives those that have to be told.
    pub(crate) fn close(&self) -> Vec<Arc<T>> {
        self.lifecycle.close();
        self.all()
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

    /// Waits until all are gone, until `deadline` at most; gives how many were still there then.
    pub(crate) async fn all_gone(&self, deadline: Duration) -> usize {
        self.lifecycle.all_gone(deadline, || self.len()).await
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
