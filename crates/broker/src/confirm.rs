//! Answers that may arrive later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::errors::{
    CommitError, OpenError, PublishError, Refused, SettleError, StartError, SubscribeError,
    UnsubscribeError,
};
use crate::request::{Published, Subscribed};
use crate::sync::Mutex;

/// A broker's answer, now or later: a future that costs nothing when the answer is already known.
///
/// # Example: an answer that is known, and one that arrives later
///
/// ```
/// use tramline_broker::{Confirm, Promise, PublishError, Published, Refused};
///
/// assert_eq!(Confirm::ready(7).into_ready().ok(), Some(7));
///
/// let (promise, confirm) = Promise::<Result<Published, Refused>>::new();
/// let confirm = confirm.into_ready().unwrap_err();
/// promise.keep(Ok(Published::default()));
/// assert!(confirm.into_ready().is_ok());
///
/// // A promise that is dropped answers too.
/// let (promise, confirm) = Promise::<Result<Published, Refused>>::new();
/// drop(promise);
/// let refused = confirm.into_ready().unwrap().unwrap_err();
/// assert_eq!(refused.error, PublishError::OutcomeUnknown);
/// ```
#[must_use = "the answer may be an error"]
pub struct Confirm<T>(Answer<T>);

enum Answer<T> {
    Ready(Option<T>),
    Promised(Arc<Mutex<Promised<T>>>),
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Confirm<T> {
    /// Creates an answer that is already known.
    pub fn ready(answer: T) -> Self {
        Self(Answer::Ready(Some(answer)))
    }

    /// Creates an answer that arrives later. The work must progress without this future being polled.
    pub fn later(answer: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Answer::Later(Box::pin(answer)))
    }

    /// Returns the answer if it is known.
    ///
    /// # Errors
    ///
    /// `Err(self)`, to wait for, while it is not.
    pub fn into_ready(mut self) -> Result<T, Self> {
        match &mut self.0 {
            Answer::Ready(answer) => answer.take().ok_or(self),
            Answer::Promised(promised) => {
                let answer = promised.lock().answer.take();
                answer.ok_or(self)
            }
            Answer::Later(_) => Err(self),
        }
    }
}

impl<T: Send + 'static> Confirm<T> {
    /// Maps the answer with `change`, at once if it is known.
    pub(crate) fn then<U>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Confirm<U> {
        match self.into_ready() {
            Ok(answer) => Confirm::ready(change(answer)),
            Err(confirm) => Confirm::later(async move { change(confirm.await) }),
        }
    }
}

/// An answer that stands for "none arrived": the value of a [`Promise`] that was dropped, or not kept in time.
pub trait Unanswered {
    /// The value.
    fn unanswered() -> Self;
}

impl Unanswered for () {
    fn unanswered() -> Self {}
}

impl Unanswered for Result<(), OpenError> {
    fn unanswered() -> Self {
        Err(OpenError::OutcomeUnknown)
    }
}

impl Unanswered for Result<Published, Refused> {
    fn unanswered() -> Self {
        Err(Refused::new(0, PublishError::OutcomeUnknown))
    }
}

impl Unanswered for Result<Published, CommitError> {
    fn unanswered() -> Self {
        Err(PublishError::OutcomeUnknown.into())
    }
}

impl Unanswered for Result<Subscribed, SubscribeError> {
    fn unanswered() -> Self {
        Err(SubscribeError::OutcomeUnknown)
    }
}

impl Unanswered for Result<(), UnsubscribeError> {
    fn unanswered() -> Self {
        Err(UnsubscribeError)
    }
}

impl Unanswered for Result<(), SettleError> {
    fn unanswered() -> Self {
        Err(SettleError::OutcomeUnknown)
    }
}

impl Unanswered for Result<(), StartError> {
    fn unanswered() -> Self {
        Err(StartError::new("it did not answer"))
    }
}

/// The engine's end of a [`Confirm`] whose answer arrives later.
///
/// Dropping it answers that the outcome is [unknown](Unanswered), so no caller waits for ever.
pub struct Promise<T: Unanswered>(Option<Arc<Mutex<Promised<T>>>>);

struct Promised<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

impl<T: Unanswered + Send + 'static> Promise<T> {
    /// Creates a promise and the `Confirm` that it answers.
    pub fn new() -> (Self, Confirm<T>) {
        let promised = Arc::new(Mutex::new(Promised {
            answer: None,
            waker: None,
        }));
        let confirm = Confirm(Answer::Promised(Arc::clone(&promised)));
        (Self(Some(promised)), confirm)
    }

    /// Gives the answer and wakes the waiting task.
    pub fn keep(mut self, answer: T) {
        self.answer(answer);
    }
}

impl<T: Unanswered> Promise<T> {
    fn answer(&mut self, answer: T) {
        let Some(promised) = self.0.take() else {
            return;
        };
        let mut promised = promised.lock();
        promised.answer = Some(answer);
        if let Some(waker) = promised.waker.take() {
            drop(promised);
            waker.wake();
        }
    }
}

impl<T: Unanswered> Drop for Promise<T> {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.answer(T::unanswered());
        }
    }
}

impl<T: Unanswered> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

// No field is structurally pinned: the pending future is boxed.
impl<T> Unpin for Confirm<T> {}

impl<T> Future for Confirm<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Answer::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Answer::Promised(promised) => {
                let mut promised = promised.lock();
                if let Some(answer) = promised.answer.take() {
                    return Poll::Ready(answer);
                }
                promised.waker = Some(context.waker().clone());
                Poll::Pending
            }
            Answer::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

impl<T> fmt::Debug for Confirm<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Answer::Ready(_) => "Confirm::Ready",
            Answer::Promised(_) | Answer::Later(_) => "Confirm::Later",
        })
    }
}
