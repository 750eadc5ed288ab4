//! What handlers return, and where it goes.

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use tramline_broker::{Destination, Target};

use crate::effects::Effects;
use crate::extract::{Json, Text};
use crate::rejection::{Rejection, RejectionKind};

/// A body and its media type, ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payload {
    /// The `content-type` header; `None` sends none.
    pub content_type: Option<ByteString>,
    /// The body.
    pub body: Bytes,
}

impl Payload {
    /// A body of the given media type.
    pub fn new(content_type: impl Into<ByteString>, body: impl Into<Bytes>) -> Self {
        Self {
            content_type: Some(content_type.into()),
            body: body.into(),
        }
    }

    /// A body that is sent without a media type.
    pub fn untyped(body: impl Into<Bytes>) -> Self {
        Self {
            content_type: None,
            body: body.into(),
        }
    }
}

/// A type that can be sent, once it is said where to.
///
/// [`Json`], [`Text`], `String` and `&str` (as `text/plain;charset=UTF-8`), [`Bytes`] and `Vec<u8>` (as
/// `application/octet-stream`), [`Payload`]; an `Option`, where `None` sends nothing; a `Result`, whose error
/// [says itself](IntoEffects) where it goes.
///
/// A handler that returns one needs [`send_to`](crate::MessageHandler::send_to).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a message",
    note = "return `Json<T>`, `Text`, `String`, `Bytes`, or an `Option` or `Result` of these"
)]
pub trait IntoReply: Send {
    /// Adds what `self` sends to `targets`.
    fn into_reply(self, targets: &[Target], effects: &mut Effects);
}

/// A type that says itself what is to be done: what a handler may return without
/// [`send_to`](crate::MessageHandler::send_to).
///
/// `()` does nothing; [`To`] sends; tuples do one after the other; an `Option` may do nothing; a `Result` does what its
/// value or its error says; a [`Rejection`] tells the client.
///
/// # Example: an application's error goes to a topic of its own
///
/// ```
/// use tramline::{Effects, IntoEffects, To};
///
/// enum ChatError { Muted }
///
/// impl IntoEffects for ChatError {
///     fn into_effects(self, effects: &mut Effects) {
///         To::topic("/topic/moderation", "somebody muted tried to speak").into_effects(effects);
///     }
/// }
///
/// async fn say() -> Result<To<&'static str>, ChatError> {
///     Err(ChatError::Muted)
/// }
/// # let _ = say;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say where it should be sent",
    label = "the handler returns `{Self}`",
    note = "say it at the route: `message(handler).send_to(\"/topic/...\")`",
    note = "or in the handler: return `To::topic(\"/topic/...\", reply)`"
)]
pub trait IntoEffects: Send {
    /// Adds what is to be done.
    fn into_effects(self, effects: &mut Effects);
}

/// A reply that knows its destination.
///
/// # Example: the destination comes out of the handler
///
/// ```
/// use tramline::{Json, To};
///
/// async fn place(Json(order): Json<u32>) -> To<Json<u32>> {
///     To::topic(format!("/topic/orders/{order}"), Json(order))
/// }
/// # let _ = place;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "return it from a handler"]
pub struct To<R> {
    destination: ByteString,
    reply: R,
}

impl<R> To<R> {
    /// Sends `reply` to everyone who is subscribed to `destination`, `/topic/...`.
    pub fn topic(destination: impl Into<ByteString>, reply: R) -> Self {
        Self {
            destination: destination.into(),
            reply,
        }
    }
}

impl<R: IntoReply> IntoEffects for To<R> {
    fn into_effects(self, effects: &mut Effects) {
        match Destination::parse(self.destination) {
            Ok(destination) => self.reply.into_reply(&[destination.into()], effects),
            Err(error) => effects.reject(error),
        }
    }
}

impl IntoReply for Payload {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        for target in targets {
            effects.publish(target.clone(), self.clone());
        }
    }
}

impl<T: Serialize + Send> IntoReply for Json<T> {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        match serde_json::to_vec(&self.0) {
            Ok(body) => Payload::new("application/json", body).into_reply(targets, effects),
            Err(error) => effects.reject(Rejection::new(RejectionKind::BadReply, error)),
        }
    }
}

impl IntoReply for Text {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        self.0.into_reply(targets, effects);
    }
}

impl IntoReply for String {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        Payload::new("text/plain;charset=UTF-8", self).into_reply(targets, effects);
    }
}

impl IntoReply for &'static str {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        Payload::new("text/plain;charset=UTF-8", self).into_reply(targets, effects);
    }
}

impl IntoReply for Bytes {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        Payload::new("application/octet-stream", self).into_reply(targets, effects);
    }
}

impl IntoReply for Vec<u8> {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        Bytes::from(self).into_reply(targets, effects);
    }
}

impl<R: IntoReply> IntoReply for Option<R> {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        if let Some(reply) = self {
            reply.into_reply(targets, effects);
        }
    }
}

impl<R: IntoReply, E: IntoEffects> IntoReply for Result<R, E> {
    fn into_reply(self, targets: &[Target], effects: &mut Effects) {
        match self {
            Ok(reply) => reply.into_reply(targets, effects),
            Err(error) => error.into_effects(effects),
        }
    }
}

impl IntoEffects for () {
    fn into_effects(self, _: &mut Effects) {}
}

impl IntoEffects for Rejection {
    fn into_effects(self, effects: &mut Effects) {
        effects.reject(self);
    }
}

impl IntoEffects for std::convert::Infallible {
    fn into_effects(self, _: &mut Effects) {
        match self {}
    }
}

impl<E: IntoEffects> IntoEffects for Option<E> {
    fn into_effects(self, effects: &mut Effects) {
        if let Some(some) = self {
            some.into_effects(effects);
        }
    }
}

impl<T: IntoEffects, E: IntoEffects> IntoEffects for Result<T, E> {
    fn into_effects(self, effects: &mut Effects) {
        match self {
            Ok(value) => value.into_effects(effects),
            Err(error) => error.into_effects(effects),
        }
    }
}

macro_rules! tuple_into_effects {
    ($($name:ident)+) => {
        impl<$($name: IntoEffects),+> IntoEffects for ($($name,)+) {
            #[allow(non_snake_case, reason = "type parameters name the values too")]
            fn into_effects(self, effects: &mut Effects) {
                let ($($name,)+) = self;
                $($name.into_effects(effects);)+
            }
        }
    };
}

tuple_into_effects!(A B);
tuple_into_effects!(A B C);
tuple_into_effects!(A B C D);
