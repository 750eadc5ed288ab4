//! The frames of a client: what each asks for, and whether it may.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{DeliveryRef, Headers, Outcome, Settle, SettleError};
use tramline_stomp::{Acknowledge, Connect, DeliveryId, Send as SendFrame, ServerEvent};

use super::StompSession;
use super::end::End;
use super::pending::{About, Call, Check, Waiting, Work, correlation};
use super::queued::{Later, Seen};
use super::refusals::Refusal;
use super::state::Login;
use crate::app::interceptor::{self, ClientFrame, Refused};
use crate::model::events::Event;
use crate::model::inbound::{Cause, Inbound};
use crate::model::log::log_client;
use crate::model::panics::{Panic, caught};
use crate::model::reply::is_servers;
use crate::model::user::User;
use crate::model::values::flag;
use crate::net::wheel::after;
use crate::stack::intents::{ConnectIntent, SendIntent};
use crate::stack::policy::{Answer, Asked, Authorized, Decision, Failure, Refusals};

impl StompSession {
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
            ServerEvent::Unsubscribe(unsubscribe) => return self.unsubscribe(unsubscribe),
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
        let stack = &self.stack;
        let is_renewal = |destination: &str| stack.is_renewal(destination);
        stack.watch.came(&self.record, &event, is_renewal);
        let interceptors = &self.stack.interceptors;
        if interceptors.is_empty() || matches!(event, ServerEvent::Failed(_)) {
            return (event, None);
        }
        let mut frame = ClientFrame::new(&self.record, &mut event);
        let seen = caught(|| interceptors.inbound(&mut frame));
        let seen = seen.unwrap_or_else(|panic| {
            self.interceptor_panicked(&panic);
            Err(interceptor::Refusal::close(
                "the server failed to look at this frame",
            ))
        });
        (event, seen.err().map(Box::new))
    }

    /// Answers a frame that an interceptor refused.
    fn refused(&mut self, event: ServerEvent, refusal: interceptor::Refusal) -> Option<Work> {
        self.stack.counters.refused.increment();
        match (event, refusal.0) {
            (ServerEvent::Send(send), Refused::Reject(rejection)) => {
                let about = About::of(send.destination, &send.headers);
                let about = about.with_receipt(send.receipt);
                Some(self.notify(&rejection, Vec::new(), about))
            }
            (event, refused) => {
                let (reply, error) = interceptor::Refusal(refused).error();
                self.stomp.error(reply.receipt(receipt(event)));
                let what = "an interceptor refused a frame";
                self.state.end(End::Refused { what, error });
                None
            }
        }
    }

    pub(super) fn interceptor_panicked(&self, panic: &Panic) {
        self.stack.counters.handler_panics.increment();
        log_client!(
            ERROR if self.may_log(),
            { stack = %self.stack.name, session = %self.record.id() },
            "interceptor panicked",
            panic
        );
    }

    /// Opens the session, if its user may have one.
    pub(super) fn connect(&mut self, frame: &Arc<Connect>) -> Option<Work> {
        let user = self.record.user();
        if let Some(wrong) = user.and_then(|user| self.wrong_user(&user)) {
            self.stack.counters.logins_refused.increment();
            self.login_failed(wrong);
            return None;
        }
        let deadline = self.login.deadline();
        self.login = Login::Decided;
        self.tell(|session| Event::Connect { session });
        let answer = self.stack.policy.authorize(ConnectIntent {
            session: &self.record,
            outbox: self.member.outbox(),
            frame,
        });
        if let (Answer::Later(_), Some(deadline)) = (&answer, deadline) {
            self.login = Login::Checked {
                deadline: Box::new(deadline),
            };
        }
        self.answered(answer, |session, answer| {
            session.login = Login::Decided;
            match answer {
                Ok(open) => Some(Work::Open(session.stack.hub.open(open))),
                Err(decision) => session.denied("CONNECT", &decision, None),
            }
        })
    }

    /// Tells the client that its session is open.
    pub(super) fn connected(&mut self) {
        let session = self.record.id().to_string();
        let now = self.stack.wheel.now();
        let user = self.record.user();
        let name = user.as_ref().map(User::name);
        self.stomp.accept(name, Some(&session), now);
        self.login = Login::Accepted;
        self.set_expiry();
        self.tell(|session| Event::Connected { session });
        if self.state.is_gone() {
            // The client left before; what it sent is still handled.
            self.leave();
        }
    }

    fn send(&mut self, mut send: SendFrame) -> Option<Work> {
        self.stack.counters.messages_received.increment();
        if let Err(refusal) = self.name_replies(&mut send) {
            let about = About::of(send.destination, &send.headers).with_receipt(send.receipt);
            return self.refuse_frame(refusal, about);
        }
        if let Some(path) = self.stack.application_path(&send.destination) {
            let path_from = send.destination.len() - path.len();
            return self.handle(send, path_from);
        }
        if self.stack.is_renewal(&send.destination) {
            return self.renew(send);
        }
        let (destination, headers, body) = passed_on(send.destination, send.headers, send.body);
        let (receipt, transaction) = (send.receipt, send.transaction);
        // Where it is denied, an ERROR needs no more than its receipt.
        let correlation = match self.stack.refusals {
            Refusals::EndSession => None,
            Refusals::Notify => correlation(&headers),
        };
        let answer = self.stack.policy.authorize(SendIntent {
            stack: &self.stack,
            session: &self.record,
            destination: destination.clone(),
            headers,
            body,
        });
        self.answered(answer, move |session, answer| {
            let about = || About::new(destination, correlation);
            let publish = match answer.map(Authorized::transpose) {
                Ok(Ok(publish)) => publish,
                Ok(Err((message, detail))) => {
                    let refusal = Refusal::of_send(message, detail);
                    return session.refuse_frame(refusal, about().with_receipt(receipt));
                }
                Err(decision) => {
                    let about = about().with_receipt(receipt);
                    return session.denied("SEND to", &decision, Some(about));
                }
            };
            match transaction {
                Some(id) => {
                    let about = about().with_receipt(receipt);
                    session.add_to_transaction(&id, Later::Publish(publish), about)
                }
                None => {
                    session.add_to_batch(publish, receipt);
                    None
                }
            }
        })
    }

    /// Starts the handler for what follows the application prefix, at `path_from` of the destination.
    fn handle(&mut self, send: SendFrame, path_from: usize) -> Option<Work> {
        let SendFrame {
            destination,
            headers,
            body,
            receipt,
            transaction,
            ..
        } = send;
        let session = Arc::clone(&self.record);
        let about = About::of(destination.clone(), &headers).with_receipt(receipt);
        let mut inbound = Inbound::new(session, Cause::Message, destination);
        inbound.headers = headers;
        inbound.body = body;
        let answer = self.stack.policy.authorize(inbound);
        self.answered(answer, move |session, answer| {
            let inbound = match answer {
                Ok(inbound) => inbound,
                Err(decision) => return session.denied("SEND to", &decision, Some(about)),
            };
            let call = Call { inbound, path_from };
            if let Some(id) = transaction {
                return session.add_to_transaction(&id, Later::Call(call), about);
            }
            Some(Work::Call(Some((call, about))))
        })
    }

    pub(super) fn nack(&mut self, nack: Acknowledge) -> Option<Work> {
        match flag(&nack.headers, "requeue") {
            Ok(None | Some(true)) => self.acknowledge(nack, Outcome::Released),
            Ok(Some(false)) => self.acknowledge(nack, Outcome::Rejected),
            Err(detail) => {
                self.refuse("not acknowledged", detail, nack.receipt);
                None
            }
        }
    }

    pub(super) fn acknowledge(&mut self, ack: Acknowledge, outcome: Outcome) -> Option<Work> {
        let settle = match ack.delivery {
            DeliveryId::Tag { slot, tag } => {
                Settle::new(Some(slot), DeliveryRef::Tag(tag), outcome)
            }
            DeliveryId::Message { slot, message_id } => {
                Settle::new(slot, DeliveryRef::MessageId(message_id), outcome)
            }
        };
        if let Some(id) = ack.transaction {
            let about = About::new(ByteString::new(), None).with_receipt(ack.receipt);
            return self.add_to_transaction(&id, Later::Settle(settle), about);
        }
        let confirm = self.stack.hub.settle(self.record.id(), settle);
        let receipt = ack.receipt;
        match confirm.into_ready() {
            // A broker in this process lets SENDs wait for room alone, which may take long: then the ERROR does not wait.
            Ok(Err(error)) if self.work.is_some() && self.stack.hub.answers_late() => {
                // The ERROR comes after the answers to the SENDs in front.
                self.order.hold_back_error(error, receipt);
                None
            }
            Ok(answer) => {
                self.settled(answer, receipt);
                None
            }
            Err(confirm) => {
                self.order.settling.push(Waiting::new(confirm, receipt));
                // SENDs that are waited for are followed by what was settled meanwhile.
                self.work.is_none().then_some(Work::Settle)
            }
        }
    }

    /// Ready when the broker has confirmed all ACKs and NACKs; their receipts are written in order.
    pub(super) fn poll_settling(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut settling = std::mem::take(&mut self.order.settling);
        let mut confirmed = 0;
        for next in settling.iter_mut() {
            let Poll::Ready((answer, receipt)) = next.poll(context) else {
                break;
            };
            self.settled(answer, receipt);
            confirmed += 1;
        }
        settling.remove_first(confirmed);
        let all = settling.is_empty();
        self.order.settling = settling;
        if all { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn settled(&mut self, answer: Result<(), SettleError>, receipt: Option<ByteString>) {
        match answer {
            Ok(()) => self.receipt(receipt),
            Err(error) => self.refuse("not acknowledged", error.to_string(), receipt),
        }
    }

    /// Settles what was not written: each alone, whatever the client has acknowledged.
    #[cold]
    pub(super) fn settle_failed(&self, failed: &[(u32, u32, Outcome)]) {
        for (slot, tag, outcome) in failed {
            let settle = Settle::new(Some(*slot), DeliveryRef::Only(*tag), *outcome);
            self.stack.hub.settle_unawaited(self.record.id(), settle);
        }
    }

    /// Settles what was written to subscriptions of the mode `auto`, whose clients send no ACK.
    pub(super) fn settle_written(&self, written: &[(u32, u32)]) {
        for (slot, tag) in written {
            let settle = Settle::new(Some(*slot), DeliveryRef::Tag(*tag), Outcome::Accepted);
            self.stack.hub.settle_unawaited(self.record.id(), settle);
        }
    }

    /// Goes on with the policy's answer: now, or as the work that the frames behind wait for.
    ///
    /// Only a check costs an allocation.
    pub(super) fn answered<P, F>(&mut self, answer: Answer<P>, then: F) -> Option<Work>
    where
        P: Send + 'static,
        F: FnOnce(&mut Self, Result<Authorized<P>, Decision>) -> Option<Work> + Send + 'static,
    {
        match answer {
            Answer::Now(answer) => then(self, answer),
            Answer::Later(asked) => {
                let limit = self.stack.limits.handler_time;
                let deadline = || after(self.stack.wheel.now(), limit);
                Some(Work::Check(Box::new(Checking {
                    asked,
                    deadline: self.login.deadline().is_none().then(deadline),
                    then: Some(then),
                })))
            }
        }
    }

    /// Counts and logs a check that did not decide.
    #[cold]
    pub(super) fn check_failed(&self, failure: &Failure, rule: &str) {
        macro_rules! log {
            ($level:ident $(if $may_log:expr)?, $text:literal) => {
                log_client!(
                    $level $(if $may_log)?,
                    { stack = %self.stack.name, session = %self.record.id(), rule },
                    $text,
                    failure
                )
            };
        }
        if let Failure::TimedOut = failure {
            self.stack.counters.handler_timeouts.increment();
        }
        if let Failure::Panicked(_) = failure {
            self.stack.counters.handler_panics.increment();
            log!(ERROR if self.may_log(), "check panicked");
        } else if failure.is_clients() {
            log!(DEBUG, "check could not be asked");
        } else {
            log!(WARN if self.may_log(), "check failed");
        }
    }

    pub(super) fn receipt(&mut self, receipt: Option<ByteString>) {
        if let Some(receipt) = receipt {
            self.stomp.receipt(&receipt);
        }
    }
}

/// A running check, and what the session does with its answer.
struct Checking<P, F> {
    asked: Asked<P>,
    /// Of CONNECT, the login has one.
    deadline: Option<Instant>,
    then: Option<F>,
}

impl<P, F> Check for Checking<P, F>
where
    P: Send,
    F: FnOnce(&mut StompSession, Result<Authorized<P>, Decision>) -> Option<Work> + Send,
{
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn poll(
        &mut self,
        session: &mut StompSession,
        context: &mut Context<'_>,
    ) -> Poll<Option<Work>> {
        let now = session.stack.wheel.now();
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
        let answer = ready!(self.asked.poll_within(context, is_late));
        let then = self.then.take();
        if session.record.is_expelled() {
            return Poll::Ready(None);
        }
        Poll::Ready(then.and_then(|then| then(session, answer)))
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
