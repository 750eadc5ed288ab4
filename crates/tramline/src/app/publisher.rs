//! Sending from anywhere in the application.

use std::fmt;

use bytestring::ByteString;
use tramline_broker::{
    Confirm, Destination, DestinationError, Hub, Publish, PublishError, Published, Refused,
    SessionId, Target,
};

use crate::model::clock::{SWEEP, wall_clock};
use crate::model::effects::Effects;
use crate::model::rejection::Rejection;
use crate::model::reply::IntoReply;

/// Sends messages from anywhere in the application: a REST handler, a timer, another task.
///
/// From [`Messaging::publisher`](crate::Messaging::publisher); cheap to clone. What it sends is the application's own
/// and no policy is asked. Keeping one does not keep the messaging alive.
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
    hub: Hub,
    user_prefix: ByteString,
}

impl Publisher {
    pub(crate) fn new(hub: Hub, user_prefix: ByteString) -> Self {
        Self { hub, user_prefix }
    }

    /// Sends `payload` to everyone who is subscribed to `destination`.
    ///
    /// Done when the broker has it: queued to every subscriber, stored in its queue, or confirmed by an external engine.
    /// A queue that is full is waited for, as long as its settings say. Dropping the future does not take the message
    /// back.
    ///
    /// # Errors
    ///
    /// [`SendError`]: a destination that is none, a payload that cannot be encoded, a broker that refuses.
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
    /// As for [`send`](Self::send). A user who is not there is no error: `local_receivers` is 0.
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
    /// As for [`send`](Self::send). A session that is not there is no error: `local_receivers` is 0.
    pub async fn send_to_session(
        &self,
        id: SessionId,
        path: impl Into<ByteString>,
        payload: impl IntoReply,
    ) -> Result<Published, SendError> {
        let path = Destination::parse_user_path(path)?;
        self.publish(Target::Session { id, path }, payload).await
    }

    async fn publish(
        &self,
        target: Target,
        payload: impl IntoReply,
    ) -> Result<Published, SendError> {
        let mut effects = Effects::default();
        if let Some(payload) = payload.into_reply(&mut effects) {
            effects.publish(target, payload);
        }
        if let Some(rejection) = effects.rejections.pop() {
            return Err(SendError::Payload(rejection));
        }
        let published = self.answer(self.publish_all(effects.publishes)).await;
        Ok(published.map_err(|refused| refused.error)?)
    }

    /// Waits for the broker, and tells it the time meanwhile: as long as no client was there, nobody else does.
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

    /// Publishes what a handler or the application wants published.
    pub(crate) fn publish_all(&self, batch: Vec<Publish>) -> Confirm<Result<Published, Refused>> {
        let shown = batch.into_iter().map(|publish| self.shown(publish));
        self.hub.publish(shown.collect(), wall_clock().into())
    }

    /// Publishes notices for `session`, which is of this node. Those that are only for that session do not need the broker,
    /// which may be what failed.
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

    /// What receivers of a user's message see as its destination.
    pub(crate) fn shown(&self, publish: Publish) -> Publish {
        match &publish.target {
            Target::User { path, .. } | Target::Session { path, .. } => {
                let shown = format!("{}{path}", self.user_prefix);
                publish.shown_as(shown)
            }
            _ => publish,
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// Why a [`Publisher`] did not send.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The application named a destination that is none.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The application's payload could not be encoded.
    #[error("the payload cannot be encoded: {0}")]
    Payload(Rejection),
    /// The broker refused.
    #[error(transparent)]
    Publish(#[from] PublishError),
}
