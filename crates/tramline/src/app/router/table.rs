//! The finished routes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use matchit::InsertError;
use tramline_broker::{Separator, Target};

use super::layer::Bound;
use super::route::{Endpoint, Route, RunOptions};
use super::{MessageRouter, OnRejection};
use crate::app::handler::EffectsFuture;
use crate::app::login::ErasedConnect;
use crate::app::publisher::Publisher;
use crate::app::template::{ReplyTo, Template};
#[cfg(feature = "metrics")]
use crate::model::clock::now;
use crate::model::effects::Effects;
#[cfg(feature = "metrics")]
use crate::model::histogram::Histogram;
use crate::model::inbound::Inbound;
use crate::model::rejection::Rejection;
use crate::net::measures::Measures;

/// The handlers of a stack, below its application prefixes.
pub(crate) struct RouteTable {
    separator: Separator,
    /// A table for each kind, so that a fixed path of one kind does not hide captures of the other.
    message: matchit::Router<Ready>,
    subscribe: matchit::Router<Ready>,
    fallback: Option<Ready>,
    connect: Option<ErasedConnect<()>>,
    pub(crate) disconnect: Vec<Ready>,
    /// For messages that no route takes.
    pub(crate) on_rejection: Option<OnRejection>,
    /// What clients need permissions for, or a handler or its replies are of no use.
    pub(crate) needs: Vec<Need>,
    /// The times of the handlers.
    #[cfg(feature = "metrics")]
    pub(crate) times: Vec<HandlerTime>,
}

/// The times of one handler.
#[cfg(feature = "metrics")]
pub(crate) struct HandlerTime {
    /// `message`, `subscribe` or `disconnect`.
    pub(crate) kind: &'static str,
    /// The route's path; empty for handlers without one.
    pub(crate) path: ByteString,
    pub(crate) time: Arc<Histogram>,
}

/// A permission without which a handler is not called, or its reply not received.
pub(crate) struct Need {
    /// The route.
    pub(crate) what: String,
    pub(crate) to: NeedTo,
}

/// What has to be permitted; the texts are patterns.
pub(crate) enum NeedTo {
    /// SEND to this path below an application prefix.
    Send(String),
    /// SUBSCRIBE to this path below an application prefix.
    Subscribe(String),
    /// SUBSCRIBE to this destination, where replies go.
    Receive(String),
    /// SUBSCRIBE to this path below the user prefix, where replies go.
    ReceiveAsUser(String),
}

/// A handler that needs nothing but its message.
pub(crate) struct Ready {
    call: Bound,
    pub(crate) on_rejection: Option<OnRejection>,
    pub(crate) run: RunOptions,
    #[cfg(feature = "metrics")]
    time: Arc<Histogram>,
}

impl Ready {
    /// Calls the handler; its time counts while metrics are collected.
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables))]
    pub(crate) fn call(&self, inbound: Inbound, measures: &Measures) -> EffectsFuture {
        #[cfg(feature = "metrics")]
        if measures.is_on() {
            let time = Arc::clone(&self.time);
            let began = now();
            let future = (self.call)(inbound);
            return Box::pin(async move {
                let _timer = time.timer(began);
                future.await
            });
        }
        (self.call)(inbound)
    }
}

impl RouteTable {
    /// Makes the table, and returns all errors of the routes. Replies go the way of `publisher`; without one, where they
    /// go is not checked.
    pub(crate) fn build(
        router: MessageRouter,
        separator: Separator,
        publisher: Option<&Publisher>,
    ) -> (Self, Vec<String>) {
        let mut builder = Builder {
            separator,
            errors: router.errors,
            on_rejection: router.on_rejection.clone(),
            publisher,
            needs: Vec::new(),
            #[cfg(feature = "metrics")]
            times: Vec::new(),
            added: Vec::new(),
        };
        if router.fallback.is_some() {
            builder.needs.push(Need {
                what: "fallback".into(),
                to: NeedTo::Send("/**".into()),
            });
        }
        let mut connect = router.connect.into_iter();
        let mut table = Self {
            separator,
            message: matchit::Router::new(),
            subscribe: matchit::Router::new(),
            fallback: router
                .fallback
                .map(|endpoint| builder.whole("fallback", "message", endpoint)),
            connect: connect.next().map(|(_, connect)| connect),
            disconnect: Vec::new(),
            on_rejection: router.on_rejection,
            needs: Vec::new(),
            #[cfg(feature = "metrics")]
            times: Vec::new(),
        };
        if connect.next().is_some() {
            builder
                .errors
                .push("two connect handlers: there can be one".into());
        }
        for endpoint in router.disconnect {
            let ready = builder.whole("disconnect", "disconnect", endpoint);
            table.disconnect.push(ready);
        }
        for (path, route) in joined(router.routes, separator) {
            builder.add(&mut table, &path, route);
        }
        table.needs = builder.needs;
        #[cfg(feature = "metrics")]
        {
            table.times = builder.times;
        }
        (table, builder.errors)
    }

    pub(crate) fn connect(&self) -> Option<&ErasedConnect<()>> {
        self.connect.as_ref()
    }

    /// The handler for messages to `path`, the part of the destination below the prefix.
    pub(crate) fn message(&self, path: &str) -> Option<(&Ready, Captures)> {
        self.find(&self.message, path)
            .or_else(|| Some((self.fallback.as_ref()?, Vec::new())))
    }

    /// The handler for subscriptions to `path`.
    pub(crate) fn subscribe(&self, path: &str) -> Option<(&Ready, Captures)> {
        self.find(&self.subscribe, path)
    }

    fn find<'a>(
        &self,
        routes: &'a matchit::Router<Ready>,
        path: &str,
    ) -> Option<(&'a Ready, Captures)> {
        let slashed = slashed(path, self.separator);
        let found = routes.at(&slashed).ok()?;
        // An empty text is no segment: `/rooms//say` has no room.
        if found.params.iter().any(|(_, value)| value.is_empty()) {
            return None;
        }
        let captures = found.params.iter().map(|(name, value)| {
            let value = as_written(value, &slashed, path);
            (name.into(), value.into())
        });
        Some((found.value, captures.collect()))
    }
}

/// The captures of a pattern, by name.
pub(crate) type Captures = Vec<(ByteString, ByteString)>;

/// The text with `/` between its segments, which is how patterns with captures are looked up. Of the same length.
pub(crate) fn slashed(text: &str, separator: Separator) -> Cow<'_, str> {
    match separator {
        Separator::Dot if text.contains('.') => Cow::Owned(text.replace('.', "/")),
        _ => Cow::Borrowed(text),
    }
}

/// The part of `text` at the position of `part` in `slashed`, which was made from `text`.
pub(crate) fn as_written<'a>(part: &str, slashed: &str, text: &'a str) -> &'a str {
    let at = part.as_ptr().addr() - slashed.as_ptr().addr();
    &text[at..at + part.len()]
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouteTable")
    }
}

/// Joins the routes of each path into one, in the order the paths were first added.
fn joined(
    routes: Vec<(ByteString, Route<()>)>,
    separator: Separator,
) -> Vec<(ByteString, Route<()>)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut joined: Vec<(ByteString, Route<()>)> = Vec::new();
    for (path, route) in routes {
        let key = slashed(&path, separator).into_owned();
        match places.get(&key) {
            Some(at) => joined[*at].1.and(route),
            None => {
                places.insert(key, joined.len());
                joined.push((path, route));
            }
        }
    }
    joined
}

struct Builder<'a> {
    separator: Separator,
    errors: Vec<String>,
    on_rejection: Option<OnRejection>,
    publisher: Option<&'a Publisher>,
    needs: Vec<Need>,
    #[cfg(feature = "metrics")]
    times: Vec<HandlerTime>,
    /// The paths so far.
    added: Vec<ByteString>,
}

impl Builder<'_> {
    /// Makes a handler that has no path.
    fn whole(&mut self, what: &str, kind: &'static str, endpoint: Endpoint<()>) -> Ready {
        let mut wrong = Vec::new();
        let replies = endpoint.replies.clone();
        let ready = self.ready(endpoint, &mut wrong, &[]);
        self.time(kind, "", &ready);
        if wrong.is_empty() {
            self.need_replies(what, &replies, &[]);
        }
        self.tell(what, &wrong);
        ready
    }

    fn add(&mut self, table: &mut RouteTable, path: &str, route: Route<()>) {
        let what = format!("route {path:?}");
        let pattern = Pattern::read(path);
        let mut wrong = pattern.errors.clone();
        if path == "/" {
            wrong.push(
                "clients cannot send there: nothing is left of the destination below the application prefix; \
                 name a segment, or nest this router below one"
                    .into(),
            );
        }
        let mut needs = Vec::new();
        let mut replies = Vec::new();
        type Needed = fn(String) -> NeedTo;
        let kinds: [(_, _, _, Needed); 2] = [
            ("message", route.message, &mut table.message, NeedTo::Send),
            (
                "subscribe",
                route.subscribe,
                &mut table.subscribe,
                NeedTo::Subscribe,
            ),
        ];
        for (kind, endpoints, routes, need) in kinds {
            if endpoints.len() > 1 {
                wrong.push(format!("two {kind} handlers"));
            }
            let all = endpoints.iter().flat_map(|endpoint| &endpoint.replies);
            replies.extend(all.cloned());
            // All of them, so that errors of a second one are reported as well.
            let ready: Vec<Ready> = endpoints
                .into_iter()
                .map(|endpoint| self.ready(endpoint, &mut wrong, &pattern.captures))
                .collect();
            let Some(first) = ready.into_iter().next() else {
                continue;
            };
            needs.push(need(covering(path, &[])));
            self.time(kind, path, &first);
            let inserted = routes.insert(slashed(path, self.separator), first);
            // Errors of an invalid pattern have been reported already, in clearer words.
            match inserted {
                Err(InsertError::Conflict { with }) => {
                    let mut added = self.added.iter();
                    let with = added
                        .find(|path| slashed(path, self.separator) == with)
                        .map_or(&*with, |path| path);
                    wrong.push(format!(
                        "it would take the same destinations as route {with:?}; keep one of them"
                    ));
                }
                Err(error) if pattern.errors.is_empty() => wrong.push(in_our_words(&error)),
                _ => {}
            }
        }
        if wrong.is_empty() {
            let what = || what.clone();
            let needs = needs.into_iter().map(|to| Need { what: what(), to });
            self.needs.extend(needs);
            self.need_replies(&what(), &replies, &tails(path));
        }
        self.added.push(path.into());
        self.tell(&what, &wrong);
    }

    /// Lists the times of a handler.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, clippy::unused_self)
    )]
    fn time(&mut self, kind: &'static str, path: &str, ready: &Ready) {
        #[cfg(feature = "metrics")]
        self.times.push(HandlerTime {
            kind,
            path: path.into(),
            time: Arc::clone(&ready.time),
        });
    }

    /// Adds each error once, though both kinds of handlers have it.
    fn tell(&mut self, what: &str, wrong: &[String]) {
        for (at, error) in wrong.iter().enumerate() {
            if !wrong[..at].contains(error) {
                self.errors.push(format!("{what}: {error}"));
            }
        }
    }

    /// Notes that clients have to be able to subscribe to where replies go. `tails` are captures of several segments.
    fn need_replies(&mut self, what: &str, replies: &[ReplyTo], tails: &[&str]) {
        let needs = replies.iter().map(|reply| Need {
            what: what.to_owned(),
            to: match reply {
                ReplyTo::Destination(text) => NeedTo::Receive(covering(text, tails)),
                ReplyTo::User(text) | ReplyTo::Session(text) => {
                    NeedTo::ReceiveAsUser(covering(text, tails))
                }
            },
        });
        self.needs.extend(needs);
    }

    /// Returns why nobody can receive a reply.
    fn wrong_reply(&self, reply: &ReplyTo, fixed: &str) -> Option<String> {
        let publisher = self.publisher?;
        match reply {
            ReplyTo::Destination(_) => publisher.wrong_destination(fixed),
            ReplyTo::User(path) | ReplyTo::Session(path) => publisher.wrong_user_path(path),
        }
    }

    /// Combines a handler with its replies' targets and its layers.
    fn ready(
        &self,
        endpoint: Endpoint<()>,
        wrong: &mut Vec<String>,
        captures: &[ByteString],
    ) -> Ready {
        let mut templates = Vec::new();
        for reply in &endpoint.replies {
            let fixed = reply.text().split('{').next().unwrap_or_default();
            match Template::parse(reply, captures) {
                Ok(template) => {
                    let dots = self.separator == Separator::Slash
                        && matches!(reply, ReplyTo::Destination(_))
                        && self
                            .publisher
                            .is_some_and(|to| to.separator(fixed) == Separator::Dot);
                    templates.push(if dots {
                        template.without_dots()
                    } else {
                        template
                    });
                }
                Err(error) => wrong.push(error.to_string()),
            }
            wrong.extend(self.wrong_reply(reply, fixed));
        }
        let handler = endpoint.handler;
        // Targets are known before the handler runs, so that a message whose captures make no destination is refused
        // without side effects.
        let innermost: Bound = Arc::new(move |message| {
            let targets: Result<Vec<Target>, Rejection> = templates
                .iter()
                .map(|template| template.expand(&message))
                .collect();
            match targets {
                Ok(targets) => handler(message, (), targets),
                Err(rejection) => Box::pin(std::future::ready(Effects::rejected(rejection))),
            }
        });
        let layers = endpoint.layers.iter();
        Ready {
            call: layers.fold(innermost, |inner, layer| layer(inner)),
            on_rejection: endpoint.on_rejection.or_else(|| self.on_rejection.clone()),
            run: endpoint.run,
            #[cfg(feature = "metrics")]
            time: Arc::default(),
        }
    }
}

/// The names of the captures that take all that is left of a path.
fn tails(path: &str) -> Vec<&str> {
    let names = path.split("{*").skip(1);
    names
        .filter_map(|rest| Some(rest.split_once('}')?.0))
        .collect()
}

/// A pattern for all that a text with captures can be, or more. `tails` are captures of several segments.
fn covering(text: &str, tails: &[&str]) -> String {
    let mut pattern = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        pattern.push_str(before);
        if name.starts_with('*') || tails.contains(&name) {
            pattern.push_str(if before.ends_with('/') { "**" } else { "*/**" });
            return pattern;
        }
        pattern.push('*');
        rest = after;
    }
    pattern + rest
}

/// The text of an error of the table's.
pub(crate) fn in_our_words(error: &InsertError) -> String {
    match error {
        InsertError::InvalidParamSegment => {
            "a segment has one capture, with text only in front of it".into()
        }
        InsertError::InvalidParam => "a capture is a name in braces, as `{name}`".into(),
        InsertError::InvalidCatchAll => {
            "`{*name}` captures all that is left, so it is a segment of its own, the last one"
                .into()
        }
        error => error.to_string(),
    }
}

/// The names that `path` captures.
pub(crate) fn captures(path: &str) -> Result<Vec<ByteString>, String> {
    let pattern = Pattern::read(path);
    match pattern.errors.is_empty() {
        true => Ok(pattern.captures),
        false => Err(pattern.errors.join("; ")),
    }
}

/// The captures and errors of a path, as far as it can be parsed.
#[derive(Default)]
struct Pattern {
    captures: Vec<ByteString>,
    errors: Vec<String>,
}

impl Pattern {
    fn read(path: &str) -> Self {
        let mut pattern = Self::default();
        if !path.starts_with('/') {
            pattern.errors.push("a path begins with `/`".into());
        }
        for segment in path.split('/') {
            pattern.segment(segment);
        }
        pattern
    }

    fn segment(&mut self, segment: &str) {
        if let Some(name) = segment.strip_prefix(':') {
            let error = format!("captures are written {{{name}}}, not :{name}");
            self.errors.push(error);
            return self.capture(name);
        }
        let mut rest = segment;
        while let Some((before, after)) = rest.split_once('{') {
            self.text(before);
            let Some((name, after)) = after.split_once('}') else {
                self.errors.push("unclosed `{`".into());
                return self.capture(after);
            };
            let typed = name.split_once(':');
            if typed.is_some() {
                self.errors.push(format!(
                    "{{{name}}}: a capture is a name; take its value by `Path` of a type that checks it"
                ));
            }
            let name = typed.map_or(name, |(name, _)| name);
            self.capture(name.trim_start_matches('*'));
            rest = after;
        }
        self.text(rest);
    }

    fn capture(&mut self, name: &str) {
        if self.captures.iter().any(|known| known == name) {
            self.errors.push(format!(
                "{{{name}}} is there twice; each capture has a name of its own"
            ));
        } else {
            self.captures.push(name.into());
        }
    }

    /// Refuses wildcards in the text around captures; only subscriptions have them.
    fn text(&mut self, text: &str) {
        if text.contains(['*', '?']) {
            self.errors.push(format!(
                "{text:?}: there are no wildcards here; `{{name}}` captures one segment, and `{{*name}}` all that is left"
            ));
        }
    }
}
