//! Extractors, the arguments of handlers.

mod body;
mod encoded;
mod header;
pub(crate) mod parts;
#[cfg(feature = "garde")]
mod valid;

use std::convert::Infallible;
use std::future::Future;

pub use self::body::{Json, Text};
pub use self::encoded::{Encoded, Format, Formats, JsonFormat};
pub use self::header::{Bearer, FromHeader, Header};
pub use self::parts::{Extension, FromRef, Path, State};
#[cfg(feature = "garde")]
pub use self::valid::Valid;

use crate::model::inbound::Inbound;
use crate::model::rejection::Rejection;

/// A type that a handler can take as any of its arguments, made from everything but the body.
///
/// # Example: an extractor of your own
///
/// ```
/// use tramline::extract::FromMessageParts;
/// use tramline::{Inbound, Rejection};
///
/// /// The `priority` header; normal is 4.
/// struct Priority(u8);
///
/// impl<S: Sync> FromMessageParts<S> for Priority {
///     type Rejection = Rejection;
///
///     async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
///         let Some(text) = message.headers().get("priority") else { return Ok(Self(4)) };
///         text.parse().map(Self).map_err(|error| Rejection::bad_message(format!("priority {text:?}: {error}")))
///     }
/// }
///
/// async fn handler(Priority(priority): Priority, body: String) {
/// #   let _ = (priority, body);
/// }
/// # let _ = handler;
/// ```
#[diagnostic::on_unimplemented(
    message = "the argument `{Self}` is not an extractor that can stand before the last argument",
    label = "this argument",
    note = "what takes the body (`Json`, `Text`, `String`, `Bytes`) must be the last argument",
    note = "`Path`, `State` and others of axum are not those of `tramline`"
)]
pub trait FromMessageParts<S>: Sized {
    /// The rejection when it cannot be made.
    type Rejection: Into<Rejection>;

    /// Makes the value.
    fn from_message_parts(
        message: &Inbound,
        state: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send;
}

/// A type that a handler can take as its last argument, made from the whole message.
///
/// `M` exists for the compiler only.
#[diagnostic::on_unimplemented(
    message = "the argument `{Self}` is not an extractor",
    note = "the last argument of a handler may be any extractor: `Json<T>`, `Text`, `String`, `Bytes`, `Path<T>`, `State<T>`, ...",
    note = "`Json<T>` and `Path<T>` want `#[derive(serde::Deserialize)]` on `T`",
    note = "`Json` and others of axum are not those of `tramline`: `use tramline::Json`"
)]
pub trait FromMessage<S, M = private::ViaMessage>: Sized {
    /// The rejection when it cannot be made.
    type Rejection: Into<Rejection>;

    /// Makes the value.
    fn from_message(
        message: Inbound,
        state: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send;
}

/// A type that a handler can take as an `Option`: absent is `None`, invalid is still rejected.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be absent, so it is no extractor as an `Option`",
    note = "as an `Option` there is only what can be absent: `Json<T>`, `Encoded<T>`, `Header<H>`, `User`, `Extension<T>`"
)]
pub trait OptionalFromMessageParts<S>: Sized {
    /// The rejection when it is present but cannot be made.
    type Rejection: Into<Rejection>;

    /// Makes the value, if it is present.
    fn from_message_parts(
        message: &Inbound,
        state: &S,
    ) -> impl Future<Output = Result<Option<Self>, Self::Rejection>> + Send;
}

/// A type that a handler can take as its last argument as an `Option`, made from the whole message: absent is `None`,
/// invalid is still rejected.
///
/// `Option<Json<T>>` and `Option<Encoded<T>>` are `None` for an empty body.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be absent, so it is no extractor as an `Option`",
    note = "as an `Option` there is only what can be absent: `Json<T>`, `Encoded<T>`, `Header<H>`, `User`, `Extension<T>`"
)]
pub trait OptionalFromMessage<S>: Sized {
    /// The rejection when it is present but cannot be made.
    type Rejection: Into<Rejection>;

    /// Makes the value, if it is present.
    fn from_message(
        message: Inbound,
        state: &S,
    ) -> impl Future<Output = Result<Option<Self>, Self::Rejection>> + Send;
}

mod private {
    #[derive(Debug, Clone, Copy)]
    pub enum ViaMessage {}

    #[derive(Debug, Clone, Copy)]
    pub enum ViaParts {}
}

#[diagnostic::do_not_recommend]
impl<S: Sync, T: FromMessageParts<S>> FromMessage<S, private::ViaParts> for T {
    type Rejection = T::Rejection;

    async fn from_message(message: Inbound, state: &S) -> Result<Self, T::Rejection> {
        T::from_message_parts(&message, state).await
    }
}

impl<S: Sync, T: OptionalFromMessageParts<S>> FromMessageParts<S> for Option<T> {
    type Rejection = T::Rejection;

    async fn from_message_parts(message: &Inbound, state: &S) -> Result<Self, T::Rejection> {
        T::from_message_parts(message, state).await
    }
}

impl<S: Sync, T: OptionalFromMessage<S>> FromMessage<S> for Option<T> {
    type Rejection = T::Rejection;

    async fn from_message(message: Inbound, state: &S) -> Result<Self, T::Rejection> {
        T::from_message(message, state).await
    }
}

macro_rules! tuple_from_parts {
    ($($name:ident)+) => {
        /// Several extractors as one argument; the first that fails rejects the message.
        impl<S: Sync, $($name: FromMessageParts<S> + Send),+> FromMessageParts<S> for ($($name,)+) {
            type Rejection = Rejection;

            async fn from_message_parts(message: &Inbound, state: &S) -> Result<Self, Rejection> {
                Ok(($($name::from_message_parts(message, state).await.map_err(Into::into)?,)+))
            }
        }
    };
}

tuple_from_parts!(A B);
tuple_from_parts!(A B C);
tuple_from_parts!(A B C D);
tuple_from_parts!(A B C D E);
tuple_from_parts!(A B C D E F);
tuple_from_parts!(A B C D E F G);
tuple_from_parts!(A B C D E F G H);

/// The handler itself handles the failed extraction.
impl<S: Sync, T: FromMessageParts<S>> FromMessageParts<S> for Result<T, T::Rejection> {
    type Rejection = Infallible;

    async fn from_message_parts(message: &Inbound, state: &S) -> Result<Self, Infallible> {
        Ok(T::from_message_parts(message, state).await)
    }
}

/// The handler itself handles the failed extraction.
impl<S: Sync, T: FromMessage<S>> FromMessage<S> for Result<T, T::Rejection> {
    type Rejection = Infallible;

    async fn from_message(message: Inbound, state: &S) -> Result<Self, Infallible> {
        Ok(T::from_message(message, state).await)
    }
}

impl<S: Sync> FromMessage<S> for Inbound {
    type Rejection = Infallible;

    async fn from_message(message: Inbound, _: &S) -> Result<Self, Infallible> {
        Ok(message)
    }
}
