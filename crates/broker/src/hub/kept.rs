//! Subscriptions to topics that the engine keeps: they take each message in its topic's turn, so that they see the same
//! order as all others.

use std::any::Any;
use std::sync::Arc;

use crate::errors::PublishError;
use crate::message::{Message, Publish};

/// The engine's own record of a subscription that it keeps.
pub(crate) type Kept = Arc<dyn Any + Send + Sync>;

/// The engine's part in a topic's turn. It calls no method of the hub.
pub(crate) trait Keeper {
    /// Checks that all of `kept` take a message.
    fn check(&self, kept: &[Kept], publish: &Publish) -> Result<(), PublishError>;

    /// Has one take a message.
    fn keep(&mut self, kept: &Kept, message: &Arc<Message>);
}
