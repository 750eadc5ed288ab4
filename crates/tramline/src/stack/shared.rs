//! The state that the parts and sessions of a stack share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use bytestring::ByteString;
use http::Extensions;
use parking_lot::Mutex;
use tramline_broker::{Ending, Member, Outbox};
use tramline_stomp::ServerConfig;

use super::clients::ClientHub;
use super::limits::Limits;
use super::policy::{Policy, Refusals};
use super::presence::PresenceTable;
use super::rates::RateTable;
use super::stats::Counters;
use super::watch::Watch;
use crate::app::interceptor::Interceptors;
use crate::app::publisher::Publisher;
use crate::app::router::RouteTable;
use crate::app::token::TokenService;
use crate::model::clock::{SWEEP, now};
use crate::model::events::{Event, Listeners};
use crate::model::inbound::SessionRecord;
use crate::model::log::{LogBudget, Source, log_client};
use crate::model::prefix::{below, quoted};
use crate::model::temporary;
use crate::net::endpoint::{Front, SockJs};
use crate::net::lifecycle::Lifecycle;
use crate::net::measures::Measures;
use crate::net::wheel::{Driven, Driver, Wheel};

/// The state that all sessions of a stack share.
pub(crate) struct MessagingStack {
    pub(crate) name: ByteString,
    pub(crate) hub: ClientHub,
    pub(crate) routes: RouteTable,
    pub(crate) app_prefixes: Vec<ByteString>,
    pub(crate) user_prefix: ByteString,
    pub(crate) policy: Policy,
    pub(crate) tokens: Option<TokenService>,
    pub(crate) refusals: Refusals,
    pub(crate) publisher: Publisher,
    /// Handles of the stack for handlers, by type.
    pub(crate) for_handlers: Arc<Extensions>,
    pub(crate) limits: Limits,
    pub(crate) rates: RateTable,
    pub(crate) stomp: Arc<ServerConfig>,
    /// The same for clients that are no browsers.
    pub(crate) stomp_of_programs: Arc<ServerConfig>,
    pub(crate) front: Front,
    pub(crate) sockjs: SockJs,
    pub(crate) wheel: Arc<Wheel>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) measures: Arc<Measures>,
    pub(crate) watch: Watch,
    pub(crate) log_budget: Arc<LogBudget>,
    pub(crate) listeners: Listeners,
    pub(crate) interceptors: Interceptors,
    pub(crate) presence: PresenceTable,
    pub(crate) lifecycle: Lifecycle,
    /// Counts the answers of `subscribe` handlers, for their `message-id`.
    pub(crate) answers: AtomicU64,
    pub(super) driver: Driver,
    pub(super) next_sweep: Mutex<Instant>,
}

impl MessagingStack {
    /// Waits until new sessions are refused.
    pub(crate) async fn closed(&self) {
        self.lifecycle.closed().await;
    }

    /// Calls the event listeners.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        self.listeners.tell(event, |panic, event| {
            self.counters.handler_panics.increment();
            log_client!(
                ERROR if self.may_log(Source::default()),
                { stack = %self.name },
                "event listener panicked",
                format_args!("{panic}; {event:?}")
            );
        });
    }

    /// Returns true if one more line at INFO or above may be written because of a client.
    pub(crate) fn may_log(&self, source: Source) -> bool {
        let suppressed = &self.counters.log_lines_suppressed;
        self.log_budget.admit(source, now(), suppressed)
    }

    /// The same for a session.
    pub(crate) fn may_log_of(&self, session: &SessionRecord) -> bool {
        self.may_log(Source {
            remote: session.handshake().remote,
            session: Some(session.id()),
        })
    }

    /// Registers a new connection's session with the hub.
    pub(crate) fn session_opened(&self, session: &Arc<SessionRecord>) -> Arc<Member> {
        self.counters.sessions_open.increment();
        self.counters.sessions_total.increment();
        let outbox = Outbox::new(self.limits.outbox, self.limits.overflow.clone());
        let member = self.hub.register(session, outbox);
        if self.lifecycle.is_closing() {
            // The existing sessions were asked to end just before.
            self.end(&member);
        }
        member
    }

    /// Ends a session because the stack shuts down.
    pub(crate) fn end(&self, member: &Member) {
        let (code, reason) = self.lifecycle.close_frame();
        member.outbox().end(Ending::Requested {
            code: code.as_u16(),
            reason,
        });
    }

    pub(crate) fn session_gone(&self, session: &SessionRecord) {
        self.counters.sessions_open.decrement();
        self.hub.unregister(session.id());
        self.lifecycle.session_gone();
    }

    /// Returns the part of `destination` after an application prefix.
    pub(crate) fn application_path<'a>(&self, destination: &'a str) -> Option<&'a str> {
        let mut prefixes = self.app_prefixes.iter();
        prefixes.find_map(|prefix| below(destination, prefix))
    }

    /// Returns whether a client means one of its own temporary queues.
    pub(crate) fn is_temporary(&self, destination: &str) -> bool {
        temporary::is_queue(destination) && !self.hub.serves(destination)
    }

    /// Returns whether a SEND there has a new token for its session.
    #[inline]
    pub(crate) fn is_renewal(&self, destination: &str) -> bool {
        let tokens = self.tokens.as_ref();
        tokens.is_some_and(|tokens| *tokens.destination == *destination)
    }

    /// Starts the timers' task, if it is not running yet. Must be called inside a runtime.
    pub(crate) fn drive(self: &Arc<Self>) {
        Driver::start(self);
    }

    /// The text for a destination without handler or broker.
    pub(crate) fn nowhere(&self, destination: &str) -> String {
        format!(
            "{destination:?} leads nowhere: handlers are below {}, what is for users is below {:?}, and the broker carries \
             what is below {}",
            quoted(&self.app_prefixes),
            self.user_prefix,
            quoted(self.hub.prefixes())
        )
    }
}

impl Driven for MessagingStack {
    fn driver(&self) -> &Driver {
        &self.driver
    }

    fn wheel(&self) -> &Arc<Wheel> {
        &self.wheel
    }

    fn tick(&self, now: Instant) {
        self.log_budget.summarize(&self.name, now);
        let mut next_sweep = self.next_sweep.lock();
        if *next_sweep <= now {
            *next_sweep = now + SWEEP;
            drop(next_sweep);
            self.hub.sweep();
            self.watch
                .sample(now, || (self.counters.snapshot(), self.hub.memory()));
        }
    }
}

impl fmt::Debug for MessagingStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messaging")
            .field("name", &self.name)
            .field("hub", &self.hub)
            .field("lifecycle", &self.lifecycle)
            .finish_non_exhaustive()
    }
}
