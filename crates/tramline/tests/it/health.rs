//! What an orchestrator hears of a process.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use http::{Request, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;
use tramline::broker::Broker;
use tramline::health::Health;
use tramline::policy::{Policy, permit};
use tramline::{EmbeddedBroker, Messaging};
use tramline_broker::{
    Confirm, HubSettings, LocalHub, Publish, Published, Refused, SessionId, StartError,
};

use crate::support::{Client, DEADLINE, Server, eventually};

/// A broker that is there or not, as a test says.
#[derive(Clone, Debug, Default)]
struct Away(Arc<Mutex<Option<Arc<LocalHub>>>>);

impl Away {
    /// Waits for its start, and says whether it takes messages.
    async fn set_available(&self, available: bool) {
        eventually("the broker is started", || self.0.lock().is_some()).await;
        if let Some(hub) = &*self.0.lock() {
            hub.set_available(available);
        }
    }
}

impl Broker for Away {
    fn settings(&self) -> HubSettings {
        HubSettings::new().topics("/topic")
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        *self.0.lock() = Some(hub);
        Confirm::ready(Ok(()))
    }

    fn publish(
        &self,
        _: Option<SessionId>,
        _: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        Confirm::ready(Ok(Published::new(0)))
    }
}

fn messaging(name: &'static str, broker: impl Broker) -> Messaging {
    Messaging::builder()
        .name(name)
        .broker(broker)
        .policy(Policy::builder().otherwise(permit()))
        .build()
        .unwrap()
}

async fn ready(health: &Health) -> (StatusCode, Value) {
    let answer = health.readiness().oneshot(Request::new(())).await.unwrap();
    let status = answer.status();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let body = axum::body::Body::new(answer.into_body());
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn lives(health: &Health) -> StatusCode {
    let answer = health.liveness().oneshot(Request::new(())).await.unwrap();
    answer.status()
}

#[tokio::test]
async fn a_broker_that_is_away_is_no_reason_to_restart_and_one_to_send_nobody() {
    let broker = Away::default();
    let here = messaging("here", EmbeddedBroker::new().topics("/topic"));
    let there = messaging("there", broker.clone());
    let health = Health::of_all([&here, &there]);
    let state = |status: &str, broker: &str| {
        json!({
            "status": status,
            "stacks": [
                {"name": "here", "broker": "available", "draining": false},
                {"name": "there", "broker": broker, "draining": false},
            ],
        })
    };
    // The question starts the broker, which is not connected yet.
    let away = (
        StatusCode::SERVICE_UNAVAILABLE,
        state("not ready", "unavailable"),
    );
    assert_eq!(ready(&health).await, away);
    broker.set_available(true).await;
    assert_eq!(
        ready(&health).await,
        (StatusCode::OK, state("ready", "available"))
    );
    assert!(health.is_ready());
    broker.set_available(false).await;
    assert_eq!(ready(&health).await, away);
    assert_eq!(lives(&health).await, StatusCode::OK);
}

#[tokio::test]
async fn a_process_that_drains_is_alive_and_not_ready() {
    let server = Server::start().await;
    let health = Health::of(server.messaging());
    assert_eq!(ready(&health).await.0, StatusCode::OK);
    let mut client = Client::subscribed(&server, ["/topic/a"]).await;
    let messaging = server.messaging().clone();
    let drain = tokio::spawn(async move { messaging.drain(Duration::from_secs(60)).await });
    eventually("not ready", || !health.is_ready()).await;
    let (status, body) = ready(&health).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        body["stacks"][0],
        json!({"name": "test", "broker": "available", "draining": true})
    );
    // A session that is still open goes on meanwhile.
    let publisher = server.messaging().publisher();
    publisher.send("/topic/a", "still here").await.unwrap();
    client.expect_message("/topic/a", "still here").await;
    drop(client);
    drain.abort();
    let _ = drain.await;
    server.messaging().shutdown(DEADLINE).await;
    assert_eq!(lives(&health).await, StatusCode::OK);
    assert_eq!(ready(&health).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_stack_that_is_gone_is_not_ready() {
    let messaging = messaging("short", EmbeddedBroker::new().topics("/topic"));
    let health = Health::of(&messaging);
    drop(messaging);
    let (status, body) = ready(&health).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["stacks"][0]["draining"], true);
}
