//! What requests to a messaging stack become: sessions of STOMP.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Response};
use tramline_sockjs::PayloadLimits;
use tramline_websocket::Config;

use super::SessionTask;
use crate::model::inbound::SessionInfo;
use crate::model::log::Source;
use crate::net::endpoint::too_many;
use crate::net::endpoint::{
    Admitted, Body, Front, Refusals, Stack, offered_protocols, session_info,
};
use crate::net::lifecycle::Lifecycle;
use crate::net::transport::keep_alive::KeepAlive;
use crate::net::transport::messages::RawTransport;
use crate::net::transport::violation::LimitsOf;
use crate::stack::shared::MessagingStack;

impl Stack for MessagingStack {
    type Opening = SessionInfo;

    const LIMITS_OF: LimitsOf = LimitsOf::Stomp;

    fn name(&self) -> &str {
        &self.name
    }

    fn front(&self) -> &Front {
        &self.front
    }

    fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    fn close(&self) {
        self.lifecycle.close();
        for member in self.hub.members() {
            self.end(&member);
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
        self.may_log(source)
    }

    fn payload_limits(&self) -> PayloadLimits {
        self.limits.payload()
    }

    fn before_login(&self) -> Option<usize> {
        Some(self.limits.connect_bytes)
    }

    fn websocket(&self) -> (Config, Option<Box<KeepAlive>>) {
        let limits = &self.limits;
        let keep_alive = KeepAlive::new(
            limits.keep_alive,
            limits.keep_alive_timeout,
            self.wheel.now(),
        );
        (limits.websocket(), keep_alive)
    }

    /// With the first sub-protocol in the client's list that is STOMP's, as the client wrote it; where there is none the
    /// handshake goes on without: many STOMP clients ask for none.
    async fn admit(&self, parts: &mut Parts) -> Result<Admitted<SessionInfo>, Response<Body>> {
        if let Err(wait) = self.rates.connection(self.front.network(parts)) {
            return Err(too_many(wait));
        }
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
