use crate::ack_mode::AckMode;
use crate::frame::encode_message_head;
use crate::version::Version;

/// The live subscriptions of one connection.
///
/// Each costs its encoded MESSAGE head and 24 bytes. The head holds the escaped id, so the id is not stored separately:
/// a lookup escapes its id first.
#[derive(Default, Debug)]
pub(super) struct Subscriptions {
    /// Sorted by slot, because slots only grow.
    live: Vec<Subscription>,
    next_slot: u32,
}

#[derive(Debug)]
pub(super) struct Subscription {
    slot: u32,
    pub(super) ack: AckMode,
    pub(super) head: Box<[u8]>,
}

/// A subscription was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotAdded {
    IdInUse,
    TooMany,
}

impl Subscriptions {
    pub(super) fn add(
        &mut self,
        version: Version,
        id: &str,
        ack: AckMode,
        max: usize,
    ) -> Result<u32, NotAdded> {
        let head = encode_message_head(version, id);
        if self.position_of(&head).is_some() {
            return Err(NotAdded::IdInUse);
        }
        // A connection that has used up all slots has had four billion subscriptions.
        let following = self.next_slot.checked_add(1);
        let (Some(following), true) = (following, self.live.len() < max) else {
            return Err(NotAdded::TooMany);
        };
        let slot = std::mem::replace(&mut self.next_slot, following);
        if self.live.len() == self.live.capacity() {
            // Most sessions have one or two: grow slower than `Vec` does.
            self.live.reserve_exact((self.live.len() / 2).max(1));
        }
        self.live.push(Subscription {
            slot,
            ack,
            head: head.into(),
        });
        Ok(slot)
    }

    /// Removes the subscription with this id and returns its slot.
    pub(super) fn remove_id(&mut self, version: Version, id: &str) -> Option<u32> {
        let at = self.position_of(&encode_message_head(version, id))?;
        Some(self.remove_at(at))
    }

    pub(super) fn remove_slot(&mut self, slot: u32) -> bool {
        let at = self.position(slot);
        at.map(|at| self.remove_at(at)).is_some()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Subscription> {
        self.position(slot).map(|at| &self.live[at])
    }

    /// Returns the slot of the subscription with this id.
    pub(super) fn find(&self, version: Version, id: &str) -> Option<u32> {
        let at = self.position_of(&encode_message_head(version, id))?;
        Some(self.live[at].slot)
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn clear(&mut self) {
        self.live = Vec::new();
    }

    fn remove_at(&mut self, at: usize) -> u32 {
        let slot = self.live.remove(at).slot;
        if self.live.is_empty() {
            self.live = Vec::new();
        }
        slot
    }

    fn position(&self, slot: u32) -> Option<usize> {
        self.live
            .binary_search_by_key(&slot, |subscription| subscription.slot)
            .ok()
    }

    fn position_of(&self, head: &[u8]) -> Option<usize> {
        self.live
            .iter()
            .position(|subscription| *subscription.head == *head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: Version = Version::V1_2;

    #[test]
    fn slots_grow_and_are_not_used_twice() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.add(V, "a", AckMode::Auto, 2), Ok(0));
        assert_eq!(subscriptions.add(V, "b", AckMode::Client, 2), Ok(1));
        assert_eq!(
            subscriptions.add(V, "b", AckMode::Client, 2),
            Err(NotAdded::IdInUse)
        );
        assert_eq!(
            subscriptions.add(V, "c", AckMode::Auto, 2),
            Err(NotAdded::TooMany)
        );
        assert_eq!(subscriptions.remove_id(V, "a"), Some(0));
        assert_eq!(subscriptions.remove_id(V, "a"), None);
        assert_eq!(subscriptions.add(V, "a", AckMode::Auto, 2), Ok(2));
        assert_eq!(subscriptions.find(V, "a"), Some(2));
        let Some(subscription) = subscriptions.get(2) else {
            panic!()
        };
        assert_eq!(*subscription.head, *b"MESSAGE\nsubscription:a\n");
        assert!(subscriptions.get(0).is_none());
        assert!(subscriptions.remove_slot(1));
        assert!(!subscriptions.remove_slot(1));
    }

    #[test]
    fn one_subscription_takes_one_place() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add(V, "a", AckMode::Auto, 9).unwrap();
        assert_eq!(subscriptions.live.capacity(), 1);
        assert_eq!(size_of::<Subscription>(), 24);
        subscriptions.remove_slot(0);
        assert_eq!(subscriptions.live.capacity(), 0);
    }
}
