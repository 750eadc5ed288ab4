//! The sessions that are open now.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tramline_broker::SessionId;

/// Each open session's way to be reached, and whether new ones may come.
pub(crate) struct OpenSessions<T> {
    sessions: Mutex<HashMap<SessionId, Weak<T>>>,
    /// Told when a session is gone.
    gone: Notify,
    /// Told when no more may come.
    closed: Notify,
    closing: AtomicBool,
}

impl<T> OpenSessions<T> {
    /// Adds a session; false if it has to end at once, because it came in just when the others were told.
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
        self.gone.notify_waiters();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Waits until no more may come.
    pub(crate) async fn closed(&self) {
        let closed = self.closed.notified();
        if !self.is_closing() {
            closed.await;
        }
    }

    /// Lets no more in; gives those that have to be told.
    pub(crate) fn close(&self) -> Vec<Arc<T>> {
        self.closing.store(true, Ordering::Release);
        self.closed.notify_waiters();
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
        let all_gone = async {
            loop {
                let gone = self.gone.notified();
                if self.len() == 0 {
                    return;
                }
                gone.await;
            }
        };
        // Whether the time was enough shows in the number.
        let _ = tokio::time::timeout(deadline, all_gone).await;
        self.len()
    }
}

impl<T> Default for OpenSessions<T> {
    fn default() -> Self {
        Self {
            sessions: Mutex::default(),
            gone: Notify::new(),
            closed: Notify::new(),
            closing: AtomicBool::new(false),
        }
    }
}

impl<T> fmt::Debug for OpenSessions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSessions")
            .field("open", &self.len())
            .field("closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}
