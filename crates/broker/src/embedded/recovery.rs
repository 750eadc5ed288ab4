//! The engine and its journal: it recovers queues, fetches messages, and answers when they are stored.

use std::sync::Arc;

use super::journal::{Awaited, Fetched, Key};
use super::queue::{Aftermath, Queue};
use super::seat::Arrived;
use super::settings::WhenFull;
use super::subscription_name::{Identity, Stored};
use super::{EmbeddedBroker, Engine};
use crate::confirm::{Confirm, Promise, Unanswered};
use crate::destination::{Destination, Pattern};
use crate::errors::StartError;
use crate::hub::by_pattern::ByPattern;
use crate::statistics::DestinationKind;

impl EmbeddedBroker {
    /// The errors in the configuration of durable queues.
    pub(super) fn durability_errors(&self) -> Vec<String> {
        let settings = &self.settings;
        let covers = |destination: &str| settings.covering(&self.durable, destination).is_some();
        let mut errors = Vec::new();
        for (pattern, _) in self.durable.iter() {
            let kind = settings.kind(pattern);
            let kind = kind.map_or(DestinationKind::Queue, |(kind, _)| kind);
            errors.extend(settings.settings_error(pattern, kind, None));
            if self.journal.is_none() {
                errors.push(format!(
                    "{pattern:?} is durable, and there is no store; give the broker one with `store`"
                ));
            }
        }
        for (pattern, of_queues) in self.queue_settings.iter() {
            let mut settled = ByPattern::default();
            settled.push(pattern.clone(), ());
            let mut durable = self.durable.iter();
            let is_durable = covers(pattern)
                || durable.any(|(durable, _)| settings.covering(&settled, durable).is_some());
            if !is_durable {
                continue;
            }
            if !matches!(of_queues.when_full, WhenFull::Wait(_)) {
                errors.push(format!(
                    "queues at {pattern:?} are durable and drop messages when they are full; let publishers wait \
                     (`WhenFull::Wait`)"
                ));
            }
            if let Some(to) = &of_queues.dead_letters
                && settings
                    .kind(to)
                    .is_some_and(|(kind, _)| kind == DestinationKind::Queue)
                && !covers(to)
            {
                errors.push(format!(
                    "queues at {pattern:?} are durable and their dead letters at {to:?} are not; make that queue \
                     durable too"
                ));
            }
        }
        if let Some(journal) = &self.journal {
            for name in journal.queue_names() {
                let what = match Stored::from_name(&name) {
                    None if covers(&name) => continue,
                    None => format!("messages of {name:?}"),
                    Some(stored) => {
                        let Identity { name, pattern, .. } = stored.identity();
                        let separator = settings.separator(pattern);
                        let pattern = Pattern::parse_separated(pattern.clone(), separator);
                        let is_covered = pattern.is_ok_and(|pattern| {
                            let covering = |durable: &Pattern| durable.covers(&pattern);
                            self.durable.find(separator, covering).is_some()
                        });
                        if is_covered {
                            continue;
                        }
                        let pattern = &stored.identity().pattern;
                        format!(
                            "the subscription {:?} of {:?} to {pattern:?}",
                            name.id, name.user
                        )
                    }
                };
                errors.push(format!(
                    "the store has {what}, which no durable pattern covers; add one with `durable`, or export and remove \
                     the store"
                ));
            }
        }
        errors
    }
}

impl Engine {
    /// Begins with the queues that the journal had.
    pub(super) fn recover(&self) -> Result<(), StartError> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        for recovered in self.recover_subscriptions(journal.recover())? {
            let name = recovered.name;
            let failed = |reason: String| {
                StartError::new(format!(
                    "its store has a queue {name:?} that it cannot have: {reason}"
                ))
            };
            let destination = Destination::parse(name.clone());
            let destination = destination.map_err(|error| failed(error.to_string()))?;
            let queue = self.queue(&destination, &|| None);
            let queue = queue.map_err(|error| failed(self.hub.refused_name(&error).to_string()))?;
            queue.recover(recovered.keys, recovered.bytes);
        }
        Ok(())
    }

    /// Fetches stored messages for a queue.
    pub(super) fn fetch(&self, queue: Arc<Queue>, keys: Vec<Key>) {
        let Some(journal) = &self.journal else { return };
        let (this, asked) = (self.this.clone(), keys.len());
        let arrive = move |fetched: Vec<Fetched>| {
            let Some(engine) = this.upgrade() else { return };
            let arrived = fetched.into_iter().filter_map(|fetched| {
                let message = fetched.message?;
                Some(Arrived {
                    key: fetched.key,
                    size: message.size,
                    redeliveries: message.redeliveries,
                    maybe_delivered: message.maybe_delivered,
                    message: engine.hub.message(message.publish),
                })
            });
            let mut after = Aftermath::default();
            queue.arrive(arrived.collect(), asked, engine.hub.now(), &mut after);
            engine.finish(after);
        };
        journal.fetch(keys, Box::new(arrive));
    }

    /// Answers at once, or when the records that the answer waits for are stored.
    pub(super) fn confirm<T: Unanswered + Send + 'static>(
        &self,
        answer: T,
        awaited: Awaited,
    ) -> Confirm<T> {
        if awaited.last().is_none() {
            return Confirm::ready(answer);
        }
        let (promise, confirm) = Promise::new();
        self.answer(promise, answer, awaited);
        confirm
    }

    /// Keeps a promise when the records that it waits for are stored. If they will not be, the outcome is unknown, and
    /// the broker no longer available.
    pub(super) fn answer<T: Unanswered + Send + 'static>(
        &self,
        promise: Promise<T>,
        answer: T,
        awaited: Awaited,
    ) {
        let (Some((ticket, durability)), Some(journal)) = (awaited.last(), &self.journal) else {
            return promise.keep(answer);
        };
        let hub = Arc::clone(&self.hub);
        let stored = move |stored: Result<(), _>| match stored {
            Ok(()) => promise.keep(answer),
            Err(_) => {
                hub.set_available(false);
                drop(promise);
            }
        };
        journal.when_stored(ticket, durability, Box::new(stored));
    }
}
