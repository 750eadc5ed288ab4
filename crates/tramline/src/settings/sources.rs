//! Reads files and environment variables into keys and values.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key};
use super::value::Value;
use super::{Settings, SettingsError};

/// Reads [`Settings`] from several sources, each of which overrides the previous ones: made by [`Settings::loader`].
///
/// # Example: the application's own defaults, a file, and variables that begin with `CHAT_`
///
/// ```
/// use tramline::settings::Settings;
///
/// let mut defaults = Settings::default();
/// defaults.limits.subscriptions = 64;
///
/// let settings = Settings::loader()
///     .defaults(defaults)
///     .toml("chat.toml", "limits.body = '16 KiB'\nlimits.outbox = '1 MiB'")
///     .variables("CHAT", [("CHAT_LIMITS_BODY", "32 KiB")])
///     .load()?;
/// let limits = settings.limits;
/// assert_eq!((limits.subscriptions, limits.outbox, limits.body), (64, 1024 * 1024, 32 * 1024));
/// # Ok::<(), tramline::settings::SettingsError>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "finish with `load`"]
pub struct SettingsLoader {
    settings: Settings,
    /// Top-level names in files that are the application's own.
    others: Vec<String>,
    given: Vec<Given>,
    errors: Vec<String>,
}

/// One value and its place.
#[derive(Debug)]
struct Given {
    key: &'static Key,
    /// `tramline.toml:3: limits.body`, or `TRAMLINE_LIMITS_BODY`.
    place: String,
    value: Value,
}

impl SettingsLoader {
    /// Begins with other defaults than [`Settings::default`]. Values already read stay.
    pub fn defaults(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Leaves these top-level keys and sections of the files that follow to the application, which reads them from the same
    /// file.
    ///
    /// # Example: a file that has more than settings
    ///
    /// ```
    /// use tramline::settings::Settings;
    ///
    /// let text = "[web]\nlisten = '127.0.0.1:8080'\n[limits]\nbody = '16 KiB'";
    /// let settings = Settings::loader().but(["web"]).toml("server.toml", text).load()?;
    /// assert_eq!(settings.limits.body, 16_384);
    /// # Ok::<(), tramline::settings::SettingsError>(())
    /// ```
    pub fn but<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.others.extend(names.into_iter().map(Into::into));
        self
    }

    /// Reads a TOML file, which must exist.
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        match std::fs::read_to_string(path) {
            Ok(text) => self.toml(&path.display().to_string(), &text),
            Err(error) => {
                self.errors.push(unreadable(path, &error));
                self
            }
        }
    }

    /// Reads a TOML file, if it exists.
    pub fn file_if_there(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        match std::fs::read_to_string(path) {
            Ok(text) => self.toml(&path.display().to_string(), &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self,
            Err(error) => {
                self.errors.push(unreadable(path, &error));
                self
            }
        }
    }

    /// Reads TOML text, as `name` in errors.
    pub fn toml(mut self, name: &str, text: &str) -> Self {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map_or(1, |span| line(span.start));
            let message = error.message();
            self.errors.push(format!("{name}:{line}: {message}"));
        }
        let place = |at: usize| format!("{name}:{}", line(at));
        self.table(&place, "", table.get_ref());
        self
    }

    /// Reads the process's environment, by names that begin with `prefix` and `_`: `TRAMLINE_LIMITS_BODY` for the
    /// prefix `TRAMLINE`.
    ///
    /// Other variables with this beginning are ignored, unless they name a section (`TRAMLINE_LIMITS_…`) or resemble a
    /// key.
    pub fn environment(self, prefix: &str) -> Self {
        self.variables(prefix, env::vars_os())
    }

    /// The same from other variables than the process's, for tests.
    pub fn variables<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        prefix: &str,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let known: BTreeMap<String, &'static Key> =
            KEYS.iter().map(|key| (key.variable(prefix), key)).collect();
        for (name, value) in variables {
            let (Ok(name), value) = (name.into().into_string(), value.into()) else {
                continue;
            };
            match (known.get(&name), value.into_string()) {
                (Some(key), Ok(text)) => self.given.push(Given {
                    key,
                    place: name,
                    value: Value::Text(text),
                }),
                (Some(_), Err(value)) => {
                    let error = format!("{name} = {value:?}: must be UTF-8");
                    self.errors.push(error);
                }
                (None, _) => self.errors.extend(misspelt(prefix, &name, &known)),
            }
        }
        self
    }

    /// Combines the sources.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] with all errors of all sources: the operator's fault.
    pub fn load(mut self) -> Result<Settings, SettingsError> {
        for Given { key, place, value } in &self.given {
            if let Err(wrong) = (key.set)(&mut self.settings, value) {
                self.errors.push(format!("{place} = {value}: {wrong}"));
            }
        }
        if self.errors.is_empty() {
            Ok(self.settings)
        } else {
            Err(SettingsError::new(self.errors))
        }
    }

    fn table(&mut self, place: &dyn Fn(usize) -> String, section: &str, table: &DeTable<'_>) {
        // In the order of the file, for readers of the errors.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let path = join(section, name.get_ref());
            if self.others.contains(&path) {
                continue;
            }
            let here = place(name.span().start);
            match value.get_ref() {
                DeValue::Table(table) if is_section(&path) => self.table(place, &path, table),
                value => self.value(&here, &path, from_toml(value)),
            }
        }
    }

    /// Adds a section read by serde; errors name no place.
    pub(super) fn section(&mut self, section: &str, values: BTreeMap<String, Value>) {
        for (name, value) in values {
            let path = join(section, &name);
            match value {
                Value::Section(values) if is_section(&path) => self.section(&path, values),
                value => self.value("", &path, value),
            }
        }
    }

    fn value(&mut self, place: &str, path: &str, value: Value) {
        let place = if place.is_empty() {
            path.to_owned()
        } else {
            format!("{place}: {path}")
        };
        match Key::find(path) {
            Some(key) => self.given.push(Given { key, place, value }),
            None if is_section(path) => {
                let keys = KEYS.iter().filter(|key| is_inside(key.name, path));
                let keys: Vec<_> = keys.map(|key| key.name).collect();
                let keys = keys.join(", ");
                let error = format!("{place} = {value}: is a section, of which there are {keys}");
                self.errors.push(error);
            }
            None => {
                let names = KEYS.iter().map(|key| key.name);
                let meant = nearest(path, names.chain(SECTIONS))
                    .map_or_else(hint_at_all, |near| format!("did you mean {near}?"));
                self.errors
                    .push(format!("{place}: there is no such key; {meant}"));
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!(
        "{}: cannot be read as a file of settings: {error}",
        path.display()
    )
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

fn is_inside(name: &str, section: &str) -> bool {
    name.strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| is_inside(key.name, path))
}

const SECTIONS: [&str; 4] = ["limits", "limits.heart_beat", "sockjs", "broker"];

fn hint_at_all() -> String {
    "the guide's page on settings lists them all".to_owned()
}

fn from_toml(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(on) => Value::Switch(*on),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            // A number out of range is shown as it stands, and no key takes it.
            i64::from_str_radix(&digits, number.radix())
                .map_or_else(|_| Value::Text(number.to_string()), Value::Number)
        }
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Value::Text(number.as_str().to_owned()), Value::Fraction),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| from_toml(item.get_ref())).collect())
        }
        DeValue::Table(_) => Value::Section(BTreeMap::new()),
    }
}

/// The error for a variable that is no key's, but begins like a section or resembles a key.
fn misspelt(prefix: &str, name: &str, known: &BTreeMap<String, &'static Key>) -> Option<String> {
    let own = name.strip_prefix(prefix)?.strip_prefix('_')?;
    let in_section = ["LIMITS_", "SOCKJS_", "BROKER_"]
        .iter()
        .any(|section| own.starts_with(section));
    let all = known
        .keys()
        .filter_map(|known| known.strip_prefix(prefix)?.strip_prefix('_'));
    match nearest(own, all) {
        Some(near) => Some(format!(
            "{name}: there is no such setting; did you mean {prefix}_{near}?"
        )),
        None if in_section => Some(format!(
            "{name}: there is no such setting; {}",
            hint_at_all()
        )),
        None => None,
    }
}

/// The name that was probably meant: one that ends in it, or differs from it by a letter or two.
fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let same_end = |known: &&str| known.rsplit('.').next() == name.rsplit('.').next();
    let same_end = among.clone().find(same_end);
    let near = among
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()
        .filter(|(distance, _)| *distance <= (name.len() / 4).clamp(1, 3));
    near.map(|(_, known)| known).or(same_end)
}
