//! Return types of handlers, and their destinations.

use bytes::Bytes;
use bytestring::ByteString;
use tramline_broker::{Headers, is_dead_letter_header};
use tramline_stomp::is_message_header;

use crate::model::effects::{Effects, Whom};
use crate::model::rejection::{Rejection, RejectionKind};

/// A body, its media type and its headers, ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Payload {
    /// The `content-type` header, where `headers` has none; `None` sends none.
    pub content_type: Option<ByteString>,
    /// Other headers. Those that the server writes itself ([`IntoReply::with_header`] names them) are refused when it is
    /// published.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Payload {
    /// A body of the given media type.
    pub fn new(content_type: impl Into<ByteString>, body: impl Into<Bytes>) -> Self {
        Self {
            content_type: Some(content_type.into()),
            ..Self::untyped(body)
        }
    }

    /// A body that is sent without a media type.
    pub fn untyped(body: impl Into<Bytes>) -> Self {
        Self {
            content_type: None,
            headers: Headers::new(),
            body: body.into(),
        }
    }

    /// The headers and the body for the broker.
    pub(crate) fn into_message(self) -> Result<(Headers, Bytes), Rejection> {
        self.into_message_with(&Headers::new())
    }

    /// The same in place of a message with the headers `before`, which may keep those that the server wrote.
    pub(crate) fn into_message_with(self, before: &Headers) -> Result<(Headers, Bytes), Rejection> {
        let forged = |name: &str| is_servers(name) && before.get(name).is_none();
        if let Some((name, _)) = self.headers.iter().find(|(name, _)| forged(name)) {
            let error = format!("the header {name:?} of a reply is the server's to write");
            return Err(Rejection::new(RejectionKind::BadReply, error));
        }
        let mut headers = self.headers;
        if let Some(content_type) = self.content_type
            && headers.get("content-type").is_none()
        {
            headers.push("content-type", content_type);
        }
        Ok((headers, self.body))
    }
}

/// Returns true if this header of a MESSAGE is the server's to write, so that nobody else may set it: receivers must be able
/// to trust it. What is about a SEND only, credentials included, is not passed on either.
pub(crate) fn is_servers(header: &str) -> bool {
    is_message_header(header)
        || is_dead_letter_header(header)
        || matches!(
            header,
            "receipt" | "receipt-id" | "transaction" | "login" | "passcode" | "user-name"
        )
}

/// A type that can be sent, once its destination is given.
///
/// [`Json`](crate::Json), [`Encoded`](crate::extract::Encoded), [`Text`](crate::extract::Text), `String` and `&str` (as `text/plain;charset=UTF-8`), [`Bytes`] and
/// `Vec<u8>` (as `application/octet-stream`), [`Payload`]; an `Option`, where `None` sends nothing; a `Result`, whose
/// error determines [its own effects](IntoEffects).
///
/// A `message` handler that returns one needs [`send_to`](crate::router::MessageHandler::send_to) or one of its like; a
/// [`subscribe`](crate::subscribe) handler does not, since the subscription is the address.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a message",
    note = "return `Json(value)` for a value that serde can write, or `String`, `Text`, `Bytes`, or an `Option` of these",
    note = "or a `Result` of these, `Result<Json<T>, Rejection>`",
    note = "what goes to several places says so itself: return a tuple of `To` and `ToUser`, without `.send_to(..)`"
)]
pub trait IntoReply: Send {
    /// Makes the payload, or none; other effects, such as a rejection notice, go into `effects`.
    fn into_reply(self, effects: &mut Effects) -> Option<Payload>;

    /// The same reply with one more header, after those that it has.
    ///
    /// STOMP receivers take the first of several headers of one name; `content-type` replaces the one that `Json` and
    /// its like would have. `destination`, `message-id`, `subscription`, `ack`, `content-length`, `receipt`, `receipt-id`,
    /// `transaction`, `redelivered`, `delivery-count`, `user-name`, `login`, `passcode` and those of dead letters
    /// (`dead-letter-…`, `original-destination`, `original-delivery-count`) are the server's: a reply that has one is
    /// rejected.
    ///
    /// # Example: a reply with a priority
    ///
    /// ```
    /// use tramline::reply::IntoReply;
    /// use tramline::{Json, To};
    ///
    /// async fn alarm(text: String) -> To<impl IntoReply> {
    ///     To::topic("/topic/alarms", Json(text).with_header("priority", "9"))
    /// }
    /// # let _ = alarm;
    /// ```
    fn with_header(
        self,
        name: impl Into<ByteString>,
        value: impl Into<ByteString>,
    ) -> WithHeaders<Self>
    where
        Self: Sized,
    {
        let mut headers = Headers::new();
        headers.push(name, value);
        WithHeaders {
            reply: self,
            headers,
        }
    }
}

/// A reply with headers of its own: made by [`IntoReply::with_header`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "return it from a handler"]
pub struct WithHeaders<R> {
    reply: R,
    headers: Headers,
}

/// A type that determines its own effects: a handler may return it without
/// [`send_to`](crate::router::MessageHandler::send_to).
///
/// `()` does nothing; [`To`] and [`ToUser`] send; a tuple has the effects of its parts in order; an `Option` those of
/// its value, if any; a `Result` those of its value or its error; a [`Rejection`] notifies the client.
///
/// # Example: an application's error goes to a topic of its own
///
/// ```
/// use tramline::reply::{Effects, IntoEffects};
/// use tramline::To;
///
/// enum ChatError { Muted }
///
/// impl IntoEffects for ChatError {
///     fn into_effects(self, effects: &mut Effects) {
///         To::topic("/topic/moderation", "somebody muted tried to speak").into_effects(effects);
///     }
/// }
///
/// async fn say() -> Result<To<&'static str>, ChatError> {
///     Err(ChatError::Muted)
/// }
/// # let _ = say;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say where it should be sent",
    label = "the handler returns `{Self}`",
    note = "say it at the route: `message(handler).send_to(\"/topic/...\")`",
    note = "or in the handler: return `To::topic(\"/topic/...\", reply)`",
    note = "for the sender alone: `.send_to_user(\"/queue/...\")` at the route, or `ToUser::session(\"/queue/...\", reply)`"
)]
pub trait IntoEffects: Send {
    /// Adds the effects of this value.
    fn into_effects(self, effects: &mut Effects);
}

/// An error type of a handler's `Result`: any type that determines [its own effects](IntoEffects).
///
/// Exists for the compiler's error message.
#[diagnostic::on_unimplemented(
    message = "the error `{Self}` does not say what the client receives",
    label = "the handler returns a `Result` with the error `{Self}`",
    note = "return a `Rejection`, `Result<_, Rejection>`: `.map_err(Rejection::application)` makes one of what is displayed",
    note = "for an error type of your own: `impl From<MyError> for Rejection`, so that `?` makes one",
    note = "or `impl IntoEffects for MyError`, to do something else"
)]
pub trait IntoErrorEffects: IntoEffects {}

#[diagnostic::do_not_recommend]
impl<E: IntoEffects> IntoErrorEffects for E {}

/// A reply with its own destination.
///
/// # Example: the handler chooses the destination
///
/// ```
/// use tramline::{Json, To};
///
/// async fn place(Json(order): Json<u32>) -> To<Json<u32>> {
///     To::topic(format!("/topic/orders/{order}"), Json(order))
/// }
/// # let _ = place;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "return it from a handler"]
pub struct To<R> {
    destination: ByteString,
    reply: R,
}

impl<R> To<R> {
    /// Sends `reply` to everyone who is subscribed to `destination`, `/topic/...`.
    pub fn topic(destination: impl Into<ByteString>, reply: R) -> Self {
        Self {
            destination: destination.into(),
            reply,
        }
    }

    /// Sends `reply` to one consumer of the queue `destination`, `/queue/...`.
    pub fn queue(destination: impl Into<ByteString>, reply: R) -> Self {
        Self::topic(destination, reply)
    }
}

/// A reply to a user, by the name that the session's login gave: at `/user/queue/x` for those who subscribed there.
///
/// The *path* is what follows the user prefix: `/queue/x` for a client's SUBSCRIBE to `/user/queue/x`. An absent user
/// gets nothing, and that is no error.
///
/// # Example: the answer to the sender, a message to somebody else
///
/// ```
/// use tramline::{Json, ToUser, User};
///
/// #[derive(serde::Deserialize)]
/// struct Whisper { to: String, text: String }
///
/// async fn whisper(user: User, Json(whisper): Json<Whisper>) -> (ToUser<String>, ToUser<&'static str>) {
///     let line = format!("{}: {}", user.name(), whisper.text);
///     (ToUser::named(whisper.to, "/queue/whispers", line), ToUser::session("/queue/status", "sent"))
/// }
/// # let _ = whisper;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "return it from a handler"]
pub struct ToUser<R> {
    whom: Whom,
    path: ByteString,
    reply: R,
}

impl<R> ToUser<R> {
    /// Sends `reply` to every session of the user whose message is handled; if the sender is anonymous, to its session.
    pub fn all(path: impl Into<ByteString>, reply: R) -> Self {
        Self {
            whom: Whom::Sender,
            path: path.into(),
            reply,
        }
    }

    /// Sends `reply` to the one session whose message is handled.
    pub fn session(path: impl Into<ByteString>, reply: R) -> Self {
        Self {
            whom: Whom::SenderSession,
            path: path.into(),
            reply,
        }
    }

    /// Sends `reply` to every session of the user `name`.
    pub fn named(name: impl Into<ByteString>, path: impl Into<ByteString>, reply: R) -> Self {
        Self {
            whom: Whom::Named(name.into()),
            path: path.into(),
            reply,
        }
    }
}

impl<R: IntoReply> IntoEffects for To<R> {
    fn into_effects(self, effects: &mut Effects) {
        if let Some(payload) = self.reply.into_reply(effects) {
            effects.publish_to(self.destination, payload);
        }
    }
}

impl<R: IntoReply> IntoEffects for ToUser<R> {
    fn into_effects(self, effects: &mut Effects) {
        if let Some(payload) = self.reply.into_reply(effects) {
            effects.publish_to_user(self.whom, self.path, payload);
        }
    }
}

impl IntoReply for Payload {
    fn into_reply(self, _: &mut Effects) -> Option<Payload> {
        Some(self)
    }
}

impl<R: IntoReply> IntoReply for WithHeaders<R> {
    fn into_reply(self, effects: &mut Effects) -> Option<Payload> {
        let mut payload = self.reply.into_reply(effects)?;
        for (name, value) in self.headers.iter() {
            payload.headers.push(name, value);
        }
        Some(payload)
    }
}

impl IntoReply for String {
    fn into_reply(self, _: &mut Effects) -> Option<Payload> {
        Some(Payload::new("text/plain;charset=UTF-8", self))
    }
}

impl IntoReply for &'static str {
    fn into_reply(self, _: &mut Effects) -> Option<Payload> {
        Some(Payload::new("text/plain;charset=UTF-8", self))
    }
}

impl IntoReply for Bytes {
    fn into_reply(self, _: &mut Effects) -> Option<Payload> {
        Some(Payload::new("application/octet-stream", self))
    }
}

impl IntoReply for Vec<u8> {
    fn into_reply(self, effects: &mut Effects) -> Option<Payload> {
        Bytes::from(self).into_reply(effects)
    }
}

impl<R: IntoReply> IntoReply for Option<R> {
    fn into_reply(self, effects: &mut Effects) -> Option<Payload> {
        self?.into_reply(effects)
    }
}

impl<R: IntoReply, E: IntoErrorEffects> IntoReply for Result<R, E> {
    fn into_reply(self, effects: &mut Effects) -> Option<Payload> {
        match self {
            Ok(reply) => reply.into_reply(effects),
            Err(error) => {
                error.into_effects(effects);
                None
            }
        }
    }
}

/// Sends nothing: for `subscribe` handlers that only record the subscriber.
impl IntoReply for () {
    fn into_reply(self, _: &mut Effects) -> Option<Payload> {
        None
    }
}

impl IntoEffects for () {
    fn into_effects(self, _: &mut Effects) {}
}

impl IntoEffects for Rejection {
    fn into_effects(self, effects: &mut Effects) {
        effects.reject(self);
    }
}

impl IntoEffects for std::convert::Infallible {
    fn into_effects(self, _: &mut Effects) {
        match self {}
    }
}

impl<E: IntoEffects> IntoEffects for Option<E> {
    fn into_effects(self, effects: &mut Effects) {
        if let Some(some) = self {
            some.into_effects(effects);
        }
    }
}

impl<T: IntoEffects, E: IntoErrorEffects> IntoEffects for Result<T, E> {
    fn into_effects(self, effects: &mut Effects) {
        match self {
            Ok(value) => value.into_effects(effects),
            Err(error) => error.into_effects(effects),
        }
    }
}

macro_rules! tuple_into_effects {
    ($($name:ident)+) => {
        impl<$($name: IntoEffects),+> IntoEffects for ($($name,)+) {
            #[allow(non_snake_case, reason = "type parameters name the values too")]
            fn into_effects(self, effects: &mut Effects) {
                let ($($name,)+) = self;
                $($name.into_effects(effects);)+
            }
        }
    };
}

tuple_into_effects!(A B);
tuple_into_effects!(A B C);
tuple_into_effects!(A B C D);
