//! Plain async functions as message handlers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tramline_broker::Target;

use crate::app::extract::{FromMessage, FromMessageParts};
use crate::model::effects::Effects;
use crate::model::inbound::Inbound;
use crate::model::rejection::Rejection;
use crate::model::reply::{IntoEffects, IntoReply};

/// An async function that can handle a client's message.
///
/// Any async function or closure with up to eight arguments is one, when
///
/// * every argument is an extractor, or a tuple of up to eight that leave the body alone, and only the last takes the
///   body ([`Json`](crate::Json), [`Text`](crate::extract::Text), [`Bytes`](bytes::Bytes), [`Inbound`]);
/// * it is `Clone + Send + Sync + 'static` and its future is `Send`;
/// * it returns something that can be [sent](crate::reply::IntoReply) or that determines [its own
///   effects](crate::reply::IntoEffects).
///
/// A session's messages are handled one after the other: while a handler runs, its session's next messages wait. What a
/// client sent before it left is still handled. A handler that takes longer than its time
/// ([`Limits::handler_time`](crate::Limits::handler_time)) is dropped, and its message rejected. A session that ends for another reason (its client reads too slowly,
/// the runtime shuts down) drops the running handler at one of its `await`s. A panic of a handler is a
/// [rejection](crate::Rejection); its session goes on.
///
/// `T` exists for the compiler only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle messages",
    note = "a handler is an `async fn` whose arguments are extractors; only the last may take the body",
    note = "it has eight arguments at most: more are joined in a tuple, `(user, room): (User, Path<u32>)`",
    note = "`Session<T>` wants `T: Default + Send + Sync`, `Json<T>` and `Path<T>` want `T: serde::de::DeserializeOwned`",
    note = "as an `Option` it takes only what can be absent: `Json<T>`, `Encoded<T>`, `Header<H>`, `User`, `Extension<T>`",
    note = "its future must be `Send`: nothing like an `Rc` or a lock's guard may live across an `await`",
    note = "the state `{S}` must be what its extractors want: for `State<T>`, `impl FromRef<{S}> for T`"
)]
pub trait Handler<T, S>: Clone + Send + Sync + 'static {
    /// The function's return type.
    type Output: Send + 'static;

    /// Extracts the arguments and calls the function.
    fn call(
        self,
        message: Inbound,
        state: S,
    ) -> impl Future<Output = Result<Self::Output, Rejection>> + Send;
}

macro_rules! impl_handler {
    ($($part:ident)*; $last:ident) => {
        #[diagnostic::do_not_recommend]
        #[allow(non_snake_case, unused_mut, reason = "type parameters name the values too")]
        impl<F, Fut, S, M, $($part,)* $last> Handler<(M, $($part,)* $last,), S> for F
        where
            F: FnOnce($($part,)* $last) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future + Send,
            Fut::Output: Send + 'static,
            S: Send + Sync + 'static,
            $($part: FromMessageParts<S> + Send,)*
            $last: FromMessage<S, M> + Send,
        {
            type Output = Fut::Output;

            async fn call(self, message: Inbound, state: S) -> Result<Self::Output, Rejection> {
                $(let $part = $part::from_message_parts(&message, &state).await.map_err(Into::into)?;)*
                let $last = $last::from_message(message, &state).await.map_err(Into::into)?;
                Ok(self($($part,)* $last).await)
            }
        }
    };
}

impl<F, Fut, S> Handler<((),), S> for F
where
    F: FnOnce() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send,
    Fut::Output: Send + 'static,
    S: Send + Sync + 'static,
{
    type Output = Fut::Output;

    async fn call(self, _: Inbound, _: S) -> Result<Self::Output, Rejection> {
        Ok(self().await)
    }
}

impl_handler!(; A);
impl_handler!(A; B);
impl_handler!(A B; C);
impl_handler!(A B C; D);
impl_handler!(A B C D; E);
impl_handler!(A B C D E; G);
impl_handler!(A B C D E G; H);
impl_handler!(A B C D E G H; I);

/// A future of a [`Handler`]'s effects: how a route sees the handler's work.
pub(crate) type EffectsFuture = Pin<Box<dyn Future<Output = Effects> + Send>>;

/// A type-erased handler that still needs its state. The targets are those of its replies.
pub(crate) type ErasedHandler<S> =
    Arc<dyn Fn(Inbound, S, Vec<Target>) -> EffectsFuture + Send + Sync>;

/// Erases the types of a handler; `finish` turns its output into effects.
pub(crate) fn erase<H, T, S>(
    handler: H,
    finish: fn(H::Output, Vec<Target>, &mut Effects),
) -> ErasedHandler<S>
where
    H: Handler<T, S>,
    S: Clone + Send + Sync + 'static,
{
    Arc::new(move |message, state, targets| {
        let handler = handler.clone();
        Box::pin(async move {
            let mut effects = Effects::of(&message.session);
            match handler.call(message, state).await {
                Ok(output) => finish(output, targets, &mut effects),
                Err(rejection) => effects.reject(rejection),
            }
            effects
        })
    })
}

/// The output determines its own effects.
pub(crate) fn finish_effects<O: IntoEffects>(output: O, _: Vec<Target>, effects: &mut Effects) {
    output.into_effects(effects);
}

/// The output goes to the targets.
pub(crate) fn finish_reply<O: IntoReply>(output: O, targets: Vec<Target>, effects: &mut Effects) {
    if let Some(payload) = output.into_reply(effects) {
        for target in targets {
            effects.publish(target, payload.clone());
        }
    }
}

/// The output goes straight to the subscription.
pub(crate) fn finish_direct<O: IntoReply>(output: O, _: Vec<Target>, effects: &mut Effects) {
    effects.direct = output.into_reply(effects);
}
