use std::{
    fmt,
    future::{IntoFuture, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytestring::ByteString;
use futures_core::Stream;
use tokio::sync::oneshot;
use tramline_stomp::{AckMode, Headers};

use crate::BoxFuture;
use crate::error::Error;
use crate::handle::{Command, Handle, Wanted};
use crate::inbox::{Inbox, Overflow, Target};
use crate::message::Message;
use crate::process::{HandlerError, Process};

/// A subscription to make; await it to do so.
///
/// It resolves when the server has confirmed it with a RECEIPT: every message sent after that is received. If it is
/// dropped before, it unsubscribes.
///
/// # Errors
///
/// [`Error::Unsupported`] for options that contradict each other; the connection goes on. Otherwise the error that
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
    ack: AckMode,
    prefetch: Option<u32>,
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
            ack: AckMode::Auto,
            prefetch: None,
            headers: Headers::new(),
            overflow: Overflow::default(),
            confirmed: true,
        }
    }

    /// Sets how messages are acknowledged: by the server itself, the default; by [`Message::ack`], one for all before it
    /// ([`AckMode::Client`]) or each by itself ([`AckMode::ClientIndividual`]). Messages without an acknowledgement return
    /// to their queue when the subscription or its connection ends.
    pub fn ack(mut self, mode: AckMode) -> Self {
        self.ack = mode;
        self
    }

    /// Sets how many messages the server may deliver before the first of them is acknowledged. Default the server's, which
    /// at RabbitMQ has no limit. The header is `prefetch-count`, and `activemq.prefetchSize` at ActiveMQ Classic; Artemis
    /// counts bytes: `.header("consumer-window-size", …)`. Without effect in [`AckMode::Auto`].
    pub fn prefetch(mut self, messages: u32) -> Self {
        self.prefetch = Some(messages);
        self
    }

    /// Adds a header. `id`, `destination` and `receipt` have no effect: the first of a name counts, and the client writes
    /// its own before these. `ack` is [refused](Error::Unsupported): see [`ack`](Self::ack).
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

    /// Reads bodies as JSON of type `T`.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(self) -> crate::json::SubscribeJson<T> {
        crate::json::SubscribeJson::new(self)
    }

    async fn subscribe(mut self) -> Result<Subscription, Error> {
        if let Some(mode) = self.headers.get("ack") {
            let header = format!("ack:{mode}");
            let reason = "choose the mode by `Subscribe::ack`";
            return Err(Error::Unsupported { header, reason });
        }
        if self.overflow == Overflow::DropOldest && self.ack != AckMode::Auto {
            let header = format!("ack:{}", self.ack.as_str());
            let reason =
                "`Overflow::DropOldest` drops messages that would then never be acknowledged";
            return Err(Error::Unsupported { header, reason });
        }
        if let Some(prefetch) = self.prefetch {
            let connected = self.handle.inner.connected();
            let server = connected.server.as_deref().unwrap_or_default();
            let name = match server.starts_with("ActiveMQ/") {
                true => "activemq.prefetchSize",
                false => "prefetch-count",
            };
            self.headers.push(name, prefetch.to_string());
        }
        let inner = self.handle.inner.clone();
        let bytes = self.headers.encoded_len_hint() + self.destination.len();
        let room = inner.room(bytes).await?;
        let inbox = Arc::new(Inbox::new(self.inbox, self.overflow));
        let (reply, answer) = oneshot::channel();
        self.handle.submit(Command::Subscribe {
            wanted: Wanted {
                destination: self.destination.clone(),
                ack: self.ack,
                headers: self.headers,
                confirmed: self.confirmed,
                implicit: false,
            },
            target: Target::Inbox(inbox.clone()),
            receipt: self.confirmed.then_some(reply),
            room,
        })?;
        // From here on, dropping it unsubscribes.
        let subscription = Subscription {
            handle: self.handle,
            destination: self.destination,
            inbox,
            ack: self.ack,
        };
        if self.confirmed {
            inner.answer("the receipt of SUBSCRIBE", answer).await?;
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
    ack: AckMode,
}

impl Subscription {
    /// Returns the next message; after the error that ends the subscription, `None`.
    ///
    /// Cancel-safe: no message is lost when the future is dropped. It waits as long as there is none.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|context| self.inbox.poll_next(context)).await
    }

    /// Gives each message to a handler, and acknowledges it when that has finished. See [`Process`].
    pub fn process<H, F>(self, handler: H) -> Process
    where
        H: Fn(Message) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let handler = Arc::new(move |mut batch: Vec<Message>| match batch.pop() {
            Some(message) => Box::pin(handler(message)) as BoxFuture<_>,
            None => Box::pin(async { Ok(()) }),
        });
        Process::new(self, 1, Duration::ZERO, handler)
    }

    /// Gives messages to a handler by up to `size`, once the first of a batch is `wait` old, and acknowledges all of them
    /// when that has finished: for stores that write many at once. See [`Process`].
    ///
    /// # Example: a hundred rows in one go
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use tramline_client::{Error, Message, Subscription};
    ///
    /// # async fn insert(rows: Vec<Message>) -> std::io::Result<()> { Ok(()) }
    /// # async fn example(orders: Subscription) -> Result<(), Error> {
    /// orders
    ///     .process_batches(100, Duration::from_millis(50), |rows| async move { Ok(insert(rows).await?) })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn process_batches<H, F>(self, size: usize, wait: Duration, handler: H) -> Process
    where
        H: Fn(Vec<Message>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let handler = Arc::new(move |batch| Box::pin(handler(batch)) as BoxFuture<_>);
        Process::new(self, size, wait, handler)
    }

    /// Returns true if an acknowledgement counts for the messages before, too.
    pub(crate) fn is_cumulative(&self) -> bool {
        self.ack == AckMode::Client
    }

    /// How many messages [`Overflow::DropOldest`] has dropped.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }

    /// Unsubscribes, and waits until the server has confirmed it. Unread messages are dropped; in the modes with
    /// acknowledgements they return to their queue, with those that were read and not acknowledged.
    ///
    /// Cancel-safe: if the future is dropped, it unsubscribes nevertheless.
    ///
    /// # Errors
    ///
    /// The error that ended the connection, and with it the subscription.
    pub async fn unsubscribe(self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Unsubscribe(self.inbox.clone(), Some(reply));
        self.inbox.close();
        self.handle.submit(command)?;
        let inner = &self.handle.inner;
        inner.answer("the receipt of UNSUBSCRIBE", answer).await
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
        let command = Command::Unsubscribe(self.inbox.clone(), None);
        let _ = self.handle.submit(command);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}
