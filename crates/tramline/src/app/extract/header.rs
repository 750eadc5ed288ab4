//! One header of a frame, as a type.

use std::fmt;

use super::{FromMessageParts, OptionalFromMessageParts};
use crate::model::inbound::Inbound;
use crate::model::rejection::Rejection;

/// One header of the client's frame, read into a type.
///
/// A message without the header is [rejected](Rejection) with the header's name; `Option<Header<H>>` is `None` instead.
/// A value that cannot be read is rejected either way. Of several headers of one name the first counts, as in STOMP.
///
/// # Example: a header of your own
///
/// ```
/// use tramline::extract::{FromHeader, Header};
///
/// /// How urgent, 0 to 9.
/// struct Priority(u8);
///
/// impl FromHeader for Priority {
///     const NAME: &'static str = "priority";
///     type Error = std::num::ParseIntError;
///
///     fn from_header(value: &str) -> Result<Self, Self::Error> {
///         value.parse().map(Self)
///     }
/// }
///
/// async fn order(priority: Option<Header<Priority>>, item: String) -> String {
///     let priority = priority.map_or(4, |Header(Priority(priority))| priority);
///     format!("{item} at priority {priority}")
/// }
/// # let _ = order;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header<H>(pub H);

/// A type that one header is read into, for [`Header`].
pub trait FromHeader: Sized {
    /// The header's name. STOMP's names are case-sensitive; see [`IGNORE_CASE`](Self::IGNORE_CASE) for clients that may
    /// write another case.
    const NAME: &'static str;

    /// True if the name may come in any case, as for headers whose name is HTTP's. Default: false.
    const IGNORE_CASE: bool = false;

    /// The reason why a value cannot be read; the client receives it.
    type Error: fmt::Display;

    /// Reads the value.
    ///
    /// # Errors
    ///
    /// An invalid value: the client's fault.
    fn from_header(value: &str) -> Result<Self, Self::Error>;
}

/// The token of a header `Authorization: Bearer TOKEN`, in which clients send it at CONNECT.
///
/// The name may have any case. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(pub String);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(***)")
    }
}

impl FromHeader for Bearer {
    const NAME: &'static str = "Authorization";
    const IGNORE_CASE: bool = true;
    type Error = &'static str;

    fn from_header(value: &str) -> Result<Self, Self::Error> {
        let token = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let token = token
            .map(|(_, token)| token.trim())
            .filter(|token| !token.is_empty());
        token
            .map(|token| Self(token.to_owned()))
            .ok_or("it must be `Bearer` and a token")
    }
}

fn find<H: FromHeader>(message: &Inbound) -> Result<Option<Header<H>>, Rejection> {
    let value = match H::IGNORE_CASE {
        false => message.headers.get(H::NAME),
        true => {
            let mut all = message.headers.iter();
            all.find(|(name, _)| name.eq_ignore_ascii_case(H::NAME))
                .map(|(_, value)| value)
        }
    };
    let read = value.map(H::from_header).transpose();
    read.map(|read| read.map(Header)).map_err(|error| {
        Rejection::bad_message(format_args!(
            "the header `{}` cannot be read: {error}",
            H::NAME
        ))
    })
}

impl<S: Sync, H: FromHeader> FromMessageParts<S> for Header<H> {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        let missing =
            || Rejection::bad_message(format_args!("the header `{}` is missing", H::NAME));
        find(message)?.ok_or_else(missing)
    }
}

impl<S: Sync, H: FromHeader> OptionalFromMessageParts<S> for Header<H> {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Option<Self>, Rejection> {
        find(message)
    }
}
