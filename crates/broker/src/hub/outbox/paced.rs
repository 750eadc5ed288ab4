//! The pace of topics whose subscribers receive the latest once in an interval.
//!
//! The session has the clock: it receives an instruction when a subscription's interval begins, and reports its end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::latest;
use crate::hub::outbox::Overflow;
use crate::message::Message;

/// The subscriptions of an outbox whose interval has begun.
#[derive(Debug, Default)]
pub(super) struct Paced {
    running: Vec<Running>,
}

/// A subscription's interval.
#[derive(Debug)]
struct Running {
    slot: u32,
    overflow: Overflow,
    /// By hash: the latest message of each key.
    held: HashMap<u64, Arc<Message>>,
}

impl Paced {
    /// Begins the interval of a subscription, which has none that runs.
    pub(super) fn begin(&mut self, slot: u32, overflow: &Overflow) {
        self.running.push(Running {
            slot,
            overflow: overflow.clone(),
            held: HashMap::new(),
        });
    }

    /// Returns true if the interval of a subscription runs.
    pub(super) fn runs(&self, slot: u32) -> bool {
        self.running.iter().any(|running| running.slot == slot)
    }

    /// Holds a message until the interval is over, and gives the one that it replaces.
    pub(super) fn hold(
        &mut self,
        slot: u32,
        message: &Arc<Message>,
        overflow: &Overflow,
    ) -> Option<Arc<Message>> {
        let running = self.running.iter_mut().find(|running| running.slot == slot);
        match running?.held.entry(hash(message, overflow)) {
            Entry::Vacant(entry) => {
                entry.insert(Arc::clone(message));
                None
            }
            Entry::Occupied(mut entry) => Some(entry.insert(Arc::clone(message))),
        }
    }

    /// Ends an interval, and begins the next one with what was held, in the order of its topics; without any, none
    /// begins.
    pub(super) fn next(&mut self, slot: u32) -> Option<(Vec<Arc<Message>>, Overflow)> {
        let mut running = self.running.iter();
        let at = running.position(|running| running.slot == slot)?;
        let overflow = self.running[at].overflow.clone();
        let held = std::mem::take(&mut self.running[at].held);
        if held.is_empty() {
            self.running.swap_remove(at);
        }
        let mut held: Vec<_> = held.into_values().collect();
        held.sort_by_key(|message| message.position().map(|position| position.sequence));
        Some((held, overflow))
    }

    /// Returns true if no interval runs.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

/// The hash of what a message is the latest of: its destination, and the key of a topic that conflates.
fn hash(message: &Message, overflow: &Overflow) -> u64 {
    let of_key = match overflow {
        Overflow::Latest { key } => latest::hash(message, key),
        _ => None,
    };
    of_key.unwrap_or_else(|| {
        let mut hasher = DefaultHasher::new();
        message.destination().hash(&mut hasher);
        hasher.finish()
    })
}
