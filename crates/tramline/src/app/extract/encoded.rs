//! Bodies in the format that their `content-type` names.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FromMessage, OptionalFromMessage};
use crate::model::effects::Effects;
use crate::model::inbound::Inbound;
use crate::model::rejection::{Rejection, RejectionKind};
use crate::model::reply::{IntoReply, Payload};

/// The body in one of the formats `F`, chosen by the header `content-type`; as a reply, a body in the first of them.
///
/// `F` is a [`Format`] or a tuple of them. A body without `content-type` is read by the first. A body of a type that
/// none of them reads is [rejected](Rejection), with the list of supported types. Spring: a list of message converters.
///
/// # Example: JSON, or a format of your own
///
/// ```
/// use serde::Serialize;
/// use serde::de::DeserializeOwned;
/// use tramline::extract::{Encoded, Format, JsonFormat};
///
/// /// One value per line would be a poor format; a real one is `minicbor`, `rmp-serde`, ...
/// struct Lines;
///
/// impl Format for Lines {
///     const MEDIA_TYPE: &'static str = "application/x-lines";
///
///     fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
///         let lines = std::str::from_utf8(body).map_err(|error| error.to_string())?.lines();
///         let lines = serde_json::Value::from_iter(lines);
///         serde_json::from_value(lines).map_err(|error| error.to_string())
///     }
///
///     fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
///         serde_json::to_vec(value).map_err(|error| error.to_string())
///     }
/// }
///
/// type Body<T> = Encoded<T, (JsonFormat, Lines)>;
///
/// async fn add(Encoded(names, ..): Body<Vec<String>>) -> Body<usize> {
///     Encoded::new(names.len())
/// }
/// # let _ = add;
/// ```
pub struct Encoded<T, F = JsonFormat>(
    /// The value.
    pub T,
    /// The formats.
    pub PhantomData<fn() -> F>,
);

impl<T, F> Encoded<T, F> {
    /// A value to be sent in the first format.
    pub fn new(value: T) -> Self {
        Self(value, PhantomData)
    }
}

/// A format of bodies that [`Encoded`] reads and writes.
pub trait Format: 'static {
    /// Its media type in `content-type`, without parameters: `application/cbor`.
    const MEDIA_TYPE: &'static str;

    /// Returns true if it reads bodies of this media type, given without parameters and in lower case. Default: only
    /// its own.
    fn reads(media_type: &str) -> bool {
        media_type == Self::MEDIA_TYPE
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// An invalid body; the client receives the text.
    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String>;

    /// Writes a body.
    ///
    /// # Errors
    ///
    /// A value that cannot be written: the application's fault.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String>;
}

/// JSON: `application/json`, and any type that ends in `+json`.
#[derive(Clone, Copy, Debug)]
pub enum JsonFormat {}

impl Format for JsonFormat {
    const MEDIA_TYPE: &'static str = "application/json";

    fn reads(media_type: &str) -> bool {
        media_type == Self::MEDIA_TYPE || media_type.ends_with("+json")
    }

    fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
        serde_json::to_vec(value).map_err(|error| error.to_string())
    }
}

/// The formats that [`Encoded`] chooses from: a [`Format`], or a tuple of up to four.
pub trait Formats: 'static {
    /// The format of replies.
    type First: Format;

    /// Their media types.
    fn media_types() -> Vec<&'static str>;

    /// Reads a body of the media type; `None` if no format does.
    fn decode<T: DeserializeOwned>(media_type: &str, body: &[u8]) -> Option<Result<T, String>>;
}

impl<F: Format> Formats for F {
    type First = F;

    fn media_types() -> Vec<&'static str> {
        vec![F::MEDIA_TYPE]
    }

    fn decode<T: DeserializeOwned>(media_type: &str, body: &[u8]) -> Option<Result<T, String>> {
        F::reads(media_type).then(|| <F as Format>::decode(body))
    }
}

macro_rules! tuple_of_formats {
    ($first:ident $($rest:ident)*) => {
        impl<$first: Format $(, $rest: Format)*> Formats for ($first, $($rest,)*) {
            type First = $first;

            fn media_types() -> Vec<&'static str> {
                vec![$first::MEDIA_TYPE $(, $rest::MEDIA_TYPE)*]
            }

            fn decode<T: DeserializeOwned>(
                media_type: &str,
                body: &[u8],
            ) -> Option<Result<T, String>> {
                if $first::reads(media_type) {
                    return Some(<$first as Format>::decode(body));
                }
                $(if $rest::reads(media_type) {
                    return Some(<$rest as Format>::decode(body));
                })*
                None
            }
        }
    };
}

tuple_of_formats!(A);
tuple_of_formats!(A B);
tuple_of_formats!(A B C);
tuple_of_formats!(A B C D);

impl<S: Sync, T: DeserializeOwned, F: Formats> FromMessage<S> for Encoded<T, F> {
    type Rejection = Rejection;

    async fn from_message(message: Inbound, _: &S) -> Result<Self, Rejection> {
        let said = message.headers.get("content-type");
        let media_type = said.map(|said| {
            let essence = said.split(';').next().unwrap_or_default();
            essence.trim().to_ascii_lowercase()
        });
        let decoded = match &media_type {
            None => Some(<F::First as Format>::decode(&message.body)),
            Some(media_type) => F::decode(media_type, &message.body),
        };
        match decoded {
            Some(Ok(value)) => Ok(Self::new(value)),
            Some(Err(error)) => {
                let media_type = media_type.as_deref().unwrap_or(F::First::MEDIA_TYPE);
                Err(Rejection::bad_message(format_args!(
                    "the body is not the {media_type} this destination takes: {error}"
                )))
            }
            None => Err(Rejection::new(
                RejectionKind::UnsupportedFormat,
                format_args!(
                    "the header `content-type` is {:?}; this destination takes {}",
                    said.unwrap_or_default(),
                    F::media_types().join(", ")
                ),
            )),
        }
    }
}

impl<S: Sync, T: DeserializeOwned, F: Formats> OptionalFromMessage<S> for Encoded<T, F> {
    type Rejection = Rejection;

    async fn from_message(message: Inbound, state: &S) -> Result<Option<Self>, Rejection> {
        if message.body.is_empty() {
            return Ok(None);
        }
        <Self as FromMessage<S>>::from_message(message, state)
            .await
            .map(Some)
    }
}

impl<T: Serialize + Send, F: Formats> IntoReply for Encoded<T, F> {
    fn into_reply(self, effects: &mut Effects) -> Option<Payload> {
        match F::First::encode(&self.0) {
            Ok(body) => Some(Payload::new(F::First::MEDIA_TYPE, body)),
            Err(error) => {
                effects.reject(Rejection::new(RejectionKind::BadReply, error));
                None
            }
        }
    }
}

impl<T, F> Deref for Encoded<T, F> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone, F> Clone for Encoded<T, F> {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Encoded<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encoded").field(&self.0).finish()
    }
}
