//! The places of new subscriptions.

use std::sync::Arc;

use super::Hub;
use super::consumer::Consumer;
use super::members::{Member, Placed, SubscriptionPlace};
use super::reader::Reader;
use super::subscribers::{Sink, Subscriber};
use super::window::Window;
use crate::AckMode;
use crate::destination::Pattern;
use crate::errors::SubscribeError;
use crate::feed::Feed;
use crate::request::{
    Address, DurableName, OptionSupport, Start, SubscribeOptions, SubscribeRequest, Subscribed,
};
use crate::selector::Selector;
use crate::statistics::DestinationKind;

impl Hub {
    /// Finds the place of a subscription, and adds it there.
    pub(super) fn place_for(
        &self,
        member: &Member,
        request: &SubscribeRequest,
    ) -> Result<Placed, SubscribeError> {
        let local = self.local();
        let (slot, ack) = (request.slot, request.ack);
        let prefetch = local.settings.prefetch_of(request.prefetch);
        let prefetch = prefetch.map_err(|limit| SubscribeError::PrefetchTooLarge {
            wanted: request.prefetch.map_or(0, std::num::NonZeroU32::get),
            limit,
        })?;
        let options = &request.options;
        let outbox = || Arc::clone(member.outbox());
        let window =
            || (ack != AckMode::Auto).then(|| Arc::new(Window::new(outbox(), slot, ack, prefetch)));
        let pattern = match &request.address {
            Address::Application => {
                options.check(OptionSupport::default())?;
                return Ok(Placed::at(SubscriptionPlace::Application));
            }
            Address::User { path } => {
                options.check(OptionSupport::default())?;
                return Ok(Placed::at(SubscriptionPlace::User(path.clone(), window())));
            }
            Address::Pattern(pattern) => pattern,
        };
        let text = pattern.as_str();
        let kind = local.settings.kind(text);
        let (kind, _) = kind.ok_or_else(|| SubscribeError::UnknownDestination {
            destination: text.into(),
            prefixes: local.settings.prefixes(),
        })?;
        if kind == DestinationKind::Topic && options.durable.is_none() {
            return self.place_on_topics(member, request, pattern, window());
        }
        options.check(local.capabilities.options)?;
        if kind == DestinationKind::Queue && pattern.as_destination().is_none() {
            return Err(SubscribeError::PatternOnQueue {
                pattern: text.into(),
            });
        }
        let mut options = options.clone();
        let durable = match (options.durable.take(), member.user()) {
            (None, _) => None,
            (Some(id), Some(user)) => Some(DurableName { user, id }),
            (Some(_), None) => return Err(SubscribeError::AnonymousDurable),
        };
        let consumer = Consumer::new(
            (member.id(), slot),
            (pattern.detached(), durable),
            ack,
            prefetch,
            options,
            outbox(),
        );
        Ok(Placed::at(SubscriptionPlace::Consumer(Arc::new(consumer))))
    }

    fn place_on_topics(
        &self,
        member: &Member,
        request: &SubscribeRequest,
        pattern: &Pattern,
        window: Option<Arc<Window>>,
    ) -> Result<Placed, SubscribeError> {
        let local = self.local();
        let options = &request.options;
        let selector = self.topic_options(options, pattern)?;
        let feed = match local.capabilities.interest {
            true => Feed::NONE,
            false => Feed::NODE,
        };
        let share = local.take_pattern(member, pattern)?;
        let payer = || Some(member.account(&local.accounts));
        let (outbox, slot) = (Arc::clone(member.outbox()), request.slot);
        let is_plain = selector.is_none() && options.start == Start::Live && !options.retained;
        let placed = if is_plain {
            let sink = match &window {
                Some(window) => Sink::Window(Arc::clone(window)),
                None => Sink::Direct(Subscriber { outbox, slot }),
            };
            let placed = local.topics.subscribe(pattern, &payer, sink, feed);
            placed.map(|(place, start)| {
                let subscribed = Subscribed {
                    start,
                    ..Subscribed::default()
                };
                (place, subscribed)
            })
        } else {
            let reader = Reader::new((outbox, slot), window.clone(), selector.map(Arc::new));
            local.topics.read(pattern, &payer, reader, feed, options)
        };
        let (place, subscribed) = placed.map_err(|error| local.without_place(error))?;
        Ok(Placed {
            place: SubscriptionPlace::Topic(place, window),
            share,
            subscribed,
        })
    }

    /// Checks the options of a subscription to topics, which are the hub's own.
    fn topic_options(
        &self,
        options: &SubscribeOptions,
        pattern: &Pattern,
    ) -> Result<Option<Selector>, SubscribeError> {
        let has_history = self.local().settings.has_history(pattern);
        options.check(OptionSupport {
            resume: has_history,
            retained: has_history,
            selector: true,
            ..OptionSupport::default()
        })?;
        let contradiction = |reason| Err(SubscribeError::Contradiction { reason });
        if options.retained && options.start != Start::Live {
            return contradiction(
                "`resume-from` asks for what follows a position, and `retained` for the last value; use one of them",
            );
        }
        if matches!(options.start, Start::After(_)) && pattern.as_destination().is_none() {
            return contradiction(
                "a pattern resumes from the positions of its destinations: `resume-from` must be DESTINATION=EPOCH-SEQUENCE, \
                 joined by `&`",
            );
        }
        let selector = options.selector.as_deref().map(Selector::parse);
        Ok(selector.transpose()?)
    }
}
