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
    /// When it was asked for: 0 if the hub had not received the time yet.
    since: Timestamp,
    time: Duration,
    given: Weak<Mutex<Given>>,
}

/// The flag that an answer timed out, and the task that waits for it.
#[derive(Default)]
struct Given {
    up: bool,
    waker: Option<Waker>,
}

impl Deadlines {
    /// Returns the answer of `confirm`, or "unanswered" after `time` has passed.
    pub(super) fn watch<T: Unanswered + Send + 'static>(
        &self,
        confirm: Confirm<T>,
        since: Timestamp,
        time: Duration,
    ) -> Confirm<T> {
        let mut confirm = match confirm.into_ready() {
            Ok(answer) => return Confirm::ready(answer),
            Err(confirm) => confirm,
        };
        let given = Arc::new(Mutex::new(Given::default()));
        let owed = Owed {
            since,
            time,
            given: Arc::downgrade(&given),
        };
        self.0.lock().push(owed);
        Confirm::later(std::future::poll_fn(move |context| {
            if let Poll::Ready(answer) = Pin::new(&mut confirm).poll(context) {
                return Poll::Ready(answer);
            }
            let mut given = given.lock();
            if given.up {
                return Poll::Ready(T::unanswered());
            }
            given.waker = Some(context.waker().clone());
            Poll::Pending
        }))
    }

    /// Times out the overdue answers, and wakes the tasks that wait for them.
    pub(super) fn pass(&self, now: Timestamp) {
        let mut overdue = Vec::new();
        self.0.lock().retain_mut(|owed| {
            if owed.since == Timestamp::default() {
                owed.since = now;
            }
            if owed.since + owed.time <= now {
                overdue.extend(owed.given.upgrade());
                return false;
            }
            // Drops those that were answered, or that no task waits for.
            owed.given.strong_count() > 0
        });
        for given in overdue {
            let mut given = given.lock();
            given.up = true;
            if let Some(waker) = given.waker.take() {
                drop(given);
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
