//! Places in an outbox of the latest message of each key.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::paced::Paced;
use crate::message::Message;

/// An index of the places in an outbox that conflates; it lives while messages wait, or an interval runs.
#[derive(Debug, Default)]
pub(super) struct Latest {
    /// By subscription and hash of the key: the number of the place, counted from the first ever.
    places: HashMap<(u32, u64), u64>,
    /// The number of places removed from the front.
    gone: u64,
    /// Messages that wait for a subscription's interval.
    pub(super) paced: Paced,
}

/// Entries that the index may have beyond twice the places before it drops stale ones.
const SPARE: usize = 64;

impl Latest {
    /// Returns the place of the latest message of this key, if it still waits.
    pub(super) fn place(&self, slot: u32, hash: u64) -> Option<usize> {
        let place = self.places.get(&(slot, hash))?;
        usize::try_from(place.checked_sub(self.gone)?).ok()
    }

    /// Clears the index, since no message is queued; returns true if no interval runs either.
    pub(super) fn is_unused(&mut self) -> bool {
        self.places = HashMap::new();
        self.paced.is_empty()
    }

    /// Notes that a message of this key takes the place behind the `waiting` ones.
    pub(super) fn note(&mut self, slot: u32, hash: u64, waiting: usize) {
        if self.places.len() > 2 * waiting + SPARE {
            let gone = self.gone;
            self.places.retain(|_, place| *place >= gone);
        }
        self.places.insert((slot, hash), self.gone + waiting as u64);
    }

    /// Notes that only the places `kept` are left, without gaps.
    pub(super) fn closed_up(&mut self, kept: &[usize]) {
        let gone = self.gone;
        self.places.retain(|_, place| {
            let at = place.checked_sub(gone).map(|at| at as usize);
            let new = at.and_then(|at| kept.binary_search(&at).ok());
            if let Some(new) = new {
                *place = gone + new as u64;
            }
            new.is_some()
        });
    }

    /// Notes that `places` were taken off the front.
    pub(super) fn popped(&mut self, places: usize) {
        self.gone += places as u64;
    }
}

/// The hash that a message is found by: of its destination and its value of the header `key`, if it has one.
pub(super) fn hash(message: &Message, key: &str) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    message.destination().hash(&mut hasher);
    message.headers().get(key)?.hash(&mut hasher);
    Some(hasher.finish())
}
