//! Sending from anywhere in the application.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tramline_broker::{
    Confirm, Destination, DestinationError, Hub, Past, Position, Publish, PublishError, Published,
    Refused, Separator, SessionId, SubscribeError, Target,
};

use crate::model::clock::{SWEEP, wall_clock};
use crate::model::effects::Effects;
use crate::model::prefix::{below, quoted};
use crate::model::rejection::Rejection;
use crate::model::reply::IntoReply;
use crate::model::temporary;
use crate::net::measures::Measures;

/// Sends messages from anywhere in the application: a REST handler, a timer, another task.
///
/// From [`Messaging::publisher`](crate::Messaging::publisher); cheap to clone. It sends in the application's own name,
/// so no policy is asked. Keeping one does not keep the messaging alive.
///
/// # Example: from a REST handler
///
/// ```
/// use axum::extract::State;
/// use axum::http::StatusCode;
/// use tramline::publisher::SendError;
/// use tramline::{Json, Publisher};
///
/// async fn post_news(State(publisher): State<Publisher>, axum::Json(news): axum::Json<Vec<String>>) -> StatusCode {
///     match publisher.send("/topic/news", Json(news)).await {
///         Ok(_) => StatusCode::ACCEPTED,
///         Err(SendError::Publish(_)) => StatusCode::SERVICE_UNAVAILABLE,
///         Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
///     }
/// }
/// # let _ = post_news;
/// ```
#[derive(Clone)]
pub struct Publisher {
    pub(super) hub: Hub,
    user_prefix: ByteString,
    measures: Arc<Measures>,
}

impl Publisher {
    pub(crate) fn new(hub: Hub, user_prefix: ByteString, measures: Arc<Measures>) -> Self {
        Self {
            hub,
            user_prefix,
            measures,
        }
    }

    /// Sends `payload` to everyone who is subscribed to `destination`.
    ///
    /// Completes when the broker has the message: queued to every subscriber, stored in its queue, or confirmed by an
    /// external engine. It waits for a full queue as long as the queue's settings allow, and a loop of sends yields to the
    /// tasks that write: a burst does not keep their worker.
    ///
    /// It waits for readers only while all messages that they have not received take more than half of the broker's
    /// memory ([`max_bytes`](crate::EmbeddedBroker::max_bytes)), and for 10 s at most; never for one reader. Dropping the
    /// future while it waits sends nothing, and later does not take the message back.
    ///
    /// # Errors
    ///
    /// [`SendError`]: an invalid destination, a payload that cannot be encoded, a broker that refuses.
    pub async fn send(
        &self,
        destination: impl Into<ByteString>,
        payload: impl IntoReply,
    ) -> Result<Published, SendError> {
        self.publish(Destination::parse(destination)?.into(), payload)
            .await
    }

    /// Sends `payload` to every session of the user `name` that subscribed to `path` below the user prefix: `path` is
    /// `/queue/news` for a client's `/user/queue/news`.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send). An absent user is no error: `local_receivers` is 0.
    pub async fn send_to_user(
        &self,
        name: impl Into<ByteString>,
        path: impl Into<ByteString>,
        payload: impl IntoReply,
    ) -> Result<Published, SendError> {
        let target = Target::User {
            name: name.into(),
            path: Destination::parse_user_path(path)?,
        };
        self.publish(target, payload).await
    }

    /// Sends `payload` to the one session `id`, if it subscribed to `path` below the user prefix.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send). An absent session is no error: `local_receivers` is 0.
    pub async fn send_to_session(
        &self,
        id: SessionId,
        path: impl Into<ByteString>,
        payload: impl IntoReply,
    ) -> Result<Published, SendError> {
        let path = Destination::parse_user_path(path)?;
        self.publish(Target::Session { id, path }, payload).await
    }

    /// Returns `limit` of the messages that the topic `destination` keeps: the first ones after the position `from`, or
    /// the last ones. A page loads them by HTTP, subscribes with `resume-from` and their [position](Past::position), and
    /// misses nothing in between.
    ///
    /// # Errors
    ///
    /// [`HistoryError`]: an invalid destination, a topic that keeps nothing, a position that no message has had.
    ///
    /// # Example: the last lines of a room
    ///
    /// ```
    /// use tramline::broker::History;
    /// use tramline::policy::{Policy, permit};
    /// use tramline::{EmbeddedBroker, Messaging};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let messaging = Messaging::builder()
    ///     .broker(EmbeddedBroker::new().topics("/topic").history("/topic/rooms/*", History::messages(1_000)))
    ///     .policy(Policy::builder().otherwise(permit()))
    ///     .build()?;
    /// let publisher = messaging.publisher();
    /// publisher.send("/topic/rooms/7", "hello").await?;
    ///
    /// let past = publisher.history("/topic/rooms/7", None, 50).await?;
    /// assert_eq!(past.messages[0].body(), "hello");
    /// assert_eq!(past.messages[0].position(), Some(past.position));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn history(
        &self,
        destination: impl Into<ByteString>,
        from: Option<Position>,
        limit: usize,
    ) -> Result<Past, HistoryError> {
        let destination = Destination::parse(destination)?;
        Ok(self.hub.history(&destination, from, limit)?)
    }

    async fn publish(
        &self,
        target: Target,
        payload: impl IntoReply,
    ) -> Result<Published, SendError> {
        if let Target::User { path, .. } | Target::Session { path, .. } = &target
            && let Some(wrong) = self.wrong_user_path(path)
        {
            return Err(SendError::Unreachable(wrong));
        }
        let mut effects = Effects::default();
        if let Some(payload) = payload.into_reply(&mut effects) {
            effects.publish(target, payload);
        }
        if let Some(rejection) = effects.rejections.pop() {
            return Err(SendError::Payload(rejection));
        }
        self.wait_for_readers().await;
        let published = self.answer(self.publish_all(effects.publishes)).await;
        let published = published.map_err(|refused| self.explained(refused.error))?;
        end_turn(published.local_receivers).await;
        Ok(published)
    }

    /// Waits while the messages that wait for readers take too much memory.
    async fn wait_for_readers(&self) {
        let looks = MOST_WAIT.as_millis() / LOOK_AGAIN.as_millis();
        for _ in 0..looks {
            if !self.hub.readers_are_behind() {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits for the broker and sweeps it meanwhile: until the first client connects, nothing else does.
    pub(crate) async fn answer<T>(&self, confirm: Confirm<T>) -> T {
        let mut confirm = match confirm.into_ready() {
            Ok(answer) => return answer,
            Err(confirm) => confirm,
        };
        loop {
            match tokio::time::timeout(SWEEP, &mut confirm).await {
                Ok(answer) => return answer,
                Err(_) => self.hub.sweep(wall_clock().into()),
            }
        }
    }

    /// Publishes the messages of a handler or of the application.
    pub(crate) fn publish_all(&self, batch: Vec<Publish>) -> Confirm<Result<Published, Refused>> {
        let shown = batch.into_iter().map(|publish| self.shown(publish));
        let mut batch: Vec<Publish> = shown.collect();
        self.measures.sample(&mut batch);
        self.hub.publish(batch, wall_clock().into())
    }

    /// Delivers messages to the subscribers of this node, without the broker.
    pub(crate) fn deliver_here(&self, batch: Vec<Publish>) {
        for publish in batch {
            self.hub.deliver_here(self.shown(publish));
        }
    }

    /// Publishes notices for `session`, a session of this node. Notices for that session alone need no broker, which may
    /// be what failed.
    pub(crate) fn notify(
        &self,
        session: SessionId,
        notices: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        let own = |notice: &Publish| matches!(&notice.target, Target::Session { id, .. } if *id == session);
        if !notices.iter().all(own) {
            return self.publish_all(notices);
        }
        let notices = notices.into_iter();
        let receivers = notices.map(|notice| self.hub.deliver_here(self.shown(notice)));
        Confirm::ready(Ok(Published::new(receivers.sum())))
    }

    /// Returns why nothing that is sent to `target` arrives, if that is so whatever clients do.
    pub(crate) fn wrong_target(&self, target: &Target) -> Option<String> {
        match target {
            Target::Destination(destination) => self.wrong_destination(destination),
            Target::User { path, .. } | Target::Session { path, .. } => self.wrong_user_path(path),
            _ => None,
        }
    }

    /// Like [`wrong_target`](Self::wrong_target), for the text of a destination or its beginning.
    pub(crate) fn wrong_destination(&self, destination: &str) -> Option<String> {
        if self.hub.serves(destination) || temporary::target(destination).is_some() {
            return None;
        }
        let path = below(destination, &self.user_prefix);
        Some(match path {
            Some(path) => format!(
                "{destination:?} is how clients write what is for a user: send to the user, at {path:?}"
            ),
            None => format!(
                "the broker carries no destination {destination:?}, only those below {}",
                quoted(self.hub.prefixes())
            ),
        })
    }

    /// Like [`wrong_target`](Self::wrong_target), for a path below the user prefix.
    pub(crate) fn wrong_user_path(&self, path: &str) -> Option<String> {
        let below = below(path, &self.user_prefix)?;
        Some(format!(
            "{path:?} is how clients write it: leave {:?} out, {below:?} is what they receive there",
            self.user_prefix
        ))
    }

    /// The separator of the segments of `destination`.
    pub(crate) fn separator(&self, destination: &str) -> Separator {
        self.hub.separator(destination)
    }

    fn explained(&self, error: PublishError) -> SendError {
        match &error {
            PublishError::UnknownDestination { destination, .. } => {
                let wrong = self.wrong_destination(destination);
                wrong.map_or_else(|| error.clone().into(), SendError::Unreachable)
            }
            _ => error.into(),
        }
    }

    /// Replaces the destination of a user's message by the one its receivers see, and that of a reply to a temporary queue by
    /// its session.
    pub(crate) fn shown(&self, mut publish: Publish) -> Publish {
        if let Target::Destination(destination) = &publish.target {
            let is_reply = temporary::is_reply_name(destination) && !self.hub.serves(destination);
            let Some(target) = is_reply.then(|| temporary::target(destination)).flatten() else {
                return publish;
            };
            publish.target = target;
        }
        match &publish.target {
            Target::User { path, .. } | Target::Session { path, .. } => {
                let shown = temporary::shown(path);
                let shown = shown.unwrap_or_else(|| format!("{}{path}", self.user_prefix));
                publish.shown_as(shown)
            }
            _ => publish,
        }
    }
}

/// The longest wait for readers: by then those that take nothing have been closed, and the memory is used up or not.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// The interval at which a publisher that waits for readers looks again: a fast network takes a megabyte meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Yields to the worker's other tasks if the caller has had its turn: after 128 steps, where a message is one, and every
/// 64 deliveries are one more.
async fn end_turn(deliveries: usize) {
    for _ in 0..=deliveries / 64 {
        tokio::task::coop::consume_budget().await;
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// The reason why a [`Publisher`] has no [history](Publisher::history) of a topic.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The application gave an invalid destination.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The broker refused: the topic keeps nothing, or no message has had the position.
    #[error(transparent)]
    Refused(#[from] SubscribeError),
}

/// The reason why a [`Publisher`] did not send.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The application gave an invalid destination.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The application gave a destination that no client can receive from; the text has the prefixes that exist.
    #[error("{0}")]
    Unreachable(String),
    /// The application's payload could not be encoded.
    #[error("the payload cannot be encoded: {0}")]
    Payload(Rejection),
    /// The broker refused.
    #[error(transparent)]
    Publish(#[from] PublishError),
}
