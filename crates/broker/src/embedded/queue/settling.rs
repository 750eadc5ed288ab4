//! Settling a queue's deliveries.

use std::sync::Arc;

use super::{Aftermath, Contents, Queue};
use crate::embedded::journal::Key;
use crate::embedded::ledger::At;
use crate::embedded::seat::{HeldMessages, QueuedMessage, SeatKey};
use crate::feed::Token;
use crate::message::DeadLetterReason;
use crate::request::Outcome;
use crate::statistics::Count;
use crate::timestamp::Timestamp;

impl Queue {
    /// Settles deliveries of a consumer, in order; returns false if the consumer no longer has the first one.
    pub(in crate::embedded) fn settle(
        self: &Arc<Self>,
        key: SeatKey,
        tokens: &[Token],
        outcome: Outcome,
        now: Timestamp,
        after: &mut Aftermath,
    ) -> bool {
        let mut state = self.state.lock();
        state.used = true;
        let mut settled = 0;
        let mut accepted = Vec::new();
        for token in tokens {
            let seat = state.seat_mut(key);
            let Some(entry) = seat.and_then(|seat| seat.take(*token)) else {
                break;
            };
            settled += 1;
            if outcome == Outcome::Accepted && self.is_durable() {
                accepted.push(Key(entry.sequence));
            }
            self.settle_entry(&mut state, At::Given, entry, outcome, after);
        }
        self.forget(&accepted, after);
        self.settled(&mut state, key, settled, outcome, now, after);
        settled > 0
    }

    /// Takes deliveries from their consumer for a transaction; `None` if the consumer no longer has one of them.
    pub(in crate::embedded) fn hold(
        &self,
        key: SeatKey,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Option<HeldMessages> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let seat = state.seats.get_mut(key.at as usize)?.as_mut();
        let seat = seat.filter(|seat| seat.number == key.number)?;
        let mut entries = Vec::with_capacity(tokens.len());
        for token in tokens {
            let Some(entry) = seat.take(*token) else {
                for (token, entry) in entries {
                    seat.put_back(token, entry);
                }
                return None;
            };
            entries.push((*token, entry));
        }
        seat.held += entries.len();
        for (_, entry) in &entries {
            state
                .ledger
                .shift(At::Given, At::HeldMessages, entry.load());
        }
        Some(HeldMessages {
            key,
            entries,
            outcome,
        })
    }

    /// Puts back deliveries that a transaction did not settle.
    pub(in crate::embedded) fn put_back(
        self: &Arc<Self>,
        held: HeldMessages,
        now: Timestamp,
        after: &mut Aftermath,
    ) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if let Some(seat) = state.seat_mut(held.key) {
            seat.held -= held.entries.len();
            for (token, entry) in held.entries {
                let load = entry.load();
                if let Some(seat) = state.seat_mut(held.key) {
                    seat.put_back(token, entry);
                    state.ledger.shift(At::HeldMessages, At::Given, load);
                }
            }
            return;
        }
        // The consumer ended meanwhile.
        for (_, entry) in held.entries {
            self.come_back(state, At::HeldMessages, entry, after);
        }
        self.hand_out(state, now, after);
    }

    /// Settles deliveries that a transaction holds, and whose acceptance is in its record.
    pub(in crate::embedded) fn settle_held(
        self: &Arc<Self>,
        held: HeldMessages,
        now: Timestamp,
        after: &mut Aftermath,
    ) {
        let mut state = self.state.lock();
        state.used = true;
        let count = held.entries.len();
        if let Some(seat) = state.seat_mut(held.key) {
            seat.held -= count;
        }
        for (_, entry) in held.entries {
            self.settle_entry(&mut state, At::HeldMessages, entry, held.outcome, after);
        }
        self.settled(&mut state, held.key, count, held.outcome, now, after);
    }

    fn settle_entry(
        self: &Arc<Self>,
        state: &mut Contents,
        at: At,
        mut entry: QueuedMessage,
        outcome: Outcome,
        after: &mut Aftermath,
    ) {
        match outcome {
            Outcome::Accepted => state.ledger.remove(at, entry.load()),
            Outcome::Released => self.come_back(state, at, entry, after),
            Outcome::Rejected => {
                entry.redeliveries += 1;
                self.give_up(state, at, entry, DeadLetterReason::Rejected, after);
            }
            Outcome::Expired => self.give_up(state, at, entry, DeadLetterReason::Expired, after),
        }
    }

    fn settled(
        self: &Arc<Self>,
        state: &mut Contents,
        key: SeatKey,
        count: usize,
        outcome: Outcome,
        now: Timestamp,
        after: &mut Aftermath,
    ) {
        if outcome == Outcome::Accepted {
            self.meter.count(Count::Acked, count);
        }
        state.sit_down(key);
        self.hand_out(state, now, after);
    }
}
