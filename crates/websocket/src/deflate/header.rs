//! `Sec-WebSocket-Extensions`: a list of names with parameters (RFC 6455 §9.1).

use std::borrow::Cow;

/// One element of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// The text does not follow the grammar.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Parses one header value.
pub(super) fn parse(value: &str) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut reader = Reader(value);
    let mut extensions = Vec::new();
    loop {
        // HTTP lists may have empty elements.
        while reader.take(',') {}
        if reader.at_end() {
            return Ok(extensions);
        }
        let name = reader.token()?;
        let mut parameters = Vec::new();
        while reader.take(';') {
            let name = reader.token()?;
            let value = if reader.take('=') {
                Some(reader.value()?)
            } else {
                None
            };
            parameters.push((name, value));
        }
        extensions.push(Extension { name, parameters });
        if !reader.at_end() && !reader.take(',') {
            return Err(Malformed);
        }
    }
}

/// The unparsed rest.
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.0.is_empty()
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_blanks();
        let end = self.0.find(|octet| !is_token(octet));
        let (token, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        if token.is_empty() {
            Err(Malformed)
        } else {
            Ok(token)
        }
    }

    /// A token, bare or in quotes.
    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if !self.take('"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut unquoted = String::new();
        let mut characters = self.0.chars();
        loop {
            match characters.next() {
                Some('"') => break,
                Some('\\') => unquoted.extend(characters.next()),
                Some(character) => unquoted.push(character),
                None => return Err(Malformed),
            }
        }
        self.0 = characters.as_str();
        if unquoted.is_empty() || !unquoted.chars().all(is_token) {
            return Err(Malformed);
        }
        Ok(Cow::Owned(unquoted))
    }
}

fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension<'a>(name: &'a str, parameters: &[(&'a str, Option<&'a str>)]) -> Extension<'a> {
        let parameters = parameters
            .iter()
            .map(|(name, value)| (*name, value.map(Cow::Borrowed)));
        Extension {
            name,
            parameters: parameters.collect(),
        }
    }

    #[test]
    fn lists_are_read() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse(" , ,"), Ok(vec![]));
        assert_eq!(
            parse("foo, bar;a;b=1 ; c = \"2\" ,,baz"),
            Ok(vec![
                extension("foo", &[]),
                extension("bar", &[("a", None), ("b", Some("1")), ("c", Some("2"))]),
                extension("baz", &[]),
            ])
        );
        assert_eq!(
            parse(r#"x; y="a\b""#),
            Ok(vec![extension("x", &[("y", Some("ab"))])])
        );
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for value in [
            ";",
            "a;",
            "a;;b",
            "a b",
            "a;b=",
            "a;=1",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"1 2\"",
            "a;b=\"1",
            "a;b=\"1\\",
            "a;b=1 2",
            "ä",
            "a\u{0}",
        ] {
            assert_eq!(parse(value), Err(Malformed), "{value:?}");
        }
    }
}
