//! Queues: waiting publishers, consumers, and dropped messages.

use std::collections::VecDeque;

use tramline_broker::{Counts, DeliveryRef, Outcome};

use super::publishing::{Job, Kind, Stop};
use super::rules::{Full, Rules};
use super::{Dead, Load, Source, World};

#[derive(Default)]
pub(super) struct Queue {
    pub(super) used: bool,
    /// In the order of their places.
    pub(super) ready: Vec<usize>,
    /// Subscriptions that may have room, in turn.
    pub(super) turn: Vec<u32>,
    pub(super) publishers: VecDeque<Parked>,
    /// Reserved by a transaction.
    pub(super) reserved: Load,
    next_place: u64,
    pub(super) counts: Counts,
}

pub(super) struct Parked {
    pub(super) job: Job,
    needs: Load,
    frees: Load,
    deadline: u64,
}

impl World {
    /// Returns the queue of that name, creating it if it is unknown.
    pub(super) fn queue(&mut self, name: &str) -> &mut Queue {
        self.queues.entry(name.to_owned()).or_insert_with(|| Queue {
            used: true,
            ..Queue::default()
        })
    }

    /// Everything that counts against a queue's limits.
    pub(super) fn load(&self, name: &str) -> Load {
        let queue = &self.queues[name];
        let source = Source::Queue(name.to_owned());
        let consumers = self.subscriptions.iter();
        let consumers = consumers.filter(|held| held.active && held.source == source);
        let unsettled = consumers.flat_map(|held| &held.unsettled);
        let unsettled = unsettled.map(|(_, message)| message);
        let all = queue.ready.iter().chain(unsettled);
        all.fold(queue.reserved, |load, message| {
            load.plus(self.load_of(*message))
        })
    }

    pub(super) fn fits(name: &str, load: Load, needs: Load) -> bool {
        let rules = Rules::of(name);
        load.messages + needs.messages <= rules.max_messages
            && (load.units + needs.units <= rules.max_units || load.messages == 0)
    }

    /// How many of the oldest messages must go to make room besides `load`.
    pub(super) fn in_the_way(&self, name: &str, mut load: Load, needs: Load) -> Option<usize> {
        let ready = &self.queues[name].ready;
        for count in 0..=ready.len() {
            if Self::fits(name, load, needs) {
                return Some(count);
            }
            load = load.less(self.load_of(*ready.get(count)?));
        }
        None
    }

    pub(super) fn drop_oldest(&mut self, name: &str, count: usize) {
        self.queue(name).ready.drain(..count);
        self.count(name, |counts| counts.dropped_oldest += count as u64);
    }

    /// Stores a message; returns true if a consumer has it at once.
    pub(super) fn push_to_queue(
        &mut self,
        name: &str,
        message: usize,
        waited: bool,
    ) -> Result<bool, Stop> {
        let queue = self.queue(name);
        queue.used = true;
        let overtakes = !waited && !queue.publishers.is_empty();
        let (load, needs) = (self.load(name), self.load_of(message));
        if overtakes || !Self::fits(name, load, needs) {
            match Rules::of(name).when_full {
                Full::Wait(0) => return Err(Stop::Refused(Kind::Full)),
                Full::Wait(_) => return Err(Stop::Full),
                Full::DropOldest => match self.in_the_way(name, load, needs) {
                    Some(count) => self.drop_oldest(name, count),
                    None => {
                        self.count(name, |counts| counts.dropped_newest += 1);
                        return Ok(false);
                    }
                },
                Full::DropNewest => {
                    self.count(name, |counts| counts.dropped_newest += 1);
                    return Ok(false);
                }
            }
        }
        Ok(self.take_in(name, message))
    }

    /// Stores a message that has room.
    pub(super) fn take_in(&mut self, name: &str, message: usize) -> bool {
        self.count(name, |counts| counts.published += 1);
        let queue = self.queue(name);
        queue.ready.push(message);
        queue.next_place += 1;
        let place = queue.next_place;
        self.messages[message].place = place;
        self.hand_out(name);
        self.queues[name].ready.is_empty() && !self.is_over(message)
    }

    fn is_over(&self, message: usize) -> bool {
        let expires_at = self.messages[message].expires_at;
        expires_at.is_some_and(|at| at <= self.now)
    }

    /// Delivers ready messages to consumers with room, in turn.
    pub(super) fn hand_out(&mut self, name: &str) {
        loop {
            let queue = &self.queues[name];
            let (Some(slot), Some(message)) = (queue.turn.first(), queue.ready.first()) else {
                break;
            };
            let (slot, message) = (*slot, *message);
            if self.is_over(message) {
                self.queue(name).ready.remove(0);
                self.give_up(name, message, "expired");
                continue;
            }
            self.queue(name).turn.remove(0);
            let turn = self.next_turn();
            if self.offer(slot, message, turn) {
                let queue = self.queue(name);
                queue.turn.push(slot);
                queue.ready.remove(0);
                let again = self.messages[message].redeliveries > 0;
                self.count(name, |counts| {
                    counts.delivered += 1;
                    counts.redelivered += u64::from(again);
                });
            }
        }
        self.call_publishers(name);
    }

    /// Puts a consumer that may have room again at the end of the turn order.
    pub(super) fn sit_down(&mut self, name: &str, slot: u32) {
        let queue = self.queue(name);
        if !queue.turn.contains(&slot) {
            queue.turn.push(slot);
        }
    }

    pub(super) fn call_publishers(&mut self, name: &str) {
        if self.first_may_go(name) {
            self.room.push_back(name.to_owned());
        }
    }

    fn first_may_go(&self, name: &str) -> bool {
        let Some(first) = self.queues[name].publishers.front() else {
            return false;
        };
        // A session that was closed frees nothing.
        let load = self.load(name);
        let rest = Load {
            messages: load.messages.saturating_sub(first.frees.messages),
            units: load.units.saturating_sub(first.frees.units),
        };
        Self::fits(name, rest, first.needs)
    }

    pub(super) fn park(&mut self, name: &str, job: Job, needs: Load, frees: Load, deadline: u64) {
        self.queue(name).publishers.push_back(Parked {
            job,
            needs,
            frees,
            deadline,
        });
    }

    /// The deadline of a publisher that starts to wait now.
    pub(super) fn deadline(&self, name: &str) -> u64 {
        match Rules::of(name).when_full {
            Full::Wait(millis) => self.now + millis,
            Full::DropOldest | Full::DropNewest => self.now,
        }
    }

    pub(super) fn come_back(&mut self, name: &str, message: usize) {
        let known = &mut self.messages[message];
        known.redeliveries += 1;
        let most = Rules::of(name).max_deliveries;
        if most.is_some_and(|most| known.redeliveries >= most) {
            return self.give_up(name, message, "max-deliveries");
        }
        let place = known.place;
        let ready = &self.queues[name].ready;
        let later = |other: &usize| self.messages[*other].place > place;
        let at = ready.iter().position(later).unwrap_or(ready.len());
        self.queue(name).ready.insert(at, message);
    }

    fn give_up(&mut self, name: &str, message: usize, reason: &'static str) {
        if reason == "expired" {
            self.count(name, |counts| counts.expired += 1);
        }
        self.dead.push_back(Dead {
            message,
            reason,
            queue: name.to_owned(),
        });
    }

    pub(super) fn expire(&mut self, name: &str) {
        for message in self.queues[name].ready.clone() {
            if self.is_over(message) {
                self.queue(name).ready.retain(|other| *other != message);
                self.give_up(name, message, "expired");
            }
        }
        let now = self.now;
        let publishers = std::mem::take(&mut self.queue(name).publishers);
        for parked in publishers {
            if parked.deadline <= now {
                self.overdue.push_back((parked.job, name.to_owned()));
            } else {
                self.queue(name).publishers.push_back(parked);
            }
        }
        self.call_publishers(name);
    }

    /// Does the follow-up work of an operation.
    pub(super) fn finish_up(&mut self) {
        loop {
            if let Some(Dead {
                message,
                reason,
                queue,
            }) = self.dead.pop_front()
            {
                self.held.push(message);
                let place = Rules::of(&queue).dead_letters;
                let deliveries = self.messages[message].redeliveries;
                let buried = self.bury(message, reason, deliveries, place);
                self.held.pop();
                let nowhere = place.is_none_or(|place| place == queue);
                if buried {
                    self.count(&queue, |counts| counts.dead_lettered += 1);
                } else if !nowhere || reason != "expired" {
                    self.count(&queue, |counts| counts.discarded += 1);
                }
            } else if let Some((job, queue)) = self.overdue.pop_front() {
                self.count(&queue, |counts| counts.refused += 1);
                self.fail(job);
            } else if let Some(queue) = self.room.pop_front() {
                while self.first_may_go(&queue)
                    && let Some(parked) = self.queue(&queue).publishers.pop_front()
                {
                    self.go_on(parked.job, Some(parked.deadline));
                }
            } else {
                return;
            }
        }
    }

    /// The index of the delivery that a reference means at a subscription.
    pub(super) fn position(&self, slot: u32, delivery: &DeliveryRef) -> Option<usize> {
        let mut unsettled = self.subscriptions[slot as usize].unsettled.iter();
        unsettled.position(|(tag, message)| match delivery {
            DeliveryRef::Tag(named) | DeliveryRef::Only(named) => named == tag,
            DeliveryRef::MessageId(named) => {
                let seen = self.messages[*message].seen.as_ref();
                seen.is_some_and(|(id, _)| **id == **named)
            }
        })
    }

    /// Settles at one subscription; returns false if the delivery does not exist.
    pub(super) fn settle_at(
        &mut self,
        slot: u32,
        delivery: &DeliveryRef,
        outcome: Outcome,
    ) -> bool {
        let source = self.subscriptions[slot as usize].source.clone();
        if let Source::Queue(name) = &source {
            self.queue(name).used = true;
        }
        let Some(at) = self.position(slot, delivery) else {
            return false;
        };
        let held = &mut self.subscriptions[slot as usize];
        let first = match (held.ack, delivery) {
            (tramline_broker::AckMode::ClientIndividual, _) | (_, DeliveryRef::Only(_)) => at,
            _ => 0,
        };
        let settled: Vec<usize> = held
            .unsettled
            .drain(first..=at)
            .map(|(_, message)| message)
            .collect();
        match source {
            Source::Queue(name) => self.settle_queue(slot, &name, &settled, outcome),
            Source::Topic(_) | Source::User(_) => self.settle_window(slot, settled, outcome),
        }
        true
    }

    pub(super) fn settle_queue(
        &mut self,
        slot: u32,
        name: &str,
        settled: &[usize],
        outcome: Outcome,
    ) {
        for message in settled {
            match outcome {
                Outcome::Accepted => self.count(name, |counts| counts.acked += 1),
                Outcome::Released => self.come_back(name, *message),
                Outcome::Rejected => {
                    self.messages[*message].redeliveries += 1;
                    self.give_up(name, *message, "rejected");
                }
                Outcome::Expired => self.give_up(name, *message, "expired"),
            }
        }
        self.sit_down(name, slot);
        self.hand_out(name);
    }

    fn settle_window(&mut self, slot: u32, settled: Vec<usize>, outcome: Outcome) {
        self.refill(slot);
        self.held.extend(&settled);
        for message in settled {
            let is_topics = self.messages[message].sequence.is_some();
            if outcome == Outcome::Accepted {
                if is_topics {
                    self.count_for(message, |counts| counts.acked += 1);
                }
            } else if is_topics {
                let place = Rules::rejected(&self.messages[message].destination);
                if self.bury(message, "rejected", 1, place) {
                    self.count_for(message, |counts| counts.dead_lettered += 1);
                } else {
                    self.count_for(message, |counts| counts.discarded += 1);
                }
            }
            self.held.retain(|other| *other != message);
        }
    }
}
