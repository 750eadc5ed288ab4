//! Extractors that leave the body alone.

use std::convert::Infallible;
use std::ops::Deref;

use serde::de::DeserializeOwned;
use tramline_broker::{Destination, SessionId};
use tramline_stomp::Headers;

use super::{FromMessageParts, OptionalFromMessageParts};
use crate::app::captures;
use crate::app::login::Connect;
use crate::app::publisher::Publisher;
use crate::model::attributes::Session;
use crate::model::disconnected::Disconnected;
use crate::model::inbound::{Cause, Inbound};
use crate::model::rejection::{Rejection, RejectionKind};
use crate::model::user::Handshake;
use crate::model::user::User;

/// The captures of the route's pattern, parsed into `T`.
///
/// One capture into one value (`Path<u32>`), several into a tuple in the order of the pattern, or any into a struct
/// with fields of their names.
///
/// A value that does not parse is the client's [`BadMessage`](RejectionKind::BadMessage). Captures that differ in
/// number or in names from those of the type are [`Misconfigured`](RejectionKind::Misconfigured), whatever the client
/// sends.
///
/// # Example: a struct for several captures
///
/// ```
/// use serde::Deserialize;
/// use tramline::Path;
///
/// #[derive(Deserialize)]
/// struct Seat { row: u32, number: u32 }
///
/// // for a route "/rows/{row}/seats/{number}"
/// async fn reserve(Path(seat): Path<Seat>) {
/// #   let _ = (seat.row, seat.number);
/// }
/// # let _ = reserve;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

/// The router's state, or a part of it.
///
/// A router whose handlers take state cannot be given to a builder before
/// [`with_state`](crate::MessageRouter::with_state) has supplied it: it does not compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

/// A value that a [layer](crate::MessageRouter::layer) left for the handler, by its type; or else one that a middleware left
/// in the HTTP request of the session, if the stack [keeps](crate::MessagingBuilder::keep_extension) that type.
///
/// A message without a value of the type is rejected, as the application's fault; `Option<Extension<T>>` is `None`
/// instead.
///
/// # Example: a layer of one function
///
/// ```
/// use tower::util::MapRequestLayer;
/// use tramline::extract::Extension;
/// use tramline::{Inbound, MessageRouter, message};
///
/// #[derive(Clone)]
/// struct Arrived(std::time::Instant);
///
/// async fn ping(Extension(Arrived(at)): Extension<Arrived>) -> String {
///     format!("waited {:?}", at.elapsed())
/// }
///
/// let stamp = MapRequestLayer::new(|mut message: Inbound| {
///     message.extensions_mut().insert(Arrived(std::time::Instant::now()));
///     message
/// });
/// let routes: MessageRouter = MessageRouter::new()
///     .route("/ping", message(ping).send_to_session("/queue/pong").layer(stamp));
/// # let _ = routes;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension<T>(pub T);

/// Makes a part of the state from the whole, so that handlers can take parts by [`State`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from the state `{S}`",
    note = "`impl FromRef<{S}> for {Self}`, or let the handler take `State<{S}>`"
)]
pub trait FromRef<S> {
    /// Makes the part.
    fn from_ref(state: &S) -> Self;
}

impl<S: Clone> FromRef<S> for S {
    fn from_ref(state: &S) -> Self {
        state.clone()
    }
}

impl<T> Deref for Path<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<S: Sync, T: DeserializeOwned> FromMessageParts<S> for Path<T> {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        Ok(Self(captures::parse(&message.captures)?))
    }
}

impl<S: Sync, T: FromRef<S>> FromMessageParts<S> for State<T> {
    type Rejection = Infallible;

    async fn from_message_parts(_: &Inbound, state: &S) -> Result<Self, Infallible> {
        Ok(Self(T::from_ref(state)))
    }
}

impl<S: Sync> FromMessageParts<S> for User {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        let anonymous = || {
            Rejection::new(
                RejectionKind::Anonymous,
                "this destination takes messages of users only",
            )
        };
        message.user().ok_or_else(anonymous)
    }
}

impl<S: Sync> OptionalFromMessageParts<S> for User {
    type Rejection = Infallible;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(message.user())
    }
}

impl<S: Sync> FromMessageParts<S> for Headers {
    type Rejection = Infallible;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Infallible> {
        Ok(message.headers.clone())
    }
}

impl<S: Sync> FromMessageParts<S> for SessionId {
    type Rejection = Infallible;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Infallible> {
        Ok(message.session_id())
    }
}

impl<S: Sync> FromMessageParts<S> for Handshake {
    type Rejection = Infallible;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Infallible> {
        Ok(message.handshake().clone())
    }
}

/// The destination of the message, as the client wrote it.
impl<S: Sync> FromMessageParts<S> for Destination {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        Destination::parse(message.destination.clone()).map_err(Rejection::bad_message)
    }
}

impl<S: Sync, T: Default + Send + Sync + 'static> FromMessageParts<S> for Session<T> {
    type Rejection = Infallible;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&message.session))
    }
}

impl<S: Sync, T: Clone + Send + Sync + 'static> FromMessageParts<S> for Extension<T> {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        let found = extension(message).map(Self);
        found.ok_or_else(|| {
            misplaced(&format!(
                "no layer left an extension of the type {0}, and no middleware one that `keep_extension::<{0}>()` keeps",
                std::any::type_name::<T>()
            ))
        })
    }
}

impl<S: Sync, T: Clone + Send + Sync + 'static> OptionalFromMessageParts<S> for Extension<T> {
    type Rejection = Infallible;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(extension(message).map(Self))
    }
}

/// The value of a layer, or of the session's HTTP request.
fn extension<T: Clone + Send + Sync + 'static>(message: &Inbound) -> Option<T> {
    let left = message.extensions.get();
    left.or_else(|| message.handshake().extension()).cloned()
}

impl<S: Sync> FromMessageParts<S> for Connect {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        Self::of(message).ok_or_else(|| {
            misplaced("only a connect handler and a check on CONNECT can take `Connect`")
        })
    }
}

impl<S: Sync> FromMessageParts<S> for Disconnected {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        match &message.cause {
            Cause::Disconnect(why) => Ok(Self::clone(why)),
            _ => Err(misplaced(
                "only a disconnect handler can take `Disconnected`",
            )),
        }
    }
}

impl<S: Sync> FromMessageParts<S> for Publisher {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        of_the_stack(message)
    }
}

/// Values of the stack as a whole are present in every message that a stack received.
pub(crate) fn of_the_stack<T: Clone + Send + Sync + 'static>(
    message: &Inbound,
) -> Result<T, Rejection> {
    let stack = message.session.stack.upgrade();
    let found = stack.and_then(|stack| stack.get().cloned());
    found.ok_or_else(|| misplaced("this message came to no messaging stack"))
}

/// A rejection for an extractor that can have no value in this handler: the application's fault.
fn misplaced(error: &str) -> Rejection {
    Rejection::new(RejectionKind::Misconfigured, error)
}
