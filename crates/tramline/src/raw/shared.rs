//! State that all connections of an endpoint share.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;
use tramline_broker::SessionId;

use super::channel::Channel;
use super::handshake::Interceptor;
use super::limits::RawLimits;
use super::stats::RawCounters;
use crate::model::inbound::SessionInfo;
use crate::model::log::{LogBudget, Source};
use crate::net::endpoint::{Front, Stack};
use crate::net::open_sessions::OpenSessions;
use crate::net::wheel::{Driven, Driver, Wheel};

pub(crate) struct RawStack {
    pub(super) name: ByteString,
    pub(super) handler: StartHandler,
    pub(super) protocols: Vec<ByteString>,
    pub(super) interceptors: Vec<Interceptor>,
    pub(super) limits: RawLimits,
    /// True if handlers see parts of messages, and pongs.
    pub(super) parts: bool,
    pub(super) pongs: bool,
    pub(super) front: Front,
    pub(super) wheel: Arc<Wheel>,
    pub(super) driver: Driver,
    pub(super) counters: RawCounters,
    pub(super) log_budget: LogBudget,
    pub(super) sessions: OpenSessions<Channel>,
}

impl RawStack {
    pub(super) fn opened(&self, channel: &Arc<Channel>) {
        self.counters.sessions_open.increment();
        self.counters.sessions_total.increment();
        if !self.sessions.add(channel.opening.info.id, channel) {
            self.end(channel);
        }
    }

    /// Returns true if one more line at INFO or above may be written because of a session.
    pub(super) fn may_log_of(&self, session: &SessionInfo) -> bool {
        self.may_log(Source {
            remote: session.handshake.remote,
            session: Some(session.id),
        })
    }

    pub(super) fn gone(&self, id: SessionId) {
        self.counters.sessions_open.decrement();
        self.sessions.remove(id);
    }

    /// Closes a connection because the endpoint shuts down.
    pub(super) fn end(&self, channel: &Channel) {
        let (code, reason) = self.sessions.lifecycle().close_frame();
        channel.close(code, reason);
    }
}

impl Driven for RawStack {
    fn driver(&self) -> &Driver {
        &self.driver
    }

    fn wheel(&self) -> &Arc<Wheel> {
        &self.wheel
    }

    fn tick(&self, now: Instant) {
        self.log_budget.summarize(&self.name, now);
    }
}

impl fmt::Debug for RawStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEndpoint")
            .field("name", &self.name)
            .field("protocols", &self.protocols)
            .field("limits", &self.limits)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Starts the application's handler of a connection.
pub(super) type StartHandler = Box<dyn Fn(Arc<Channel>) -> HandlerFuture + Send + Sync>;
