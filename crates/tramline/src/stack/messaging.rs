//! The application's handle of a stack: endpoints, counters, shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use tramline_broker::{BrokerStatistics, DestinationError, Pattern, StartError, Timestamp};

use super::builder::MessagingBuilder;
use super::policy::Policy;
use super::presence::Presence;
use super::registry::Registry;
use super::shared::MessagingStack;
use super::stats::Stats;
use crate::app::publisher::Publisher;
use crate::model::clock::{now, wall_clock};
use crate::net;
use crate::net::endpoint::{Handle, Stack};
use crate::net::transport::task::CLOSE_TIME;

/// A messaging stack: handlers, broker and policy behind endpoints that clients connect to.
///
/// Made by [`Messaging::builder`]. `build` starts nothing: the first client's connection does, on the runtime that
/// serves it. Several stacks in one process are independent of each other.
///
/// Cheap to clone. When the last clone and the last [`Endpoint`](crate::endpoint::Endpoint) are dropped, the sessions
/// are closed with 1001; [`shutdown`](Self::shutdown) does the same and waits.
///
/// # Example: a minimal stack
///
/// ```
/// use tramline::policy::{Policy, deny, permit};
/// use tramline::{EmbeddedBroker, MessageRouter, Messaging, message};
///
/// async fn greet(name: String) -> String {
///     format!("Hello, {name}!")
/// }
///
/// let messaging = Messaging::builder()
///     .routes(MessageRouter::new().route("/hello", message(greet).send_to("/topic/greetings")))
///     .broker(EmbeddedBroker::new().topics("/topic"))
///     .policy(
///         Policy::builder()
///             .on_connect(permit())
///             .on_message("/app/**", permit())
///             .on_subscribe("/topic/**", permit())
///             .otherwise(deny()),
///     )
///     .build()?;
/// let app: axum::Router = axum::Router::new().nest_service("/ws", messaging.endpoint().with_sockjs());
/// # let _ = app;
/// # Ok::<(), tramline::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Messaging {
    pub(crate) handle: Arc<Handle<MessagingStack>>,
}

impl Messaging {
    /// Returns the builder of a stack.
    pub fn builder() -> MessagingBuilder {
        MessagingBuilder::default()
    }

    /// A handle for sending messages from anywhere in the application.
    pub fn publisher(&self) -> Publisher {
        self.handle.stack.publisher.clone()
    }

    /// The connected users and sessions, and their subscriptions.
    pub fn registry(&self) -> Registry {
        Registry::of(Arc::downgrade(&self.handle.stack))
    }

    /// The users at the destinations for which [presence](MessagingBuilder::presence) is kept.
    pub fn presence(&self) -> Presence {
        Presence::of(Arc::downgrade(&self.handle.stack))
    }

    /// The name that distinguishes this stack from others.
    pub fn name(&self) -> &str {
        &self.handle.stack.name
    }

    /// The counters of what the stack has done and refused so far.
    pub fn stats(&self) -> Stats {
        self.handle.stack.counters.snapshot()
    }

    /// The broker's statistics, in total and for at most `limit` of the destinations that `pattern` covers: for a page
    /// that shows them.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] if `pattern` is invalid.
    ///
    /// # Example: the depth of the queues
    ///
    /// ```
    /// use tramline::policy::{Policy, permit};
    /// use tramline::{EmbeddedBroker, Messaging};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let messaging = Messaging::builder()
    ///     .broker(EmbeddedBroker::new().queues("/queue"))
    ///     .policy(Policy::builder().otherwise(permit()))
    ///     .build()?;
    /// messaging.publisher().send("/queue/orders", "one").await?;
    ///
    /// let statistics = messaging.broker_statistics("/queue/**", 100)?;
    /// let orders = &statistics.selected[0];
    /// assert_eq!((&*orders.destination, orders.depth), ("/queue/orders", 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn broker_statistics(
        &self,
        pattern: impl Into<ByteString>,
        limit: usize,
    ) -> Result<BrokerStatistics, DestinationError> {
        let hub = &self.handle.stack.hub;
        let pattern = pattern.into();
        let separator = hub.separator(&pattern);
        let pattern = Pattern::parse_separated(pattern, separator)?;
        Ok(hub.statistics(&pattern, limit))
    }

    /// The policy as applied here: with the broker's separators.
    pub fn policy(&self) -> &Policy {
        &self.handle.stack.policy
    }

    /// Starts the broker, and waits until it has started: for an application that must not run without it. Otherwise
    /// the first connection, or the first message that is sent, starts it. It starts once; every caller gets that start's
    /// answer.
    ///
    /// # Errors
    ///
    /// The broker's [`StartError`]; [`EmbeddedBroker`](crate::EmbeddedBroker) has none.
    pub async fn start(&self) -> Result<(), StartError> {
        let stack = &self.handle.stack;
        stack.publisher.answer(stack.hub.start()).await
    }

    /// Ends all sessions and waits for them, until `deadline` at most; returns how many were still open then.
    ///
    /// New ones are refused from now on: with 503, and [`serve_tcp`](Self::serve_tcp) stops listening. Running handlers
    /// are waited for, queued messages are written, and clients are closed with 1001, "going away". Dropping the future
    /// stops the waiting, not the ending.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        let stack = &self.handle.stack;
        stack.lifecycle.close_within(deadline);
        stack.close();
        let stop = StopBroker::by(stack, now() + deadline);
        let registered = || stack.hub.registered();
        let left = stack.lifecycle.all_gone(deadline, registered).await;
        stop.now().await;
        left
    }

    /// Ends all sessions gradually, for a restart that many clients do not answer by connecting all at once; returns how
    /// many were still open 5 s after `over`, the time that a client has to answer its close.
    ///
    /// As in [`shutdown`](Self::shutdown), new sessions are refused from now on, here with `Retry-After`. The open ones
    /// are closed one after the other, evenly spread over the time `over`, each at a random moment of its share, with
    /// 1012 ("service restart") and the reason `retry-after-ms=A..B`: the client should connect again after a random
    /// number of milliseconds in that range. The range is as long as `over`, 1 s at least, and a millisecond for each
    /// open session, so that no more than 1,000 a second come back. Over SockJS the reason is in the close frame
    /// `c[1012,…]`, over TCP in an ERROR. A session that is still open receives and handles messages as before; one
    /// that has ended by itself is not waited for.
    ///
    /// Dropping the future closes the sessions that are left at once, and so does `shutdown`, with the same code and
    /// reason. Choose `over` so that 5 s more pass before the process is killed: systemd waits 90 s, Kubernetes 30 s,
    /// Docker 10 s.
    ///
    /// # Example: four seconds, and the process ends
    ///
    /// ```
    /// # use tramline::policy::{Policy, permit};
    /// # use tramline::{EmbeddedBroker, Messaging};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let messaging = Messaging::builder()
    /// #     .broker(EmbeddedBroker::new().topics("/topic"))
    /// #     .policy(Policy::builder().otherwise(permit()))
    /// #     .build()?;
    /// use std::time::Duration;
    ///
    /// let left = messaging.drain(Duration::from_secs(4)).await;
    /// assert_eq!(left, 0); // there were none, so this did not take 4 s
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain(&self, over: Duration) -> usize {
        drain(&self.handle.stack, over).await
    }
}

/// See [`Messaging::drain`].
pub(crate) async fn drain(stack: &Arc<MessagingStack>, over: Duration) -> usize {
    let stop = StopBroker::by(stack, now() + over + CLOSE_TIME);
    let left = net::drain::drain(
        &stack.lifecycle,
        over,
        || stack.hub.registered(),
        || stack.hub.members(),
        |member| stack.end(&member),
        || stack.close(),
    )
    .await;
    stop.now().await;
    left
}

/// Stops the broker when the sessions are gone, even if the future that waits for them is dropped.
struct StopBroker {
    stack: Arc<MessagingStack>,
    until: Instant,
    is_begun: bool,
}

impl StopBroker {
    fn by(stack: &Arc<MessagingStack>, until: Instant) -> Self {
        Self {
            stack: Arc::clone(stack),
            until,
            is_begun: false,
        }
    }

    async fn now(mut self) {
        self.is_begun = true;
        stop_broker(&self.stack, self.until).await;
    }
}

impl Drop for StopBroker {
    fn drop(&mut self) {
        // A runtime that is gone has no sessions left.
        if !self.is_begun
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (stack, until) = (Arc::clone(&self.stack), self.until);
            runtime.spawn(async move {
                let left = until.saturating_duration_since(now());
                let registered = || stack.hub.registered();
                stack.lifecycle.all_gone(left, registered).await;
                stop_broker(&stack, until).await;
            });
        }
    }
}

async fn stop_broker(stack: &MessagingStack, until: Instant) {
    let left = until.saturating_duration_since(now());
    let stopped = stack.hub.stop(Timestamp::from(wall_clock()) + left);
    // An engine that does not stop in time is no longer waited for.
    let _ = tokio::time::timeout(left, stopped).await;
}
