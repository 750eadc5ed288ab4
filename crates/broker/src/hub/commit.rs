//! Transactions: the hub checks its windows, the engine commits, the hub settles.

use std::sync::Arc;

use super::Hub;
use super::accounts::Charge;
use super::members::{Member, SubscriptionPlace};
use crate::broker::{Commit, Settlement};
use crate::confirm::Confirm;
use crate::errors::{CommitError, PublishError, SettleError};
use crate::feed::Token;
use crate::message::Message;
use crate::request::{DeliveryRef, Outcome, Published, Settle, Transaction};
use crate::session_id::SessionId;
use crate::statistics::DestinationKind;
use crate::timestamp::Timestamp;

/// A transaction's deliveries at one subscription, in order.
struct Settling {
    slot: u32,
    place: SubscriptionPlace,
    deliveries: Vec<DeliveryRef>,
    outcomes: Vec<Outcome>,
}

/// The memory of an open transaction, counted against its client's shares until this is dropped: see [`Hub::hold`].
#[derive(Debug, Default)]
pub struct Hold(Option<Charge>);

impl Hub {
    /// Counts a frame of `bytes` that a session keeps for a transaction, as part of `hold`.
    ///
    /// # Errors
    ///
    /// [`PublishError::ShareUsedUp`] or [`PublishError::OutOfMemory`], as for a message that is published; nothing is
    /// counted.
    pub fn hold(
        &self,
        session: &Member,
        bytes: usize,
        hold: &mut Hold,
    ) -> Result<(), PublishError> {
        let (local, bytes) = (self.local(), bytes + Message::OVERHEAD);
        let account = session.account(&local.accounts);
        local.check_memory_for(Some(&account), bytes, DestinationKind::Topic)?;
        match &mut hold.0 {
            Some(charge) => charge.grow(bytes),
            none => *none = Some(account.charge(bytes, false)),
        }
        Ok(())
    }

    /// Carries out a session's transaction completely or not at all: settles first, then publishes in order. It settles
    /// the deliveries that exist when it is called. If one of a queue's is gone while it waits for room, because it was
    /// settled separately or its session closed, it is not carried out.
    ///
    /// The windows of topics are settled after the engine has committed, if their subscriptions still exist.
    pub fn commit(
        &self,
        session: SessionId,
        transaction: Transaction,
        now: Timestamp,
    ) -> Confirm<Result<Published, CommitError>> {
        self.local().clock.set(now);
        if !self.ensure_started() {
            return Confirm::ready(Err(PublishError::BrokerUnavailable.into()));
        }
        let Transaction {
            settles,
            mut publishes,
        } = transaction;
        let member = self.local().members.get(session);
        if let Some(member) = &member {
            self.charge(member, &mut publishes);
        }
        let checked = settling(member.as_deref(), settles).and_then(|settling| {
            let settlements = check(&settling)?;
            Ok((settling, settlements))
        });
        let (settling, settlements) = match checked {
            Ok(checked) => checked,
            Err(error) => return Confirm::ready(Err(error.into())),
        };
        let first = settling
            .first()
            .and_then(|settling| settling.deliveries.first())
            .cloned();
        for settlement in &settlements {
            settlement.consumer.commit_begins(&settlement.tokens);
        }
        let commit = Commit::new(session, settlements.clone(), publishes);
        let committed = self.in_time(self.broker().commit(commit));
        let hub = self.clone();
        committed.then(move |answer| {
            hub.commit_ended(&settling, &settlements, &answer);
            match (answer, first) {
                (Err(CommitError::Settle(SettleError::Gone)), Some(delivery)) => {
                    Err(SettleError::UnknownDelivery { delivery }.into())
                }
                (answer, _) => answer,
            }
        })
    }

    /// Settles what the engine has committed: in the hub's windows, and in the records of the engine's consumers. Those
    /// use the engine's tokens: the client's references may be stale by now.
    fn commit_ended(
        &self,
        settling: &[Settling],
        settlements: &[Settlement],
        answer: &Result<Published, CommitError>,
    ) {
        for settlement in settlements {
            let Settlement {
                consumer, tokens, ..
            } = settlement;
            match answer {
                Ok(_) => consumer.committed(tokens),
                // The engine may have committed, and delivered others in their place.
                Err(
                    CommitError::Publish(PublishError::OutcomeUnknown)
                    | CommitError::Settle(SettleError::OutcomeUnknown),
                ) => {}
                Err(_) => consumer.commit_failed(tokens),
            }
        }
        if answer.is_err() {
            return;
        }
        for settling in settling {
            for (delivery, outcome) in settling.deliveries.iter().zip(&settling.outcomes) {
                if settling.place.window().is_some() {
                    drop(self.settle_at(&settling.place, delivery, *outcome));
                }
            }
        }
    }
}

/// Resolves the deliveries that `settles` name, by their subscriptions.
fn settling(member: Option<&Member>, settles: Vec<Settle>) -> Result<Vec<Settling>, SettleError> {
    let by_any = settles.iter().any(|settle| settle.slot.is_none());
    let places = member.filter(|_| by_any);
    let places = places.map_or_else(Vec::new, Member::places);
    let mut all: Vec<Settling> = Vec::new();
    // Usually all are of the first one's subscription.
    let mut expected = settles.len();
    for settle in settles {
        let Settle {
            slot,
            delivery,
            outcome,
        } = settle;
        let slot = slot.or_else(|| {
            let mut places = places.iter();
            let (slot, _) = places.find(|(_, place)| has(place, &delivery))?;
            Some(*slot)
        });
        let known = |slot: u32| all.iter().position(|settling| settling.slot == slot);
        let at = match slot.map(|slot| (slot, known(slot))) {
            Some((_, Some(at))) => at,
            Some((slot, None)) => {
                let place = member.and_then(|member| member.place(slot));
                let Some(place) = place else {
                    return Err(SettleError::UnknownDelivery { delivery });
                };
                let expected = std::mem::take(&mut expected);
                all.push(Settling {
                    slot,
                    place,
                    deliveries: Vec::with_capacity(expected),
                    outcomes: Vec::with_capacity(expected),
                });
                all.len() - 1
            }
            None => return Err(SettleError::UnknownDelivery { delivery }),
        };
        all[at].deliveries.push(delivery);
        all[at].outcomes.push(outcome);
    }
    Ok(all)
}

fn has(place: &SubscriptionPlace, delivery: &DeliveryRef) -> bool {
    let one = std::slice::from_ref(delivery);
    match place {
        SubscriptionPlace::Consumer(consumer) => consumer.would_settle(one).is_ok(),
        place => place
            .window()
            .is_some_and(|window| window.check(one).is_ok()),
    }
}

/// Checks that the deliveries can be settled one after the other; returns the engine's part.
fn check(all: &[Settling]) -> Result<Vec<Settlement>, SettleError> {
    let mut settlements = Vec::new();
    for settling in all {
        let deliveries = &settling.deliveries;
        let unknown = |delivery: &DeliveryRef| SettleError::UnknownDelivery {
            delivery: delivery.clone(),
        };
        match &settling.place {
            SubscriptionPlace::Consumer(consumer) => {
                let tokens = consumer.would_settle(deliveries).map_err(unknown)?;
                let outcome = |(at, _): &(usize, Token)| settling.outcomes[*at];
                // Messages that are released one after the other return to the queue one after the other.
                let together = tokens.chunk_by(|a, b| {
                    a.0 == b.0 || (outcome(a) == outcome(b) && outcome(a) == Outcome::Accepted)
                });
                settlements.extend(together.map(|tokens| {
                    let outcome = outcome(&tokens[0]);
                    let tokens = tokens.iter().map(|(_, token)| *token).collect();
                    Settlement::new(Arc::clone(consumer), tokens, outcome)
                }));
            }
            place => match place.window() {
                Some(window) => window.check(deliveries).map_err(unknown)?,
                None => return Err(unknown(&deliveries[0])),
            },
        }
    }
    Ok(settlements)
}
