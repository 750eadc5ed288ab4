//! Topics with subscribers on this node: one subscription at the broker for each.

use tokio::time::Instant;
use tramline_broker::{Activation, Feed, Headers, Pattern, Source, SubscribeError};
use tramline_stomp::{AckMode, Message};

use super::state::{Answer, Engine, Expected, Job, Role, TopicSource};
use crate::content;
use crate::kind::BrokerKind;
use crate::link::LinkId;
use crate::names::Spelled;

impl Engine {
    pub(super) fn activate(&mut self, activation: Activation) {
        let source = activation.source().clone();
        if self.stop.is_some() {
            activation.refuse(SubscribeError::BrokerUnavailable);
            return;
        }
        let Source::Pattern(_) = &source else {
            self.activate_person(activation);
            return;
        };
        let number = self.number();
        self.by_source.insert(source.clone(), number);
        let source = TopicSource {
            source,
            asked: Some(activation),
            since: Instant::now(),
            id: None,
        };
        self.sources.insert(number, source);
        self.subscribe_or_try(number);
    }

    pub(super) fn deactivate(&mut self, source: &Source) {
        let ended = self.by_source.remove(source);
        let Some(id) = ended.and_then(|number| self.sources.remove(&number)?.id) else {
            return;
        };
        self.subscriptions.remove(&id);
        if let Some(link) = self.up(Role::Subscribe) {
            self.send_plain(link, |machine| machine.unsubscribe(&id, None));
        }
    }

    /// Subscribes to a source, if its destination is known to be good, or tries it before.
    fn subscribe_or_try(&mut self, number: u64) {
        let Some(kind) = self.kind else {
            return;
        };
        match self.spelled_source(number, kind) {
            None => {}
            Some(Err(reason)) => self.subscribed(number, Answer::Refused(reason)),
            Some(Ok(spelled)) if self.subscribed_to.contains(&spelled) => {
                self.subscribe_one(number);
            }
            Some(Ok(spelled)) => {
                let job = Job::Subscribe(number, spelled);
                if self.probing.as_ref() != Some(&job) && !self.jobs.contains(&job) {
                    self.probe(job);
                }
            }
        }
    }

    fn pattern(&self, number: u64) -> Option<&Pattern> {
        match &self.sources.get(&number)?.source {
            Source::Pattern(pattern) => Some(pattern),
            _ => None,
        }
    }

    fn spelled_source(&self, number: u64, kind: BrokerKind) -> Option<Result<Spelled, String>> {
        let pattern = self.pattern(number)?;
        let family = self.options.family(pattern.as_str())?;
        Some(family.pattern(kind, pattern))
    }

    fn source_headers(&self, number: u64, kind: BrokerKind) -> Headers {
        let mut headers = kind.topic_headers();
        let pattern = self.pattern(number);
        let own = pattern.and_then(|pattern| self.options.subscribe_headers(pattern));
        for (name, value) in own.iter().flat_map(|own| own.iter()) {
            headers.replace(name, value);
        }
        headers
    }

    /// Subscribes over the link of all sources.
    pub(super) fn subscribe_one(&mut self, number: u64) {
        let (Some(link), Some(kind)) = (self.up(Role::Subscribe), self.kind) else {
            return;
        };
        let Some(Ok(spelled)) = self.spelled_source(number, kind) else {
            return;
        };
        if self
            .sources
            .get(&number)
            .is_none_or(|source| source.id.is_some())
        {
            return;
        }
        let headers = self.source_headers(number, kind);
        let id = self.send(link, Expected::Source(number), |machine, receipt| {
            machine.subscribe(&spelled.0, AckMode::Auto, headers, Some(receipt))
        });
        if let (Some(id), Some(source)) = (id, self.sources.get_mut(&number)) {
            source.id = Some(id.clone());
            self.subscriptions.insert(id, number);
        }
    }

    /// Subscribes over the probe, whose messages nobody receives; returns false if there is no such source any more.
    pub(super) fn try_subscription(&mut self, number: u64, link: LinkId, kind: BrokerKind) -> bool {
        let Some(Ok(spelled)) = self.spelled_source(number, kind) else {
            return false;
        };
        let headers = self.source_headers(number, kind);
        let id = self.send(link, Expected::Probe, |machine, receipt| {
            machine.subscribe(&spelled.0, AckMode::Auto, headers, Some(receipt))
        });
        self.trial = id;
        self.trial.is_some()
    }

    /// Ends the subscription over the probe.
    pub(super) fn end_trial(&mut self) {
        if let (Some(id), Some(link)) = (self.trial.take(), self.up(Role::Probe)) {
            self.send_plain(link, |machine| machine.unsubscribe(&id, None));
        }
    }

    /// Subscribes to all sources, over a link that is new.
    pub(super) fn subscribe_all(&mut self, _link: LinkId) {
        let numbers: Vec<u64> = self.sources.keys().copied().collect();
        for number in numbers {
            self.subscribe_or_try(number);
        }
    }

    /// Notes that the link of all sources is gone.
    pub(super) fn unsubscribed(&mut self) {
        self.subscriptions.clear();
        for source in self.sources.values_mut() {
            source.id = None;
        }
    }

    /// Handles the answer to a subscription.
    pub(super) fn subscribed(&mut self, number: u64, answer: Answer) {
        let Some(source) = self.sources.get_mut(&number) else {
            return;
        };
        let feed = Feed(number);
        match (answer, source.asked.take()) {
            (Answer::Done, Some(activation)) => activation.confirm(feed),
            (Answer::Done, None) => {
                let source = source.source.clone();
                self.hub.missed(&source, feed, None);
            }
            (Answer::Refused(reason), asked) => {
                let source = source.source.clone();
                self.forget(number);
                match asked {
                    Some(activation) => activation.refuse(SubscribeError::Refused {
                        reason: reason.into(),
                    }),
                    None => {
                        self.hub.end_source(&source, feed, reason);
                    }
                }
            }
            (Answer::Unknown, asked) => {
                source.asked = asked;
                // The broker may have refused any of those that were outstanding: each is tried alone.
                let kind = self.kind;
                if let Some(Ok(spelled)) = kind.and_then(|kind| self.spelled_source(number, kind)) {
                    self.subscribed_to.remove(&spelled);
                }
            }
        }
    }

    fn forget(&mut self, number: u64) {
        let Some(source) = self.sources.remove(&number) else {
            return;
        };
        if self.by_source.get(&source.source) == Some(&number) {
            self.by_source.remove(&source.source);
        }
        if let Some(id) = source.id {
            self.subscriptions.remove(&id);
        }
    }

    /// Refuses the sources that have waited too long for the broker.
    pub(super) fn give_up_sources(&mut self, now: Instant) {
        let late = |source: &TopicSource| {
            source.asked.is_some() && source.id.is_none() && self.is_late(source.since, now)
        };
        let late: Vec<u64> = self
            .sources
            .iter()
            .filter(|(_, source)| late(source))
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            let asked = self
                .sources
                .get_mut(&number)
                .and_then(|source| source.asked.take());
            self.forget(number);
            if let Some(activation) = asked {
                activation.refuse(SubscribeError::BrokerUnavailable);
            }
        }
    }

    /// Delivers a topic's message to the subscribers of its source.
    pub(super) fn deliver(&mut self, message: &Message) {
        let Some(kind) = self.kind else {
            return;
        };
        let Some(&number) = self.subscriptions.get(&message.subscription) else {
            return;
        };
        let family = self
            .pattern(number)
            .and_then(|pattern| self.options.family(pattern.as_str()));
        let Some(destination) = family.and_then(|family| family.read(kind, &message.destination))
        else {
            tracing::debug!("a message came from a destination that has no name here");
            return;
        };
        let publish = content::incoming(message, destination, false);
        // Names beyond the hub's limit are counted there.
        let _ = self.hub.deliver(Feed(number), vec![publish]);
    }
}
