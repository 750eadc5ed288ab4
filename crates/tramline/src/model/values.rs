//! Values of headers, read as other brokers' clients write them.

use std::num::NonZeroU32;

use tramline_broker::Headers;

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

/// The beginning of a client's value, for an error.
fn excerpt(value: &str) -> String {
    value.chars().take(32).collect()
}
