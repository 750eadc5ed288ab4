//! Transactions: all of one or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::job::{Job, Work};
use super::names::NoMoreNames;
use super::publishing::expiry;
use super::queue::{Aftermath, Load, Needs, NotTaken, Queue};
use super::{EmbeddedBroker, Place};
use crate::confirm::Promise;
use crate::registry::{Held, Session};
use crate::statistics::DestinationKind;
use crate::{
    CommitError, Confirm, DeliveryRef, Outcome, Publish, PublishError, Published, SessionId,
    Settle, SettleError, Target, Timestamp, Transaction,
};

/// Why a transaction was not committed now.
enum NotNow {
    Never(CommitError),
    /// A queue has no room for what goes there.
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

/// A transaction's deliveries at one subscription, in order.
struct Settling<'a> {
    held: Held<Place>,
    deliveries: Vec<&'a DeliveryRef>,
    outcomes: Vec<Outcome>,
}

/// Room set aside in a queue, and not used so far.
struct Reservation {
    queue: Arc<Queue>,
    left: Load,
}

/// Reservations by the queue's name.
type Reservations = HashMap<bytestring::ByteString, Reservation>;

impl EmbeddedBroker {
    pub(super) fn commit_now_or_later(
        &self,
        session: SessionId,
        transaction: Transaction,
    ) -> Confirm<Result<Published, CommitError>> {
        let mut after = Aftermath::default();
        let answer = match self.try_commit(session, &transaction, false, &mut after) {
            Ok(published) => Confirm::ready(Ok(published)),
            Err(NotNow::Never(error)) => Confirm::ready(Err(error)),
            Err(NotNow::Full { queue, needs }) => {
                let (promise, confirm) = Promise::new();
                let work = Work::Commit {
                    session,
                    transaction,
                    promise,
                };
                let deadline = self.deadline(&queue);
                self.wait_in(&queue, Job { work, deadline }, needs, &mut after);
                confirm
            }
        };
        self.finish(after);
        answer
    }

    pub(super) fn go_on_with_commit(
        &self,
        session: SessionId,
        transaction: Transaction,
        promise: Promise<Result<Published, CommitError>>,
        deadline: Timestamp,
        after: &mut Aftermath,
    ) {
        match self.try_commit(session, &transaction, true, after) {
            Ok(published) => promise.keep(Ok(published)),
            Err(NotNow::Never(error)) => promise.keep(Err(error)),
            Err(NotNow::Full { queue, needs }) => {
                let work = Work::Commit {
                    session,
                    transaction,
                    promise,
                };
                self.wait_in(&queue, Job { work, deadline }, needs, after);
            }
        }
    }

    /// Checks everything, sets room aside, and then does it: what was checked stays true, because only the session itself
    /// settles its deliveries, and its turn is taken.
    fn try_commit(
        &self,
        session: SessionId,
        transaction: &Transaction,
        waited: bool,
        after: &mut Aftermath,
    ) -> Result<Published, NotNow> {
        let known = self.registry.session(session);
        let _turn = known.as_ref().map(|session| session.take_turn());
        let settling = settling(known.as_deref(), &transaction.settles)?;
        let frees = freed(&settling)?;
        let mut reservations = self.reserve(&transaction.publishes, &frees, waited, after)?;
        for Settling {
            held,
            deliveries,
            outcomes,
        } in &settling
        {
            for (delivery, outcome) in deliveries.iter().zip(outcomes) {
                self.settle_at(held, delivery, *outcome, after);
            }
        }
        let mut receivers = 0;
        for publish in &transaction.publishes {
            receivers += self.publish_reserved(publish.clone(), &mut reservations, after);
        }
        Ok(Published::new(receivers))
    }

    /// Sets aside room in every queue that something goes to.
    fn reserve(
        &self,
        publishes: &[Publish],
        frees: &[(Arc<Queue>, Load)],
        waited: bool,
        after: &mut Aftermath,
    ) -> Result<Reservations, NotNow> {
        let mut reservations = Reservations::new();
        for (queue, load) in self.loads(publishes)? {
            let freed = frees.iter().filter(|(other, _)| Arc::ptr_eq(other, &queue));
            let frees = freed.fold(Load::default(), |mut sum, (_, load)| {
                sum.add(*load);
                sum
            });
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

    /// Checks everything that does not depend on room in queues; gives what goes to each queue, in the order they are
    /// named.
    fn loads(&self, publishes: &[Publish]) -> Result<Vec<(Arc<Queue>, Load)>, PublishError> {
        let mut loads: Vec<(Arc<Queue>, Load)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut bytes = 0;
        for publish in publishes {
            bytes += publish.size_hint();
            let Target::Destination(destination) = &publish.target else {
                continue;
            };
            let details = |destination: &str| self.topic_details(destination);
            match self.kind(destination) {
                None => return Err(self.unknown(destination)),
                Some((DestinationKind::Topic, separator)) => self
                    .topics
                    .prepare(destination, separator, details)
                    .map_err(|NoMoreNames| self.no_more_names())?,
                Some((DestinationKind::Queue, _)) => {
                    expiry(&publish.headers, self.now())?;
                    let place = match places.get(destination.as_str()) {
                        Some(place) => *place,
                        None => {
                            let queue = self.queue(destination);
                            let queue = queue.map_err(|NoMoreNames| self.no_more_names())?;
                            loads.push((queue, Load::default()));
                            places.insert(destination, loads.len() - 1);
                            loads.len() - 1
                        }
                    };
                    loads[place].1.add(Load {
                        messages: 1,
                        bytes: publish.size_hint(),
                    });
                }
            }
        }
        if !self.budget.has_room(bytes) {
            self.count_refused();
            let limit = self.budget.limit();
            return Err(PublishError::OutOfMemory { limit });
        }
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
                Err(NotTaken::Forgotten) => {
                    queue = self.same_queue(&queue).map_err(|_| self.no_more_names())?;
                }
                Err(NotTaken::Full) => return Err(NotNow::Full { queue, needs }),
                Err(NotTaken::Refused(error)) => {
                    queue.meter.add(|counters| &counters.refused, 1);
                    return Err(error.into());
                }
            }
        }
    }

    /// Publishes what was checked and has its room.
    fn publish_reserved(
        &self,
        publish: Publish,
        reservations: &mut Reservations,
        after: &mut Aftermath,
    ) -> usize {
        let destination = match &publish.target {
            Target::Destination(destination) => destination.clone(),
            Target::User { name, path } => {
                let (sessions, path) = (self.registry.sessions_of(name), path.clone());
                return self.publish_to_sessions(sessions, &path, publish);
            }
            Target::Session { id, path } => {
                let (session, path) = (self.registry.session(*id), path.clone());
                return self.publish_to_sessions(session, &path, publish);
            }
        };
        let Some(reservation) = reservations.get_mut(destination.as_str()) else {
            let separator = crate::Broker::separator(self, &destination);
            // It was made sure that the name is known; nobody hears what a forgotten one would have got.
            return self
                .publish_to_topic(&destination, separator, vec![publish])
                .unwrap_or_default();
        };
        let reserved = Load {
            messages: 1,
            bytes: publish.size_hint(),
        };
        reservation.left = reservation.left.without(reserved);
        let queue = &reservation.queue;
        let expires_at = self.expires_at(queue, &publish.headers).unwrap_or_default();
        let message = self.message(publish, None);
        queue
            .push_reserved(&message, expires_at, reserved, self.now(), after)
            .into()
    }
}

/// The deliveries of `session`, by their subscriptions.
fn settling<'a>(
    session: Option<&Session<Place>>,
    settles: &'a [Settle],
) -> Result<Vec<Settling<'a>>, SettleError> {
    let by_any = settles.iter().any(|settle| settle.slot.is_none());
    let all_held = session.filter(|_| by_any);
    let all_held = all_held.map_or_else(Vec::new, Session::all_held);
    let mut settling: Vec<(u32, Settling<'a>)> = Vec::new();
    for settle in settles {
        let unknown = || SettleError::UnknownDelivery {
            delivery: settle.delivery.clone(),
        };
        let session = session.ok_or_else(unknown)?;
        let slot = settle.slot.or_else(|| {
            let mut held = all_held.iter();
            let (slot, _) = held.find(|(_, held)| has(held, &settle.delivery))?;
            Some(*slot)
        });
        let slot = slot.ok_or_else(unknown)?;
        let at = match settling.iter().position(|(known, _)| *known == slot) {
            Some(at) => at,
            None => {
                let held = session.held(slot).ok_or_else(unknown)?;
                let new = Settling {
                    held,
                    deliveries: Vec::new(),
                    outcomes: Vec::new(),
                };
                settling.push((slot, new));
                settling.len() - 1
            }
        };
        settling[at].1.deliveries.push(&settle.delivery);
        settling[at].1.outcomes.push(settle.outcome);
    }
    Ok(settling.into_iter().map(|(_, settling)| settling).collect())
}

fn has(held: &Held<Place>, delivery: &DeliveryRef) -> bool {
    match held {
        Held::Broker(Place::Queue(queue, key)) => queue.would_free(*key, &[delivery]).is_ok(),
        Held::User(_, window) | Held::Broker(Place::Topic(_, window)) => window
            .as_ref()
            .is_some_and(|window| window.check(&[delivery]).is_ok()),
    }
}

/// What settling frees in queues; an error where the deliveries cannot be settled one after the other.
fn freed(settling: &[Settling<'_>]) -> Result<Vec<(Arc<Queue>, Load)>, SettleError> {
    let mut frees = Vec::new();
    for Settling {
        held,
        deliveries,
        outcomes,
    } in settling
    {
        let unknown = |delivery: &DeliveryRef| SettleError::UnknownDelivery {
            delivery: delivery.clone(),
        };
        match held {
            Held::Broker(Place::Queue(queue, key)) => {
                let load = queue.would_free(*key, deliveries).map_err(unknown)?;
                // What is released stays in the queue.
                if !outcomes.contains(&Outcome::Released) {
                    frees.push((Arc::clone(queue), load));
                }
            }
            Held::User(_, window) | Held::Broker(Place::Topic(_, window)) => {
                let checked = match window {
                    Some(window) => window.check(deliveries),
                    None => deliveries.first().map_or(Ok(()), |first| Err(*first)),
                };
                checked.map_err(unknown)?;
            }
        }
    }
    Ok(frees)
}
