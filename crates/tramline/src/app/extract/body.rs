//! Extractors that take the body.

use std::convert::Infallible;
use std::ops::Deref;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FromMessage, OptionalFromMessage};
use crate::model::effects::Effects;
use crate::model::inbound::Inbound;
use crate::model::rejection::{Rejection, RejectionKind};
use crate::model::reply::{IntoReply, Payload};

/// The body as JSON; as a reply, a body in JSON.
///
/// It ignores the `content-type` header, since `stompjs` sends none; [`Encoded`](crate::extract::Encoded) obeys it. A
/// body that does not fit is [rejected](Rejection) with the place and the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Json<T>(pub T);

/// The body as text; as a reply, a text.
///
/// `String` is an extractor of the same kind. A body that is not UTF-8 is [rejected](Rejection).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Text(pub String);

impl<S: Sync, T: DeserializeOwned> FromMessage<S> for Json<T> {
    type Rejection = Rejection;

    async fn from_message(message: Inbound, _: &S) -> Result<Self, Rejection> {
        let parsed = serde_json::from_slice(&message.body);
        parsed.map(Json).map_err(|error| {
            let mark = match message.body.starts_with(BYTE_ORDER_MARK) {
                true => "it begins with a byte order mark (EF BB BF), which JSON has not; ",
                false => "",
            };
            Rejection::bad_message(format!(
                "the body is not the JSON this destination takes: {mark}{error}"
            ))
        })
    }
}

/// What some editors put in front of a text, where nobody sees it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl<S: Sync, T: DeserializeOwned> OptionalFromMessage<S> for Json<T> {
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

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<S: Sync> FromMessage<S> for Text {
    type Rejection = Rejection;

    async fn from_message(message: Inbound, _: &S) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(&message.body);
        text.map(|text| Self(text.to_owned())).map_err(|error| {
            Rejection::bad_message(format!("the body is not text in UTF-8: {error}"))
        })
    }
}

impl<S: Sync> FromMessage<S> for String {
    type Rejection = Rejection;

    async fn from_message(message: Inbound, state: &S) -> Result<Self, Rejection> {
        Text::from_message(message, state)
            .await
            .map(|Text(text)| text)
    }
}

impl<S: Sync> FromMessage<S> for Bytes {
    type Rejection = Infallible;

    async fn from_message(message: Inbound, _: &S) -> Result<Self, Infallible> {
        Ok(message.body)
    }
}

impl<T: Serialize + Send> IntoReply for Json<T> {
    fn into_reply(self, effects: &mut Effects) -> Option<Payload> {
        match serde_json::to_vec(&self.0) {
            Ok(body) => Some(Payload::new("application/json", body)),
            Err(error) => {
                effects.reject(Rejection::new(RejectionKind::BadReply, error));
                None
            }
        }
    }
}

impl IntoReply for Text {
    fn into_reply(self, effects: &mut Effects) -> Option<Payload> {
        self.0.into_reply(effects)
    }
}
