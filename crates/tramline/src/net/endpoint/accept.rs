//! WebSocket handshakes whose connection another server holds.

use std::sync::Arc;

use http::Response;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};
use tramline_websocket::Agreement;

use super::body::Body;
use super::handle::Handle;
use super::stack::Stack;
use super::{Mounted, upgrade};
use crate::net::transport::io::Io;
use crate::net::transport::websocket::Plain;

/// A handshake that was accepted, and the session that it opens.
pub(crate) struct Accepted<S: Stack> {
    /// Keeps the stack's sessions going until this one runs.
    handle: Arc<Handle<S>>,
    opening: S::Opening,
    agreement: Option<Agreement>,
    response: Response<()>,
}

impl<S: Stack> Mounted<S> {
    pub(crate) async fn accept(&self, mut parts: Parts) -> Result<Accepted<S>, Response<Body>> {
        self.judge(&mut parts, false)?;
        let (response, agreement, opening) = self.begin(&mut parts).await?;
        Ok(Accepted {
            handle: Arc::clone(&self.handle),
            opening,
            agreement,
            response: response.map(|_| ()),
        })
    }
}

impl<S: Stack> Accepted<S> {
    pub(crate) fn response(&self) -> &Response<()> {
        &self.response
    }

    pub(crate) async fn serve<T>(self, io: T)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stack = Arc::clone(&self.handle.stack);
        drop(self.handle);
        let io = Io::Other(Box::new(io));
        upgrade::run(stack, self.opening, io, self.agreement, |_| Plain).await;
    }
}
