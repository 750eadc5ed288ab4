//! Reply destinations with captures in them.

use bytestring::ByteString;
use tramline_broker::{Destination, DestinationError, Target};

use crate::model::effects::Whom;
use crate::model::inbound::Inbound;
use crate::model::rejection::Rejection;

/// The destination of a route's replies, as it was written.
#[derive(Clone, Debug)]
pub(crate) enum ReplyTo {
    Destination(ByteString),
    User(ByteString),
    Session(ByteString),
}

impl ReplyTo {
    /// The text, of a destination or of a path below the user prefix.
    pub(crate) fn text(&self) -> &ByteString {
        match self {
            Self::Destination(text) | Self::User(text) | Self::Session(text) => text,
        }
    }
}

impl std::fmt::Display for ReplyTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Destination(text) => f.write_str(text),
            Self::User(path) => write!(f, "user {path}"),
            Self::Session(path) => write!(f, "session {path}"),
        }
    }
}

/// A [`ReplyTo`] parsed for its route: with the route's captures for `{captures}`.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// `None` for a destination.
    whom: Option<Whom>,
    parts: Vec<Part>,
    /// Captured values must not have a `.`, which would split them into several segments of the target.
    no_dots: bool,
}

#[derive(Clone, Debug)]
enum Part {
    Text(ByteString),
    Capture(ByteString),
}

/// An invalid template: the application's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("reply destination {0:?} has an unclosed `{{`")]
    Unclosed(ByteString),
    #[error("reply destination {0:?} uses {{{1}}}, which its route does not capture")]
    UnknownCapture(ByteString, ByteString),
    #[error(transparent)]
    Destination(#[from] DestinationError),
}

impl Template {
    /// Parses `reply`, for a route that captures `captures`.
    pub(crate) fn parse(reply: &ReplyTo, captures: &[ByteString]) -> Result<Self, TemplateError> {
        let text = reply.text();
        let mut parts = Vec::new();
        let mut rest: &str = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| TemplateError::Unclosed(text.clone()))?;
            if !captures.iter().any(|known| known == name) {
                return Err(TemplateError::UnknownCapture(text.clone(), name.into()));
            }
            parts.push(Part::Text(before.into()));
            parts.push(Part::Capture(name.into()));
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        let whom = match reply {
            ReplyTo::Destination(_) => None,
            ReplyTo::User(_) => Some(Whom::Sender),
            ReplyTo::Session(_) => Some(Whom::SenderSession),
        };
        let template = Self {
            whom,
            parts,
            no_dots: false,
        };
        // Any value of the captures shows whether the text around them makes a destination.
        template.destination(|_| Some("x"))?;
        Ok(template)
    }

    /// Refuses a `.` in captured values: for a target with `.` between its segments, in a route without.
    pub(crate) fn without_dots(mut self) -> Self {
        self.no_dots = true;
        self
    }

    /// The target for a message that has matched the route.
    pub(crate) fn expand(&self, message: &Inbound) -> Result<Target, Rejection> {
        if let Some((name, value)) = self.dotted(|name| message.capture(name)) {
            return Err(Rejection::bad_message(format_args!(
                "{{{name}}} is {value:?}: it must not have a `.`, which separates segments where the reply goes"
            )));
        }
        let destination = self.destination(|name| message.capture(name));
        let destination = destination.map_err(Rejection::bad_message)?;
        match self.whom.clone() {
            None => Ok(destination.into()),
            Some(whom) => whom.at(destination, Some(&message.session)),
        }
    }

    /// The destination for these captured values.
    pub(crate) fn destination<'a>(
        &'a self,
        capture: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Destination, DestinationError> {
        let text = self.fill(capture);
        match self.whom {
            None => Destination::parse(text),
            Some(_) => Destination::parse_user_path(text),
        }
    }

    /// A captured value that would be more than one segment of the target.
    pub(crate) fn dotted<'a>(
        &'a self,
        capture: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<(&'a str, &'a str)> {
        let mut parts = self.parts.iter().filter(|_| self.no_dots);
        parts.find_map(|part| match part {
            Part::Capture(name) => {
                let value = capture(name).filter(|value| value.contains('.'))?;
                Some((&**name, value))
            }
            Part::Text(_) => None,
        })
    }

    fn fill<'a>(&'a self, capture: impl Fn(&str) -> Option<&'a str>) -> ByteString {
        if let [Part::Text(text)] = self.parts.as_slice() {
            return text.clone();
        }
        let part = |part: &'a Part| match part {
            Part::Text(text) => text,
            Part::Capture(name) => capture(name).unwrap_or_default(),
        };
        self.parts.iter().map(part).collect::<String>().into()
    }
}
