//! Subscriptions that are checked again while they live.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytestring::ByteString;
use tramline_broker::{Confirm, Headers, SubscriptionDescription, UnsubscribeError};

use super::StompSession;
use super::pending::{About, Check, Work};
use crate::model::events::Event;
use crate::model::inbound::{Cause, Inbound};
use crate::model::log::log_client;
use crate::net::wheel::after;
use crate::stack::policy::{Answer, Asked, Decision};

/// Checks that run, one after the other: handlers and frames of the session go on meanwhile.
struct Rechecking {
    /// Subscriptions whose turn is to come; `None` until a SUBSCRIBE that is being decided is done.
    left: Option<Vec<SubscriptionDescription>>,
    asked: Option<(Asked<Inbound>, SubscriptionDescription)>,
    deadline: Option<Instant>,
    /// The end of a subscription that the broker confirms.
    ending: Option<Confirm<Result<(), UnsubscribeError>>>,
    /// The notice of a subscription that is denied.
    notice: Option<Work>,
}

impl StompSession {
    /// The rights of the user may have changed: checks all subscriptions, without the answers that are kept.
    pub(super) fn recheck_all(&mut self) {
        self.stack.policy.drop_answers(&self.record);
        self.recheck();
    }

    /// Checks all subscriptions: by answers that are kept, where they are.
    pub(super) fn recheck(&mut self) {
        let rechecks = &mut self.order.rights_or_new().rechecks;
        rechecks.due = None;
        if rechecks.running {
            rechecks.again = true;
            return;
        }
        rechecks.running = true;
        self.concurrent.push(Work::Check(Box::new(Rechecking {
            left: None,
            asked: None,
            deadline: None,
            ending: None,
            notice: None,
        })));
        // So that it is polled.
        self.member.outbox().wake();
    }

    /// A subscription is active: it may have to be checked again.
    pub(super) fn recheck_later(&mut self, destination: &str) {
        let until = self.stack.policy.checked_until(&self.record, destination);
        if let Some(until) = until {
            let rechecks = &mut self.order.rights_or_new().rechecks;
            rechecks.due = Some(rechecks.due.map_or(until, |due| due.min(until)));
        }
    }

    /// Checks are done; returns true if there is another round.
    fn rechecked(&mut self) -> bool {
        let rechecks = &mut self.order.rights_or_new().rechecks;
        if std::mem::take(&mut rechecks.again) {
            return true;
        }
        rechecks.running = false;
        for subscription in self.member.subscriptions(|_, _| true) {
            self.recheck_later(&subscription.destination);
        }
        false
    }
}

impl Rechecking {
    /// Ends a subscription that is denied now.
    fn end(
        &mut self,
        session: &mut StompSession,
        subscription: &SubscriptionDescription,
        decision: &Decision,
    ) {
        let SubscriptionDescription {
            slot,
            id,
            destination,
            ..
        } = subscription;
        if session.member.subscription(*slot).is_none() {
            // The client has ended it meanwhile.
            return;
        }
        self.ending = Some(session.stack.hub.unsubscribe(session.record.id(), *slot));
        session.stomp.drop_subscription(*slot);
        session.tell(|session| Event::Unsubscribed {
            session,
            id: id.clone(),
            destination: destination.clone(),
        });
        let about = About::of(destination.clone(), &Headers::new());
        let what = format!("the subscription {id:?} to");
        self.notice = session.denied(&what, decision, Some(about));
    }

    fn ask(&mut self, session: &mut StompSession, subscription: SubscriptionDescription) {
        let destination: ByteString = subscription.destination.clone();
        let record = Arc::clone(&session.record);
        let inbound = Inbound::new(record, Cause::Subscribe, destination);
        match session.stack.policy.authorize(inbound) {
            Answer::Now(Ok(_)) => {}
            Answer::Now(Err(decision)) => self.end(session, &subscription, &decision),
            Answer::Later(asked) => {
                let limit = session.stack.limits.handler_time;
                self.deadline = Some(after(session.stack.wheel.now(), limit));
                self.asked = Some((asked, subscription));
            }
        }
    }
}

impl Check for Rechecking {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn poll(
        &mut self,
        session: &mut StompSession,
        context: &mut Context<'_>,
    ) -> Poll<Option<Work>> {
        loop {
            if let Some(ending) = &mut self.ending {
                let answer = ready!(Pin::new(ending).poll(context));
                self.ending = None;
                if let Err(error) = answer {
                    log_client!(
                        WARN if session.may_log(),
                        { stack = %session.stack.name, session = %session.record.id() },
                        "subscription not ended",
                        error
                    );
                }
            }
            if let Some(notice) = &mut self.notice {
                ready!(session.poll_to_end(notice, context));
                self.notice = None;
            }
            let is_leaving = matches!(session.work.as_deref(), Some(Work::Disconnect { .. }));
            if is_leaving || !session.state.is_open() || session.record.is_expelled() {
                return Poll::Ready(None);
            }
            if let Some((asked, _)) = &mut self.asked {
                let now = session.stack.wheel.now();
                let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
                let answer = ready!(asked.poll_within(context, is_late));
                self.deadline = None;
                let subscription = self.asked.take().map(|(_, subscription)| subscription);
                if let (Err(decision), Some(subscription)) = (answer, subscription) {
                    self.end(session, &subscription, &decision);
                }
                continue;
            }
            let left = match &mut self.left {
                Some(left) => left,
                // It may be decided by rights of before.
                None if session.is_subscribing() => return Poll::Pending,
                left => left.insert(session.member.subscriptions(|_, _| true)),
            };
            match left.pop() {
                Some(subscription) => self.ask(session, subscription),
                None if session.rechecked() => self.left = None,
                None => return Poll::Ready(None),
            }
        }
    }
}

impl StompSession {
    /// Returns whether a check, or the broker, decides about a SUBSCRIBE.
    fn is_subscribing(&self) -> bool {
        matches!(
            self.work.as_deref(),
            Some(Work::Check(_) | Work::Subscribe(_))
        )
    }
}
