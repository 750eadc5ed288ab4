//! Turns requests to a raw endpoint into connections with a handler each.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use tramline_sockjs::PayloadLimits;
use tramline_websocket::Config;

use super::channel::Opening;
use super::handshake::{HandshakeRefused, HandshakeRequest};
use super::shared::RawStack;
use super::task::RawTask;
use crate::model::clock::now;
use crate::model::log::{Source, log_client};
use crate::net::endpoint::{
    Admitted, Body, Front, Refusals, Stack, offered_protocols, session_info,
};
use crate::net::lifecycle::Lifecycle;
use crate::net::transport::keep_alive::KeepAlive;
use crate::net::transport::messages::RawTransport;
use crate::net::transport::violation::LimitsOf;

impl Stack for RawStack {
    type Opening = Opening;

    const LIMITS_OF: LimitsOf = LimitsOf::Raw;

    fn name(&self) -> &str {
        &self.name
    }

    fn front(&self) -> &Front {
        &self.front
    }

    fn lifecycle(&self) -> &Lifecycle {
        self.sessions.lifecycle()
    }

    fn close(&self) {
        self.sessions.lifecycle().close();
        for channel in self.sessions.all() {
            self.end(&channel);
        }
    }

    fn counters(&self) -> Refusals<'_> {
        Refusals {
            origins: &self.counters.origins_refused,
            requests: &self.counters.requests_refused,
            protocol_errors: &self.counters.protocol_errors,
        }
    }

    fn may_log(&self, source: Source) -> bool {
        let suppressed = &self.counters.log_lines_suppressed;
        self.log_budget.admit(source, now(), suppressed)
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
                    log_client!(
                        DEBUG,
                        { stack = %self.name },
                        "handshake refused",
                        format_args!("{}: {refused}", parts.uri.path())
                    );
                    return Err(refused.into_response());
                }
                Err(_) => {
                    log_client!(
                        WARN if self.may_log_request(parts),
                        { stack = %self.name, ?limit },
                        "interceptors took too long",
                        parts.uri.path()
                    );
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

impl RawStack {
    /// Runs the interceptors, one after the other.
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
