//! The stack behind an endpoint.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::request::Parts;
use http::{Extensions, HeaderName, HeaderValue, Response};
use tramline_sockjs::PayloadLimits;
use tramline_websocket::Config;

use super::body::Body;
use super::hosts::Hosts;
use super::origins::Origins;
use super::proxies::Proxies;
use super::tokens::TokenPlaces;
use crate::model::counter::Counter;
use crate::model::log::{Source, log_client};
use crate::model::network::network;
use crate::net::compression::Compression;
use crate::net::lifecycle::Lifecycle;
use crate::net::transport::keep_alive::KeepAlive;
use crate::net::transport::messages::RawTransport;
use crate::net::transport::violation::LimitsOf;
use crate::net::wheel::Driven;

/// A messaging stack, or the sessions of a raw handler: it admits requests and runs the sessions of their connections.
pub(crate) trait Stack: Driven + fmt::Debug {
    /// The initial state of a session.
    type Opening: Send + 'static;

    /// Tells this stack apart from others in logs.
    fn name(&self) -> &str;

    fn front(&self) -> &Front;

    fn lifecycle(&self) -> &Lifecycle;

    /// Refuses new sessions and asks the existing ones to end.
    fn close(&self);

    fn counters(&self) -> Refusals<'_>;

    /// Returns true if one more line at INFO or above may be written because of a client.
    fn may_log(&self, source: Source) -> bool;

    /// The same for the client of a request.
    fn may_log_request(&self, parts: &Parts) -> bool {
        self.may_log(Source {
            remote: self.front().client(parts),
            session: None,
        })
    }

    /// Counts and logs a malformed request.
    fn broken(&self, error: &dyn fmt::Display) {
        self.counters().protocol_errors.increment();
        log_client!(
            DEBUG,
            { stack = self.name() },
            "a SockJS request is refused",
            error
        );
    }

    /// The limits of one SockJS message, and of one body of `xhr_send`.
    fn payload_limits(&self) -> PayloadLimits;

    /// The bytes of a message, or of a body of `xhr_send`, until the session is connected.
    fn before_login(&self) -> Option<usize> {
        None
    }

    /// Option names used in the errors about a [WebSocket's limits](Self::websocket).
    const LIMITS_OF: LimitsOf;

    /// The limits of a new WebSocket, and its pings.
    fn websocket(&self) -> (Config, Option<Box<KeepAlive>>);

    /// Decides whether a session may begin, once origin and headers have passed.
    fn admit(
        &self,
        parts: &mut Parts,
    ) -> impl Future<Output = Result<Admitted<Self::Opening>, Response<Body>>> + Send;

    /// Adds what only the socket provides.
    fn connected(
        opening: &mut Self::Opening,
        remote: Option<SocketAddr>,
        local: Option<SocketAddr>,
    );

    /// Runs a session.
    fn session<T: RawTransport>(
        self: Arc<Self>,
        opening: Self::Opening,
        transport: T,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// A session that may begin.
pub(crate) struct Admitted<O> {
    pub(crate) opening: O,
    /// The sub-protocol to answer with.
    pub(crate) protocol: Option<HeaderValue>,
}

/// The settings that every stack has for its requests.
#[derive(Debug, Default)]
pub(crate) struct Front {
    pub(crate) origins: Origins,
    pub(crate) hosts: Hosts,
    pub(crate) proxies: Proxies,
    pub(crate) keep_headers: Vec<HeaderName>,
    pub(crate) tokens: TokenPlaces,
    pub(crate) keep_extensions: Vec<KeepExtension>,
    pub(crate) compression: Compression,
}

/// Copies the value of one type.
pub(crate) type KeepExtension = fn(&Extensions, &mut Extensions);

/// Copies the value of type `T`, if there is one.
pub(crate) fn keep_extension<T: Clone + Send + Sync + 'static>(
    from: &Extensions,
    to: &mut Extensions,
) {
    if let Some(value) = from.get::<T>() {
        to.insert(value.clone());
    }
}

impl Front {
    /// The address of a request's client, as far as it is known.
    pub(super) fn client(&self, parts: &Parts) -> Option<SocketAddr> {
        let peer = parts.extensions.get::<SocketAddr>().copied();
        self.proxies.client(&parts.headers, peer)
    }

    /// The network that bounds for each address count a request for; `None` where it is unknown, or a trusted proxy's.
    pub(crate) fn network(&self, parts: &Parts) -> Option<IpAddr> {
        let client = self.client(parts)?;
        self.proxies.counted(client).map(network)
    }

    /// The values that a session keeps of its request's.
    pub(crate) fn kept_extensions(&self, all: &Extensions) -> Extensions {
        let mut kept = Extensions::new();
        for keep in &self.keep_extensions {
            keep(all, &mut kept);
        }
        kept
    }
}

/// The counters of requests that open no session.
pub(crate) struct Refusals<'a> {
    pub(crate) origins: &'a Counter,
    pub(crate) requests: &'a Counter,
    pub(crate) protocol_errors: &'a Counter,
}
