//! Frames whose permission a check of the policy decides about.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::StompSession;
use super::pending::{Check, Work};
use crate::model::log::log_client;
use crate::net::wheel::after;
use crate::stack::policy::{Answer, Asked, Authorized, Decision, Failure};

/// A running check, and what the session does with its answer.
struct Checking<P, F> {
    asked: Asked<P>,
    /// Of CONNECT, the login has one.
    deadline: Option<Instant>,
    then: Option<F>,
}

impl StompSession {
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
