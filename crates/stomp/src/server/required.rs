use bytestring::ByteString;

use super::error::PeerViolation;
use crate::command::Command;
use crate::headers::Headers;

/// Returns the value of a header that must be present and not empty.
pub(super) fn required(
    headers: &Headers,
    command: Command,
    header: &'static str,
) -> Result<ByteString, PeerViolation> {
    headers
        .get_bytestring(header)
        .filter(|value| !value.is_empty())
        .cloned()
        .ok_or(PeerViolation::MissingHeader { command, header })
}
