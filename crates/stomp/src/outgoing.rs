use std::{collections::VecDeque, fmt};

use bytes::Bytes;

/// The output of a connection: encoded frames and heart-beats, first in, first out.
///
/// Owns no allocation while it is empty.
#[derive(Default)]
pub(crate) struct Outgoing {
    queue: VecDeque<Bytes>,
}

impl Outgoing {
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.queue.push_back(frame);
    }

    /// Inserts a frame before the last one, if that is still queued.
    pub(crate) fn push_before_last(&mut self, frame: Bytes) {
        if let Some(last) = self.queue.pop_back() {
            self.queue.extend([frame, last]);
        }
    }

    /// The number of queued bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.iter().map(Bytes::len).sum()
    }

    /// Queues a heart-beat, unless something else is about to be written anyway.
    pub(crate) fn push_heart_beat(&mut self) {
        if self.queue.is_empty() {
            self.queue.push_back(Bytes::from_static(b"\n"));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let frame = self.queue.pop_front();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        frame
    }
}

/// Shows counts only: a CONNECT frame contains a passcode.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} frames)", self.queue.len())
    }
}
