use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use tokio::sync::watch;

use crate::BoxFuture;
use crate::error::Error;

/// The state of a client's connection: from [`Client::states`](crate::Client::states).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// The session is open.
    Connected,
    /// The connection was lost, and the client [connects again](crate::Connect::reconnect).
    Reconnecting {
        /// The number of the next attempt; the first is 1.
        attempt: u32,
        /// The time until the attempt.
        after: Duration,
        /// Why the connection was lost, or why the last attempt failed.
        error: Error,
    },
    /// The client has ended, for this reason. No state follows.
    Ended(Error),
}

/// The states of a client's connection, as a [`Stream`]: first the present one, then every change. A reader that is slower
/// than the changes misses those in between, never the last. It does not keep the connection open.
///
/// # Example: a line for the log
///
/// ```no_run
/// # async fn example(client: tramline_client::Client) {
/// use tramline_client::State;
///
/// let mut states = client.states();
/// while let Some(state) = states.next().await {
///     if let State::Reconnecting { attempt, after, error } = state {
///         println!("attempt {attempt} in {after:?}: {error}");
///     }
/// }
/// # }
/// ```
pub struct States {
    next: Next,
    ended: bool,
}

/// Waits for a change; gives the receiver back.
type Next = BoxFuture<(watch::Receiver<State>, bool)>;

impl States {
    pub(crate) fn new(mut receiver: watch::Receiver<State>) -> Self {
        receiver.mark_changed();
        Self {
            next: changed(receiver),
            ended: false,
        }
    }

    /// Returns the next state; after [`State::Ended`], `None`.
    ///
    /// Cancel-safe: no state is lost when the future is dropped. It waits as long as the state stays.
    pub async fn next(&mut self) -> Option<State> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for States {
    type Item = State;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<State>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let (mut receiver, changed_again) = ready!(self.next.as_mut().poll(context));
        if !changed_again {
            self.ended = true;
            return Poll::Ready(None);
        }
        let state = receiver.borrow_and_update().clone();
        self.ended = matches!(state, State::Ended(_));
        self.next = changed(receiver);
        Poll::Ready(Some(state))
    }
}

impl std::fmt::Debug for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}

fn changed(mut receiver: watch::Receiver<State>) -> Next {
    Box::pin(async move {
        let changed = receiver.changed().await.is_ok();
        (receiver, changed)
    })
}
