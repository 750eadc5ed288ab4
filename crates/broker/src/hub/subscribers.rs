//! The subscribers of a destination or pattern: a list with constant-time removal.

use std::sync::Arc;

use super::outbox::Burst;
use super::window::{Origin, Window};
use crate::hub::{Lost, Outbox};
use crate::message::Message;

/// One subscription's place to deliver to.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) outbox: Arc<Outbox>,
    pub(super) slot: u32,
}

/// The destination of a subscription's messages.
#[derive(Debug)]
pub(super) enum Sink {
    /// Into the outbox.
    Direct(Subscriber),
    /// Through a window, for subscriptions that acknowledge.
    Window(Arc<Window>),
}

/// Identifies a subscriber in the list.
#[derive(Clone, Debug)]
pub(super) enum Key {
    Direct(u32),
    Window(Arc<Window>),
}

/// Subscribers with a stable key each: 16 bytes an entry, visited in one pass by every publish.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    entries: Vec<Option<Subscriber>>,
    free: Vec<u32>,
    /// Those that acknowledge: few, and kept apart so that they cost the others nothing.
    windows: Vec<Arc<Window>>,
}

impl Subscribers {
    pub(super) fn add(&mut self, sink: Sink) -> Key {
        match sink {
            Sink::Direct(subscriber) => Key::Direct(self.add_direct(subscriber)),
            Sink::Window(window) => {
                self.windows.push(Arc::clone(&window));
                Key::Window(window)
            }
        }
    }

    fn add_direct(&mut self, subscriber: Subscriber) -> u32 {
        if let Some(key) = self.free.pop() {
            self.entries[key as usize] = Some(subscriber);
            return key;
        }
        self.entries.push(Some(subscriber));
        (self.entries.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, key: &Key) {
        match key {
            Key::Direct(key) => {
                let entry = self.entries.get_mut(*key as usize);
                if entry.and_then(Option::take).is_some() {
                    self.free.push(*key);
                }
            }
            Key::Window(window) => self.windows.retain(|other| !Arc::ptr_eq(other, window)),
        }
        if self.is_empty() {
            // Keys end with their subscribers, so an empty list can free its memory.
            *self = Self::default();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len() + self.windows.len()
    }

    pub(super) fn deliver(
        &self,
        messages: &[Arc<Message>],
        burst: &Burst<'_>,
        origin: &Arc<Origin>,
    ) -> Lost {
        let mut lost = Lost::default();
        for subscriber in self.entries.iter().flatten() {
            lost += subscriber.outbox.push_burst(subscriber.slot, burst);
        }
        for window in &self.windows {
            lost += window.push(messages, burst.overflow(), Some(origin));
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Overflow;

    #[test]
    fn keys_are_stable_and_reused() {
        let outbox = Arc::new(Outbox::new(1, Overflow::Close));
        let subscriber = |slot| {
            Sink::Direct(Subscriber {
                outbox: Arc::clone(&outbox),
                slot,
            })
        };
        let mut list = Subscribers::default();
        let keys: Vec<Key> = (0..3).map(|slot| list.add(subscriber(slot))).collect();
        list.remove(&keys[1]);
        list.remove(&keys[1]);
        assert_eq!(list.len(), 2);
        let again = list.add(subscriber(9));
        assert!(matches!((&again, &keys[1]), (Key::Direct(a), Key::Direct(b)) if a == b));
        for key in keys {
            list.remove(&key);
        }
        assert!(list.is_empty() && list.entries.capacity() == 0);
        assert_eq!(Arc::strong_count(&outbox), 1);
    }
}
