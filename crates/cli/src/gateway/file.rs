//! A file of TOML: its values by name, and all its errors with their lines.

use std::cell::RefCell;
use std::env;
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text of a file, and what was found wrong with it so far.
pub(super) struct File<'t> {
    path: &'t Path,
    text: &'t str,
    errors: RefCell<Vec<(usize, String)>>,
}

/// A table of the file.
pub(super) struct Section<'f> {
    file: &'f File<'f>,
    name: &'f str,
    table: &'f DeTable<'f>,
    pub(super) line: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> File<'t> {
    pub(super) fn new(path: &'t Path, text: &'t str) -> Self {
        Self {
            path,
            text,
            errors: RefCell::default(),
        }
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.text[..at.min(self.text.len())].matches('\n').count() + 1
    }

    pub(super) fn wrong(&self, line: usize, what: impl Display) {
        self.errors.borrow_mut().push((line, what.to_string()));
    }

    /// Adds an error that has place and line in its text already.
    pub(super) fn told(&self, text: &str) {
        let place = format!("{}:", self.path.display());
        let rest = text.strip_prefix(&place).unwrap_or(text);
        match rest.split_once(':') {
            Some((line, what)) if line.parse::<usize>().is_ok() => {
                self.wrong(line.parse().unwrap_or(0), what.trim());
            }
            _ => self.wrong(0, text),
        }
    }

    /// The errors in the order of their lines; line 0 is the whole file.
    pub(super) fn errors(self) -> Vec<String> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|(line, _)| *line);
        let place = self.path.display();
        let text = |(line, what)| match line {
            0 => format!("{place}: {what}"),
            line => format!("{place}:{line}: {what}"),
        };
        errors.into_iter().map(text).collect()
    }

    pub(super) fn section<'f>(
        &'f self,
        name: &'f str,
        line: usize,
        value: &'f DeValue<'f>,
    ) -> Option<Section<'f>> {
        match value {
            DeValue::Table(table) => Some(Section {
                file: self,
                name,
                table,
                line,
                asked: RefCell::default(),
            }),
            _ => {
                self.wrong(line, format_args!("{name}: must be a section, `[{name}]`"));
                None
            }
        }
    }
}

impl<'f> Section<'f> {
    fn find(&self, key: &'static str) -> Option<(usize, &'f Spanned<DeValue<'f>>)> {
        self.asked.borrow_mut().push(key);
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        Some((self.file.line(name.span().start), value))
    }

    /// The line of a key, or of the section without it.
    pub(super) fn line_of(&self, key: &'static str) -> usize {
        self.find(key).map_or(self.line, |(line, _)| line)
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// Reports an error of a key.
    pub(super) fn wrong(&self, key: &'static str, what: impl Display) {
        let line = self.line_of(key);
        self.file
            .wrong(line, format_args!("{}.{key}: {what}", self.name));
    }

    /// A value that `read` understands; `what` says which they are.
    fn value<T>(
        &self,
        key: &'static str,
        what: &str,
        read: impl FnOnce(&'f DeValue<'f>) -> Option<T>,
    ) -> Option<T> {
        let (_, value) = self.find(key)?;
        let found = read(value.get_ref());
        if found.is_none() {
            let written = self.file.text.get(value.span()).unwrap_or_default();
            let is_short =
                written.len() <= 80 && !written.contains('\n') && !SECRETS.contains(&key);
            match is_short {
                true => self.wrong(key, format_args!("{written} is not {what}")),
                false => self.wrong(key, format_args!("must be {what}")),
            }
        }
        found
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        let text = self.value(key, "a text that is not empty", |value| {
            value.as_str().filter(|text| !text.is_empty())
        })?;
        self.expand(key, text)
    }

    /// The text with the environment's values for each `${NAME}`.
    fn expand(&self, key: &'static str, text: &str) -> Option<String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            let Some((name, after)) = behind.split_once('}') else {
                self.wrong(key, "a `${` without its `}`");
                return None;
            };
            match env::var(name) {
                Ok(value) if !value.is_empty() => expanded += &format!("{before}{value}"),
                _ => {
                    let unset = format_args!("the environment variable {name} is not set");
                    self.wrong(key, unset);
                    return None;
                }
            }
            rest = after;
        }
        Some(expanded + rest)
    }

    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let items = self.value(key, "a list of texts", |value| {
            let items = value.as_array()?.iter();
            let texts = items.map(|item| item.get_ref().as_str().filter(|text| !text.is_empty()));
            texts.collect::<Option<Vec<_>>>()
        })?;
        items
            .into_iter()
            .map(|text| self.expand(key, text))
            .collect()
    }

    /// A text, or several.
    pub(super) fn one_or_more(&self, key: &'static str) -> Option<Vec<String>> {
        let (_, value) = self.find(key)?;
        match value.get_ref() {
            DeValue::Array(_) => self.texts(key),
            _ => self.text(key).map(|text| vec![text]),
        }
    }

    pub(super) fn switch(&self, key: &'static str) -> Option<bool> {
        self.value(key, "true or false", DeValue::as_bool)
    }

    pub(super) fn time(&self, key: &'static str) -> Option<Duration> {
        let what = "a time, a whole number with its unit, such as \"500 ms\", \"10 s\", \"5 min\" or \"2 h\"";
        self.value(key, what, |value| {
            let text = value.as_str()?.trim();
            let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
            let number: u32 = number.parse().ok()?;
            Some(match unit.trim() {
                "ms" => Duration::from_millis(number.into()),
                "s" => Duration::from_secs(number.into()),
                "min" => Duration::from_secs(60) * number,
                "h" => Duration::from_secs(3600).checked_mul(number)?,
                _ => return None,
            })
        })
    }

    pub(super) fn address(&self, key: &'static str) -> Option<SocketAddr> {
        let text = self.text(key)?;
        let address = text.parse();
        if address.is_err() {
            let like = "an address with its port, such as \"0.0.0.0:8080\" or \"[::]:8080\"";
            self.wrong(key, format_args!("{text:?} is not {like}"));
        }
        address.ok()
    }

    /// A path, from the folder of the file on.
    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        let folder = self.file.path.parent().unwrap_or(Path::new("."));
        self.text(key).map(|path| folder.join(path))
    }

    pub(super) fn content(&self, key: &'static str) -> Option<Vec<u8>> {
        let path = self.path(key)?;
        let read = fs::read(&path);
        read.inspect_err(|error| self.wrong(key, format_args!("{}: {error}", path.display())))
            .ok()
    }

    /// A secret, from `key` itself or from the file that `file` names, without the line end there.
    pub(super) fn secret(&self, key: &'static str, file: &'static str) -> Option<String> {
        if self.has(key) && self.has(file) {
            self.wrong(
                key,
                format_args!("{file} is there, too; one of them is enough"),
            );
        }
        if self.has(key) {
            return self.text(key);
        }
        let content = String::from_utf8(self.content(file)?);
        let text = content.ok().map(|text| text.trim_end().to_owned());
        let text = text.filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong(file, "the file has no text");
        }
        text
    }

    /// The names and texts of a table.
    pub(super) fn pairs(&self, key: &'static str) -> Vec<(String, String)> {
        let what = "a table of texts, such as { user = \"name\" }";
        let pairs = self.value(key, what, |value| {
            let pairs = value.as_table()?.iter();
            let pair = |(name, value): (&'f Spanned<_>, &'f Spanned<DeValue<'f>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                Some((name.to_string(), value.get_ref().as_str()?.to_owned()))
            };
            pairs.map(pair).collect::<Option<Vec<_>>>()
        });
        pairs.unwrap_or_default()
    }

    /// Reports a key that must be there.
    pub(super) fn needs(&self, key: &'static str) {
        if !self.has(key) {
            let name = self.name;
            self.file
                .wrong(self.line, format_args!("[{name}] needs `{key}`"));
        }
    }

    /// Reports all keys that nothing asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        for (name, _) in self.table {
            let (key, line) = (name.get_ref(), self.file.line(name.span().start));
            if !asked.contains(&&**key) {
                let mut known: Vec<_> = asked.clone();
                known.sort_unstable();
                known.dedup();
                let (section, known) = (self.name, known.join(", "));
                let what = format!("{section}.{key}: there is no such key; there are {known}");
                self.file.wrong(line, what);
            }
        }
    }
}

/// Keys whose values are never shown.
const SECRETS: &[&str] = &["key", "passcode", "secret"];

/// A value as one text, whatever its lines and spaces are, to see whether it has changed.
pub(super) fn canonical(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| canonical(item.get_ref()));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        DeValue::Table(table) => {
            let entries = table.iter();
            let entry = entries.map(|(name, value)| {
                format!("{:?}={}", name.get_ref(), canonical(value.get_ref()))
            });
            let mut entries: Vec<_> = entry.collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(","))
        }
    }
}
