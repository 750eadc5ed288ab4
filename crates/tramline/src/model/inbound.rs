//! A client's message on its way to a handler.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use bytestring::ByteString;
use http::Extensions;
use parking_lot::RwLock;
use tramline_broker::{SessionContext, SessionId};
use tramline_stomp::Headers;

use crate::model::attributes::Attributes;
use crate::model::disconnected::Disconnected;
use crate::model::traffic::Traffic;
use crate::model::user::Handshake;
use crate::model::user::User;

/// The id, user and handshake of a session when it opens.
#[derive(Clone, Debug)]
pub(crate) struct SessionInfo {
    pub(crate) id: SessionId,
    pub(crate) user: Option<User>,
    pub(crate) handshake: Handshake,
}

/// The stack's record of a session, beyond what its hub keeps: shared by its task, its handlers and the registry.
pub(crate) struct SessionRecord {
    id: SessionId,
    handshake: Handshake,
    /// First the user of the HTTP request, then the one that the login decided.
    user: RwLock<Option<User>>,
    /// The stack's values for handlers, by type; gone with the stack.
    pub(crate) stack: Weak<Extensions>,
    /// Set when the application has ended it: frames that arrived are not handled any more.
    pub(crate) expelled: AtomicBool,
    pub(crate) attributes: Attributes,
    #[cfg_attr(not(feature = "console"), expect(dead_code))]
    pub(crate) traffic: Traffic,
}

impl SessionRecord {
    pub(crate) fn new(info: SessionInfo, stack: Weak<Extensions>, transport: &'static str) -> Self {
        Self {
            id: info.id,
            handshake: info.handshake,
            user: RwLock::new(info.user),
            stack,
            expelled: AtomicBool::new(false),
            attributes: Attributes::default(),
            traffic: Traffic::over(transport),
        }
    }

    pub(crate) fn is_expelled(&self) -> bool {
        self.expelled.load(Ordering::Acquire)
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn user(&self) -> Option<User> {
        self.user.read().clone()
    }

    pub(crate) fn set_user(&self, user: Option<User>) {
        *self.user.write() = user;
    }

    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }
}

impl SessionContext for SessionRecord {
    fn describe(&self) -> Headers {
        let mut details = self.handshake.describe();
        if let Some(user) = self.user() {
            user.describe(&mut details);
        }
        details
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("user", &self.user())
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

/// A client's message for the application, or its connect or disconnect: extractors read it, and the
/// [layers](crate::MessageRouter::layer) of a router see it.
///
/// For a `message` handler it is a SEND, for a `subscribe` handler a SUBSCRIBE; a `connect` or `disconnect` handler
/// gets one without a body.
#[derive(Clone, Debug)]
pub struct Inbound {
    pub(crate) session: Arc<SessionRecord>,
    pub(crate) cause: Cause,
    pub(crate) destination: ByteString,
    pub(crate) captures: Vec<(ByteString, ByteString)>,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) extensions: Extensions,
}

/// What a client did, for layers and handlers that take several kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboundKind {
    /// It sent a message.
    Message,
    /// It subscribed.
    Subscribe,
    /// It connects.
    Connect,
    /// It has disconnected.
    Disconnect,
}

/// The event that starts a handler.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    Message,
    Subscribe,
    Connect(Arc<tramline_stomp::Connect>),
    Disconnect(Arc<Disconnected>),
}

impl Inbound {
    pub(crate) fn new(session: Arc<SessionRecord>, cause: Cause, destination: ByteString) -> Self {
        Self {
            session,
            cause,
            destination,
            captures: Vec::new(),
            headers: Headers::new(),
            body: Bytes::new(),
            extensions: Extensions::new(),
        }
    }

    /// What the client did: Spring's `simpMessageType`.
    pub fn kind(&self) -> InboundKind {
        match self.cause {
            Cause::Message => InboundKind::Message,
            Cause::Subscribe => InboundKind::Subscribe,
            Cause::Connect(_) => InboundKind::Connect,
            Cause::Disconnect(_) => InboundKind::Disconnect,
        }
    }

    /// The destination as the client wrote it, `/app/rooms/7/say`; empty for `connect` and `disconnect`.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The frame's headers, as the client sent them.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The headers, for a layer to change what the handler sees.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Gives the handler another body: for a layer that decrypts or unpacks.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.body = body.into();
    }

    /// The session that sent it.
    pub fn session_id(&self) -> SessionId {
        self.session.id()
    }

    /// The session's user at this moment, if it has one; it may change during the session.
    pub fn user(&self) -> Option<User> {
        self.session.user()
    }

    /// The kept parts of the session's HTTP request.
    pub fn handshake(&self) -> &Handshake {
        self.session.handshake()
    }

    /// The route's capture of that `name`.
    pub fn capture(&self, name: &str) -> Option<&str> {
        let found = self.captures.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// Values that layers left for the handler, by type: see [`Extension`](crate::extract::Extension).
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The same values, for a layer to add some for the handler.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}
