//! The builder of a stack: routes, broker, policy and all options.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use http::HeaderName;
use parking_lot::Mutex;
use tramline_broker::{Broker, Hub, Separator};
use tramline_stomp::ServerConfig;

use super::clients::ClientHub;
use super::extract::for_handlers;
use super::limits::Limits;
use super::messaging::Messaging;
use super::observer::StackObserver;
use super::policy::{Audit, Audited, Policy, Refusals};
use super::presence::{PresenceTable, Presences};
use super::rates::{RateTable, Rates};
use super::review::Prefixes;
use super::shared::MessagingStack;
use super::watch::Watch;
use crate::app::interceptor::{Interceptor, Interceptors};
use crate::app::publisher::Publisher;
use crate::app::router::{CompleteRoutes, MessageRouter, RouteTable};
use crate::app::token::{TokenService, Tokens};
use crate::model::build_error::BuildError;
use crate::model::clock::now;
use crate::model::events::{Event, Listeners};
use crate::model::log::{LogBudget, Source, log_client};
use crate::model::panics::caught;
use crate::model::prefix::{below, unslashed};
use crate::net::compression::Compression;
use crate::net::endpoint::{
    Front, Handle, Hosts, KeepExtension, Origins, Proxies, SockJs, TokenPlaces, keep_extension,
};
use crate::net::lifecycle::Lifecycle;
use crate::net::measures::Measures;
use crate::net::wheel::{Driver, TICK, Wheel};

/// Makes a [`Messaging`]; [`build`](Self::build) reports all configuration errors at once.
#[must_use = "finish with `build`"]
pub struct MessagingBuilder {
    name: ByteString,
    routes: MessageRouter,
    app_prefixes: Vec<ByteString>,
    app_separator: Separator,
    user_prefix: ByteString,
    hub: Option<Hub>,
    listeners: Listeners,
    interceptors: Interceptors,
    presences: Presences,
    policy: Option<Policy>,
    audit: Option<Listener>,
    tokens: Option<Tokens>,
    limits: Limits,
    rates: Rates,
    refusals: Refusals,
    /// The options for [`Endpoint::with_sockjs`].
    pub(crate) sockjs: SockJs,
    origins: Origins,
    hosts: Hosts,
    proxies: Proxies,
    keep_headers: Vec<HeaderName>,
    keep_extensions: Vec<KeepExtension>,
    compression: Compression,
}

impl fmt::Debug for MessagingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagingBuilder")
            .field("name", &self.name)
            .field("routes", &self.routes)
            .field("hub", &self.hub)
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
            hub: None,
            listeners: Listeners::default(),
            interceptors: Interceptors::default(),
            presences: Presences::new(),
            policy: None,
            audit: None,
            tokens: None,
            limits: Limits::default(),
            rates: Rates::default(),
            refusals: Refusals::default(),
            sockjs: SockJs::default(),
            origins: Origins::default(),
            hosts: Hosts::default(),
            proxies: Proxies::default(),
            keep_headers: Vec::new(),
            keep_extensions: Vec::new(),
            compression: Compression::Off,
        }
    }
}

impl MessagingBuilder {
    /// Sets the name that distinguishes this stack in logs. Default `messaging`.
    pub fn name(mut self, name: impl Into<ByteString>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the handlers, below the application prefixes.
    pub fn routes(mut self, routes: impl CompleteRoutes) -> Self {
        self.routes = routes.into_routes();
        self
    }

    /// Sets the prefix of handlers: a SEND to `/app/hello` goes to the route `/hello`. Default `/app`, and nothing
    /// else.
    pub fn application_prefix(self, prefix: impl Into<ByteString>) -> Self {
        self.application_prefixes([prefix])
    }

    /// Sets several prefixes of handlers, for clients that use different ones: the same routes are below each. A `/` at
    /// their end changes nothing.
    pub fn application_prefixes<P: Into<ByteString>>(
        mut self,
        prefixes: impl IntoIterator<Item = P>,
    ) -> Self {
        self.app_prefixes = prefixes
            .into_iter()
            .map(Into::into)
            .map(unslashed)
            .collect();
        self
    }

    /// Sets the separator between segments of destinations below the application prefixes, in addition to `/`. Default
    /// [`Separator::Slash`], nothing else. With [`Separator::Dot`] a SEND to `/app/rooms.7.say` goes to the route
    /// `/rooms/{room}/say`, which may also be written `/rooms.{room}.say`: Spring's `AntPathMatcher(".")`. The broker's
    /// destinations have [separators of their own](crate::broker::Prefix).
    pub fn application_separator(mut self, separator: Separator) -> Self {
        self.app_separator = separator;
        self
    }

    /// Sets the prefix at which clients receive messages to their session or user: `/user/queue/errors`. Default
    /// `/user`.
    pub fn user_prefix(mut self, prefix: impl Into<ByteString>) -> Self {
        self.user_prefix = unslashed(prefix.into());
        self
    }

    /// Sets the broker, which carries messages. Required.
    pub fn broker(mut self, broker: impl Broker) -> Self {
        self.hub = Some(Hub::new(broker));
        self
    }

    /// Sets the access rules for CONNECT, SEND and SUBSCRIBE. Required: no default would be right.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Calls `listener` with each decision of the policy about CONNECT, SEND and SUBSCRIBE, those of repeated checks
    /// included: for an audit log of the application's own. It must not block. Default: none, since the texts of rules that
    /// permit are otherwise never made. A panic of it is logged.
    ///
    /// # Example: a line for what was denied
    ///
    /// ```
    /// use tramline::Messaging;
    ///
    /// let builder = Messaging::builder().on_decision(|audited| {
    ///     if !audited.decision.is_permitted() {
    ///         println!("{:?} of {:?}: {}", audited.action, audited.user, audited.decision.rule());
    ///     }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_decision(mut self, listener: impl Fn(&Audited<'_>) + Send + Sync + 'static) -> Self {
        self.audit = Some(Box::new(listener));
        self
    }

    /// Sets the logins by token: where tokens are, how they are checked, and when they are renewed. Default: none.
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Sets how a SEND or SUBSCRIBE is answered that is denied, or names what does not exist. Default
    /// [`Refusals::EndSession`].
    pub fn refusals(mut self, refusals: Refusals) -> Self {
        self.refusals = refusals;
        self
    }

    /// Calls `listener` with each [`Event`] of the stack, in the task of the event's session: it must not block, and
    /// passes longer work to a task of its own. The events of one session come in order. May be called several times; a
    /// panic of a listener is logged, and the other listeners still receive the event.
    ///
    /// # Example: a line for each connect and disconnect
    ///
    /// ```
    /// use tramline::events::Event;
    /// use tramline::Messaging;
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

    /// Adds an interceptor, which sees every frame of every client, and every outgoing message. May be called several
    /// times.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.add(interceptor);
        self
    }

    /// Sets the destinations for which presence is kept: who is subscribed there, who joins and leaves. Default: none.
    pub fn presence(mut self, presences: Presences) -> Self {
        self.presences = presences;
        self
    }

    /// Sets the compression of WebSocket messages. Default [`Compression::Off`]; see there for its cost.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the limits of each session. Default [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the web pages whose scripts may connect, besides those of the server's own origin; requests from others
    /// receive 403.
    ///
    /// | Text | Allows |
    /// |---|---|
    /// | `https://app.example` | exactly this origin |
    /// | `https://*.app.example` | what has one character or more in place of each `*`, dots included |
    /// | `https://app.example:[8080,8443]`, `:[*]` | these ports, or any |
    /// | `null` | sandboxed frames and files, which any page can make, without credentials |
    /// | `*` | every page, without credentials |
    ///
    /// *Without credentials* means that a page which nothing else allows cannot act in its visitor's name: the request's
    /// cookies, `Authorization` and extensions ([`User`](crate::User) among them) are dropped. A login by CONNECT is not
    /// concerned.
    ///
    /// Default: none besides the same origin. That is judged by host and port of the `Host` header, so it works behind a
    /// proxy that terminates TLS; behind one that changes `Host`, see [`trusted_proxies`](Self::trusted_proxies), and for
    /// pages without TLS [`allowed_hosts`](Self::allowed_hosts). Requests without an `Origin` header do not come from a script in a
    /// browser and pass; for the exceptions that browsers make, see [`SockJs`](crate::SockJs).
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

    /// Sets the names under which pages reach this server by plain HTTP, such as `app.example` or `*.app.example`; `*`
    /// for every name. Default: none.
    ///
    /// A page is the server's own if it has the host that its request asks for. By TLS, that proves it. Without TLS, any
    /// page can get there: its owner points its name to this server's address, perhaps one in a private network or
    /// 127.0.0.1 (*DNS rebinding*). So pages of `http://` names are foreign until their name is here; addresses and
    /// `localhost` are no such names. Behind a proxy that terminates TLS, pages are `https://`, and nothing needs to be set.
    ///
    /// Once names are set, requests for other hosts receive 403, whatever page they come from.
    ///
    /// # Example: a server in a private network, without TLS
    ///
    /// ```
    /// use tramline::Messaging;
    ///
    /// let builder = Messaging::builder().allowed_hosts(["intranet", "*.intranet.example"]);
    /// let error = builder.allowed_hosts(["http://intranet"]).build().unwrap_err();
    /// assert!(error.to_string().contains("allowed host \"http://intranet\": must be a name without scheme"));
    /// ```
    pub fn allowed_hosts<N: Into<ByteString>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.hosts = Hosts::new(names.into_iter().map(Into::into));
        self
    }

    /// Sets the proxies in front of the server whose `X-Forwarded-Host`, `-Port`, `-Proto` and `-For` are trusted: addresses
    /// (`192.168.1.7`), networks (`10.0.0.0/8`), or `*` for every peer, which is right if only the proxy can connect.
    ///
    /// The first two then replace `Host` in the check of the server's own origin, whose scheme must be the third; the last yields the [remote
    /// address](crate::login::Handshake::remote), the last one there that is not a trusted proxy's, with port 0 if it
    /// has none. Default: none, since anybody could send these headers.
    ///
    /// The peer's address is the `SocketAddr` in a request's extensions: if no middleware puts one there, only `*` has
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

    /// Sets the headers of the HTTP request that a session keeps for its handlers. Default: none, since a browser sends
    /// some 4 KiB of them.
    pub fn keep_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.keep_headers.extend(names);
        self
    }

    /// Keeps a value for the session that a middleware of the web framework leaves in the extensions of its HTTP request:
    /// what a login found out, a tenant. Handlers take it by [`Extension<T>`](crate::extract::Extension), and
    /// [`Handshake::extension`](crate::login::Handshake::extension) has it elsewhere. May be called for several types. A
    /// [`User`](crate::User) needs no call.
    ///
    /// # Example: the tenant that a middleware looked up
    ///
    /// ```
    /// use axum::extract::Request;
    /// use axum::middleware::{Next, from_fn};
    /// use axum::response::Response;
    /// use tramline::extract::Extension;
    /// use tramline::{MessageRouter, Messaging, message};
    ///
    /// #[derive(Clone)]
    /// struct Tenant(String);
    ///
    /// async fn tenant(mut request: Request, next: Next) -> Response {
    ///     request.extensions_mut().insert(Tenant("acme".into()));
    ///     next.run(request).await
    /// }
    ///
    /// async fn news(Extension(Tenant(tenant)): Extension<Tenant>, line: String) -> String {
    ///     format!("[{tenant}] {line}")
    /// }
    ///
    /// let routes = MessageRouter::new().route("/news", message(news).send_to("/topic/news"));
    /// let builder = Messaging::builder().routes(routes).keep_extension::<Tenant>();
    /// # fn mount(messaging: Messaging) {
    /// let app: axum::Router = axum::Router::new()
    ///     .nest_service("/ws", messaging.endpoint())
    ///     .layer(from_fn(tenant));
    /// # let _ = app;
    /// # }
    /// # let _ = (builder, mount);
    /// ```
    pub fn keep_extension<T: Clone + Send + Sync + 'static>(mut self) -> Self {
        self.keep_extensions.push(keep_extension::<T>);
        self
    }

    /// Sets the rates at which clients may connect, log in and send. Default [`Rates::default`].
    pub fn rates(mut self, rates: Rates) -> Self {
        self.rates = rates;
        self
    }

    /// Builds the stack. Starts nothing.
    ///
    /// # Errors
    ///
    /// [`BuildError`] with all configuration errors.
    pub fn build(self) -> Result<Messaging, BuildError> {
        let mut errors: Vec<String> = Vec::new();
        let hub = self.hub.as_ref();
        let wheel = Arc::new(Wheel::new(now()));
        let measures = Arc::new(Measures::new(&wheel));
        let publisher = hub.map(|hub| {
            let measures = Arc::clone(&measures);
            Publisher::new(hub.clone(), self.user_prefix.clone(), measures)
        });
        let prefixes = Prefixes {
            app: &self.app_prefixes,
            user: &self.user_prefix,
            hub,
        };
        errors.extend(prefixes.errors());
        errors.extend(prefixes.repeated(&self.routes));
        let (routes, wrong) =
            RouteTable::build(self.routes, self.app_separator, publisher.as_ref());
        errors.extend(wrong);
        let (presence, wrong) = PresenceTable::build(self.presences, publisher.as_ref());
        errors.extend(wrong);
        errors.extend(self.limits.errors());
        errors.extend(self.rates.errors());
        errors.extend(self.origins.errors.iter().cloned());
        errors.extend(self.hosts.errors.iter().cloned());
        errors.extend(self.proxies.errors.iter().cloned());
        if let Some(hub) = &self.hub {
            errors.extend(hub.errors());
        }
        let policy = match (self.policy, &self.hub) {
            (Some(policy), Some(hub)) => {
                let dotted = match self.app_separator {
                    Separator::Slash => Vec::new(),
                    _ => self.app_prefixes.clone(),
                };
                errors.extend(policy.dots_between(&dotted).map(|pattern| {
                    format!(
                        "policy: pattern {pattern:?}: where application destinations have `.` between their segments, a \
                         pattern with a wildcard for a part of the prefix has `/`"
                    )
                }));
                let (prefixes, hub) = (self.app_prefixes.clone(), hub.clone());
                Some(policy.separated(dotted, move |pattern| {
                    let mut prefixes = prefixes.iter();
                    match prefixes.any(|prefix| below(pattern, prefix).is_some()) {
                        true => Separator::Slash,
                        false => hub.separator(pattern),
                    }
                }))
            }
            (policy, _) => policy,
        };
        if let Some(policy) = &policy {
            let mut wrong = policy.errors.clone();
            if hub.is_some() {
                wrong.extend(policy.idle_rules(&prefixes.all()));
            }
            errors.extend(wrong.iter().map(|error| format!("policy: {error}")));
            // What an invalid rule was to permit would only repeat its error.
            if policy.errors.is_empty() {
                errors.extend(prefixes.unreachable(&routes.needs, policy));
            }
        } else {
            errors.push("no policy: say what clients may do with `.policy(..)`".into());
        }
        if self.hub.is_none() {
            errors.push(
                "no broker: say what carries messages with `.broker(EmbeddedBroker::new()..)`"
                    .into(),
            );
        }
        let (Some(hub), Some(publisher), Some(policy), true) =
            (self.hub, publisher, policy, errors.is_empty())
        else {
            return Err(BuildError::new("the messaging", errors));
        };
        let mut stomp_limits = tramline_stomp::Limits::default();
        stomp_limits.body = self.limits.body;
        stomp_limits.header_line = self.limits.header_line;
        stomp_limits.header_count = self.limits.header_count;
        let mut stomp = ServerConfig::default();
        stomp.limits = stomp_limits;
        stomp.heart_beat = self.limits.heart_beat;
        stomp.timer_period = TICK;
        stomp.min_silence = self.limits.heart_beat_silence;
        stomp.max_subscriptions = self.limits.subscriptions;
        stomp.max_transactions = self.limits.transactions;
        stomp.max_connect_bytes = self.limits.connect_bytes;
        // Each client may receive the notices of its own rejected messages.
        let mut policy = policy.permitting(format!("{}/queue/errors", self.user_prefix));
        let notices = format!("{}{NOTICES}", self.user_prefix);
        let mut places = TokenPlaces::default();
        if let Some(tokens) = &self.tokens {
            // And those about its token.
            policy = policy.permitting(notices.clone());
            places = tokens.places.clone();
        }
        let tokens = self.tokens;
        let tokens = tokens.map(|tokens| TokenService::new(tokens, notices.into()));
        let audit = self.audit;
        let stack = Arc::new_cyclic(|stack: &Weak<MessagingStack>| MessagingStack {
            name: self.name,
            hub: ClientHub::new(hub, Arc::clone(&measures)),
            measures,
            watch: Watch::default(),
            routes,
            app_prefixes: self.app_prefixes,
            user_prefix: self.user_prefix,
            policy: policy.audited(audit.map(|listener| guarded(listener, stack))),
            tokens,
            for_handlers: Arc::new(for_handlers(stack, publisher.clone())),
            publisher,
            limits: self.limits,
            rates: RateTable::new(self.rates),
            refusals: self.refusals,
            stomp_of_programs: Arc::new(stomp.clone().with_min_silence(Duration::ZERO)),
            stomp: Arc::new(stomp),
            front: Front {
                origins: self.origins,
                hosts: self.hosts,
                proxies: self.proxies,
                keep_headers: self.keep_headers,
                tokens: places,
                keep_extensions: self.keep_extensions,
                compression: self.compression,
            },
            sockjs: self.sockjs,
            wheel,
            counters: Arc::default(),
            log_budget: Arc::new(LogBudget::new(now())),
            listeners: self.listeners,
            interceptors: self.interceptors,
            presence,
            answers: AtomicU64::new(0),
            lifecycle: Lifecycle::default(),
            driver: Driver::default(),
            next_sweep: Mutex::new(now()),
        });
        let observer = StackObserver(Arc::downgrade(&stack));
        stack.hub.observe(Arc::new(observer));
        Ok(Messaging {
            handle: Arc::new(Handle::new(stack)),
        })
    }
}

/// An application's listener for decisions.
type Listener = Box<dyn Fn(&Audited<'_>) + Send + Sync>;

/// The listener, whose panic is logged.
fn guarded(listener: Listener, stack: &Weak<MessagingStack>) -> Audit {
    let stack = Weak::clone(stack);
    Audit::new(move |audited| {
        if let Err(panic) = caught(|| listener(audited))
            && let Some(stack) = stack.upgrade()
        {
            stack.counters.handler_panics.increment();
            log_client!(
                ERROR if stack.may_log(Source::default()),
                { stack = %stack.name },
                "decision listener panicked",
                panic
            );
        }
    })
}

/// Where clients hear about their tokens, below the user prefix.
pub(crate) const NOTICES: &str = "/queue/session";
