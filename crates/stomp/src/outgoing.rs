use std::{collections::VecDeque, fmt};

use bytes::Bytes;

/// What a connection wants written: encoded frames and heart-beats, first in, first out.
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

    /// Puts a frame in front of the last one, if that is still here.
    pub(crate) fn push_before_last(&mut self, frame: Bytes) {
        if let Some(last) = self.queue.pop_back() {
            self.queue.extend([frame, last]);
        }
    }

    /// The bytes of all that waits.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.iter().map(Bytes::len).sum()
    }

    /// A heart-beat, unless something else is about to be written anyway.
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

/// Counts only: a CONNECT frame has a passcode.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} frames)", self.queue.len())
    }
}
