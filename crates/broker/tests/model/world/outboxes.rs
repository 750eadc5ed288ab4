//! Outboxes of sessions, and how sessions take from them.

use std::task::{Context, Waker};

use tramline_broker::{AckMode, Control, Delivery, Ending, Taken};

use super::rules::Slow;
use super::{Item, Source, World};

impl World {
    fn waiting_units(&self, session: usize) -> usize {
        let items = self.sessions[session].items.iter();
        items.map(|item| self.units(item.message)).sum()
    }

    /// Returns true if `units` more are too much for a session that has something queued.
    fn is_too_much(&self, session: usize, units: usize) -> bool {
        let limit = self.sessions[session].limit.unwrap_or(usize::MAX);
        units > limit
    }

    /// Puts a delivery that must be settled into an outbox, if there is room.
    fn try_push(&mut self, slot: u32, tag: u32, message: usize, turn: usize) -> bool {
        let at = self.subscriptions[slot as usize].session;
        let units = self.waiting_units(at) + self.units(message);
        let too_much = self.is_too_much(at, units);
        let session = &mut self.sessions[at];
        if session.shut {
            return false;
        }
        if too_much && !session.items.is_empty() {
            session.room_wanted = true;
            return false;
        }
        session.items.push(Item {
            message,
            slot,
            tag,
            turn,
            redeliveries: self.messages[message].redeliveries,
        });
        true
    }

    /// Delivers a message to a consumer or window, if it has room.
    pub(super) fn offer(&mut self, slot: u32, message: usize, turn: usize) -> bool {
        let held = &self.subscriptions[slot as usize];
        let tag = held.last_tag + 1;
        if held.unsettled.len() >= held.prefetch || !self.try_push(slot, tag, message, turn) {
            return false;
        }
        let held = &mut self.subscriptions[slot as usize];
        held.last_tag = tag;
        held.unsettled.push((tag, message));
        true
    }

    /// Delivers a topic's or user's message to one subscription.
    pub(super) fn deliver(&mut self, slot: u32, message: usize, slow: Slow, turn: usize) {
        let held = &self.subscriptions[slot as usize];
        if held.ack == AckMode::Auto {
            return self.push(slot, message, slow, turn);
        }
        let waits = !held.waiting.is_empty();
        if (waits || !self.offer(slot, message, turn)) && !self.sessions[self.session_of(slot)].shut
        {
            self.wait(slot, message, slow);
        }
    }

    fn session_of(&self, slot: u32) -> usize {
        self.subscriptions[slot as usize].session
    }

    fn push(&mut self, slot: u32, message: usize, slow: Slow, turn: usize) {
        let at = self.session_of(slot);
        if self.sessions[at].shut {
            return;
        }
        if slow == Slow::Conflate {
            let older = self.sessions[at].items.iter().position(|item| {
                item.slot == slot && item.tag == 0 && self.replaces(message, item.message)
            });
            if let Some(older) = older {
                self.sessions[at].items.remove(older);
                self.count_for(message, |counts| counts.conflated += 1);
            }
        }
        let units = self.units(message);
        let is_full = |world: &Self| {
            let more = world.waiting_units(at) + units;
            world.is_too_much(at, more) && !world.sessions[at].items.is_empty()
        };
        if is_full(self) {
            match slow {
                Slow::Close | Slow::Conflate => return self.overflow(at, message),
                Slow::DropOldest => {
                    while self.is_too_much(at, self.waiting_units(at) + units)
                        && let Some(oldest) = self.sessions[at]
                            .items
                            .iter()
                            .position(|item| item.slot == slot && item.tag == 0)
                    {
                        self.sessions[at].items.remove(oldest);
                        self.count_for(message, |counts| counts.dropped_oldest += 1);
                    }
                    if is_full(self) {
                        self.count_for(message, |counts| counts.dropped_oldest += 1);
                        return;
                    }
                }
                Slow::DropNewest => {
                    self.count_for(message, |counts| counts.dropped_newest += 1);
                    return;
                }
            }
        }
        self.sessions[at].items.push(Item {
            message,
            slot,
            tag: 0,
            turn,
            redeliveries: 0,
        });
    }

    fn replaces(&self, message: usize, older: usize) -> bool {
        let (message, older) = (&self.messages[message], &self.messages[older]);
        let key = message.letter.key;
        key.is_some() && key == older.letter.key && message.destination == older.destination
    }

    /// Ends a session that is too slow.
    fn overflow(&mut self, at: usize, message: usize) {
        let session = &mut self.sessions[at];
        session.items.clear();
        session.shut = true;
        session.ended = true;
        session.room_wanted = false;
        self.count_for(message, |counts| counts.closed += 1);
    }

    /// Lets a message wait in a window.
    fn wait(&mut self, slot: u32, message: usize, slow: Slow) {
        let at = self.session_of(slot);
        let waiting = |world: &Self| world.subscriptions[slot as usize].waiting.clone();
        let remove = |world: &mut Self, place| {
            world.subscriptions[slot as usize].waiting.remove(place);
        };
        let is_too_much = |world: &Self| {
            let units: usize = waiting(world).iter().map(|other| world.units(*other)).sum();
            world.is_too_much(at, units + world.units(message))
        };
        if slow == Slow::Conflate
            && let Some(older) = waiting(self)
                .iter()
                .position(|older| self.replaces(message, *older))
        {
            remove(self, older);
            self.count_for(message, |counts| counts.conflated += 1);
        }
        while slow == Slow::DropOldest && is_too_much(self) && !waiting(self).is_empty() {
            remove(self, 0);
            self.count_for(message, |counts| counts.dropped_oldest += 1);
        }
        if is_too_much(self) && !waiting(self).is_empty() {
            if slow == Slow::DropNewest {
                self.count_for(message, |counts| counts.dropped_newest += 1);
            } else {
                self.subscriptions[slot as usize].waiting.clear();
                self.overflow(at, message);
            }
            return;
        }
        self.subscriptions[slot as usize].waiting.push(message);
    }

    /// Delivers messages from a window, as far as there is room.
    pub(super) fn refill(&mut self, slot: u32) {
        while let Some(message) = self.subscriptions[slot as usize].waiting.first().copied()
            && let turn = self.next_turn()
            && self.offer(slot, message, turn)
        {
            self.subscriptions[slot as usize].waiting.remove(0);
        }
    }

    pub(super) fn take(&mut self, at: usize, count: usize) {
        if at >= self.sessions.len() || count == 0 {
            return;
        }
        let mut batch = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        let outbox = &self.sessions[at].outbox;
        let taken = outbox.poll_take(&mut context, &mut batch, count, usize::MAX);
        if self.sessions[at].items.is_empty() {
            assert!(batch.is_empty(), "for nobody: {batch:?}");
            if std::mem::take(&mut self.sessions[at].ended) {
                let ending = matches!(taken, Taken::Control(Control::End(Ending::Overflow { .. })));
                assert!(ending, "{taken:?}");
                self.close(at);
            } else if self.sessions[at].room_wanted {
                // The waiting deliveries were withdrawn, which left room.
                let (more, room_wanted) = (false, true);
                assert_eq!(some(&taken), Some((more, room_wanted)));
                self.report_room(at);
            } else {
                assert_eq!(taken, Taken::Nothing);
            }
            return;
        }
        let expected = self.sessions[at].items.len().min(count);
        assert_eq!(batch.len(), expected, "{batch:?}");
        for delivery in &batch {
            self.compare(at, delivery);
        }
        drop(batch);
        let limit = self.sessions[at].limit.unwrap_or(usize::MAX);
        let half_free = self.waiting_units(at) <= limit / 2;
        let session = &mut self.sessions[at];
        let room_wanted = session.room_wanted && half_free;
        let more = !session.items.is_empty();
        assert_eq!(some(&taken), Some((more, room_wanted)));
        if room_wanted {
            self.report_room(at);
        }
    }

    fn report_room(&mut self, at: usize) {
        let session = &mut self.sessions[at];
        session.room_wanted = false;
        self.broker.room_again(session.id);
        self.room_again(at);
    }

    fn room_again(&mut self, session: usize) {
        if !self.sessions[session].open {
            return;
        }
        for slot in self.held(session) {
            match self.subscriptions[slot as usize].source.clone() {
                Source::Queue(name) => {
                    self.sit_down(&name, slot);
                    self.hand_out(&name);
                    self.finish_up();
                }
                Source::Topic(_) | Source::User(_) => self.refill(slot),
            }
        }
    }

    /// Compares a delivery with the next that its session should receive.
    fn compare(&mut self, at: usize, delivery: &Delivery) {
        let items = &mut self.sessions[at].items;
        let first = items.first().expect("they were counted").turn;
        let place = items
            .iter()
            .take_while(|item| item.turn == first)
            .position(|item| item.slot == delivery.slot);
        let place = place.unwrap_or_else(|| panic!("{delivery:?}, and not {items:?}"));
        let item = items.remove(place);
        assert_eq!(delivery.tag, item.tag, "{delivery:?}");
        let (message, known) = (&delivery.message, &mut self.messages[item.message]);
        let header = |name| message.headers().get(name);
        assert_eq!(header("n"), Some(&*known.letter.number.to_string()));
        assert_eq!(message.destination(), known.destination);
        assert_eq!(delivery.redeliveries, item.redeliveries, "{message:?}");
        assert_eq!(message.body().len(), known.letter.units * super::UNIT);
        let dead = known.dead.as_ref();
        let count = dead.map(|(_, _, count)| count.to_string());
        assert_eq!(
            header("dead-letter-reason"),
            dead.map(|(reason, ..)| *reason)
        );
        assert_eq!(
            header("original-destination"),
            dead.map(|(_, from, _)| &**from)
        );
        assert_eq!(header("original-delivery-count"), count.as_deref());
        let seen = (message.id().to_string(), message.position());
        match &known.seen {
            Some(before) => assert_eq!(*before, seen, "all see the same"),
            None => {
                assert!(self.ids.insert(seen.0.clone()), "an id for two messages");
                known.seen = Some(seen);
            }
        }
        let position = message.position();
        let sequence = known.sequence;
        assert_eq!(
            position.map(|position| position.sequence),
            sequence.map(|(_, sequence)| sequence)
        );
        let life = sequence.map(|(life, _)| life);
        let mut topics = self.topics.values_mut();
        let topic = topics.find(|topic| Some(topic.life) == life);
        if let (Some(topic), Some(position)) = (topic, position) {
            let fresh = topic.epoch.is_none();
            assert_eq!(*topic.epoch.get_or_insert(position.epoch), position.epoch);
            assert!(
                !fresh || self.epochs.insert(position.epoch),
                "an epoch for two"
            );
        }
    }
}

/// Whether there is more, and whether room is wanted.
fn some(taken: &Taken) -> Option<(bool, bool)> {
    match taken {
        Taken::Some {
            more, room_wanted, ..
        } => Some((*more, *room_wanted)),
        _ => None,
    }
}
