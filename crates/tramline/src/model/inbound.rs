//! A client's message on its way to a handler.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use bytestring::ByteString;
use http::Extensions;
use tramline_broker::{Outbox, SessionId};
use tramline_stomp::Headers;

use crate::model::attributes::Attributes;
use crate::model::disconnected::Disconnected;
use crate::model::subscriptions::Subscriptions;
use crate::model::user::Handshake;
use crate::model::user::User;

/// Who opened a session, and by what.
#[derive(Clone, Debug)]
pub(crate) struct SessionInfo {
    pub(crate) id: SessionId,
    pub(crate) user: Option<User>,
    pub(crate) handshake: Handshake,
}

/// What a stack keeps of a session while it lives: shared by its task, its handlers and the registry.
pub(crate) struct SessionRecord {
    info: SessionInfo,
    /// Whom the connect handler made of it.
    login: OnceLock<Option<User>>,
    /// What the stack has for handlers, by type; gone with the stack.
    pub(crate) stack: Weak<Extensions>,
    pub(crate) outbox: Arc<Outbox>,
    /// From its CONNECTED to its end.
    pub(crate) connected: AtomicBool,
    /// Its client is gone, or has to go: it gets nothing any more.
    pub(crate) gone: AtomicBool,
    /// The application wants it gone: what it sent is not looked at any more.
    pub(crate) expelled: AtomicBool,
    pub(crate) attributes: Attributes,
    pub(crate) subscriptions: Subscriptions,
}

impl SessionRecord {
    pub(crate) fn new(info: SessionInfo, stack: Weak<Extensions>, outbox: Arc<Outbox>) -> Self {
        Self {
            info,
            login: OnceLock::new(),
            stack,
            outbox,
            connected: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            expelled: AtomicBool::new(false),
            attributes: Attributes::default(),
            subscriptions: Subscriptions::default(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire) && !self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn is_expelled(&self) -> bool {
        self.expelled.load(Ordering::Acquire)
    }

    pub(crate) fn id(&self) -> SessionId {
        self.info.id
    }

    pub(crate) fn user(&self) -> Option<&User> {
        self.login.get().unwrap_or(&self.info.user).as_ref()
    }

    /// Says who it is, instead of the HTTP request; once.
    pub(crate) fn log_in(&self, user: Option<User>) {
        // A session logs in at its one CONNECT.
        let _ = self.login.set(user);
    }

    pub(crate) fn handshake(&self) -> &Handshake {
        &self.info.handshake
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("user", &self.user())
            .field("handshake", &self.info.handshake)
            .finish_non_exhaustive()
    }
}

/// What a client sent for the application, or did: what extractors take their values from, and what the
/// [layers](crate::MessageRouter::layer) of a router see.
///
/// For a `message` handler it is a SEND, for a `subscribe` handler a SUBSCRIBE; a `connect` or `disconnect` handler gets
/// one without a body.
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

/// What sets a handler going.
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

    /// The session's user, if it has one.
    pub fn user(&self) -> Option<&User> {
        self.session.user()
    }

    /// What is kept of the session's HTTP request.
    pub fn handshake(&self) -> &Handshake {
        self.session.handshake()
    }

    /// What the route's pattern captured under `name`.
    pub fn capture(&self, name: &str) -> Option<&str> {
        let found = self.captures.iter().find(|(known, _)| known == name)?;
        Some(&found.1)
    }

    /// What layers left for the handler, by type: see [`Extension`](crate::Extension).
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// A place for a layer to leave something for the handler.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}
