//! Compiled conditions, and their values.

use super::like::Like;
use super::properties::{Properties, Property};

/// A condition: true, false, or unknown.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Comparison, Term, Term),
    Between(Term, Term, Term),
    In(String, Vec<String>),
    Like(String, Like),
    IsNull(String),
    /// A header or a literal that is true or false itself.
    Truth(Term),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Something with a value.
#[derive(Clone, Debug)]
pub(super) enum Term {
    Name(String),
    Text(String),
    Number(Number),
    Bool(bool),
    Negative(Box<Term>),
    Arithmetic(Operator, Box<Term>, Box<Term>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i64),
    Float(f64),
}

/// The value of a term; a missing one is `None`.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// A header, which is what the other side makes of it.
    Header(&'a str),
    Text(&'a str),
    Number(Number),
    Bool(bool),
}

impl Condition {
    pub(super) fn evaluate(&self, headers: &impl Properties) -> Option<bool> {
        match self {
            Self::And(a, b) => match a.evaluate(headers) {
                Some(false) => Some(false),
                a => match (a, b.evaluate(headers)) {
                    (_, Some(false)) => Some(false),
                    (Some(true), b) => b,
                    _ => None,
                },
            },
            Self::Or(a, b) => match a.evaluate(headers) {
                Some(true) => Some(true),
                a => match (a, b.evaluate(headers)) {
                    (_, Some(true)) => Some(true),
                    (Some(false), b) => b,
                    _ => None,
                },
            },
            Self::Not(inner) => inner.evaluate(headers).map(|value| !value),
            Self::Compare(comparison, a, b) => {
                let (a, b) = (a.value(headers)?, b.value(headers)?);
                comparison.holds(a, b)
            }
            Self::Between(term, low, high) => {
                let value = term.value(headers)?;
                let low = low.value(headers);
                let low = low.and_then(|low| Comparison::GreaterOrEqual.holds(value, low));
                let high = high.value(headers);
                let high = high.and_then(|high| Comparison::LessOrEqual.holds(value, high));
                match (low, high) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                }
            }
            Self::In(name, texts) => {
                let value = text(headers, name)?;
                Some(texts.iter().any(|text| text == value))
            }
            Self::Like(name, like) => Some(like.matches(text(headers, name)?)),
            Self::IsNull(name) => Some(headers.property(name).is_none()),
            Self::Truth(term) => match term.value(headers)? {
                Value::Bool(value) => Some(value),
                Value::Header(text) => truth(text),
                Value::Text(_) | Value::Number(_) => None,
            },
        }
    }
}

/// The text of a header; unknown if there is none, or if it is a number.
fn text<'a>(headers: &'a impl Properties, name: &str) -> Option<&'a str> {
    match headers.property(name)? {
        Property::Text(text) => Some(text),
        Property::Number(_) => None,
    }
}

impl Term {
    fn value<'a>(&'a self, headers: &'a impl Properties) -> Option<Value<'a>> {
        Some(match self {
            Self::Name(name) => match headers.property(name)? {
                Property::Text(text) => Value::Header(text),
                Property::Number(number) => Value::Number(Number::Integer(number)),
            },
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(*number),
            Self::Bool(value) => Value::Bool(*value),
            Self::Negative(term) => {
                let zero = Number::Integer(0);
                let number = term.value(headers)?.number()?;
                Value::Number(Operator::Subtract.apply(zero, number)?)
            }
            Self::Arithmetic(operator, a, b) => {
                let (a, b) = (a.value(headers)?.number()?, b.value(headers)?.number()?);
                Value::Number(operator.apply(a, b)?)
            }
        })
    }
}

impl Value<'_> {
    fn number(self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(number),
            Self::Header(text) => number(text),
            Self::Text(_) | Self::Bool(_) => None,
        }
    }
}

/// The number that a header looks like.
fn number(text: &str) -> Option<Number> {
    if let Ok(integer) = text.parse() {
        return Some(Number::Integer(integer));
    }
    // Not `inf` and `nan`, which Rust reads too.
    let begins = text.trim_start_matches(['+', '-']);
    let is_number = begins.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let float: f64 = text.parse().ok().filter(|_| is_number)?;
    float.is_finite().then_some(Number::Float(float))
}

fn truth(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

impl Number {
    fn as_float(self) -> f64 {
        match self {
            Self::Integer(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

impl Operator {
    /// Returns the result as Java has it, or none if an integer does not hold it.
    fn apply(self, a: Number, b: Number) -> Option<Number> {
        if let (Number::Integer(a), Number::Integer(b)) = (a, b) {
            let result = match self {
                Self::Add => a.checked_add(b),
                Self::Subtract => a.checked_sub(b),
                Self::Multiply => a.checked_mul(b),
                Self::Divide => a.checked_div(b),
            };
            return result.map(Number::Integer);
        }
        let (a, b) = (a.as_float(), b.as_float());
        Some(Number::Float(match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
        }))
    }
}

impl Comparison {
    fn holds(self, a: Value<'_>, b: Value<'_>) -> Option<bool> {
        let is_equality = matches!(self, Self::Equal | Self::NotEqual);
        let equal = |equal: bool| Some(equal == (self == Self::Equal));
        match (a, b) {
            (Value::Header(a) | Value::Text(a), Value::Header(b) | Value::Text(b))
                if is_equality =>
            {
                equal(a == b)
            }
            (Value::Bool(a), Value::Bool(b)) if is_equality => equal(a == b),
            (Value::Header(text), Value::Bool(value))
            | (Value::Bool(value), Value::Header(text))
                if is_equality =>
            {
                equal(truth(text)? == value)
            }
            (a, b) => {
                let (a, b) = (a.number()?, b.number()?);
                let order = match (a, b) {
                    (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
                    (a, b) => a.as_float().partial_cmp(&b.as_float())?,
                };
                Some(match self {
                    Self::Equal => order.is_eq(),
                    Self::NotEqual => order.is_ne(),
                    Self::Less => order.is_lt(),
                    Self::LessOrEqual => order.is_le(),
                    Self::Greater => order.is_gt(),
                    Self::GreaterOrEqual => order.is_ge(),
                })
            }
        }
    }
}
