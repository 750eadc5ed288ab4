//! The two header values of the opening handshake (RFC 6455 §4).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD, STANDARD};
use sha1::{Digest, Sha1};

/// Returns the `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
///
/// Check the key with [`is_valid_key`] first; this function accepts any text. A client compares the result for its own
/// key with the server's header.
///
/// # Example: the RFC's own
///
/// ```
/// assert_eq!(tramline_websocket::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

/// Returns true if a `Sec-WebSocket-Key` is the base64 of 16 bytes (RFC 6455 §4.1).
///
/// Answer a request with an invalid key with HTTP 400. The unused bits of the last digit may have any value: an example
/// in the RFC itself sets them.
///
/// # Example: sixteen bytes, not fifteen
///
/// ```
/// use tramline_websocket::is_valid_key;
///
/// assert!(is_valid_key("dGhlIHNhbXBsZSBub25jZQ=="));
/// assert!(!is_valid_key("dGhlIHNhbXBsZSBub25j"));
/// ```
#[must_use]
pub fn is_valid_key(key: &str) -> bool {
    // Length first: decode_slice needs room for its estimate, which is 18 bytes for 24 digits.
    key.len() == 24 && LENIENT.decode_slice(key, &mut [0; 18]) == Ok(16)
}

/// Returns the `Sec-WebSocket-Key` for a nonce (RFC 6455 §4.1).
///
/// Choose the nonce at random for each connection; it is a parameter because this crate has no source of randomness.
///
/// # Example: servers accept the client's key
///
/// ```
/// use tramline_websocket::{client_key, is_valid_key};
///
/// let key = client_key(*b"the sample nonce");
/// assert_eq!(key, "dGhlIHNhbXBsZSBub25jZQ==");
/// assert!(is_valid_key(&key));
/// ```
#[must_use]
pub fn client_key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// The RFC's constant, which keeps a server from accepting by accident (§1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    PAD.with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::is_valid_key;

    #[test]
    fn trailing_bits_of_a_key_are_free() {
        assert!(
            is_valid_key("AQIDBAUGBwgJCgsMDQ4PEC=="),
            "RFC 6455 section 4.1"
        );
        assert!(is_valid_key("AQIDBAUGBwgJCgsMDQ4PEA=="));
    }

    #[test]
    fn other_keys_are_refused() {
        for key in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ= ",
            "dGhlIHNhbXBsZSBub25jZSEh",
            "dGhlIHNhbXBsZSBub25jZSE=",
            "dGhl-HNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25jZQ==\n",
            "ééééééééééaa",
        ] {
            assert!(!is_valid_key(key), "{key:?}");
        }
    }
}
