//! Access rules for CONNECT, SEND and SUBSCRIBE.

mod authorized;
mod captures;
mod decision;
mod refusals;
mod review;
mod rule;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{DestinationError, Pattern, Separator};

pub(crate) use self::authorized::{Answer, Asked, Authorized, Intent};
use self::captures::{Captures, starred};
pub(crate) use self::decision::Failure;
pub use self::decision::{Action, Decision};
pub use self::refusals::Refusals;
pub use self::rule::{
    CheckOutput, Rule, authenticated, check, check_with_state, deny, permit, role,
};
use crate::model::panics::caught;
use crate::model::prefix::below;
use crate::model::user::User;

/// The rules that decide what clients may do: nothing that a client sends reaches a handler or a broker otherwise.
///
/// A policy is a list. For each frame the rules of its kind are asked in the order they were written, and **the first
/// that matches decides**; [`otherwise`](PolicyBuilder::otherwise) decides the rest, and without saying it there is no
/// policy. What the application itself publishes is not asked. Rules decide at once, but for a [`check`]: an async function.
///
/// Patterns are those of [`Pattern`], and `{name}` is a `*` whose text a [`check`] can take by [`Path`](crate::Path). A
/// *subscription* to a pattern is permitted only by a rule that covers all it
/// could receive: its text is compared segment by segment with the rule's, separated as the
/// [broker](tramline_broker::Separator) separates what the rule is for, so a rule for `/topic/public/**` permits
/// subscribing to `/topic/public/*` but not to `/topic/**`; and a denying rule in front counts for every subscription
/// that could receive what it denies.
///
/// One subscription needs no rule: where no rule for it denies or covers it, every client may subscribe to
/// `/user/queue/errors`, for the notices of its own [rejected](crate::Rejection) messages.
///
/// A denied client hears an ERROR that names the frame and the destination, and is closed with 1002.
///
/// # Example: first match decides
///
/// ```
/// use tramline::policy::{Action, Policy, authenticated, deny, permit, role};
/// use tramline::User;
///
/// let policy = Policy::builder()
///     .on_message("/app/admin/**", role("admin"))
///     .on_message("/app/**", authenticated())
///     .on_subscribe("/topic/**", permit())
///     .otherwise(deny());
///
/// let alice = User::new("alice");
/// assert!(policy.explain(Action::Message("/app/hello"), Some(&alice)).is_permitted());
/// assert!(!policy.explain(Action::Message("/app/admin/reset"), Some(&alice)).is_permitted());
/// assert!(!policy.explain(Action::Message("/topic/news"), Some(&alice)).is_permitted());
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    connect: Option<Rule>,
    message: Vec<Entry>,
    subscribe: Vec<Entry>,
    otherwise: Rule,
    reading: Reading,
    /// Whether a check decides about some SENDs.
    checks_sends: bool,
    pub(crate) errors: Vec<String>,
}

/// A rule, and what it is for.
#[derive(Clone, Debug)]
struct Entry {
    /// The pattern as it was written: how it is read depends on what separates its segments.
    written: ByteString,
    pattern: Pattern,
    captures: Captures,
    rule: Rule,
}

/// The rule that decides about an action.
#[derive(Clone, Copy)]
struct Judged<'a> {
    /// `connect`, `message`, `subscribe` or `otherwise`.
    kind: &'static str,
    entry: Option<&'a Entry>,
    rule: &'a Rule,
    /// The rule is a check, and the subscription is one that a check cannot decide about.
    is_pattern: bool,
}

/// How the texts of rules and of what is asked for are read.
#[derive(Clone)]
struct Reading {
    /// Prefixes below which `.` is the same as `/`.
    dotted: Vec<ByteString>,
    /// What separates the segments of a text.
    separator: Arc<dyn Fn(&str) -> Separator + Send + Sync>,
}

impl Policy {
    /// Begins a list of rules.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder(Self {
            connect: None,
            message: Vec::new(),
            subscribe: Vec::new(),
            otherwise: deny(),
            reading: Reading {
                dotted: Vec::new(),
                separator: Arc::new(|_| Separator::Slash),
            },
            checks_sends: false,
            errors: Vec::new(),
        })
    }

    /// The patterns with dots that have destinations below one of the prefixes without naming it.
    pub(crate) fn dots_between<'a>(
        &'a self,
        prefixes: &'a [ByteString],
    ) -> impl Iterator<Item = &'a str> {
        let rules = self.message.iter().chain(&self.subscribe);
        rules
            .filter(|entry| entry.written.contains('.'))
            .filter(move |entry| prefixes.iter().any(|prefix| entry.reaches_into(prefix)))
            .map(|entry| &*entry.written)
    }

    /// The same rules, with the segments of each pattern, and of what is asked for, separated as the broker has it; below
    /// the prefixes `dotted` handlers take `.` and `/` for the same, and so do the rules.
    pub(crate) fn separated(
        mut self,
        dotted: Vec<ByteString>,
        separator: impl Fn(&str) -> Separator + Send + Sync + 'static,
    ) -> Self {
        self.reading = Reading {
            dotted,
            separator: Arc::new(separator),
        };
        for entry in self.message.iter_mut().chain(&mut self.subscribe) {
            match self.reading.rule(&entry.written) {
                Ok((pattern, captures)) => {
                    entry.pattern = pattern;
                    entry.captures = captures;
                }
                Err(error) => self.errors.push(error),
            }
        }
        self
    }

    /// What the policy says about an action of `user` (`None`: anonymous), and by which rule.
    ///
    /// For tests and logs; sessions are judged by the same code. A [`check`] is not called: the decision names it and
    /// [says so](Decision::is_checked). Where a broker or the application's prefixes have `.`
    /// between segments, ask [`Messaging::policy`](crate::Messaging::policy): a policy that belongs to no stack yet takes
    /// `/` for the only separator.
    pub fn explain(&self, action: Action<'_>, user: Option<&User>) -> Decision {
        match self.judge(action, user) {
            Ok(judged) => judged.decision(user),
            Err(error) => Decision::new(Some(false), error.to_string()),
        }
    }

    /// Asks the policy whether the session of `intent` may have it.
    ///
    /// A rule that decides at once costs no allocation to permit.
    pub(crate) fn authorize<I: Intent>(&self, intent: I) -> Answer<I::Permitted> {
        let user = intent.session().user();
        let judged = match self.judge(intent.action(), user.as_ref()) {
            Ok(judged) => judged,
            Err(error) => {
                let decision = Decision::new(Some(false), error.to_string());
                return Answer::Now(Err(decision));
            }
        };
        match judged.rule.check() {
            None if judged.rule.permits(user.as_ref()) == Some(true) => {
                Answer::Now(Ok(Authorized::new(intent)))
            }
            None => Answer::Now(Err(judged.decision(user.as_ref()))),
            Some(check) => self.start(check, judged, intent),
        }
    }

    /// Starts a check.
    #[cold]
    fn start<I: Intent>(
        &self,
        check: &rule::Check,
        judged: Judged<'_>,
        intent: I,
    ) -> Answer<I::Permitted> {
        let decision = judged.decision(None);
        if !decision.is_checked() {
            return Answer::Now(Err(decision));
        }
        let mut frame = intent.frame();
        if let (Some(entry), Action::Message(destination) | Action::Subscribe(destination)) =
            (judged.entry, intent.action())
        {
            let destination = self.reading.canonical(destination);
            match entry.captures.values(&destination) {
                Ok(values) => frame.captures = values,
                Err(name) => {
                    let reason = format!("{{{name}}} of the rule is empty there");
                    return Answer::Now(Err(decision.denied_because(reason)));
                }
            }
        }
        // The function and its state are the application's, down to their `Clone`.
        match caught(|| check(frame)) {
            Ok(check) => Answer::Later(Asked::new(check, intent, decision)),
            Err(panic) => Answer::Now(Err(decision.failed(Failure::of_panic(&panic)))),
        }
    }

    /// Returns whether a check decides about a SEND to `destination`.
    pub(crate) fn checks_send(&self, destination: &str) -> bool {
        self.checks_sends && {
            let first = self.first_for_message(destination);
            let rule = first.map_or(&self.otherwise, |entry| &entry.rule);
            rule.check().is_some()
        }
    }

    /// Finds the rule that decides.
    fn judge(
        &self,
        action: Action<'_>,
        user: Option<&User>,
    ) -> Result<Judged<'_>, DestinationError> {
        let (kind, entry, wanted) = match action {
            Action::Connect => {
                return Ok(match &self.connect {
                    Some(rule) => Judged::by("connect", None, rule),
                    None => Judged::by("otherwise", None, &self.otherwise),
                });
            }
            Action::Message(destination) => ("message", self.first_for_message(destination), None),
            Action::Subscribe(pattern) => {
                let wanted = self.reading.pattern(pattern)?;
                let first = self.first_for_subscribe(&wanted, user);
                ("subscribe", first, Some(wanted))
            }
        };
        let mut judged = match entry {
            Some(entry) => Judged::by(kind, Some(entry), &entry.rule),
            None => Judged::by("otherwise", None, &self.otherwise),
        };
        if let Some(wanted) = wanted
            && judged.rule.check().is_some()
        {
            let covers = entry.is_none_or(|entry| entry.pattern.covers(&wanted));
            judged.is_pattern = !covers || wanted.as_destination().is_none();
        }
        Ok(judged)
    }

    fn first_for_message(&self, destination: &str) -> Option<&Entry> {
        let destination = self.reading.canonical(destination);
        let mut entries = self.message.iter();
        entries.find(|entry| entry.pattern.matches(&destination))
    }

    fn first_for_subscribe(&self, wanted: &Pattern, user: Option<&User>) -> Option<&Entry> {
        // A rule for a part of what is wanted can deny it, as a check may, but not permit the rest.
        self.subscribe.iter().find(|Entry { pattern, rule, .. }| {
            pattern.covers(wanted) || (rule.permits(user) != Some(true) && pattern.overlaps(wanted))
        })
    }
}

impl<'a> Judged<'a> {
    fn by(kind: &'static str, entry: Option<&'a Entry>, rule: &'a Rule) -> Self {
        Self {
            kind,
            entry,
            rule,
            is_pattern: false,
        }
    }

    fn decision(&self, user: Option<&User>) -> Decision {
        let Self {
            kind, entry, rule, ..
        } = self;
        let text = match entry {
            Some(entry) => format!("{kind} {}: {rule}", entry.written),
            None => format!("{kind}: {rule}"),
        };
        let decision = Decision::new(rule.permits(user), text);
        match self.is_pattern {
            true => decision.denied_because(
                "a check decides about one destination, and this is a pattern".into(),
            ),
            false => decision,
        }
    }
}

impl Entry {
    fn new(written: ByteString, rule: Rule) -> Result<Self, String> {
        let pattern = starred(&written)?.into_owned();
        Ok(Self {
            pattern: Pattern::parse(pattern).map_err(|error| error.to_string())?,
            // What separates the segments is not known yet.
            captures: Captures::default(),
            written,
            rule,
        })
    }

    /// Returns true if the pattern covers something below `prefix`.
    fn reaches(&self, prefix: &str) -> bool {
        let everything = Pattern::parse(format!("{prefix}/**"));
        everything.is_ok_and(|everything| self.pattern.overlaps(&everything))
    }

    fn reaches_into(&self, prefix: &str) -> bool {
        below(&self.written, prefix).is_none() && self.reaches(prefix)
    }
}

impl Reading {
    /// What a text means here, as a pattern.
    fn pattern(&self, text: &str) -> Result<Pattern, DestinationError> {
        let text = self.canonical(text);
        let separator = (self.separator)(&text);
        Pattern::parse_separated(text.into_owned(), separator)
    }

    /// What the text of a rule means here.
    fn rule(&self, written: &str) -> Result<(Pattern, Captures), String> {
        let text = self.canonical(written);
        let starred = starred(&text)?;
        let separator = (self.separator)(&starred);
        let captures = Captures::find(&text, separator)?;
        let pattern = Pattern::parse_separated(starred.into_owned(), separator);
        Ok((pattern.map_err(|error| error.to_string())?, captures))
    }

    /// The text with `/` for each `.` that separates below one of the prefixes.
    fn canonical<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let path = self.dotted.iter().find_map(|prefix| below(text, prefix));
        match path {
            Some(path) if path.contains('.') => {
                let prefix = &text[..text.len() - path.len()];
                Cow::Owned(prefix.to_owned() + &path.replace('.', "/"))
            }
            _ => Cow::Borrowed(text),
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("dotted", &self.dotted)
            .finish_non_exhaustive()
    }
}

/// Makes a [`Policy`]; [`otherwise`](Self::otherwise) finishes it.
#[derive(Clone, Debug)]
#[must_use = "finish the policy with `otherwise`"]
pub struct PolicyBuilder(Policy);

impl PolicyBuilder {
    /// Who may open a session. Without it, `otherwise` decides.
    pub fn on_connect(mut self, rule: Rule) -> Self {
        self.0.connect = Some(rule);
        self
    }

    /// Who may SEND to destinations that `pattern` covers.
    pub fn on_message(mut self, pattern: impl Into<ByteString>, rule: Rule) -> Self {
        self.0.checks_sends |= rule.check().is_some();
        match Entry::new(pattern.into(), rule) {
            Ok(entry) => self.0.message.push(entry),
            Err(error) => self.0.errors.push(error),
        }
        self
    }

    /// Who may SUBSCRIBE to what `pattern` covers.
    pub fn on_subscribe(mut self, pattern: impl Into<ByteString>, rule: Rule) -> Self {
        match Entry::new(pattern.into(), rule) {
            Ok(entry) => self.0.subscribe.push(entry),
            Err(error) => self.0.errors.push(error),
        }
        self
    }

    /// Decides whatever no rule matched, and finishes the policy. [`deny()`] is the safe choice.
    ///
    /// A pattern that cannot be read is reported by [`MessagingBuilder::build`](crate::MessagingBuilder::build),
    /// together with all other errors.
    pub fn otherwise(mut self, rule: Rule) -> Policy {
        self.0.checks_sends |= rule.check().is_some();
        self.0.otherwise = rule;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::task::{Context, Poll, Waker};

    use tramline_broker::SessionId;

    use super::*;
    use crate::app::extract::Path;
    use crate::model::disconnected::{DisconnectCause, Disconnected};
    use crate::model::inbound::{Cause, Inbound, SessionInfo, SessionRecord};
    use crate::model::user::Handshake;

    fn session(user: Option<&User>) -> Arc<SessionRecord> {
        let info = SessionInfo {
            id: SessionId::random(),
            user: user.cloned(),
            handshake: Handshake::default(),
        };
        Arc::new(SessionRecord::new(info, Weak::new()))
    }

    fn authorize(policy: &Policy, action: Action<'_>, user: Option<&User>) -> Answer<Inbound> {
        let (cause, destination) = match action {
            Action::Message(destination) => (Cause::Message, destination),
            Action::Subscribe(pattern) => (Cause::Subscribe, pattern),
            Action::Connect => {
                let disconnected = Disconnected {
                    cause: DisconnectCause::Client,
                    code: 1000,
                    reason: "".into(),
                };
                (Cause::Disconnect(Arc::new(disconnected)), "")
            }
        };
        policy.authorize(Inbound::new(session(user), cause, destination.into()))
    }

    fn permits(policy: &Policy, action: Action<'_>, user: Option<&User>) -> bool {
        let explained = policy.explain(action, user);
        match authorize(policy, action, user) {
            Answer::Now(answer) => {
                assert_eq!(answer.is_ok(), explained.is_permitted(), "one judgement");
                assert!(!explained.is_checked());
            }
            Answer::Later(_) => panic!("{explained:?}"),
        }
        explained.is_permitted()
    }

    /// Lets a check decide, which must not wait for anything.
    fn asked(policy: &Policy, action: Action<'_>, user: Option<&User>) -> Result<(), Decision> {
        let explained = policy.explain(action, user);
        let answer = match authorize(policy, action, user) {
            Answer::Now(answer) => answer,
            Answer::Later(mut asked) => {
                assert!(explained.is_checked() && !explained.is_permitted());
                let Poll::Ready(answer) = asked.poll(&mut Context::from_waker(Waker::noop()))
                else {
                    panic!("it waits")
                };
                answer
            }
        };
        answer.map(|permitted| {
            let permitted = permitted.into_inner();
            assert!(
                permitted.captures.is_empty(),
                "the rule's captures are for its check"
            );
        })
    }

    async fn is_member(user: User, Path(room): Path<u32>) -> Result<bool, &'static str> {
        match room {
            0 => Err("the database is away"),
            13 => panic!("asked to panic"),
            room => Ok(user.has_role(&room.to_string())),
        }
    }

    #[test]
    fn a_check_decides_and_what_it_cannot_decide_is_denied() {
        let policy = Policy::builder()
            .on_message("/app/rooms/lobby/**", permit())
            .on_message("/app/rooms/{room}/**", check(is_member))
            .on_subscribe("/topic/rooms/{room}", check(is_member))
            .otherwise(permit())
            .separated(Vec::new(), |_| Separator::Slash);
        let alice = User::new("alice").with_roles(["7"]);
        let alice = Some(&alice);
        assert!(permits(
            &policy,
            Action::Message("/app/rooms/lobby/say"),
            None
        ));
        for (destination, failure) in [
            ("/app/rooms/8/say", None),
            (
                "/app/rooms/x/say",
                Some("{room} is \"x\": invalid digit found in string"),
            ),
            ("/app/rooms/0/say", Some("the database is away")),
            ("/app/rooms/13/say", Some("asked to panic")),
        ] {
            let denied = asked(&policy, Action::Message(destination), alice).unwrap_err();
            assert!(!denied.is_checked() && !denied.is_permitted());
            assert_eq!(
                denied.failure().map(ToString::to_string).as_deref(),
                failure
            );
            let rule =
                "message /app/rooms/{room}/**: check tramline::stack::policy::tests::is_member";
            assert_eq!((denied.rule(), denied.reason()), (rule, None));
        }
        let anonymous = asked(&policy, Action::Message("/app/rooms/7/say"), None).unwrap_err();
        assert!(anonymous.failure().is_some_and(Failure::is_clients));
        let empty = asked(&policy, Action::Message("/app/rooms//say"), alice).unwrap_err();
        assert_eq!(empty.reason(), Some("{room} of the rule is empty there"));
        asked(&policy, Action::Message("/app/rooms/7/say"), alice).unwrap();
        asked(&policy, Action::Subscribe("/topic/rooms/7"), alice).unwrap();
    }

    #[test]
    fn a_check_decides_about_one_destination() {
        let policy = Policy::builder()
            .on_subscribe("/topic/rooms/open/**", permit())
            .on_subscribe("/topic/rooms/{room}", check(is_member))
            .on_subscribe("/topic/**", permit())
            .otherwise(check(async || true))
            .separated(Vec::new(), |_| Separator::Slash);
        for pattern in [
            "/topic/rooms/*",
            "/topic/*/7",
            "/topic/**",
            "/**",
            "/queue/*",
        ] {
            let denied = asked(&policy, Action::Subscribe(pattern), None).unwrap_err();
            let why = "a check decides about one destination, and this is a pattern";
            assert_eq!(denied.reason(), Some(why), "{pattern}");
            assert!(
                !policy
                    .explain(Action::Subscribe(pattern), None)
                    .is_checked()
            );
        }
        assert!(permits(
            &policy,
            Action::Subscribe("/topic/rooms/open/*"),
            None
        ));
        assert!(permits(&policy, Action::Subscribe("/topic/news/*"), None));
        asked(&policy, Action::Subscribe("/queue/jobs"), None).unwrap();
        assert!(policy.checks_send("/queue/jobs"));
    }

    #[test]
    fn where_dots_separate_captures_are_between_dots() {
        async fn is_it(Path((a, b)): Path<(String, String)>) -> bool {
            (&*a, &*b) == ("x", "y")
        }
        let policy = Policy::builder()
            .on_subscribe("/topic/{a}.{b}", check(is_it))
            .on_message("/app/{a}.{b}", check(is_it))
            .otherwise(deny())
            .separated(vec!["/app".into()], |text| match below(text, "/topic") {
                Some(_) => Separator::Dot,
                None => Separator::Slash,
            });
        assert_eq!(policy.errors, [""; 0]);
        asked(&policy, Action::Subscribe("/topic/x.y"), None).unwrap();
        asked(&policy, Action::Subscribe("/topic/x.z"), None).unwrap_err();
        for destination in ["/app/x.y", "/app/x/y"] {
            asked(&policy, Action::Message(destination), None).unwrap();
        }
    }

    #[test]
    fn the_first_match_decides_and_the_rest_is_otherwise() {
        let policy = Policy::builder()
            .on_message("/app/open", permit())
            .on_message("/app/**", authenticated())
            .on_message("/app/admin/**", permit())
            .otherwise(deny());
        let alice = User::new("alice");
        assert!(permits(&policy, Action::Message("/app/open"), None));
        assert!(
            !permits(&policy, Action::Message("/app/admin/x"), None),
            "an earlier rule decided"
        );
        assert!(permits(
            &policy,
            Action::Message("/app/admin/x"),
            Some(&alice)
        ));
        assert!(!permits(&policy, Action::Message("/topic/x"), Some(&alice)));
        assert!(!permits(&policy, Action::Connect, Some(&alice)));
        let decision = policy.explain(Action::Message("/app/x"), None);
        assert_eq!(decision.rule(), "message /app/**: authenticated");
    }

    #[test]
    fn where_handlers_take_dots_for_slashes_rules_do_too() {
        for rule in [
            "/app/admin/reset",
            "/app/admin.reset",
            "/app/*/reset",
            "/app/*.reset",
        ] {
            let policy = Policy::builder()
                .on_message(rule, deny())
                .on_subscribe(rule, deny())
                .otherwise(permit())
                .separated(vec!["/app".into()], |_| Separator::Slash);
            for destination in ["/app/admin/reset", "/app/admin.reset"] {
                assert!(
                    !permits(&policy, Action::Message(destination), None),
                    "{rule} {destination}"
                );
                assert!(
                    !permits(&policy, Action::Subscribe(destination), None),
                    "{rule} {destination}"
                );
            }
            assert!(permits(&policy, Action::Message("/app/admin.look"), None));
        }
    }

    /// What a subscription means is what the broker takes it for, however it is spelt.
    #[test]
    fn where_dots_separate_stars_get_around_no_rule() {
        let policy = Policy::builder()
            .on_subscribe("/topic/rooms.*.private.*", deny())
            .on_subscribe("/topic/rooms.**", permit())
            .on_subscribe("/topic/public.*.***", permit())
            .on_subscribe("/*/*", permit())
            .otherwise(deny())
            .separated(Vec::new(), |text| match below(text, "/topic") {
                Some(_) => Separator::Dot,
                None => Separator::Slash,
            });
        for wide in [
            "/topic/rooms.**",
            "/topic/rooms.**.***",
            "/topic/rooms.***.**",
            "/topic/rooms.x***.**",
            "/topic/public.**.***",
            "/topic/public.***.**",
            "/topic/else.**",
        ] {
            assert!(!permits(&policy, Action::Subscribe(wide), None), "{wide}");
        }
        for narrow in [
            "/topic/rooms.7",
            "/topic/rooms.*",
            "/topic/public.a.***",
            "/topic/public.***.b",
            "/topic/else.*",
        ] {
            assert!(
                permits(&policy, Action::Subscribe(narrow), None),
                "{narrow}"
            );
        }
    }

    #[test]
    fn a_wide_subscription_does_not_get_around_a_narrow_rule() {
        let policy = Policy::builder()
            .on_subscribe("/topic/secret/**", role("admin"))
            .on_subscribe("/topic/**", permit())
            .otherwise(deny());
        let admin = User::new("root").with_roles(["admin"]);
        for wide in [
            "/topic/**",
            "/topic/*/keys",
            "/topic/secret/*",
            "/topic/s*/**",
            "/**",
        ] {
            assert!(!permits(&policy, Action::Subscribe(wide), None), "{wide}");
        }
        assert!(permits(
            &policy,
            Action::Subscribe("/topic/**"),
            Some(&admin)
        ));
        assert!(
            !permits(&policy, Action::Subscribe("/**"), Some(&admin)),
            "more than any rule covers"
        );
        assert!(permits(&policy, Action::Subscribe("/topic/public/*"), None));
        assert!(!permits(&policy, Action::Subscribe(""), Some(&admin)));
    }
}
