//! The finished routes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytestring::ByteString;
use tramline_broker::{Separator, Target};

use super::layer::Bound;
use super::route::{Endpoint, Route};
use super::{MessageRouter, OnRejection};
use crate::effects::Effects;
use crate::login::ErasedConnect;
use crate::rejection::Rejection;
use crate::template::{ReplyTo, Template};

/// The handlers of a stack, below its application prefixes.
pub(crate) struct RouteTable {
    separator: Separator,
    routes: matchit::Router<Handlers>,
    fallback: Option<Ready>,
    connect: Option<ErasedConnect<()>>,
    pub(crate) disconnect: Vec<Ready>,
    /// For messages that no route takes.
    pub(crate) on_rejection: Option<OnRejection>,
}

#[derive(Default)]
struct Handlers {
    message: Option<Ready>,
    subscribe: Option<Ready>,
}

/// A handler that needs nothing but its message.
pub(crate) struct Ready {
    pub(crate) call: Bound,
    pub(crate) on_rejection: Option<OnRejection>,
    /// How many may run at once in one session; `None` where each is waited for.
    pub(crate) concurrent: Option<NonZeroUsize>,
}

impl RouteTable {
    /// Makes the table, and tells all that is wrong with the routes; `is_carried` says whether the broker has a
    /// destination, `separated` what is between the segments of one.
    pub(crate) fn build(
        router: MessageRouter,
        separator: Separator,
        is_carried: impl Fn(&str) -> bool,
        separated: impl Fn(&str) -> Separator,
    ) -> (Self, Vec<String>) {
        let mut builder = Builder {
            separator,
            mistakes: router.mistakes,
            on_rejection: router.on_rejection.clone(),
            is_carried: &is_carried,
            separated: &separated,
        };
        let mut connect = router.connect.into_iter();
        let mut table = Self {
            separator,
            routes: matchit::Router::new(),
            fallback: router
                .fallback
                .map(|endpoint| builder.ready(endpoint, "fallback", &[])),
            connect: connect.next().map(|(_, connect)| connect),
            disconnect: Vec::new(),
            on_rejection: router.on_rejection,
        };
        if connect.next().is_some() {
            builder
                .mistakes
                .push("two connect handlers: there can be one".into());
        }
        for endpoint in router.disconnect {
            table
                .disconnect
                .push(builder.ready(endpoint, "disconnect", &[]));
        }
        for (path, route) in joined(router.routes, separator) {
            builder.add(&mut table.routes, &path, route);
        }
        (table, builder.mistakes)
    }

    pub(crate) fn connect(&self) -> Option<&ErasedConnect<()>> {
        self.connect.as_ref()
    }

    /// The handler for messages to `path`, the part of the destination below the prefix.
    pub(crate) fn message(&self, path: &str) -> Option<(&Ready, Captures)> {
        self.find(path, |handlers| handlers.message.as_ref())
            .or_else(|| Some((self.fallback.as_ref()?, Vec::new())))
    }

    /// The handler for subscriptions to `path`.
    pub(crate) fn subscribe(&self, path: &str) -> Option<(&Ready, Captures)> {
        self.find(path, |handlers| handlers.subscribe.as_ref())
    }

    fn find<'a>(
        &'a self,
        path: &str,
        kind: impl Fn(&'a Handlers) -> Option<&'a Ready>,
    ) -> Option<(&'a Ready, Captures)> {
        let slashed = slashed(path, self.separator);
        let found = self.routes.at(&slashed).ok()?;
        // What is empty is no segment: `/rooms//say` has no room.
        if found.params.iter().any(|(_, value)| value.is_empty()) {
            return None;
        }
        let ready = kind(found.value)?;
        let captures = found.params.iter().map(|(name, value)| {
            let value = as_written(value, &slashed, path);
            (name.into(), value.into())
        });
        Some((ready, captures.collect()))
    }
}

/// What a pattern captured, by name.
pub(crate) type Captures = Vec<(ByteString, ByteString)>;

/// The text with `/` between its segments, which is how patterns with captures are looked up. Of the same length.
pub(crate) fn slashed(text: &str, separator: Separator) -> Cow<'_, str> {
    match separator {
        Separator::Dot if text.contains('.') => Cow::Owned(text.replace('.', "/")),
        _ => Cow::Borrowed(text),
    }
}

/// What stands in `text` where `part` stands in `slashed`, which was made of it.
pub(crate) fn as_written<'a>(part: &str, slashed: &str, text: &'a str) -> &'a str {
    let at = part.as_ptr().addr() - slashed.as_ptr().addr();
    &text[at..at + part.len()]
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouteTable")
    }
}

/// One route for each path, in the order they were first named.
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
    mistakes: Vec<String>,
    on_rejection: Option<OnRejection>,
    is_carried: &'a dyn Fn(&str) -> bool,
    separated: &'a dyn Fn(&str) -> Separator,
}

impl Builder<'_> {
    fn add(&mut self, routes: &mut matchit::Router<Handlers>, path: &str, route: Route<()>) {
        let captures = match captures(path) {
            Ok(captures) => captures,
            Err(mistake) => return self.mistakes.push(format!("route {path:?}: {mistake}")),
        };
        if let Some(kind) = route.twice {
            self.mistakes
                .push(format!("route {path:?}: two {kind} handlers"));
        }
        let what = format!("route {path:?}");
        let mut ready = |endpoint| self.ready(endpoint, &what, &captures);
        let handlers = Handlers {
            message: route.message.map(&mut ready),
            subscribe: route.subscribe.map(&mut ready),
        };
        if let Err(error) = routes.insert(slashed(path, self.separator), handlers) {
            self.mistakes.push(format!("{what}: {error}"));
        }
    }

    /// Puts a handler together with its replies' targets and its layers.
    fn ready(&mut self, endpoint: Endpoint<()>, what: &str, captures: &[ByteString]) -> Ready {
        let mut templates = Vec::new();
        for reply in &endpoint.replies {
            let fixed = reply.text().split('{').next().unwrap_or_default();
            match Template::parse(reply, captures) {
                Ok(template) => {
                    let dots = self.separator == Separator::Slash
                        && matches!(reply, ReplyTo::Destination(_))
                        && (self.separated)(fixed) == Separator::Dot;
                    templates.push(if dots {
                        template.without_dots()
                    } else {
                        template
                    });
                }
                Err(error) => self.mistakes.push(format!("{what}: {error}")),
            }
            if matches!(reply, ReplyTo::Destination(_)) && !(self.is_carried)(fixed) {
                self.mistakes.push(format!(
                    "{what}: the broker carries no destination {fixed:?}"
                ));
            }
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
            concurrent: endpoint.concurrent,
        }
    }
}

/// The names that `path` captures.
pub(crate) fn captures(path: &str) -> Result<Vec<ByteString>, String> {
    if !path.starts_with('/') {
        return Err("a path begins with `/`".into());
    }
    let mut names = Vec::new();
    for segment in path.split('/') {
        if let Some(name) = segment.strip_prefix(':') {
            return Err(format!("captures are written {{{name}}}, not :{name}"));
        }
        let mut rest = segment;
        while let Some((before, after)) = rest.split_once('{') {
            check_text(before)?;
            let (name, after) = after.split_once('}').ok_or("unclosed `{`")?;
            if name.contains(':') {
                return Err(format!(
                    "{{{name}}}: a capture is a name; take its value by `Path` of a type that checks it"
                ));
            }
            names.push(name.trim_start_matches('*').into());
            rest = after;
        }
        check_text(rest)?;
    }
    Ok(names)
}

/// Wildcards that subscriptions have, and what has captures does not.
fn check_text(text: &str) -> Result<(), String> {
    match text.contains(['*', '?']) {
        false => Ok(()),
        true => Err(format!(
            "{text:?}: there are no wildcards here; `{{name}}` captures one segment, and `{{*name}}` all that is left"
        )),
    }
}
