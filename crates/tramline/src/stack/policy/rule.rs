//! Rules: at once, or by a check.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;

use super::decision::Failure;
use crate::app::handler::Handler;
use crate::model::inbound::Inbound;
use crate::model::user::User;

/// What a matching rule says: made by [`permit`], [`deny`], [`authenticated`], [`anonymous`], [`role`], [`any_role`],
/// [`check`] and [`check_with_state`].
#[derive(Clone)]
pub struct Rule {
    kind: Kind,
    /// The time for which the answers of a check are kept.
    cached: Option<Duration>,
}

#[derive(Clone)]
enum Kind {
    Permit,
    Deny,
    Authenticated,
    Anonymous,
    Role(ByteString),
    AnyRole(Arc<[ByteString]>),
    Check { name: &'static str, check: Check },
}

/// A check whose types are forgotten.
pub(super) type Check = Arc<dyn Fn(Inbound) -> CheckFuture + Send + Sync>;

/// A running check.
pub(super) type CheckFuture = Pin<Box<dyn Future<Output = Result<bool, Failure>> + Send>>;

/// Everybody may.
pub fn permit() -> Rule {
    Kind::Permit.into()
}

/// Nobody may.
pub fn deny() -> Rule {
    Kind::Deny.into()
}

/// Sessions that have a user may.
pub fn authenticated() -> Rule {
    Kind::Authenticated.into()
}

/// Sessions without a user may, and only those.
pub fn anonymous() -> Rule {
    Kind::Anonymous.into()
}

/// Sessions whose user has the role may.
pub fn role(name: impl Into<ByteString>) -> Rule {
    Kind::Role(name.into()).into()
}

/// Sessions whose user has at least one of the roles may. Of no roles, nobody has one.
///
/// # Example: two roles
///
/// ```
/// use tramline::User;
/// use tramline::policy::{Action, Policy, any_role, deny};
///
/// let policy = Policy::builder()
///     .on_message("/app/reports/**", any_role(["auditor", "admin"]))
///     .otherwise(deny());
/// let auditor = User::new("ann").with_roles(["auditor"]);
/// let decision = policy.explain(Action::Message("/app/reports/7"), Some(&auditor));
/// assert!(decision.is_permitted());
/// assert_eq!(decision.rule(), r#"message /app/reports/**: any role of "auditor", "admin""#);
/// assert!(!policy.explain(Action::Message("/app/reports/7"), Some(&User::new("bob"))).is_permitted());
/// ```
pub fn any_role<R: Into<ByteString>>(names: impl IntoIterator<Item = R>) -> Rule {
    Kind::AnyRole(names.into_iter().map(Into::into).collect()).into()
}

/// An async function decides, each time that a client asks: by a database, by another service.
///
/// Its arguments are extractors, like those of a [handler](crate::router::Handler): [`User`],
/// [`Path`](crate::Path) of what the *rule's* pattern captures, [`Header`](crate::extract::Header),
/// [`Registry`](crate::Registry), the body as the last; on CONNECT [`Connect`](crate::Connect) too. For state see
/// [`check_with_state`]. It returns whether the client may, as a [`bool`] or a [`Result`]: see [`CheckOutput`].
///
/// * While it runs, its session waits as for a handler: frames are handled in order, while heart-beats and deliveries go
///   on. A check on CONNECT has to decide within [`Limits::connect_time`](crate::Limits::connect_time), together with the
///   login; other checks bound their own time. The end of the session drops the check at one of its `await`s.
/// * A check that returns an error, panics, or whose arguments cannot be extracted **denies**. The log has the reason; the
///   client receives no more than that it is denied.
/// * It is asked for every SEND and SUBSCRIBE that reaches its rule, unless its answers are
///   [kept](Rule::cached_for).
/// * It decides about one destination. A subscription to a pattern that overlaps the rule's is denied with a
///   [reason](crate::policy::Decision::reason), unless an earlier rule has decided.
/// * A capture is not empty: `/topic/rooms/` is denied by a check for `/topic/rooms/{room}`.
///
/// # Example: members of a room
///
/// ```
/// use tramline::policy::{Action, Policy, check, deny};
/// use tramline::{Path, User};
///
/// async fn is_member(user: User, Path(room): Path<u32>) -> bool {
///     room == 7 && user.name() == "alice"
/// }
///
/// let policy = Policy::builder()
///     .on_subscribe("/topic/rooms/{room}", check(is_member))
///     .otherwise(deny());
///
/// assert!(policy.explain(Action::Subscribe("/topic/rooms/7"), None).is_checked());
/// let all = policy.explain(Action::Subscribe("/topic/rooms/*"), None);
/// assert!(!all.is_checked() && !all.is_permitted());
/// assert_eq!(all.reason(), Some("a check decides about one destination, and this is a pattern"));
/// ```
pub fn check<H, T>(function: H) -> Rule
where
    H: Handler<T, ()>,
    H::Output: CheckOutput,
{
    check_with_state((), function)
}

/// A [`check`] whose function takes [`State`](crate::State): `state`, or a part of it by
/// [`FromRef`](crate::extract::FromRef).
///
/// # Example: a table of members
///
/// ```
/// use std::collections::HashSet;
/// use std::sync::Arc;
///
/// use tramline::policy::{Action, Policy, check_with_state, deny};
/// use tramline::{Path, State, User};
///
/// #[derive(Clone)]
/// struct Members(Arc<HashSet<(String, String)>>);
///
/// async fn is_member(user: User, Path(room): Path<String>, State(members): State<Members>) -> bool {
///     members.0.contains(&(room, user.name().to_owned()))
/// }
///
/// let members = Members(Arc::new(HashSet::from([("rust".into(), "alice".into())])));
/// let policy = Policy::builder()
///     .on_message("/app/rooms/{room}/**", check_with_state(members, is_member))
///     .otherwise(deny());
/// assert!(policy.explain(Action::Message("/app/rooms/rust/say"), None).is_checked());
/// ```
pub fn check_with_state<H, T, S>(state: S, function: H) -> Rule
where
    H: Handler<T, S>,
    H::Output: CheckOutput,
    S: Clone + Send + Sync + 'static,
{
    let kind = Kind::Check {
        name: type_name::<H>(),
        check: Arc::new(move |message| {
            let (function, state) = (function.clone(), state.clone());
            Box::pin(async move {
                let called = function.call(message, state).await;
                let output = called.map_err(Failure::Rejected)?;
                output.into_answer().map_err(Failure::Error)
            })
        }),
    };
    kind.into()
}

/// What a [`check`] may return: whether the client may, as a [`bool`], or a `Result<bool, E>` whose error denies and is
/// logged.
///
/// # Example: a look-up that may fail
///
/// ```
/// use tramline::User;
/// use tramline::policy::{Action, Policy, check, deny};
///
/// async fn has_paid(user: User) -> Result<bool, std::io::Error> {
///     let ledger = tokio::fs::read_to_string("ledger").await?;
///     Ok(ledger.lines().any(|name| name == user.name()))
/// }
///
/// let policy = Policy::builder().on_connect(check(has_paid)).otherwise(deny());
/// assert!(policy.explain(Action::Connect, None).is_checked());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whether a client may",
    note = "a check returns `bool`, or `Result<bool, E>` whose error has a text: `E: Display`"
)]
pub trait CheckOutput: Send {
    /// Says whether the client may, or why that could not be found out.
    ///
    /// # Errors
    ///
    /// The text for the log; the client is denied.
    fn into_answer(self) -> Result<bool, String>;
}

impl CheckOutput for bool {
    fn into_answer(self) -> Result<bool, String> {
        Ok(self)
    }
}

impl<E: fmt::Display + Send> CheckOutput for Result<bool, E> {
    fn into_answer(self) -> Result<bool, String> {
        self.map_err(|error| error.to_string())
    }
}

impl Rule {
    /// Keeps each answer of a [`check`] for `time`, per session and destination, so that the function is not called for
    /// every frame. A session keeps at most 64 answers; the oldest gives way.
    ///
    /// * A subscription that the check permitted is **checked again when its time is over**, and so on while it lives. It
    ///   ends if the answer is then no: the client receives what a denied SUBSCRIBE receives.
    /// * [`Registry::recheck_user`](crate::Registry::recheck_user) drops the answers and checks at once.
    /// * What is kept is the answer for a user and a destination: a check that looks at headers or at the body of a message
    ///   should not be cached. An answer that failed is not kept.
    ///
    /// `build()` reports a rule with kept answers that is no check, or is for CONNECT, which is asked once.
    ///
    /// # Example: members of a room, looked up once in a minute
    ///
    /// ```
    /// use std::time::Duration;
    /// use tramline::policy::{Action, Policy, check, deny};
    /// use tramline::{Path, User};
    ///
    /// async fn is_member(user: User, Path(room): Path<u32>) -> bool {
    ///     room == 7 && user.name() == "alice"
    /// }
    ///
    /// let policy = Policy::builder()
    ///     .on_destination("/topic/rooms/{room}", check(is_member).cached_for(Duration::from_secs(60)))
    ///     .otherwise(deny());
    /// let decision = policy.explain(Action::Subscribe("/topic/rooms/7"), None);
    /// assert!(decision.is_checked() && decision.rule().ends_with("is_member, kept for 60s"));
    /// ```
    #[must_use]
    pub fn cached_for(mut self, time: Duration) -> Self {
        self.cached = Some(time);
        self
    }

    /// The time for which the answers of this check are kept.
    pub(super) fn cached(&self) -> Option<Duration> {
        self.cached
    }

    /// Why its answers cannot be kept so.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        match (self.cached?, self.check()) {
            (_, None) => Some("only the answer of a check is kept"),
            (Duration::ZERO, _) => {
                Some("an answer is kept for longer than 0; leave `cached_for` out")
            }
            _ => None,
        }
    }

    /// Whether `user` may; `None` where a check decides.
    pub(super) fn permits(&self, user: Option<&User>) -> Option<bool> {
        match &self.kind {
            Kind::Permit => Some(true),
            Kind::Deny => Some(false),
            Kind::Authenticated => Some(user.is_some()),
            Kind::Anonymous => Some(user.is_none()),
            Kind::Role(role) => Some(user.is_some_and(|user| user.has_role(role))),
            Kind::AnyRole(roles) => {
                Some(user.is_some_and(|user| roles.iter().any(|role| user.has_role(role))))
            }
            Kind::Check { .. } => None,
        }
    }

    /// Returns true if nobody may.
    pub(super) fn denies_all(&self) -> bool {
        matches!(&self.kind, Kind::Deny)
    }

    pub(super) fn check(&self) -> Option<&Check> {
        match &self.kind {
            Kind::Check { check, .. } => Some(check),
            _ => None,
        }
    }
}

impl From<Kind> for Rule {
    fn from(kind: Kind) -> Self {
        Self { kind, cached: None }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Permit => f.write_str("permit"),
            Kind::Deny => f.write_str("deny"),
            Kind::Authenticated => f.write_str("authenticated"),
            Kind::Anonymous => f.write_str("anonymous"),
            Kind::Role(role) => write!(f, "role {role:?}"),
            Kind::AnyRole(roles) => {
                let roles: Vec<String> = roles.iter().map(|role| format!("{role:?}")).collect();
                write!(f, "any role of {}", roles.join(", "))
            }
            Kind::Check { name, .. } => write!(f, "check {name}"),
        }?;
        match self.cached {
            Some(time) => write!(f, ", kept for {time:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({self})")
    }
}
