//! Subscriptions of the engine at their topics: they begin, end, and take messages.

use super::kept::{Keeper, Kept};
use super::local::LocalHub;
use super::subscribers::Sink;
use super::topics::{NoPlace, TopicPlace};
use crate::destination::{Destination, Pattern};
use crate::errors::{Refused, SubscribeError};
use crate::feed::Feed;
use crate::hub::accounts::Payer;
use crate::message::Publish;

/// The place of a kept subscription in its topics.
#[derive(Debug)]
pub(crate) struct KeptPlace(TopicPlace);

impl LocalHub {
    /// Adds a subscription that the engine keeps. Calls no method of the engine.
    pub(crate) fn keep(
        &self,
        pattern: &Pattern,
        payer: Payer<'_>,
        kept: Kept,
    ) -> Result<KeptPlace, SubscribeError> {
        let placed = self
            .topics
            .subscribe(pattern, payer, Sink::Kept(kept), Feed::NODE);
        let (place, _) = placed.map_err(|error: NoPlace| self.without_place(error))?;
        Ok(KeptPlace(place))
    }

    /// Ends such a subscription. Calls no method of the engine.
    pub(crate) fn drop_kept(&self, place: &KeptPlace) {
        self.topics.unsubscribe(&place.0);
    }

    /// The kept subscriptions that receive messages to `destination` now.
    pub(crate) fn kept_of(&self, destination: &Destination) -> Vec<Kept> {
        let separator = self.settings.separator(destination);
        self.topics.kept_of(destination, separator)
    }

    /// Like [`deliver_run`](Self::deliver_run), for a message that `keeper` keeps where it is asked to.
    pub(crate) fn deliver_kept(
        &self,
        destination: &Destination,
        publish: Publish,
        keeper: &mut dyn Keeper,
    ) -> Result<usize, Refused> {
        self.deliver_by(Feed::NODE, destination, vec![publish], Some(keeper))
    }
}
