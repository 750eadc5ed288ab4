//! Who receives: a list with constant-time removal.

use std::sync::Arc;

use crate::{Message, Outbox};

/// One subscription's place to deliver to.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) outbox: Arc<Outbox>,
    pub(super) slot: u32,
}

/// Subscribers with a stable key each: 16 bytes an entry, walked in one sweep by every publish.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    entries: Vec<Option<Subscriber>>,
    free: Vec<u32>,
}

impl Subscribers {
    pub(super) fn add(&mut self, subscriber: Subscriber) -> u32 {
        if let Some(key) = self.free.pop() {
            self.entries[key as usize] = Some(subscriber);
            return key;
        }
        self.entries.push(Some(subscriber));
        (self.entries.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, key: u32) {
        let Some(entry) = self.entries.get_mut(key as usize) else {
            return;
        };
        if entry.take().is_none() {
            return;
        }
        self.free.push(key);
        if self.is_empty() {
            // Keys are given up with their subscribers, so the room of a crowd that left can go.
            *self = Self::default();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn deliver(&self, messages: &[Arc<Message>]) {
        for subscriber in self.entries.iter().flatten() {
            subscriber.outbox.push(subscriber.slot, messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Overflow;

    #[test]
    fn keys_are_stable_and_reused() {
        let outbox = Arc::new(Outbox::new(1, Overflow::Close));
        let subscriber = |slot| Subscriber {
            outbox: Arc::clone(&outbox),
            slot,
        };
        let mut list = Subscribers::default();
        let keys: Vec<u32> = (0..3).map(|slot| list.add(subscriber(slot))).collect();
        list.remove(keys[1]);
        list.remove(keys[1]);
        assert_eq!(list.len(), 2);
        assert_eq!(list.add(subscriber(9)), keys[1]);
        for key in keys {
            list.remove(key);
        }
        assert!(list.is_empty() && list.entries.capacity() == 0);
        assert_eq!(Arc::strong_count(&outbox), 1);
    }
}
