//! The frames of a client: what each asks for.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{Headers, Outcome};
use tramline_stomp::{Connect, Send, ServerEvent};

use super::StompSession;
use super::end::End;
use super::pending::{About, Call, Work, correlation};
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
use crate::stack::intents::{ConnectIntent, SendIntent};
use crate::stack::policy::{Answer, Authorized, Refusals};

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

    fn send(&mut self, send: Send) -> Option<Work> {
        self.stack.counters.messages_received.increment();
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

    pub(super) fn receipt(&mut self, receipt: Option<ByteString>) {
        if let Some(receipt) = receipt {
            self.stomp.receipt(&receipt);
        }
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
