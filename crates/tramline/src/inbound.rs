//! A client's message on its way to a handler.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::SessionId;
use tramline_stomp::Headers;

use crate::{Handshake, User};

/// What a session is known by while it lives.
#[derive(Clone, Debug)]
pub(crate) struct SessionInfo {
    pub(crate) id: SessionId,
    pub(crate) user: Option<User>,
    pub(crate) handshake: Handshake,
}

/// A client's message for the application: what extractors take their values from.
#[derive(Clone, Debug)]
pub struct Inbound {
    pub(crate) session: Arc<SessionInfo>,
    pub(crate) destination: ByteString,
    pub(crate) captures: Vec<(ByteString, ByteString)>,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

impl Inbound {
    /// The destination as the client wrote it, `/app/rooms/7/say`.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The frame's headers, as the client sent them.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The session that sent it.
    pub fn session_id(&self) -> SessionId {
        self.session.id
    }

    /// The session's user, if it has one.
    pub fn user(&self) -> Option<&User> {
        self.session.user.as_ref()
    }

    /// What is kept of the session's HTTP request.
    pub fn handshake(&self) -> &Handshake {
        &self.session.handshake
    }

    /// What the route's pattern captured under `name`.
    pub fn capture(&self, name: &str) -> Option<&str> {
        let found = self.captures.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }
}
