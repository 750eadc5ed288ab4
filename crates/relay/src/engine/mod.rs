//! The engine: one task that has all links, sources and consumers of a node.
//!
//! The hub's calls are requests to it, and what links read comes to it as bytes, so that it needs no lock. Each link has a
//! task of its own, which only moves bytes.

mod consumers;
mod links;
mod nodes;
mod publishing;
mod sources;
mod state;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tramline_broker::{LocalHub, Promise, StartError};

pub(crate) use self::state::{End, Request};
use self::state::{Engine, Role};
use crate::options::Options;

/// How often deadlines and heart-beats are looked at.
const TICK: Duration = Duration::from_millis(100);

/// The reads that wait for the engine: links stop reading beyond it.
const READS: usize = 64;

/// Runs the engine until it is stopped, or the relay is dropped.
pub(crate) async fn run(
    options: Options,
    hub: Arc<LocalHub>,
    mut requests: mpsc::UnboundedReceiver<Request>,
    own: mpsc::WeakUnboundedSender<Request>,
    start: Promise<Result<(), StartError>>,
) {
    let (reports, mut reported) = mpsc::channel(READS);
    let mut engine = Engine::new(options, hub, reports, own, start);
    engine.begin();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => engine.request(request),
                None => break,
            },
            // The engine has a sender itself.
            Some((link, report)) = reported.recv() => engine.report(link, report),
            _ = tick.tick() => engine.tick(),
        }
        if engine.has_stopped() {
            break;
        }
    }
    engine.end();
}

impl Engine {
    fn begin(&mut self) {
        let own = [Role::Publish, Role::Subscribe, Role::Probe];
        let nodes = self.options.nodes.is_some().then_some(Role::Nodes);
        for role in own.into_iter().chain(nodes) {
            self.open_slot(role);
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Activate(activation) => self.activate(activation),
            Request::Deactivate(source) => self.deactivate(&source),
            Request::Publish(batch, promise) => self.publish(batch, promise),
            Request::Consume(number, consumer, promise) => self.consume(number, consumer, promise),
            Request::Cancel(number, end, promise) => self.cancel(number, end, promise),
            Request::Settle(number, tokens, outcome, promise) => {
                self.settle(number, &tokens, outcome, promise);
            }
            Request::Commit(consumer, commit, promise) => self.commit(consumer, commit, promise),
            Request::Announce(event) => self.announce(&event),
            Request::Described => self.described(),
            Request::Command(node, command) => self.command(node, &command),
            Request::Stop(promise) => self.stop(promise),
        }
    }

    /// Does what is due.
    fn tick(&mut self) {
        let now = Instant::now();
        self.tick_links(now);
        self.give_up_batches(now);
        self.give_up_sources(now);
        self.give_up_consumers(now);
        self.tick_nodes(now);
    }

    /// Returns true if something that is asked since `since` has waited long enough for the broker.
    fn is_late(&self, since: Instant, now: Instant) -> bool {
        now.duration_since(since) >= self.options.wait_time
    }
}
