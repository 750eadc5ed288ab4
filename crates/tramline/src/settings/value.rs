//! The syntax of a setting, in a file and in an environment variable.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytestring::ByteString;
use serde::Deserialize;

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Switch(bool),
    Number(i64),
    Fraction(f64),
    Text(String),
    List(Vec<Value>),
    Section(BTreeMap<String, Value>),
    /// TOML has dates; no setting is one.
    #[serde(skip)]
    Date(String),
}

/// The description of what is allowed.
pub(super) type Wrong = String;

type Read<T> = Result<T, Wrong>;

impl Value {
    pub(super) fn text(&self) -> Read<ByteString> {
        match self {
            Self::Text(text) if !text.trim().is_empty() => Ok(text.trim().into()),
            _ => Err("must be a text that is not empty".into()),
        }
    }

    /// A list; in one text, commas separate its items, except inside brackets: `https://a.example:[80,443],null`.
    pub(super) fn texts(&self) -> Read<Vec<ByteString>> {
        let wrong = || {
            "must be a list of texts that are not empty, or one text with commas between them"
                .to_owned()
        };
        match self {
            Self::Text(text) => Ok(split(text)),
            Self::List(items) => {
                let texts = items.iter().map(Self::text);
                texts.collect::<Read<_>>().map_err(|_| wrong())
            }
            _ => Err(wrong()),
        }
    }

    pub(super) fn switch(&self) -> Read<bool> {
        match self {
            Self::Switch(on) => Ok(*on),
            Self::Text(text) if text.trim() == "true" => Ok(true),
            Self::Text(text) if text.trim() == "false" => Ok(false),
            _ => Err("must be true or false".into()),
        }
    }

    /// One of the words that `of` accepts; `words` lists them for people.
    pub(super) fn word<T>(&self, words: &str, of: impl Fn(&str) -> Option<T>) -> Read<T> {
        let text = self.text().unwrap_or_default();
        of(&text).ok_or_else(|| format!("must be {words}"))
    }

    /// A number, from 0 on.
    pub(super) fn count(&self) -> Read<u32> {
        let number = match self {
            Self::Number(number) => u32::try_from(*number).ok(),
            Self::Text(text) => text.trim().replace('_', "").parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| format!("must be a whole number from 0 to {}", u32::MAX))
    }

    /// A number, from 1 on.
    pub(super) fn some(&self) -> Read<u32> {
        let number = self.count().ok().filter(|number| *number > 0);
        number.ok_or_else(|| format!("must be a whole number from 1 to {}", u32::MAX))
    }

    /// Bytes, from 1 on.
    pub(super) fn size(&self) -> Read<usize> {
        let bytes = match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            Self::Text(text) => scaled(text, &SIZES, Some(1)),
            _ => None,
        };
        bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|bytes| (1..=isize::MAX as usize).contains(bytes))
            .ok_or_else(|| {
                "must be a number of bytes from 1 on, such as 65536, \"64 KiB\" or \"1 MiB\" (B, kB, MB, GB, KiB, MiB, GiB)"
                    .into()
            })
    }

    /// A time that is not zero.
    pub(super) fn time(&self) -> Read<Duration> {
        let time = self.milliseconds().filter(|time| !time.is_zero());
        time.ok_or_else(|| {
            format!("must be a time, a whole number with its unit, such as {TIMES_LIKE}")
        })
    }

    /// A time that may be `off`, or zero, which is the same.
    pub(super) fn time_or_off(&self) -> Read<Option<Duration>> {
        let off = matches!(self, Self::Text(text) if text.trim() == "off");
        match self.milliseconds() {
            _ if off => Ok(None),
            Some(time) => Ok(Some(time).filter(|time| !time.is_zero())),
            None => Err(format!(
                "must be \"off\" or a time, a whole number with its unit, such as {TIMES_LIKE}"
            )),
        }
    }

    fn milliseconds(&self) -> Option<Duration> {
        let Self::Text(text) = self else { return None };
        // A number of days beyond any use; more would overflow the count of ticks.
        scaled(text, &TIMES, None)
            .filter(|time| *time <= MOST_TIME)
            .map(Duration::from_millis)
    }
}

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// In milliseconds.
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000)];

const TIMES_LIKE: &str = "\"500 ms\", \"10 s\", \"5 min\" or \"2 h\", up to 1000 h";

const MOST_TIME: u64 = 1000 * 3_600_000;

/// A whole number and its unit, with or without a space between; `bare` is the unit of a number alone.
fn scaled(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let scale = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, scale)) => *scale,
        None if unit.is_empty() => bare?,
        None => return None,
    };
    let number: u64 = number.replace('_', "").parse().ok()?;
    number.checked_mul(scale)
}

fn split(text: &str) -> Vec<ByteString> {
    let mut inside = false;
    text.split(|c| {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
        c == ',' && !inside
    })
    .map(str::trim)
    .filter(|item| !item.is_empty())
    .map(Into::into)
    .collect()
}

/// In the syntax of a settings file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(on) => on.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Fraction(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Date(date) => f.write_str(date),
            Self::Section(_) => f.write_str("{ .. }"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (value, bytes) in [
            (Value::Number(65_536), 65_536),
            (text("65536"), 65_536),
            (text("65_536"), 65_536),
            (text("64 KiB"), 65_536),
            (text(" 64KiB "), 65_536),
            (text("64 kB"), 64_000),
            (text("1 GiB"), 1 << 30),
            (text("7 B"), 7),
        ] {
            assert_eq!(value.size(), Ok(bytes), "{value}");
        }
        for wrong in [
            Value::Number(0),
            Value::Number(-1),
            Value::Fraction(1.5),
            Value::Switch(true),
            Value::List(vec![Value::Number(1)]),
            text(""),
            text("0 KiB"),
            text("64 Kib"),
            text("64 KiB MiB"),
            text("1.5 MiB"),
            text("-1"),
            text("KiB"),
            text("18446744073709551615 KiB"),
            text("18446744073709551615"),
        ] {
            let error = wrong.size().expect_err(&wrong.to_string());
            assert!(error.contains("\"64 KiB\""), "{error}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        for (time, milliseconds) in [
            ("500ms", 500),
            ("10 s", 10_000),
            ("5 min", 300_000),
            ("2h", 7_200_000),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(text(time).time(), Ok(expected));
            assert_eq!(text(time).time_or_off(), Ok(Some(expected)));
        }
        assert_eq!(text("off").time_or_off(), Ok(None));
        assert_eq!(text("0 s").time_or_off(), Ok(None));
        for wrong in [
            Value::Number(10),
            text("10"),
            text("0"),
            text("10 S"),
            text("1 day"),
            text("1001 h"),
            text(""),
        ] {
            assert!(wrong.time().unwrap_err().contains("with its unit"));
            assert!(wrong.time_or_off().unwrap_err().contains("\"off\" or"));
        }
        assert!(text("0 s").time().is_err() && text("off").time().is_err());
    }

    #[test]
    fn counts_and_switches() {
        assert_eq!(Value::Number(0).count(), Ok(0));
        assert_eq!(text("100_000").count(), Ok(100_000));
        assert!(Value::Number(1 << 32).count().is_err() && Value::Number(-1).count().is_err());
        assert!(Value::Number(0).some().is_err() && Value::Number(1).some() == Ok(1));
        assert_eq!(
            (Value::Switch(true).switch(), text("false").switch()),
            (Ok(true), Ok(false))
        );
        assert!(text("yes").switch().is_err() && Value::Number(1).switch().is_err());
    }

    #[test]
    fn lists_may_be_one_text() {
        let list = text("https://a.example, https://b.example:[80,443],null,");
        let parts = ["https://a.example", "https://b.example:[80,443]", "null"];
        let parts: Vec<ByteString> = parts.map(ByteString::from_static).to_vec();
        assert_eq!(list.texts(), Ok(parts.clone()));
        let items = parts.iter().map(|part| text(part)).collect();
        assert_eq!(Value::List(items).texts(), Ok(parts));
        assert_eq!(text("").texts(), Ok(Vec::new()));
        assert!(Value::List(vec![Value::Number(1)]).texts().is_err());
        assert!(Value::Switch(true).texts().is_err());
    }
}
