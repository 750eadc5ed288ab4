//! Work that a session finishes before it handles the next frame.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::StompSession;
use super::end::End;
use super::pending::{Waiting, Work};
use super::refusals::Refusal;
use super::turn;
use crate::model::log::log_client;

impl StompSession {
    /// Polls all that runs; true if any of it is done.
    #[inline]
    pub(super) fn poll_running(&mut self, context: &mut Context<'_>) -> bool {
        let one = !self.concurrent.is_empty() && self.poll_concurrent(context);
        let other = self.work.is_some() && self.poll_work(context);
        one || other
    }

    /// Polls the session's work, and handles the frames behind it when it is done; true if it is.
    fn poll_work(&mut self, context: &mut Context<'_>) -> bool {
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
    fn poll_concurrent(&mut self, context: &mut Context<'_>) -> bool {
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
                let (login, frame) = ready!(login.poll(context));
                self.logged_in(login, &frame)
            }
            Work::Check(check) => ready!(check.poll(self, context)),
            Work::Open(confirm) => {
                match ready!(Pin::new(confirm).poll(context)) {
                    Ok(()) => self.connected(),
                    Err(error) => self.refuse("session refused", error.to_string(), None),
                }
                None
            }
            Work::Call(call) => return self.poll_call(call, context),
            Work::Handler(handler, deadline) => {
                let is_gone = self.state.is_gone();
                if let Some(about) =
                    handler.give_up_if(|about| is_gone && about.cancel_on_disconnect)
                {
                    self.handled(about)
                } else if let Poll::Ready((returned, about)) = handler.poll(context) {
                    let effects = returned.unwrap_or_else(|panic| self.panicked(&about, &panic));
                    self.apply(effects, about)
                } else {
                    let is_late = *deadline <= self.stack.wheel.now();
                    let Some(about) = handler.give_up_if(|_| is_late) else {
                        return Poll::Pending;
                    };
                    self.apply(self.timed_out(), about)
                }
            }
            Work::Effects(effects) => {
                let (answer, about) = ready!(effects.poll(context));
                match answer {
                    Ok(published) => {
                        turn::published(&published);
                        self.handled(about)
                    }
                    Err(refused) => Some(self.effect_refused(refused, about)),
                }
            }
            Work::Notice(notice) => {
                let (answer, (rest, about)) = ready!(notice.poll(context));
                if let Err(error) = answer {
                    // The rejection is logged already; where the broker takes no notice of it either, that is all.
                    log_client!(
                        WARN if self.may_log(),
                        { stack = %self.stack.name, session = %self.record.id() },
                        "rejection not told",
                        error
                    );
                }
                self.publish_effects(rest, about)
            }
            Work::Sends(sends) => {
                let Poll::Ready((answer, receipts)) = sends.poll(context) else {
                    // ACKs are settled meanwhile: they may be what the broker needs to make room.
                    let _ = self.poll_settling(context);
                    return Poll::Pending;
                };
                let refused = self.sends_confirmed(answer, receipts);
                Some(refused.unwrap_or(Work::Settle))
            }
            Work::RestOfSends(rest) => {
                let (notice, rest, receipts) = &mut **rest;
                ready!(self.poll_to_end(notice, context));
                let (rest, receipts) = (std::mem::take(rest), std::mem::take(receipts));
                if rest.is_empty() {
                    Some(Work::Settle)
                } else {
                    let confirm = self.stack.hub.publish(&self.member, rest);
                    Some(Work::Sends(Waiting::new(confirm, receipts)))
                }
            }
            Work::Settle => {
                ready!(self.poll_settling(context));
                None
            }
            Work::Commit(commit) => {
                let (answer, calls) = ready!(commit.poll(context));
                match answer {
                    Ok(published) => {
                        turn::published(&published);
                        self.call_next(calls)
                    }
                    Err(error) => self.not_committed(&error, calls.receipt),
                }
            }
            Work::Subscribe(subscribe) => {
                let (answer, subscribing) = ready!(subscribe.poll(context));
                match answer {
                    Ok(subscribed) => {
                        self.subscribed(&subscribing);
                        self.tell_start(&subscribed, subscribing);
                        None
                    }
                    Err(error) => self.not_subscribed(Refusal::from(&error), subscribing),
                }
            }
            Work::Unsubscribe(unsubscribe) => {
                let (answer, receipt) = ready!(unsubscribe.poll(context));
                match (answer, receipt) {
                    (Ok(()), receipt) => self.receipt(receipt),
                    // A client that does not ask needs no answer: nothing is delivered to it any more.
                    (Err(error), None) => {
                        log_client!(
                            WARN if self.may_log(),
                            { stack = %self.stack.name, session = %self.record.id() },
                            "subscription not ended",
                            error
                        );
                    }
                    (Err(error), receipt) => {
                        self.refuse("subscription not ended", error.to_string(), receipt);
                    }
                }
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
