//! Extractors that leave the body alone.

use std::convert::Infallible;

use serde::de::DeserializeOwned;
use tramline_broker::SessionId;
use tramline_stomp::Headers;

use super::{FromMessageParts, OptionalFromMessageParts};
use crate::captures;
use crate::inbound::Inbound;
use crate::rejection::{Rejection, RejectionKind};
use crate::{Handshake, User};

/// What the route's pattern captured, parsed into `T`.
///
/// One capture into one value (`Path<u32>`), several into a tuple in the order of the pattern, or any into a struct
/// with fields of their names.
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
/// A router whose handlers take state does not compile into a messaging before
/// [`with_state`](crate::MessageRouter::with_state) has given it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

/// Makes a part of the state from the whole, so that handlers can take parts by [`State`].
pub trait FromRef<S> {
    /// Makes the part.
    fn from_ref(state: &S) -> Self;
}

impl<S: Clone> FromRef<S> for S {
    fn from_ref(state: &S) -> Self {
        state.clone()
    }
}

impl<S: Sync, T: DeserializeOwned> FromMessageParts<S> for Path<T> {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        captures::parse(&message.captures)
            .map(Self)
            .map_err(Rejection::bad_message)
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
        message.user().cloned().ok_or_else(anonymous)
    }
}

impl<S: Sync> OptionalFromMessageParts<S> for User {
    type Rejection = Infallible;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(message.user().cloned())
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
