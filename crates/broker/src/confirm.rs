//! Answers that may come later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;

/// A broker's answer, now or later: a future that costs nothing when the answer is already there.
///
/// # Example: an answer that is there
///
/// ```
/// use tramline_broker::Confirm;
///
/// assert_eq!(Confirm::ready(7).into_ready().ok(), Some(7));
/// assert!(Confirm::later(async { 7 }).into_ready().is_err());
/// ```
#[must_use = "the answer may be an error"]
pub struct Confirm<T>(Inner<T>);

enum Inner<T> {
    Ready(Option<T>),
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> Confirm<T> {
    /// An answer that is known.
    pub fn ready(answer: T) -> Self {
        Self(Inner::Ready(Some(answer)))
    }

    /// An answer to come. The work must go on without the future being polled.
    pub fn later(answer: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Inner::Later(Box::pin(answer)))
    }

    /// The answer if it is there, else `self` to wait for.
    ///
    /// # Errors
    ///
    /// `Err(self)` when the answer is still to come.
    pub fn into_ready(mut self) -> Result<T, Self> {
        match &mut self.0 {
            Inner::Ready(answer) => answer.take().ok_or(self),
            Inner::Later(_) => Err(self),
        }
    }
}

/// The other end of a [`Confirm`] that was made with it.
pub(crate) struct Promise<T>(Arc<Mutex<Promised<T>>>);

struct Promised<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

impl<T: Send + 'static> Promise<T> {
    /// A promise, and the answer to come. One that is dropped unkept is never answered.
    pub(crate) fn new() -> (Self, Confirm<T>) {
        let promised = Arc::new(Mutex::new(Promised {
            answer: None,
            waker: None,
        }));
        let answer = Arc::clone(&promised);
        let confirm = Confirm::later(std::future::poll_fn(move |context| {
            let mut promised = answer.lock();
            if let Some(answer) = promised.answer.take() {
                return Poll::Ready(answer);
            }
            promised.waker = Some(context.waker().clone());
            Poll::Pending
        }));
        (Self(promised), confirm)
    }

    pub(crate) fn keep(self, answer: T) {
        let mut promised = self.0.lock();
        promised.answer = Some(answer);
        if let Some(waker) = promised.waker.take() {
            drop(promised);
            waker.wake();
        }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

// Nothing inside is pinned in place: the future to come has its own box.
impl<T> Unpin for Confirm<T> {}

impl<T> Future for Confirm<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Inner::Ready(answer) => answer.take().map_or(Poll::Pending, Poll::Ready),
            Inner::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

impl<T> fmt::Debug for Confirm<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Ready(_) => "Confirm::Ready",
            Inner::Later(_) => "Confirm::Later",
        })
    }
}
