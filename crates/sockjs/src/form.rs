//! Decoding of URL-encoded text: `a=b+c&d=%20`.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Returns the decoded field `name` of a query or of an `application/x-www-form-urlencoded` body; the first, if there
/// are several.
///
/// `jsonp_send` has its payload in the field `d` of such a body, for
/// [`parse_messages`](crate::parse_messages); a body of any other content type is the payload itself.
///
/// Nothing is an error: a percent sign without two hexadecimal digits after it is kept, as in browsers. The result is
/// at most as long as its encoded form.
///
/// # Example: a form, and one without the field
///
/// ```
/// use tramline_sockjs::form_field;
///
/// assert_eq!(form_field(b"t=1&d=%5B%22x+y%22%5D", "d").as_deref(), Some(&b"[\"x y\"]"[..]));
/// assert_eq!(form_field(b"p=p", "d"), None);
/// ```
#[must_use]
pub fn form_field<'a>(form: &'a [u8], name: &str) -> Option<Cow<'a, [u8]>> {
    form.split(|byte| *byte == b'&').find_map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let key = halves.next()?;
        (*decode(key) == *name.as_bytes()).then(|| decode(halves.next().unwrap_or_default()))
    })
}

/// Decodes to bytes; `form_urlencoded` would return text, and so hide invalid UTF-8 from the payload's parser.
fn decode(encoded: &[u8]) -> Cow<'_, [u8]> {
    if !encoded.contains(&b'+') {
        return percent_decode(encoded).into();
    }
    let spaced: Vec<u8> = encoded
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_decode(&spaced).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(form: &str, name: &str) -> Option<String> {
        form_field(form.as_bytes(), name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    #[test]
    fn fields_are_found_and_decoded() {
        for (form, value) in [
            ("d=x", Some("x")),
            ("d=", Some("")),
            ("d", Some("")),
            ("", None),
            ("dd=x", None),
            ("a=d=x", None),
            ("a=1&d=2&d=3", Some("2")),
            ("%64=x", Some("x")),
            ("d=a%3Db%26c=d", Some("a=b&c=d")),
            ("d=%c3%A9+%2B", Some("é +")),
            ("d=%", Some("%")),
            ("d=%4", Some("%4")),
            ("d=%zz%41", Some("%zzA")),
            ("d=%+1", Some("% 1")),
        ] {
            assert_eq!(field(form, "d").as_deref(), value, "{form}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(value: Vec<u8>) {
            let encoded: String = value.iter().map(|byte| format!("%{byte:02X}")).collect();
            let form = format!("a=%41&d={encoded}&b");
            prop_assert_eq!(form_field(form.as_bytes(), "d").unwrap(), value);
        }

        #[test]
        fn never_panics_nor_grows(form: Vec<u8>) {
            if let Some(value) = form_field(&form, "d") {
                prop_assert!(value.len() <= form.len());
            }
        }
    }
}
