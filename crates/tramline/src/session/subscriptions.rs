//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use tramline_broker::{Address, Destination, Headers, Pattern, SubscribeOptions, SubscribeRequest};
use tramline_stomp::{AckMode, Subscribe, Unsubscribe};

use super::Session;
use super::pending::{About, Call, Subscribing, Waiting, Work};
use super::values::{flag, prefetch_count};
use crate::model::events::Event;
use crate::model::inbound::{Cause, Inbound};
use crate::stack::policy::Action;
use crate::stack::prefix::below;

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
        let separator = self.shared.hub.separator(&destination);
        let pattern = match Pattern::parse_separated(destination.clone(), separator) {
            Ok(pattern) => pattern,
            Err(error) => {
                self.refuse("subscription refused", error.to_string(), receipt);
                return None;
            }
        };
        let asked =
            prefetch_count(&headers).and_then(|prefetch| Ok((prefetch, options(&headers)?)));
        let (prefetch, options) = match asked {
            Ok(asked) => asked,
            Err(detail) => {
                self.refuse("subscription refused", detail, receipt);
                return None;
            }
        };
        let address = self.address(pattern);
        let request = address.map(|address| {
            let mut request = SubscribeRequest::new(self.record.id(), slot, address)
                .acknowledged(ack)
                .described(id.clone(), destination.clone())
                .options(options);
            request.prefetch = prefetch;
            request
        });
        // The policy is asked first, so that a client that may not subscribe there does not learn what exists there.
        let action = Action::Subscribe(&destination);
        match self
            .shared
            .policy
            .authorize(action, self.record.user().as_ref(), request)
        {
            Ok(request) => match request.transpose() {
                Ok(request) => {
                    let confirm = self.shared.hub.subscribe(request);
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
        let inbound = match self.shared.policy.authorize(action, user.as_ref(), inbound) {
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
        let Subscribing {
            id, destination, ..
        } = &subscribing;
        let hub = &self.shared.hub;
        if hub.record(self.record.id(), slot, id, destination) {
            self.subscribed(&subscribing);
        }
        let call = Call { inbound, path_from };
        let mut about = About::of(subscribing.destination, &call.inbound.get().headers);
        about.slot = Some(slot);
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

    /// What a subscription's destination names.
    fn address(&self, pattern: Pattern) -> Result<Address, String> {
        let destination = pattern.as_str();
        if let Some(path) = below(destination, &self.shared.user_prefix) {
            if path.contains(['*', '?']) {
                return Err(format!(
                    "{destination:?}: what is for users has one destination, and this is a pattern"
                ));
            }
            let path = Destination::parse(path).map_err(|error| error.to_string())?;
            return Ok(Address::User { path });
        }
        if !self.shared.hub.serves(destination) {
            return Err(self.shared.nowhere(destination));
        }
        Ok(pattern.into())
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Work {
        let Unsubscribe { slot, receipt, .. } = unsubscribe;
        let ended = self.member.subscription(slot);
        let confirm = self.shared.hub.unsubscribe(self.record.id(), slot);
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

/// The options that a SUBSCRIBE asks for. The hub refuses those that its broker does not support, by name.
fn options(headers: &Headers) -> Result<SubscribeOptions, String> {
    let is_true = |name| Ok::<_, String>(flag(headers, name)? == Some(true));
    let mut options = SubscribeOptions::default();
    options.selector = headers.get_bytestring("selector").cloned();
    let durable = is_true("durable")? | is_true("persistent")?;
    options.durable = durable.then(|| headers.get_bytestring("id").cloned().unwrap_or_default());
    options.browse = is_true("browser")?;
    options.retained = is_true("retained")?;
    Ok(options)
}
