//! The whole of it: routes, broker and policy, and what clients connect to.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};
use parking_lot::Mutex;
use tramline_broker::{Broker, BrokerStatistics, DestinationError, Ending, Pattern, Separator};
use tramline_sockjs::PayloadLimits;
use tramline_stomp::ServerConfig;
use tramline_websocket::Config;

use crate::compression::Compression;
use crate::endpoint::{
    Admitted, Body, Endpoint, Front, Handle, Origins, Proxies, Refusals, SockJs, Stack,
    offered_protocols, session_info,
};
use crate::events::{Event, Listeners};
use crate::inbound::{SessionInfo, SessionRecord};
use crate::interceptor::{Interceptor, Interceptors};
use crate::limits::Limits;
use crate::open_sessions::OpenSessions;
use crate::policy::Policy;
use crate::presence::{Presence, PresenceTable, Presences};
use crate::publisher::Publisher;
use crate::raw::RawTransport;
use crate::registry::{Registry, Users};
use crate::router::{MessageRouter, RouteTable};
use crate::session::SessionTask;
use crate::stats::{Counters, Stats};
use crate::transport::keep_alive::KeepAlive;
use crate::transport::violation::LimitsOf;
use crate::wheel::{Driven, Driver, Wheel, now, wall_clock};

/// A messaging stack: handlers, broker and policy behind endpoints that clients connect to.
///
/// Made by [`Messaging::builder`]. `build` starts nothing: the first client's connection does, on the runtime that
/// serves it. Several stacks in one process are independent of each other.
///
/// Cheap to clone. When the last clone and the last [`Endpoint`] are dropped, the sessions are ended, with close code
/// 1001; [`shutdown`](Self::shutdown) does the same and waits.
///
/// # Example: everything that is needed
///
/// ```
/// use tramline::policy::{Policy, deny, permit};
/// use tramline::{EmbeddedBroker, MessageRouter, Messaging, message};
///
/// async fn greet(name: String) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let messaging = Messaging::builder()
///     .routes(MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings")))
///     .broker(EmbeddedBroker::new().topics("/topic"))
///     .policy(
///         Policy::builder()
///             .on_connect(permit())
///             .on_message("/app/**", permit())
///             .on_subscribe("/topic/**", permit())
///             .otherwise(deny()),
///     )
///     .build()?;
/// let app: axum::Router = axum::Router::new().nest_service("/ws", messaging.endpoint().with_sockjs());
/// # let _ = app;
/// # Ok::<(), tramline::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Messaging {
    pub(crate) handle: Arc<Handle<Shared>>,
}

/// What all sessions of a stack share.
pub(crate) struct Shared {
    pub(crate) name: ByteString,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) routes: RouteTable,
    pub(crate) app_prefixes: Vec<ByteString>,
    pub(crate) user_prefix: ByteString,
    pub(crate) policy: Policy,
    pub(crate) publisher: Publisher,
    pub(crate) limits: Limits,
    pub(crate) stomp: Arc<ServerConfig>,
    pub(crate) front: Front,
    pub(crate) sockjs: SockJs,
    pub(crate) wheel: Arc<Wheel>,
    pub(crate) counters: Counters,
    pub(crate) listeners: Listeners,
    pub(crate) interceptors: Interceptors,
    pub(crate) presence: PresenceTable,
    pub(crate) users: Users,
    pub(crate) sessions: OpenSessions<SessionRecord>,
    /// Counts the answers of `subscribe` handlers, for their `message-id`.
    pub(crate) answers: AtomicU64,
    driver: Driver,
    next_sweep: Mutex<Instant>,
}

impl Messaging {
    /// Begins a stack.
    pub fn builder() -> MessagingBuilder {
        MessagingBuilder::default()
    }

    /// A tower service for clients to connect to, by WebSocket at its own path.
    ///
    /// Mount it with `nest_service("/ws", messaging.endpoint())`, or see [`Endpoint::at`].
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(Arc::clone(&self.handle))
    }

    /// Sends messages from anywhere in the application.
    pub fn publisher(&self) -> Publisher {
        self.handle.shared.publisher.clone()
    }

    /// Who is connected, and to what they subscribed.
    pub fn registry(&self) -> Registry {
        Registry::of(&self.handle.shared)
    }

    /// Who is at the destinations that [presence](MessagingBuilder::presence) is kept for.
    pub fn presence(&self) -> Presence {
        Presence::of(&self.handle.shared)
    }

    /// The name that tells this stack apart from others.
    pub fn name(&self) -> &str {
        &self.handle.shared.name
    }

    /// What the stack has done and refused so far.
    pub fn stats(&self) -> Stats {
        self.handle.shared.counters.snapshot()
    }

    /// What the broker has counted, over all and for at most `limit` of the destinations that `pattern` covers: for a page
    /// that shows them.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] when `pattern` is none.
    ///
    /// # Example: how deep the queues are
    ///
    /// ```
    /// use tramline::policy::{Policy, permit};
    /// use tramline::{EmbeddedBroker, Messaging};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let messaging = Messaging::builder()
    ///     .broker(EmbeddedBroker::new().queues("/queue"))
    ///     .policy(Policy::builder().otherwise(permit()))
    ///     .build()?;
    /// messaging.publisher().send("/queue/orders", "one").await?;
    ///
    /// let statistics = messaging.broker_statistics("/queue/**", 100)?;
    /// let orders = &statistics.selected[0];
    /// assert_eq!((&*orders.destination, orders.depth), ("/queue/orders", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn broker_statistics(
        &self,
        pattern: impl Into<ByteString>,
        limit: usize,
    ) -> Result<BrokerStatistics, DestinationError> {
        let broker = &self.handle.shared.broker;
        let pattern = pattern.into();
        let separator = broker.separator(&pattern);
        let pattern = Pattern::parse_separated(pattern, separator)?;
        Ok(broker.statistics(&pattern, limit))
    }

    /// The policy as it is applied here: with the separators that the broker has.
    pub fn policy(&self) -> &Policy {
        &self.handle.shared.policy
    }

    /// Ends all sessions and waits for them, until `deadline` at most; gives how many were still there then.
    ///
    /// New ones are refused from now on: with 503, and [`serve_tcp`](Self::serve_tcp) stops listening. Handlers that run are waited for, what is queued is written, and
    /// clients are closed with 1001, "going away". Dropping the future stops the waiting, not the ending.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        let shared = &self.handle.shared;
        let was_closing = shared.sessions.is_closing();
        shared.close();
        let left = shared.sessions.all_gone(deadline).await;
        if !was_closing {
            shared.tell(|| Event::BrokerUnavailable);
        }
        left
    }
}

impl Shared {
    /// Waits until newcomers are refused.
    pub(crate) async fn closed(&self) {
        self.sessions.closed().await;
    }

    /// Tells whoever listens.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        let panics = &self.counters.handler_panics;
        self.listeners.tell(&self.name, panics, event);
    }

    pub(crate) fn session_opened(&self, session: &Arc<SessionRecord>) {
        self.counters.sessions_open.increment();
        self.counters.sessions_total.increment();
        if !self.sessions.add(session.id(), session) {
            session.outbox.end(going_away());
        }
    }

    pub(crate) fn session_closed(&self, session: &SessionRecord) {
        self.counters.sessions_open.decrement();
        self.sessions.remove(session.id());
    }

    /// What follows an application prefix in `destination`.
    pub(crate) fn application_path<'a>(&self, destination: &'a str) -> Option<&'a str> {
        let mut prefixes = self.app_prefixes.iter();
        prefixes.find_map(|prefix| below(destination, prefix))
    }

    /// Starts what drives timers, when it does not run yet. Must be called inside a runtime.
    pub(crate) fn drive(self: &Arc<Self>) {
        Driver::start(self);
    }

    /// The text for a destination that leads nowhere.
    pub(crate) fn nowhere(&self, destination: &str) -> String {
        let prefixes = self.app_prefixes.iter();
        let handlers: Vec<String> = prefixes.map(|prefix| format!("\"{prefix}/\"")).collect();
        format!(
            "{destination:?} leads nowhere: handlers are below {}, what is for users is below \"{}/\", and the broker \
             carries no such destination",
            handlers.join(" and "),
            self.user_prefix
        )
    }
}

impl Stack for Shared {
    type Opening = SessionInfo;

    const LIMITS_OF: LimitsOf = LimitsOf::Stomp;

    fn name(&self) -> &str {
        &self.name
    }

    fn front(&self) -> &Front {
        &self.front
    }

    fn is_closing(&self) -> bool {
        self.sessions.is_closing()
    }

    fn close(&self) {
        for session in self.sessions.close() {
            session.outbox.end(going_away());
        }
    }

    fn counters(&self) -> Refusals<'_> {
        Refusals {
            origins: &self.counters.origins_refused,
            requests: &self.counters.requests_refused,
            protocol_errors: &self.counters.protocol_errors,
        }
    }

    fn payload_limits(&self) -> PayloadLimits {
        self.limits.payload()
    }

    fn websocket(&self) -> (Config, Option<Box<KeepAlive>>) {
        let limits = &self.limits;
        let config = Config::default()
            .with_max_message(limits.message())
            .with_max_frame(limits.message());
        let keep_alive = KeepAlive::new(
            limits.keep_alive,
            limits.keep_alive_timeout,
            self.wheel.now(),
        );
        (config, keep_alive)
    }

    /// With the first sub-protocol in the client's list that is STOMP's, as the client wrote it; where there is none the
    /// handshake goes on without: many STOMP clients ask for none.
    async fn admit(&self, parts: &mut Parts) -> Result<Admitted<SessionInfo>, Response<Body>> {
        let chosen = offered_protocols(&parts.headers)
            .find(|offer| tramline_stomp::Version::from_subprotocol(offer).is_some());
        Ok(Admitted {
            protocol: chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok()),
            opening: session_info(&self.front, parts),
        })
    }

    fn connected(info: &mut SessionInfo, remote: Option<SocketAddr>, _: Option<SocketAddr>) {
        info.handshake.remote = info.handshake.remote.or(remote);
    }

    fn session<T: RawTransport>(
        self: Arc<Self>,
        info: SessionInfo,
        transport: T,
    ) -> impl Future<Output = ()> + Send + 'static {
        SessionTask::new(self, info, transport)
    }
}

impl Driven for Shared {
    fn driver(&self) -> &Driver {
        &self.driver
    }

    fn wheel(&self) -> &Arc<Wheel> {
        &self.wheel
    }

    fn tick(&self, now: Instant) {
        let mut next_sweep = self.next_sweep.lock();
        if *next_sweep <= now {
            *next_sweep = now + SWEEP;
            drop(next_sweep);
            self.broker.sweep(wall_clock().into());
        }
    }
}

/// What follows `prefix` in `destination`, beginning with `/`.
pub(crate) fn below<'a>(destination: &'a str, prefix: &str) -> Option<&'a str> {
    let path = destination.strip_prefix(prefix)?;
    (path.len() > 1 && path.starts_with('/')).then_some(path)
}

/// How often the broker may do what is due: let messages expire, refuse who waited in vain.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);

fn going_away() -> Ending {
    Ending::Requested {
        code: 1001,
        reason: ByteString::from_static("the server is going away"),
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messaging")
            .field("name", &self.name)
            .field("broker", &self.broker)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

/// Makes a [`Messaging`]; every mistake in what it is given is reported by [`build`](Self::build), all at once.
#[must_use = "finish with `build`"]
pub struct MessagingBuilder {
    name: ByteString,
    routes: MessageRouter,
    app_prefixes: Vec<ByteString>,
    app_separator: Separator,
    user_prefix: ByteString,
    broker: Option<Arc<dyn Broker>>,
    listeners: Listeners,
    interceptors: Interceptors,
    presences: Presences,
    policy: Option<Policy>,
    limits: Limits,
    /// What [`Endpoint::with_sockjs`] offers.
    pub(crate) sockjs: SockJs,
    origins: Origins,
    proxies: Proxies,
    keep_headers: Vec<HeaderName>,
    compression: Compression,
}

impl fmt::Debug for MessagingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagingBuilder")
            .field("name", &self.name)
            .field("routes", &self.routes)
            .field("broker", &self.broker)
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Default for MessagingBuilder {
    fn default() -> Self {
        Self {
            name: ByteString::from_static("messaging"),
            routes: MessageRouter::new(),
            app_prefixes: vec![ByteString::from_static("/app")],
            app_separator: Separator::Slash,
            user_prefix: ByteString::from_static("/user"),
            broker: None,
            listeners: Listeners::default(),
            interceptors: Interceptors::default(),
            presences: Presences::new(),
            policy: None,
            limits: Limits::default(),
            sockjs: SockJs::default(),
            origins: Origins::default(),
            proxies: Proxies::default(),
            keep_headers: Vec::new(),
            compression: Compression::Off,
        }
    }
}

impl MessagingBuilder {
    /// Tells this stack apart from others in logs. Default `messaging`.
    pub fn name(mut self, name: impl Into<ByteString>) -> Self {
        self.name = name.into();
        self
    }

    /// The handlers, below the application prefixes.
    pub fn routes(mut self, routes: MessageRouter) -> Self {
        self.routes = routes;
        self
    }

    /// Where handlers are: a SEND to `/app/hello` goes to the route `/hello`. Default `/app`, and nothing else.
    pub fn application_prefix(self, prefix: impl Into<ByteString>) -> Self {
        self.application_prefixes([prefix])
    }

    /// Where handlers are, for clients that know them by several names: the same routes are below each.
    pub fn application_prefixes<P: Into<ByteString>>(
        mut self,
        prefixes: impl IntoIterator<Item = P>,
    ) -> Self {
        self.app_prefixes = prefixes.into_iter().map(Into::into).collect();
        self
    }

    /// What is between the segments of destinations below the application prefixes, besides `/`. Default
    /// [`Separator::Slash`], nothing else. With [`Separator::Dot`] a SEND to `/app/rooms.7.say` goes to the route
    /// `/rooms/{room}/say`, which may also be written `/rooms.{room}.say`: Spring's `AntPathMatcher(".")`. What the broker
    /// carries has [separators of its own](crate::Prefix).
    pub fn application_separator(mut self, separator: Separator) -> Self {
        self.app_separator = separator;
        self
    }

    /// Where a client finds what is sent to it or its user: `/user/queue/errors`. Default `/user`.
    pub fn user_prefix(mut self, prefix: impl Into<ByteString>) -> Self {
        self.user_prefix = prefix.into();
        self
    }

    /// What carries messages. Must be said.
    pub fn broker(mut self, broker: impl Broker) -> Self {
        self.broker = Some(Arc::new(broker));
        self
    }

    /// What clients may do. Must be said: there is no default that would be right.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Calls `listener` with each [`Event`] of the stack, in the task of the session that it is about: it must not block, and
    /// what takes longer it sends to a task of its own. The events of one session come in order. May be said several
    /// times; a listener that panics is logged, and keeps nobody from hearing the event.
    ///
    /// # Example: a line for each coming and going
    ///
    /// ```
    /// use tramline::{Event, Messaging};
    ///
    /// let builder = Messaging::builder().on_event(|event| match event {
    ///     Event::Connected { session } => println!("{} is here", session.id()),
    ///     Event::Disconnected { session, reason } => println!("{} is gone: {reason}", session.id()),
    ///     _ => {}
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener);
        self
    }

    /// Shows `interceptor` every frame of every client, and every message on its way out. May be said several times.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.add(interceptor);
        self
    }

    /// The destinations that presence is kept for: who is subscribed there, who comes and goes. Default: none.
    pub fn presence(mut self, presences: Presences) -> Self {
        self.presences = presences;
        self
    }

    /// Whether WebSocket messages are compressed. Default [`Compression::Off`]; see there what it costs.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// What a client may take of the server. Default [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The web pages whose scripts may connect, besides those of the server's own origin; requests from others hear 403.
    ///
    /// | Text | Allows |
    /// |---|---|
    /// | `https://app.example` | exactly this origin |
    /// | `https://*.app.example` | what has one character or more in place of each `*`, dots included |
    /// | `https://app.example:[8080,8443]`, `:[*]` | these ports, or any |
    /// | `null` | sandboxed frames and files, which any page can make |
    /// | `*` | every page, which can then act with a visitor's cookies |
    ///
    /// Default: none besides the same origin. That is judged by host and port of the `Host` header, not by the scheme, so
    /// it holds behind a proxy that ends TLS; behind one that changes `Host`, see
    /// [`trusted_proxies`](Self::trusted_proxies). Requests without an `Origin` header do not come from a script in a
    /// browser and pass; where browsers make an exception, [`SockJs`](crate::SockJs) says what holds instead.
    ///
    /// # Example: the pages of two sites
    ///
    /// ```
    /// use tramline::Messaging;
    ///
    /// let builder = Messaging::builder().allowed_origins(["https://www.example.com", "https://*.example.org:[443,8443]"]);
    /// let error = builder.allowed_origins(["www.example.com"]).build().unwrap_err();
    /// assert!(error.to_string().contains("allowed origin \"www.example.com\": must look like"));
    /// ```
    pub fn allowed_origins<O: Into<ByteString>>(
        mut self,
        origins: impl IntoIterator<Item = O>,
    ) -> Self {
        self.origins = Origins::new(origins.into_iter().map(Into::into));
        self
    }

    /// The proxies in front of the server whose `X-Forwarded-Host`, `-Port` and `-For` are believed: addresses
    /// (`192.168.1.7`), networks (`10.0.0.0/8`), or `*` for whoever connects, which is right where nobody but the proxy can.
    ///
    /// The first two then take the place of `Host` where the server's own origin is asked for; the last gives the
    /// [remote address](crate::Handshake::remote), the last one there that is not a trusted proxy's, with the port 0 where
    /// none is told. Default: none are believed, since anybody could send them.
    ///
    /// Who sends a request is known by the `SocketAddr` in its extensions: where no middleware puts one there, only `*` has
    /// an effect.
    ///
    /// # Example: the middleware, in axum
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use axum::extract::{ConnectInfo, Request};
    /// use axum::middleware::{Next, from_fn};
    /// use axum::response::Response;
    ///
    /// async fn remote(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
    ///     request.extensions_mut().insert(peer);
    ///     next.run(request).await
    /// }
    ///
    /// # fn serve(messaging: tramline::Messaging) {
    /// let app = axum::Router::new().nest_service("/ws", messaging.endpoint()).layer(from_fn(remote));
    /// let app = app.into_make_service_with_connect_info::<SocketAddr>();
    /// # let _ = app;
    /// # }
    /// # let _ = serve;
    /// ```
    pub fn trusted_proxies<P: Into<ByteString>>(
        mut self,
        proxies: impl IntoIterator<Item = P>,
    ) -> Self {
        self.proxies = Proxies::new(proxies.into_iter().map(Into::into));
        self
    }

    /// Headers of the HTTP request that a session keeps for its handlers. Default: none, since a browser sends some
    /// 4 KiB of them.
    pub fn keep_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.keep_headers.extend(names);
        self
    }

    /// Puts it together. Starts nothing.
    ///
    /// # Errors
    ///
    /// [`BuildError`] with every mistake that was made.
    pub fn build(self) -> Result<Messaging, BuildError> {
        let mut mistakes: Vec<String> = Vec::new();
        let carried = |destination: &str| {
            self.broker
                .as_ref()
                .is_none_or(|broker| broker.serves(destination))
        };
        let separator = |destination: &str| {
            let broker = self.broker.as_ref();
            broker.map_or(Separator::Slash, |broker| broker.separator(destination))
        };
        let prefixes = self
            .app_prefixes
            .iter()
            .map(|prefix| ("application", prefix));
        for (what, prefix) in prefixes.chain([("user", &self.user_prefix)]) {
            if !prefix.starts_with('/') || prefix.ends_with('/') {
                mistakes.push(format!(
                    "{what} prefix {prefix:?}: must begin with `/` and not end with it"
                ));
            } else if self.broker.is_some() && carried(&format!("{prefix}/x")) {
                mistakes.push(format!(
                    "{what} prefix {prefix:?}: the broker carries destinations there too"
                ));
            }
        }
        mistakes.extend(overlaps(&self.app_prefixes, &self.user_prefix));
        let (routes, wrong) =
            RouteTable::build(self.routes, self.app_separator, carried, separator);
        mistakes.extend(wrong);
        let (presence, wrong) = PresenceTable::build(self.presences, carried, separator);
        mistakes.extend(wrong);
        mistakes.extend(self.origins.mistakes.iter().cloned());
        mistakes.extend(self.proxies.mistakes.iter().cloned());
        if let Some(broker) = &self.broker {
            mistakes.extend(broker.mistakes());
        }
        let policy = match (self.policy, &self.broker) {
            (Some(policy), Some(broker)) => {
                let dotted = match self.app_separator {
                    Separator::Slash => Vec::new(),
                    _ => self.app_prefixes.clone(),
                };
                mistakes.extend(policy.dots_between(&dotted).map(|pattern| {
                    format!(
                        "policy: pattern {pattern:?}: where application destinations have `.` between their segments, a \
                         pattern with a wildcard for a part of the prefix has `/`"
                    )
                }));
                let (prefixes, broker) = (self.app_prefixes.clone(), Arc::clone(broker));
                Some(policy.separated(dotted, move |pattern| {
                    let mut prefixes = prefixes.iter();
                    match prefixes.any(|prefix| below(pattern, prefix).is_some()) {
                        true => Separator::Slash,
                        false => broker.separator(pattern),
                    }
                }))
            }
            (policy, _) => policy,
        };
        if let Some(policy) = &policy {
            mistakes.extend(
                policy
                    .mistakes
                    .iter()
                    .map(|mistake| format!("policy: {mistake}")),
            );
        } else {
            mistakes.push("no policy: say what clients may do with `.policy(..)`".into());
        }
        if self.broker.is_none() {
            mistakes.push(
                "no broker: say what carries messages with `.broker(EmbeddedBroker::new()..)`"
                    .into(),
            );
        }
        let (Some(broker), Some(policy), true) = (self.broker, policy, mistakes.is_empty()) else {
            return Err(BuildError::new("the messaging", mistakes));
        };
        let mut stomp_limits = tramline_stomp::Limits::default();
        stomp_limits.body = self.limits.body;
        stomp_limits.header_line = self.limits.header_line;
        stomp_limits.header_count = self.limits.header_count;
        let mut stomp = ServerConfig::default();
        stomp.limits = stomp_limits;
        stomp.heart_beat = self.limits.heart_beat;
        stomp.max_subscriptions = self.limits.subscriptions;
        stomp.max_transactions = self.limits.transactions;
        let publisher = Publisher {
            broker: Arc::clone(&broker),
            user_prefix: self.user_prefix.clone(),
        };
        let shared = Shared {
            name: self.name,
            broker,
            routes,
            app_prefixes: self.app_prefixes,
            user_prefix: self.user_prefix,
            policy,
            publisher,
            limits: self.limits,
            stomp: Arc::new(stomp),
            front: Front {
                origins: self.origins,
                proxies: self.proxies,
                keep_headers: self.keep_headers,
                compression: self.compression,
            },
            sockjs: self.sockjs,
            wheel: Arc::new(Wheel::new(now())),
            counters: Counters::default(),
            listeners: self.listeners,
            interceptors: self.interceptors,
            presence,
            users: Users::default(),
            answers: AtomicU64::new(0),
            sessions: OpenSessions::default(),
            driver: Driver::default(),
            next_sweep: Mutex::new(now()),
        };
        let shared = Arc::new(shared);
        let told = Arc::downgrade(&shared);
        shared.broker.watch(Box::new(move |available| {
            if let Some(shared) = told.upgrade() {
                shared.tell(|| match available {
                    true => Event::BrokerAvailable,
                    false => Event::BrokerUnavailable,
                });
            }
        }));
        Ok(Messaging {
            handle: Arc::new(Handle { shared }),
        })
    }
}

/// What is wrong with prefixes that are the same, or that lie inside each other.
fn overlaps(app_prefixes: &[ByteString], user_prefix: &ByteString) -> Vec<String> {
    let mut mistakes = Vec::new();
    if app_prefixes.is_empty() {
        mistakes.push("no application prefix: say where handlers are, or leave the default".into());
    }
    let named = app_prefixes.iter().map(|prefix| ("application", prefix));
    let named: Vec<_> = named.chain([("user", user_prefix)]).collect();
    for (at, (what, prefix)) in named.iter().enumerate() {
        for (other_what, other) in &named[at + 1..] {
            if prefix == other {
                mistakes.push(format!(
                    "{what} prefix and {other_what} prefix are both {prefix:?}"
                ));
            } else if below(prefix, other).is_some() || below(other, prefix).is_some() {
                mistakes.push(format!(
                    "{what} prefix {prefix:?} and {other_what} prefix {other:?}: one lies inside the other"
                ));
            }
        }
    }
    mistakes
}

/// Everything that is wrong with what a [`MessagingBuilder`] or a [`RawEndpointBuilder`](crate::raw::RawEndpointBuilder)
/// was given: the application's mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    what: &'static str,
    mistakes: Vec<String>,
}

impl BuildError {
    pub(crate) fn new(what: &'static str, mistakes: Vec<String>) -> Self {
        Self { what, mistakes }
    }

    /// The mistakes, one text each.
    pub fn mistakes(&self) -> impl Iterator<Item = &str> {
        self.mistakes.iter().map(String::as_str)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be built:", self.what)?;
        self.mistakes
            .iter()
            .try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

impl std::error::Error for BuildError {}
