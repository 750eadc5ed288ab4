//! The handlers of one path.

use std::any::type_name;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tower_layer::Layer;
use tower_service::Service;

use super::layer::{LayerFn, erase_layer};
use super::{BoxError, MessageService, OnRejection};
use crate::app::handler::{
    ErasedHandler, Finish, Handler, erase, finish_direct, finish_effects, finish_reply,
};
use crate::app::template::ReplyTo;
use crate::model::effects::Effects;
use crate::model::inbound::Inbound;
use crate::model::reply::{IntoEffects, IntoReply};

/// Handles messages with `handler`: the argument of [`MessageRouter::route`](crate::MessageRouter::route).
///
/// A handler whose return type determines [its own effects](IntoEffects) is complete; one that returns a
/// [reply](IntoReply) needs [`send_to`](MessageHandler::send_to) or one of its like.
pub fn message<H, T, S, O>(handler: H) -> MessageHandler<O, S>
where
    H: Handler<T, S, Output = O>,
    O: 'static,
    S: Clone + Send + Sync + 'static,
{
    MessageHandler {
        handler: Unfinished::new(handler),
        options: Options::default(),
    }
}

/// Answers subscriptions with `handler`: its return value is sent straight to the subscription, once, and to nobody
/// else.
///
/// Use it for the data that a page needs when it opens: a client that SUBSCRIBEs to `/app/rooms/7` gets the answer of
/// the handler at `/rooms/{room}` as a MESSAGE. The subscription then stays until its client ends it, and gets nothing
/// more; a RECEIPT that it asked for comes when the handler has returned. To follow later changes a client subscribes
/// to a topic as well, and does that first, so that it misses nothing. An error determines [its own
/// effects](IntoEffects).
///
/// # Example: the last lines of a room
///
/// ```
/// use tramline::{Json, MessageRouter, Path, subscribe};
///
/// async fn last_lines(Path(room): Path<u32>) -> Json<Vec<String>> {
///     Json(vec![format!("welcome to room {room}")])
/// }
///
/// let routes: MessageRouter = MessageRouter::new().route("/rooms/{room}", subscribe(last_lines));
/// # let _ = routes;
/// ```
pub fn subscribe<H, T, S, O>(handler: H) -> SubscribeHandler<O, S>
where
    H: Handler<T, S, Output = O>,
    O: 'static,
    S: Clone + Send + Sync + 'static,
{
    SubscribeHandler {
        handler: Unfinished::new(handler),
        options: Options::default(),
    }
}

/// A handler for messages, on its way into a route: made by [`message`].
#[must_use = "give it to `MessageRouter::route`"]
pub struct MessageHandler<O, S> {
    handler: Unfinished<O, S>,
    options: Options,
}

/// A handler whose replies have a destination.
#[must_use = "give it to `MessageRouter::route`"]
pub struct ReplyingHandler<S> {
    name: &'static str,
    handler: ErasedHandler<S>,
    options: Options,
    replies: Vec<ReplyTo>,
    subscribes: bool,
}

/// A handler of which only the type of its output `O` is left, so that what is no handler is one compile error.
struct Unfinished<O, S> {
    name: &'static str,
    erase: Box<dyn FnOnce(Finish<O>) -> ErasedHandler<S> + Send>,
}

impl<O: 'static, S: Clone + Send + Sync + 'static> Unfinished<O, S> {
    fn new<H, T>(handler: H) -> Self
    where
        H: Handler<T, S, Output = O>,
    {
        Self {
            name: type_name::<H>(),
            erase: Box::new(move |finish| erase(handler, finish)),
        }
    }
}

/// A handler that answers subscriptions, on its way into a route: made by [`subscribe`].
#[must_use = "give it to `MessageRouter::route`"]
pub struct SubscribeHandler<O, S> {
    handler: Unfinished<O, S>,
    options: Options,
}

impl<S> ReplyingHandler<S> {
    fn new<O: IntoReply>(
        handler: Unfinished<O, S>,
        options: Options,
        subscribes: bool,
        reply: ReplyTo,
    ) -> Self {
        Self {
            name: handler.name,
            handler: (handler.erase)(finish_reply),
            options,
            replies: vec![reply],
            subscribes,
        }
    }
}

#[derive(Default)]
struct Options {
    layers: Vec<LayerFn>,
    run: RunOptions,
}

/// How a session runs a handler.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunOptions {
    /// The most that run concurrently in one session; `None` to run one after the other.
    pub(crate) concurrent: Option<NonZeroUsize>,
    /// In place of [`Limits::handler_time`](crate::Limits::handler_time).
    pub(crate) time_limit: Option<Duration>,
    /// Whether it is dropped once its client has left; `None` for what is usual.
    pub(crate) cancel_on_disconnect: Option<bool>,
}

/// Methods that set the destinations of replies; each call adds one.
macro_rules! reply_methods {
    ($($(#[$doc:meta])* $name:ident $kind:ident,)*) => {
        impl<O, S> MessageHandler<O, S> {$(
            $(#[$doc])*
            pub fn $name(self, destination: impl Into<ByteString>) -> ReplyingHandler<S>
            where
                O: IntoReply,
            {
                let reply = ReplyTo::$kind(destination.into());
                ReplyingHandler::new(self.handler, self.options, false, reply)
            }
        )*}

        impl<O, S> SubscribeHandler<O, S> {$(
            $(#[$doc])*
            ///
            /// The subscription itself then gets no answer.
            pub fn $name(self, destination: impl Into<ByteString>) -> ReplyingHandler<S>
            where
                O: IntoReply,
            {
                let reply = ReplyTo::$kind(destination.into());
                ReplyingHandler::new(self.handler, self.options, true, reply)
            }
        )*}

        impl<S> ReplyingHandler<S> {$(
            $(#[$doc])*
            pub fn $name(mut self, destination: impl Into<ByteString>) -> Self {
                self.replies.push(ReplyTo::$kind(destination.into()));
                self
            }
        )*}
    };
}

reply_methods! {
    /// Sends the handler's return value to everyone who is subscribed to `destination`, which may use the captures of
    /// the route: `/topic/rooms/{room}`. If called repeatedly, sends it to each.
    send_to Destination,
    /// Sends the handler's return value to every session of the user who sent the message; if the sender is anonymous,
    /// to its session. `destination` is what follows the user prefix, `/queue/answers` for those who subscribe to
    /// `/user/queue/answers`, and may use the captures of the route.
    send_to_user User,
    /// Sends the handler's return value to the session that sent the message, and to no other of its user's.
    /// `destination` is as for [`send_to_user`](Self::send_to_user).
    send_to_session Session,
}

/// Options of any handler.
macro_rules! option_methods {
    ($($builder:ident [$($type:ident)*])*) => {$(
        impl<$($type),*> $builder<$($type),*> {
            /// Puts a tower layer around this handler alone; see [`MessageRouter::layer`](crate::MessageRouter::layer).
            pub fn layer<L>(mut self, layer: L) -> Self
            where
                L: Layer<MessageService> + Send + Sync + 'static,
                L::Service: Service<Inbound, Response = Effects> + Clone + Send + Sync + 'static,
                <L::Service as Service<Inbound>>::Error: Into<BoxError>,
                <L::Service as Service<Inbound>>::Future: Send,
            {
                self.options.layers.push(erase_layer(layer));
                self
            }

            /// Lets up to `limit` handlers of one session run concurrently, counted over all its routes with this
            /// option: the session's next message is taken up while this one is still handled. Without it a session's
            /// messages are handled one after the other, in order.
            ///
            /// The order of such handlers' effects is that in which they finish, and a RECEIPT comes when its own
            /// message is handled. A message beyond `limit` waits, and the session's later messages behind it.
            /// DISCONNECT waits for all of them; a session that its client ends in any other way drops them. Inside a
            /// transaction, messages are handled in order all the same. A limit of 0 counts as 1.
            ///
            /// # Example: look-ups need no order
            ///
            /// ```
            /// use tramline::{MessageRouter, message};
            ///
            /// async fn look_up(name: String) -> String {
            ///     format!("nothing is known of {name}")
            /// }
            ///
            /// let look_up = message(look_up).send_to_session("/queue/found").concurrent(8);
            /// let routes: MessageRouter = MessageRouter::new().route("/look-up", look_up);
            /// # let _ = routes;
            /// ```
            pub fn concurrent(mut self, limit: usize) -> Self {
                self.options.run.concurrent = Some(NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN));
                self
            }

            /// The time after which the running handler is dropped and its message rejected, in place of
            /// [`Limits::handler_time`](crate::Limits::handler_time). Handlers are dropped at one of their `await`s, as
            /// any future in Rust: what they have done before stays done, and work that they have spawned goes on. The
            /// client receives the rejection `handler-timed-out`.
            ///
            /// # Example: an import that may take a quarter of an hour
            ///
            /// ```
            /// use std::time::Duration;
            ///
            /// use tramline::{MessageRouter, message};
            ///
            /// async fn import(rows: String) -> String {
            ///     format!("{} rows", rows.lines().count())
            /// }
            ///
            /// let import = message(import)
            ///     .send_to_session("/queue/imported")
            ///     .time_limit(Duration::from_secs(15 * 60));
            /// let routes: MessageRouter = MessageRouter::new().route("/import", import);
            /// # let _ = routes;
            /// ```
            pub fn time_limit(mut self, limit: Duration) -> Self {
                self.options.run.time_limit = Some(limit);
                self
            }

            /// Whether the handler is dropped, or not called, once its client has left. By default a message's handler
            /// runs to its end, since others may receive what it sends, and a subscription's is dropped, since nobody
            /// can receive its answer any more.
            pub fn cancel_on_disconnect(mut self, cancel: bool) -> Self {
                self.options.run.cancel_on_disconnect = Some(cancel);
                self
            }

            /// Answers subscriptions to the same path with `handler`; see [`subscribe`].
            pub fn subscribe<H2, T2>(self, handler: H2) -> Route<S>
            where
                Self: IntoRoute<S>,
                H2: Handler<T2, S>,
                H2::Output: IntoReply,
                S: Clone + Send + Sync + 'static,
            {
                let mut route = self.into_route();
                route.and(subscribe(handler).into_route());
                route
            }

            /// Handles messages to the same path with `handler`, which determines its own effects; see [`message`].
            pub fn message<H2, T2>(self, handler: H2) -> Route<S>
            where
                Self: IntoRoute<S>,
                H2: Handler<T2, S>,
                H2::Output: IntoEffects,
                S: Clone + Send + Sync + 'static,
            {
                let mut route = self.into_route();
                route.and(message(handler).into_route());
                route
            }
        }
    )*};
}

option_methods!(MessageHandler[O S] ReplyingHandler[S] SubscribeHandler[O S]);

impl<O, S> fmt::Debug for MessageHandler<O, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message({})", self.handler.name)
    }
}

impl<O, S> fmt::Debug for SubscribeHandler<O, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscribe({})", self.handler.name)
    }
}

impl<S> fmt::Debug for ReplyingHandler<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {:?}", self.name, self.replies)
    }
}

/// An argument of [`MessageRouter::route`](crate::MessageRouter::route): made by [`message`] and [`subscribe`]. Not for
/// implementing elsewhere.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a complete route",
    note = "a handler that returns a bare reply needs to be told where it goes: `message(handler).send_to(\"/topic/...\")`"
)]
pub trait IntoRoute<S> {
    #[doc(hidden)]
    fn into_route(self) -> Route<S>;
}

/// The type-erased handlers of one path. More than one of a kind is a configuration error.
#[must_use = "give it to `MessageRouter::route`"]
pub struct Route<S> {
    pub(super) message: Vec<Endpoint<S>>,
    pub(super) subscribe: Vec<Endpoint<S>>,
}

impl<S> Route<S> {
    fn new(subscribes: bool, endpoint: Endpoint<S>) -> Self {
        let (message, subscribe) = match subscribes {
            false => (vec![endpoint], Vec::new()),
            true => (Vec::new(), vec![endpoint]),
        };
        Self { message, subscribe }
    }

    /// Adds the handlers of `other`, which is for the same path.
    pub(super) fn and(&mut self, other: Self) {
        self.message.extend(other.message);
        self.subscribe.extend(other.subscribe);
    }

    pub(super) fn map<S2>(self, change: impl Fn(Endpoint<S>) -> Endpoint<S2>) -> Route<S2> {
        Route {
            message: self.message.into_iter().map(&change).collect(),
            subscribe: self.subscribe.into_iter().map(&change).collect(),
        }
    }
}

impl<S> fmt::Debug for Route<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |endpoints: &[Endpoint<S>]| -> Vec<&str> {
            endpoints.iter().map(|endpoint| endpoint.name).collect()
        };
        f.debug_struct("Route")
            .field("message", &names(&self.message))
            .field("subscribe", &names(&self.subscribe))
            .finish()
    }
}

impl<S> IntoRoute<S> for Route<S> {
    fn into_route(self) -> Self {
        self
    }
}

impl<O: IntoEffects, S> IntoRoute<S> for MessageHandler<O, S> {
    fn into_route(self) -> Route<S> {
        let handler = (self.handler.erase)(finish_effects);
        let endpoint = Endpoint::of(self.handler.name, handler);
        Route::new(false, endpoint.with(self.options))
    }
}

impl<O: IntoReply, S> IntoRoute<S> for SubscribeHandler<O, S> {
    fn into_route(self) -> Route<S> {
        let handler = (self.handler.erase)(finish_direct);
        let endpoint = Endpoint::of(self.handler.name, handler);
        Route::new(true, endpoint.with(self.options))
    }
}

impl<S> IntoRoute<S> for ReplyingHandler<S> {
    fn into_route(self) -> Route<S> {
        let mut endpoint = Endpoint::of(self.name, self.handler).with(self.options);
        endpoint.replies = self.replies;
        Route::new(self.subscribes, endpoint)
    }
}

/// One handler and its options.
pub(super) struct Endpoint<S> {
    pub(super) name: &'static str,
    pub(super) handler: ErasedHandler<S>,
    pub(super) replies: Vec<ReplyTo>,
    /// The innermost first.
    pub(super) layers: Vec<LayerFn>,
    pub(super) on_rejection: Option<OnRejection>,
    pub(super) run: RunOptions,
}

impl<S> Endpoint<S> {
    pub(super) fn of(name: &'static str, handler: ErasedHandler<S>) -> Self {
        Self {
            name,
            handler,
            replies: Vec::new(),
            layers: Vec::new(),
            on_rejection: None,
            run: RunOptions::default(),
        }
    }

    fn with(mut self, options: Options) -> Self {
        self.layers = options.layers;
        self.run = options.run;
        self
    }

    pub(super) fn layered(mut self, layer: LayerFn) -> Self {
        self.layers.push(layer);
        self
    }

    pub(super) fn or_on_rejection(mut self, told: Option<&OnRejection>) -> Self {
        self.on_rejection = self.on_rejection.or_else(|| told.cloned());
        self
    }

    pub(super) fn with_state<S2>(self, state: S) -> Endpoint<S2>
    where
        S: Clone + Send + Sync + 'static,
    {
        let handler = self.handler;
        Endpoint {
            name: self.name,
            handler: Arc::new(move |message, _, targets| handler(message, state.clone(), targets)),
            replies: self.replies,
            layers: self.layers,
            on_rejection: self.on_rejection,
            run: self.run,
        }
    }
}

impl<S> fmt::Display for Endpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        for (at, reply) in self.replies.iter().enumerate() {
            write!(f, "{}{reply}", if at == 0 { " -> " } else { ", " })?;
        }
        Ok(())
    }
}
