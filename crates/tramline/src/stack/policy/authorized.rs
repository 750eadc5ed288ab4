//! Permissions, each bound to what it permits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::decision::{Action, Decision, Failure};
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
}

impl<P> Asked<P> {
    pub(super) fn new(
        check: CheckFuture,
        intent: impl Intent<Permitted = P>,
        decision: Decision,
    ) -> Self {
        Self {
            check: Caught(check),
            waiting: Some((intent.into_permitted(), decision)),
        }
    }

    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Authorized<P>, Decision>> {
        let answer = ready!(Pin::new(&mut self.check).poll(context));
        // Pending if it has answered before.
        let Some((permitted, decision)) = self.waiting.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match answer {
            Ok(Ok(true)) => Ok(Authorized(permitted)),
            Ok(Ok(false)) => Err(decision.denied()),
            Ok(Err(failure)) => Err(decision.failed(failure)),
            Err(panic) => Err(decision.failed(Failure::of_panic(&panic))),
        })
    }

    /// The refusal of a check that takes too long.
    pub(crate) fn give_up(&mut self) -> Poll<Result<Authorized<P>, Decision>> {
        match self.waiting.take() {
            Some((_, decision)) => Poll::Ready(Err(decision.failed(Failure::TimedOut))),
            None => Poll::Pending,
        }
    }
}

impl<P> std::fmt::Debug for Asked<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}
