//! Errors of a configuration that only its parts together show.

use bytestring::ByteString;
use tramline_broker::Hub;

use super::policy::Policy;
use crate::app::router::{MessageRouter, Need, NeedTo};
use crate::model::prefix::below;

/// The prefixes of a stack.
pub(super) struct Prefixes<'a> {
    pub(super) app: &'a [ByteString],
    pub(super) user: &'a ByteString,
    pub(super) hub: Option<&'a Hub>,
}

impl Prefixes<'_> {
    /// Returns errors about prefixes that are no prefixes, or of which one lies inside another.
    pub(super) fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let app = self.app.iter().map(|prefix| ("application", prefix));
        let named: Vec<_> = app.chain([("user", self.user)]).collect();
        for (what, prefix) in &named {
            if !prefix.starts_with('/') {
                errors.push(format!("{what} prefix {prefix:?}: must begin with `/`"));
            } else if self
                .hub
                .is_some_and(|hub| hub.serves(&format!("{prefix}/x")))
            {
                errors.push(format!(
                    "{what} prefix {prefix:?}: the broker carries destinations there too"
                ));
            }
        }
        if self.app.is_empty() {
            errors
                .push("no application prefix: say where handlers are, or leave the default".into());
        }
        for (at, (what, prefix)) in named.iter().enumerate() {
            for (other_what, other) in &named[at + 1..] {
                if prefix == other {
                    errors.push(format!(
                        "{what} prefix and {other_what} prefix are both {prefix:?}"
                    ));
                } else if below(prefix, other).is_some() || below(other, prefix).is_some() {
                    errors.push(format!(
                        "{what} prefix {prefix:?} and {other_what} prefix {other:?}: one lies inside the other"
                    ));
                }
            }
        }
        errors
    }

    /// All of them, the broker's too.
    pub(super) fn all(&self) -> Vec<ByteString> {
        let app = self.app.iter().cloned();
        let broker = self.hub.into_iter().flat_map(Hub::prefixes);
        let broker = broker.map(ByteString::from);
        app.chain([self.user.clone()]).chain(broker).collect()
    }

    /// Returns errors about paths that begin with an application prefix, which clients would have to write twice.
    pub(super) fn repeated(&self, routes: &MessageRouter) -> Vec<String> {
        let repeated = routes.paths().filter_map(|path| {
            let mut prefixes = self.app.iter();
            let prefix = prefixes.find(|prefix| ***prefix == *path || below(path, prefix).is_some())?;
            let below = below(path, prefix).unwrap_or("/");
            Some(format!(
                "route {path:?}: clients would have to write \"{prefix}{path}\", since paths are what follows the \
                 application prefix; write {below:?}"
            ))
        });
        repeated.collect()
    }

    /// Returns errors about routes and replies that no rule permits anybody to reach. Programs behind an engine far away
    /// may receive replies that no client may.
    pub(super) fn unreachable(&self, needs: &[Need], policy: &Policy) -> Vec<String> {
        let is_far = self.hub.is_some_and(Hub::answers_late);
        let mut errors = Vec::new();
        for Need { what, to } in needs {
            let (path, verb, call) = match to {
                NeedTo::Send(path) => (path, "SEND", "on_message"),
                NeedTo::Subscribe(path) | NeedTo::Receive(path) | NeedTo::ReceiveAsUser(path) => {
                    (path, "SUBSCRIBE", "on_subscribe")
                }
            };
            let prefixed = |prefix: &ByteString| format!("{prefix}{path}");
            let destinations: Vec<String> = match to {
                NeedTo::Send(_) | NeedTo::Subscribe(_) => self.app.iter().map(prefixed).collect(),
                NeedTo::Receive(_) => vec![path.clone()],
                NeedTo::ReceiveAsUser(_) => vec![prefixed(self.user)],
            };
            let is_permitted = |destination: &String| match to {
                NeedTo::Send(_) => policy.may_permit_message(destination),
                NeedTo::Receive(_) if is_far => true,
                _ => policy.may_permit_subscribe(destination),
            };
            if let Some(first) = destinations.first()
                && !destinations.iter().any(is_permitted)
            {
                let replies = match to {
                    NeedTo::Send(_) | NeedTo::Subscribe(_) => "",
                    NeedTo::Receive(_) | NeedTo::ReceiveAsUser(_) => ", where its replies go",
                };
                errors.push(format!(
                    "{what}: no rule of the policy permits anybody to {verb} to {first:?}{replies}; permit it with \
                     `.{call}({first:?}, ..)`, in front of a rule that denies it"
                ));
            }
        }
        errors
    }
}
