use bytes::Bytes;
use bytestring::ByteString;
use tramline_stomp::Headers;

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
#[derive(Clone, PartialEq, Eq, Debug)]
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

    /// The cost of the message in an inbox, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.body.len() + self.headers.encoded_len_hint() + OVERHEAD
    }
}

impl From<tramline_stomp::Message> for Message {
    fn from(message: tramline_stomp::Message) -> Self {
        Self {
            destination: message.destination,
            headers: message.headers,
            body: message.body,
            message_id: message.message_id,
            subscription: message.subscription,
        }
    }
}

fn invalid(expected: &'static str, error: &dyn std::error::Error) -> Error {
    let reason = error.to_string();
    Error::InvalidBody { expected, reason }
}

/// The approximate memory of an empty message in a queue, so that empty ones are not free.
const OVERHEAD: usize = 256;
