//! Two-way messaging between a web application and its browsers: WebSocket, SockJS and STOMP, with Spring's messaging
//! model and axum's manners.
//!
//! Clients SEND to *application destinations*, where [handlers](#handlers) take their messages, and SUBSCRIBE to *broker
//! destinations*, where replies go. Between a client and either stands a [policy](#policy).
//!
//! ```text
//!              /app/hello                       /topic/greetings
//!   browser ───────────────▶ handler ──reply──▶ broker ───────────────▶ every subscribed browser
//! ```
//!
//! # Example: a greeting
//!
//! ```
//! use tramline::policy::{Policy, deny, permit};
//! use tramline::{EmbeddedBroker, Json, MessageRouter, Messaging, message};
//!
//! #[derive(serde::Deserialize)]
//! struct Hello { name: String }
//!
//! #[derive(serde::Serialize)]
//! struct Greeting { content: String }
//!
//! async fn greet(Json(hello): Json<Hello>) -> Json<Greeting> {
//!     Json(Greeting { content: format!("Hello, {}!", hello.name) })
//! }
//!
//! let routes = MessageRouter::new()
//!     .route("/hello", message(greet).send_to("/topic/greetings"));
//!
//! let messaging = Messaging::builder()
//!     .routes(routes)                                   // under "/app" unless told otherwise
//!     .broker(EmbeddedBroker::new().topics("/topic"))
//!     .policy(
//!         Policy::builder()
//!             .on_connect(permit())
//!             .on_message("/app/hello", permit())
//!             .on_subscribe("/topic/greetings", permit())
//!             .otherwise(deny()),
//!     )
//!     .build()?;                                        // reports all configuration errors at once
//!
//! let app: axum::Router = axum::Router::new().nest_service("/ws", messaging.endpoint().with_sockjs());
//! # let _ = app;
//! # Ok::<(), tramline::BuildError>(())
//! ```
//!
//! # Handlers
//!
//! An async function whose arguments are [extractors](extract) ([`Json`], `String`, [`Path`], [`State`], [`User`],
//! [`Session`] and [more](guide::handlers), your own by [`FromMessageParts`](extract::FromMessageParts)) is a
//! [handler](router::Handler). [`message`] makes a route of it for SENDs, [`subscribe`] one that answers a SUBSCRIBE;
//! [`MessageRouter`] holds the routes, and the handlers for each session's [beginning](MessageRouter::connect) and
//! [end](MessageRouter::disconnect). Where a [reply] goes is always written: at the route with
//! [`send_to`](router::MessageHandler::send_to) and its like, or in the return type with [`To`] and [`ToUser`]. From
//! anywhere else, a [`Publisher`] sends.
//!
//! The messages of one session are handled one after the other, in the order they were sent. A slow handler delays only
//! the next messages of its own session: not what is sent *to* that session, and no other session.
//!
//! # Errors
//!
//! If a body does not fit, a handler panics or a reply cannot be sent, the client receives a rejection notice at
//! `/user/queue/errors`, as [`Rejection`] describes, and the session goes on. A frame that breaks STOMP or that the
//! policy denies is answered by an ERROR with the reason, and the connection is closed with 1002. [`Stats`] counts all
//! of it, and the log (`tracing`) has a line for each session that its client did not end.
//!
//! # Policy
//!
//! [`Policy`](policy::Policy) decides who may connect, send and subscribe; there is no default. Requests from web pages
//! of another origin are refused unless [allowed](MessagingBuilder::allowed_origins). The session's user is the
//! [`User`] that a middleware of the web framework puts into the request's extensions, or the one that
//! [`MessageRouter::connect`] makes of the CONNECT frame: login and passcode, or a token.
//!
//! # Users
//!
//! A message [to a user](ToUser) arrives in each of the user's sessions at `/user/queue/...`, or only in the one that
//! asked. [`Registry`] lists who is connected and can end sessions, [`Presence`](presence::Presence) lists who is at a
//! destination, and [events](MessagingBuilder::on_event) report who comes and goes: see the guide's page on
//! [users](guide::users).
//!
//! # Broker
//!
//! [`EmbeddedBroker`] carries topics and queues, with acknowledgements, redelivery, transactions, expiry, and a policy
//! for slow consumers: see the guide's page on the [broker](guide::broker).
//!
//! # Layers and interceptors
//!
//! Tower [layers](MessageRouter::layer) wrap handlers, [interceptors](interceptor::Interceptor) see every frame: see
//! [events and interceptors](guide::events).
//!
//! # Without STOMP
//!
//! [`raw`] gives each connection to an async function, for your own protocols on the same endpoint.
//!
//! # Without WebSocket
//!
//! [SockJS](guide::sockjs) falls back to plain HTTP where a network blocks WebSocket.
//!
//! # Limits
//!
//! Everything a client can make grow has a limit in [`Limits`], with its default and the reason for it; [one
//! page](guide::timeouts_and_limits) lists all numbers of the stack.
//!
//! # Tests
//!
//! Handlers are functions, and are tested as such. To test an application's messaging as a whole, the module `test`
//! (feature `test`) has clients in memory.
//!
//! # Further reading
//!
//! The [guide], in order, from [getting started](guide::getting_started) to [deploying](guide::deploying); and a [table
//! of Spring's features](guide::spring) with their equivalents here.
//!
//! # What this crate does not do
//!
//! It routes no HTTP itself: [`Endpoint`](endpoint::Endpoint) is a tower service for axum and others to mount. It
//! checks no passwords: the application decides whom a login belongs to. It keeps nothing on disk.

mod app;
pub mod guide;
mod model;
mod net;
mod operations;
pub mod raw;
#[cfg(feature = "serve")]
pub mod serve;
mod session;
#[cfg(feature = "settings")]
pub mod settings;
mod stack;
#[cfg(feature = "test")]
pub mod test;
#[cfg(feature = "tls")]
pub mod tls {
    //! TLS of [`serve`](crate::serve()) and of STOMP over TCP: see [security](crate::guide::security#tls).

    pub use crate::net::tls::{ClientCertificate, Tls, TlsError, TlsFiles, TlsStats};
}

pub use bytes::Bytes;
pub use bytestring::ByteString;

pub use crate::model::build_error::BuildError;
#[cfg(feature = "serve")]
pub use crate::serve::serve;
pub use crate::stack::builder::MessagingBuilder;
pub use crate::stack::limits::Limits;
pub use crate::stack::messaging::Messaging;
pub use crate::stack::policy;
pub use crate::stack::stats::Stats;

// The names that nearly every program uses. The modules below export them too, with the types that belong to them.
#[doc(no_inline)]
pub use crate::{
    broker::{EmbeddedBroker, SessionId},
    endpoint::SockJs,
    extract::{Inbound, Json, Path, Session, State},
    login::{Connect, User},
    publisher::Publisher,
    registry::Registry,
    reply::{Rejection, To, ToUser},
    router::{MessageRouter, message, subscribe},
};

/// Routes and handlers: see [handlers](crate::guide::handlers).
pub mod router {
    pub use crate::app::handler::Handler;
    pub use crate::app::router::{
        CompleteRoutes, IntoRoute, MessageHandler, MessageRouter, MessageService, ReplyingHandler,
        Route, SubscribeHandler, message, subscribe,
    };
}

/// Extractors, the arguments of handlers: see [handlers](crate::guide::handlers#extractors).
pub mod extract {
    pub use tramline_broker::Headers;

    #[cfg(feature = "garde")]
    pub use crate::app::extract::Valid;
    pub use crate::app::extract::{
        Bearer, Encoded, Extension, Format, Formats, FromHeader, FromMessage, FromMessageParts,
        FromRef, Header, Json, JsonFormat, OptionalFromMessage, OptionalFromMessageParts, Path,
        State, Text,
    };
    pub use crate::model::attributes::Session;
    pub use crate::model::inbound::{Inbound, InboundKind};
}

/// Return types of handlers, and their destinations: see [replies](crate::guide::replies) and
/// [errors](crate::guide::errors).
pub mod reply {
    pub use crate::model::effects::Effects;
    pub use crate::model::rejection::{RejectedMessage, Rejection, RejectionKind};
    pub use crate::model::reply::{IntoEffects, IntoReply, Payload, To, ToUser, WithHeaders};
}

/// Sending from anywhere in the application: see [replies](crate::guide::replies).
pub mod publisher {
    pub use crate::app::publisher::{HistoryError, Publisher, SendError};
}

/// Users, and how a session gets its own: see [users](crate::guide::users).
pub mod login {
    pub use crate::app::login::{Connect, ConnectRefused, IntoLogin};
    pub use crate::model::user::{Handshake, User};
}

/// Logins by token, their end and their renewal: see [security](crate::guide::security).
pub mod token {
    #[cfg(feature = "jwt")]
    pub use crate::app::token::{Algorithm, Fetch, Jwt, KeyError};
    pub use crate::app::token::{Claims, TokenError, Tokens, Verify};
}

/// Connected users, sessions and subscriptions: see [users](crate::guide::users).
pub mod registry {
    pub use crate::model::connected::{ConnectedSession, ConnectedSubscription};
    pub use crate::stack::registry::{ConnectedUser, Registry};
}

/// The users at a destination: see [users](crate::guide::users).
pub mod presence {
    pub use crate::stack::presence::{Presence, Presences};
}

/// Events of sessions and of the stack: see [events](crate::guide::events).
pub mod events {
    pub use crate::model::disconnected::{DisconnectCause, Disconnected};
    pub use crate::model::events::Event;
}

/// Code that sees every frame between clients and the stack: see [events](crate::guide::events).
pub mod interceptor {
    pub use crate::app::interceptor::{
        ClientFrame, Interceptor, Outgoing, OutgoingMessage, Refusal,
    };
}

/// The endpoint that clients connect to, by WebSocket, [SockJS](crate::guide::sockjs) or TCP.
pub mod endpoint {
    pub use tramline_sockjs::{OnAbort, Transport as SockJsTransport};

    pub use crate::net::compression::Compression;
    pub use crate::net::endpoint::{Body, SockJs};
    pub use crate::session::endpoint::{Accepted, Endpoint};
    pub use crate::session::tcp::DEFAULT_STOMP_PORT;
    #[cfg(feature = "tls")]
    pub use crate::session::tcp::DEFAULT_STOMPS_PORT;
}

/// Answers for orchestrators: is the process alive, and is it ready? See
/// [deploying](crate::guide::deploying#health-and-counters).
pub mod health {
    pub use crate::operations::health::{Health, Liveness, Readiness};
}

/// A page for operators: see [the console](crate::guide::console).
#[cfg(feature = "console")]
pub mod console {
    pub use crate::operations::console::{Access, Console};
}

/// Metrics, as Prometheus reads them: see [metrics and health](crate::guide::metrics).
#[cfg(feature = "metrics")]
pub mod metrics {
    pub use crate::operations::metrics::Metrics;
}

/// Limits on the resources of one client: see [timeouts and limits](crate::guide::timeouts_and_limits).
pub mod limits {
    pub use tramline_stomp::HeartBeat;

    pub use crate::model::buckets::Rate;
    pub use crate::stack::limits::Limits;
    pub use crate::stack::rates::Rates;
}

/// The broker and its settings: see [the broker](crate::guide::broker).
pub mod broker {
    pub use tramline_broker::{
        Broker, BrokerStatistics, Counts, Destination, DestinationError, DestinationKind,
        DestinationStatistics, Durability, EmbeddedBroker, Gap, History, Holder, Message, Overflow,
        Past, Pattern, Position, Prefix, PublishError, Published, QueueSettings, Resource,
        Selector, SelectorError, Separator, SessionId, ShareUsedUp, Shares, SubscribeError,
        SubscriptionSettings, Target, TopicSettings, WhenBehind, WhenFull,
    };
}

/// The store of durable queues: see [durability](crate::guide::durability).
#[cfg(feature = "durable")]
pub mod store {
    pub use tramline_store::{
        OpenError, Problem, QueueReport, Report, Store, StoreOptions, export, inspect, repair,
    };
}

/// Compiles the README's server.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
