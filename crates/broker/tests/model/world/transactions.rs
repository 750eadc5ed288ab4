//! Settling, individually and in transactions.

use std::collections::VecDeque;

use tramline_broker::{AckMode, DeliveryRef, Outcome, Settle, Transaction};

use super::publishing::{Job, Kind};
use super::rules::{Full, Rules};
use super::{Letter, Load, Named, Settling, Source, To, World};

/// A transaction.
pub(super) struct Commit {
    settled: Vec<Settled>,
    letters: Vec<Letter>,
    /// The messages are those of a client that was there.
    is_clients: bool,
    pub(super) answer: usize,
}

/// Deliveries of a queue to one subscription that a transaction settles at once.
struct Settled {
    slot: u32,
    queue: String,
    tags: Vec<u32>,
    outcome: Outcome,
}

/// A delivery that no queue knows of, at a subscription.
pub(super) type Windowed = (u32, DeliveryRef, Outcome);

/// Why a transaction is not carried out now.
enum NotNow {
    Never(Kind),
    /// A queue has no room: its name, the load to publish there, and the load that settling frees.
    Full(String, Load, Load),
}

/// A transaction's deliveries at one subscription.
type Group = (u32, Vec<(DeliveryRef, Outcome)>);

impl World {
    /// The deliveries that a session has to settle.
    pub(super) fn unsettled_of(&self, session: usize) -> Vec<(u32, u32, usize)> {
        let held = self.held(session).into_iter();
        held.flat_map(|slot| {
            let unsettled = self.subscriptions[slot as usize].unsettled.iter();
            unsettled.map(move |(tag, message)| (slot, *tag, *message))
        })
        .collect()
    }

    fn named(&self, session: usize, settling: &Settling) -> Settle {
        let unsettled = self.unsettled_of(session);
        let wrongly = Settle::new(Some(0), DeliveryRef::Tag(0), settling.outcome);
        if unsettled.is_empty() {
            return wrongly;
        }
        let (slot, tag, message) = unsettled[settling.place % unsettled.len()];
        let seen = self.messages[message].seen.as_ref();
        let id = seen.map(|(id, _)| DeliveryRef::MessageId(id.clone().into()));
        let (slot, delivery) = match (settling.named, id) {
            (Named::Wrongly, None) => return wrongly,
            (Named::Wrongly, Some(id)) => (Some(slot + 1), id),
            (Named::Id, Some(id)) => (Some(slot), id),
            (Named::IdAlone, Some(id)) => (None, id),
            (Named::Tag | Named::Id | Named::IdAlone, _) => (Some(slot), DeliveryRef::Tag(tag)),
        };
        Settle::new(slot, delivery, settling.outcome)
    }

    pub(super) fn settle(&mut self, session: usize, settling: &Settling) {
        if session >= self.sessions.len() {
            return;
        }
        let settle = self.named(session, settling);
        let answer = self
            .broker
            .settle(self.sessions[session].id, settle.clone());
        let answer = answer
            .into_ready()
            .expect("the embedded broker knows at once");
        let expected = self
            .candidates(session, settle.slot)
            .into_iter()
            .any(|slot| self.settle_at(slot, &settle.delivery, settle.outcome));
        self.finish_up();
        assert_eq!(answer.is_ok(), expected, "{settle:?}: {answer:?}");
    }

    /// The subscriptions that a settle may mean.
    fn candidates(&self, session: usize, slot: Option<u32>) -> Vec<u32> {
        let mut held = self.held(session);
        held.retain(|known| slot.is_none_or(|slot| slot == *known));
        held
    }

    pub(super) fn commit(&mut self, session: usize, settlings: &[Settling], letters: Vec<Letter>) {
        if session >= self.sessions.len() {
            return;
        }
        let letters = self.written(letters);
        let settles = settlings.iter();
        let settles: Vec<Settle> = settles
            .map(|settling| self.named(session, settling))
            .collect();
        let publishes = letters.iter().map(|letter| self.posted(letter)).collect();
        let transaction = Transaction::new(settles.clone(), publishes);
        let id = self.sessions[session].id;
        let confirm = self.broker.commit(id, transaction, self.timestamp());
        let answer = self.await_commit(confirm);
        match self.meant(session, &settles) {
            Err(kind) => self.answer(answer, Err((0, kind))),
            Ok((settled, windows)) => {
                self.answers.last_mut().expect("it is waited for").windows = windows;
                let commit = Commit {
                    settled,
                    letters,
                    is_clients: self.sessions[session].open,
                    answer,
                };
                self.go_on_with_commit(commit, None);
            }
        }
        self.finish_up();
        self.settle_windows(answer);
    }

    pub(super) fn go_on_with_commit(&mut self, commit: Commit, deadline: Option<u64>) {
        let answer = commit.answer;
        match self.try_commit(&commit, deadline.is_some()) {
            Ok(receivers) => self.answer(answer, Ok(receivers)),
            Err(NotNow::Never(kind)) => self.answer(answer, Err((0, kind))),
            Err(NotNow::Full(queue, needs, frees)) => {
                let deadline = deadline.unwrap_or_else(|| self.deadline(&queue));
                self.park(&queue, Job::Commit(commit), needs, frees, deadline);
            }
        }
    }

    /// Checks everything before doing anything.
    fn try_commit(&mut self, commit: &Commit, waited: bool) -> Result<usize, NotNow> {
        let frees = self.frees(&commit.settled).map_err(NotNow::Never)?;
        let needs = self
            .needs(&commit.letters, commit.is_clients)
            .map_err(NotNow::Never)?;
        let mut reserved: Vec<(String, Load)> = Vec::new();
        for (queue, needs) in needs {
            let own = frees.iter().filter(|(name, _)| *name == queue);
            let own = own.fold(Load::default(), |sum, (_, load)| sum.plus(*load));
            if let Err(not_now) = self.reserve(&queue, needs, own, waited) {
                for (queue, needs) in reserved {
                    let known = self.queue(&queue);
                    known.reserved = known.reserved.less(needs);
                    self.call_publishers(&queue);
                }
                return Err(not_now);
            }
            reserved.push((queue, needs));
        }
        for settled in &commit.settled {
            let held = &mut self.subscriptions[settled.slot as usize];
            let (meant, left): (Vec<_>, Vec<_>) = std::mem::take(&mut held.unsettled)
                .into_iter()
                .partition(|(tag, _)| settled.tags.contains(tag));
            held.unsettled = left;
            let messages: Vec<usize> = meant.into_iter().map(|(_, message)| message).collect();
            self.settle_queue(settled.slot, &settled.queue, &messages, settled.outcome);
        }
        let letters = commit.letters.iter().cloned();
        Ok(letters.map(|letter| self.publish_reserved(letter)).sum())
    }

    /// The deliveries that a transaction settles: what is settled by itself later does not change them.
    fn meant(
        &self,
        session: usize,
        settles: &[Settle],
    ) -> Result<(Vec<Settled>, Vec<Windowed>), Kind> {
        let (mut of_queues, mut windowed) = (Vec::new(), Vec::new());
        for (slot, settles) in self.groups(session, settles)? {
            let held = &self.subscriptions[slot as usize];
            let mut left: VecDeque<(u32, usize)> = held.unsettled.iter().copied().collect();
            for (delivery, outcome) in settles {
                let at = self.position(slot, &delivery).ok_or(Kind::Delivery)?;
                let meant = held.unsettled[at];
                let at = left.iter().position(|other| *other == meant);
                let at = at.ok_or(Kind::Delivery)?;
                let first = match held.ack {
                    AckMode::ClientIndividual => at,
                    _ => 0,
                };
                let tags = left.drain(first..=at).map(|(tag, _)| tag).collect();
                match held.source.clone() {
                    Source::Queue(queue) => of_queues.push(Settled {
                        slot,
                        queue,
                        tags,
                        outcome,
                    }),
                    Source::Topic(_) | Source::User(_) => windowed.push((slot, delivery, outcome)),
                }
            }
        }
        Ok((of_queues, windowed))
    }

    /// The deliveries by their subscriptions.
    fn groups(&self, session: usize, settles: &[Settle]) -> Result<Vec<Group>, Kind> {
        let mut groups: Vec<Group> = Vec::new();
        for settle in settles {
            let mut candidates = self.candidates(session, settle.slot).into_iter();
            let has = |slot: &u32| self.position(*slot, &settle.delivery).is_some();
            let slot = candidates.find(has).ok_or(Kind::Delivery)?;
            let settled = (settle.delivery.clone(), settle.outcome);
            match groups.iter_mut().find(|(known, _)| *known == slot) {
                Some((_, settles)) => settles.push(settled),
                None => groups.push((slot, vec![settled])),
            }
        }
        Ok(groups)
    }

    /// The room that settling frees in queues, if all of it is still there.
    fn frees(&self, all: &[Settled]) -> Result<Vec<(String, Load)>, Kind> {
        let mut frees = Vec::new();
        for settled in all {
            let unsettled = &self.subscriptions[settled.slot as usize].unsettled;
            let mut load = Load::default();
            for tag in &settled.tags {
                let mut deliveries = unsettled.iter();
                let found = deliveries.find(|(other, _)| other == tag);
                let (_, message) = found.ok_or(Kind::Delivery)?;
                // A released message stays in its queue.
                if settled.outcome != Outcome::Released {
                    load = load.plus(self.load_of(*message));
                }
            }
            frees.push((settled.queue.clone(), load));
        }
        Ok(frees)
    }

    /// The room that letters need in queues, in the order they name them.
    fn needs(&mut self, letters: &[Letter], is_clients: bool) -> Result<Vec<(String, Load)>, Kind> {
        let mut needs: Vec<(String, Load)> = Vec::new();
        for letter in letters {
            let expiry = letter.expiry(self.now).map_err(|()| Kind::Expiry);
            let To::Destination(name) = &letter.to else {
                expiry?;
                continue;
            };
            if Rules::is_topic(name) {
                expiry?;
                if self.has_listeners(name) {
                    self.topic(name);
                }
                continue;
            }
            if !Rules::is_queue(name) {
                return Err(Kind::Destination);
            }
            expiry?;
            self.queue(name);
            let one = Load {
                messages: 1,
                units: letter.units,
            };
            match needs.iter_mut().find(|(known, _)| known == name) {
                Some((_, load)) => *load = load.plus(one),
                None => needs.push((name.clone(), one)),
            }
        }
        let units = letters.iter().map(|letter| letter.units).sum();
        // A client leaves a sixteenth of the memory to the application, and by messages to queues another one.
        let limit = match (is_clients && !letters.is_empty(), needs.is_empty()) {
            (false, _) => super::MEMORY,
            (true, true) => 38,
            (true, false) => 35,
        };
        self.has_memory_below(units, limit)?;
        Ok(needs)
    }

    fn reserve(
        &mut self,
        name: &str,
        needs: Load,
        frees: Load,
        waited: bool,
    ) -> Result<(), NotNow> {
        let queue = self.queue(name);
        queue.used = true;
        let first = waited || frees.messages > 0 || queue.publishers.is_empty();
        let rest = self.load(name).less(frees);
        if !first || !Self::fits(name, rest, needs) {
            match Rules::of(name).when_full {
                Full::Wait(1..) if Self::fits(name, Load::default(), needs) => {
                    return Err(NotNow::Full(name.to_owned(), needs, frees));
                }
                Full::DropOldest if self.in_the_way(name, rest, needs).is_some() => {}
                _ => {
                    self.count(name, |counts| counts.refused += 1);
                    return Err(NotNow::Never(Kind::Full));
                }
            }
        }
        let queue = self.queue(name);
        queue.reserved = queue.reserved.plus(needs);
        Ok(())
    }

    fn publish_reserved(&mut self, letter: Letter) -> usize {
        let name = letter.text().to_owned();
        match letter.to {
            To::User(..) | To::Session(..) => return self.publish_to_sessions(letter),
            To::Destination(_) if Rules::is_topic(&name) => {
                let turn = self.next_turn();
                return self.publish_to_topic(letter, turn);
            }
            To::Destination(_) => {}
        }
        let message = self.queued(letter).expect("it was checked");
        let needs = self.load_of(message);
        let queue = self.queue(&name);
        queue.reserved = queue.reserved.less(needs);
        let drops = Rules::of(&name).when_full == Full::DropOldest;
        if drops && let Some(count) = self.in_the_way(&name, self.load(&name), needs) {
            self.drop_oldest(&name, count);
        }
        usize::from(self.take_in(&name, message))
    }
}
