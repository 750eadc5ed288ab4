//! The deadlines of an engine's answers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::confirm::Confirm;
use crate::confirm::Unanswered;
use crate::sync::Mutex;
use crate::timestamp::Timestamp;

/// The pending answers.
#[derive(Default)]
pub(super) struct Deadlines(Mutex<Vec<Owed>>);

struct Owed {
    until: Until,
    time_out: Weak<Mutex<TimeOut>>,
}

/// The end of a wait.
#[derive(Clone, Copy)]
pub(super) enum Until {
    /// When `time` has passed, by the steady clock, `since` the request: 0 if the hub had not received the time yet.
    Elapsed { since: Timestamp, time: Duration },
    /// At this time of the callers' clock.
    At(Timestamp),
}

impl Until {
    fn has_come(&mut self, now: Timestamp, steady: Timestamp) -> bool {
        match self {
            Self::Elapsed { since, time } => {
                if *since == Timestamp::default() {
                    *since = steady;
                }
                *since + *time <= steady
            }
            Self::At(deadline) => *deadline <= now,
        }
    }
}

/// The flag that an answer timed out, and the task that waits for it.
#[derive(Default)]
struct TimeOut {
    has_come: bool,
    waker: Option<Waker>,
}

impl Deadlines {
    /// Returns the answer of `confirm`, or "unanswered" once `until` has come.
    pub(super) fn watch<T: Unanswered + Send + 'static>(
        &self,
        confirm: Confirm<T>,
        until: Until,
    ) -> Confirm<T> {
        let mut confirm = match confirm.into_ready() {
            Ok(answer) => return Confirm::ready(answer),
            Err(confirm) => confirm,
        };
        let time_out = Arc::new(Mutex::new(TimeOut::default()));
        let owed = Owed {
            until,
            time_out: Arc::downgrade(&time_out),
        };
        self.0.lock().push(owed);
        Confirm::later(std::future::poll_fn(move |context| {
            if let Poll::Ready(answer) = Pin::new(&mut confirm).poll(context) {
                return Poll::Ready(answer);
            }
            let mut time_out = time_out.lock();
            if time_out.has_come {
                return Poll::Ready(T::unanswered());
            }
            time_out.waker = Some(context.waker().clone());
            Poll::Pending
        }))
    }

    /// Times out the overdue answers, and wakes the tasks that wait for them.
    pub(super) fn pass(&self, now: Timestamp, steady: Timestamp) {
        let mut overdue = Vec::new();
        self.0.lock().retain_mut(|owed| {
            if owed.until.has_come(now, steady) {
                overdue.extend(owed.time_out.upgrade());
                return false;
            }
            // Drops those that were answered, or that no task waits for.
            owed.time_out.strong_count() > 0
        });
        for time_out in overdue {
            let mut time_out = time_out.lock();
            time_out.has_come = true;
            if let Some(waker) = time_out.waker.take() {
                drop(time_out);
                waker.wake();
            }
        }
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers owed", self.0.lock().len())
    }
}
