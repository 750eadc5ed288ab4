//! The meaning of patterns, implemented as plainly as possible, however slow.

use tramline_broker::{Pattern, Separator};

use super::rules::Rules;

pub(super) fn is_wild(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Parses a text that is a valid pattern.
pub(super) fn parse(text: &str) -> Pattern {
    Pattern::parse_separated(text.to_owned(), Rules::separator(text)).expect("it is a pattern")
}

/// Returns true if a pattern covers a destination.
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

/// The segments of a text, each with the separator in front of it.
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

/// Row by row: the prefixes of `values` that the pattern so far covers.
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
