//! What each frame of a client sets going.

use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{
    Destination, DestinationError, Headers, OpenSession, Outcome, Pattern, Publish, Source,
    SubscribeRequest, Target,
};
use tramline_stomp::{Send, ServerEvent, Subscribe, Unsubscribe};

use super::Session;
use super::end::End;
use super::transactions::Later;
use super::work::{About, Call, Work};
use crate::dispatch;
use crate::inbound::Inbound;
use crate::policy::{Action, Decision};

impl Session {
    /// Looks at the frames that have arrived, until one has to be waited for.
    pub(super) fn process(&mut self, context: &mut Context<'_>) {
        while self.may_process() {
            let Some(event) = self
                .held_back
                .take()
                .map_or_else(|| self.stomp.poll_event(), |event| Some(*event))
            else {
                return;
            };
            let settles = matches!(
                &event,
                ServerEvent::Ack(ack) | ServerEvent::Nack(ack) if ack.transaction.is_none()
            );
            // Only sends to the broker may wait for more of their kind; all else comes after what is corked.
            let corkable = self.can_be_corked(&event);
            if !corkable && self.work.is_none() {
                self.uncork();
            }
            // What a full queue waits for may be just this session's ACKs, and they may stand behind more SENDs.
            let goes_on = settles || (corkable && self.corked_bytes() < CORKED_WHILE_WAITING);
            if self.work.is_some() && !goes_on {
                self.held_back = Some(Box::new(event));
                return;
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
                    self.receipt(disconnect.receipt);
                    self.end_with(End::Disconnected);
                }
                ServerEvent::Failed(error) => self.end_with(End::Stomp(error)),
                _ => {}
            }
        }
    }

    fn corked_bytes(&self) -> usize {
        let sizes = self.cork.iter().map(|publish| publish.get().size_hint());
        sizes.sum()
    }

    /// Whether the next frame may be looked at: when nothing is being worked on, or only a full queue is waited for.
    fn may_process(&self) -> bool {
        let waits_for_room = || matches!(self.work.as_deref(), Some(Work::Sends { .. }));
        self.end.is_none()
            && (self.work.is_none() || (waits_for_room() && self.held_back.is_none()))
    }

    /// Opens the session, if its user may have one.
    pub(super) fn connect(&mut self, context: &mut Context<'_>) {
        let user = self.info.user.as_ref();
        let open = OpenSession::new(
            self.info.id,
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
        let session = self.info.id.to_string();
        let now = self.shared.wheel.now();
        let user = self.info.user.as_ref().map(crate::User::name);
        self.stomp.accept(user, Some(&session), now);
        self.just_connected = true;
    }

    fn can_be_corked(&self, event: &ServerEvent) -> bool {
        let ServerEvent::Send(send) = event else {
            return false;
        };
        send.transaction.is_none() && below(&send.destination, &self.shared.app_prefix).is_none()
    }

    fn send(&mut self, send: Send, context: &mut Context<'_>) {
        self.shared.counters.messages_received.increment();
        if let Some(path) = below(&send.destination, &self.shared.app_prefix) {
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
            self.info.user.as_ref(),
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
        let inbound = Inbound {
            session: Arc::clone(&self.info),
            destination: destination.clone(),
            captures: Vec::new(),
            headers,
            body,
        };
        let action = Action::Message(&destination);
        let inbound = match self
            .shared
            .policy
            .authorize(action, self.info.user.as_ref(), inbound)
        {
            Ok(inbound) => inbound,
            Err(decision) => return self.denied("SEND to", Some(&destination), &decision, receipt),
        };
        let call = Call { inbound, path_from };
        if let Some(id) = transaction {
            return self.send_later(&id, Later::Call(call), receipt);
        }
        let about = About {
            destination,
            receipt,
            then: None,
        };
        self.step(Work::Call { call, about }, context);
    }

    /// Starts a handler.
    pub(super) fn call(&mut self, call: Call, about: About) -> Option<Work> {
        let Call { inbound, path_from } = call;
        // Handlers and state are the application's, down to their `Clone`.
        let routes = &self.shared.routes;
        let started = std::panic::catch_unwind(AssertUnwindSafe(|| {
            routes.call(&about.destination[path_from..], inbound)
        }));
        match started {
            Ok(future) => Some(Work::Handler { future, about }),
            Err(panic) => self.apply(self.panicked(&about, &*panic), about),
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe, context: &mut Context<'_>) {
        let Subscribe {
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
            let mut request = SubscribeRequest::new(self.info.id, slot, source).acknowledged(ack);
            request.prefetch = prefetch;
            request
        });
        // Asked first, so that who may not subscribe there does not learn what is there.
        let action = Action::Subscribe(&destination);
        match self
            .shared
            .policy
            .authorize(action, self.info.user.as_ref(), request)
        {
            Ok(request) => match request.transpose() {
                Ok(request) => {
                    let confirm = dispatch::subscribe(&*self.shared.broker, request);
                    self.step(
                        Work::Subscribe {
                            confirm,
                            slot,
                            receipt,
                        },
                        context,
                    );
                }
                Err(detail) => self.refuse("subscription refused", detail, receipt),
            },
            Err(decision) => self.denied("SUBSCRIBE to", Some(&destination), &decision, receipt),
        }
    }

    /// What a subscription's destination means.
    fn source(&self, pattern: Pattern) -> Result<Source, String> {
        let destination = pattern.as_str();
        if let Some(path) = below(destination, &self.shared.user_prefix) {
            let path = Destination::parse(path).map_err(|error| error.to_string())?;
            return Ok(Source::User { path });
        }
        if below(destination, &self.shared.app_prefix).is_some() {
            return Err(format!(
                "nothing can be subscribed to at {destination:?}: no handler answers subscriptions there"
            ));
        }
        if !self.shared.broker.serves(destination) {
            return Err(self.shared.nowhere(destination));
        }
        Ok(pattern.into())
    }

    fn unsubscribe(&mut self, unsubscribe: Unsubscribe, context: &mut Context<'_>) {
        let Unsubscribe { slot, receipt, .. } = unsubscribe;
        let confirm = dispatch::unsubscribe(&*self.shared.broker, self.info.id, slot);
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
        tracing::debug!(session = %self.info.id, rule = decision.rule(), "denied: {frame}{destination}");
        let who = self
            .info
            .user
            .as_ref()
            .map_or("an anonymous session".into(), |user| {
                format!("user {:?}", user.name())
            });
        let detail = format!("{frame}{destination} is denied to {who} by this server's policy");
        self.end_with_error("access denied", detail, receipt);
    }
}

/// What follows `prefix` in `destination`, beginning with `/`.
fn below<'a>(destination: &'a str, prefix: &str) -> Option<&'a str> {
    let path = destination.strip_prefix(prefix)?;
    (path.len() > 1 && path.starts_with('/')).then_some(path)
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
    headers.retain(|name, _| {
        !matches!(
            name,
            "destination"
                | "receipt"
                | "transaction"
                | "content-length"
                | "message-id"
                | "subscription"
                | "ack"
                | "redelivered"
                | "delivery-count"
                | "user-name"
        )
    });
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
