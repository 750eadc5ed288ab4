//! Selectors: the first line is one, the others are headers, `name:value`.
//!
//! Held to be true:
//!
//! - No input makes anything panic.
//! - The place of an error is inside the selector, or at its end.
//! - Not both a selector and its `NOT` match; with `OR TRUE` it always does, with `AND FALSE` never.
//! - `AND TRUE` and parentheses change nothing.

use tramline_broker::{Headers, Selector};

/// Compiles the first line, and looks at the headers.
///
/// # Panics
///
/// Where a promise is broken.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.split('\n');
    let text = lines.next().unwrap_or_default();
    let selector = match Selector::parse(text) {
        Ok(selector) => selector,
        Err(error) => {
            assert!(error.at() <= text.chars().count(), "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let headers: Headers = lines.filter_map(|line| line.split_once(':')).collect();
    let matches = selector.matches(&headers);
    for (around, expected) in [
        (format!("({text})"), Some(matches)),
        (format!("({text}) AND TRUE"), Some(matches)),
        (format!("({text}) AND FALSE"), Some(false)),
        (format!("({text}) OR TRUE"), Some(true)),
        (format!("NOT ({text})"), matches.then_some(false)),
    ] {
        // Beyond the limits of length and depth there is nothing to compare.
        if let (Ok(around), Some(expected)) = (Selector::parse(&around), expected) {
            assert_eq!(around.matches(&headers), expected, "{text}");
        }
    }
}
