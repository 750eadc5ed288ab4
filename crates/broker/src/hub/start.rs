//! The engine's start, once, before its first use; and its stop, once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

use super::Hub;
use super::deadlines::Until;
use crate::confirm::Confirm;
use crate::errors::StartError;
use crate::sync::Mutex;
use crate::timestamp::Timestamp;

/// An answer of the engine that several tasks wait for.
pub(super) struct SharedAnswer<T> {
    state: Mutex<AnswerState<T>>,
    awaiting: Arc<Awaiting>,
}

enum AnswerState<T> {
    /// The engine was not asked.
    Unasked,
    Pending(Confirm<T>),
    Answered(T),
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

impl<T> Default for SharedAnswer<T> {
    fn default() -> Self {
        Self {
            state: Mutex::new(AnswerState::Unasked),
            awaiting: Arc::default(),
        }
    }
}

impl<T: Clone> SharedAnswer<T> {
    /// Sets the engine's answer.
    fn set(&self, confirm: Confirm<T>) {
        *self.state.lock() = AnswerState::Pending(confirm);
        Arc::clone(&self.awaiting).wake();
    }

    /// Returns the answer, and whether this call is the first to see it; until it is there, `waiting` will be woken.
    fn poll(&self, waiting: Option<&Waker>) -> Poll<(T, bool)> {
        let mut state = self.state.lock();
        if let AnswerState::Answered(answer) = &*state {
            return Poll::Ready((answer.clone(), false));
        }
        if let Some(waker) = waiting {
            self.awaiting.add(waker);
        }
        let AnswerState::Pending(pending) = &mut *state else {
            return Poll::Pending;
        };
        let waker = Waker::from(Arc::clone(&self.awaiting));
        let polled = std::pin::Pin::new(pending).poll(&mut Context::from_waker(&waker));
        let Poll::Ready(answer) = polled else {
            return Poll::Pending;
        };
        *state = AnswerState::Answered(answer.clone());
        drop(state);
        waker.wake();
        Poll::Ready((answer, true))
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

    /// Calls the engine's start, once, unless it was stopped; `at_first_use` if no caller receives the answer.
    pub(super) fn begin_start(&self, at_first_use: bool) {
        // Requests of other threads wait for it; those that the engine makes inside `start` do not.
        let _turn = self.0.start_turn.lock();
        if self.0.start_begun.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.0.stopped.load(Ordering::Acquire) {
            let error = StartError::new("it was stopped before");
            self.0.start.set(Confirm::ready(Err(error)));
            return;
        }
        self.0.at_first_use.store(at_first_use, Ordering::Release);
        let started = self.broker().start(Arc::clone(self.local()));
        self.0.started.store(true, Ordering::Release);
        self.0.start.set(self.in_time(started));
    }

    /// Returns the answer to the start; a failure at first use is reported to the observer.
    pub(super) fn poll_start(&self, waiting: Option<&Waker>) -> Poll<Result<(), StartError>> {
        self.0.start.poll(waiting).map(|(answer, is_first)| {
            let at_first_use = self.0.at_first_use.load(Ordering::Acquire);
            if let (true, true, Err(error)) = (is_first, at_first_use, &answer) {
                self.local().start_failed(error);
            }
            answer
        })
    }

    /// Calls the engine's stop, once, if it was started; returns false if it was not.
    pub(super) fn begin_stop(&self, deadline: Timestamp) -> bool {
        // A start in progress comes first.
        let _turn = self.0.start_turn.lock();
        let before = self.0.stopped.swap(true, Ordering::AcqRel);
        if self.is_started() && !before {
            self.local().set_available(false);
            self.0.stop.set(self.broker().stop(deadline));
        }
        self.is_started()
    }

    /// Waits for the answer to the stop, until `deadline` at most.
    pub(super) fn stopped(&self, deadline: Timestamp) -> Confirm<()> {
        if self.0.stop.poll(None).is_ready() {
            return Confirm::ready(());
        }
        let hub = self.clone();
        let stopped = std::future::poll_fn(move |context| {
            let stopped = hub.0.stop.poll(Some(context.waker()));
            stopped.map(drop)
        });
        let deadlines = &self.0.deadlines;
        deadlines.watch(Confirm::later(stopped), Until::At(deadline))
    }

    /// Takes the answer to the start if it is there, for callers that do not wait for it.
    pub(super) fn check_start(&self) {
        let _ = self.poll_start(None);
    }
}
