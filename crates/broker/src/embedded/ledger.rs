//! The accounts of a queue: the number and bytes of messages in each state.

/// A number of messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Load {
    /// One message of `bytes`.
    pub(super) fn one(bytes: usize) -> Self {
        Self { messages: 1, bytes }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }

    /// Subtracts a part of this load.
    ///
    /// # Panics
    ///
    /// If `part` is not a part of it: the accounts are wrong, and the bounds that rest on them would not hold.
    pub(super) fn less(self, part: Self) -> Self {
        let messages = self.messages.checked_sub(part.messages);
        let bytes = self.bytes.checked_sub(part.bytes);
        match (messages, bytes) {
            (Some(messages), Some(bytes)) => Self { messages, bytes },
            _ => panic!("{part:?} is not a part of {self:?}"),
        }
    }

    /// Subtracts an estimate, which may be larger; stops at zero.
    pub(super) fn less_about(self, estimate: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(estimate.messages),
            bytes: self.bytes.saturating_sub(estimate.bytes),
        }
    }
}

/// The states of a queue's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// ParkedMessage for a consumer.
    Ready,
    /// Delivered to a consumer, and not settled.
    Given,
    /// Delivered to a consumer, and being settled by a transaction.
    HeldMessages,
    /// Not published yet: room reserved by a transaction.
    Reserved,
}

/// The load of each state. Removing more than a state holds is an error; nothing is clamped to zero.
#[derive(Debug, Default)]
pub(super) struct Ledger([Load; 4]);

impl Ledger {
    pub(super) fn at(&self, at: At) -> Load {
        self.0[at as usize]
    }

    /// The load that counts against the queue's bounds: that of all states.
    pub(super) fn total(&self) -> Load {
        let mut total = Load::default();
        for load in self.0 {
            total.add(load);
        }
        total
    }

    pub(super) fn add(&mut self, at: At, load: Load) {
        self.0[at as usize].add(load);
    }

    /// Subtracts a load from a state.
    ///
    /// # Panics
    ///
    /// If the state does not hold it, as [`Load::less`].
    pub(super) fn remove(&mut self, at: At, load: Load) {
        self.0[at as usize] = self.at(at).less(load);
    }

    pub(super) fn shift(&mut self, from: At, to: At, load: Load) {
        self.remove(from, load);
        self.add(to, load);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_at_one_place_at_a_time() {
        let mut ledger = Ledger::default();
        ledger.add(At::Ready, Load::one(10));
        ledger.add(At::Reserved, Load::one(5));
        ledger.shift(At::Ready, At::Given, Load::one(10));
        let total = Load {
            messages: 2,
            bytes: 15,
        };
        assert_eq!(ledger.total(), total);
        ledger.remove(At::Given, Load::one(10));
        assert_eq!(ledger.total(), ledger.at(At::Reserved));
    }

    #[test]
    #[should_panic(expected = "is not a part of")]
    fn what_is_not_there_cannot_be_taken_away() {
        let mut ledger = Ledger::default();
        ledger.add(At::Ready, Load::one(10));
        ledger.remove(At::Given, Load::one(10));
    }
}
