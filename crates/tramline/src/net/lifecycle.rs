//! The life of an endpoint, from open to shut down.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The life of a stack or endpoint: open to new sessions, then closing until the last one has ended.
#[derive(Default)]
pub(crate) struct Lifecycle {
    closing: AtomicBool,
    /// Notified when new sessions are refused from now on.
    closed: Notify,
    /// Notified when a session has ended.
    gone: Notify,
}

impl Lifecycle {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Refuses new sessions from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.closed.notify_waiters();
    }

    /// Waits until new sessions are refused.
    pub(crate) async fn closed(&self) {
        let closed = self.closed.notified();
        if !self.is_closing() {
            closed.await;
        }
    }

    /// Reports that a session has ended.
    pub(crate) fn session_gone(&self) {
        self.gone.notify_waiters();
    }

    /// Waits until `sessions` returns 0, until `deadline` at most; returns the last count.
    pub(crate) async fn all_gone(&self, deadline: Duration, sessions: impl Fn() -> usize) -> usize {
        let all_gone = async {
            loop {
                let gone = self.gone.notified();
                if sessions() == 0 {
                    return;
                }
                gone.await;
            }
        };
        // The count shows whether the time was enough.
        let _ = tokio::time::timeout(deadline, all_gone).await;
        sessions()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_closing() { "closing" } else { "open" })
    }
}
