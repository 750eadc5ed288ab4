use std::{
    fmt,
    future::{IntoFuture, poll_fn},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use serde::{Serialize, de::DeserializeOwned};

use crate::BoxFuture;
use crate::error::Error;
use crate::message::Message;
use crate::subscription::{Subscribe, Subscription};

/// A typed subscription to make; await it to do so. From [`Client::subscribe_json`](crate::Client::subscribe_json) and
/// [`Subscribe::json`].
///
/// # Errors
///
/// As [`Subscribe`].
///
/// # Example: prices
///
/// ```no_run
/// # async fn example(client: tramline_client::Client) -> Result<(), tramline_client::Error> {
/// let mut prices = client.subscribe_json::<f64>("/topic/prices").await?;
/// while let Some(price) = prices.next().await {
///     match price?.value {
///         Ok(price) => println!("{price}"),
///         Err(error) => println!("skipped: {error}"), // the stream goes on
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is subscribed to until it is awaited"]
pub struct SubscribeJson<T> {
    subscribe: Subscribe,
    of: PhantomData<fn() -> T>,
}

/// The messages of a subscription with their bodies read as JSON. A [`Stream`] like [`Subscription`].
pub struct JsonSubscription<T> {
    subscription: Subscription,
    of: PhantomData<fn() -> T>,
}

/// A message with its body read as JSON.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Typed<T> {
    /// The message, to acknowledge it.
    pub message: Message,
    /// Its body; or [`Error::InvalidBody`], after which the stream goes on.
    pub value: Result<T, Error>,
}

impl<T> SubscribeJson<T> {
    pub(crate) fn new(subscribe: Subscribe) -> Self {
        Self {
            subscribe,
            of: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> JsonSubscription<T> {
    /// Returns the next message; after the error that ends the subscription, `None`.
    ///
    /// Cancel-safe: no message is lost when the future is dropped. It waits as long as there is none.
    pub async fn next(&mut self) -> Option<Result<Typed<T>, Error>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<T> IntoFuture for SubscribeJson<T> {
    type Output = Result<JsonSubscription<T>, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let subscribe = self.subscribe.into_future();
        Box::pin(async {
            Ok(JsonSubscription {
                subscription: subscribe.await?,
                of: PhantomData,
            })
        })
    }
}

impl<T: DeserializeOwned> Stream for JsonSubscription<T> {
    type Item = Result<Typed<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(Pin::new(&mut self.subscription).poll_next(context));
        Poll::Ready(message.map(|message| {
            message.map(|message| Typed {
                value: message.json(),
                message,
            })
        }))
    }
}

impl<T> fmt::Debug for SubscribeJson<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subscribe.fmt(f)
    }
}

impl<T> fmt::Debug for JsonSubscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subscription.fmt(f)
    }
}

/// Writes a value as a body.
pub(crate) fn body<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::InvalidBody {
        expected: "a value of JSON",
        reason: error.to_string(),
    })
}
