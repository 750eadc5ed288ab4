//! Queued messages, in one allocation.

/// A first-in first-out queue of byte strings, each stored behind its length.
///
/// One buffer rather than one per message: most sessions hold a few hundred bytes for a round trip, and an empty queue
/// must hold no memory.
#[derive(Clone, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// The start of the first message; earlier bytes were taken.
    start: usize,
    count: usize,
}

const LENGTH: usize = size_of::<usize>();

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes held for queued messages, including their lengths.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The number of queued messages.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn push(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.count += 1;
        self.bytes.reserve(LENGTH + length);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// The first message.
    pub(super) fn front(&self) -> Option<&[u8]> {
        let (length, rest) = self.bytes[self.start..].split_first_chunk::<LENGTH>()?;
        rest.get(..usize::from_ne_bytes(*length))
    }

    /// Removes the first message; frees the buffer with the last.
    pub(super) fn pop(&mut self) {
        let Some(front) = self.front() else { return };
        self.start += LENGTH + front.len();
        self.count -= 1;
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    /// Frees the room of taken messages once they are the larger part, so that a queue that never becomes empty does
    /// not grow for ever and each byte is moved about once.
    pub(super) fn compact(&mut self) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.bytes.shrink_to_fit();
            self.start = 0;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_nothing_kept() {
        let mut queue = Queue::default();
        queue.push(&[b"one"]);
        queue.push(&[]);
        queue.push(&[b"th", b"ree"]);
        assert_eq!(queue.count(), 3);

        let mut taken = Vec::new();
        while let Some(front) = queue.front() {
            taken.push(front.to_vec());
            queue.pop();
        }
        assert_eq!(taken, [&b"one"[..], b"", b"three"]);
        assert!(queue.is_empty());
        assert_eq!(
            (queue.count(), queue.len(), queue.bytes.capacity()),
            (0, 0, 0)
        );
        queue.pop();
    }

    #[test]
    fn a_queue_that_never_runs_dry_stays_small() {
        let mut queue = Queue::default();
        for _ in 0..1000 {
            queue.push(&[&[b'x'; 100]]);
            queue.push(&[&[b'y'; 100]]);
            queue.pop();
            queue.compact();
            if queue.len() > 1000 {
                while queue.len() > 300 {
                    queue.pop();
                    queue.compact();
                }
            }
            assert!(queue.bytes.len() <= 3 * 1000);
        }
    }
}
