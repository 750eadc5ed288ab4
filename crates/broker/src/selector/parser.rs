//! From words to a condition.

use super::Selector;
use super::error::SelectorError;
use super::expression::{Comparison, Condition, Number, Operator, Term};
use super::lexer::{Keyword, Token, Word};
use super::like::Like;

/// Reads a whole selector of `length` characters.
pub(super) fn parse(tokens: &[Token], length: usize) -> Result<Condition, SelectorError> {
    let mut parser = Parser {
        tokens,
        length,
        depth: 0,
        likes: 0,
    };
    if tokens.is_empty() {
        return Err(SelectorError::new(0, "it is empty; leave the header out"));
    }
    let (at, whole) = (parser.at(), parser.or()?);
    if let Some(token) = parser.tokens.first() {
        let error = format!("{} is one word too many", token.word);
        return Err(SelectorError::new(token.at, error));
    }
    whole.condition(at)
}

struct Parser<'a> {
    /// Those that are still to be read.
    tokens: &'a [Token],
    length: usize,
    depth: usize,
    likes: usize,
}

/// A condition, or a term, which may become a part of one.
enum Parsed {
    Condition(Condition),
    Term(Term),
}

type Result<T, E = SelectorError> = std::result::Result<T, E>;

impl Parsed {
    fn condition(self, at: usize) -> Result<Condition> {
        match self {
            Self::Condition(condition) => Ok(condition),
            Self::Term(term @ (Term::Name(_) | Term::Bool(_))) => Ok(Condition::Truth(term)),
            Self::Term(term) => {
                let error = format!(
                    "{} is no condition; compare it with something",
                    shown(&term)
                );
                Err(SelectorError::new(at, error))
            }
        }
    }

    fn term(self, at: usize) -> Result<Term> {
        match self {
            Self::Term(term) => Ok(term),
            Self::Condition(_) => {
                let error = "a condition stands where a value is needed";
                Err(SelectorError::new(at, error))
            }
        }
    }
}

/// What a term is, for errors.
fn shown(term: &Term) -> String {
    match term {
        Term::Name(name) => format!("`{name}`"),
        Term::Text(text) => format!("'{text}'"),
        Term::Number(Number::Integer(number)) => number.to_string(),
        Term::Number(Number::Float(number)) => number.to_string(),
        Term::Bool(true) => "`TRUE`".into(),
        Term::Bool(false) => "`FALSE`".into(),
        Term::Negative(_) | Term::Arithmetic(..) => "a number".into(),
    }
}

impl Parser<'_> {
    fn at(&self) -> usize {
        self.tokens.first().map_or(self.length, |token| token.at)
    }

    fn peek(&self) -> Option<&Word> {
        self.tokens.first().map(|token| &token.word)
    }

    fn next(&mut self) -> Option<&Word> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(&first.word)
    }

    fn takes(&mut self, keyword: Keyword) -> bool {
        let is_next = self.peek() == Some(&Word::Keyword(keyword));
        if is_next {
            self.next();
        }
        is_next
    }

    /// Takes one of these signs.
    fn sign(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        let Some(Word::Sign(sign)) = self.peek() else {
            return None;
        };
        let sign = *sign;
        signs.contains(&sign).then(|| {
            self.next();
            sign
        })
    }

    fn expect(&mut self, sign: &'static str) -> Result<()> {
        match self.sign(&[sign]) {
            Some(_) => Ok(()),
            None => Err(self.missing(&format!("`{sign}`"))),
        }
    }

    fn missing(&self, wanted: &str) -> SelectorError {
        let error = match self.peek() {
            Some(word) => format!("{wanted} is needed here, not {word}"),
            None => format!("{wanted} is missing at the end"),
        };
        SelectorError::new(self.at(), error)
    }

    /// One level deeper, as far as that is allowed.
    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == Selector::MAX_DEPTH {
            let error = format!(
                "more than {} levels are inside each other; write it flatter",
                Selector::MAX_DEPTH
            );
            return Err(SelectorError::new(self.at(), error));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn or(&mut self) -> Result<Parsed> {
        self.chain(Keyword::Or, Self::and, Condition::Or)
    }

    fn and(&mut self) -> Result<Parsed> {
        self.chain(Keyword::And, Self::not, Condition::And)
    }

    /// Conditions with `keyword` between them. They nest to the right only as far as their halves do, so that evaluating a
    /// long chain needs little stack.
    fn chain(
        &mut self,
        keyword: Keyword,
        part: fn(&mut Self) -> Result<Parsed>,
        join: fn(Box<Condition>, Box<Condition>) -> Condition,
    ) -> Result<Parsed> {
        let at = self.at();
        let first = part(self)?;
        if self.peek() != Some(&Word::Keyword(keyword)) {
            return Ok(first);
        }
        let mut parts = vec![first.condition(at)?];
        while self.takes(keyword) {
            let at = self.at();
            parts.push(part(self)?.condition(at)?);
        }
        Ok(Parsed::Condition(balanced(parts, join)))
    }

    fn not(&mut self) -> Result<Parsed> {
        if !self.takes(Keyword::Not) {
            return self.comparison();
        }
        let at = self.at();
        let inner = self.deeper(Self::not)?.condition(at)?;
        Ok(Parsed::Condition(Condition::Not(Box::new(inner))))
    }

    fn comparison(&mut self) -> Result<Parsed> {
        let at = self.at();
        let left = self.sum()?;
        if let Some(sign) = self.sign(&["=", "<>", "<", "<=", ">", ">="]) {
            let left = left.term(at)?;
            let right_at = self.at();
            let right = self.sum()?.term(right_at)?;
            let comparison = comparison(sign);
            check(sign, comparison, (&left, at), (&right, right_at))?;
            return Ok(Parsed::Condition(Condition::Compare(
                comparison, left, right,
            )));
        }
        let condition = if self.takes(Keyword::Is) {
            let is_not = self.takes(Keyword::Not);
            if !self.takes(Keyword::Null) {
                return Err(self.missing("`NULL`"));
            }
            negated(is_not, Condition::IsNull(name(left, at, "IS NULL")?))
        } else {
            let is_not = match (self.tokens.first(), self.tokens.get(1)) {
                (Some(not), Some(then)) if not.word == Word::Keyword(Keyword::Not) => matches!(
                    then.word,
                    Word::Keyword(Keyword::Between | Keyword::In | Keyword::Like)
                ),
                _ => false,
            };
            if is_not {
                self.next();
            }
            if self.takes(Keyword::Between) {
                negated(is_not, self.between(left, at)?)
            } else if self.takes(Keyword::In) {
                negated(is_not, self.among(name(left, at, "IN")?)?)
            } else if self.takes(Keyword::Like) {
                negated(is_not, self.like(name(left, at, "LIKE")?)?)
            } else {
                return Ok(left);
            }
        };
        Ok(Parsed::Condition(condition))
    }

    fn between(&mut self, left: Parsed, at: usize) -> Result<Condition> {
        let left = left.term(at)?;
        let low_at = self.at();
        let low = self.sum()?.term(low_at)?;
        if !self.takes(Keyword::And) {
            return Err(self.missing("`AND` and the upper bound"));
        }
        let high_at = self.at();
        let high = self.sum()?.term(high_at)?;
        for (bound, bound_at) in [(&low, low_at), (&high, high_at)] {
            let sides = ((&left, at), (bound, bound_at));
            check("BETWEEN", Comparison::LessOrEqual, sides.0, sides.1)?;
        }
        Ok(Condition::Between(left, low, high))
    }

    fn among(&mut self, name: String) -> Result<Condition> {
        self.expect("(")?;
        let mut texts = Vec::new();
        loop {
            texts.push(self.text("a text in quotes, such as 'a',")?);
            if self.sign(&[","]).is_none() {
                break;
            }
        }
        self.expect(")")?;
        Ok(Condition::In(name, texts))
    }

    fn like(&mut self, name: String) -> Result<Condition> {
        let at = self.at();
        self.likes += 1;
        if self.likes > Selector::MAX_LIKES {
            let error = format!(
                "`LIKE` is allowed {} times; compare less",
                Selector::MAX_LIKES
            );
            return Err(SelectorError::new(at, error));
        }
        let pattern = self.text("a pattern in quotes, such as 'a%',")?;
        let escape = if self.takes(Keyword::Escape) {
            let at = self.at();
            let text = self.text("a character in quotes, such as '\\',")?;
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(one), None) => Some(one),
                _ => {
                    let error = format!("'{text}' is not one character");
                    return Err(SelectorError::new(at, error));
                }
            }
        } else {
            None
        };
        let like = Like::new(&pattern, escape).map_err(|error| SelectorError::new(at, error))?;
        Ok(Condition::Like(name, like))
    }

    fn text(&mut self, wanted: &str) -> Result<String> {
        match self.peek() {
            Some(Word::Text(text)) => {
                let text = text.clone();
                self.next();
                Ok(text)
            }
            _ => Err(self.missing(wanted)),
        }
    }

    fn sum(&mut self) -> Result<Parsed> {
        self.arithmetic(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Result<Parsed> {
        self.arithmetic(&["*", "/"], Self::unary)
    }

    fn arithmetic(
        &mut self,
        signs: &[&'static str],
        part: fn(&mut Self) -> Result<Parsed>,
    ) -> Result<Parsed> {
        let at = self.at();
        let first = part(self)?;
        let mut operators = 0;
        let mut left = first;
        while let Some(sign) = self.sign(signs) {
            operators += 1;
            if operators > Selector::MAX_DEPTH {
                let error = format!("more than {} operators in a row", Selector::MAX_DEPTH);
                return Err(SelectorError::new(self.at(), error));
            }
            let right_at = self.at();
            let right = part(self)?.term(right_at)?;
            let left_term = left.term(at)?;
            for (term, at) in [(&left_term, at), (&right, right_at)] {
                numeric(sign, term, at)?;
            }
            let operator = match sign {
                "+" => Operator::Add,
                "-" => Operator::Subtract,
                "*" => Operator::Multiply,
                _ => Operator::Divide,
            };
            let (a, b) = (Box::new(left_term), Box::new(right));
            left = Parsed::Term(Term::Arithmetic(operator, a, b));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Parsed> {
        let Some(sign) = self.sign(&["+", "-"]) else {
            return self.primary();
        };
        let at = self.at();
        let term = self.deeper(Self::unary)?.term(at)?;
        numeric(sign, &term, at)?;
        Ok(Parsed::Term(match sign {
            "-" => Term::Negative(Box::new(term)),
            _ => Term::Arithmetic(
                Operator::Add,
                Box::new(Term::Number(Number::Integer(0))),
                Box::new(term),
            ),
        }))
    }

    fn primary(&mut self) -> Result<Parsed> {
        if self.sign(&["("]).is_some() {
            let inner = self.deeper(Self::or)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let term = match self.peek() {
            Some(Word::Name(name)) => Term::Name(name.clone()),
            Some(Word::Text(text)) => Term::Text(text.clone()),
            Some(Word::Integer(number)) => Term::Number(Number::Integer(*number)),
            Some(Word::Float(number)) => Term::Number(Number::Float(*number)),
            Some(Word::Keyword(Keyword::True)) => Term::Bool(true),
            Some(Word::Keyword(Keyword::False)) => Term::Bool(false),
            _ => return Err(self.missing("a name or a value")),
        };
        self.next();
        Ok(Parsed::Term(term))
    }
}

/// Joins conditions into a tree whose depth is the logarithm of their number; the order of evaluation stays.
fn balanced(
    mut parts: Vec<Condition>,
    join: fn(Box<Condition>, Box<Condition>) -> Condition,
) -> Condition {
    while parts.len() > 1 {
        let mut halved = Vec::with_capacity(parts.len().div_ceil(2));
        let mut rest = parts.into_iter();
        while let Some(first) = rest.next() {
            halved.push(match rest.next() {
                Some(second) => join(Box::new(first), Box::new(second)),
                None => first,
            });
        }
        parts = halved;
    }
    parts.pop().unwrap_or(Condition::Truth(Term::Bool(true)))
}

fn negated(is_not: bool, condition: Condition) -> Condition {
    match is_not {
        true => Condition::Not(Box::new(condition)),
        false => condition,
    }
}

fn comparison(sign: &str) -> Comparison {
    match sign {
        "=" => Comparison::Equal,
        "<>" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        _ => Comparison::GreaterOrEqual,
    }
}

/// The name in front of an operator that is about a header alone.
fn name(left: Parsed, at: usize, operator: &str) -> Result<String> {
    match left {
        Parsed::Term(Term::Name(name)) => Ok(name),
        _ => {
            let error = format!("`{operator}` is about a header; a name is needed in front of it");
            Err(SelectorError::new(at, error))
        }
    }
}

/// Refuses operands that are no numbers, whatever the headers.
fn numeric(sign: &str, term: &Term, at: usize) -> Result<()> {
    let what = match term {
        Term::Text(_) => "a text",
        Term::Bool(_) => "a truth value",
        _ => return Ok(()),
    };
    let error = format!("`{sign}` is for numbers, and {} is {what}", shown(term));
    Err(SelectorError::new(at, error))
}

/// Refuses comparisons that are never true, whatever the headers.
fn check(
    sign: &str,
    comparison: Comparison,
    left: (&Term, usize),
    right: (&Term, usize),
) -> Result<()> {
    let kind = |term: &Term| match term {
        Term::Name(_) => None,
        Term::Text(_) => Some("a text"),
        Term::Bool(_) => Some("a truth value"),
        Term::Number(_) | Term::Negative(_) | Term::Arithmetic(..) => Some("a number"),
    };
    if !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
        for (term, at) in [left, right] {
            if let Some(kind) = kind(term).filter(|kind| *kind != "a number") {
                let error = format!("`{sign}` compares numbers, and {} is {kind}", shown(term));
                return Err(SelectorError::new(at, error));
            }
        }
    }
    match (kind(left.0), kind(right.0)) {
        (Some(a), Some(b)) if a != b => {
            let error = format!("{a} and {b} are never equal");
            Err(SelectorError::new(right.1, error))
        }
        _ => Ok(()),
    }
}
