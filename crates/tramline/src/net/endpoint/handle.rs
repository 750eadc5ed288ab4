//! What the endpoints of one stack share.

use std::sync::Arc;

use parking_lot::Mutex;

use super::sockjs::{SockJs, SockJsService};
use super::stack::Stack;

/// Ends the sessions when its last clone is dropped.
#[derive(Debug)]
pub(crate) struct Handle<S: Stack> {
    pub(crate) stack: Arc<S>,
    /// The SockJS services, by their options: endpoints made for one request each share their sessions.
    services: Mutex<Vec<(String, Arc<SockJsService>)>>,
}

impl<S: Stack> Handle<S> {
    pub(crate) fn new(stack: Arc<S>) -> Self {
        Self {
            stack,
            services: Mutex::default(),
        }
    }

    /// The service with these options.
    pub(super) fn sockjs(&self, options: SockJs) -> Arc<SockJsService> {
        let key = format!("{options:?}");
        let mut services = self.services.lock();
        if let Some((_, service)) = services.iter().find(|(known, _)| *known == key) {
            return Arc::clone(service);
        }
        let service = Arc::new(SockJsService::new(options));
        services.push((key, Arc::clone(&service)));
        service
    }
}

impl<S: Stack> Drop for Handle<S> {
    fn drop(&mut self) {
        self.stack.close();
    }
}
