//! What patterns mean, as slowly and plainly as can be said.

use tramline_broker::{Pattern, Separator};

use super::rules::Rules;

pub(super) fn is_wild(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// A text that is known to be a pattern.
pub(super) fn parse(text: &str) -> Pattern {
    Pattern::parse_separated(text.to_owned(), Rules::separator(text)).expect("it is a pattern")
}

/// Whether a pattern covers a destination.
pub(super) fn matches(pattern: &str, destination: &str) -> bool {
    let separator = Rules::separator(pattern);
    covers(
        &segments(pattern, separator),
        &segments(destination, separator),
        |part| matches!(part.as_str(), "/**" | ".**"),
        |part, segment| {
            let part: Vec<char> = part.chars().collect();
            let segment: Vec<char> = segment.chars().collect();
            covers(
                &part,
                &segment,
                |part| *part == '*',
                |part, letter| *part == '?' || part == letter,
            )
        },
    )
}

/// Each with what separates it from the one before.
fn segments(text: &str, separator: Separator) -> Vec<String> {
    let mut segments = Vec::new();
    for letter in text.chars() {
        if letter == '/' || (letter == '.' && separator == Separator::Dot) {
            segments.push(String::new());
        }
        if let Some(segment) = segments.last_mut() {
            segment.push(letter);
        }
    }
    segments
}

/// Row by row: which beginnings of `values` the pattern so far covers.
fn covers<P, V>(
    pattern: &[P],
    values: &[V],
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &V) -> bool,
) -> bool {
    let mut reached = vec![false; values.len() + 1];
    reached[0] = true;
    for part in pattern {
        if is_star(part) {
            for at in 0..values.len() {
                reached[at + 1] |= reached[at];
            }
        } else {
            for at in (0..values.len()).rev() {
                reached[at + 1] = reached[at] && fits(part, &values[at]);
            }
            reached[0] = false;
        }
    }
    reached[values.len()]
}
