//! The time to live that a publisher gives a message.

use tramline_stomp::Headers;

use crate::errors::PublishError;
use crate::timestamp::Timestamp;

/// Returns the time at which a message expires by its headers; the earlier if there are two. ActiveMQ's `expires:0`
/// means never.
pub(crate) fn expiry(headers: &Headers, now: Timestamp) -> Result<Option<Timestamp>, PublishError> {
    let number = |header: &'static str| {
        let Some(value) = headers.get_bytestring(header) else {
            return Ok(None);
        };
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let number = value.parse::<u64>().ok().filter(|_| digits);
        number.map(Some).ok_or(PublishError::InvalidExpiry {
            header,
            value: value.chars().take(32).collect::<String>().into(),
        })
    };
    let at = number("expires")?
        .filter(|at| *at > 0)
        .map(Timestamp::from_millis);
    let after = number("expiration")?.map(|millis| now + std::time::Duration::from_millis(millis));
    Ok(at.into_iter().chain(after).min())
}
