//! The frames of a client: what each asks for.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{
    Destination, DestinationError, Headers, OpenSession, Outcome, Publish, Target,
};
use tramline_stomp::{ErrorReply, Send, ServerEvent};

use super::Session;
use super::end::End;
use super::pending::{About, Call, Work};
use super::queued::{Later, Seen};
use super::state::Login;
use crate::app::interceptor::{ClientFrame, Refusal, Refused};
use crate::model::events::Event;
use crate::model::inbound::{Cause, Inbound};
use crate::model::panics::{Panic, caught};
use crate::model::reply::is_servers;
use crate::model::user::User;
use crate::stack::policy::{Action, Decision};
use crate::stack::prefix::below;

impl Session {
    /// Does what a frame asks for, whose turn it is; gives the work that the frames behind it wait for.
    pub(super) fn handle_frame(&mut self, (event, refusal): Seen) -> Option<Work> {
        if let Some(refusal) = refusal {
            return self.refused(event, *refusal);
        }
        // A client that is gone receives nothing, and its deliveries have returned to their queues.
        let is_gone = self.state.is_gone();
        match event {
            ServerEvent::Connect(connect) => return self.login(connect),
            ServerEvent::Send(send) => return self.send(send),
            ServerEvent::Subscribe(_) | ServerEvent::Unsubscribe(_) if is_gone => {}
            ServerEvent::Ack(ack) | ServerEvent::Nack(ack)
                if is_gone && ack.transaction.is_none() => {}
            ServerEvent::Subscribe(subscribe) => return self.subscribe(subscribe),
            ServerEvent::Unsubscribe(unsubscribe) => return Some(self.unsubscribe(unsubscribe)),
            ServerEvent::Ack(ack) => return self.acknowledge(ack, Outcome::Accepted),
            ServerEvent::Nack(nack) => return self.nack(nack),
            ServerEvent::Begin(begin) => {
                self.order.transactions.begin(&begin.id);
                self.receipt(begin.receipt);
            }
            ServerEvent::Commit(commit) => return self.commit(commit),
            ServerEvent::Abort(abort) => {
                self.order.transactions.end(&abort.id);
                self.receipt(abort.receipt);
            }
            ServerEvent::Disconnect(disconnect) => {
                let receipt = disconnect.receipt;
                return Some(Work::Disconnect { receipt });
            }
            ServerEvent::Failed(error) => self.state.end(End::Stomp(error)),
            _ => {}
        }
        None
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

    /// Answers a frame that an interceptor refused.
    fn refused(&mut self, event: ServerEvent, refusal: Refusal) -> Option<Work> {
        self.shared.counters.refused.increment();
        match (event, refusal.0) {
            (ServerEvent::Send(send), Refused::Reject(rejection)) => {
                let mut about = About::of(send.destination, &send.headers);
                about.receipt = send.receipt;
                Some(self.notify(&rejection, Vec::new(), about))
            }
            (event, refused) => {
                let (reply, error) = Refusal(refused).error();
                self.stomp.error(reply.receipt(receipt(event)));
                self.state.end(End::Refused { error });
                None
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
        let mut open = OpenSession::new(
            self.record.id(),
            user.as_ref().map(|user| user.shared_name().clone()),
            Arc::clone(self.member.outbox()),
        );
        open.address = self.record.handshake().network();
        let policy = &self.shared.policy;
        match policy.authorize(Action::Connect, user.as_ref(), open) {
            Ok(open) => {
                let confirm = self.shared.hub.open(open);
                Some(Work::Open(confirm))
            }
            Err(decision) => {
                self.denied("CONNECT", None, &decision, None);
                None
            }
        }
    }

    /// Tells the client that its session is open.
    pub(super) fn connected(&mut self) {
        let session = self.record.id().to_string();
        let now = self.shared.wheel.now();
        let user = self.record.user();
        let name = user.as_ref().map(User::name);
        self.stomp.accept(name, Some(&session), now);
        self.login = Login::Accepted;
        self.tell(|session| Event::Connected { session });
        if self.state.is_gone() {
            // The client left before; what it sent is still handled.
            self.leave();
        }
    }

    fn send(&mut self, send: Send) -> Option<Work> {
        self.shared.counters.messages_received.increment();
        if let Some(path) = self.shared.application_path(&send.destination) {
            let path_from = send.destination.len() - path.len();
            return self.handle(send, path_from);
        }
        let (destination, headers, body) = passed_on(send.destination, send.headers, send.body);
        let receipt = send.receipt;
        let target = if let Some(path) = below(&destination, &self.shared.user_prefix) {
            user_target(path).map_err(|error| error.to_string())
        } else if self.shared.hub.serves(&destination) {
            Destination::parse(destination.clone())
                .map(Target::from)
                .map_err(|error| error.to_string())
        } else {
            Err(self.shared.nowhere(&destination))
        };
        // The policy is asked first, so that a client that may not send there does not learn what exists there.
        let publish = target.map(|target| {
            self.shared
                .publisher
                .shown(Publish::new(target, headers, body))
        });
        match self.shared.policy.authorize(
            Action::Message(&destination),
            self.record.user().as_ref(),
            publish,
        ) {
            Ok(publish) => match publish.transpose() {
                Ok(publish) => match send.transaction {
                    Some(id) => self.add_to_transaction(&id, Later::Publish(publish), receipt),
                    None => self.add_to_batch(publish, receipt),
                },
                Err(detail) => self.refuse("bad destination", detail, receipt),
            },
            Err(decision) => self.denied("SEND to", Some(&destination), &decision, receipt),
        }
        None
    }

    /// Starts the handler for what follows the application prefix, at `path_from` of the destination.
    fn handle(&mut self, send: Send, path_from: usize) -> Option<Work> {
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
        let inbound = match self.shared.policy.authorize(action, user.as_ref(), inbound) {
            Ok(inbound) => inbound,
            Err(decision) => {
                self.denied("SEND to", Some(&destination), &decision, receipt);
                return None;
            }
        };
        let call = Call { inbound, path_from };
        if let Some(id) = transaction {
            self.add_to_transaction(&id, Later::Call(call), receipt);
            return None;
        }
        let mut about = About::of(destination, &call.inbound.get().headers);
        about.receipt = receipt;
        Some(Work::Call(Some((call, about))))
    }

    pub(super) fn receipt(&mut self, receipt: Option<ByteString>) {
        if let Some(receipt) = receipt {
            self.stomp.receipt(&receipt);
        }
    }

    /// Ends the session with an ERROR: the client asked for something that cannot be done.
    pub(super) fn refuse(&mut self, message: &str, detail: String, receipt: Option<ByteString>) {
        if self.record.is_expelled() {
            // Its client receives the reason of that, and not that the broker has removed the session already.
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

    pub(super) fn denied(
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

/// The target of a client's SEND to `/user/NAME/path`, given `/NAME/path`; a `/` in the name is written `%2F`.
fn user_target(path: &str) -> Result<Target, DestinationError> {
    let (name, path) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    Ok(Target::User {
        name: name.replace("%2F", "/").into(),
        path: Destination::parse(format!("/{path}"))?,
    })
}

/// The part of a SEND that its receivers see: all headers but those about the SEND itself and those that the server owns.
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
    // Slices would keep the whole frame in memory, which no limit counts.
    let copy = |text: &str| ByteString::from(text);
    let headers = headers
        .iter()
        .map(|(name, value)| (copy(name), copy(value)))
        .collect();
    (copy(&destination), headers, Bytes::copy_from_slice(&body))
}

/// Bytes of a frame beside its message, up to which the message is not copied out of it.
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
