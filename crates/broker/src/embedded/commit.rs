//! Transactions, carried out completely or not at all.

use std::collections::HashMap;
use std::sync::Arc;

use super::Engine;
use super::job::{Job, Work};
use super::journal::{Change, Journal, Key};
use super::ledger::Load;
use super::publishing::expiring;
use super::queue::{Aftermath, Needs, NotTaken, Queue, Seating};
use super::seat::HeldMessages;
use super::subscriptions::Subscription;
use crate::broker::Commit;
use crate::confirm::{Confirm, Promise};
use crate::destination::{Destination, Target};
use crate::errors::{CommitError, PublishError, SettleError};
use crate::expiry::expiry;
use crate::feed::Feed;
use crate::message::{Message, Publish};
use crate::request::{Outcome, Published};
use crate::statistics::{Count, DestinationKind};
use crate::timestamp::Timestamp;

/// The reasons why a transaction was not committed now.
enum NotNow {
    Never(CommitError),
    /// A queue has no room for its messages.
    Full {
        queue: Arc<Queue>,
        needs: Needs,
    },
}

impl<E: Into<CommitError>> From<E> for NotNow {
    fn from(error: E) -> Self {
        Self::Never(error.into())
    }
}

/// The unused part of the room reserved in a queue.
struct Reservation {
    queue: Arc<Queue>,
    left: Load,
}

/// Reservations by the queue's name.
type Reservations = HashMap<bytestring::ByteString, Reservation>;

impl Engine {
    pub(super) fn commit_now_or_later(
        &self,
        commit: Commit,
    ) -> Confirm<Result<Published, CommitError>> {
        let mut after = Aftermath::default();
        let answer = match self.try_commit(&commit, false, &mut after) {
            Ok(published) => Ok(published),
            Err(NotNow::Never(error)) => Err(error),
            Err(NotNow::Full { queue, needs }) => {
                let (promise, confirm) = Promise::new();
                let work = Work::Commit { commit, promise };
                let deadline = self.deadline(&queue);
                self.wait_in(&queue, Job { work, deadline }, needs, &mut after);
                self.finish(after);
                return confirm;
            }
        };
        let awaited = self.finish(after);
        self.confirm(answer, awaited)
    }

    pub(super) fn go_on_with_commit(
        &self,
        commit: Commit,
        promise: Promise<Result<Published, CommitError>>,
        deadline: Timestamp,
        after: &mut Aftermath,
    ) {
        match self.try_commit(&commit, true, after) {
            Ok(published) => self.answer(promise, Ok(published), after.awaited),
            Err(NotNow::Never(error)) => promise.keep(Err(error)),
            Err(NotNow::Full { queue, needs }) => {
                let work = Work::Commit { commit, promise };
                self.wait_in(&queue, Job { work, deadline }, needs, after);
            }
        }
    }

    /// Takes the deliveries from their consumers and reserves room, then does everything: nobody can take either away,
    /// even if a consumer ends meanwhile.
    fn try_commit(
        &self,
        commit: &Commit,
        waited: bool,
        after: &mut Aftermath,
    ) -> Result<Published, NotNow> {
        let held = self.hold(commit, after)?;
        let mut reservations = match self.reserve(&commit.publishes, &held, waited, after) {
            Ok(reservations) => reservations,
            Err(not_now) => {
                self.put_back(held, after);
                return Err(not_now);
            }
        };
        let prepare = |publish: &Publish| self.prepare_reserved(publish.clone(), &mut reservations);
        let mut prepared = commit.publishes.iter().map(prepare);
        let mut stored = Vec::new();
        if let Some(journal) = &self.journal {
            stored.extend(prepared.by_ref());
            store_commit(&**journal, &held, &mut stored, after);
        }
        for (queue, held) in held {
            queue.settle_held(held, self.hub.now(), after);
        }
        let mut receivers = 0;
        for publish in stored.into_iter().chain(prepared) {
            receivers += self.publish_prepared(publish, after);
        }
        Ok(Published::new(receivers))
    }

    /// Takes all deliveries to settle from their consumers, or none.
    fn hold(
        &self,
        commit: &Commit,
        after: &mut Aftermath,
    ) -> Result<Vec<(Arc<Queue>, HeldMessages)>, SettleError> {
        let mut all = Vec::with_capacity(commit.settlements.len());
        for settlement in &commit.settlements {
            let seating = settlement.consumer.record::<Seating>();
            let held = seating.and_then(|Seating { queue, key }| {
                let queue = queue.upgrade()?;
                if queue.has_failed() {
                    return None;
                }
                let held = queue.hold(*key, &settlement.tokens, settlement.outcome)?;
                Some((queue, held))
            });
            let Some(held) = held else {
                self.put_back(all, after);
                return Err(SettleError::Gone);
            };
            all.push(held);
        }
        Ok(all)
    }

    fn put_back(&self, held: Vec<(Arc<Queue>, HeldMessages)>, after: &mut Aftermath) {
        for (queue, held) in held {
            queue.put_back(held, self.hub.now(), after);
        }
    }

    /// Reserves room in every queue that receives a message.
    fn reserve(
        &self,
        publishes: &[Publish],
        held: &[(Arc<Queue>, HeldMessages)],
        waited: bool,
        after: &mut Aftermath,
    ) -> Result<Reservations, NotNow> {
        let mut reservations = Reservations::new();
        for (queue, load) in self.loads(publishes)? {
            let mut frees = Load::default();
            for (_, held) in held.iter().filter(|(other, _)| Arc::ptr_eq(other, &queue)) {
                frees.add(held.frees());
            }
            match self.reserve_in(queue, Needs { load, frees }, waited) {
                Ok(queue) => {
                    let name = queue.name().clone();
                    reservations.insert(name, Reservation { queue, left: load });
                }
                Err(not_now) => {
                    for Reservation { queue, left } in reservations.into_values() {
                        queue.give_back(left, after);
                    }
                    return Err(not_now);
                }
            }
        }
        Ok(reservations)
    }

    /// Checks everything that does not depend on room in queues; returns the load of each queue, in the order they are
    /// named.
    fn loads(&self, publishes: &[Publish]) -> Result<Vec<(Arc<Queue>, Load)>, PublishError> {
        let mut loads: Vec<(Arc<Queue>, Load)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut for_subscriptions = 0;
        let mut bytes = 0;
        for publish in publishes {
            bytes += publish.memory();
            let check = || expiry(&publish.headers, self.hub.now());
            let Target::Destination(destination) = &publish.target else {
                check()?;
                continue;
            };
            let payer = || publish.account().cloned();
            match self.hub.settings().kind(destination) {
                None => return Err(self.hub.unknown_destination(destination)),
                Some((DestinationKind::Topic, _)) => {
                    check()?;
                    self.hub.prepare_for(destination, &payer)?;
                    if self.may_keep(destination) {
                        let kept = self.hub.kept_of(destination);
                        for_subscriptions += self.check_durable(&kept, publish)?;
                    }
                }
                Some((DestinationKind::Queue, _)) => {
                    check()?;
                    let place = match places.get(destination.as_str()) {
                        Some(place) => *place,
                        None => {
                            let queue = self.queue(destination, &payer);
                            let queue = queue.map_err(|error| self.hub.refused_name(&error))?;
                            loads.push((queue, Load::default()));
                            places.insert(destination, loads.len() - 1);
                            loads.len() - 1
                        }
                    };
                    loads[place].1.add(Load::one(publish.size_hint()));
                }
            }
        }
        let mut durable = loads.iter().filter(|(queue, _)| queue.is_durable());
        let stored: usize = durable.clone().map(|(_, load)| load.bytes).sum();
        if let Some((queue, _)) = durable.next() {
            queue.check_store(stored + for_subscriptions)?;
        }
        let kind = match loads.is_empty() {
            true => DestinationKind::Topic,
            false => DestinationKind::Queue,
        };
        let account = publishes.first().and_then(Publish::account);
        self.hub.check_memory_for(account, bytes, kind)?;
        Ok(loads)
    }

    fn reserve_in(
        &self,
        mut queue: Arc<Queue>,
        needs: Needs,
        waited: bool,
    ) -> Result<Arc<Queue>, NotNow> {
        loop {
            match queue.reserve(needs, waited) {
                Ok(()) => return Ok(queue),
                Err(NotTaken::Removed) => {
                    queue = self
                        .same_queue(&queue)
                        .map_err(|_| self.hub.no_more_names())?;
                }
                Err(NotTaken::Full) => return Err(NotNow::Full { queue, needs }),
                Err(NotTaken::Refused(error)) => {
                    queue.meter.count(Count::Refused, 1);
                    return Err(error.into());
                }
            }
        }
    }

    /// Makes the message of a publish that was checked and has its room reserved.
    fn prepare_reserved(&self, publish: Publish, reservations: &mut Reservations) -> Prepared {
        let reservation = match &publish.target {
            Target::Destination(destination) => reservations.get_mut(destination.as_str()),
            _ => None,
        };
        let Some(reservation) = reservation else {
            return self.prepare_other(publish);
        };
        let reserved = Load::one(publish.size_hint());
        reservation.left = reservation.left.less(reserved);
        let queue = Arc::clone(&reservation.queue);
        let expires_at = self
            .expires_at(&queue, &publish.headers)
            .unwrap_or_default();
        Prepared::Reserved {
            message: self.hub.message(expiring(publish, expires_at)),
            queue,
            expires_at,
            reserved,
            key: None,
        }
    }

    fn prepare_other(&self, publish: Publish) -> Prepared {
        let Target::Destination(topic) = &publish.target else {
            return Prepared::Other(publish);
        };
        if !self.may_keep(topic) {
            return Prepared::Other(publish);
        }
        let message = self.hub.message(publish.clone());
        let by = self.wanted_by(topic, &message).into_iter();
        let position = publish.position();
        Prepared::Kept {
            topic: topic.clone(),
            // The same message as in the record.
            publish: publish.numbered(message.id().clone(), position),
            message,
            by: by.map(|subscription| (subscription, Key(0))).collect(),
        }
    }

    fn publish_prepared(&self, prepared: Prepared, after: &mut Aftermath) -> usize {
        match prepared {
            Prepared::Reserved {
                queue,
                message,
                expires_at,
                reserved,
                key,
            } => queue
                .push_reserved(&message, (expires_at, key), reserved, self.hub.now(), after)
                .into(),
            Prepared::Kept {
                topic, publish, by, ..
            } => {
                let delivered = self.deliver_durable(&topic, publish, Some(by), after);
                delivered.unwrap_or_default()
            }
            Prepared::Other(publish) => {
                let Target::Destination(destination) = &publish.target else {
                    return self.hub.deliver_here(publish);
                };
                let destination = destination.clone();
                // `prepare` made sure that the name finds a place; a topic removed since has no subscribers.
                let delivered = self
                    .hub
                    .deliver_run(Feed::NODE, &destination, vec![publish])
                    .map_err(|refused| refused.error);
                delivered.unwrap_or_default()
            }
        }
    }
}

/// A message of a transaction that is carried out.
enum Prepared {
    /// For a queue that has its room reserved.
    Reserved {
        queue: Arc<Queue>,
        message: Arc<Message>,
        expires_at: Option<Timestamp>,
        reserved: Load,
        /// Its key in the journal of a durable queue.
        key: Option<Key>,
    },
    /// For a topic that may have durable subscriptions.
    Kept {
        topic: Destination,
        publish: Publish,
        /// The message of the journal's record.
        message: Arc<Message>,
        /// Those that receive it, with its key for each.
        by: Vec<(Arc<Subscription>, Key)>,
    },
    /// For a topic, a user or a session.
    Other(Publish),
}

/// Appends what durable queues keep of a transaction to the journal, as one record.
fn store_commit(
    journal: &dyn Journal,
    held: &[(Arc<Queue>, HeldMessages)],
    prepared: &mut [Prepared],
    after: &mut Aftermath,
) {
    let mut changes = Vec::new();
    let mut queues = Vec::new();
    for (queue, held) in held.iter().filter(|(queue, _)| queue.is_durable()) {
        if held.outcome == Outcome::Accepted {
            let removals = held.entries.iter().map(|(_, entry)| Change::Remove {
                key: Key(entry.sequence),
            });
            changes.extend(removals);
            queues.push(queue);
        }
    }
    for prepared in &*prepared {
        prepared.for_each_durable(|queue, message| {
            let name = queue.name();
            changes.push(Change::Enqueue {
                queue: name,
                message,
            });
            queues.push(queue);
        });
    }
    if changes.is_empty() {
        return;
    }
    let appended = journal.append(&changes);
    for queue in queues {
        after.awaited = after.awaited | queue.awaits(appended.ticket);
    }
    let mut keys = (appended.first.0..).map(Key);
    for prepared in prepared {
        match prepared {
            Prepared::Reserved { queue, key, .. } if queue.is_durable() => *key = keys.next(),
            Prepared::Kept { by, .. } => {
                let keys = by.iter_mut().zip(keys.by_ref());
                keys.for_each(|((_, key), of_record)| *key = of_record);
            }
            Prepared::Reserved { .. } | Prepared::Other(_) => {}
        }
    }
}

impl Prepared {
    /// Calls `each` for every durable queue that stores the message, in the order of their keys.
    fn for_each_durable<'a>(&'a self, mut each: impl FnMut(&'a Arc<Queue>, &'a Message)) {
        match self {
            Self::Reserved { queue, message, .. } if queue.is_durable() => each(queue, message),
            Self::Kept { by, message, .. } => {
                by.iter()
                    .for_each(|(subscription, _)| each(subscription.queue(), message));
            }
            Self::Reserved { .. } | Self::Other(_) => {}
        }
    }
}
