//! Tokens against cross-site request forgery, in Spring's form.

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// The header with the token, of an HTTP request and of CONNECT.
pub const CSRF_HEADER: &str = "X-CSRF-TOKEN";

/// The field with the token, of a form.
pub const CSRF_PARAMETER: &str = "_csrf";

const BYTES: usize = 32;

/// A session's token. It leaves the server only [masked](Self::masked).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token([u8; BYTES]);

impl Token {
    pub(crate) fn random() -> Self {
        Self(random())
    }

    /// Another text at each call, so that compression of pages does not reveal the token (BREACH): the URL-safe Base64 of
    /// random bytes followed by their XOR with the token.
    pub(crate) fn masked(&self) -> String {
        let mask: [u8; BYTES] = random();
        let mut both = [0; 2 * BYTES];
        both[..BYTES].copy_from_slice(&mask);
        both[BYTES..].copy_from_slice(&xor(&mask, &self.0));
        URL_SAFE.encode(both)
    }

    /// Compares with a masked token, in a time that does not depend on where they differ.
    pub(crate) fn matches(&self, sent: &str) -> bool {
        let mut both = [0; 2 * BYTES];
        let engine = match sent.ends_with('=') {
            true => URL_SAFE.decode_slice(sent, &mut both),
            false => URL_SAFE_NO_PAD.decode_slice(sent, &mut both),
        };
        let (mask, masked) = both.split_at(BYTES);
        engine.is_ok_and(|length| length == both.len())
            && bool::from(xor(mask, masked).ct_eq(&self.0))
    }

    /// The token as a cookie or a store has it.
    pub(crate) fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_text(&text).ok_or_else(|| serde::de::Error::custom("not a CSRF token"))
    }
}

fn xor(left: &[u8], right: &[u8]) -> [u8; BYTES] {
    std::array::from_fn(|index| left[index] ^ right[index])
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_token_fits_its_own_and_is_never_the_same() {
        let token = Token::random();
        let (one, another) = (token.masked(), token.masked());
        assert_ne!(one, another);
        assert!(token.matches(&one) && token.matches(&another));
        assert!(token.matches(one.trim_end_matches('=')));
        assert!(!Token::random().matches(&one));
    }

    #[test]
    fn nothing_else_fits() {
        let token = Token::random();
        let masked = token.masked();
        let mut flipped = URL_SAFE.decode(&masked).unwrap();
        flipped[63] ^= 1;
        for sent in [
            "",
            "=",
            "AAAA",
            &token.to_text(),
            &masked[..masked.len() - 4],
            &format!("{masked}AAAA"),
            &URL_SAFE.encode(flipped),
            &URL_SAFE.encode([0; 64]),
        ] {
            assert!(!token.matches(sent), "{sent}");
        }
    }

    #[test]
    fn a_store_gives_it_back() {
        let token = Token::random();
        assert_eq!(Token::from_text(&token.to_text()), Some(token));
        assert_eq!(Token::from_text("short"), None);
    }
}
