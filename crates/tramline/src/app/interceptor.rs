//! Interceptors, which see every frame between clients and the stack.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{Headers, Message, SessionId};
use tramline_stomp::{ErrorReply, ServerEvent};

use crate::model::inbound::SessionRecord;
use crate::model::rejection::Rejection;
use crate::model::reply::Payload;
use crate::model::user::Handshake;
use crate::model::user::User;

/// A hook that sees each client frame before the policy is asked, and each message on its way to each subscription; it
/// may change, refuse and count them. Spring: `ChannelInterceptor` on the client's inbound and outbound channel.
///
/// Use it for concerns of every frame, whatever its destination. Concerns of handlers belong in a
/// [layer](crate::MessageRouter::layer), which may wait; access rules in the [policy](crate::policy). Both methods run
/// in the session's task and must not block; one that panics ends the session. Several interceptors are asked in the
/// order they were added, on the way out in the reverse order. If one panics, a client's frame is refused by an ERROR
/// that does not reveal the reason, and a message on its way out is [dropped](Outgoing::Drop).
///
/// # Example: a header with the tenant, and a count of outgoing messages
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tramline::interceptor::{ClientFrame, Interceptor, Outgoing, OutgoingMessage, Refusal};
///
/// #[derive(Default)]
/// struct Tenants { sent: AtomicU64 }
///
/// impl Interceptor for Tenants {
///     fn inbound(&self, frame: &mut ClientFrame<'_>) -> Result<(), Refusal> {
///         let user = frame.user();
///         let tenant = user.as_ref().and_then(|user| user.name().split_once('@')).map(|(_, tenant)| tenant.to_owned());
///         let Some(tenant) = tenant else { return Ok(()) };
///         let Some(headers) = frame.headers_mut() else { return Ok(()) };
///         if headers.get("tenant").is_some() {
///             return Err(Refusal::close("the header `tenant` is the server's"));
///         }
///         headers.push("tenant", tenant);
///         Ok(())
///     }
///
///     fn outbound(&self, _: &OutgoingMessage<'_>) -> Outgoing {
///         self.sent.fetch_add(1, Ordering::Relaxed);
///         Outgoing::Pass
///     }
/// }
///
/// let tenants = Arc::new(Tenants::default());
/// let builder = tramline::Messaging::builder().interceptor(Arc::clone(&tenants));
/// # let _ = builder;
/// ```
pub trait Interceptor: Send + Sync + 'static {
    /// Inspects a client's frame, before anything is done with it. Default: lets it pass.
    ///
    /// # Errors
    ///
    /// A frame that may not pass: the [`Refusal`] decides what happens to it and what its client receives.
    fn inbound(&self, _frame: &mut ClientFrame<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    /// Inspects a message that is about to be written to one subscription. Default: lets it pass.
    ///
    /// Called once for each receiver: a replaced message is encoded for that receiver alone, so it loses the saving of
    /// the shared encoding.
    fn outbound(&self, _message: &OutgoingMessage<'_>) -> Outgoing {
        Outgoing::Pass
    }
}

impl<I: Interceptor + ?Sized> Interceptor for std::sync::Arc<I> {
    fn inbound(&self, frame: &mut ClientFrame<'_>) -> Result<(), Refusal> {
        (**self).inbound(frame)
    }

    fn outbound(&self, message: &OutgoingMessage<'_>) -> Outgoing {
        (**self).outbound(message)
    }
}

/// A frame of a client, as an [`Interceptor`] sees it.
#[derive(Debug)]
pub struct ClientFrame<'a> {
    session: &'a SessionRecord,
    event: &'a mut ServerEvent,
}

impl<'a> ClientFrame<'a> {
    pub(crate) fn new(session: &'a SessionRecord, event: &'a mut ServerEvent) -> Self {
        Self { session, event }
    }

    /// Its command: `CONNECT` (for `STOMP` too), `SEND`, `SUBSCRIBE`, `UNSUBSCRIBE`, `ACK`, `NACK`, `BEGIN`, `COMMIT`,
    /// `ABORT` or `DISCONNECT`.
    pub fn command(&self) -> &'static str {
        match self.event {
            ServerEvent::Connect(_) => "CONNECT",
            ServerEvent::Send(_) => "SEND",
            ServerEvent::Subscribe(_) => "SUBSCRIBE",
            ServerEvent::Unsubscribe(_) => "UNSUBSCRIBE",
            ServerEvent::Ack(_) => "ACK",
            ServerEvent::Nack(_) => "NACK",
            ServerEvent::Begin(_) => "BEGIN",
            ServerEvent::Commit(_) => "COMMIT",
            ServerEvent::Abort(_) => "ABORT",
            _ => "DISCONNECT",
        }
    }

    /// The session.
    pub fn session_id(&self) -> SessionId {
        self.session.id()
    }

    /// The session's user: until a login has decided, that of the HTTP request.
    pub fn user(&self) -> Option<User> {
        self.session.user()
    }

    /// The kept parts of the session's HTTP request.
    pub fn handshake(&self) -> &'a Handshake {
        self.session.handshake()
    }

    /// The destination of a SEND or SUBSCRIBE.
    pub fn destination(&self) -> Option<&str> {
        match &*self.event {
            ServerEvent::Send(send) => Some(&send.destination),
            ServerEvent::Subscribe(subscribe) => Some(&subscribe.destination),
            _ => None,
        }
    }

    /// Gives a SEND or SUBSCRIBE another destination, about which the policy is then asked. Has no effect on other
    /// frames.
    pub fn set_destination(&mut self, destination: impl Into<ByteString>) {
        match self.event {
            ServerEvent::Send(send) => send.destination = destination.into(),
            ServerEvent::Subscribe(subscribe) => subscribe.destination = destination.into(),
            _ => {}
        }
    }

    /// The headers of a CONNECT (without `passcode`), SEND, SUBSCRIBE, ACK or NACK.
    pub fn headers(&self) -> Option<&Headers> {
        match &*self.event {
            ServerEvent::Connect(connect) => Some(&connect.headers),
            ServerEvent::Send(send) => Some(&send.headers),
            ServerEvent::Subscribe(subscribe) => Some(&subscribe.headers),
            ServerEvent::Ack(ack) | ServerEvent::Nack(ack) => Some(&ack.headers),
            _ => None,
        }
    }

    /// The same headers, to change. STOMP's own headers (`destination`, `receipt`, `id`, `ack`, ...) have been read
    /// already, so that changing them has no effect.
    pub fn headers_mut(&mut self) -> Option<&mut Headers> {
        match self.event {
            ServerEvent::Connect(connect) => Some(&mut connect.headers),
            ServerEvent::Send(send) => Some(&mut send.headers),
            ServerEvent::Subscribe(subscribe) => Some(&mut subscribe.headers),
            ServerEvent::Ack(ack) | ServerEvent::Nack(ack) => Some(&mut ack.headers),
            _ => None,
        }
    }

    /// The body of a SEND.
    pub fn body(&self) -> Option<&Bytes> {
        match &*self.event {
            ServerEvent::Send(send) => Some(&send.body),
            _ => None,
        }
    }

    /// Gives a SEND another body. Has no effect on other frames.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        if let ServerEvent::Send(send) = self.event {
            send.body = body.into();
        }
    }
}

/// The fate of a frame that an [`Interceptor`] does not let pass. Counted in [`Stats::refused`](crate::Stats::refused).
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal(pub(crate) Refused);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refused {
    Close(ByteString),
    Reject(Box<Rejection>),
}

impl Refusal {
    /// The client receives an ERROR with this text, and is closed with 1002.
    pub fn close(error: impl Into<ByteString>) -> Self {
        Self(Refused::Close(error.into()))
    }

    /// Drops a SEND and notifies its sender as of any [`Rejection`]; the session goes on. The client would take any
    /// other frame that is dropped for done, so for those it acts as [`close`](Self::close).
    pub fn reject(rejection: impl Into<Rejection>) -> Self {
        Self(Refused::Reject(Box::new(rejection.into())))
    }

    pub(crate) fn error(self) -> (ErrorReply, String) {
        let text = match self.0 {
            Refused::Close(text) => text.to_string(),
            Refused::Reject(rejection) => rejection.to_string(),
        };
        (ErrorReply::new("refused").detail(text.clone()), text)
    }
}

/// A message on its way to one subscription, as an [`Interceptor`] sees it.
#[derive(Debug)]
pub struct OutgoingMessage<'a> {
    pub(crate) session: &'a SessionRecord,
    pub(crate) message: &'a Message,
}

impl<'a> OutgoingMessage<'a> {
    /// The session that receives it.
    pub fn session_id(&self) -> SessionId {
        self.session.id()
    }

    /// That session's user.
    pub fn user(&self) -> Option<User> {
        self.session.user()
    }

    /// The destination that the client sees.
    pub fn destination(&self) -> &'a str {
        self.message.destination()
    }

    /// The publisher's headers.
    pub fn headers(&self) -> &'a Headers {
        self.message.headers()
    }

    /// The body.
    pub fn body(&self) -> &'a Bytes {
        self.message.body()
    }
}

/// The fate of a message on its way to one subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outgoing {
    /// It is written as it is.
    #[default]
    Pass,
    /// This subscription does not receive it. A queue's message counts as accepted by it; a subscription with
    /// `ack:client`, whose acknowledgements cover all messages before them too, receives it with an empty body and no
    /// headers.
    Drop,
    /// This subscription receives another body and other headers in its place, with the same destination and
    /// `message-id`.
    Replace(Payload),
}

/// The interceptors of a stack.
#[derive(Default)]
pub(crate) struct Interceptors(Vec<Box<dyn Interceptor>>);

impl Interceptors {
    pub(crate) fn add(&mut self, interceptor: impl Interceptor) {
        self.0.push(Box::new(interceptor));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn inbound(&self, frame: &mut ClientFrame<'_>) -> Result<(), Refusal> {
        self.0
            .iter()
            .try_for_each(|interceptor| interceptor.inbound(frame))
    }

    /// Asks each in turn about the previous one's result; `replaced` makes the message of a replacement.
    pub(crate) fn outbound(
        &self,
        session: &SessionRecord,
        message: &Message,
        replaced: impl Fn(Payload) -> Message,
    ) -> OutgoingDelivery {
        let mut now = OutgoingDelivery::Same;
        for interceptor in self.0.iter().rev() {
            let seen = match &now {
                OutgoingDelivery::Other(other) => other,
                _ => message,
            };
            match interceptor.outbound(&OutgoingMessage {
                session,
                message: seen,
            }) {
                Outgoing::Pass => {}
                Outgoing::Drop => return OutgoingDelivery::Nothing,
                Outgoing::Replace(payload) => {
                    now = OutgoingDelivery::Other(Arc::new(replaced(payload)));
                }
            }
        }
        now
    }
}

/// The result of all interceptors for one message.
pub(crate) enum OutgoingDelivery {
    Same,
    Nothing,
    Other(Arc<Message>),
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} interceptors", self.0.len())
    }
}
