//! Values of headers, read as other brokers' clients write them.

use std::num::NonZeroU32;

use bytestring::ByteString;
use tramline_broker::{Gap, Headers, Position, Start};

/// Returns the value of a header that is true or false, in any case: Python writes `False`.
pub(crate) fn flag(headers: &Headers, name: &str) -> Result<Option<bool>, String> {
    match headers.get(name) {
        None => Ok(None),
        Some(value) if value.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(value) if value.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(value) => Err(format!(
            "the header `{name}` is {:?}; it must be true or false",
            excerpt(value)
        )),
    }
}

/// Returns the client's name of a durable subscription, if SUBSCRIBE or UNSUBSCRIBE is about one: its `id`, as with
/// RabbitMQ, or what ActiveMQ's and Artemis's clients say.
pub(crate) fn durable_id(headers: &Headers) -> Result<Option<ByteString>, String> {
    let names = [
        "activemq.subscriptionName",
        "durable-subscription-name",
        "durable-subscriber-name",
    ];
    let named = names.iter().find_map(|name| headers.get_bytestring(name));
    let is_durable = flag(headers, "durable")? == Some(true);
    let is_persistent = flag(headers, "persistent")? == Some(true);
    let id = || headers.get_bytestring("id").cloned().unwrap_or_default();
    Ok(named.cloned().or((is_durable || is_persistent).then(id)))
}

/// Returns the header `prefetch-count`, as RabbitMQ has it: 0 is the same as no header.
pub(crate) fn prefetch_count(headers: &Headers) -> Result<Option<NonZeroU32>, String> {
    let Some(value) = headers.get("prefetch-count") else {
        return Ok(None);
    };
    let count = value.parse().map(NonZeroU32::new);
    count.map_err(|_| {
        let (value, most) = (excerpt(value), u32::MAX);
        format!("the header `prefetch-count` is {value:?}; it must be a number from 0 to {most}")
    })
}

/// Returns the start of a subscription by its header `resume-from`: a position, or one for each destination.
pub(crate) fn resume_from(headers: &Headers) -> Result<Option<Start>, String> {
    let Some(value) = headers.get("resume-from") else {
        return Ok(None);
    };
    let start = if value.contains('=') {
        let positions: Option<Vec<_>> = value.split('&').map(named_position).collect();
        positions.map(Start::AfterEach)
    } else {
        value.parse().ok().map(Start::After)
    };
    start.map(Some).ok_or_else(|| {
        let value = excerpt(value);
        format!(
            "the header `resume-from` is {value:?}; it must be EPOCH-SEQUENCE, two numbers, or for a pattern \
             DESTINATION=EPOCH-SEQUENCE, joined by `&`, with `%`, `&` and `=` in names percent-encoded"
        )
    })
}

/// Reads `DESTINATION=EPOCH-SEQUENCE`.
fn named_position(pair: &str) -> Option<(ByteString, Position)> {
    let (name, position) = pair.split_once('=')?;
    Some((percent_decoded(name)?.into(), position.parse().ok()?))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2)?;
        // `from_str_radix` would take a sign.
        if !code.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        decoded.push(u8::from_str_radix(code, 16).ok()?);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(decoded).ok()
}

/// Writes a destination for the left side of `=` in a header.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => encoded.push_str("%25"),
            '&' => encoded.push_str("%26"),
            '=' => encoded.push_str("%3D"),
            c => encoded.push(c),
        }
    }
    encoded
}

/// The header `position` of a SUBSCRIBE's RECEIPT: where a pattern's subscription starts in all its destinations.
pub(crate) fn start_of_all(position: Position) -> String {
    format!("{}={position}", Start::OTHERS)
}

/// The header `gap` of a SUBSCRIBE's RECEIPT: the first missing message is behind the first position, the last is at the
/// second.
pub(crate) fn gap(Gap { after, up_to }: Gap) -> String {
    format!("{after}..{up_to}")
}

/// The same for the destinations of a pattern that starts at `start`. What is too long for a header becomes one gap, of all.
pub(crate) fn gaps(gaps: &[(ByteString, Gap)], start: Option<Position>) -> String {
    let named = gaps
        .iter()
        .map(|(name, of)| format!("{}={}", percent_encoded(name), gap(*of)));
    let all = named.collect::<Vec<_>>().join("&");
    match start {
        Some(up_to) if all.len() > LONGEST_GAPS => {
            let after = Position::START;
            format!("{}={}", Start::OTHERS, gap(Gap { after, up_to }))
        }
        _ => all,
    }
}

/// Bytes of a list of gaps: half of what clients and proxies usually take in a header.
const LONGEST_GAPS: usize = 4_096;

/// Refuses a SUBSCRIBE that asks for what other brokers do and no engine of ours does: ignored, it would receive other
/// messages than its client expects. What some engines do is in
/// [`SubscribeOptions`](tramline_broker::SubscribeOptions).
pub(crate) fn check_subscribe(headers: &Headers) -> Result<(), String> {
    for (name, _) in headers.iter() {
        let is_wanted = match name {
            "no-local"
            | "exclusive"
            | "activemq.noLocal"
            | "activemq.exclusive"
            | "activemq.retroactive" => flag(headers, name)? == Some(true),
            _ => name.starts_with("x-stream-"),
        };
        if is_wanted {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

/// The same for a SEND to the broker; `is_persistent` says whether that stores messages to this
/// destination that ask for it.
pub(crate) fn check_send(
    headers: &Headers,
    is_persistent: impl Fn() -> bool,
) -> Result<(), String> {
    for (name, _) in headers.iter() {
        let is_wanted = match name {
            "persistent" => flag(headers, name)? == Some(true) && !is_persistent(),
            _ => name.starts_with("AMQ_SCHEDULED_"),
        };
        if is_wanted {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

/// The hub's words for options that its engine does not support.
fn unsupported(name: &str) -> String {
    format!("this broker does not support the header `{name}`")
}

/// The beginning of a client's value, for an error.
fn excerpt(value: &str) -> String {
    value.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_headers_survive_their_encoding() {
        for name in ["/topic/a", "/topic/a=b&c%25", "/topic/é", "*"] {
            let encoded = percent_encoded(name);
            assert!(!encoded.contains(['&', '=']));
            assert_eq!(percent_decoded(&encoded).as_deref(), Some(name));
        }
        assert_eq!(
            percent_decoded("%2Ftopic%2F%C3%A9").as_deref(),
            Some("/topic/é")
        );
        for wrong in ["%", "%4", "%+4", "%zz", "%C3", "%é"] {
            assert_eq!(percent_decoded(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_list_of_gaps_that_is_too_long_becomes_one() {
        let position = |sequence| Position { epoch: 7, sequence };
        let gap = Gap {
            after: position(1),
            up_to: position(2),
        };
        let many = |count| -> Vec<(ByteString, Gap)> {
            (0..count)
                .map(|n| (format!("/topic/{n}").into(), gap))
                .collect()
        };
        let start = Some(position(9));
        assert_eq!(gaps(&many(2), start), "/topic/0=7-1..7-2&/topic/1=7-1..7-2");
        assert_eq!(gaps(&many(1_000), start), "*=0-0..7-9");
    }
}
