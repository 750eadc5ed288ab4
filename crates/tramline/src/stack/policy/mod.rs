//! Access rules for CONNECT, SEND and SUBSCRIBE.

mod audit;
mod authorized;
mod captures;
mod decision;
mod kept;
mod refusals;
mod review;
mod rule;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;
use tramline_broker::{DestinationError, Pattern, Separator};

pub(crate) use self::audit::Audit;
pub use self::audit::Audited;
pub(crate) use self::authorized::{Answer, Asked, Authorized, Intent};
use self::authorized::{Auditing, Then};
use self::captures::{Captures, starred};
pub(crate) use self::decision::Failure;
pub use self::decision::{Action, Decision};
use self::kept::Place;
pub use self::refusals::Refusals;
pub use self::rule::{
    CheckOutput, Rule, anonymous, any_role, authenticated, check, check_with_state, deny, permit,
    role,
};
use crate::model::clock::now;
use crate::model::inbound::SessionRecord;
use crate::model::panics::caught;
use crate::model::prefix::below;
use crate::model::user::User;

/// The rules that decide what clients may do: nothing that a client sends reaches a handler or a broker otherwise.
///
/// A policy is a list. For each frame the rules of its kind are asked in the order they were written, and **the first
/// that matches decides**; [`otherwise`](PolicyBuilder::otherwise) decides the rest, and without saying it there is no
/// policy. What the application itself publishes is not asked. Rules decide at once, but for a [`check`]: an async function.
/// Frames of other kinds need no rule: UNSUBSCRIBE, ACK and DISCONNECT only concern what the session already has.
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
    /// Whether subscriptions are checked again while they live.
    checks_again: bool,
    audit: Option<Audit>,
    pub(crate) errors: Vec<String>,
}

/// A rule, and what it is for.
#[derive(Clone, Debug)]
struct Entry {
    /// The method of the builder that wrote it.
    call: &'static str,
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
            checks_again: false,
            audit: None,
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

    /// The texts of all rules: of CONNECT, of SEND, of SUBSCRIBE, each in the order in which it was written, and `otherwise`.
    /// They are those of [`Decision::rule`]; `to_string()` has one a line.
    ///
    /// # Example: a table to print, and to test
    ///
    /// ```
    /// use tramline::policy::{Policy, authenticated, deny, permit, role};
    ///
    /// let policy = Policy::builder()
    ///     .on_connect(authenticated())
    ///     .on_message("/app/admin/**", role("admin"))
    ///     .on_destination("/topic/lobby", permit())
    ///     .otherwise(deny());
    /// assert_eq!(
    ///     policy.to_string(),
    ///     r#"connect: authenticated
    /// message /app/admin/**: role "admin"
    /// message /topic/lobby: permit
    /// subscribe /topic/lobby: permit
    /// otherwise: deny
    /// "#
    /// );
    /// ```
    pub fn rules(&self) -> impl Iterator<Item = String> {
        let connect = self.connect.iter();
        let connect = connect.map(|rule| Judged::by("connect", None, rule));
        let of = |kind: &'static str, entries: &'_ [Entry]| {
            let entries = entries.iter();
            let judged = entries.map(move |entry| Judged::by(kind, Some(entry), &entry.rule));
            judged.map(|judged| judged.text()).collect::<Vec<_>>()
        };
        let otherwise = Judged::by("otherwise", None, &self.otherwise).text();
        { connect.map(|judged| judged.text()) }
            .chain(of("message", &self.message))
            .chain(of("subscribe", &self.subscribe))
            .chain([otherwise])
    }

    /// The same rules, with a listener for their decisions.
    pub(crate) fn audited(mut self, audit: Option<Audit>) -> Self {
        self.audit = audit;
        self
    }

    /// Drops the answers that a session keeps of checks.
    pub(crate) fn drop_answers(&self, session: &SessionRecord) {
        if self.checks_again || self.checks_sends {
            kept::drop_all(session);
        }
    }

    /// The time at which a subscription to `destination` that was permitted has to be checked again.
    pub(crate) fn checked_until(
        &self,
        session: &SessionRecord,
        destination: &str,
    ) -> Option<Instant> {
        if !self.checks_again {
            return None;
        }
        let user = session.user();
        let action = Action::Subscribe(destination);
        let time = self.judge(action, user.as_ref()).ok()?.rule.cached()?;
        let until = Place::of(session, action).and_then(|place| place.until());
        Some(until.unwrap_or_else(|| now() + time))
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
                if self.audit.is_some() {
                    self.tell(&intent, &judged.decision(user.as_ref()));
                }
                Answer::Now(Ok(Authorized::new(intent)))
            }
            None => Answer::Now(Err(self.refusal(&intent, judged.decision(user.as_ref())))),
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
            return Answer::Now(Err(self.refusal(&intent, decision)));
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
                    let decision = decision.denied_because(reason);
                    return Answer::Now(Err(self.refusal(&intent, decision)));
                }
            }
        }
        let mut then = Then::default();
        if let Some(time) = judged.rule.cached()
            && let Some(place) = Place::of(intent.session(), intent.action())
        {
            if let Some(is_permitted) = place.find() {
                let decision = decision.answered(is_permitted);
                if !is_permitted {
                    return Answer::Now(Err(self.refusal(&intent, decision)));
                }
                self.tell(&intent, &decision);
                return Answer::Now(Ok(Authorized::new(intent)));
            }
            then.keep = Some((place, time));
        }
        then.audit = self.audit.as_ref().map(|audit| Auditing {
            audit: audit.clone(),
            session: Arc::clone(intent.session()),
            action: intent.action().into(),
        });
        // The function and its state are the application's, down to their `Clone`.
        match caught(|| check(frame)) {
            Ok(check) => Answer::Later(Asked::new(check, intent, decision, then)),
            Err(panic) => {
                let decision = decision.failed(Failure::of_panic(&panic));
                Answer::Now(Err(self.refusal(&intent, decision)))
            }
        }
    }

    /// Tells the listener of a refusal.
    fn refusal(&self, intent: &impl Intent, decision: Decision) -> Decision {
        self.tell(intent, &decision);
        decision
    }

    /// Tells the listener, if there is one.
    #[cold]
    fn tell(&self, intent: &impl Intent, decision: &Decision) {
        if let Some(audit) = &self.audit {
            audit.decided(intent.action(), intent.session(), decision);
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

    fn text(&self) -> String {
        let Self {
            kind, entry, rule, ..
        } = self;
        match entry {
            Some(entry) => format!("{kind} {}: {rule}", entry.written),
            None => format!("{kind}: {rule}"),
        }
    }

    fn decision(&self, user: Option<&User>) -> Decision {
        let decision = Decision::new(self.rule.permits(user), self.text());
        match self.is_pattern {
            true => decision.denied_because(
                "a check decides about one destination, and this is a pattern".into(),
            ),
            false => decision,
        }
    }
}

impl Entry {
    fn new(call: &'static str, written: ByteString, rule: Rule) -> Result<Self, String> {
        let pattern = starred(&written)?.into_owned();
        Ok(Self {
            call,
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

/// [`rules`](Policy::rules), one a line.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules().try_for_each(|rule| writeln!(f, "{rule}"))
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
        if rule.cached().is_some() {
            let error =
                format!("on_connect, {rule}: CONNECT is asked once, so its answer is not kept");
            self.0.errors.push(error);
        }
        self.0.connect = Some(rule);
        self
    }

    /// Who may SEND to destinations that `pattern` covers.
    pub fn on_message(mut self, pattern: impl Into<ByteString>, rule: Rule) -> Self {
        self.add("on_message", true, pattern.into(), rule);
        self
    }

    /// Who may SUBSCRIBE to what `pattern` covers.
    pub fn on_subscribe(mut self, pattern: impl Into<ByteString>, rule: Rule) -> Self {
        self.add("on_subscribe", false, pattern.into(), rule);
        self
    }

    /// Who may SEND and SUBSCRIBE to what `pattern` covers: [`on_message`](Self::on_message) and
    /// [`on_subscribe`](Self::on_subscribe) in one. Spring: `simpDestMatchers`.
    pub fn on_destination(mut self, pattern: impl Into<ByteString>, rule: Rule) -> Self {
        let pattern = pattern.into();
        self.add("on_destination", true, pattern.clone(), rule.clone());
        let errors = self.0.errors.len();
        self.add("on_destination", false, pattern, rule);
        // An invalid pattern is one error.
        self.0.errors.truncate(errors);
        self
    }

    fn add(&mut self, call: &'static str, is_send: bool, pattern: ByteString, rule: Rule) {
        let policy = &mut self.0;
        policy.checks_sends |= is_send && rule.check().is_some();
        policy.checks_again |= !is_send && rule.cached().is_some();
        if let Some(wrong) = rule.wrong() {
            let error = format!("{call}({pattern:?}), {rule}: {wrong}");
            policy.errors.push(error);
        }
        let entries = match is_send {
            true => &mut policy.message,
            false => &mut policy.subscribe,
        };
        match Entry::new(call, pattern, rule) {
            Ok(entry) => entries.push(entry),
            Err(error) => policy.errors.push(error),
        }
    }

    /// Decides whatever no rule matched, and finishes the policy. [`deny()`] is the safe choice.
    ///
    /// A pattern that cannot be read is reported by [`MessagingBuilder::build`](crate::MessagingBuilder::build),
    /// together with all other errors.
    pub fn otherwise(mut self, rule: Rule) -> Policy {
        self.0.checks_sends |= rule.check().is_some();
        self.0.checks_again |= rule.cached().is_some();
        if let Some(wrong) = rule.wrong() {
            self.0.errors.push(format!("otherwise, {rule}: {wrong}"));
        }
        self.0.otherwise = rule;
        self.0
    }
}

#[cfg(test)]
mod tests;
