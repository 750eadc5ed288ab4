//! Patterns of `LIKE`.

/// A pattern, compiled: texts that follow each other, with anything in between.
#[derive(Clone, Debug)]
pub(super) struct Like {
    /// What is between the `%`.
    parts: Vec<Part>,
}

/// Characters; `None` stands for any one.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Any(Vec<Option<char>>),
}

/// The maximum number of characters of a part that has `_`, since it is compared at each place.
pub(super) const MAX_PART: usize = 32;

impl Like {
    /// Compiles a pattern; the error says what is wrong.
    pub(super) fn new(pattern: &str, escape: Option<char>) -> Result<Self, String> {
        let mut parts = vec![Vec::new()];
        let mut characters = pattern.chars();
        while let Some(c) = characters.next() {
            let one = if escape == Some(c) {
                let escaped = characters
                    .next()
                    .filter(|c| matches!(c, '%' | '_') || escape == Some(*c));
                Some(escaped.ok_or_else(|| {
                    format!("in {pattern:?} the escape `{c}` is not before `%`, `_` or itself")
                })?)
            } else if c == '%' {
                parts.push(Vec::new());
                continue;
            } else {
                (c != '_').then_some(c)
            };
            if let Some(part) = parts.last_mut() {
                part.push(one);
            }
        }
        let parts = parts.into_iter().map(|part| {
            match part.iter().copied().collect::<Option<String>>() {
                Some(text) => Ok(Part::Text(text)),
                None if part.len() <= MAX_PART => Ok(Part::Any(part)),
                None => Err(format!(
                    "a part of {pattern:?} with `_` has {} characters, and {MAX_PART} are allowed",
                    part.len()
                )),
            }
        });
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let (Some((first, rest)), Some(last)) = (self.parts.split_first(), self.parts.last())
        else {
            return text.is_empty();
        };
        let Some(mut text) = first.strip(text) else {
            return false;
        };
        let Some((_, between)) = rest.split_last() else {
            return text.is_empty();
        };
        // The first place is as good as any other: what is left of the text is longest.
        for part in between {
            match part.find(text) {
                Some(rest) => text = rest,
                None => return false,
            }
        }
        last.ends(text)
    }
}

impl Part {
    /// Returns what follows the part at the beginning of `text`.
    fn strip<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text(part) => text.strip_prefix(&**part),
            Self::Any(part) => {
                let mut rest = text.chars();
                let same = part.iter().all(|wanted| {
                    rest.next()
                        .is_some_and(|c| wanted.is_none_or(|wanted| wanted == c))
                });
                same.then_some(rest.as_str())
            }
        }
    }

    /// Returns what follows the first place of the part in `text`.
    fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Self::Text(part) => text.find(&**part).map(|at| &text[at + part.len()..]),
            Self::Any(_) => text
                .char_indices()
                .find_map(|(at, _)| self.strip(&text[at..])),
        }
    }

    /// Returns true if `text` ends with the part.
    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Text(part) => text.ends_with(&**part),
            Self::Any(part) => {
                let mut rest = text.chars();
                part.iter().rev().all(|wanted| {
                    rest.next_back()
                        .is_some_and(|c| wanted.is_none_or(|wanted| wanted == c))
                })
            }
        }
    }
}
