//! Whether the process lives, and whether clients should come to it.

use std::fmt;
use std::sync::{Arc, Weak};

use bytestring::ByteString;
use http::StatusCode;
use serde::Serialize;

use super::answer::{Answer, answers_get};
use crate::stack::messaging::Messaging;
use crate::stack::shared::MessagingStack;

/// Answers an orchestrator's questions about a process: is it alive, and is it ready for clients?
///
/// [`liveness`](Self::liveness) and [`readiness`](Self::readiness) are tower services to mount where the orchestrator
/// asks. Both answer GET in JSON, name nothing but stacks, and need no login. Keeping a `Health` does not keep the
/// messaging alive.
///
/// # Example: `/health` and `/ready` in axum
///
/// ```
/// use tramline::Messaging;
/// use tramline::health::Health;
///
/// # use tramline::policy::{Policy, permit};
/// # let messaging = Messaging::builder()
/// #     .broker(tramline::EmbeddedBroker::new().topics("/topic"))
/// #     .policy(Policy::builder().otherwise(permit()))
/// #     .build()?;
/// let health = Health::of(&messaging);
/// let app: axum::Router = axum::Router::new()
///     .route_service("/health", health.liveness())
///     .route_service("/ready", health.readiness())
///     .nest_service("/ws", messaging.endpoint());
/// assert!(health.is_ready());
/// # let _ = app;
/// # Ok::<(), tramline::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Health(Arc<[(ByteString, Weak<MessagingStack>)]>);

impl Health {
    /// The health of a process with one stack.
    pub fn of(messaging: &Messaging) -> Self {
        Self::of_all([messaging])
    }

    /// The health of a process with several stacks: it is ready when all of them are.
    pub fn of_all<'a>(stacks: impl IntoIterator<Item = &'a Messaging>) -> Self {
        let stacks = stacks.into_iter().map(|messaging| {
            let stack = &messaging.handle.stack;
            (stack.name.clone(), Arc::downgrade(stack))
        });
        Self(stacks.collect())
    }

    /// Returns true if every stack accepts sessions and its broker takes messages.
    pub fn is_ready(&self) -> bool {
        self.report().status == READY
    }

    /// A service that answers 200 as long as the process can answer: for an orchestrator that restarts one that cannot.
    /// It does not look at the broker, which a restart would not bring back.
    pub fn liveness(&self) -> Liveness {
        Liveness(())
    }

    /// A service that answers 200 if [all is ready](Self::is_ready), and 503 otherwise: during
    /// [`drain`](Messaging::drain) and [`shutdown`](Messaging::shutdown), and while a broker is away. The body has the
    /// state of each stack. For a load balancer that sends clients elsewhere.
    ///
    /// The first question starts a broker that nothing has started yet.
    pub fn readiness(&self) -> Readiness {
        Readiness(self.clone())
    }

    fn report(&self) -> Report {
        let stacks = self.0.iter().map(|(name, stack)| {
            let stack = stack.upgrade();
            let stack = stack.as_deref();
            StackReport {
                name: name.to_string(),
                broker: match stack.is_some_and(|stack| stack.hub.is_available()) {
                    true => AVAILABLE,
                    false => "unavailable",
                },
                draining: stack.is_none_or(|stack| stack.lifecycle.is_closing()),
            }
        });
        let stacks: Vec<StackReport> = stacks.collect();
        let all = stacks
            .iter()
            .all(|stack| stack.broker == AVAILABLE && !stack.draining);
        Report {
            status: if all { READY } else { "not ready" },
            stacks,
        }
    }

    /// Starts the brokers that are not started, as a first client would: otherwise nobody might ever be sent here.
    fn start(&self) {
        let stacks = self.0.iter().filter_map(|(_, stack)| stack.upgrade());
        for stack in stacks.filter(|stack| !stack.lifecycle.is_closing()) {
            // The state that the next question finds is the answer.
            drop(stack.hub.start());
        }
    }
}

const READY: &str = "ready";
const AVAILABLE: &str = "available";

#[derive(Serialize)]
struct Report {
    status: &'static str,
    stacks: Vec<StackReport>,
}

#[derive(Serialize)]
struct StackReport {
    name: String,
    broker: &'static str,
    draining: bool,
}

/// A tower service that says that the process lives: from [`Health::liveness`].
#[derive(Clone, Debug)]
pub struct Liveness(());

impl Liveness {
    fn answer(&self) -> Answer {
        (StatusCode::OK, JSON, "{\"status\":\"up\"}".to_owned())
    }
}

answers_get!(Liveness);

/// A tower service that says whether clients should come: from [`Health::readiness`].
#[derive(Clone, Debug)]
pub struct Readiness(Health);

impl Readiness {
    fn answer(&self) -> Answer {
        self.0.start();
        let report = self.0.report();
        let status = match report.status {
            READY => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, JSON, serde_json::json!(report).to_string())
    }
}

answers_get!(Readiness);

const JSON: &str = "application/json";

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}
