//! Whether new sessions may come, and how many are left.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The life of a stack or endpoint: open to new sessions, then closing until the last one is gone.
#[derive(Default)]
pub(crate) struct Lifecycle {
    closing: AtomicBool,
    /// Notified when no more sessions may come.
    closed: Notify,
    /// Notified when a session is gone.
    gone: Notify,
}

impl Lifecycle {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Lets no more sessions in.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.closed.notify_waiters();
    }

    /// Waits until no more sessions may come.
    pub(crate) async fn closed(&self) {
        let closed = self.closed.notified();
        if !self.is_closing() {
            closed.await;
        }
    }

    /// Reports that a session is gone.
    pub(crate) fn session_gone(&self) {
        self.gone.notify_waiters();
    }

    /// Waits until `sessions` counts none, until `deadline` at most; gives the last count.
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
        // Whether the time was enough shows in the number.
        let _ = tokio::time::timeout(deadline, all_gone).await;
        sessions()
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_closing() { "closing" } else { "open" })
    }
}
