//! The router: maps destinations to handlers.

mod layer;
mod route;
mod table;

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use tower_layer::Layer;
use tower_service::Service;

pub use self::layer::MessageService;
pub use self::route::{
    IntoRoute, MessageHandler, ReplyingHandler, Route, SubscribeHandler, message, subscribe,
};
pub(crate) use self::table::{
    Need, NeedTo, Ready, RouteTable, as_written, captures, in_our_words, slashed,
};

use self::layer::{LayerFn, erase_layer};
use self::route::Endpoint;
use crate::app::handler::{Handler, erase, finish_effects};
use crate::app::login::{ErasedConnect, IntoLogin, erase_connect};
use crate::model::effects::Effects;
use crate::model::inbound::Inbound;
use crate::model::prefix::unslashed;
use crate::model::rejection::RejectedMessage;
use crate::model::reply::IntoEffects;

/// Maps application destinations to handlers.
///
/// Paths are what follows the application prefix: `/hello` for a client's SEND to `/app/hello`. `{name}` captures one
/// segment, which is not empty, and `{*name}` all that is left; a path without captures takes precedence over one with.
/// A path can have a [`message`] handler, which takes SENDs, and a [`subscribe`] handler, which answers SUBSCRIBEs; the
/// two kinds are looked up separately, so that a `subscribe` handler at `/rooms/lobby` leaves SENDs there to the
/// `message` handler at `/rooms/{room}`. Handlers for a session's beginning and end are added by
/// [`connect`](Self::connect) and [`disconnect`](Self::disconnect).
///
/// Configuration errors (a path twice, a capture that a reply uses and the path does not have, a `/` that is not nested
/// and so no destination) are collected, and [`MessagingBuilder::build`](crate::MessagingBuilder::build) reports them
/// all at once. Routes are a value: `{}` prints them as a table.
///
/// `S` is the state that handlers get by [`State`](crate::State); `build` takes a router only after
/// [`with_state`](Self::with_state) has supplied its state.
///
/// # Example: rooms
///
/// ```
/// use tramline::{Json, MessageRouter, Path, State, message, subscribe};
///
/// #[derive(Clone)]
/// struct Motd(&'static str);
///
/// async fn say(Path(room): Path<u32>, State(motd): State<Motd>, line: String) -> String {
///     format!("[{room}] {line} ({})", motd.0)
/// }
///
/// async fn last_lines(Path(room): Path<u32>) -> Json<Vec<String>> {
///     Json(vec![format!("welcome to room {room}")])
/// }
///
/// let rooms = MessageRouter::new()
///     .route("/", subscribe(last_lines))
///     .route("/say", message(say).send_to("/topic/rooms/{room}"));
/// let routes: MessageRouter = MessageRouter::new()
///     .nest("/rooms/{room}", rooms)
///     .with_state(Motd("be kind"));
/// assert_eq!(routes.paths().collect::<Vec<_>>(), ["/rooms/{room}", "/rooms/{room}/say"]);
/// assert!(routes.to_string().contains("say -> /topic/rooms/{room}"));
/// ```
#[must_use = "give it to `Messaging::builder().routes(..)`"]
pub struct MessageRouter<S = ()> {
    routes: Vec<(ByteString, Route<S>)>,
    fallback: Option<Endpoint<S>>,
    /// Each with its handler's name.
    connect: Vec<(&'static str, ErasedConnect<S>)>,
    disconnect: Vec<Endpoint<S>>,
    on_rejection: Option<OnRejection>,
    errors: Vec<String>,
}

/// An application's handler for rejections.
pub(crate) type OnRejection = Arc<dyn Fn(RejectedMessage, &mut Effects) + Send + Sync>;

impl<S: Clone + Send + Sync + 'static> MessageRouter<S> {
    /// A router without routes.
    pub fn new() -> Self {
        Self {
            routes: Vec::new(),
            fallback: None,
            connect: Vec::new(),
            disconnect: Vec::new(),
            on_rejection: None,
            errors: Vec::new(),
        }
    }

    /// Routes what clients send to `path`, or their subscriptions to it, to a handler made by [`message`] or
    /// [`subscribe`].
    ///
    /// A path may be given several times, with a handler of another kind each. Where [destinations have `.` between
    /// their segments](crate::MessagingBuilder::application_separator), paths may have either.
    pub fn route(mut self, path: impl Into<ByteString>, handler: impl IntoRoute<S>) -> Self {
        self.routes.push((path.into(), handler.into_route()));
        self
    }

    /// Asks `handler` about each client's CONNECT: which user it is, and whether to accept it.
    ///
    /// The handler's arguments are extractors, [`Connect`](crate::Connect) among them. Its return value
    /// [decides](IntoLogin): `()` leaves the session the user that its HTTP request had; a [`User`](crate::User) is the
    /// session's user from then on, in CONNECTED's `user-name`, for the policy, for user destinations and for handlers
    /// (`Option<User>`: or none); an error refuses with [its text](crate::login::ConnectRefused).
    ///
    /// The policy's [`on_connect`](crate::policy::PolicyBuilder::on_connect) rule is asked afterwards, and sees that
    /// user. While the handler runs only its own session waits. If it takes longer than
    /// [`Limits::connect_time`](crate::Limits::connect_time) the session is closed with 4500 and the handler dropped;
    /// if it panics the session is refused, with a text that does not reveal the reason;
    /// [`Stats::logins_refused`](crate::Stats::logins_refused) counts its refusals. Checking a password costs CPU on
    /// purpose: do it in `tokio::task::spawn_blocking`. There can be one.
    ///
    /// Default: none; a session's user is that of its HTTP request.
    ///
    /// # Example: login and passcode
    ///
    /// ```
    /// use tramline::login::ConnectRefused;
    /// use tramline::policy::{Policy, authenticated, deny};
    /// use tramline::{Connect, EmbeddedBroker, MessageRouter, Messaging, State, User};
    ///
    /// #[derive(Clone)]
    /// struct Accounts;
    ///
    /// impl Accounts {
    ///     async fn check(&self, login: &str, passcode: &str) -> bool {
    ///         (login, passcode) == ("alice", "wonderland")
    ///     }
    /// }
    ///
    /// async fn login(connect: Connect, State(accounts): State<Accounts>) -> Result<User, ConnectRefused> {
    ///     let (Some(login), Some(passcode)) = (connect.login(), connect.passcode()) else {
    ///         return Err(ConnectRefused::new("login and passcode are needed"));
    ///     };
    ///     if accounts.check(login, passcode).await {
    ///         Ok(User::new(login.to_owned()))
    ///     } else {
    ///         Err(ConnectRefused::new("login or passcode is wrong"))
    ///     }
    /// }
    ///
    /// let messaging = Messaging::builder()
    ///     .routes(MessageRouter::new().connect(login).with_state(Accounts))
    ///     .policy(Policy::builder().otherwise(authenticated()))
    ///     .broker(EmbeddedBroker::new().topics("/topic"))
    ///     .build()?;
    /// # let _ = (messaging, deny());
    /// # Ok::<(), tramline::BuildError>(())
    /// ```
    ///
    /// # Example: a token in a header
    ///
    /// ```
    /// use tramline::extract::{Bearer, Header};
    /// use tramline::login::ConnectRefused;
    /// use tramline::{MessageRouter, User};
    ///
    /// async fn login(Header(Bearer(token)): Header<Bearer>) -> Result<User, ConnectRefused> {
    ///     // Here a library of your choice verifies it.
    ///     let name = token.strip_prefix("token-of-").ok_or(ConnectRefused::new("the token is not valid"))?;
    ///     Ok(User::new(name.to_owned()))
    /// }
    ///
    /// let routes: MessageRouter = MessageRouter::new().connect(login);
    /// # let _ = routes;
    /// ```
    pub fn connect<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, S>,
        H::Output: IntoLogin,
    {
        self.connect
            .push((type_name::<H>(), erase_connect(handler)));
        self
    }

    /// Calls `handler` once for each session that was connected, when it has ended for whatever reason. The handler's
    /// arguments are extractors, [`Disconnected`](crate::events::Disconnected) among them, and its effects are carried
    /// out.
    ///
    /// It runs after the session's last handler. The session itself receives nothing any more, so a reply goes to
    /// others. [`shutdown`](crate::Messaging::shutdown) waits for it. It does not run if the runtime itself shuts down.
    /// There can be several; they run one after the other.
    ///
    /// # Example: notifying the others
    ///
    /// ```
    /// use tramline::events::Disconnected;
    /// use tramline::{MessageRouter, To, User};
    ///
    /// async fn left(user: User, disconnected: Disconnected) -> To<String> {
    ///     To::topic("/topic/comings-and-goings", format!("{} left: {disconnected}", user.name()))
    /// }
    ///
    /// let routes: MessageRouter = MessageRouter::new().disconnect(left);
    /// # let _ = routes;
    /// ```
    pub fn disconnect<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, S>,
        H::Output: IntoEffects,
    {
        self.disconnect.push(Endpoint::of(
            type_name::<H>(),
            erase(handler, finish_effects),
        ));
        self
    }

    /// Takes the messages that match no route. Without one, the sender of such a message receives a [`Rejection`](crate::Rejection) of
    /// the kind [`NoRoute`](crate::reply::RejectionKind::NoRoute).
    ///
    /// It takes no SUBSCRIBEs: one that matches no route is refused.
    pub fn fallback<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, S>,
        H::Output: IntoEffects,
    {
        if self.fallback.is_some() {
            self.errors.push("two fallbacks: there can be one".into());
        }
        self.fallback = Some(Endpoint::of(
            type_name::<H>(),
            erase(handler, finish_effects),
        ));
        self
    }

    /// Handles [rejections](crate::Rejection), in place of the message to `/user/queue/errors`: those of this router's routes,
    /// and of merged or nested routers that do not set their own.
    ///
    /// They are counted and logged all the same. If `told` panics, or its own effects are rejected, the client is
    /// notified of that in the usual way.
    ///
    /// # Example: another destination, another shape
    ///
    /// ```
    /// use tramline::reply::RejectedMessage;
    /// use tramline::{Json, MessageRouter, ToUser};
    ///
    /// let routes: MessageRouter = MessageRouter::new().on_rejection(|rejected: RejectedMessage| {
    ///     let problem = serde_json::json!({ "problem": rejected.to_string(), "at": rejected.destination() });
    ///     ToUser::all("/queue/problems", Json(problem))
    /// });
    /// # let _ = routes;
    /// ```
    pub fn on_rejection<F, E>(mut self, told: F) -> Self
    where
        F: Fn(RejectedMessage) -> E + Send + Sync + 'static,
        E: IntoEffects,
    {
        self.on_rejection = Some(Arc::new(move |rejection, effects| {
            told(rejection).into_effects(effects);
        }));
        self
    }

    /// Adds the routes of `other`.
    pub fn merge(mut self, other: Self) -> Self {
        self.take(other, |path| path);
        self
    }

    /// Adds the routes of `other` below `prefix`: its `/` is `prefix` itself. The prefix may have captures.
    pub fn nest(mut self, prefix: impl Into<ByteString>, mut other: Self) -> Self {
        let written = prefix.into();
        let prefix = unslashed(written.clone());
        if other.fallback.take().is_some() {
            self.errors.push(format!(
                "nest {written:?}: the nested router has a fallback; the outermost can have one"
            ));
        }
        let is_well = prefix.starts_with('/') && !prefix.contains("{*");
        if !is_well {
            self.errors.push(format!(
                "nest {written:?}: a prefix begins with `/` and captures no tail; to nest at `/` use `merge`"
            ));
        }
        for path in other.paths().filter(|path| !path.starts_with('/')) {
            self.errors.push(format!(
                "route {path:?} in {written:?}: a path begins with `/`"
            ));
        }
        // A malformed path is taken as it was probably meant, so that `build` also reports the other errors of the
        // routes.
        let meant = match is_well {
            true => prefix,
            false => match prefix.trim_matches('/').replace("{*", "{") {
                empty if empty.is_empty() => ByteString::new(),
                prefix => format!("/{prefix}").into(),
            },
        };
        self.take(other, |path| {
            match path.strip_prefix('/').unwrap_or(&path) {
                "" if !meant.is_empty() => meant.clone(),
                below => format!("{meant}/{below}").into(),
            }
        });
        self
    }

    /// Everything of `other`, with its paths changed by `place`.
    fn take(&mut self, other: Self, place: impl Fn(ByteString) -> ByteString) {
        let inherit = |endpoint: Endpoint<S>| endpoint.or_on_rejection(other.on_rejection.as_ref());
        for (path, route) in other.routes {
            self.routes.push((place(path), route.map(inherit)));
        }
        if other.fallback.is_some() && self.fallback.is_some() {
            self.errors.push("two fallbacks: there can be one".into());
        }
        self.fallback = self.fallback.take().or(other.fallback.map(inherit));
        self.connect.extend(other.connect);
        self.disconnect
            .extend(other.disconnect.into_iter().map(inherit));
        self.errors.extend(other.errors);
    }

    /// Puts a tower layer around the handlers of all routes that were added so far, the fallback's included. A layer added
    /// later is further out.
    ///
    /// A layer sees the [`Inbound`] on its way in and the [`Effects`] on their way out. It comes after the
    /// [policy](crate::policy): it may change headers and body, add [extensions](Inbound::extensions_mut), refuse, and
    /// measure, but change neither destination nor user. An error of its service becomes a [`Rejection`](crate::Rejection): its own if it
    /// is one, else one of the kind [`Refused`](crate::reply::RejectionKind::Refused). For a single route, see
    /// [`MessageHandler::layer`]. For messages that no handler takes, use an
    /// [`Interceptor`](crate::interceptor::Interceptor).
    ///
    /// The service inside a layer is always ready, even if it is a layer itself. A layer whose readiness depends on the
    /// inner service, such as `LoadShedLayer` around a concurrency limit, must be added together with it by
    /// `tower::ServiceBuilder`.
    ///
    /// # Example: no handler takes longer than a second
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower::timeout::TimeoutLayer;
    /// use tramline::{MessageRouter, message};
    ///
    /// async fn look_up(name: String) -> String {
    ///     format!("nothing is known of {name}")
    /// }
    ///
    /// let routes: MessageRouter = MessageRouter::new()
    ///     .route("/look-up", message(look_up).send_to_session("/queue/found"))
    ///     .layer(TimeoutLayer::new(Duration::from_secs(1)));
    /// # let _ = routes;
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<MessageService> + Send + Sync + 'static,
        L::Service: Service<Inbound, Response = Effects> + Clone + Send + Sync + 'static,
        <L::Service as Service<Inbound>>::Error: Into<BoxError>,
        <L::Service as Service<Inbound>>::Future: Send,
    {
        let layer = erase_layer(layer);
        let add = |endpoint: Endpoint<S>| endpoint.layered(LayerFn::clone(&layer));
        let routes = self.routes.into_iter();
        self.routes = routes.map(|(path, route)| (path, route.map(add))).collect();
        self.fallback = self.fallback.map(add);
        self
    }

    /// Gives the handlers their state.
    pub fn with_state<S2: Clone + Send + Sync + 'static>(self, state: S) -> MessageRouter<S2> {
        let bind = |endpoint: Endpoint<S>| endpoint.with_state::<S2>(state.clone());
        let connect = self.connect.into_iter().map(|(name, connect)| {
            let state = state.clone();
            let bound: ErasedConnect<S2> =
                Arc::new(move |message, _| connect(message, state.clone()));
            (name, bound)
        });
        MessageRouter {
            routes: self
                .routes
                .into_iter()
                .map(|(path, route)| (path, route.map(bind)))
                .collect(),
            fallback: self.fallback.map(bind),
            connect: connect.collect(),
            disconnect: self.disconnect.into_iter().map(bind).collect(),
            on_rejection: self.on_rejection,
            errors: self.errors,
        }
    }

    /// The paths, in the order they were added.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|(path, _)| &**path)
    }
}

/// Routes whose handlers have their state: a [`MessageRouter`] after [`with_state`](MessageRouter::with_state), or one that
/// needs none. Not for implementing elsewhere.
#[diagnostic::on_unimplemented(
    message = "the handlers of `{Self}` have no state yet",
    label = "without its state",
    note = "give it to the routes: `.with_state(state)`"
)]
pub trait CompleteRoutes {
    #[doc(hidden)]
    fn into_routes(self) -> MessageRouter;
}

impl CompleteRoutes for MessageRouter {
    fn into_routes(self) -> MessageRouter {
        self
    }
}

/// An error of any type, from a layer's service.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S: Clone + Send + Sync + 'static> Default for MessageRouter<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for MessageRouter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.routes.iter().map(|(path, _)| path);
        f.debug_set().entries(paths).finish()
    }
}

/// One line for each handler: its kind and path, its name, and the destinations of its replies.
impl<S> fmt::Display for MessageRouter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |kind: &str, path: &str, endpoint: &Endpoint<S>| {
            writeln!(f, "{kind:<10} {path:<32} {endpoint}")
        };
        for (path, route) in &self.routes {
            for endpoint in &route.message {
                line("MESSAGE", path, endpoint)?;
            }
            for endpoint in &route.subscribe {
                line("SUBSCRIBE", path, endpoint)?;
            }
        }
        if let Some(endpoint) = &self.fallback {
            line("MESSAGE", "otherwise", endpoint)?;
        }
        for (name, _) in &self.connect {
            writeln!(f, "{:<10} {:<32} {name}", "CONNECT", "")?;
        }
        for endpoint in &self.disconnect {
            writeln!(f, "{:<10} {:<32} {endpoint}", "DISCONNECT", "")?;
        }
        Ok(())
    }
}
