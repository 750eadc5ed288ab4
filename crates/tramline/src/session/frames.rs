//! What each frame of a client sets going.

use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{
    Destination, DestinationError, Headers, OpenSession, Outcome, Pattern, Publish, Source,
    SubscribeRequest, Target,
};
use tramline_stomp::{AckMode, Send, ServerEvent, Subscribe, Unsubscribe};

use super::Session;
use super::end::End;
use super::transactions::Later;
use super::work::{About, Call, Subscribing, Work};
use crate::app::interceptor::{ClientFrame, Refusal, Refused};
use crate::model::events::Event;
use crate::model::inbound::{Cause, Inbound};
use crate::model::panics::panic_text;
use crate::model::reply::is_servers;
use crate::stack::dispatch;
use crate::stack::policy::{Action, Decision};
use crate::stack::prefix::below;

/// A frame that the interceptors have seen, and what they have against it.
pub(super) type Seen = (ServerEvent, Option<Box<Refusal>>);

impl Session {
    /// Looks at the frames that have arrived, until one has to be waited for.
    pub(super) fn process(&mut self, context: &mut Context<'_>) {
        while self.may_process() {
            let (event, refusal) = match self.held_back.take() {
                Some(seen) => *seen,
                None => match self.stomp.poll_event() {
                    Some(event) => self.intercept(event),
                    None => return,
                },
            };
            let settles = matches!(
                &event,
                ServerEvent::Ack(ack) | ServerEvent::Nack(ack) if ack.transaction.is_none()
            ) && refusal.is_none();
            // Only sends to the broker may wait for more of their kind; all else comes after what is corked.
            let corkable = refusal.is_none() && self.can_be_corked(&event);
            if !corkable && self.work.is_none() {
                self.uncork();
            }
            // What a full queue waits for may be just this session's ACKs, and they may stand behind more SENDs.
            let goes_on = settles || (corkable && self.corked_bytes() < CORKED_WHILE_WAITING);
            if self.work.is_some() && !goes_on {
                self.held_back = Some(Box::new((event, refusal)));
                return;
            }
            if let Some(refusal) = refusal {
                self.refused(event, *refusal, context);
                continue;
            }
            match event {
                ServerEvent::Connect(connect) => self.login(connect, context),
                ServerEvent::Send(send) => self.send(send, context),
                // Who is gone hears nothing, and the broker knows it no more.
                ServerEvent::Subscribe(_) | ServerEvent::Unsubscribe(_) if self.lost.is_some() => {}
                // What it had is with others already.
                ServerEvent::Ack(_) | ServerEvent::Nack(_) if settles && self.lost.is_some() => {}
                ServerEvent::Subscribe(subscribe) => self.subscribe(subscribe, context),
                ServerEvent::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, context),
                ServerEvent::Ack(ack) => self.acknowledge(ack, Outcome::Accepted),
                ServerEvent::Nack(nack) => self.nack(nack),
                ServerEvent::Begin(begin) => {
                    self.transactions.begin(&begin.id);
                    self.receipt(begin.receipt);
                }
                ServerEvent::Commit(commit) => self.commit(commit, context),
                ServerEvent::Abort(abort) => {
                    self.transactions.end(&abort.id);
                    self.receipt(abort.receipt);
                }
                ServerEvent::Disconnect(disconnect) => {
                    let receipt = disconnect.receipt;
                    self.step(Work::Disconnect { receipt }, context);
                }
                ServerEvent::Failed(error) => self.end_with(End::Stomp(error)),
                _ => {}
            }
        }
    }

    /// Shows a frame to the interceptors.
    fn intercept(&self, mut event: ServerEvent) -> Seen {
        let interceptors = &self.shared.interceptors;
        if interceptors.is_empty() || matches!(event, ServerEvent::Failed(_)) {
            return (event, None);
        }
        let mut frame = ClientFrame::new(&self.record, &mut event);
        let seen = std::panic::catch_unwind(AssertUnwindSafe(|| interceptors.inbound(&mut frame)));
        let seen = seen.unwrap_or_else(|panic| {
            self.interceptor_panicked(&*panic);
            Err(Refusal::close("the server failed to look at this frame"))
        });
        (event, seen.err().map(Box::new))
    }

    /// Says what becomes of a frame that an interceptor did not let pass.
    fn refused(&mut self, event: ServerEvent, refusal: Refusal, context: &mut Context<'_>) {
        self.shared.counters.refused.increment();
        match (event, refusal.0) {
            (ServerEvent::Send(send), Refused::Reject(rejection)) => {
                let mut about = About::of(send.destination, &send.headers);
                about.receipt = send.receipt;
                let news = self.news(&rejection, &about);
                let confirm = self.shared.publisher.publish_all(news);
                let rest = Vec::new();
                self.step(
                    Work::News {
                        confirm,
                        rest,
                        about,
                    },
                    context,
                );
            }
            (event, refused) => {
                let (reply, error) = Refusal(refused).error();
                self.connect_by = None;
                self.stomp.error(reply.receipt(receipt(event)));
                self.end_with(End::Refused { error });
            }
        }
    }

    pub(super) fn interceptor_panicked(&self, panic: &(dyn std::any::Any + std::marker::Send)) {
        self.shared.counters.handler_panics.increment();
        tracing::error!(
            stack = %self.shared.name,
            session = %self.record.id(),
            panic = panic_text(panic),
            "interceptor panicked"
        );
    }

    fn corked_bytes(&self) -> usize {
        let sizes = self.cork.iter().map(|publish| publish.get().size_hint());
        sizes.sum()
    }

    /// Whether the next frame may be looked at: when nothing is being worked on, or only a full queue is waited for.
    fn may_process(&self) -> bool {
        let waits_for_room = || matches!(self.work.as_deref(), Some(Work::Sends { .. }));
        // Who has to go sets nothing more going.
        self.end.is_none()
            && self.requested.is_none()
            && !self.record.is_expelled()
            && (self.work.is_none() || (waits_for_room() && self.held_back.is_none()))
    }

    /// Opens the session, if its user may have one.
    pub(super) fn connect(&mut self, context: &mut Context<'_>) {
        self.announced = true;
        self.tell(|session| Event::Connect { session });
        let user = self.record.user();
        let open = OpenSession::new(
            self.record.id(),
            user.map(|user| user.shared_name().clone()),
            Arc::clone(&self.outbox),
        );
        self.connect_by = None;
        match self.shared.policy.authorize(Action::Connect, user, open) {
            Ok(open) => {
                let confirm = dispatch::open(&*self.shared.broker, open);
                self.step(Work::Open { confirm }, context);
            }
            Err(decision) => self.denied("CONNECT", None, &decision, None),
        }
    }

    /// The broker knows the session: now its client may.
    pub(super) fn connected(&mut self) {
        let session = self.record.id().to_string();
        let now = self.shared.wheel.now();
        let user = self.record.user().map(crate::model::user::User::name);
        self.stomp.accept(user, Some(&session), now);
        self.just_connected = true;
        self.record.connected.store(true, Ordering::Release);
        self.shared.users.add(&self.record);
        self.tell(|session| Event::Connected { session });
    }

    fn can_be_corked(&self, event: &ServerEvent) -> bool {
        let ServerEvent::Send(send) = event else {
            return false;
        };
        send.transaction.is_none() && self.shared.application_path(&send.destination).is_none()
    }

    fn send(&mut self, send: Send, context: &mut Context<'_>) {
        self.shared.counters.messages_received.increment();
        if let Some(path) = self.shared.application_path(&send.destination) {
            let path_from = send.destination.len() - path.len();
            return self.handle(send, path_from, context);
        }
        let (destination, headers, body) = passed_on(send.destination, send.headers, send.body);
        let receipt = send.receipt;
        let target = if let Some(path) = below(&destination, &self.shared.user_prefix) {
            user_target(path).map_err(|error| error.to_string())
        } else if self.shared.broker.serves(&destination) {
            Destination::parse(destination.clone())
                .map(Target::from)
                .map_err(|error| error.to_string())
        } else {
            Err(self.shared.nowhere(&destination))
        };
        // Asked first, so that who may not send there does not learn what is there.
        let publish = target.map(|target| {
            self.shared
                .publisher
                .shown(Publish::new(target, headers, body))
        });
        match self.shared.policy.authorize(
            Action::Message(&destination),
            self.record.user(),
            publish,
        ) {
            Ok(publish) => match publish.transpose() {
                Ok(publish) => match send.transaction {
                    Some(id) => self.send_later(&id, Later::Publish(publish), receipt),
                    None => {
                        let at = self.cork.len();
                        self.corked_receipts
                            .extend(receipt.map(|receipt| (at, receipt)));
                        self.cork.push(publish);
                    }
                },
                Err(detail) => self.refuse("bad destination", detail, receipt),
            },
            Err(decision) => self.denied("SEND to", Some(&destination), &decision, receipt),
        }
    }

    /// Starts the handler for what follows the application prefix, at `path_from` of the destination.
    fn handle(&mut self, send: Send, path_from: usize, context: &mut Context<'_>) {
        let Send {
            destination,
            headers,
            body,
            receipt,
            transaction,
            ..
        } = send;
        let session = Arc::clone(&self.record);
        let mut inbound = Inbound::new(session, Cause::Message, destination.clone());
        inbound.headers = headers;
        inbound.body = body;
        let action = Action::Message(&destination);
        let user = self.record.user();
        let inbound = match self.shared.policy.authorize(action, user, inbound) {
            Ok(inbound) => inbound,
            Err(decision) => return self.denied("SEND to", Some(&destination), &decision, receipt),
        };
        let call = Call { inbound, path_from };
        if let Some(id) = transaction {
            return self.send_later(&id, Later::Call(call), receipt);
        }
        let mut about = About::of(destination, &call.inbound.get().headers);
        about.receipt = receipt;
        self.step(Work::Call { call, about }, context);
    }

    fn subscribe(&mut self, subscribe: Subscribe, context: &mut Context<'_>) {
        if let Some(path) = self.shared.application_path(&subscribe.destination) {
            let path_from = subscribe.destination.len() - path.len();
            return self.ask(subscribe, path_from, context);
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
        // What is no pattern at all is told as that, not as a matter of rights.
        let separator = self.shared.broker.separator(&destination);
        let pattern = match Pattern::parse_separated(destination.clone(), separator) {
            Ok(pattern) => pattern,
            Err(error) => return self.refuse("subscription refused", error.to_string(), receipt),
        };
        let prefetch = match prefetch_count(&headers) {
            Ok(prefetch) => prefetch,
            Err(detail) => return self.refuse("subscription refused", detail, receipt),
        };
        let source = self.source(pattern);
        let request = source.map(|source| {
            let mut request =
                SubscribeRequest::new(self.record.id(), slot, source).acknowledged(ack);
            request.prefetch = prefetch;
            request
        });
        // Asked first, so that who may not subscribe there does not learn what is there.
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
                    self.step(
                        Work::Subscribe {
                            confirm,
                            subscribing,
                        },
                        context,
                    );
                }
                Err(detail) => self.refuse("subscription refused", detail, receipt),
            },
            Err(decision) => self.denied("SUBSCRIBE to", Some(&destination), &decision, receipt),
        }
    }

    /// Asks the handler for what follows the application prefix, at `path_from` of the destination.
    fn ask(&mut self, subscribe: Subscribe, path_from: usize, context: &mut Context<'_>) {
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
                return self.denied("SUBSCRIBE to", Some(&destination), &decision, receipt);
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
            return self.refuse("subscription refused", detail, receipt);
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
        self.step(Work::Call { call, about }, context);
    }

    /// A subscription is active: registry, presence and listeners hear of it.
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
        // In this order: whoever ends the session meanwhile takes away what is noted, and that has come.
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

    /// What a subscription's destination means.
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

    fn unsubscribe(&mut self, unsubscribe: Unsubscribe, context: &mut Context<'_>) {
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
        self.step(Work::Unsubscribe { confirm, receipt }, context);
    }

    fn denied(
        &mut self,
        frame: &str,
        destination: Option<&ByteString>,
        decision: &Decision,
        receipt: Option<ByteString>,
    ) {
        self.shared.counters.denied.increment();
        let destination = destination
            .map(|destination| format!(" {destination:?}"))
            .unwrap_or_default();
        tracing::debug!(stack = %self.shared.name, session = %self.record.id(), rule = decision.rule(), "denied: {frame}{destination}");
        let who = self
            .record
            .user()
            .map_or("an anonymous session".into(), |user| {
                format!("user {:?}", user.name())
            });
        let detail = format!("{frame}{destination} is denied to {who} by this server's policy");
        self.end_with_error("access denied", detail, receipt);
    }
}

/// The receipt that a frame asks for.
fn receipt(event: ServerEvent) -> Option<ByteString> {
    match event {
        ServerEvent::Send(send) => send.receipt,
        ServerEvent::Subscribe(subscribe) => subscribe.receipt,
        ServerEvent::Unsubscribe(unsubscribe) => unsubscribe.receipt,
        ServerEvent::Ack(ack) | ServerEvent::Nack(ack) => ack.receipt,
        ServerEvent::Begin(transaction)
        | ServerEvent::Commit(transaction)
        | ServerEvent::Abort(transaction) => transaction.receipt,
        ServerEvent::Disconnect(disconnect) => disconnect.receipt,
        _ => None,
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

/// The target of a client's SEND to `/user/NAME/path`, given `/NAME/path`; a `/` in the name is written `%2F`.
fn user_target(path: &str) -> Result<Target, DestinationError> {
    let (name, path) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    Ok(Target::User {
        name: name.replace("%2F", "/").into(),
        path: Destination::parse(format!("/{path}"))?,
    })
}

/// What of a SEND its receivers see: all headers but those that are about the SEND, and those the server owns.
fn passed_on(
    destination: ByteString,
    mut headers: Headers,
    body: Bytes,
) -> (ByteString, Headers, Bytes) {
    let whole = headers.encoded_len_hint() + body.len();
    headers.retain(|name, _| !is_servers(name));
    let kept = headers.encoded_len_hint() + body.len();
    if whole <= 2 * kept + SMALL {
        return (destination, headers, body);
    }
    // Slices would keep the whole frame alive, which nobody's limits count.
    let copy = |text: &str| ByteString::from(text);
    let headers = headers
        .iter()
        .map(|(name, value)| (copy(name), copy(value)))
        .collect();
    (copy(&destination), headers, Bytes::copy_from_slice(&body))
}

/// Bytes of SENDs that are taken behind one that waits for a full queue, to get at the ACKs behind them.
const CORKED_WHILE_WAITING: usize = 64 * 1024;

/// What a frame's own headers may take without its message being copied out of it.
const SMALL: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `part` lies inside `whole`.
    fn is_slice_of(part: &[u8], whole: &[u8]) -> bool {
        whole.as_ptr_range().contains(&part.as_ptr())
    }

    #[test]
    fn a_small_message_is_copied_out_of_a_large_frame() {
        let frame = Bytes::from(vec![b'x'; 10_000]);
        let text = |range| ByteString::try_from(frame.slice(range)).unwrap();
        let headers = |ack: usize| {
            Headers::from_iter(
                [("ack".into(), text(0..ack)), ("kind".into(), text(0..4))] as [(ByteString, _); 2]
            )
        };

        let destination = || text(5000..5010);
        let (name, kept, body) = passed_on(destination(), headers(9000), frame.slice(9990..));
        assert_eq!((kept.len(), kept.get("kind")), (1, Some("xxxx")));
        assert_eq!((&*name, &body[..]), ("xxxxxxxxxx", &[b'x'; 10][..]));
        let value = kept.get("kind").unwrap_or_default();
        for part in [name.as_bytes(), value.as_bytes(), &body] {
            assert!(!is_slice_of(part, &frame));
        }

        let (_, _, body) = passed_on(destination(), headers(100), frame.slice(1000..));
        assert!(
            is_slice_of(&body, &frame),
            "most of the frame is the message: no copy"
        );
    }
}
