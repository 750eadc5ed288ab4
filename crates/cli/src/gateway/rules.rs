//! The rules of the file as a policy.

use std::collections::HashMap;
use std::sync::Arc;

use tramline::broker::Pattern;
use tramline::policy::{
    Policy, PolicyBuilder, Rule, anonymous, any_role, authenticated, check_with_state, deny, permit,
};
use tramline::{Path, State, User};

use super::file::Section;

/// The frames that a rule is for.
const FRAMES: &[&str] = &["connect", "send", "subscribe"];

/// The property of the user that a capture must be equal to.
#[derive(Clone)]
enum Of {
    Name,
    Role,
    /// The value of a claim, or one of them.
    Claim(String),
}

/// What a rule with captures asks for.
struct Wanted {
    roles: Vec<String>,
    captures: Vec<(String, Of)>,
}

/// A policy of the rules, in their order; what none matches is denied. And the line of each pattern's rule.
pub(super) fn policy(rules: Vec<Section<'_>>) -> (Policy, Vec<(String, usize)>) {
    let mut policy = Policy::builder();
    let (mut connect, mut places) = (None, Vec::new());
    for section in rules {
        section.needs("on");
        let on = section.one_or_more("on").unwrap_or_default();
        for frame in &on {
            if !FRAMES.contains(&frame.as_str()) {
                let known = FRAMES.join(", ");
                section.wrong("on", format_args!("{frame:?} is none of {known}"));
            }
        }
        let is_connect = on.iter().any(|frame| frame == "connect");
        let others = on
            .iter()
            .any(|frame| frame == "send" || frame == "subscribe");
        let patterns = section.one_or_more("pattern").unwrap_or_default();
        if is_connect && section.has("pattern") {
            section.wrong(
                "pattern",
                "CONNECT has no destination; give it a rule of its own",
            );
        } else if others && !section.has("pattern") {
            section.needs("pattern");
        }
        for pattern in &patterns {
            check_pattern(&section, pattern);
        }
        let rule = rule(&section, &patterns);
        if is_connect {
            if connect.is_some() {
                section.wrong("on", "there is a rule for connect already, and it decides");
            }
            connect = Some(rule.clone());
        }
        for pattern in patterns {
            policy = add(policy, &on, &pattern, &rule);
            places.push((pattern, section.line));
        }
        section.finish();
    }
    if let Some(rule) = connect {
        policy = policy.on_connect(rule);
    }
    (policy.otherwise(deny()), places)
}

fn add(mut policy: PolicyBuilder, on: &[String], pattern: &str, rule: &Rule) -> PolicyBuilder {
    for frame in on {
        policy = match frame.as_str() {
            "send" => policy.on_message(pattern.to_owned(), rule.clone()),
            "subscribe" => policy.on_subscribe(pattern.to_owned(), rule.clone()),
            _ => policy,
        };
    }
    policy
}

/// The names between braces.
fn captured(pattern: &str) -> impl Iterator<Item = &str> {
    let parts = pattern.split('{').skip(1);
    parts.filter_map(|part| Some(part.split_once('}')?.0))
}

fn check_pattern(section: &Section<'_>, pattern: &str) {
    let starred = captured(pattern).fold(pattern.to_owned(), |text, name| {
        text.replace(&format!("{{{name}}}"), "*")
    });
    if !pattern.starts_with('/') {
        section.wrong("pattern", format_args!("{pattern:?} must begin with `/`"));
    } else if let Err(error) = Pattern::parse(starred) {
        section.wrong("pattern", format_args!("{pattern:?}: {error}"));
    }
}

fn rule(section: &Section<'_>, patterns: &[String]) -> Rule {
    let roles = section.texts("roles");
    let mut captures = Vec::new();
    for (name, of) in section.pairs("captures") {
        if !patterns
            .iter()
            .all(|pattern| captured(pattern).any(|captured| captured == name))
        {
            section.wrong("captures", format_args!("the pattern has no {{{name}}}"));
        }
        let of = match of.as_str() {
            "name" => Of::Name,
            "role" => Of::Role,
            text => match text
                .strip_prefix("claim:")
                .filter(|claim| !claim.is_empty())
            {
                Some(claim) => Of::Claim(claim.to_owned()),
                None => {
                    let known = "\"name\", \"role\" or \"claim:\" and a claim's name";
                    section.wrong("captures", format_args!("{text:?} is not {known}"));
                    continue;
                }
            },
        };
        captures.push((name, of));
    }
    let allow = section.text("allow");
    if !captures.is_empty() {
        if !matches!(allow.as_deref(), None | Some("authenticated")) {
            section.wrong(
                "allow",
                "a rule with captures is for users that are authenticated",
            );
        }
        let roles = roles.unwrap_or_default();
        return check_with_state(Arc::new(Wanted { roles, captures }), captures_fit);
    }
    match (allow.as_deref(), roles) {
        (Some(_), Some(_)) => {
            section.wrong("allow", "`roles` says who may; one of them is enough");
            deny()
        }
        (None, Some(roles)) if roles.is_empty() => {
            section.wrong("roles", "must be one role at least");
            deny()
        }
        (None, Some(roles)) => any_role(roles),
        (Some("all"), None) => permit(),
        (Some("nobody"), None) => deny(),
        (Some("authenticated"), None) => authenticated(),
        (Some("anonymous"), None) => anonymous(),
        (Some(other), None) => {
            let known = "\"all\", \"nobody\", \"authenticated\" or \"anonymous\"";
            section.wrong("allow", format_args!("{other:?} is not {known}"));
            deny()
        }
        (None, None) => {
            if !section.has("allow") && !section.has("roles") {
                let what = "the rule needs `allow`, `roles` or `captures`";
                section.wrong("on", what);
            }
            deny()
        }
    }
}

async fn captures_fit(
    user: Option<User>,
    Path(texts): Path<HashMap<String, String>>,
    State(wanted): State<Arc<Wanted>>,
) -> bool {
    let Some(user) = user else { return false };
    let has_role = wanted.roles.is_empty() || wanted.roles.iter().any(|role| user.has_role(role));
    has_role
        && wanted.captures.iter().all(|(name, of)| {
            let Some(text) = texts.get(name) else {
                return false;
            };
            match of {
                Of::Name => user.name() == text,
                Of::Role => user.has_role(text),
                Of::Claim(claim) => match user.claim(claim) {
                    Some(serde_json::Value::Array(all)) => {
                        all.iter().any(|one| one == text.as_str())
                    }
                    Some(one) => one == text.as_str(),
                    None => false,
                },
            }
        })
}
