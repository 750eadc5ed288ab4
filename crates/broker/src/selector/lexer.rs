//! The words of a selector.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::error::SelectorError;

/// A word, and the number of characters before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) word: Word,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Name(String),
    Text(String),
    Integer(i64),
    Float(f64),
    Keyword(Keyword),
    /// An operator, a comma or a parenthesis.
    Sign(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    And,
    Between,
    Escape,
    False,
    In,
    Is,
    Like,
    Not,
    Null,
    Or,
    True,
}

const KEYWORDS: [(&str, Keyword); 11] = [
    ("AND", Keyword::And),
    ("BETWEEN", Keyword::Between),
    ("ESCAPE", Keyword::Escape),
    ("FALSE", Keyword::False),
    ("IN", Keyword::In),
    ("IS", Keyword::Is),
    ("LIKE", Keyword::Like),
    ("NOT", Keyword::Not),
    ("NULL", Keyword::Null),
    ("OR", Keyword::Or),
    ("TRUE", Keyword::True),
];

/// Longer ones first.
const SIGNS: [&str; 13] = [
    "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "(", ")", ",",
];

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
            Self::Keyword(keyword) => {
                let named = KEYWORDS.iter().find(|(_, known)| known == keyword);
                write!(f, "`{}`", named.map_or("", |(text, _)| text))
            }
        }
    }
}

/// Splits a selector into words.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, SelectorError> {
    let mut lexer = Lexer {
        rest: text.chars().peekable(),
        at: 0,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.token()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    at: usize,
}

impl Lexer<'_> {
    fn token(&mut self) -> Result<Option<Token>, SelectorError> {
        while self.next_if(char::is_whitespace).is_some() {}
        let at = self.at;
        let Some(&first) = self.rest.peek() else {
            return Ok(None);
        };
        let word = match first {
            '\'' | '"' => self.quoted(first)?,
            '0'..='9' | '.' => self.number()?,
            _ if is_name(first) => self.name(),
            _ => self.sign(first)?,
        };
        Ok(Some(Token { at, word }))
    }

    fn next_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let next = self.rest.next_if(|c| wanted(*c))?;
        self.at += 1;
        Some(next)
    }

    /// A text or a quoted name; two quotes inside stand for one.
    fn quoted(&mut self, quote: char) -> Result<Word, SelectorError> {
        let at = self.at;
        let mut text = String::new();
        self.next_if(|_| true);
        loop {
            match self.next_if(|_| true) {
                Some(c) if c != quote => text.push(c),
                Some(_) if self.next_if(|c| c == quote).is_some() => text.push(quote),
                Some(_) => break,
                None => {
                    let error = format!("no {quote} ends what begins here");
                    return Err(SelectorError::new(at, error));
                }
            }
        }
        match quote {
            '"' if text.is_empty() => Err(SelectorError::new(at, "a name is empty")),
            '"' => Ok(Word::Name(text)),
            _ => Ok(Word::Text(text)),
        }
    }

    fn name(&mut self) -> Word {
        let mut name = String::new();
        while let Some(c) = self.next_if(|c| is_name(c) || c.is_ascii_digit()) {
            name.push(c);
        }
        let keyword = KEYWORDS
            .iter()
            .find(|(text, _)| name.eq_ignore_ascii_case(text));
        match keyword {
            Some((_, keyword)) => Word::Keyword(*keyword),
            None => Word::Name(name),
        }
    }

    fn number(&mut self) -> Result<Word, SelectorError> {
        let at = self.at;
        let mut digits = String::new();
        while let Some(c) = self.next_if(|c| c.is_ascii_alphanumeric() || c == '.') {
            digits.push(c);
            // A sign belongs to a number only behind its exponent.
            if matches!(c, 'e' | 'E')
                && !digits.starts_with("0x")
                && let Some(sign) = self.next_if(|c| matches!(c, '+' | '-'))
            {
                digits.push(sign);
            }
        }
        let number = digits.trim_end_matches(['l', 'L']);
        let is_integer = number.bytes().all(|c| c.is_ascii_digit());
        let word = if let Some(hex) = number.strip_prefix("0x") {
            i64::from_str_radix(hex, 16)
                .ok()
                .filter(|_| !hex.starts_with('+'))
                .map(Word::Integer)
        } else if is_integer && number.len() > 1 && number.starts_with('0') {
            let error =
                format!("{digits} could be octal or decimal; write it without the leading 0");
            return Err(SelectorError::new(at, error));
        } else if is_integer {
            number.parse().ok().map(Word::Integer)
        } else {
            let float = number.parse().ok().filter(|_| number.len() == digits.len());
            let is_plain = number
                .bytes()
                .all(|c| c.is_ascii_digit() || b".eE+-".contains(&c));
            float
                .filter(|float: &f64| is_plain && float.is_finite())
                .map(Word::Float)
        };
        word.ok_or_else(|| {
            SelectorError::new(at, format!("{digits} is no number, or too large a one"))
        })
    }

    fn sign(&mut self, first: char) -> Result<Word, SelectorError> {
        let at = self.at;
        let mut seen = String::from(first);
        self.next_if(|_| true);
        if let Some(second) = self.next_if(|second| {
            let both = [first, second];
            SIGNS.iter().any(|sign| sign.chars().eq(both))
        }) {
            seen.push(second);
        }
        let sign = SIGNS.iter().find(|sign| **sign == seen);
        sign.map(|sign| Word::Sign(sign)).ok_or_else(|| {
            let hint = match first {
                '!' => "; not equal is `<>`",
                _ => "; a name with other characters than letters, digits, `_` and `$` has double quotes around it",
            };
            SelectorError::new(at, format!("`{first}` has no meaning here{hint}"))
        })
    }
}

/// The characters of names, besides digits.
fn is_name(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '$')
}
