//! Plain async functions as message handlers.

use std::future::Future;
use std::marker::PhantomData;
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
    note = "a handler is an `async fn` whose arguments are extractors, or such a closure that is `Clone + Send + Sync`",
    note = "it has eight arguments at most: more are joined in a tuple, `(user, room): (User, Path<u32>)`"
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

/// The one implementation, so that the compiler names the one thing that is missing: the argument that is no extractor,
/// what makes the future not `Send`, that the function is not async.
impl<H, T, S> Handler<T, S> for H
where
    H: Function<T> + Clone + Send + Sync + 'static,
    H::Returned: IsFuture + Send,
    <H::Returned as IsFuture>::Output: Send + 'static,
    T: Arguments<S> + Send,
    S: Send + Sync + 'static,
{
    type Output = <H::Returned as IsFuture>::Output;

    async fn call(self, message: Inbound, state: S) -> Result<Self::Output, Rejection> {
        let arguments = T::extract(message, &state).await?;
        Ok(self.apply(arguments).into_future().await)
    }
}

/// A function or closure with the arguments `T`.
pub trait Function<T> {
    type Returned;

    fn apply(self, arguments: T) -> Self::Returned;
}

/// What an async function returns.
#[diagnostic::on_unimplemented(
    message = "a handler must be an `async fn`, and this one returns `{Self}`",
    note = "write `async fn` in place of `fn`"
)]
pub trait IsFuture {
    type Output;

    fn into_future(self) -> impl Future<Output = Self::Output> + Send
    where
        Self: Send;
}

#[diagnostic::do_not_recommend]
impl<F: Future> IsFuture for F {
    type Output = F::Output;

    fn into_future(self) -> impl Future<Output = F::Output> + Send
    where
        Self: Send,
    {
        self
    }
}

/// Arguments that are extractors: the last takes the message, the others leave its body alone.
pub trait Arguments<S>: Sized {
    fn extract(message: Inbound, state: &S)
    -> impl Future<Output = Result<Self, Rejection>> + Send;
}

/// How the last argument is extracted; for the compiler only.
#[derive(Debug)]
pub struct Via<M>(PhantomData<fn() -> M>);

macro_rules! functions {
    ($($part:ident)*; $last:ident) => {
        #[allow(non_snake_case, reason = "type parameters name the values too")]
        impl<F, R, M, $($part,)* $last> Function<(Via<M>, $($part,)* $last)> for F
        where
            F: FnOnce($($part,)* $last) -> R,
        {
            type Returned = R;

            fn apply(self, (_, $($part,)* $last): (Via<M>, $($part,)* $last)) -> R {
                self($($part,)* $last)
            }
        }

        impl<S: Sync, M, $($part,)* $last> Arguments<S> for (Via<M>, $($part,)* $last)
        where
            $($part: FromMessageParts<S> + Send,)*
            $last: FromMessage<S, M> + Send,
        {
            async fn extract(message: Inbound, state: &S) -> Result<Self, Rejection> {
                Ok((
                    Via(PhantomData),
                    $($part::from_message_parts(&message, state).await.map_err(Into::into)?,)*
                    $last::from_message(message, state).await.map_err(Into::into)?,
                ))
            }
        }
    };
}

impl<F: FnOnce() -> R, R> Function<((),)> for F {
    type Returned = R;

    fn apply(self, _: ((),)) -> R {
        self()
    }
}

impl<S: Sync> Arguments<S> for ((),) {
    async fn extract(_: Inbound, _: &S) -> Result<Self, Rejection> {
        Ok(((),))
    }
}

functions!(; A);
functions!(A; B);
functions!(A B; C);
functions!(A B C; D);
functions!(A B C D; E);
functions!(A B C D E; G);
functions!(A B C D E G; H);
functions!(A B C D E G H; I);

/// A future of a [`Handler`]'s effects: how a route sees the handler's work.
pub(crate) type EffectsFuture = Pin<Box<dyn Future<Output = Effects> + Send>>;

/// A type-erased handler that still needs its state. The targets are those of its replies.
pub(crate) type ErasedHandler<S> =
    Arc<dyn Fn(Inbound, S, Vec<Target>) -> EffectsFuture + Send + Sync>;

/// Turns the output of a handler into effects.
pub(crate) type Finish<O> = fn(O, Vec<Target>, &mut Effects);

/// Erases the types of a handler; `finish` turns its output into effects.
pub(crate) fn erase<H, T, S>(handler: H, finish: Finish<H::Output>) -> ErasedHandler<S>
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
