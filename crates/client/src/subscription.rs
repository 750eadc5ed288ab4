use std::{
    fmt,
    future::{IntoFuture, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytestring::ByteString;
use futures_core::Stream;
use tokio::sync::oneshot;
use tramline_stomp::Headers;

use crate::error::Error;
use crate::inbox::Overflow;
use crate::message::Message;
use crate::{
    BoxFuture,
    handle::{Command, Handle},
    inbox::Inbox,
};

/// A subscription to make; await it to do so.
///
/// It resolves when the server has confirmed it with a RECEIPT: every message sent after that is received. If it is
/// dropped before, it unsubscribes.
///
/// # Errors
///
/// [`Error::Unsupported`] for a header that this client does not support; the connection goes on. Otherwise the error that
/// ended the connection. A server refuses a subscription with an ERROR frame, which ends the session:
/// [`Error::ServerError`].
///
/// # Example: a subscription that may fall behind
///
/// ```no_run
/// use tramline_client::{Client, Error, Overflow};
///
/// # async fn example(client: Client) -> Result<(), Error> {
/// let mut ticks = client
///     .subscribe("/topic/ticks")
///     .header("selector", "symbol = 'ABC'")
///     .inbox(64 * 1024)
///     .overflow(Overflow::End)
///     .await?;
/// while let Some(tick) = ticks.next().await {
///     match tick {
///         Ok(tick) => println!("{}", tick.text()?),
///         Err(Error::InboxFull { .. }) => println!("too slow"),
///         Err(error) => return Err(error),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is subscribed to until it is awaited"]
#[derive(Debug)]
pub struct Subscribe {
    inbox: usize,
    handle: Arc<Handle>,
    destination: ByteString,
    headers: Headers,
    overflow: Overflow,
    confirmed: bool,
}

impl Subscribe {
    pub(crate) fn new(handle: Arc<Handle>, destination: ByteString) -> Self {
        Self {
            inbox: handle.inbox_limit,
            handle,
            destination,
            headers: Headers::new(),
            overflow: Overflow::default(),
            confirmed: true,
        }
    }

    /// Adds a header. `id`, `destination` and `receipt` have no effect: the first of a name counts, and the client
    /// writes its own before these. An `ack` other than `auto` is [refused](Error::Unsupported): this client sends no
    /// acknowledgements, so the server would stop after as many messages as it gives out at a time.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The maximum of unread messages, in bytes of bodies and headers. Default that of [the
    /// connection](crate::Connect::inbox).
    pub fn inbox(mut self, bytes: usize) -> Self {
        self.inbox = bytes;
        self
    }

    /// Sets the policy for a full inbox. Default [`Overflow::PushBack`].
    pub fn overflow(mut self, policy: Overflow) -> Self {
        self.overflow = policy;
        self
    }

    /// Does not wait for a RECEIPT, for servers that send none: Spring's simple broker does not confirm SUBSCRIBE.
    /// Messages sent shortly afterwards may then be missed.
    pub fn unconfirmed(mut self) -> Self {
        self.confirmed = false;
        self
    }

    async fn subscribe(self) -> Result<Subscription, Error> {
        if let Some(mode) = self.headers.get("ack").filter(|mode| *mode != "auto") {
            let header = format!("ack:{mode}");
            let reason = "this client does not acknowledge messages; leave the header out";
            return Err(Error::Unsupported { header, reason });
        }
        let bytes = self.headers.encoded_len_hint() + self.destination.len();
        let room = self.handle.room(bytes).await?;
        let inbox = Arc::new(Inbox::new(self.inbox, self.overflow));
        let (reply, answer) = oneshot::channel();
        self.handle.submit(Command::Subscribe {
            destination: self.destination.clone(),
            headers: self.headers,
            inbox: inbox.clone(),
            receipt: self.confirmed.then_some(reply),
            room,
        })?;
        // From here on, dropping it unsubscribes.
        let subscription = Subscription {
            handle: self.handle,
            destination: self.destination,
            inbox,
        };
        if self.confirmed {
            subscription.handle.answer(answer).await?;
        }
        Ok(subscription)
    }
}

impl IntoFuture for Subscribe {
    type Output = Result<Subscription, Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.subscribe())
    }
}

/// The messages of a subscription, in the server's order.
///
/// A [`Stream`] that ends with one error, the reason why the connection or the subscription has ended, after all
/// earlier messages. It keeps the connection open, as a [`Client`](crate::Client) does. Dropping it unsubscribes,
/// without waiting for the server.
pub struct Subscription {
    handle: Arc<Handle>,
    destination: ByteString,
    inbox: Arc<Inbox>,
}

impl Subscription {
    /// Returns the next message; after the error that ends the subscription, `None`.
    ///
    /// Cancel-safe: no message is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|context| self.inbox.poll_next(context)).await
    }

    /// The subscribed destination.
    pub fn destination(&self) -> &str {
        &self.destination
    }
}

impl Stream for Subscription {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inbox.poll_next(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inbox.close();
        // If the driver is gone, the subscription has ended too.
        let _ = self.handle.submit(Command::Unsubscribe(self.inbox.clone()));
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}
