//! An engine over the example's server, with faults: late answers, lost links, refusals, widened sources.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tramline_broker::{
    Activation, Broker, Capabilities, Command, Commit, CommitError, Confirm, Consumer, Feed, Hub,
    HubSettings, LocalHub, MemberEvent, NodeId, Outcome, Pattern, Promise, Publish, PublishError,
    Published, Refused, SessionId, SettleError, Source, StartError, SubscribeError, Subscribed,
    Timestamp, Token, Unanswered, UnsubscribeError,
};

use super::engine::number;
use super::engine::server::{Server, State};
use super::support::wait;

type Answer = Box<dyn FnOnce() + Send>;

/// The treatment of answers.
#[derive(Debug, Default)]
enum Answers {
    #[default]
    AtOnce,
    /// A slow thread gives them.
    Late(mpsc::Sender<Answer>),
    /// They are given when the test releases them, if ever.
    Held(Held),
}

#[derive(Default)]
struct Held(Vec<Answer>);

/// One node's connection to the server.
#[derive(Debug)]
pub(crate) struct Harsh {
    server: Server,
    hub: OnceLock<Arc<LocalHub>>,
    wide: bool,
    answers: Arc<Mutex<Answers>>,
    link: Arc<Mutex<Link>>,
}

/// The state that is restored when a lost link comes back.
#[derive(Debug, Default)]
struct Link {
    is_lost: bool,
    refuses: bool,
    feeds: HashMap<Source, Feed>,
    consumers: HashMap<u64, Arc<Consumer>>,
}

impl Harsh {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            hub: OnceLock::new(),
            wide: false,
            answers: Arc::default(),
            link: Arc::default(),
        }
    }

    /// Confirms everything late, on another thread than the one that delivers.
    pub(crate) fn late(self) -> Self {
        let (answers, queue) = mpsc::channel::<Answer>();
        thread::spawn(move || {
            for answer in queue {
                thread::sleep(Duration::from_millis(1));
                answer();
            }
        });
        *self.answers.lock().unwrap() = Answers::Late(answers);
        self
    }

    /// One feed brings all topics to the node, whatever its subscriptions.
    pub(crate) fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Returns the hubs of `count` nodes, and their engines.
    pub(crate) fn nodes<const COUNT: usize>(
        change: impl Fn(Self) -> Self,
    ) -> ([Hub; COUNT], [Arc<Self>; COUNT]) {
        let server = Server::new();
        let engines = [(); COUNT].map(|()| Arc::new(change(Self::new(server.clone()))));
        let hubs = engines.each_ref().map(|engine| {
            let hub = Hub::new(Arc::clone(engine));
            wait(hub.start()).unwrap();
            hub
        });
        (hubs, engines)
    }

    /// Holds all answers from now on; requests are still carried out.
    pub(crate) fn hold(&self) {
        *self.answers.lock().unwrap() = Answers::Held(Held::default());
    }

    /// The number of held answers.
    pub(crate) fn held(&self) -> usize {
        match &*self.answers.lock().unwrap() {
            Answers::Held(held) => held.0.len(),
            Answers::AtOnce | Answers::Late(_) => 0,
        }
    }

    /// Releases the held answers, and later ones at once.
    pub(crate) fn release(&self) {
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        if let Answers::Held(held) = answers {
            held.0.into_iter().for_each(|answer| answer());
        }
    }

    pub(crate) fn refuse(&self) {
        self.link().refuses = true;
    }

    /// Loses the link: pending requests receive no answer, and the server gives this node's unsettled messages to
    /// others.
    pub(crate) fn lose(&self) {
        self.link().is_lost = true;
        let node = self.local().node();
        wait(self.server.ask(move |state| state.leave(node)));
        let link = self.link();
        for consumer in link.consumers.values() {
            consumer.void();
        }
        drop(link);
        drop(std::mem::take(&mut *self.answers.lock().unwrap()));
    }

    /// Restores the link, with the node's sources and consumers. They missed what was published meanwhile.
    pub(crate) fn restore(&self) {
        self.restore_without("");
    }

    /// Like [`restore`](Self::restore), but the server refuses the source, user or queue called `refused`.
    pub(crate) fn restore_without(&self, refused: &str) {
        let reason = format!("{refused} was refused");
        let hub = Arc::clone(self.local());
        let mut link = self.link();
        link.is_lost = false;
        let is_source = |source: &Source, _: &mut Feed| source.to_string() == refused;
        let ended: Vec<_> = link.feeds.extract_if(is_source).collect();
        let is_queue =
            |_: &u64, consumer: &mut Arc<Consumer>| consumer.pattern().as_str() == refused;
        let cancelled: Vec<_> = link.consumers.extract_if(is_queue).collect();
        let kept = link.feeds.clone();
        let (feeds, consumers) = (link.feeds.clone(), link.consumers.clone());
        // With the link locked, so that later requests follow it.
        let restored = self.server.ask(move |state| {
            let node = hub.node();
            state.join(hub);
            for (source, feed) in feeds {
                state.activate(node, source, feed);
            }
            for (number, consumer) in consumers {
                drop(state.consume(node, number, consumer));
            }
        });
        drop(link);
        wait(restored);
        let local = self.local();
        for (source, feed) in ended {
            assert!(local.end_source(&source, feed, reason.clone()));
        }
        for (_, consumer) in cancelled {
            assert!(local.end_consumer(&consumer, reason.clone()));
        }
        for (source, feed) in kept {
            local.missed(&source, feed, None);
        }
    }

    /// Returns true if the node has an active source that `is` picks.
    pub(crate) fn has_source(&self, is: impl Fn(&Source) -> bool) -> bool {
        self.link().feeds.keys().any(is)
    }

    pub(crate) fn local(&self) -> &Arc<LocalHub> {
        self.hub.get().expect("the hub starts its engine first")
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap()
    }

    /// The error of requests that are not sent at all.
    fn unsent<E>(&self, unavailable: E, refused: impl FnOnce(&'static str) -> E) -> Option<E> {
        let link = self.link();
        match (link.is_lost, link.refuses) {
            (true, _) => Some(unavailable),
            (false, true) => Some(refused("not today")),
            (false, false) => None,
        }
    }

    fn ask<T: Unanswered + Send + 'static>(
        &self,
        work: impl FnOnce(&mut State, NodeId) -> T + Send + 'static,
    ) -> Confirm<T> {
        let (promise, confirm) = Promise::new();
        self.run(move |state, node| {
            let answer = work(state, node);
            Box::new(move || promise.keep(answer))
        });
        confirm
    }

    fn run(&self, work: impl FnOnce(&mut State, NodeId) -> Answer + Send + 'static) {
        let (node, answers) = (self.local().node(), Arc::clone(&self.answers));
        let link = Arc::clone(&self.link);
        drop(self.server.ask(move |state| {
            let answer = work(state, node);
            let lost = link.lock().unwrap().is_lost;
            let mut answers = answers.lock().unwrap();
            match &mut *answers {
                // Dropped, so the outcome is unknown.
                _ if lost => {}
                Answers::AtOnce => {
                    drop(answers);
                    answer();
                }
                Answers::Late(late) => drop(late.send(answer)),
                Answers::Held(held) => held.0.push(answer),
            }
        }));
    }
}

impl Broker for Harsh {
    fn settings(&self) -> HubSettings {
        HubSettings::new().topics("/topic").queues("/queue")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().interest(true).nodes(true)
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        self.hub.set(Arc::clone(&hub)).expect("it starts once");
        let (wide, link) = (self.wide, Arc::clone(&self.link));
        self.ask(move |state, node| {
            state.join(hub);
            if wide {
                let all = Source::Pattern(Pattern::parse("/topic/**").unwrap());
                let feed = Feed(state.number());
                link.lock().unwrap().feeds.insert(all.clone(), feed);
                state.activate(node, all, feed);
            }
            Ok(())
        })
    }

    fn stop(&self, _deadline: Timestamp) -> Confirm<()> {
        self.ask(State::leave)
    }

    fn activate(&self, activation: Activation) {
        let refused = |reason: &str| SubscribeError::Refused {
            reason: reason.into(),
        };
        if let Some(error) = self.unsent(SubscribeError::BrokerUnavailable, refused) {
            return activation.refuse(error);
        }
        let (wide, link) = (self.wide, Arc::clone(&self.link));
        self.run(move |state, node| {
            let source = activation.source().clone();
            let mut link = link.lock().unwrap();
            let feed = match &source {
                Source::Pattern(_) if wide => *link
                    .feeds
                    .iter()
                    .find_map(|(source, feed)| matches!(source, Source::Pattern(_)).then_some(feed))
                    .expect("activated at the start"),
                _ => {
                    let feed = Feed(state.number());
                    link.feeds.insert(source.clone(), feed);
                    state.activate(node, source, feed);
                    feed
                }
            };
            Box::new(move || activation.confirm(feed))
        });
    }

    fn deactivate(&self, source: &Source) {
        if self.wide && matches!(source, Source::Pattern(_)) {
            return;
        }
        let (source, link) = (source.clone(), Arc::clone(&self.link));
        drop(self.ask(move |state, node| {
            link.lock().unwrap().feeds.remove(&source);
            state.deactivate(node, &source);
        }));
    }

    fn publish(
        &self,
        _: Option<SessionId>,
        batch: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        let refused = |reason: &str| PublishError::Refused {
            reason: reason.into(),
        };
        match self.unsent(PublishError::BrokerUnavailable, refused) {
            Some(error) => Confirm::ready(Err(Refused::first_of(batch, error))),
            None => self.ask(|state, node| state.publish(node, batch)),
        }
    }

    fn consume(&self, consumer: Arc<Consumer>) -> Confirm<Result<Subscribed, SubscribeError>> {
        let refused = |reason: &str| SubscribeError::Refused {
            reason: reason.into(),
        };
        if let Some(error) = self.unsent(SubscribeError::BrokerUnavailable, refused) {
            return Confirm::ready(Err(error));
        }
        let link = Arc::clone(&self.link);
        self.ask(move |state, node| {
            let number = state.number();
            consumer.set_record(number);
            let mut link = link.lock().unwrap();
            link.consumers.insert(number, Arc::clone(&consumer));
            drop(link);
            state.consume(node, number, consumer)
        })
    }

    fn cancel(&self, consumer: &Arc<Consumer>) -> Confirm<Result<(), UnsubscribeError>> {
        let (consumer, link) = (Arc::clone(consumer), Arc::clone(&self.link));
        self.ask(move |state, _| {
            if let Some(number) = consumer.record::<u64>() {
                link.lock().unwrap().consumers.remove(number);
                state.cancel(*number);
            }
            Ok(())
        })
    }

    fn settle(
        &self,
        consumer: &Arc<Consumer>,
        tokens: &[Token],
        outcome: Outcome,
    ) -> Confirm<Result<(), SettleError>> {
        if self.link().is_lost {
            return Confirm::ready(Err(SettleError::BrokerUnavailable));
        }
        let (number, tokens) = (number(consumer), tokens.to_vec());
        self.ask(move |state, _| state.settle(number, &tokens, outcome))
    }

    fn commit(&self, commit: Commit) -> Confirm<Result<Published, CommitError>> {
        if self.link().is_lost {
            return Confirm::ready(Err(PublishError::BrokerUnavailable.into()));
        }
        self.ask(|state, node| state.commit(node, commit, number))
    }

    fn announce(&self, event: MemberEvent) {
        drop(self.ask(move |state, node| state.announce(node, &event)));
    }

    fn command(&self, node: NodeId, command: Command) {
        drop(self.ask(move |state, _| state.command(node, command)));
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} answers", self.0.len())
    }
}
