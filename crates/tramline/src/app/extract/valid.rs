//! Bodies that are checked against the rules of their type.

use std::ops::Deref;

use garde::Validate;
use serde_json::{Value, json};

use super::{FromMessage, FromMessageParts};
use crate::model::inbound::Inbound;
use crate::model::rejection::{Rejection, RejectionKind};

/// The value of another extractor, checked by [garde](https://docs.rs/garde): `Valid<Json<Order>>`,
/// `Valid<Path<Seat>>`.
///
/// A value that breaks a rule is [rejected](Rejection) with the kind [`Invalid`](RejectionKind::Invalid); its
/// [details](Rejection::details) name each field: `[{"path":"shares","message":"lower than 1"}]`. Needs the feature
/// `garde`. Spring: `@Valid`.
///
/// # Example: an order of at least one
///
/// ```
/// use garde::Validate;
/// use serde::Deserialize;
/// use tramline::extract::Valid;
/// use tramline::Json;
///
/// #[derive(Deserialize, Validate)]
/// struct Order {
///     #[garde(range(min = 1))]
///     shares: u32,
/// }
///
/// async fn order(Valid(Json(order)): Valid<Json<Order>>) -> String {
///     format!("{} shares", order.shares)
/// }
/// # let _ = order;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Valid<E>(pub E);

impl<S, E> FromMessage<S> for Valid<E>
where
    S: Sync,
    E: FromMessage<S> + Deref + Send,
    E::Target: Validate<Context: Default> + Sized,
{
    type Rejection = Rejection;

    async fn from_message(message: Inbound, state: &S) -> Result<Self, Rejection> {
        check(E::from_message(message, state).await.map_err(Into::into)?)
    }
}

impl<S, E> FromMessageParts<S> for Valid<E>
where
    S: Sync,
    E: FromMessageParts<S> + Deref + Send,
    E::Target: Validate<Context: Default> + Sized,
{
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, state: &S) -> Result<Self, Rejection> {
        check(
            E::from_message_parts(message, state)
                .await
                .map_err(Into::into)?,
        )
    }
}

fn check<E>(extracted: E) -> Result<Valid<E>, Rejection>
where
    E: Deref,
    E::Target: Validate<Context: Default> + Sized,
{
    let Err(report) = extracted.validate() else {
        return Ok(Valid(extracted));
    };
    let details: Value = report
        .iter()
        .map(|(path, error)| json!({ "path": path.to_string(), "message": error.message() }))
        .collect();
    let error = report.to_string();
    let rejection = Rejection::new(RejectionKind::Invalid, error.trim_end());
    Err(rejection.with_details(details))
}
