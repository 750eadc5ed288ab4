//! Reads the captures of a route into a type.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::model::rejection::{Rejection, RejectionKind};

/// Makes a `T` from `captures`: from the only one, or from several by position or by name.
pub(crate) fn parse<T: DeserializeOwned>(
    captures: &[(ByteString, ByteString)],
) -> Result<T, Error> {
    T::deserialize(Captures(captures))
}

/// The reason why captures do not become the handler's type.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Error {
    /// The client's text is not a value of the type.
    #[error("{0}")]
    Value(String),
    /// No text would fit: the route and the handler's `Path` do not match each other.
    #[error("the route does not fit the handler's `Path`: {0}")]
    Misfit(String),
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Value(_) => RejectionKind::BadMessage,
            Error::Misfit(_) => RejectionKind::Misconfigured,
        };
        Self::new(kind, error)
    }
}

/// Errors about field names, and types that no text becomes, do not depend on what the client writes.
impl de::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Value(text.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::Misfit(format!("what it captures is text, not {expected}"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Misfit(format!("it captures `{field}` twice"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Misfit(format!("it does not capture {{{field}}}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Misfit(format!("it captures {{{field}}}, not one of {expected:?}"))
    }
}

#[derive(Clone, Copy)]
struct Captures<'a>(&'a [(ByteString, ByteString)]);

#[derive(Clone, Copy)]
struct Capture<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> Captures<'a> {
    fn all(self) -> impl Iterator<Item = Capture<'a>> + Clone {
        self.0.iter().map(|(name, value)| Capture { name, value })
    }

    fn only(self) -> Result<Capture<'a>, Error> {
        match self.0 {
            [(name, value)] => Ok(Capture { name, value }),
            _ => Err(self.misfit(1)),
        }
    }

    fn misfit(self, wanted: usize) -> Error {
        let captured = self.0.len();
        Error::Misfit(format!(
            "it captures {captured}, not {wanted}; take one value, a tuple of as many, or a struct with their names"
        ))
    }
}

macro_rules! only {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.only()?.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Captures<'_> {
    type Error = Error;

    only! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_option deserialize_identifier
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(self.all()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        match self.0.len() == len {
            true => self.deserialize_seq(visitor),
            false => Err(self.misfit(len)),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(
            self.all().map(|capture| (capture.name, capture)),
        ))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }
}

impl<'de> IntoDeserializer<'de, Error> for Capture<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Capture<'_> {
    fn parse<T: FromStr>(self) -> Result<T, Error>
    where
        T::Err: fmt::Display,
    {
        let Self { name, value } = self;
        value
            .parse()
            .map_err(|error| Error::custom(format_args!("{{{name}}} is {value:?}: {error}")))
    }
}

macro_rules! parsed {
    ($($deserialize:ident $visit:ident)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.parse()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Capture<'_> {
    type Error = Error;

    parsed! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_i128 visit_i128
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_u128 visit_u128
        deserialize_f32 visit_f32
        deserialize_f64 visit_f64
        deserialize_char visit_char
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let variant: StrDeserializer<'_, Error> = self.value.into_deserializer();
        // The client chooses the variant, and so whether it may have fields.
        visitor
            .visit_enum(variant)
            .map_err(|error| Error::Value(error.to_string()))
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn captures(pairs: &[(&'static str, &'static str)]) -> Vec<(ByteString, ByteString)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn one_capture_becomes_one_value() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct RoomId(u32);
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Colour {
            Red,
        }
        let seven = captures(&[("room", "7")]);
        assert_eq!(parse::<u32>(&seven), Ok(7));
        assert_eq!(parse::<String>(&seven), Ok("7".into()));
        assert_eq!(parse::<RoomId>(&seven), Ok(RoomId(7)));
        assert_eq!(parse::<(u32,)>(&seven), Ok((7,)));
        assert_eq!(parse::<Colour>(&captures(&[("c", "red")])), Ok(Colour::Red));
        let error = parse::<u32>(&captures(&[("room", "x")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"{room} is "x": invalid digit found in string"#
        );
    }

    #[test]
    fn several_captures_become_a_tuple_or_a_struct() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Seat {
            number: u8,
            row: String,
        }
        let seat = captures(&[("row", "k"), ("number", "12")]);
        assert_eq!(parse::<(String, u8)>(&seat), Ok(("k".into(), 12)));
        assert_eq!(
            parse::<Vec<String>>(&seat),
            Ok(vec!["k".into(), "12".into()])
        );
        let expected = Seat {
            number: 12,
            row: "k".into(),
        };
        assert_eq!(parse::<Seat>(&seat), Ok(expected));
    }

    #[test]
    fn what_no_value_could_fit_is_not_the_clients_fault() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Named {
            room: u8,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Strict {
            #[serde(default)]
            room: u8,
        }
        let (none, one, two) = (
            captures(&[]),
            captures(&[("romo", "7")]),
            captures(&[("a", "1"), ("b", "2")]),
        );
        let counts = "take one value, a tuple of as many, or a struct with their names";
        let nested = parse::<(Vec<u8>,)>(&one).unwrap_err();
        let errors = [
            (
                parse::<u8>(&none).unwrap_err(),
                format!("it captures 0, not 1; {counts}"),
            ),
            (
                parse::<u8>(&two).unwrap_err(),
                format!("it captures 2, not 1; {counts}"),
            ),
            (
                parse::<(u8, u8)>(&one).unwrap_err(),
                format!("it captures 1, not 2; {counts}"),
            ),
            (
                parse::<(u8,)>(&two).unwrap_err(),
                format!("it captures 2, not 1; {counts}"),
            ),
            (
                parse::<Named>(&one).unwrap_err(),
                "it does not capture {room}".into(),
            ),
            (
                parse::<Strict>(&one).unwrap_err(),
                r#"it captures {romo}, not one of ["room"]"#.into(),
            ),
            (nested, "what it captures is text, not a sequence".into()),
        ];
        for (error, text) in errors {
            assert_eq!(error, Error::Misfit(text));
        }
        let named = captures(&[("room", "x")]);
        assert!(matches!(parse::<Named>(&named), Err(Error::Value(_))));
        #[derive(Debug, PartialEq, Deserialize)]
        enum Sort {
            Asc,
            By(String),
        }
        let by = parse::<Sort>(&captures(&[("sort", "By")]));
        assert!(matches!(by, Err(Error::Value(_))));
        assert_eq!(parse(&captures(&[("sort", "Asc")])), Ok(Sort::Asc));
        let zero = parse::<std::num::NonZeroU8>(&captures(&[("room", "0")]));
        assert!(matches!(zero, Err(Error::Value(_))));
    }
}
