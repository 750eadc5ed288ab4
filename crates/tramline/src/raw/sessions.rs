//! What all connections of an endpoint share, and the application's view of them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use tramline_broker::SessionId;
use tramline_sockjs::PayloadLimits;
use tramline_websocket::{CloseCode, Config};

use super::RawLimits;
use super::channel::{Channel, Opening};
use super::handler::ErasedHandler;
use super::handshake::{HandshakeRefused, HandshakeRequest, Interceptor};
use super::socket::SocketSender;
use super::stats::RawCounters;
use super::task::RawTask;
use crate::net::endpoint::{
    Admitted, Body, Front, Refusals, Stack, offered_protocols, session_info,
};
use crate::net::message::{Item, SharedMessage};
use crate::net::open_sessions::OpenSessions;
use crate::net::transport::keep_alive::KeepAlive;
use crate::net::transport::messages::RawTransport;
use crate::net::transport::violation::LimitsOf;
use crate::net::wheel::{Driven, Driver, Wheel};

pub(crate) struct Shared {
    pub(super) name: ByteString,
    pub(super) handler: ErasedHandler,
    pub(super) protocols: Vec<ByteString>,
    pub(super) interceptors: Vec<Interceptor>,
    pub(super) limits: RawLimits,
    /// Whether handlers see parts of messages, and pongs.
    pub(super) parts: bool,
    pub(super) pongs: bool,
    pub(super) front: Front,
    pub(super) wheel: Arc<Wheel>,
    pub(super) driver: Driver,
    pub(super) counters: RawCounters,
    pub(super) sessions: OpenSessions<Channel>,
}

impl Shared {
    pub(super) fn opened(&self, channel: &Arc<Channel>) {
        self.counters.sessions_open.increment();
        self.counters.sessions_total.increment();
        if !self.sessions.add(channel.opening.info.id, channel) {
            going_away(channel);
        }
    }

    pub(super) fn gone(&self, id: SessionId) {
        self.counters.sessions_open.decrement();
        self.sessions.remove(id);
    }

    /// The interceptors, one after the other.
    async fn intercept(
        &self,
        mut request: HandshakeRequest,
    ) -> Result<HandshakeRequest, HandshakeRefused> {
        for interceptor in &self.interceptors {
            request = interceptor(request).await?;
        }
        Ok(request)
    }
}

fn going_away(channel: &Channel) {
    let reason = ByteString::from_static("the server is going away");
    channel.close(CloseCode::GOING_AWAY, reason);
}

impl Stack for Shared {
    type Opening = Opening;

    const LIMITS_OF: LimitsOf = LimitsOf::Raw;

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
        for channel in self.sessions.close() {
            going_away(&channel);
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
        let keep_alive = KeepAlive::new(
            limits.keep_alive,
            limits.keep_alive_timeout,
            self.wheel.now(),
        );
        (limits.config(), keep_alive)
    }

    async fn admit(&self, parts: &mut Parts) -> Result<Admitted<Opening>, Response<Body>> {
        let own = self
            .protocols
            .iter()
            .find(|own| offered_protocols(&parts.headers).any(|offer| offer == &***own))
            .cloned();
        let (attributes, protocol) = if self.interceptors.is_empty() {
            (http::Extensions::new(), own)
        } else {
            let request = HandshakeRequest::take(parts, own);
            let limit = self.limits.handshake_time;
            match tokio::time::timeout(limit, self.intercept(request)).await {
                Ok(Ok(request)) => request.give_back(parts),
                Ok(Err(refused)) => {
                    tracing::debug!(stack = %self.name, path = parts.uri.path(), %refused, "handshake refused");
                    return Err(refused.into_response());
                }
                Err(_) => {
                    tracing::warn!(stack = %self.name, path = parts.uri.path(), ?limit, "interceptors took too long");
                    let why = "the server took too long to decide; try again later\n";
                    return Err(
                        HandshakeRefused::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response()
                    );
                }
            }
        };
        Ok(Admitted {
            protocol: protocol
                .as_deref()
                .and_then(|protocol| HeaderValue::from_str(protocol).ok()),
            opening: Opening {
                info: session_info(&self.front, parts),
                attributes,
                protocol,
                local: None,
            },
        })
    }

    fn connected(opening: &mut Opening, remote: Option<SocketAddr>, local: Option<SocketAddr>) {
        let handshake = &mut opening.info.handshake;
        handshake.remote = handshake.remote.or(remote);
        opening.local = local;
    }

    fn session<T: RawTransport>(
        self: Arc<Self>,
        opening: Opening,
        transport: T,
    ) -> impl Future<Output = ()> + Send + 'static {
        RawTask::new(self, opening, transport)
    }
}

impl Driven for Shared {
    fn driver(&self) -> &Driver {
        &self.driver
    }

    fn wheel(&self) -> &Arc<Wheel> {
        &self.wheel
    }

    fn tick(&self, _: Instant) {}
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEndpoint")
            .field("name", &self.name)
            .field("protocols", &self.protocols)
            .field("limits", &self.limits)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

/// The connections of a raw endpoint that are open now: to count them, to send to them, to close them.
///
/// From [`RawEndpoint::sessions`](super::RawEndpoint::sessions) or, in a handler,
/// [`SocketSender::sessions`]; cheap to clone. Keeping one does not keep the endpoint
/// alive.
///
/// # Example: a line for everyone
///
/// ```
/// use tramline::raw::{RawEndpoint, Socket};
///
/// async fn listen(mut socket: Socket) {
///     while socket.receive().await.is_some() {}
/// }
///
/// let news = RawEndpoint::builder(listen).build()?;
/// let readers = news.sessions();
/// assert_eq!(readers.broadcast("the tram is late"), 0);            // nobody is there yet
/// # Ok::<(), tramline::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Shared>);

impl Sessions {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one with this [id](SocketSender::id), if it is still there.
    pub fn get(&self, id: SessionId) -> Option<SocketSender> {
        self.0.sessions.find(id).map(SocketSender)
    }

    /// All of them, in no particular order.
    pub fn all(&self) -> Vec<SocketSender> {
        let channels = self.0.sessions.all().into_iter();
        channels.map(SocketSender).collect()
    }

    /// Sends a message to all of them, as by [`try_send`](SocketSender::try_send); gives how many took it.
    ///
    /// Waits for nobody: who has no room for it is treated as [`RawLimits::overflow`] says. The payload is shared.
    pub fn broadcast(&self, message: impl Into<SharedMessage>) -> usize {
        self.broadcast_to(message, |_| true)
    }

    /// Sends a message to those for which `wanted` holds, as [`broadcast`](Self::broadcast) does.
    ///
    /// # Example: to one user's browsers
    ///
    /// ```
    /// use tramline::raw::Sessions;
    ///
    /// fn tell(sessions: &Sessions, user: &str, news: String) -> usize {
    ///     sessions.broadcast_to(news, |session| session.user().is_some_and(|is| is.name() == user))
    /// }
    /// # let _ = tell;
    /// ```
    pub fn broadcast_to(
        &self,
        message: impl Into<SharedMessage>,
        wanted: impl Fn(&SocketSender) -> bool,
    ) -> usize {
        let item: Item = message.into().into_item();
        let sessions = self.all().into_iter();
        sessions
            .filter(wanted)
            .filter(|session| session.0.try_send(item.clone()).is_ok())
            .count()
    }

    /// Closes all of them with this code and reason, as [`close`](SocketSender::close) does. New ones may come.
    pub fn close(&self, code: CloseCode, reason: impl Into<ByteString>) {
        let reason = reason.into();
        for session in self.all() {
            session.close(code, reason.clone());
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.0).finish()
    }
}
