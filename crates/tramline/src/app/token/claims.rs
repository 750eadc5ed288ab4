//! What a token says, for handlers and checks.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::extract::FromMessageParts;
use crate::model::inbound::Inbound;
use crate::model::rejection::{Rejection, RejectionKind};

/// What the token of the session's user says: an extractor for handlers and [checks](fn@crate::policy::check).
///
/// A session without a token is rejected as anonymous, and claims that do not fit `T` as the client's
/// [`BadMessage`](RejectionKind::BadMessage); a check denies either.
///
/// # Example: only with a paid plan
///
/// ```
/// use serde::Deserialize;
/// use tramline::policy::{Policy, check, deny};
/// use tramline::token::Claims;
///
/// #[derive(Deserialize)]
/// struct Plan { plan: String }
///
/// async fn has_paid(Claims(plan): Claims<Plan>) -> bool {
///     plan.plan == "gold"
/// }
///
/// let policy = Policy::builder().on_subscribe("/topic/prices/**", check(has_paid)).otherwise(deny());
/// # let _ = policy;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromMessageParts<S> for Claims<T> {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        let user = message.user();
        let claims = user.as_ref().and_then(|user| user.claims());
        let claims = claims.ok_or_else(|| {
            let error = "this destination takes messages of users with a token only";
            Rejection::new(RejectionKind::Anonymous, error)
        })?;
        let claims = serde_json::from_value(Value::Object(claims.clone()));
        claims.map(Self).map_err(|error| {
            Rejection::bad_message(format_args!(
                "the token does not say what is needed: {error}"
            ))
        })
    }
}
