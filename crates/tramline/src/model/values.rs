//! Values of headers, read as other brokers' clients write them.

use std::num::NonZeroU32;

use tramline_broker::{Headers, Position};

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

/// Returns the position in the header `resume-from`.
pub(crate) fn resume_from(headers: &Headers) -> Result<Option<Position>, String> {
    let Some(value) = headers.get("resume-from") else {
        return Ok(None);
    };
    let position = value.split_once('-').and_then(|(epoch, sequence)| {
        Some(Position {
            epoch: epoch.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    });
    position.map(Some).ok_or_else(|| {
        let value = excerpt(value);
        format!("the header `resume-from` is {value:?}; it must be EPOCH-SEQUENCE, two numbers")
    })
}

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
            "activemq.subscriptionName"
            | "durable-subscription-name"
            | "durable-subscriber-name" => true,
            _ => name.starts_with("x-stream-"),
        };
        if is_wanted {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

/// The same for a SEND to the broker; `is_persistent` says whether that stores messages that ask for it.
pub(crate) fn check_send(headers: &Headers, is_persistent: bool) -> Result<(), String> {
    for (name, _) in headers.iter() {
        let is_wanted = match name {
            "persistent" => !is_persistent && flag(headers, name)? == Some(true),
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
