//! The test kit's subscription.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use bytestring::ByteString;
use serde::de::DeserializeOwned;
use tramline_stomp::{AckMode, Headers};

use super::link::{At, Conversation, Link};
use super::message::TestMessage;

/// A test client's subscribe options: given to the closure of
/// [`TestClient::subscribe_with`](super::TestClient::subscribe_with).
#[derive(Debug, Default)]
#[must_use]
pub struct TestSubscribe {
    pub(super) ack: AckMode,
    pub(super) headers: Headers,
}

impl TestSubscribe {
    /// Sets the acknowledgement mode. Default [`AckMode::Auto`].
    pub fn ack(mut self, ack: AckMode) -> Self {
        self.ack = ack;
        self
    }

    /// Adds a header of SUBSCRIBE, such as `prefetch-count`.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }
}

/// An active subscription of a client: from [`TestClient::subscribe`](super::TestClient::subscribe).
///
/// Dropping it does not unsubscribe, and messages are then discarded; [`unsubscribe`](Self::unsubscribe) does.
///
/// Each wait fails the test, with the transcript of the conversation, when the session ends meanwhile or the deadline
/// passes.
#[must_use = "messages are read from it"]
pub struct TestSubscription {
    pub(super) link: Arc<Link>,
    pub(super) id: ByteString,
    pub(super) destination: String,
}

impl TestSubscription {
    /// The destination or pattern, as it was asked for.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The next message. Dropping the future loses none.
    #[track_caller]
    #[expect(
        clippy::should_implement_trait,
        reason = "it is awaited, so that nobody takes it for an iterator's"
    )]
    pub fn next(&mut self) -> impl Future<Output = TestMessage> {
        self.take(Location::caller())
    }

    /// The next message's body, read as JSON.
    #[track_caller]
    pub fn next_json<T: DeserializeOwned>(&mut self) -> impl Future<Output = T> {
        let at = Location::caller();
        async move {
            let message = self.take(at).await;
            serde_json::from_slice(message.body()).unwrap_or_else(|error| {
                let wanted = std::any::type_name::<T>();
                let why =
                    format!("{message:?} should be JSON of a `{wanted}`, and is not: {error}");
                self.link.inner.panic(at, &why)
            })
        }
    }

    /// The next message's body, as text.
    #[track_caller]
    pub fn next_text(&mut self) -> impl Future<Output = String> {
        let at = Location::caller();
        async move {
            let message = self.take(at).await;
            let text = String::from_utf8(message.body().to_vec());
            text.unwrap_or_else(|error| {
                let why = format!("{message:?} should be text, and is not: {error}");
                self.link.inner.panic(at, &why)
            })
        }
    }

    /// Fails unless there is no message: none that has come, and none on the way.
    ///
    /// It makes round trips to the server instead of waiting for a while. So it is certain that nothing follows from
    /// earlier calls: a [`send`](super::TestClient::send) of any client that has returned, a
    /// [`Publisher`](crate::Publisher) that has answered. It cannot know of messages that tasks of the application may
    /// yet send.
    ///
    /// The round trips are BEGIN and ABORT frames: the session must have room for a
    /// [transaction](crate::Limits::transactions), and interceptors see them.
    #[track_caller]
    pub fn expect_nothing(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let Self { link, id, .. } = self;
            let has_come = |conversation: &Conversation| {
                let queue = conversation.subscriptions.get(id);
                queue.and_then(|queue| queue.front()).cloned()
            };
            let what = format!("expecting nothing at {:?}", self.destination);
            let settled = link
                .inner
                .settle(at, &what, |conversation| has_come(conversation).is_some());
            let settled = settled.await;
            if let Some(message) = link.inner.with(|conversation| has_come(conversation)) {
                let subscribed = &self.destination;
                let why =
                    format!("nothing was expected at {subscribed:?}, and there is {message:?}");
                link.inner.panic(at, &why);
            }
            link.inner.must_be_done(at, &what, settled);
        }
    }

    /// Acknowledges a message; in [`AckMode::Client`] those before it too. Waits until the server has confirmed it.
    #[track_caller]
    pub fn ack(&self, message: &TestMessage) -> impl Future<Output = ()> {
        self.acknowledge(Location::caller(), message, true)
    }

    /// Rejects a message by NACK. Waits until the server has confirmed it.
    #[track_caller]
    pub fn nack(&self, message: &TestMessage) -> impl Future<Output = ()> {
        self.acknowledge(Location::caller(), message, false)
    }

    /// Ends the subscription, and waits until the server has confirmed it.
    #[track_caller]
    pub fn unsubscribe(self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let what = format!("UNSUBSCRIBE from {:?}", self.destination);
            let confirmed = self.link.inner.confirmed(at, &what, |stomp, receipt| {
                stomp.unsubscribe(&self.id, Some(receipt));
                Ok(())
            });
            let confirmed = confirmed.await;
            self.link.inner.must_be_done(at, &what, confirmed);
        }
    }

    async fn take(&mut self, at: At) -> TestMessage {
        let Self { link, id, .. } = self;
        let what = format!("a message at {:?}", self.destination);
        let next = link.inner.until(at, &what, |conversation| {
            conversation.subscriptions.get_mut(id)?.pop_front()
        });
        let next = next.await;
        link.inner.must_be_done(at, &what, next)
    }

    async fn acknowledge(&self, at: At, message: &TestMessage, done: bool) {
        let frame = if done { "ACK" } else { "NACK" };
        let what = format!("{frame} of {message:?}");
        let inner = &self.link.inner;
        let confirmed = inner.confirmed(at, &what, |stomp, receipt| {
            if done {
                stomp.ack(&message.0, Headers::new(), Some(receipt))
            } else {
                stomp.nack(&message.0, Headers::new(), Some(receipt))
            }
        });
        let confirmed = confirmed.await;
        inner.must_be_done(at, &what, confirmed);
    }
}

impl Drop for TestSubscription {
    fn drop(&mut self) {
        self.link
            .inner
            .with(|conversation| conversation.subscriptions.remove(&self.id));
    }
}

impl fmt::Debug for TestSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSubscription")
            .field("id", &self.id)
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}
