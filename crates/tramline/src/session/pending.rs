//! Work that a session finishes before it handles the next frame, and what it is about.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytestring::ByteString;
use tramline_broker::{
    CommitError, Confirm, Headers, Hold, OpenError, Publish, Published, Refused, SettleError,
    SubscribeError, Subscribed, UnsubscribeError,
};
use tramline_stomp::Connect;

use super::StompSession;
use crate::app::handler::EffectsFuture;
use crate::app::login::LoginFuture;
use crate::app::router::OnRejection;
use crate::model::inbound::Inbound;
use crate::model::panics::Caught;
use crate::stack::clients::Batch;
use crate::stack::policy::Authorized;

/// A running handler, or an answer that the broker has not given yet.
///
/// Work is polled where it stands, by [`StompSession::poll_work`], until it is done; then its value moves on into the
/// next step, if one follows.
pub(super) enum Work {
    /// The login handler decides who the client is.
    Login(Waiting<Caught<LoginFuture>, Arc<Connect>>),
    /// A check of the policy decides about a frame, whose work is next.
    Check(Box<dyn Check>),
    /// The broker confirms the session.
    Open(Confirm<Result<(), OpenError>>),
    /// A handler is called, once fewer than its limit run concurrently.
    Call(Option<(Call, About)>),
    /// A handler runs, until it ends or its time does.
    Handler(Waiting<Caught<EffectsFuture>, About>, Instant),
    /// The broker confirms the effects of a handler.
    Effects(Waiting<Publishing, About>),
    /// The broker confirms the notice of a refused message; the messages behind that one are published next.
    Notice(Waiting<Publishing, (Vec<Publish>, About)>),
    /// The broker confirms a batch of the client's SENDs.
    Sends(Waiting<Publishing, Receipts>),
    /// The broker confirms the notice of a SEND that it refused; those behind it are published next.
    RestOfSends(Box<(Work, Batch, Receipts)>),
    /// The broker confirms the client's ACKs and NACKs: [`Order::settling`](super::queued::Order::settling).
    Settle,
    /// The broker confirms its part of a transaction; the handlers' part is next.
    Commit(Waiting<Confirm<Result<Published, CommitError>>, Calls>),
    /// The broker confirms a subscription.
    Subscribe(Waiting<Confirm<Result<Subscribed, SubscribeError>>, Subscribing>),
    /// The broker confirms the end of a subscription; then its receipt is owed.
    Unsubscribe(Waiting<Confirm<Result<(), UnsubscribeError>>, Option<ByteString>>),
    /// The client sent DISCONNECT, and concurrent handlers still run.
    Disconnect { receipt: Option<ByteString> },
}

impl Work {
    /// The time at which it is dropped.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Handler(_, deadline) => Some(*deadline),
            Self::Check(check) => check.deadline(),
            _ => None,
        }
    }
}

/// A frame that waits for a check of the policy.
pub(super) trait Check: Send {
    /// The time at which the check counts as failed.
    fn deadline(&self) -> Option<Instant>;

    /// Ready when the check has decided, with the work that follows.
    fn poll(&mut self, session: &mut StompSession, context: &mut Context<'_>)
    -> Poll<Option<Work>>;
}

/// The broker's answer to a batch of messages.
pub(super) type Publishing = Confirm<Result<Published, Refused>>;

/// An answer to come, and what it is needed for.
pub(super) struct Waiting<F, N> {
    answer: F,
    /// Given away with the answer.
    next: Option<N>,
}

/// A subscription that is about to be active.
pub(super) struct Subscribing {
    pub(super) slot: u32,
    pub(super) id: ByteString,
    pub(super) about: About,
}

impl<F: Future + Unpin, N> Waiting<F, N> {
    pub(super) fn new(answer: F, next: N) -> Self {
        Self {
            answer,
            next: Some(next),
        }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<(F::Output, N)> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        match self.next.take() {
            Some(next) => Poll::Ready((answer, next)),
            // It has answered before.
            None => Poll::Pending,
        }
    }

    /// Takes what the answer is needed for, if `reason` says that it is needed no more.
    pub(super) fn give_up_if(&mut self, reason: impl FnOnce(&N) -> bool) -> Option<N> {
        self.next.take_if(|next| reason(next))
    }
}

/// An ACK or NACK that the broker has not confirmed, and its receipt.
pub(super) type Settling = Waiting<Confirm<Result<(), SettleError>>, Option<ByteString>>;

/// Receipts owed for a batch of SENDs, each with the place of its message there.
pub(super) type Receipts = Vec<(usize, ByteString)>;

/// A message for a handler, whose route begins at `path_from` of its destination.
pub(super) struct Call {
    pub(super) inbound: Authorized<Inbound>,
    pub(super) path_from: usize,
}

/// The message that a handler's work is about, for receipts, answers and errors.
pub(super) struct About {
    pub(super) destination: ByteString,
    pub(super) receipt: Option<ByteString>,
    /// The subscription that is answered.
    pub(super) slot: Option<u32>,
    /// Copied into replies, so that the client knows what they answer.
    pub(super) correlation: Option<ByteString>,
    pub(super) on_rejection: Option<OnRejection>,
    /// It is refused: there is no receipt, and the notice names the one that was asked for.
    pub(super) is_refused: bool,
    /// Nobody needs its outcome once the client has left.
    pub(super) cancel_on_disconnect: bool,
    /// The rest of its transaction.
    pub(super) then: Option<Box<Calls>>,
}

impl About {
    /// About a frame with these headers.
    pub(super) fn of(destination: ByteString, headers: &Headers) -> Self {
        Self::new(destination, correlation(headers))
    }

    pub(super) fn new(destination: ByteString, correlation: Option<ByteString>) -> Self {
        Self {
            destination,
            receipt: None,
            slot: None,
            correlation,
            is_refused: false,
            on_rejection: None,
            cancel_on_disconnect: false,
            then: None,
        }
    }

    /// The frame asks for this receipt.
    pub(super) fn with_receipt(mut self, receipt: Option<ByteString>) -> Self {
        self.receipt = receipt;
        self
    }

    /// Adds the correlation id to a reply, unless it has one of its own.
    pub(super) fn correlate(&self, headers: &mut Headers) {
        if let Some(correlation) = &self.correlation
            && headers.get(CORRELATION).is_none()
        {
            headers.push(CORRELATION, correlation.clone());
        }
        if let Some(receipt) = &self.receipt
            && self.is_refused
        {
            headers.push("receipt-id", receipt.clone());
        }
    }
}

/// The id by which a frame's sender tells answers apart.
pub(super) fn correlation(headers: &Headers) -> Option<ByteString> {
    let id = headers.get_bytestring(CORRELATION);
    id.filter(|id| id.len() <= LONGEST_CORRELATION).cloned()
}

/// The handlers of a committed transaction that were not called yet.
pub(super) struct Calls {
    pub(super) calls: std::vec::IntoIter<Call>,
    pub(super) receipt: Option<ByteString>,
    /// The memory of the calls.
    pub(super) _hold: Hold,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login(_) => "Login",
            Self::Check(_) => "Check",
            Self::Open(_) => "Open",
            Self::Call(_) => "Call",
            Self::Handler(..) => "Handler",
            Self::Effects(_) => "Effects",
            Self::Notice(_) => "Notice",
            Self::Sends(_) => "Sends",
            Self::RestOfSends(_) => "RestOfSends",
            Self::Settle => "Settle",
            Self::Commit(_) => "Commit",
            Self::Subscribe(_) => "Subscribe",
            Self::Unsubscribe(_) => "Unsubscribe",
            Self::Disconnect { .. } => "Disconnect",
        })
    }
}

/// The header that AMQP and JMS tell answers apart by.
const CORRELATION: &str = "correlation-id";

/// Bytes of a correlation id that is copied. A reply may go to many, and with it whatever the sender writes there.
const LONGEST_CORRELATION: usize = 256;
