//! Engine starts that fail or are slow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tramline_broker::{
    Broker, CommitError, Confirm, DestinationStatistics, Hub, HubSettings, LocalHub, OpenError,
    Pattern, Promise, Publish, PublishError, Published, Refused, SessionId, StartError,
    SubscribeError, Timestamp, Transaction,
};

use crate::engine::Engine;
use crate::engine::server::Server;
use crate::manual::Manual;
use crate::support::{NOW, NodeSession, Seen, TOO_LATE, message, now, wait};

/// The test answers its start, which has to be the first call.
#[derive(Debug, Default)]
struct Starting {
    start: Mutex<Option<Promise<Result<(), StartError>>>>,
    stops: Mutex<Vec<Promise<()>>>,
    is_started: AtomicBool,
}

impl Broker for Starting {
    fn settings(&self) -> HubSettings {
        HubSettings::new().topics("/topic")
    }

    fn start(&self, _hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        let (promise, confirm) = Promise::new();
        *self.start.lock().unwrap() = Some(promise);
        self.is_started.store(true, Ordering::Release);
        confirm
    }

    fn stop(&self, _deadline: Timestamp) -> Confirm<()> {
        self.check_started();
        let (promise, confirm) = Promise::new();
        self.stops.lock().unwrap().push(promise);
        confirm
    }

    fn publish(
        &self,
        _: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        self.check_started();
        Confirm::ready(Err(Refused::first_of(
            batch,
            PublishError::BrokerUnavailable,
        )))
    }

    fn sweep(&self) {
        self.check_started();
    }

    fn statistics(&self, _pattern: &Pattern, _limit: usize) -> Vec<DestinationStatistics> {
        self.check_started();
        Vec::new()
    }
}

impl Starting {
    fn check_started(&self) {
        let started = self.is_started.load(Ordering::Acquire);
        assert!(started, "the start comes first");
    }

    fn keep(&self, answer: Result<(), StartError>) {
        let promise = self.start.lock().unwrap().take();
        promise.expect("it was started").keep(answer);
    }
}

fn hub() -> (Hub, Arc<Starting>, Arc<Seen>) {
    let engine = Arc::new(Starting::default());
    let hub = Hub::new(Arc::clone(&engine));
    let seen = Seen::of(&hub);
    (hub, engine, seen)
}

#[test]
fn a_start_that_fails_says_why() {
    let (hub, engine, seen) = hub();
    let started = hub.start();
    engine.keep(Err(StartError::new("no credentials")));
    assert_eq!(wait(started), Err(StartError::new("no credentials")));
    assert!(!hub.is_available());
    assert!(seen.all().is_empty(), "who called for it has the answer");
}

#[test]
fn everybody_who_starts_it_has_its_answer() {
    let (hub, engine, seen) = hub();
    let mut early = [hub.start(), hub.start()];
    assert!(early.iter_mut().all(|started| now(started).is_none()));
    drop(hub.start());
    engine.keep(Err(StartError::new("no credentials")));
    hub.sweep(NOW);
    for started in early.into_iter().chain([hub.start()]) {
        assert_eq!(wait(started), Err(StartError::new("no credentials")));
    }
    assert!(seen.all().is_empty());
}

#[test]
fn an_engine_that_was_not_started_is_not_stopped() {
    let hub = Hub::new(Engine::new(Server::new()));
    wait(hub.stop(NOW));
    let started = Hub::new(Engine::new(Server::new()));
    let seen = Seen::of(&started);
    wait(started.start()).unwrap();
    wait(started.stop(NOW));
    assert_eq!(seen.all(), ["available true", "available false"]);
}

#[test]
fn a_sweep_and_statistics_do_not_reach_an_engine_that_was_not_started() {
    let (hub, engine, _seen) = hub();
    hub.sweep(NOW);
    hub.statistics(&Pattern::parse("/**").unwrap(), 1);
    assert!(!engine.is_started.load(Ordering::Acquire));
}

#[test]
fn a_stopped_engine_receives_no_more_requests() {
    let (hub, engine) = Manual::hub();
    let session = NodeSession::open(&hub);
    wait(hub.stop(NOW));
    let unavailable = PublishError::BrokerUnavailable;
    let mut published = hub.publish(vec![message("/topic/a", "x")], NOW);
    let refused = Refused::new(0, unavailable.clone()).named("/topic/a");
    assert_eq!(now(&mut published), Some(Err(refused)));
    let transaction = Transaction::new(Vec::new(), vec![message("/topic/a", "x")]);
    let mut committed = hub.commit(session.id, transaction, NOW);
    let refused = CommitError::from(unavailable);
    assert_eq!(now(&mut committed), Some(Err(refused)));
    for (slot, destination) in [(0, "/topic/a"), (1, "/queue/a")] {
        let mut subscribed = session.subscribing(slot, destination);
        let refused = SubscribeError::BrokerUnavailable;
        assert_eq!(now(&mut subscribed), Some(Err(refused)));
    }
    assert!(engine.names().is_empty());
}

#[test]
fn a_stop_before_the_first_use_prevents_the_start() {
    let (hub, engine, _seen) = hub();
    wait(hub.stop(NOW));
    let mut opened = NodeSession::new(&hub, 1_000).opening(None);
    assert_eq!(now(&mut opened), Some(Err(OpenError::BrokerUnavailable)));
    assert!(!engine.is_started.load(Ordering::Acquire));
}

#[test]
fn a_stop_prevents_a_later_start() {
    let (hub, engine, _seen) = hub();
    wait(hub.stop(NOW));
    let error = StartError::new("it was stopped before");
    assert_eq!(wait(hub.start()), Err(error));
    assert!(!engine.is_started.load(Ordering::Acquire));
}

#[test]
fn a_stop_ends_by_its_deadline() {
    let (hub, engine, _seen) = hub();
    drop(hub.start());
    let mut silent = [hub.stop(NOW), hub.stop(TOO_LATE)];
    let before = Timestamp::from_millis(NOW.as_millis() - 1);
    hub.sweep(before);
    assert_eq!(silent.each_mut().map(now), [None, None]);
    hub.sweep(NOW);
    assert_eq!(silent.each_mut().map(now), [Some(()), None]);
    assert_eq!(engine.stops.lock().unwrap().len(), 1, "it is asked once");
}

#[test]
fn a_stop_goes_on_when_its_caller_does_not_wait() {
    let (hub, engine, _seen) = hub();
    drop(hub.start());
    drop(hub.stop(TOO_LATE));
    let mut later = [hub.stop(TOO_LATE), hub.stop(TOO_LATE)];
    assert_eq!(later.each_mut().map(now), [None, None]);
    let mut stops = std::mem::take(&mut *engine.stops.lock().unwrap());
    assert_eq!(stops.len(), 1);
    stops.remove(0).keep(());
    assert_eq!(later.each_mut().map(now), [Some(()), Some(())]);
    assert_eq!(now(&mut hub.stop(TOO_LATE)), Some(()));
}

#[test]
fn a_start_at_first_use_that_fails_is_observed() {
    let (hub, engine, seen) = hub();
    let published = wait(hub.publish(vec![message("/topic/a", "x")], NOW));
    let unavailable = Refused::new(0, PublishError::BrokerUnavailable).named("/topic/a");
    assert_eq!(published, Err(unavailable));
    engine.keep(Err(StartError::new("no credentials")));
    hub.sweep(NOW);
    assert_eq!(seen.all(), ["the broker did not start: no credentials"]);
}

#[test]
fn a_start_that_is_not_answered_has_failed() {
    let (hub, _engine, seen) = hub();
    let mut started = hub.start();
    hub.sweep(NOW);
    assert!(now(&mut started).is_none());
    hub.sweep(TOO_LATE);
    let error = StartError::new("it did not answer");
    assert_eq!(now(&mut started), Some(Err(error)));
    assert!(seen.all().is_empty());
}

#[test]
fn requests_of_other_threads_wait_for_the_start() {
    for _ in 0..200 {
        let (hub, _engine, _seen) = hub();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                // `Starting` checks that the start came first.
                scope.spawn(|| wait(hub.publish(vec![message("/topic/a", "x")], NOW)));
            }
        });
    }
}
