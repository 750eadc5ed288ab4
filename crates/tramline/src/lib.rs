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
//!     .build()?;                                        // every mistake in the above is said here
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
//! The messages of one session are handled one after the other, in the order they were sent. A handler that takes its time
//! holds up its own session's next messages, not what is sent *to* that session, and nobody else.
//!
//! # Errors
//!
//! A body that does not fit, a handler that panics, a reply that cannot be sent: the client hears of it at
//! `/user/queue/errors`, as [`Rejection`] says, and goes on. A frame that breaks STOMP or that the policy denies gets an
//! ERROR that says what was wrong, and the connection is closed with 1002. [`Stats`] counts all of it, and the log
//! (`tracing`) has a line for each session that ends otherwise than by its own wish.
//!
//! # Policy
//!
//! [`Policy`](policy::Policy) decides who may connect, send and subscribe; there is no default. Requests from web pages of
//! another origin are refused unless [allowed](MessagingBuilder::allowed_origins). The session's user is the [`User`] that
//! a middleware of the web framework puts into the request's extensions, or whom
//! [`MessageRouter::connect`] makes of the CONNECT frame: login and passcode, or a token.
//!
//! # Users
//!
//! What is sent [to a user](ToUser) arrives in each of its sessions at `/user/queue/...`, or only in the one that asked.
//! [`Registry`] knows who is connected and can end sessions, [`Presence`](presence::Presence) who is at a destination, and
//! [events](MessagingBuilder::on_event) tell who comes and goes: the guide's page on [users](guide::users).
//!
//! # Broker
//!
//! [`EmbeddedBroker`] carries topics and queues, with acknowledgements, redelivery, transactions, expiry, and a policy for
//! whoever is too slow: the guide's page on the [broker](guide::broker) has it all.
//!
//! # In between
//!
//! Tower [layers](MessageRouter::layer) stand around handlers, [interceptors](interceptor::Interceptor) between clients and everything
//! else: [events and interceptors](guide::events).
//!
//! # Without STOMP
//!
//! [`raw`] gives each connection to an async function: for protocols of one's own, on the same endpoint.
//!
//! # Where WebSocket cannot pass
//!
//! [SockJS](guide::sockjs) falls back to plain HTTP by itself.
//!
//! # Limits
//!
//! Everything a client can make grow has a limit in [`Limits`], with its default and the reason for it; all numbers of the
//! stack are on [one page](guide::timeouts_and_limits).
//!
//! # Tests
//!
//! Handlers are functions, and are tested as such. For the whole of an application's messaging there are clients in memory:
//! the module `test`, with the feature of that name.
//!
//! # Where to read on
//!
//! The [guide], in order, from [getting started](guide::getting_started) to [deploying](guide::deploying); and a
//! [table of everything that Spring has](guide::spring), with what it is here.
//!
//! # What this crate does not do
//!
//! It serves no HTTP itself: [`Endpoint`](endpoint::Endpoint) is a tower service for axum and others to mount. It knows no passwords: who a
//! login belongs to is the application's to say. It keeps nothing on disk.

mod app;
pub mod guide;
mod model;
mod net;
pub mod raw;
mod session;
#[cfg(feature = "settings")]
pub mod settings;
mod stack;
#[cfg(feature = "test")]
pub mod test;

pub use bytes::Bytes;
pub use bytestring::ByteString;

pub use crate::model::build_error::BuildError;
pub use crate::stack::builder::MessagingBuilder;
pub use crate::stack::limits::Limits;
pub use crate::stack::messaging::Messaging;
pub use crate::stack::policy;
pub use crate::stack::stats::Stats;

// What nearly every program names. The modules below have it too, with what belongs to it.
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
        IntoRoute, MessageHandler, MessageRouter, MessageService, ReplyingHandler, Route,
        SubscribeHandler, message, subscribe,
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
    pub use crate::model::inbound::Inbound;
}

/// What handlers return, and where it goes: see [replies](crate::guide::replies) and [errors](crate::guide::errors).
pub mod reply {
    pub use crate::model::effects::Effects;
    pub use crate::model::rejection::{Rejection, RejectionKind};
    pub use crate::model::reply::{IntoEffects, IntoReply, Payload, To, ToUser, WithHeaders};
}

/// Sending from anywhere in the application: see [replies](crate::guide::replies).
pub mod publisher {
    pub use crate::app::publisher::{Publisher, SendError};
}

/// Users, and how a session gets its own: see [users](crate::guide::users).
pub mod login {
    pub use crate::app::login::{Connect, ConnectRefused, IntoLogin};
    pub use crate::model::user::{Handshake, User};
}

/// Connected users, sessions and subscriptions: see [users](crate::guide::users).
pub mod registry {
    pub use crate::model::connected::{ConnectedSession, ConnectedSubscription};
    pub use crate::stack::registry::{ConnectedUser, Registry};
}

/// Which users are at a destination: see [users](crate::guide::users).
pub mod presence {
    pub use crate::stack::presence::{Presence, Presences};
}

/// What happens to sessions and to the stack: see [events](crate::guide::events).
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

/// Where clients connect: WebSocket, [SockJS](crate::guide::sockjs), TCP.
pub mod endpoint {
    pub use tramline_sockjs::{OnAbort, Transport as SockJsTransport};

    pub use crate::net::compression::Compression;
    pub use crate::net::endpoint::{Body, SockJs};
    pub use crate::session::endpoint::Endpoint;
    pub use crate::session::tcp::DEFAULT_STOMP_PORT;
}

/// What a client may take of the server: see [timeouts and limits](crate::guide::timeouts_and_limits).
pub mod limits {
    pub use tramline_stomp::HeartBeat;

    pub use crate::stack::limits::Limits;
}

/// What carries messages: see [the broker](crate::guide::broker).
pub mod broker {
    pub use tramline_broker::{
        Broker, BrokerStatistics, Counts, Destination, DestinationError, DestinationKind,
        DestinationStatistics, EmbeddedBroker, Overflow, Pattern, Prefix, PublishError, Published,
        QueueSettings, Separator, SessionId, Target, TopicSettings, WhenFull,
    };
}

/// Compiles the README's server.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
