//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{Gap, Headers, Subscribed, SubscriptionDescription};
use tramline_stomp::{AckMode, Subscribe, Unsubscribe};

use super::StompSession;
use super::pending::{About, Call, Subscribing, Waiting, Work};
use super::refusals::Refusal;
use super::turn;
use crate::model::events::Event;
use crate::model::inbound::{Cause, Inbound};
use crate::model::log::log_client;
use crate::model::rejection::{Rejection, RejectionKind};
use crate::model::values;
use crate::stack::intents::SubscribeIntent;
use crate::stack::policy::{Authorized, Decision};

impl StompSession {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) -> Option<Work> {
        turn::subscription();
        if let Some(path) = self.stack.application_path(&subscribe.destination) {
            let path_from = subscribe.destination.len() - path.len();
            return self.ask(subscribe, path_from);
        }
        let about = About::of(subscribe.destination.clone(), &subscribe.headers);
        let subscribing = Subscribing {
            slot: subscribe.slot,
            id: subscribe.id.clone(),
            about: about.with_receipt(subscribe.receipt.clone()),
        };
        let answer = match SubscribeIntent::new(&self.stack, &self.record, &subscribe) {
            Ok(intent) => self.stack.policy.authorize(intent),
            Err(detail) => {
                return self.not_subscribed(Refusal::of_subscribe(detail), subscribing);
            }
        };
        self.answered(answer, move |session, answer| {
            match answer.map(Authorized::transpose) {
                // A client that left while a check ran receives nothing any more.
                Ok(_) if session.state.is_gone() => None,
                Ok(Ok(request)) => {
                    session.replace_replies(&subscribing.about.destination);
                    let confirm = session.stack.hub.subscribe(request);
                    Some(Work::Subscribe(Waiting::new(confirm, subscribing)))
                }
                Ok(Err(detail)) => session.not_subscribed(Refusal::of_nowhere(detail), subscribing),
                Err(decision) => session.subscription_denied(&decision, subscribing),
            }
        })
    }

    /// Asks the handler for what follows the application prefix, at `path_from` of the destination.
    fn ask(&mut self, subscribe: Subscribe, path_from: usize) -> Option<Work> {
        let Subscribe {
            id,
            destination,
            slot,
            ack,
            headers,
            receipt,
            ..
        } = subscribe;
        let about = About::of(destination.clone(), &headers).with_receipt(receipt);
        let subscribing = Subscribing { slot, id, about };
        let session = Arc::clone(&self.record);
        let mut inbound = Inbound::new(session, Cause::Subscribe, destination);
        inbound.headers = headers;
        let answer = self.stack.policy.authorize(inbound);
        self.answered(answer, move |session, answer| match answer {
            Ok(_) if session.state.is_gone() => None,
            Ok(inbound) => session.may_ask(Call { inbound, path_from }, ack, subscribing),
            Err(decision) => session.subscription_denied(&decision, subscribing),
        })
    }

    /// Asks the handler, as the policy permits.
    fn may_ask(&mut self, call: Call, ack: AckMode, subscribing: Subscribing) -> Option<Work> {
        let destination = &subscribing.about.destination;
        let path = &destination[call.path_from..];
        let wrong = if self.stack.routes.subscribe(path).is_none() {
            Some("no handler answers subscriptions there")
        } else if destination.contains(['*', '?']) {
            Some("a handler answers for one destination, and this is a pattern")
        } else if ack != AckMode::Auto {
            Some("a handler's answer needs no acknowledgement; subscribe with `ack:auto`")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let detail = format!("nothing can be subscribed to at {destination:?}: {wrong}");
            return self.not_subscribed(Refusal::of_subscribe(detail), subscribing);
        }
        let Subscribing { slot, id, .. } = &subscribing;
        if self
            .stack
            .hub
            .record(self.record.id(), *slot, id, destination)
        {
            self.subscribed(&subscribing);
        }
        let mut about = subscribing.about;
        about.slot = Some(subscribing.slot);
        Some(Work::Call(Some((call, about))))
    }

    /// Answers a SUBSCRIBE that is refused.
    pub(super) fn not_subscribed(
        &mut self,
        refusal: Refusal,
        subscribing: Subscribing,
    ) -> Option<Work> {
        self.stomp.drop_subscription(subscribing.slot);
        self.refuse_frame(refusal, subscribing.about)
    }

    fn subscription_denied(
        &mut self,
        decision: &Decision,
        subscribing: Subscribing,
    ) -> Option<Work> {
        self.stomp.drop_subscription(subscribing.slot);
        self.denied("SUBSCRIBE to", decision, Some(subscribing.about))
    }

    /// Tells listeners of a subscription that is active.
    pub(super) fn subscribed(&mut self, subscribing: &Subscribing) {
        self.recheck_later(&subscribing.about.destination);
        self.tell(|session| Event::Subscribed {
            session,
            id: subscribing.id.clone(),
            destination: subscribing.about.destination.clone(),
        });
    }

    /// Tells the client where its subscription starts, and what is missing: in the RECEIPT, or in a notice if it asked for
    /// none.
    pub(super) fn tell_start(&mut self, subscribed: &Subscribed, subscribing: Subscribing) {
        let About {
            destination,
            receipt,
            ..
        } = subscribing.about;
        let Subscribed {
            start,
            gap,
            gaps,
            recovered,
            ..
        } = subscribed;
        let Some(receipt) = receipt else {
            if subscribed.missed {
                self.messages_missed(subscribing.slot, None, None);
            }
            if let Some(gap) = gap {
                self.messages_missed(subscribing.slot, None, Some(*gap));
            }
            for (name, gap) in gaps {
                self.messages_missed(subscribing.slot, Some(name), Some(*gap));
            }
            return;
        };
        let is_pattern = destination.contains(['*', '?']);
        let start = start.map(|start| match is_pattern {
            true => values::start_of_all(start),
            false => start.to_string(),
        });
        let all_gaps = (!gaps.is_empty()).then(|| values::gaps(gaps, subscribed.start));
        let headers = [
            ("position", start),
            ("recovered", recovered.map(|count| count.to_string())),
            ("gap", gap.map(values::gap).or(all_gaps)),
            ("missed", subscribed.missed.then(|| "true".to_owned())),
        ];
        let headers = headers.into_iter();
        let headers = headers.filter_map(|(name, value)| Some((name, value?)));
        self.stomp.receipt_with(&receipt, headers);
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Option<Work> {
        turn::subscription();
        let Unsubscribe {
            slot,
            receipt,
            headers,
            ..
        } = unsubscribe;
        let for_good = match values::durable_id(&headers) {
            Ok(durable) => durable.is_some(),
            Err(detail) => {
                self.refuse("invalid UNSUBSCRIBE", detail, receipt);
                return None;
            }
        };
        let ended = self.member.subscription(slot);
        let (hub, session) = (&self.stack.hub, self.record.id());
        let confirm = match for_good {
            true => hub.unsubscribe_durable(session, slot),
            false => hub.unsubscribe(session, slot),
        };
        if let Some(ended) = ended {
            self.tell(|session| Event::Unsubscribed {
                session,
                id: ended.id,
                destination: ended.destination,
            });
        }
        Some(Work::Unsubscribe(Waiting::new(confirm, receipt)))
    }

    /// The broker has ended a subscription. Only an ERROR can say so to the client, and it ends the session.
    pub(super) fn subscription_ended(
        &mut self,
        subscription: SubscriptionDescription,
        reason: &ByteString,
    ) {
        let SubscriptionDescription {
            slot,
            id,
            destination,
            ..
        } = subscription;
        self.stomp.drop_subscription(slot);
        let detail =
            format!("the broker ended the subscription {id:?} to {destination:?}: {reason}");
        self.tell(|session| Event::Unsubscribed {
            session,
            id,
            destination,
        });
        self.refuse("subscription ended", detail, None);
    }

    /// A subscription goes on, and the broker has lost messages to it, of a destination that it covers.
    pub(super) fn messages_missed(&self, slot: u32, of: Option<&ByteString>, gap: Option<Gap>) {
        let Some(SubscriptionDescription {
            id, destination, ..
        }) = self.member.subscription(slot)
        else {
            return;
        };
        self.stack.counters.messages_missed.increment();
        log_client!(
            DEBUG,
            { stack = %self.stack.name, session = %self.record.id(), %destination },
            "messages missed",
            format_args!("{gap:?}")
        );
        let mut details = serde_json::json!({ "id": &*id });
        if let Some(Gap { after, up_to }) = gap {
            details["after"] = after.to_string().into();
            details["up-to"] = up_to.to_string().into();
        }
        if let Some(of) = of {
            details["destination"] = (**of).into();
        }
        let error = "the broker lost messages to this subscription, which goes on";
        let rejection = Rejection::new(RejectionKind::MessagesMissed, error).with_details(details);
        let about = About::of(destination, &Headers::new());
        let notice = self.default_notice(&rejection, &about);
        // Ready, since it is delivered on this node.
        drop(self.stack.publisher.notify(self.record.id(), notice));
    }
}
