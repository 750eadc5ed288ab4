//! Changes in sessions, reported in the order in which they happened.

use std::collections::VecDeque;
use std::fmt;

use super::descriptions::NodeId;
use super::nodes::MemberEvent;
use crate::sync::Mutex;

/// Events to report. Each is queued under the lock that decides it, and reported without a lock, by one thread at a
/// time: so the order of the reports is the order of the changes.
#[derive(Default)]
pub(super) struct Events(Mutex<EventQueue>);

#[derive(Default)]
struct EventQueue {
    waiting: VecDeque<(Change, MemberEvent)>,
    is_reporting: bool,
}

/// The kind of a change, which decides who receives it.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// In a session of this node.
    Here,
    /// None: a session of this node is described again, for the other nodes.
    Repeated,
    /// In a session of another node.
    Elsewhere(NodeId),
}

/// The capacity that an empty queue keeps.
const KEPT_CAPACITY: usize = 64;

impl Events {
    pub(super) fn push(&self, change: Change, event: MemberEvent) {
        self.0.lock().waiting.push_back((change, event));
    }

    /// Passes the queued events to `receive`, unless another thread is doing so: it reports these too.
    pub(super) fn report(&self, receive: impl Fn(Change, MemberEvent)) {
        let mut queue = self.0.lock();
        if std::mem::replace(&mut queue.is_reporting, true) {
            return;
        }
        while let Some((change, event)) = queue.waiting.pop_front() {
            drop(queue);
            let after_panic = EndTurn(&self.0);
            receive(change, event);
            std::mem::forget(after_panic);
            queue = self.0.lock();
        }
        queue.is_reporting = false;
        queue.waiting.shrink_to(KEPT_CAPACITY);
    }
}

/// Lets another thread report what is left when a receiver panics.
struct EndTurn<'a>(&'a Mutex<EventQueue>);

impl Drop for EndTurn<'_> {
    fn drop(&mut self) {
        self.0.lock().is_reporting = false;
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} events", self.0.lock().waiting.len())
    }
}
