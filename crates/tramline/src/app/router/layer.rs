//! Tower layers around handlers.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::BoxError;
use crate::app::handler::EffectsFuture;
use crate::model::effects::Effects;
use crate::model::inbound::Inbound;
use crate::model::rejection::{Rejection, RejectionKind};

/// A handler with its state, its reply targets, and the layers added so far.
pub(crate) type Bound = Arc<dyn Fn(Inbound) -> EffectsFuture + Send + Sync>;

/// A type-erased layer.
pub(crate) type LayerFn = Arc<dyn Fn(Bound) -> Bound + Send + Sync>;

/// A handler as a tower service, for a [layer](crate::MessageRouter::layer) to wrap.
///
/// It is always ready and never fails; failures are in the [`Effects`].
#[derive(Clone)]
pub struct MessageService(Bound);

impl Service<Inbound> for MessageService {
    type Response = Effects;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Effects, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, message: Inbound) -> Self::Future {
        let effects = (self.0)(message);
        Box::pin(async move { Ok(effects.await) })
    }
}

impl fmt::Debug for MessageService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageService")
    }
}

pub(crate) fn erase_layer<L>(layer: L) -> LayerFn
where
    L: Layer<MessageService> + Send + Sync + 'static,
    L::Service: Service<Inbound, Response = Effects> + Clone + Send + Sync + 'static,
    <L::Service as Service<Inbound>>::Error: Into<BoxError>,
    <L::Service as Service<Inbound>>::Future: Send,
{
    Arc::new(move |inner| {
        let service = layer.layer(MessageService(inner));
        Arc::new(move |message| {
            let mut service = service.clone();
            Box::pin(async move {
                let answered = async {
                    poll_fn(|context| service.poll_ready(context)).await?;
                    service.call(message).await
                };
                answered
                    .await
                    .unwrap_or_else(|error| Effects::rejected(rejection(error.into())))
            })
        })
    })
}

/// Converts a layer's error into the client's rejection.
fn rejection(error: BoxError) -> Rejection {
    match error.downcast::<Rejection>() {
        Ok(rejection) => *rejection,
        Err(error) => Rejection::new(RejectionKind::Refused, error),
    }
}
