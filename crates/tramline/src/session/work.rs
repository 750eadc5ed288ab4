//! Work that a session finishes before it handles the next frame.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytestring::ByteString;
use tramline_broker::{
    CommitError, Confirm, OpenError, Publish, Published, Refused, SubscribeError, Subscribed,
};

use super::Session;
use super::acks::Receipts;
use super::end::End;
use super::handlers::{About, Call};
use super::transactions::Calls;
use crate::app::handler::EffectsFuture;
use crate::app::login::LoginFuture;
use crate::model::panics::Caught;

/// A running handler, or an answer that the broker has not given yet.
///
/// Work is polled where it stands, by [`Session::poll_work`], until it is done; then its value moves on into the next
/// step, if one follows.
pub(super) enum Work {
    /// The login handler decides who the client is.
    Login(Caught<LoginFuture>),
    /// The broker confirms the session.
    Open(Confirm<Result<(), OpenError>>),
    /// A handler is called, once fewer than its limit run concurrently.
    Call(Option<(Call, About)>),
    /// A handler runs.
    Handler(Waiting<Caught<EffectsFuture>, About>),
    /// The broker confirms the effects of a handler. With several messages, copies of them are kept, since those behind
    /// a refused message are published again.
    Effects(Waiting<Publishing, (Vec<Publish>, About)>),
    /// The broker confirms the notice of a refused message; the messages behind that one are published next.
    Notice(Waiting<Publishing, (Vec<Publish>, About)>),
    /// The broker confirms a batch of the client's SENDs.
    Sends(Waiting<Publishing, Receipts>),
    /// The broker confirms the client's ACKs and NACKs: [`Order::settling`](super::order::Order::settling).
    Settle,
    /// The broker confirms its part of a transaction; the handlers' part is next.
    Commit(Waiting<Confirm<Result<Published, CommitError>>, Calls>),
    /// The broker confirms a subscription.
    Subscribe(Waiting<Confirm<Result<Subscribed, SubscribeError>>, Subscribing>),
    /// The broker confirms the end of a subscription; then its receipt is owed.
    Unsubscribe(Waiting<Confirm<()>, Option<ByteString>>),
    /// The client sent DISCONNECT, and concurrent handlers still run.
    Disconnect { receipt: Option<ByteString> },
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
    pub(super) destination: ByteString,
    pub(super) receipt: Option<ByteString>,
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
}

impl Session {
    /// Polls the session's work, and handles the frames behind it when it is done; true if it is.
    pub(super) fn poll_work(&mut self, context: &mut Context<'_>) -> bool {
        let Some(mut work) = self.work.take() else {
            return false;
        };
        if self.poll_to_end(&mut work, context).is_pending() {
            self.work = Some(work);
            return false;
        }
        self.process(context);
        self.publish_batch();
        true
    }

    /// Polls the handlers that run concurrently; true if one of them is done.
    #[cold]
    pub(super) fn poll_concurrent(&mut self, context: &mut Context<'_>) -> bool {
        // None is added while they are polled.
        let mut running = std::mem::take(&mut self.concurrent);
        let before = running.len();
        running.retain_mut(|work| self.poll_to_end(work, context).is_pending());
        let progress = running.len() < before;
        self.concurrent = running;
        progress
    }

    /// Does as much of `work` as can be done now; the rest is the session's work.
    pub(super) fn begin(&mut self, mut work: Work, context: &mut Context<'_>) {
        debug_assert!(
            self.work.is_none(),
            "frames that go on meanwhile have no work"
        );
        if self.poll_to_end(&mut work, context).is_pending() {
            self.work = Some(Box::new(work));
        }
    }

    /// Polls `work`, then what follows it; ready when nothing does.
    pub(super) fn poll_to_end(&mut self, work: &mut Work, context: &mut Context<'_>) -> Poll<()> {
        while let Some(next) = ready!(self.poll_step(work, context)) {
            *work = next;
        }
        Poll::Ready(())
    }

    /// Polls one step of work; ready with what follows it.
    fn poll_step(&mut self, work: &mut Work, context: &mut Context<'_>) -> Poll<Option<Work>> {
        let next = match work {
            Work::Login(login) => {
                let login = ready!(Pin::new(login).poll(context));
                self.logged_in(login)
            }
            Work::Open(confirm) => {
                match ready!(Pin::new(confirm).poll(context)) {
                    Ok(()) => self.connected(),
                    Err(error) => self.refuse("session refused", error.to_string(), None),
                }
                None
            }
            Work::Call(call) => return self.poll_call(call, context),
            Work::Handler(handler) => {
                let (returned, about) = ready!(handler.poll(context));
                let effects = returned.unwrap_or_else(|panic| self.panicked(&about, &panic));
                self.apply(effects, about)
            }
            Work::Effects(effects) => {
                let (answer, (batch, about)) = ready!(effects.poll(context));
                match answer {
                    Ok(_) => self.handled(about),
                    Err(refused) => Some(self.effect_refused(refused, batch, about)),
                }
            }
            Work::Notice(notice) => {
                let (answer, (rest, about)) = ready!(notice.poll(context));
                if let Err(error) = answer {
                    // The rejection is logged already; where the broker takes no notice of it either, that is all.
                    tracing::warn!(stack = %self.shared.name, session = %self.record.id(), %error, "rejection not told");
                }
                self.publish_effects(rest, about)
            }
            Work::Sends(sends) => {
                let Poll::Ready((answer, receipts)) = sends.poll(context) else {
                    // ACKs are settled meanwhile: they may be what the broker needs to make room.
                    let _ = self.poll_settling(context);
                    return Poll::Pending;
                };
                self.sends_confirmed(answer, receipts);
                Some(Work::Settle)
            }
            Work::Settle => {
                ready!(self.poll_settling(context));
                None
            }
            Work::Commit(commit) => {
                let (answer, calls) = ready!(commit.poll(context));
                match answer {
                    Ok(_) => self.call_next(calls),
                    Err(error) => {
                        let message = "transaction not committed";
                        self.refuse(message, error.to_string(), calls.receipt);
                        None
                    }
                }
            }
            Work::Subscribe(subscribe) => {
                let (answer, subscribing) = ready!(subscribe.poll(context));
                match answer {
                    Ok(_) => {
                        self.subscribed(&subscribing);
                        self.receipt(subscribing.receipt);
                    }
                    Err(error) => {
                        self.stomp.drop_subscription(subscribing.slot);
                        let message = "subscription refused";
                        self.refuse(message, error.to_string(), subscribing.receipt);
                    }
                }
                None
            }
            Work::Unsubscribe(unsubscribe) => {
                let ((), receipt) = ready!(unsubscribe.poll(context));
                self.receipt(receipt);
                None
            }
            Work::Disconnect { receipt } => {
                if !self.concurrent.is_empty() {
                    return Poll::Pending;
                }
                let receipt = receipt.take();
                self.receipt(receipt);
                self.state.end(End::Disconnected);
                None
            }
        };
        Poll::Ready(next)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login(_) => "Login",
            Self::Open(_) => "Open",
            Self::Call(_) => "Call",
            Self::Handler(_) => "Handler",
            Self::Effects(_) => "Effects",
            Self::Notice(_) => "Notice",
            Self::Sends(_) => "Sends",
            Self::Settle => "Settle",
            Self::Commit(_) => "Commit",
            Self::Subscribe(_) => "Subscribe",
            Self::Unsubscribe(_) => "Unsubscribe",
            Self::Disconnect { .. } => "Disconnect",
        })
    }
}
