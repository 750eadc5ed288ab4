//! What each frame of a client sets going.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{
    Destination, DestinationError, Headers, OpenSession, Outcome, Pattern, Publish, Source,
    SubscribeRequest, Target,
};
use tramline_stomp::{AckMode, ErrorReply, Send, ServerEvent, Subscribe, Unsubscribe};

use super::Session;
use super::end::End;
use super::handlers::{About, Call};
use super::state::Login;
use super::transactions::Later;
use super::work::{Subscribing, Waiting, Work};
use crate::dispatch;
use crate::events::Event;
use crate::inbound::{Cause, Inbound};
use crate::interceptor::{ClientFrame, Refusal, Refused};
use crate::messaging::below;
use crate::policy::{Action, Decision};
use crate::reply::is_servers;
use crate::transport::panic::{Panic, caught};

/// A frame that the interceptors have seen, and what they have against it.
pub(super) type Seen = (ServerEvent, Option<Box<Refusal>>);

impl Session {
    /// Does what a frame asks for, whose turn it is.
    pub(super) fn handle_frame(&mut self, (event, refusal): Seen, context: &mut Context<'_>) {
        if let Some(refusal) = refusal {
            return self.refused(event, *refusal, context);
        }
        match event {
            ServerEvent::Connect(connect) => self.login(connect, context),
            ServerEvent::Send(send) => self.send(send, context),
            // A client that is gone receives nothing, and the broker has removed it already.
            ServerEvent::Subscribe(_) | ServerEvent::Unsubscribe(_) if self.state.is_gone() => {}
            // Its deliveries have returned to their queues.
            ServerEvent::Ack(ack) | ServerEvent::Nack(ack)
                if ack.transaction.is_none() && self.state.is_gone() => {}
            ServerEvent::Subscribe(subscribe) => self.subscribe(subscribe, context),
            ServerEvent::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, context),
            ServerEvent::Ack(ack) => self.acknowledge(ack, Outcome::Accepted),
            ServerEvent::Nack(nack) => self.nack(nack),
            ServerEvent::Begin(begin) => {
                self.order.transactions.begin(&begin.id);
                self.receipt(begin.receipt);
            }
            ServerEvent::Commit(commit) => self.commit(commit, context),
            ServerEvent::Abort(abort) => {
                self.order.transactions.end(&abort.id);
                self.receipt(abort.receipt);
            }
            ServerEvent::Disconnect(disconnect) => {
                let receipt = disconnect.receipt;
                self.begin(Work::Disconnect { receipt }, context);
            }
            ServerEvent::Failed(error) => self.state.end(End::Stomp(error)),
            _ => {}
        }
    }

    /// Shows a frame to the interceptors.
    pub(super) fn intercept(&self, mut event: ServerEvent) -> Seen {
        let interceptors = &self.shared.interceptors;
        if interceptors.is_empty() || matches!(event, ServerEvent::Failed(_)) {
            return (event, None);
        }
        let mut frame = ClientFrame::new(&self.record, &mut event);
        let seen = caught(|| interceptors.inbound(&mut frame));
        let seen = seen.unwrap_or_else(|panic| {
            self.interceptor_panicked(&panic);
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
                let notice = self.notify(&rejection, Vec::new(), about);
                self.begin(notice, context);
            }
            (event, refused) => {
                let (reply, error) = Refusal(refused).error();
                self.stomp.error(reply.receipt(receipt(event)));
                self.state.end(End::Refused { error });
            }
        }
    }

    pub(super) fn interceptor_panicked(&self, panic: &Panic) {
        self.shared.counters.handler_panics.increment();
        tracing::error!(
            stack = %self.shared.name,
            session = %self.record.id(),
            panic = %panic,
            "interceptor panicked"
        );
    }

    /// Opens the session, if its user may have one.
    pub(super) fn connect(&mut self) -> Option<Work> {
        self.login = Login::Decided;
        self.tell(|session| Event::Connect { session });
        let user = self.record.user();
        let open = OpenSession::new(
            self.record.id(),
            user.map(|user| user.shared_name().clone()),
            Arc::clone(&self.outbox),
        );
        match self.shared.policy.authorize(Action::Connect, user, open) {
            Ok(open) => {
                let confirm = dispatch::open(&*self.shared.broker, open);
                Some(Work::Open(confirm))
            }
            Err(decision) => {
                self.denied("CONNECT", None, &decision, None);
                None
            }
        }
    }

    /// The broker knows the session: now its client may.
    pub(super) fn connected(&mut self) {
        let session = self.record.id().to_string();
        let now = self.shared.wheel.now();
        let user = self.record.user().map(crate::User::name);
        self.stomp.accept(user, Some(&session), now);
        self.login = Login::Accepted;
        self.record.connected.store(true, Ordering::Release);
        self.shared.users.add(&self.record);
        self.tell(|session| Event::Connected { session });
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
                    None => self.add_to_batch(publish, receipt),
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
        self.begin(Work::Call(Some((call, about))), context);
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
                    let work = Work::Subscribe(Waiting::new(confirm, subscribing));
                    self.begin(work, context);
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
        self.begin(Work::Call(Some((call, about))), context);
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
        self.begin(Work::Unsubscribe(Waiting::new(confirm, receipt)), context);
    }

    pub(super) fn receipt(&mut self, receipt: Option<ByteString>) {
        if let Some(receipt) = receipt {
            self.stomp.receipt(&receipt);
        }
    }

    /// Ends the session: the client wants what there is not.
    pub(super) fn refuse(&mut self, message: &str, detail: String, receipt: Option<ByteString>) {
        if self.record.is_expelled() {
            // It is told why it has to go, not that the broker has removed it already.
            return;
        }
        self.shared.counters.rejected.increment();
        self.end_with_error(message, detail, receipt);
    }

    pub(super) fn end_with_error(
        &mut self,
        message: &str,
        detail: String,
        receipt: Option<ByteString>,
    ) {
        let reply = ErrorReply::new(message)
            .detail(detail.clone())
            .receipt(receipt);
        self.stomp.error(reply);
        self.state.end(End::Refused { error: detail });
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
