//! To what a session is subscribed.

use parking_lot::Mutex;

/// The subscriptions of one session that are active; `None` once it is over.
pub(crate) struct Subscriptions(Mutex<Option<Vec<Held>>>);

/// A subscription, in little memory.
struct Held {
    slot: u32,
    id_len: u32,
    /// The id, and behind it the destination.
    texts: Box<str>,
}

impl Held {
    fn texts(&self) -> (&str, &str) {
        self.texts.split_at(self.id_len as usize)
    }
}

impl Subscriptions {
    /// Notes a subscription; false where the session is over, and has none any more.
    pub(crate) fn add(&self, slot: u32, id: &str, destination: &str) -> bool {
        let mut held = self.0.lock();
        let Some(held) = &mut *held else {
            return false;
        };
        // Most sessions have one or two.
        if held.len() == held.capacity() && held.len() < 4 {
            held.reserve_exact(1);
        }
        held.push(Held {
            slot,
            id_len: u32::try_from(id.len()).unwrap_or(u32::MAX),
            texts: [id, destination].concat().into(),
        });
        true
    }

    /// Forgets a subscription; gives its id and destination.
    pub(crate) fn remove(&self, slot: u32) -> Option<(String, String)> {
        let removed = {
            let mut held = self.0.lock();
            let held = held.as_mut()?;
            let at = held.iter().position(|held| held.slot == slot)?;
            held.swap_remove(at)
        };
        let (id, destination) = removed.texts();
        Some((id.to_owned(), destination.to_owned()))
    }

    /// Forgets all, and takes no more; gives their destinations.
    pub(crate) fn take(&self) -> Vec<String> {
        let taken = self.0.lock().take();
        let destinations = taken.iter().flatten();
        destinations.map(|held| held.texts().1.to_owned()).collect()
    }

    pub(crate) fn select<T>(&self, mut choose: impl FnMut(&str, &str) -> Option<T>) -> Vec<T> {
        let held = self.0.lock();
        let chosen = held.iter().flatten().filter_map(|held| {
            let (id, destination) = held.texts();
            choose(id, destination)
        });
        chosen.collect()
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}
