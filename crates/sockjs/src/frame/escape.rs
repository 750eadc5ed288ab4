//! JSON escaping, including the characters that browsers and proxies corrupt.

/// Appends `text` as the content of a JSON string, without the quotes.
///
/// It escapes quote, backslash and U+0000–001F, as JSON requires (`\b` `\t` `
/// ` `\f` `\r` in their short form); and, as lower-case `\uXXXX`, the characters that some browser or library drops, or
/// takes for a line end, when it reads them raw: U+007F–009F, 00AD, 0600–0604, 070F, 17B4–17B5, 200C–200F, 2028–202F,
/// 2060–206F, FEFF, FFF0–FFFF. Everything else, including characters beyond U+FFFF, is copied: responses are declared
/// as UTF-8.
///
/// Each character is escaped by itself, so the escape of a concatenation is the concatenation of the escapes: a long
/// text that many sessions share is escaped once.
///
/// Source: sockjs-protocol 0.3.3, "JSON Unicode Encoding" (`escapable_by_server`, which is a subset), and the list that
/// `sockjs-client` and its server relatives treat as unsafe.
///
/// # Example: a STOMP frame ends in NUL
///
/// ```
/// use tramline_sockjs::frame::escape_into;
///
/// let mut out = Vec::new();
/// escape_into(&mut out, "RECEIPT\nreceipt-id:7\n\n\0");
/// assert_eq!(out, br"RECEIPT\nreceipt-id:7\n\n\u0000");
/// ```
///
/// # Example: parts may be escaped separately
///
/// ```
/// use tramline_sockjs::frame::escape_into;
///
/// let (mut parts, mut whole) = (Vec::new(), Vec::new());
/// escape_into(&mut parts, "head\u{2028}");
/// escape_into(&mut parts, "\"tail\"");
/// escape_into(&mut whole, "head\u{2028}\"tail\"");
/// assert_eq!(parts, whole);
/// ```
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .iter()
        .position(|byte| SUSPECT[usize::from(*byte)])
    {
        at += found;
        // A suspect byte is ASCII or a leading byte, so a character starts here.
        let Some(character) = text[at..].chars().next() else {
            break;
        };
        let next = at + character.len_utf8();
        if is_escaped(character) {
            out.extend_from_slice(&bytes[copied..at]);
            push_escape(out, character);
            copied = next;
        }
        at = next;
    }
    out.extend_from_slice(&bytes[copied..]);
}

fn push_escape(out: &mut Vec<u8>, character: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";

    let short = match character {
        '"' | '\\' => character as u8,
        '\u{8}' => b'b',
        '\t' => b't',
        '\n' => b'n',
        '\u{c}' => b'f',
        '\r' => b'r',
        _ => {
            let code = u32::from(character);
            out.extend_from_slice(b"\\u");
            out.extend([12, 8, 4, 0].map(|shift| HEX[((code >> shift) & 0xf) as usize]));
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// All of them are at or below U+FFFF, so four hex digits suffice.
fn is_escaped(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '"'
            | '\\'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{600}'..='\u{604}'
            | '\u{70f}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{200c}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{ffff}'
    )
}

/// Bytes that an escaped character can start with. All other bytes are copied without decoding.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        suspect[byte] = true;
        byte += 1;
    }
    let others = [b'"', b'\\', 0x7f, 0xc2, 0xd8, 0xdc, 0xe1, 0xe2, 0xef];
    let mut index = 0;
    while index < others.len() {
        suspect[others[index] as usize] = true;
        index += 1;
    }
    suspect
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escape(text: &str) -> String {
        let mut out = Vec::new();
        escape_into(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_character_is_either_copied_or_escaped_by_the_list() {
        for character in char::MIN..=char::MAX {
            let escaped = escape(&format!("<{character}>"));
            if !is_escaped(character) {
                assert_eq!(escaped, format!("<{character}>"));
            } else if !matches!(character, '"' | '\\' | '\u{8}'..='\n' | '\u{c}' | '\r') {
                assert_eq!(escaped, format!("<\\u{:04x}>", u32::from(character)));
            }
        }
        assert_eq!(escape("\"\\\u{8}\t\n\u{c}\r"), r#"\"\\\b\t\n\f\r"#);
    }

    // sockjs-protocol 0.3.3, JSONEncoding.test_xhr_server_encodes: all of these must be written as \uXXXX.
    #[test]
    fn what_the_script_requires_is_escaped() {
        for range in [
            0x200c..=0x200f,
            0x2028..=0x202f,
            0x2060..=0x206f,
            0xfff0..=0xffff_u32,
        ] {
            for code in range {
                assert_eq!(
                    escape(&char::from_u32(code).unwrap().to_string()),
                    format!("\\u{code:04x}")
                );
            }
        }
    }

    #[test]
    fn neighbours_of_the_list_and_astral_characters_are_copied() {
        let text = "\u{a0}\u{605}\u{5ff}\u{17b3}\u{17b6}\u{200b}\u{2010}\u{2027}\u{2030}\u{205f}\u{2070}\u{ffef}😀é";
        assert_eq!(escape(text), text);
    }

    /// Text in which every second character is on the list.
    fn spiteful_text() -> impl Strategy<Value = String> {
        let listed = prop::sample::select(
            (char::MIN..='\u{ffff}')
                .filter(|c| is_escaped(*c))
                .collect::<Vec<_>>(),
        );
        prop::collection::vec(prop_oneof![any::<char>(), listed], 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_json_parser_reads_the_same_text(text in spiteful_text()) {
            let json = format!("\"{}\"", escape(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn escaping_distributes_over_concatenation(a in spiteful_text(), b in spiteful_text()) {
            prop_assert_eq!(escape(&a) + &escape(&b), escape(&(a + &b)));
        }

        #[test]
        fn no_line_end_survives(text in spiteful_text()) {
            let line_ends = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
            prop_assert!(!escape(&text).contains(line_ends));
        }
    }
}
