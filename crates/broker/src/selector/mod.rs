//! Selectors: conditions on a message's headers, as JMS has them.

mod error;
mod expression;
mod lexer;
mod like;
mod parser;
mod properties;

pub use self::error::SelectorError;
use self::expression::Condition;
pub use self::properties::{Properties, Property};

/// A condition on a message's headers in JMS's subset of SQL-92, compiled once.
///
/// | | |
/// |---|---|
/// | names | `symbol`, or `"content-type"` in double quotes; `JMSMessageID`, `JMSPriority`, `JMSTimestamp`, `JMSCorrelationID`, `JMSType` and `JMSDeliveryMode` have JMS's meaning |
/// | literals | `'it''s'`, `42`, `0x2A`, `1.5e3`, `TRUE`, `FALSE` |
/// | comparison | `=` `<>` `<` `<=` `>` `>=`, `BETWEEN … AND …`, `IN ('a', 'b')`, `LIKE 'a%_' ESCAPE '\'`, `IS NULL`, and their `NOT` |
/// | arithmetic | `+` `-` `*` `/`, of integers or floating-point numbers as in Java |
/// | logic | `NOT`, `AND`, `OR`, in this precedence, with parentheses; three-valued: what is about a missing header is neither true nor false |
///
/// Words are read in any case. Headers are texts in STOMP: beside a number, one that looks like a number is that number, and
/// another is unknown; as a condition of its own, `true` and `false` are themselves.
///
/// Its text has at most [`Selector::MAX_LENGTH`] bytes, [`Selector::MAX_DEPTH`] levels and [`Selector::MAX_LIKES`] uses of
/// `LIKE`, so that no subscriber makes publishing expensive.
///
/// # Example: cheap shares of two companies
///
/// ```
/// use tramline_broker::{Headers, Selector};
///
/// let selector = Selector::parse("symbol IN ('ACME', 'DUFF') AND price < 10.5")?;
/// let headers = Headers::from_iter([("symbol", "ACME"), ("price", "10")]);
/// assert!(selector.matches(&headers));
///
/// let error = Selector::parse("price < 'cheap'").unwrap_err();
/// assert_eq!(error.to_string(), "at character 9: `<` compares numbers, and 'cheap' is a text");
/// # Ok::<(), tramline_broker::SelectorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Selector {
    condition: Condition,
}

impl Selector {
    /// The maximum length of a selector: 1,024 bytes, some twenty comparisons.
    pub const MAX_LENGTH: usize = 1_024;

    /// The maximum depth of parentheses and operators inside each other: 32.
    pub const MAX_DEPTH: usize = 32;

    /// The maximum number of uses of `LIKE`, which looks at each character of a header: 8.
    pub const MAX_LIKES: usize = 8;

    /// Compiles a selector.
    ///
    /// # Errors
    ///
    /// [`SelectorError`], with the place and the kind of the author's error.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > Self::MAX_LENGTH {
            let error = format!(
                "it has {} bytes, and {} are allowed; compare less",
                text.len(),
                Self::MAX_LENGTH
            );
            return Err(SelectorError::new(0, error));
        }
        let tokens = lexer::tokens(text)?;
        let condition = parser::parse(&tokens, text.chars().count())?;
        Ok(Self { condition })
    }

    /// Returns true if the condition is true for these headers: neither false nor unknown.
    pub fn matches(&self, headers: &impl Properties) -> bool {
        self.condition.evaluate(headers) == Some(true)
    }
}
