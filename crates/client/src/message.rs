use std::{fmt, future::IntoFuture, sync::Arc};

use bytes::Bytes;
use bytestring::ByteString;
use tramline_stomp::{Delivery, Headers};

use crate::BoxFuture;
use crate::error::Error;

/// A message that a subscription received.
///
/// Header values and body are slices of the network input and keep it alive: copy what you keep for long.
///
/// # Example: destination and text of a message
///
/// ```no_run
/// # async fn example(mut prices: tramline_client::Subscription) -> Result<(), tramline_client::Error> {
/// while let Some(message) = prices.next().await {
///     let message = message?;
///     println!("{}: {}", message.destination, message.text()?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// The destination of the message. It differs from the subscribed one if that was a pattern, or a user destination
    /// that the server translated.
    pub destination: ByteString,
    /// All headers, as sent.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// The server's id of the message, unique in this connection.
    pub message_id: ByteString,
    /// The id of the subscription on the wire.
    pub subscription: ByteString,
    /// Present if it can be acknowledged.
    origin: Option<Origin>,
}

/// The connection that delivered a message.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) settler: Arc<dyn Settler>,
    /// The connection's number.
    pub(crate) epoch: u64,
    /// The header `ack`.
    ack: Option<ByteString>,
}

/// The way of acknowledgements to the connection.
pub(crate) trait Settler: Send + Sync {
    /// Acknowledges a message; resolves when the frame is queued, or with `receipt` when it is confirmed.
    fn settle(
        &self,
        settlement: Settlement,
        headers: Headers,
        receipt: bool,
    ) -> BoxFuture<Result<(), Error>>;
}

/// What is said of a message, to the connection that delivered it.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(crate) positive: bool,
    pub(crate) delivery: Delivery,
    /// The connection's number.
    pub(crate) epoch: u64,
}

impl Message {
    /// The body as text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidBody`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body).map_err(|error| invalid("UTF-8 text", &error))
    }

    /// Parses the body as JSON, whatever its `content-type` says.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidBody`] if it is not JSON or does not fit `T`.
    ///
    /// # Example: a price
    ///
    /// ```no_run
    /// # fn example(message: tramline_client::Message) -> Result<(), tramline_client::Error> {
    /// let price: f64 = message.json()?;
    /// assert!(price > 0.0);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| invalid("JSON of this type", &error))
    }

    /// The value of the `content-type` header, if there is one.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get("content-type")
    }

    /// Returns true if the message was delivered before, to this client or another: it may have been processed already.
    pub fn redelivered(&self) -> bool {
        self.headers.get("redelivered") == Some("true")
    }

    /// Acknowledges the message: it is consumed. In [`AckMode::Client`](crate::AckMode::Client) all messages of its
    /// subscription before it are too. Await it to do so.
    ///
    /// # Example: one by one
    ///
    /// ```no_run
    /// use tramline_client::{AckMode, Client, Error};
    ///
    /// # async fn example(client: Client, work: fn(&[u8]) -> bool) -> Result<(), Error> {
    /// let jobs = client.subscribe("/queue/jobs").ack(AckMode::ClientIndividual).prefetch(10);
    /// let mut jobs = jobs.await?;
    /// while let Some(job) = jobs.next().await {
    ///     let job = job?;
    ///     if work(&job.body) {
    ///         job.ack().await?;
    ///     } else {
    ///         job.nack().header("requeue", "false").await?; // RabbitMQ: to the dead letters
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn ack(&self) -> Settle {
        self.settle(true)
    }

    /// Rejects the message: the server delivers it again, to this client or another, or puts it with the dead letters, as
    /// it is configured. Await it to do so.
    pub fn nack(&self) -> Settle {
        self.settle(false)
    }

    fn settle(&self, positive: bool) -> Settle {
        Settle {
            settlement: self.settlement(positive),
            settler: self.origin.as_ref().map(|origin| origin.settler.clone()),
            headers: Headers::new(),
            receipt: false,
        }
    }

    /// Returns true if the server waits for its acknowledgement.
    pub fn needs_ack(&self) -> bool {
        self.origin.is_some()
    }

    pub(crate) fn settlement(&self, positive: bool) -> Result<Settlement, Error> {
        let origin = self
            .origin
            .as_ref()
            .ok_or_else(|| Error::NotAcknowledgeable {
                reason: "its subscription is `ack:auto`; choose another mode by `Subscribe::ack`"
                    .into(),
            })?;
        Ok(Settlement {
            positive,
            delivery: Delivery::new(
                self.subscription.clone(),
                self.message_id.clone(),
                origin.ack.clone(),
            ),
            epoch: origin.epoch,
        })
    }

    /// The headers that belong to the message, and not to its delivery.
    pub(crate) fn headers_to_forward(&self) -> Headers {
        let mut headers = self.headers.clone();
        headers.retain(|name, _| !OF_DELIVERY.contains(&name));
        headers
    }

    /// The cost of the message in an inbox, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.body.len() + self.headers.encoded_len_hint() + OVERHEAD
    }

    /// A message as it was received; `origin` is the way of its acknowledgement, if it needs one.
    pub(crate) fn new(
        message: tramline_stomp::Message,
        origin: Option<(Arc<dyn Settler>, u64)>,
    ) -> Self {
        Self {
            origin: origin.map(|(settler, epoch)| Origin {
                settler,
                epoch,
                ack: message.ack,
            }),
            destination: message.destination,
            headers: message.headers,
            body: message.body,
            message_id: message.message_id,
            subscription: message.subscription,
        }
    }
}

impl PartialEq for Message {
    /// Compares what was received.
    fn eq(&self, other: &Self) -> bool {
        self.headers == other.headers && self.body == other.body
    }
}

impl Eq for Message {}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// An acknowledgement to send: from [`Message::ack`] and [`Message::nack`]; await it to do so.
///
/// It resolves when the frame is queued, after waiting for room in [the queue](crate::Connect::send_queue) if necessary.
/// If the connection breaks then, the server delivers the message again. It does not keep the connection open.
///
/// Cancel-safe: if it is dropped after its first poll, the message may be acknowledged nevertheless.
///
/// # Errors
///
/// [`Error::NotAcknowledgeable`] if the message needs no acknowledgement, or came over an earlier connection, whose end gave
/// it back; the connection goes on. The error that ended the connection. [`Error::Timeout`] after
/// [`Connect::answer_timeout`](crate::Connect::answer_timeout).
#[must_use = "nothing is acknowledged until it is awaited"]
pub struct Settle {
    settlement: Result<Settlement, Error>,
    settler: Option<Arc<dyn Settler>>,
    headers: Headers,
    receipt: bool,
}

impl Settle {
    /// Adds a header.
    pub fn header(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Waits until the server confirms the acknowledgement.
    pub fn receipt(mut self) -> Self {
        self.receipt = true;
        self
    }
}

impl IntoFuture for Settle {
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        match (self.settlement, self.settler) {
            (Ok(settlement), Some(settler)) => {
                settler.settle(settlement, self.headers, self.receipt)
            }
            (Ok(_), None) => Box::pin(async { Err(Error::Disconnected) }),
            (Err(error), _) => Box::pin(async { Err(error) }),
        }
    }
}

impl fmt::Debug for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle")
            .field("settlement", &self.settlement)
            .field("headers", &self.headers)
            .field("receipt", &self.receipt)
            .finish_non_exhaustive()
    }
}

fn invalid(expected: &'static str, error: &dyn std::error::Error) -> Error {
    let reason = error.to_string();
    Error::InvalidBody { expected, reason }
}

/// The approximate memory of an empty message in a queue, so that empty ones are not free.
const OVERHEAD: usize = 256;

/// Headers of one delivery. RabbitMQ passes on the sender's `receipt` and `transaction`.
const OF_DELIVERY: &[&str] = &[
    "destination",
    "subscription",
    "message-id",
    "ack",
    "content-length",
    "receipt",
    "transaction",
    "redelivered",
    "delivery-count",
    "position",
];
