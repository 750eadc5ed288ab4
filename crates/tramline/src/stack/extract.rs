//! Extractors for handles of the stack, other than the publisher.

use std::sync::Weak;

use http::Extensions;

use super::presence::Presence;
use super::registry::Registry;
use super::shared::MessagingStack;
use crate::app::extract::FromMessageParts;
use crate::app::extract::parts::of_the_stack;
use crate::app::publisher::Publisher;
use crate::model::inbound::Inbound;
use crate::model::rejection::Rejection;

/// One of each handle, for [`of_the_stack`] to find.
pub(super) fn for_handlers(stack: &Weak<MessagingStack>, publisher: Publisher) -> Extensions {
    let mut values = Extensions::new();
    values.insert(publisher);
    values.insert(Registry::of(Weak::clone(stack)));
    values.insert(Presence::of(Weak::clone(stack)));
    values
}

impl<S: Sync> FromMessageParts<S> for Registry {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        of_the_stack(message)
    }
}

impl<S: Sync> FromMessageParts<S> for Presence {
    type Rejection = Rejection;

    async fn from_message_parts(message: &Inbound, _: &S) -> Result<Self, Rejection> {
        of_the_stack(message)
    }
}
