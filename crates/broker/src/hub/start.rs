//! The engine's start: once, before its first use.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

use super::Hub;
use crate::confirm::Confirm;
use crate::errors::StartError;
use crate::sync::Mutex;

/// The engine's start.
#[derive(Default)]
pub(super) struct Start {
    /// The first use started it, and no caller receives the answer.
    at_first_use: bool,
    pending: Option<Confirm<Result<(), StartError>>>,
    answer: Option<Result<(), StartError>>,
}

/// The tasks that wait for an answer which they share.
#[derive(Default)]
pub(super) struct Awaiting(Mutex<Vec<Waker>>);

impl Awaiting {
    fn add(&self, waker: &Waker) {
        let mut waiting = self.0.lock();
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }
}

impl Wake for Awaiting {
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *self.0.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Hub {
    pub(super) fn is_started(&self) -> bool {
        self.0.started.load(Ordering::Acquire)
    }

    /// Starts the engine unless it has started; returns false if it was stopped.
    pub(super) fn ensure_started(&self) -> bool {
        if self.0.stopped.load(Ordering::Acquire) {
            return false;
        }
        if !self.is_started() {
            self.start_at_first_use();
        }
        true
    }

    #[cold]
    pub(super) fn start_at_first_use(&self) {
        self.begin_start(true);
        self.check_start();
    }

    /// Calls the engine's start, once; `at_first_use` if no caller receives the answer.
    pub(super) fn begin_start(&self, at_first_use: bool) {
        // Requests of other threads wait for it; those that the engine makes inside `start` do not.
        let _turn = self.0.start_turn.lock();
        if self.0.start_begun.swap(true, Ordering::AcqRel) {
            return;
        }
        let started = self.broker().start(Arc::clone(self.local()));
        self.0.started.store(true, Ordering::Release);
        let mut start = self.0.start.lock();
        start.at_first_use = at_first_use;
        start.pending = Some(self.in_time(started));
    }

    /// Returns the answer to the start; a failure at first use is reported to the observer.
    pub(super) fn poll_start(&self, context: &mut Context<'_>) -> Poll<Result<(), StartError>> {
        let awaiting = &self.0.awaiting_start;
        awaiting.add(context.waker());
        let mut start = self.0.start.lock();
        if let Some(answer) = &start.answer {
            return Poll::Ready(answer.clone());
        }
        let Some(pending) = &mut start.pending else {
            return Poll::Pending;
        };
        let waker = Waker::from(Arc::clone(awaiting));
        let polled = std::pin::Pin::new(pending).poll(&mut Context::from_waker(&waker));
        let Poll::Ready(answer) = polled else {
            return Poll::Pending;
        };
        start.pending = None;
        start.answer = Some(answer.clone());
        let at_first_use = start.at_first_use;
        drop(start);
        waker.wake();
        if let (true, Err(error)) = (at_first_use, &answer) {
            self.local().start_failed(error);
        }
        Poll::Ready(answer)
    }

    /// Takes the answer to the start if it is there, for callers that do not wait for it.
    pub(super) fn check_start(&self) {
        let _ = self.poll_start(&mut Context::from_waker(Waker::noop()));
    }
}
