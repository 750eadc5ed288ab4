//! What a handler wants done.

use tramline_broker::{Headers, Publish, Target};

use crate::rejection::Rejection;
use crate::reply::Payload;

/// What comes out of a handler: messages to publish, in order, and what went wrong on the way.
///
/// Handlers return types that [become](crate::IntoEffects) effects; implement that trait for an application's own
/// error type to say what its clients hear.
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) publishes: Vec<Publish>,
    pub(crate) rejections: Vec<Rejection>,
}

impl Effects {
    /// Nothing to do.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Nothing but a rejection.
    pub(crate) fn rejected(rejection: impl Into<Rejection>) -> Self {
        let mut effects = Self::new();
        effects.reject(rejection);
        effects
    }

    /// Publishes `payload` to `target`, after what was added before.
    pub fn publish(&mut self, target: impl Into<Target>, payload: Payload) {
        let mut headers = Headers::new();
        if let Some(content_type) = payload.content_type {
            headers.push("content-type", content_type);
        }
        self.publishes
            .push(Publish::new(target, headers, payload.body));
    }

    /// Notes that something went wrong; see [`Rejection`] for who hears of it.
    pub fn reject(&mut self, rejection: impl Into<Rejection>) {
        self.rejections.push(rejection.into());
    }
}
