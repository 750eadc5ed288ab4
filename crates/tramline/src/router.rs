//! Which handler takes which message.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::Target;

use crate::effects::Effects;
use crate::handler::{EffectsFuture, ErasedHandler, Handler, erase};
use crate::inbound::Inbound;
use crate::policy::Authorized;
use crate::rejection::{Rejection, RejectionKind};
use crate::reply::{IntoEffects, IntoReply};
use crate::template::Template;

/// Maps application destinations to handlers.
///
/// Paths are what follows the application prefix: `/hello` for a client's SEND to `/app/hello`. `{name}` captures one
/// segment and `{*name}` all that is left; a path without captures wins over one with. Mistakes (a path twice, a
/// capture that a reply wants and the path does not have) are kept and all reported together by
/// [`MessagingBuilder::build`](crate::MessagingBuilder::build).
///
/// `S` is the state that handlers get by [`State`](crate::State); a router whose state was not given by
/// [`with_state`](Self::with_state) does not fit into `build`.
///
/// # Example: rooms
///
/// ```
/// use tramline::{Json, MessageRouter, Path, State, message};
///
/// #[derive(Clone)]
/// struct Motd(&'static str);
///
/// async fn say(Path(room): Path<u32>, State(motd): State<Motd>, line: String) -> String {
///     format!("[{room}] {line} ({})", motd.0)
/// }
///
/// let routes: MessageRouter = MessageRouter::new()
///     .route("/rooms/{room}/say", message(say).send_to("/topic/rooms/{room}"))
///     .with_state(Motd("be kind"));
/// assert_eq!(routes.paths().collect::<Vec<_>>(), ["/rooms/{room}/say"]);
/// # let _ = Json(1);
/// ```
#[must_use = "give it to `Messaging::builder().routes(..)`"]
pub struct MessageRouter<S = ()> {
    routes: Vec<(ByteString, Route<S>)>,
    mistakes: Vec<String>,
}

impl<S: Clone + Send + Sync + 'static> MessageRouter<S> {
    /// A router without routes.
    pub fn new() -> Self {
        Self {
            routes: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    /// Sends the messages for `path` to `handler`, made by [`message`].
    pub fn route(mut self, path: impl Into<ByteString>, handler: impl IntoRoute<S>) -> Self {
        let path = path.into();
        match captures(&path) {
            Ok(captures) => match handler.into_route(&captures) {
                Ok(route) => self.routes.push((path, route)),
                Err(Mistake(mistake)) => self.mistakes.push(format!("route {path:?}: {mistake}")),
            },
            Err(mistake) => self.mistakes.push(format!("route {path:?}: {mistake}")),
        }
        self
    }

    /// Gives the handlers their state.
    pub fn with_state<S2>(self, state: S) -> MessageRouter<S2> {
        let routes = self.routes.into_iter().map(
            |(
                path,
                Route {
                    handler,
                    replies_to,
                },
            )| {
                let state = state.clone();
                let handler: ErasedHandler<S2> =
                    Arc::new(move |message, _| handler(message, state.clone()));
                (
                    path,
                    Route {
                        handler,
                        replies_to,
                    },
                )
            },
        );
        MessageRouter {
            routes: routes.collect(),
            mistakes: self.mistakes,
        }
    }

    /// The paths, in the order they were added.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|(path, _)| &**path)
    }
}

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

/// Handles messages with `handler`: the argument of [`MessageRouter::route`].
///
/// A handler that returns what [says itself](IntoEffects) where it goes is complete; one that returns a
/// [reply](IntoReply) needs [`send_to`](MessageHandler::send_to).
pub fn message<H, T, S>(handler: H) -> MessageHandler<H, T, S>
where
    H: Handler<T, S>,
{
    MessageHandler {
        handler,
        types: PhantomData,
    }
}

/// A handler for messages, on its way into a route.
#[must_use = "give it to `MessageRouter::route`"]
pub struct MessageHandler<H, T, S> {
    handler: H,
    types: PhantomData<fn() -> (T, S)>,
}

impl<H, T, S> MessageHandler<H, T, S>
where
    H: Handler<T, S>,
    H::Output: IntoReply,
{
    /// Sends what the handler returns to everyone who is subscribed to `destination`, which may use the captures of
    /// the route: `/topic/rooms/{room}`. Called repeatedly, sends it to each.
    pub fn send_to(self, destination: impl Into<ByteString>) -> MessageHandlerTo<H, T, S> {
        MessageHandlerTo {
            message: self,
            destinations: vec![destination.into()],
        }
    }
}

/// A handler whose replies have a destination.
#[must_use = "give it to `MessageRouter::route`"]
pub struct MessageHandlerTo<H, T, S> {
    message: MessageHandler<H, T, S>,
    destinations: Vec<ByteString>,
}

impl<H, T, S> MessageHandlerTo<H, T, S> {
    /// Sends the replies to `destination` too.
    pub fn send_to(mut self, destination: impl Into<ByteString>) -> Self {
        self.destinations.push(destination.into());
        self
    }
}

impl<H, T, S> fmt::Debug for MessageHandler<H, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message({})", std::any::type_name::<H>())
    }
}

impl<H, T, S> fmt::Debug for MessageHandlerTo<H, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.send_to({:?})", self.message, self.destinations)
    }
}

/// What [`MessageRouter::route`] takes: made by [`message`]. Not for implementing elsewhere.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a complete route",
    note = "a handler that returns a bare reply needs to be told where it goes: `message(handler).send_to(\"/topic/...\")`"
)]
pub trait IntoRoute<S> {
    #[doc(hidden)]
    fn into_route(self, captures: &[ByteString]) -> Result<Route<S>, Mistake>;
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "no part of the public API")]
pub struct Route<S> {
    handler: ErasedHandler<S>,
    /// Fixed beginnings of reply destinations, up to the first capture.
    replies_to: Vec<ByteString>,
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Mistake(String);

impl<H, T, S> IntoRoute<S> for MessageHandler<H, T, S>
where
    H: Handler<T, S>,
    H::Output: IntoEffects,
    S: Clone + Send + Sync + 'static,
{
    fn into_route(self, _: &[ByteString]) -> Result<Route<S>, Mistake> {
        let finish =
            |output: H::Output, _: &[Target], effects: &mut Effects| output.into_effects(effects);
        Ok(Route {
            handler: erase(self.handler, Vec::new(), finish),
            replies_to: Vec::new(),
        })
    }
}

impl<H, T, S> IntoRoute<S> for MessageHandlerTo<H, T, S>
where
    H: Handler<T, S>,
    H::Output: IntoReply,
    S: Clone + Send + Sync + 'static,
{
    fn into_route(self, captures: &[ByteString]) -> Result<Route<S>, Mistake> {
        let templates = self
            .destinations
            .iter()
            .map(|text| Template::parse(text, captures));
        let templates = templates
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Mistake(error.to_string()))?;
        let finish = |output: H::Output, targets: &[Target], effects: &mut Effects| {
            output.into_reply(targets, effects);
        };
        let fixed = |text: &ByteString| text.split('{').next().unwrap_or_default().into();
        Ok(Route {
            handler: erase(self.message.handler, templates, finish),
            replies_to: self.destinations.iter().map(fixed).collect(),
        })
    }
}

/// The finished table, below its application prefix.
pub(crate) struct RouteTable {
    routes: matchit::Router<ErasedHandler<()>>,
}

impl RouteTable {
    /// Makes the table, and tells all that is wrong with the routes; `is_carried` says whether the broker has a
    /// destination.
    pub(crate) fn build(
        router: MessageRouter,
        is_carried: impl Fn(&str) -> bool,
    ) -> (Self, Vec<String>) {
        let mut mistakes = router.mistakes;
        let mut routes = matchit::Router::new();
        for (
            path,
            Route {
                handler,
                replies_to,
            },
        ) in router.routes
        {
            for destination in replies_to
                .iter()
                .filter(|destination| !is_carried(destination))
            {
                mistakes.push(format!(
                    "route {path:?}: the broker carries no destination {destination:?}"
                ));
            }
            if let Err(error) = routes.insert(&*path, handler) {
                mistakes.push(format!("route {path:?}: {error}"));
            }
        }
        (Self { routes }, mistakes)
    }

    /// Starts the handler for `path`, the part of the message's destination below the prefix.
    pub(crate) fn call(&self, path: &str, message: Authorized<Inbound>) -> EffectsFuture {
        let mut message = message.into_inner();
        let Ok(found) = self.routes.at(path) else {
            let error = "no handler takes messages for this destination";
            let rejection = Rejection::new(RejectionKind::NoRoute, error);
            return Box::pin(std::future::ready(Effects::rejected(rejection)));
        };
        let captures = found
            .params
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        message.captures = captures.collect();
        (found.value)(message, ())
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouteTable")
    }
}

/// The names that `path` captures.
fn captures(path: &str) -> Result<Vec<ByteString>, String> {
    if !path.starts_with('/') {
        return Err("a path begins with `/`".into());
    }
    let mut names = Vec::new();
    for segment in path.split('/') {
        if let Some(name) = segment.strip_prefix(':') {
            return Err(format!("captures are written {{{name}}}, not :{name}"));
        }
        let mut rest = segment;
        while let Some((_, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("unclosed `{`")?;
            names.push(name.trim_start_matches('*').into());
            rest = after;
        }
    }
    Ok(names)
}
