//! What an endpoint leads to.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Response};
use tramline_sockjs::PayloadLimits;
use tramline_websocket::Config;

use super::{Body, Origins, Proxies};
use crate::model::counter::Counter;
use crate::net::compression::Compression;
use crate::net::transport::keep_alive::KeepAlive;
use crate::net::transport::messages::RawTransport;
use crate::net::transport::violation::LimitsOf;
use crate::net::wheel::Driven;

/// A messaging stack, or the sessions of a raw handler: what requests are for, and what their connections become.
pub(crate) trait Stack: Driven + fmt::Debug {
    /// What a session begins with.
    type Opening: Send + 'static;

    /// Tells this stack apart from others in logs.
    fn name(&self) -> &str;

    fn front(&self) -> &Front;

    /// Whether newcomers are refused.
    fn is_closing(&self) -> bool;

    /// Refuses newcomers and asks the sessions that are there to end.
    fn close(&self);

    fn counters(&self) -> Refusals<'_>;

    /// Counts and logs a request that could not be understood.
    fn broken(&self, error: &dyn fmt::Display) {
        self.counters().protocol_errors.increment();
        tracing::debug!(stack = %self.name(), %error, "a SockJS request is refused");
    }

    /// What one SockJS message, or one body of `xhr_send`, may have.
    fn payload_limits(&self) -> PayloadLimits;

    /// Whose names errors have for the limits of a [new WebSocket](Self::websocket).
    const LIMITS_OF: LimitsOf;

    /// The limits of a new WebSocket, and its pings.
    fn websocket(&self) -> (Config, Option<Box<KeepAlive>>);

    /// Decides whether a session may begin, after origin and headers were found right.
    fn admit(
        &self,
        parts: &mut Parts,
    ) -> impl Future<Output = Result<Admitted<Self::Opening>, Response<Body>>> + Send;

    /// Adds what only the socket knows.
    fn connected(
        opening: &mut Self::Opening,
        remote: Option<SocketAddr>,
        local: Option<SocketAddr>,
    );

    /// The session's task.
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

/// What every stack has for its requests.
#[derive(Debug, Default)]
pub(crate) struct Front {
    pub(crate) origins: Origins,
    pub(crate) proxies: Proxies,
    pub(crate) keep_headers: Vec<HeaderName>,
    pub(crate) compression: Compression,
}

/// The counters of requests that lead to nothing.
pub(crate) struct Refusals<'a> {
    pub(crate) origins: &'a Counter,
    pub(crate) requests: &'a Counter,
    pub(crate) protocol_errors: &'a Counter,
}

/// Ends the sessions when nobody holds it any more.
#[derive(Debug)]
pub(crate) struct Handle<S: Stack> {
    pub(crate) shared: Arc<S>,
}

impl<S: Stack> Drop for Handle<S> {
    fn drop(&mut self) {
        self.shared.close();
    }
}
