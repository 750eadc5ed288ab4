//! The life of an endpoint, from open to shut down.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use tokio::sync::Notify;
use tramline_websocket::CloseCode;

use crate::model::clock::now;

/// The life of a stack or endpoint: open to new sessions, then closing until the last one has ended.
#[derive(Default)]
pub(crate) struct Lifecycle {
    closing: AtomicBool,
    /// When the shutdown is over at the latest.
    over: OnceLock<Instant>,
    /// The close reason during a drain.
    retry: OnceLock<ByteString>,
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

    /// Refuses new sessions from now on; the shutdown takes until `deadline` at most.
    pub(crate) fn close_within(&self, deadline: Duration) {
        if let Some(over) = now().checked_add(deadline) {
            let _ = self.over.set(over);
        }
        self.close();
    }

    /// Refuses new sessions from now on, and sets the [window](retry_window) that sessions are closed with.
    pub(crate) fn drain_within(&self, deadline: Duration, window: ByteString) {
        let _ = self.retry.set(window);
        self.close_within(deadline);
    }

    /// The close code and reason of sessions that end because of the shutdown.
    pub(crate) fn close_frame(&self) -> (CloseCode, ByteString) {
        match self.retry.get() {
            Some(window) => (CloseCode::SERVICE_RESTART, window.clone()),
            None => (
                CloseCode::GOING_AWAY,
                ByteString::from_static("the server is going away"),
            ),
        }
    }

    /// The seconds until the shutdown is over, as `Retry-After` gives them: 1 at least.
    pub(crate) fn retry_after(&self) -> u64 {
        let left = self
            .over
            .get()
            .map(|over| over.saturating_duration_since(now()));
        left.unwrap_or_default().as_secs() + 1
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
