//! SUBSCRIBE and UNSUBSCRIBE.

use std::num::NonZeroU32;
use std::sync::Arc;

use tramline_broker::{Destination, Headers, Pattern, Source, SubscribeRequest};
use tramline_stomp::{AckMode, Subscribe, Unsubscribe};

use super::Session;
use super::handlers::{About, Call};
use super::work::{Subscribing, Waiting, Work};
use crate::dispatch;
use crate::events::Event;
use crate::inbound::{Cause, Inbound};
use crate::messaging::below;
use crate::policy::Action;

impl Session {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) -> Option<Work> {
        if let Some(path) = self.shared.application_path(&subscribe.destination) {
            let path_from = subscribe.destination.len() - path.len();
            return self.ask(subscribe, path_from);
        }
        let Subscribe {
            id,
            destination,
            slot,
            ack,
            headers,
            receipt,
            ..
        } = subscribe;
        // An invalid pattern is reported as invalid, not as denied.
        let separator = self.shared.broker.separator(&destination);
        let pattern = match Pattern::parse_separated(destination.clone(), separator) {
            Ok(pattern) => pattern,
            Err(error) => {
                self.refuse("subscription refused", error.to_string(), receipt);
                return None;
            }
        };
        let prefetch = match prefetch_count(&headers) {
            Ok(prefetch) => prefetch,
            Err(detail) => {
                self.refuse("subscription refused", detail, receipt);
                return None;
            }
        };
        let source = self.source(pattern);
        let request = source.map(|source| {
            let mut request =
                SubscribeRequest::new(self.record.id(), slot, source).acknowledged(ack);
            request.prefetch = prefetch;
            request
        });
        // The policy is asked first, so that a client that may not subscribe there does not learn what exists there.
        let action = Action::Subscribe(&destination);
        match self
            .shared
            .policy
            .authorize(action, self.record.user(), request)
        {
            Ok(request) => match request.transpose() {
                Ok(request) => {
                    let confirm = dispatch::subscribe(&*self.shared.broker, request);
                    let subscribing = Subscribing {
                        slot,
                        id,
                        destination,
                        receipt,
                    };
                    return Some(Work::Subscribe(Waiting::new(confirm, subscribing)));
                }
                Err(detail) => self.refuse("subscription refused", detail, receipt),
            },
            Err(decision) => self.denied("SUBSCRIBE to", Some(&destination), &decision, receipt),
        }
        None
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
        let action = Action::Subscribe(&destination);
        let user = self.record.user();
        let inbound = match self.shared.policy.authorize(action, user, inbound) {
            Ok(inbound) => inbound,
            Err(decision) => {
                self.denied("SUBSCRIBE to", Some(&destination), &decision, receipt);
                return None;
            }
        };
        let path = &destination[path_from..];
        let wrong = if self.shared.routes.subscribe(path).is_none() {
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
            self.refuse("subscription refused", detail, receipt);
            return None;
        }
        let subscribing = Subscribing {
            slot,
            id,
            destination,
            receipt,
        };
        self.subscribed(&subscribing);
        let call = Call { inbound, path_from };
        let mut about = About::of(subscribing.destination, &call.inbound.get().headers);
        about.slot = Some(slot);
        about.receipt = subscribing.receipt;
        Some(Work::Call(Some((call, about))))
    }

    /// Tells registry, presence and listeners of a subscription that is active.
    pub(super) fn subscribed(&mut self, subscribing: &Subscribing) {
        let Subscribing {
            slot,
            id,
            destination,
            ..
        } = subscribing;
        if !self.record.is_connected() {
            return;
        }
        // In this order: if the session is ended meanwhile, what is noted is removed, and presence has seen it come.
        self.shared.came(&self.record, destination);
        if !self.record.subscriptions.add(*slot, id, destination) {
            self.shared.went(&self.record, destination);
            return;
        }
        self.tell(|session| Event::Subscribed {
            session,
            id: id.clone(),
            destination: destination.clone(),
        });
    }

    /// The source that a subscription's destination names.
    fn source(&self, pattern: Pattern) -> Result<Source, String> {
        let destination = pattern.as_str();
        if let Some(path) = below(destination, &self.shared.user_prefix) {
            if path.contains(['*', '?']) {
                return Err(format!(
                    "{destination:?}: what is for users has one destination, and this is a pattern"
                ));
            }
            let path = Destination::parse(path).map_err(|error| error.to_string())?;
            return Ok(Source::User { path });
        }
        if !self.shared.broker.serves(destination) {
            return Err(self.shared.nowhere(destination));
        }
        Ok(pattern.into())
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Work {
        let Unsubscribe { slot, receipt, .. } = unsubscribe;
        let confirm = dispatch::unsubscribe(&*self.shared.broker, self.record.id(), slot);
        if let Some((id, destination)) = self.record.subscriptions.remove(slot) {
            self.shared.went(&self.record, &destination);
            self.tell(|session| Event::Unsubscribed {
                session,
                id: id.into(),
                destination: destination.into(),
            });
        }
        Work::Unsubscribe(Waiting::new(confirm, receipt))
    }
}

/// The header `prefetch-count`, as RabbitMQ has it.
fn prefetch_count(headers: &Headers) -> Result<Option<NonZeroU32>, String> {
    let Some(value) = headers.get("prefetch-count") else {
        return Ok(None);
    };
    let count = value.parse().map(Some);
    count.map_err(|_| {
        let value: String = value.chars().take(32).collect();
        let most = u32::MAX;
        format!("the header `prefetch-count` is {value:?}; it must be a number from 1 to {most}")
    })
}
