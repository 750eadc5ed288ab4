//! Starts that fail, or are never answered.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tramline_broker::{
    Activation, Broker, Capabilities, Confirm, HubSettings, LocalHub, Promise, Publish,
    PublishError, Published, Refused, SessionId, StartError, SubscribeError,
};

use super::engine::Engine;
use super::engine::server::Server;
use super::support::app;

/// Its start is answered by the test; it refuses what it is asked for until then, and after a failure.
#[derive(Debug, Default)]
struct Starting(Mutex<Option<Promise<Result<(), StartError>>>>);

impl Broker for Starting {
    fn settings(&self) -> HubSettings {
        HubSettings::new().topics("/topic")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().interest(true)
    }

    fn start(&self, _hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        let (promise, confirm) = Promise::new();
        *self.0.lock() = Some(promise);
        confirm
    }

    fn activate(&self, activation: Activation) {
        activation.refuse(SubscribeError::BrokerUnavailable);
    }

    fn publish(
        &self,
        _: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        Confirm::ready(Err(Refused::first_of(
            batch,
            PublishError::BrokerUnavailable,
        )))
    }
}

impl Starting {
    fn fail(&self) {
        let promise = self.0.lock().take();
        promise.unwrap().keep(Err(no_credentials()));
    }
}

fn no_credentials() -> StartError {
    StartError::new("no credentials")
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_says_why_and_clients_are_refused() {
    let engine = Arc::new(Starting::default());
    let (app, log) = app(Arc::clone(&engine));
    let starting = tokio::spawn({
        let messaging = app.messaging().clone();
        async move { messaging.start().await }
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!starting.is_finished());
    engine.fail();
    assert_eq!(starting.await.unwrap(), Err(no_credentials()));
    for _ in 0..2 {
        let end = app.try_connect_with(|client| client).await.unwrap_err();
        assert_eq!(end.error(), Some("session refused"));
        assert_eq!(end.detail(), Some("the broker is not available"));
    }
    assert!(app.publisher().send("/topic/a", "x").await.is_err());
    assert_eq!(app.shutdown(Duration::from_secs(5)).await, 0);
    let events = std::mem::take(&mut *log.lock());
    assert_eq!(events.iter().filter(|line| *line == "available").count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_never_answered_has_failed() {
    let (app, _log) = app(Starting::default());
    let error = StartError::new("it did not answer");
    assert_eq!(app.start().await, Err(error));
    assert_eq!(app.shutdown(Duration::from_secs(5)).await, 0);
}

/// Who asks again, or asks after a client was first, has the answer of the one start that there is.
#[tokio::test(start_paused = true)]
async fn everybody_who_starts_it_has_its_answer() {
    let engine = Arc::new(Starting::default());
    let (app, _log) = app(Arc::clone(&engine));
    assert!(app.try_connect_with(|client| client).await.is_err());
    let starting = [(); 2].map(|()| {
        let messaging = app.messaging().clone();
        tokio::spawn(async move { messaging.start().await })
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(starting.iter().all(|starting| !starting.is_finished()));
    engine.fail();
    for starting in starting {
        assert_eq!(starting.await.unwrap(), Err(no_credentials()));
    }
    assert_eq!(app.start().await, Err(no_credentials()));
}

/// A start at first use that fails is an event, since nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_start_at_first_use_that_fails_is_reported() {
    let engine = Arc::new(Starting::default());
    let (app, log) = app(Arc::clone(&engine));
    assert!(app.try_connect_with(|client| client).await.is_err());
    engine.fail();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(log.lock().last().unwrap(), "unavailable");
    assert_eq!(app.shutdown(Duration::from_secs(5)).await, 0);
    let reported = log
        .lock()
        .iter()
        .filter(|line| *line == "unavailable")
        .count();
    assert_eq!(reported, 1);
}

#[tokio::test]
async fn an_engine_that_was_never_used_is_not_stopped() {
    let (app, log) = app(Engine::new(Server::new()));
    assert_eq!(app.shutdown(Duration::from_secs(5)).await, 0);
    assert!(log.lock().is_empty());
}
