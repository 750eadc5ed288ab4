//! Acknowledgements: in the hub's own windows, and on their way to the engine.

use std::sync::Arc;
use std::task::Poll;

use super::members::SubscriptionPlace;
use super::window::{Origin, WindowMessage};
use super::{Hub, poll_once};
use crate::confirm::Confirm;
use crate::destination::Destination;
use crate::errors::{Refused, SettleError};
use crate::message::DeadLetterReason;
use crate::request::{DeliveryRef, Outcome, Published, Settle};
use crate::session_id::SessionId;
use crate::statistics::Count;

/// A dead letter of a topic that the engine has not confirmed.
pub(super) struct DeadLetter {
    origin: Arc<Origin>,
    confirm: Confirm<Result<Published, Refused>>,
}

/// An answer of the engine that no caller waits for. Sweeps ask for it.
pub(super) enum Unawaited {
    DeadLetter(DeadLetter),
    Settlement(SessionId, Confirm<Result<(), SettleError>>),
}

/// The answer to a settlement, if the delivery exists.
pub(super) type SettleAnswer = Option<Confirm<Result<(), SettleError>>>;

impl Hub {
    /// Settles a delivery that has a tag, and all before it of the same subscription, unless that acknowledges
    /// [individually](crate::AckMode::ClientIndividual).
    pub fn settle(&self, session: SessionId, settle: Settle) -> Confirm<Result<(), SettleError>> {
        let Settle {
            slot,
            delivery,
            outcome,
        } = settle;
        let settle = |place: SubscriptionPlace| self.settle_at(&place, &delivery, outcome);
        let member = self.local().members.get(session);
        let settled = member.and_then(|member| match slot {
            Some(slot) => member.place(slot).and_then(settle),
            None => {
                let mut places = member.places().into_iter();
                places.find_map(|(_, place)| settle(place))
            }
        });
        let Some(settled) = settled else {
            return Confirm::ready(Err(SettleError::UnknownDelivery { delivery }));
        };
        settled.then(move |answer| match answer {
            Err(SettleError::Gone) => Err(SettleError::UnknownDelivery { delivery }),
            answer => answer,
        })
    }

    /// Like [`settle`](Self::settle), for a caller that does not wait for the answer. A failure is
    /// [counted](crate::Counts::settlements_failed) and [observed](crate::Observer::settlement_failed), by the next
    /// [sweep](Self::sweep) if the engine answers late. A delivery that does not exist is no failure: it left with its
    /// subscription.
    pub fn settle_unawaited(&self, session: SessionId, settle: Settle) {
        match self.settle(session, settle).into_ready() {
            Ok(answer) => self.settled_unawaited(session, answer),
            Err(confirm) => {
                let settlement = Unawaited::Settlement(session, confirm);
                self.0.unawaited.lock().push(settlement);
            }
        }
    }

    fn settled_unawaited(&self, session: SessionId, answer: Result<(), SettleError>) {
        match answer {
            Ok(()) | Err(SettleError::UnknownDelivery { .. }) => {}
            Err(error) => self.local().settlement_failed(session, &error),
        }
    }

    /// Settles a delivery at one subscription.
    pub(super) fn settle_at(
        &self,
        place: &SubscriptionPlace,
        delivery: &DeliveryRef,
        outcome: Outcome,
    ) -> SettleAnswer {
        if let SubscriptionPlace::Consumer(consumer) = place {
            return consumer.settle(delivery, |tokens| {
                self.in_time(self.broker().settle(consumer, tokens, outcome))
            });
        }
        for entry in place.window()?.settle(delivery)? {
            self.settled_on_topic(entry, outcome);
        }
        if let SubscriptionPlace::Topic(place, _) = place {
            place.go_on();
        }
        Some(Confirm::ready(Ok(())))
    }

    fn settled_on_topic(&self, entry: WindowMessage, outcome: Outcome) {
        let Some(origin) = entry.origin else {
            return;
        };
        // How it ended, and how often it was delivered.
        let (reason, deliveries) = match outcome {
            Outcome::Accepted => return origin.meter.count(Count::Acked, 1),
            Outcome::Released | Outcome::Rejected => (DeadLetterReason::Rejected, 1),
            Outcome::Expired => {
                origin.meter.count(Count::Expired, 1);
                (DeadLetterReason::Expired, 0)
            }
        };
        let destination = origin.dead_letters.as_ref();
        let destination = destination.filter(|to| **to != entry.message.destination());
        let Some(destination) = destination.and_then(|to| Destination::parse(to.clone()).ok())
        else {
            if reason != DeadLetterReason::Expired {
                origin.meter.count(Count::Discarded, 1);
            }
            return;
        };
        let letter = entry.message.dead_letter(destination, reason, deliveries);
        let confirm = self.pass_on(None, vec![letter]);
        match confirm.into_ready() {
            Ok(answer) => origin.buried(&answer),
            Err(confirm) => {
                let letter = Unawaited::DeadLetter(DeadLetter { origin, confirm });
                self.0.unawaited.lock().push(letter);
            }
        }
    }

    /// Takes the answers that have come since.
    pub(super) fn poll_unawaited(&self) {
        let mut answered = Vec::new();
        self.0
            .unawaited
            .lock()
            .retain_mut(|unawaited| match unawaited {
                Unawaited::DeadLetter(letter) => {
                    let answer = poll_once(&mut letter.confirm);
                    if let Poll::Ready(answer) = &answer {
                        letter.origin.buried(answer);
                    }
                    answer.is_pending()
                }
                Unawaited::Settlement(session, confirm) => match poll_once(confirm) {
                    Poll::Ready(answer) => {
                        answered.push((*session, answer));
                        false
                    }
                    Poll::Pending => true,
                },
            });
        for (session, answer) in answered {
            self.settled_unawaited(session, answer);
        }
    }
}

impl Origin {
    fn buried(&self, answer: &Result<Published, Refused>) {
        self.meter.count(
            match answer {
                Ok(_) => Count::DeadLettered,
                Err(_) => Count::Discarded,
            },
            1,
        );
    }
}
