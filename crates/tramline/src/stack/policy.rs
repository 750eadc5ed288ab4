//! Who may connect, send and subscribe.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{DestinationError, Pattern, Separator};

use super::prefix::below;
use crate::model::user::User;

/// The rules that decide what clients may do: nothing that a client sends reaches a handler or a broker otherwise.
///
/// A policy is a list. For each frame the rules of its kind are asked in the order they were written, and **the first
/// that matches decides**; [`otherwise`](PolicyBuilder::otherwise) decides the rest, and without saying it there is no
/// policy. What the application itself publishes is not asked.
///
/// Patterns are those of [`Pattern`]. A *subscription* to a pattern is permitted only by a rule that covers all it
/// could receive: its text is compared segment by segment with the rule's, separated as the
/// [broker](tramline_broker::Separator) separates what the rule is for, so a rule for `/topic/public/**` permits
/// subscribing to `/topic/public/*` but not to `/topic/**`; and a denying rule in front counts for every subscription
/// that could receive what it denies.
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
    pub(crate) mistakes: Vec<DestinationError>,
}

/// A rule, and what it is for.
#[derive(Clone, Debug)]
struct Entry {
    /// The pattern as it was written: how it is read depends on what separates its segments.
    written: ByteString,
    pattern: Pattern,
    rule: Rule,
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
            mistakes: Vec::new(),
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
            match self.reading.pattern(&entry.written) {
                Ok(pattern) => entry.pattern = pattern,
                Err(mistake) => self.mistakes.push(mistake),
            }
        }
        self
    }

    /// What the policy says about an action of `user` (`None`: anonymous), and by which rule.
    ///
    /// For tests and logs; sessions are judged by the same code. Where a broker or the application's prefixes have `.`
    /// between segments, ask [`Messaging::policy`](crate::Messaging::policy): a policy that belongs to no stack yet takes
    /// `/` for the only separator.
    pub fn explain(&self, action: Action<'_>, user: Option<&User>) -> Decision {
        match action {
            Action::Connect => self.decide(
                self.connect.as_ref().map(|rule| ("connect".into(), rule)),
                user,
            ),
            Action::Message(destination) => {
                let first = self.first_for_message(destination);
                let first = first.map(|entry| (format!("message {}", entry.pattern), &entry.rule));
                self.decide(first, user)
            }
            Action::Subscribe(pattern) => match self.reading.pattern(pattern) {
                Ok(pattern) => self.explain_subscribe(&pattern, user),
                Err(error) => Decision {
                    permitted: false,
                    rule: error.to_string(),
                },
            },
        }
    }

    fn first_for_message(&self, destination: &str) -> Option<&Entry> {
        let destination = self.reading.canonical(destination);
        let mut entries = self.message.iter();
        entries.find(|entry| entry.pattern.matches(&destination))
    }

    fn explain_subscribe(&self, wanted: &Pattern, user: Option<&User>) -> Decision {
        // A rule for a part of what is wanted can deny it, but not permit the rest.
        let first = self.subscribe.iter().find(|Entry { pattern, rule, .. }| {
            pattern.covers(wanted) || (!rule.permits(user) && pattern.overlaps(wanted))
        });
        let first = first.map(|entry| (format!("subscribe {}", entry.pattern), &entry.rule));
        self.decide(first, user)
    }

    fn decide(&self, first: Option<(String, &Rule)>, user: Option<&User>) -> Decision {
        let (place, rule) = first.unwrap_or_else(|| ("otherwise".into(), &self.otherwise));
        Decision {
            permitted: rule.permits(user),
            rule: format!("{place}: {rule}"),
        }
    }

    /// Hands `subject` on if the policy permits the action; the hot path of [`Policy::explain`].
    pub(crate) fn authorize<T>(
        &self,
        action: Action<'_>,
        user: Option<&User>,
        subject: T,
    ) -> Result<Authorized<T>, Decision> {
        if let Action::Message(destination) = action {
            let first = self.first_for_message(destination);
            let rule = first.map_or(&self.otherwise, |entry| &entry.rule);
            if rule.permits(user) {
                return Ok(Authorized(subject));
            }
        }
        let decision = self.explain(action, user);
        if decision.permitted {
            Ok(Authorized(subject))
        } else {
            Err(decision)
        }
    }
}

impl Entry {
    fn new(written: ByteString, rule: Rule) -> Result<Self, DestinationError> {
        Ok(Self {
            pattern: Pattern::parse(written.clone())?,
            written,
            rule,
        })
    }

    fn reaches_into(&self, prefix: &str) -> bool {
        let everything = Pattern::parse(format!("{prefix}/**"));
        below(&self.written, prefix).is_none()
            && everything.is_ok_and(|everything| self.pattern.overlaps(&everything))
    }
}

impl Reading {
    /// What a text means here, as a pattern.
    fn pattern(&self, text: &str) -> Result<Pattern, DestinationError> {
        let text = self.canonical(text);
        let separator = (self.separator)(&text);
        Pattern::parse_separated(text.into_owned(), separator)
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
        match Entry::new(pattern.into(), rule) {
            Ok(entry) => self.0.message.push(entry),
            Err(mistake) => self.0.mistakes.push(mistake),
        }
        self
    }

    /// Who may SUBSCRIBE to what `pattern` covers.
    pub fn on_subscribe(mut self, pattern: impl Into<ByteString>, rule: Rule) -> Self {
        match Entry::new(pattern.into(), rule) {
            Ok(entry) => self.0.subscribe.push(entry),
            Err(mistake) => self.0.mistakes.push(mistake),
        }
        self
    }

    /// Decides whatever no rule matched, and finishes the policy. [`deny()`] is the safe choice.
    ///
    /// A pattern that cannot be read is reported by [`MessagingBuilder::build`](crate::MessagingBuilder::build),
    /// together with all other mistakes.
    pub fn otherwise(mut self, rule: Rule) -> Policy {
        self.0.otherwise = rule;
        self.0
    }
}

/// What a matching rule says: made by [`permit`], [`deny`], [`authenticated`] and [`role`].
#[derive(Clone, Debug)]
pub struct Rule(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Permit,
    Deny,
    Authenticated,
    Role(ByteString),
}

/// Everybody may.
pub fn permit() -> Rule {
    Rule(Kind::Permit)
}

/// Nobody may.
pub fn deny() -> Rule {
    Rule(Kind::Deny)
}

/// Sessions that have a user may.
pub fn authenticated() -> Rule {
    Rule(Kind::Authenticated)
}

/// Sessions whose user has the role may.
pub fn role(name: impl Into<ByteString>) -> Rule {
    Rule(Kind::Role(name.into()))
}

impl Rule {
    fn permits(&self, user: Option<&User>) -> bool {
        match &self.0 {
            Kind::Permit => true,
            Kind::Deny => false,
            Kind::Authenticated => user.is_some(),
            Kind::Role(role) => user.is_some_and(|user| user.has_role(role)),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Permit => f.write_str("permit"),
            Kind::Deny => f.write_str("deny"),
            Kind::Authenticated => f.write_str("authenticated"),
            Kind::Role(role) => write!(f, "role {role:?}"),
        }
    }
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Open a session.
    Connect,
    /// SEND to this destination.
    Message(&'a str),
    /// SUBSCRIBE to this destination or pattern.
    Subscribe(&'a str),
}

/// What a policy says about an action, and why.
#[derive(Clone, Debug)]
pub struct Decision {
    permitted: bool,
    rule: String,
}

impl Decision {
    /// Whether the action may go on.
    pub fn is_permitted(&self) -> bool {
        self.permitted
    }

    /// The rule that decided, as text: `message /app/admin/**: role "admin"`.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// Something a client wants that its policy permits.
///
/// Only this module makes one, and what reaches handlers and the broker for clients takes nothing else.
#[derive(Debug)]
pub(crate) struct Authorized<T>(T);

impl<T> Authorized<T> {
    pub(crate) fn into_inner(self) -> T {
        self.0
    }

    pub(crate) fn get(&self) -> &T {
        &self.0
    }
}

impl<T, E> Authorized<Result<T, E>> {
    /// The authorized value, or why there is none.
    pub(crate) fn transpose(self) -> Result<Authorized<T>, E> {
        self.0.map(Authorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(policy: &Policy, action: Action<'_>, user: Option<&User>) -> bool {
        let explained = policy.explain(action, user).is_permitted();
        assert_eq!(
            policy.authorize(action, user, ()).is_ok(),
            explained,
            "one judgement"
        );
        explained
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
