//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use tramline_stomp::{AckMode, Subscribe, Unsubscribe};

use super::StompSession;
use super::pending::{About, Call, Subscribing, Waiting, Work};
use super::turn;
use crate::model::events::Event;
use crate::model::inbound::{Cause, Inbound};
use crate::stack::intents::SubscribeIntent;
use crate::stack::policy::Authorized;

impl StompSession {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) -> Option<Work> {
        turn::subscription();
        if let Some(path) = self.stack.application_path(&subscribe.destination) {
            let path_from = subscribe.destination.len() - path.len();
            return self.ask(subscribe, path_from);
        }
        let answer = match SubscribeIntent::new(&self.stack, &self.record, &subscribe) {
            Ok(intent) => self.stack.policy.authorize(intent),
            Err(detail) => {
                self.refuse("subscription refused", detail, subscribe.receipt);
                return None;
            }
        };
        let subscribing = Subscribing {
            slot: subscribe.slot,
            id: subscribe.id,
            destination: subscribe.destination,
            receipt: subscribe.receipt,
        };
        self.answered(answer, move |session, answer| {
            let receipt = subscribing.receipt.clone();
            match answer.map(Authorized::transpose) {
                // A client that left while a check ran receives nothing any more.
                Ok(_) if session.state.is_gone() => {}
                Ok(Ok(request)) => {
                    let confirm = session.stack.hub.subscribe(request);
                    return Some(Work::Subscribe(Waiting::new(confirm, subscribing)));
                }
                Ok(Err(detail)) => session.refuse("subscription refused", detail, receipt),
                Err(decision) => {
                    let destination = &subscribing.destination;
                    session.denied("SUBSCRIBE to", Some(destination), &decision, receipt);
                }
            }
            None
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
        let session = Arc::clone(&self.record);
        let mut inbound = Inbound::new(session, Cause::Subscribe, destination.clone());
        inbound.headers = headers;
        let answer = self.stack.policy.authorize(inbound);
        let subscribing = Subscribing {
            slot,
            id,
            destination,
            receipt,
        };
        self.answered(answer, move |session, answer| match answer {
            Ok(_) if session.state.is_gone() => None,
            Ok(inbound) => session.may_ask(Call { inbound, path_from }, ack, subscribing),
            Err(decision) => {
                let Subscribing {
                    destination,
                    receipt,
                    ..
                } = subscribing;
                session.denied("SUBSCRIBE to", Some(&destination), &decision, receipt);
                None
            }
        })
    }

    /// Asks the handler, as the policy permits.
    fn may_ask(&mut self, call: Call, ack: AckMode, subscribing: Subscribing) -> Option<Work> {
        let Subscribing {
            slot,
            id,
            destination,
            receipt,
        } = &subscribing;
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
            self.refuse("subscription refused", detail, receipt.clone());
            return None;
        }
        let hub = &self.stack.hub;
        if hub.record(self.record.id(), *slot, id, destination) {
            self.subscribed(&subscribing);
        }
        let mut about = About::of(subscribing.destination, &call.inbound.get().headers);
        about.slot = Some(subscribing.slot);
        about.receipt = subscribing.receipt;
        Some(Work::Call(Some((call, about))))
    }

    /// Tells listeners of a subscription that is active.
    pub(super) fn subscribed(&mut self, subscribing: &Subscribing) {
        let Subscribing {
            id, destination, ..
        } = subscribing;
        self.tell(|session| Event::Subscribed {
            session,
            id: id.clone(),
            destination: destination.clone(),
        });
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Work {
        turn::subscription();
        let Unsubscribe { slot, receipt, .. } = unsubscribe;
        let ended = self.member.subscription(slot);
        let confirm = self.stack.hub.unsubscribe(self.record.id(), slot);
        if let Some(ended) = ended {
            self.tell(|session| Event::Unsubscribed {
                session,
                id: ended.id,
                destination: ended.destination,
            });
        }
        Work::Unsubscribe(Waiting::new(confirm, receipt))
    }
}
