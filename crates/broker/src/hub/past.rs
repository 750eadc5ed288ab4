//! Kept messages of topics, for the application itself.

use super::Hub;
use crate::destination::{Destination, Pattern};
use crate::errors::SubscribeError;
use crate::message::Position;
use crate::request::Past;
use crate::statistics::DestinationKind;

impl Hub {
    /// Returns `limit` of the messages that a topic keeps: the first ones after `from`, or the last ones.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::UnknownDestination`]; [`SubscribeError::Unsupported`] if the topic keeps no messages;
    /// [`SubscribeError::PositionAhead`] if no message has had the position yet.
    ///
    /// # Example: the last two, and what follows
    ///
    /// ```
    /// use tramline_broker::{Destination, EmbeddedBroker, Headers, History, Hub, Publish, Timestamp};
    ///
    /// let hub = Hub::new(EmbeddedBroker::new().topics("/topic").history("/topic/**", History::messages(100)));
    /// let news = Destination::parse("/topic/news")?;
    /// let publish = |body| {
    ///     let publish = Publish::new(news.clone(), Headers::new(), body);
    ///     hub.publish(vec![publish], Timestamp::from_millis(1_000)).into_ready().unwrap()
    /// };
    /// for body in ["one", "two", "three"] {
    ///     publish(body)?;
    /// }
    /// let last = hub.history(&news, None, 2)?;
    /// assert_eq!(last.messages[0].body(), "two");
    /// publish("four")?;
    /// let next = hub.history(&news, Some(last.position), 10)?;
    /// assert_eq!(next.messages.len(), 1);
    /// assert_eq!(next.gap, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn history(
        &self,
        destination: &Destination,
        from: Option<Position>,
        limit: usize,
    ) -> Result<Past, SubscribeError> {
        let local = self.local();
        match local.settings.kind(destination) {
            None => {
                return Err(SubscribeError::UnknownDestination {
                    destination: destination.as_bytestring().clone(),
                    prefixes: local.settings.prefixes(),
                });
            }
            Some((DestinationKind::Topic, _))
                if local.settings.history_of(destination).is_some() => {}
            Some(_) => {
                return Err(SubscribeError::Unsupported {
                    option: "resume-from",
                });
            }
        }
        let past = local.topics.past(destination, from, limit);
        past.map_err(|last| SubscribeError::PositionAhead {
            destination: destination.as_bytestring().clone(),
            asked: from.unwrap_or(last),
            last,
        })
    }

    /// Returns true if a topic that `pattern` covers keeps messages.
    pub fn has_history(&self, pattern: &Pattern) -> bool {
        self.local().settings.has_history(pattern)
    }
}
