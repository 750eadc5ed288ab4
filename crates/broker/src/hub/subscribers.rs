//! The subscribers of a destination or pattern: a list with constant-time removal.

use std::sync::Arc;

use super::kept::Kept;
use super::outbox::Burst;
use super::reader::Reader;
use super::shelf::Shelf;
use super::window::{Origin, Window};
use crate::hub::outbox::{Lost, Outbox};
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
    /// To a subscription that looks at each message.
    Reader(Arc<Reader>),
    /// To a subscription that the engine keeps.
    Kept(Kept),
}

/// Identifies a subscriber in the list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    Direct(u32),
    Window(u32),
    Reader(u32),
    Kept(u32),
}

/// Subscribers with a stable key each: 16 bytes an entry, visited in one pass by every publish.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    direct: Slots<Subscriber>,
    /// Those that acknowledge: few, and kept apart so that they cost the others nothing.
    windows: Slots<Arc<Window>>,
    /// Fewer still.
    few: Option<Box<Few>>,
}

#[derive(Debug, Default)]
struct Few {
    /// Those that look at each message.
    readers: Slots<Arc<Reader>>,
    /// Those that the engine keeps: it delivers to them itself.
    kept: Slots<Kept>,
}

impl Few {
    fn len(&self) -> usize {
        self.readers.len() + self.kept.len()
    }
}

/// A topic, as its subscribers see it.
pub(super) struct Sender<'a> {
    pub(super) origin: &'a Arc<Origin>,
    pub(super) shelf: Option<&'a Arc<Shelf>>,
}

/// Values with a stable key each.
#[derive(Debug)]
struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    fn add(&mut self, value: T) -> u32 {
        if let Some(key) = self.free.pop() {
            self.entries[key as usize] = Some(value);
            return key;
        }
        self.entries.push(Some(value));
        (self.entries.len() - 1) as u32
    }

    fn remove(&mut self, key: u32) {
        let entry = self.entries.get_mut(key as usize);
        if entry.and_then(Option::take).is_some() {
            self.free.push(key);
        }
        if self.len() == 0 {
            // Keys end with their values, so an empty list can free its memory.
            *self = Self::default();
        }
    }

    fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

impl Subscribers {
    pub(super) fn add(&mut self, sink: Sink) -> Key {
        match sink {
            Sink::Direct(subscriber) => Key::Direct(self.direct.add(subscriber)),
            Sink::Window(window) => Key::Window(self.windows.add(window)),
            Sink::Reader(reader) => {
                Key::Reader(self.few.get_or_insert_default().readers.add(reader))
            }
            Sink::Kept(kept) => Key::Kept(self.few.get_or_insert_default().kept.add(kept)),
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        match *key {
            Key::Direct(key) => self.direct.remove(key),
            Key::Window(key) => self.windows.remove(key),
            Key::Reader(key) => self.remove_few(|few| few.readers.remove(key)),
            Key::Kept(key) => self.remove_few(|few| few.kept.remove(key)),
        }
    }

    fn remove_few(&mut self, remove: impl FnOnce(&mut Few)) {
        if let Some(few) = &mut self.few {
            remove(few);
        }
        self.few.take_if(|few| few.len() == 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        let few = self.few.as_ref().map_or(0, |few| few.len());
        self.direct.len() + self.windows.len() + few
    }

    /// Adds those that the engine keeps to `kept`.
    pub(super) fn add_kept(&self, kept: &mut Vec<Kept>) {
        let few = self.few.iter();
        kept.extend(few.flat_map(|few| few.kept.entries.iter().flatten().cloned()));
    }

    /// Delivers messages to all; returns the number of deliveries that were made.
    pub(super) fn deliver(
        &self,
        messages: &[Arc<Message>],
        burst: &Burst<'_>,
        sender: &Sender<'_>,
    ) -> (Lost, usize) {
        let mut lost = Lost::default();
        let mut deliveries = self.len() * messages.len();
        for subscriber in self.direct.entries.iter().flatten() {
            lost += subscriber.outbox.push_burst(subscriber.slot, burst);
        }
        for window in self.windows.entries.iter().flatten() {
            lost += window.push(messages, burst.overflow(), Some(sender.origin));
        }
        if let Some(few) = &self.few {
            deliveries -= few.kept.len() * messages.len();
            for reader in few.readers.entries.iter().flatten() {
                let (lost_here, passed_over) =
                    reader.deliver(sender.shelf, messages, burst, sender.origin);
                lost += lost_here;
                deliveries -= passed_over;
            }
        }
        (lost, deliveries)
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
        assert!(list.is_empty() && list.direct.entries.capacity() == 0);
        assert_eq!(Arc::strong_count(&outbox), 1);
    }
}
