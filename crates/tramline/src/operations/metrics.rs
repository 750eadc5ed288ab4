//! The metrics of a process, as Prometheus reads them.

use std::fmt;
use std::sync::{Arc, Weak};

use bytestring::ByteString;
use http::StatusCode;
use tramline_broker::{DestinationError, Pattern};

use super::answer::{Answer, answers_get};
use super::exposition::{CONTENT_TYPE, Exposition};
use super::families;
use crate::raw::{RawEndpoint, RawStats};
use crate::stack::messaging::Messaging;
use crate::stack::shared::MessagingStack;

/// The metrics of a process, for Prometheus and whatever reads its text format: a tower service to mount at `/metrics`.
///
/// Counters are those that the stack keeps anyway, and are read when somebody asks. While a `Metrics` exists for a stack,
/// its handlers are timed, and ten messages a second at most are followed from their publisher to the socket. All names,
/// and what they are good for, are on the guide's page about [metrics](crate::guide::metrics).
///
/// The number of time series does not depend on what clients do: the labels are the names of stacks and raw endpoints, the
/// routes of handlers, and the destinations that are [asked for](Self::destinations). Keeping a `Metrics` does not keep the
/// messaging alive. The text names routes and destinations: mount it where clients do not come, or behind a login.
///
/// # Example: `/metrics` in axum
///
/// ```
/// use tramline::Messaging;
/// use tramline::metrics::Metrics;
///
/// # use tramline::policy::{Policy, permit};
/// # let messaging = Messaging::builder()
/// #     .broker(tramline::EmbeddedBroker::new().queues("/queue"))
/// #     .policy(Policy::builder().otherwise(permit()))
/// #     .build()?;
/// let metrics = Metrics::new()
///     .stack(&messaging)
///     .destinations(&messaging, "/queue/orders/*", 20)?; // a series each, for 20 queues at most
/// assert!(metrics.render().contains("tramline_sessions{stack=\"messaging\"} 0\n"));
///
/// let operations: axum::Router = axum::Router::new().route_service("/metrics", metrics);
/// # let _ = operations;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "mount it, or call `render`"]
pub struct Metrics {
    stacks: Vec<Weak<MessagingStack>>,
    destinations: Vec<Destinations>,
    others: Vec<Other>,
}

/// Destinations with series of their own.
#[derive(Clone)]
struct Destinations {
    stack: Weak<MessagingStack>,
    pattern: Pattern,
    limit: usize,
}

/// What has counters besides stacks.
#[derive(Clone)]
enum Other {
    Raw(ByteString, Arc<dyn Fn() -> Option<RawStats> + Send + Sync>),
    #[cfg(feature = "serve")]
    Server(crate::serve::Connections),
}

impl Metrics {
    /// Metrics of nothing, to add to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stack, whose [name](crate::MessagingBuilder::name) is the label `stack`: stacks of one process need different
    /// ones.
    pub fn stack(mut self, messaging: &Messaging) -> Self {
        let stack = &messaging.handle.stack;
        stack.measures.begin();
        self.stacks.push(Arc::downgrade(stack));
        self
    }

    /// Adds series of single destinations: of at most `limit` of those that `pattern` covers, the first by name. Each has 8
    /// series, which live as long as the destination does.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] if `pattern` is invalid.
    pub fn destinations(
        mut self,
        messaging: &Messaging,
        pattern: impl Into<ByteString>,
        limit: usize,
    ) -> Result<Self, DestinationError> {
        let stack = &messaging.handle.stack;
        let pattern = pattern.into();
        let separator = stack.hub.separator(&pattern);
        self.destinations.push(Destinations {
            stack: Arc::downgrade(stack),
            pattern: Pattern::parse_separated(pattern, separator)?,
            limit,
        });
        Ok(self)
    }

    /// Adds a raw endpoint, as the label `endpoint`.
    pub fn raw(mut self, name: impl Into<ByteString>, endpoint: &RawEndpoint) -> Self {
        let stats = endpoint.reader();
        self.others.push(Other::Raw(name.into(), Arc::new(stats)));
        self
    }

    /// Adds the connections of a server: [`Server::connections`](crate::serve::Server::connections).
    #[cfg(feature = "serve")]
    pub fn server(mut self, connections: crate::serve::Connections) -> Self {
        self.others.push(Other::Server(connections));
        self
    }

    /// The text, at this moment.
    pub fn render(&self) -> String {
        let mut text = Exposition::default();
        for stack in self.stacks.iter().filter_map(Weak::upgrade) {
            families::stack(&mut text, &stack);
        }
        for asked in &self.destinations {
            if let Some(stack) = asked.stack.upgrade() {
                let statistics = stack.hub.statistics(&asked.pattern, asked.limit);
                families::destinations(&mut text, &stack.name, &statistics.selected);
            }
        }
        for other in &self.others {
            match other {
                Other::Raw(name, stats) => {
                    if let Some(stats) = stats() {
                        families::raw(&mut text, name, stats);
                    }
                }
                #[cfg(feature = "serve")]
                Other::Server(connections) => families::server(&mut text, connections.stats()),
            }
        }
        text.into_text()
    }
}

impl Metrics {
    fn answer(&self) -> Answer {
        (StatusCode::OK, CONTENT_TYPE, self.render())
    }
}

answers_get!(Metrics);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("stacks", &self.stacks.len())
            .finish_non_exhaustive()
    }
}
