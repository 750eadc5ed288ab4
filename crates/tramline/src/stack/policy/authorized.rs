//! Permissions, each bound to what it permits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::audit::Audit;
use super::decision::{Action, Decision, Failure, OwnAction};
use super::kept::Place;
use super::rule::CheckFuture;
use crate::model::inbound::{Inbound, SessionRecord};
use crate::model::panics::Caught;

/// Something that a client wants, for [`Policy::authorize`](super::Policy::authorize).
///
/// What is asked, for whom, and what is permitted all come from one value, so that no permission is for anything else than
/// what was asked.
pub(crate) trait Intent {
    /// What the client gets when it may.
    type Permitted;

    /// The question for the rules.
    fn action(&self) -> Action<'_>;

    /// The session that asks, whose user is judged.
    fn session(&self) -> &Arc<SessionRecord>;

    /// The frame as a check's extractors see it. Called only where a check decides.
    fn frame(&self) -> Inbound;

    /// Makes what is permitted.
    fn into_permitted(self) -> Self::Permitted;
}

/// Something a client wants that its policy permits.
///
/// Only this module makes one, of an [`Intent`]; what reaches handlers and the broker for clients takes nothing else. It
/// cannot be changed: whoever takes the value out gives up the permission.
#[derive(Debug)]
pub(crate) struct Authorized<P>(P);

impl<P> Authorized<P> {
    pub(super) fn new(intent: impl Intent<Permitted = P>) -> Self {
        Self(intent.into_permitted())
    }

    pub(crate) fn into_inner(self) -> P {
        self.0
    }

    pub(crate) fn get(&self) -> &P {
        &self.0
    }
}

impl<P, E> Authorized<Result<P, E>> {
    /// The authorized value, or why there is none.
    pub(crate) fn transpose(self) -> Result<Authorized<P>, E> {
        self.0.map(Authorized)
    }
}

/// What a policy answers to an [`Intent`].
#[derive(Debug)]
#[must_use = "nothing is permitted yet"]
pub(crate) enum Answer<P> {
    /// The rule decided.
    Now(Result<Authorized<P>, Decision>),
    /// The rule is a check.
    Later(Asked<P>),
}

/// A check that runs: it gives the permission, or the reason why there is none.
pub(crate) struct Asked<P> {
    check: Caught<CheckFuture>,
    /// What the check decides about, and the decision so far: given away with the answer.
    waiting: Option<(P, Decision)>,
    /// Boxed: few policies have either.
    then: Option<Box<Then>>,
}

/// What is done with the answer of a check.
#[derive(Default)]
pub(super) struct Then {
    pub(super) keep: Option<(Place, Duration)>,
    pub(super) audit: Option<Auditing>,
}

/// A decision that a listener waits for.
pub(super) struct Auditing {
    pub(super) audit: Audit,
    pub(super) session: Arc<SessionRecord>,
    pub(super) action: OwnAction,
}

impl<P> Asked<P> {
    pub(super) fn new(
        check: CheckFuture,
        intent: impl Intent<Permitted = P>,
        decision: Decision,
        then: Then,
    ) -> Self {
        let is_used = then.keep.is_some() || then.audit.is_some();
        Self {
            check: Caught(check),
            waiting: Some((intent.into_permitted(), decision)),
            then: is_used.then(|| Box::new(then)),
        }
    }

    /// The answer of the check; its refusal if it has none although its time is over.
    pub(crate) fn poll_within(
        &mut self,
        context: &mut Context<'_>,
        is_late: bool,
    ) -> Poll<Result<Authorized<P>, Decision>> {
        match self.poll(context) {
            Poll::Pending if is_late => self.give_up(),
            answer => answer,
        }
    }

    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Authorized<P>, Decision>> {
        let answer = ready!(Pin::new(&mut self.check).poll(context));
        // Pending if it has answered before.
        let Some((permitted, decision)) = self.waiting.take() else {
            return Poll::Pending;
        };
        let is_permitted = answer.as_ref().ok().and_then(|answer| answer.as_ref().ok());
        self.keep(is_permitted.copied());
        let decision = match answer {
            Ok(Ok(is_permitted)) => decision.answered(is_permitted),
            Ok(Err(failure)) => decision.failed(failure),
            Err(panic) => decision.failed(Failure::of_panic(&panic)),
        };
        self.audit(&decision);
        Poll::Ready(match decision.is_permitted() {
            true => Ok(Authorized(permitted)),
            false => Err(decision),
        })
    }

    /// The refusal of a check that takes too long.
    fn give_up(&mut self) -> Poll<Result<Authorized<P>, Decision>> {
        match self.waiting.take() {
            Some((_, decision)) => {
                let decision = decision.failed(Failure::TimedOut);
                self.audit(&decision);
                Poll::Ready(Err(decision))
            }
            None => Poll::Pending,
        }
    }

    fn keep(&mut self, answer: Option<bool>) {
        let keep = self.then.as_mut().and_then(|then| then.keep.take());
        if let (Some((place, time)), Some(is_permitted)) = (keep, answer) {
            place.keep(is_permitted, time);
        }
    }

    fn audit(&self, decision: &Decision) {
        let auditing = self.then.as_ref().and_then(|then| then.audit.as_ref());
        if let Some(Auditing {
            audit,
            session,
            action,
        }) = auditing
        {
            audit.decided(action.as_action(), session, decision);
        }
    }
}

impl<P> std::fmt::Debug for Asked<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}
