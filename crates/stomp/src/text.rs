//! Texts of a peer: without the blanks around them, and quoted, bounded, so that an error text never grows with the input.

/// The maximum length of an excerpt in characters: enough to recognise a value in a log line.
const EXCERPT: usize = 64;

/// Returns the beginning of `text`, marked if truncated.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Returns the beginning of bytes that may not be UTF-8.
pub(crate) fn lossy_excerpt(bytes: &[u8]) -> String {
    // Four bytes hold any character, so this prefix is enough for a full excerpt.
    let prefix = &bytes[..bytes.len().min(4 * EXCERPT + 4)];
    excerpt(&String::from_utf8_lossy(prefix))
}

/// Returns a text without the blanks around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_bounded_and_cut_between_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ä".repeat(65)).chars().count(), 65);
        assert!(excerpt(&"ä".repeat(65)).ends_with('…'));
        assert_eq!(lossy_excerpt(&[b'a', 0xFF]), "a\u{FFFD}");
        assert_eq!(lossy_excerpt(&[0xFF; 100_000]).chars().count(), 65);
    }
}
