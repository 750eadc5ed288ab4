//! The tables say what the code does.

use std::fmt::Debug;
use std::time::Duration;

use tramline_broker::{Destination, EmbeddedBroker, Hub, Pattern, QueueSettings, TopicSettings};
use tramline_sockjs::{MAX_CALLBACK_LEN, MAX_ID_LEN, PayloadLimits};

use crate::model::log::{ADDRESS_LOG_LINES, LOG_TIME, SESSION_LOG_LINES};
use crate::model::rejection::RejectionKind;
use crate::net::endpoint::SockJs;
use crate::net::endpoint::incoming::{DISCARD_TIME, DISCARDED};
use crate::net::endpoint::sockjs::sessions::{LOOKUP_TIME, LOOKUPS};
use crate::net::transport::sockjs::QUEUE_LIMIT;
use crate::net::transport::{keep_alive::LAST_CHANCE, slices::INFLATED, task::CLOSE_TIME};
use crate::net::wheel::TICK;
use crate::raw::RawLimits;
use crate::session::{READ_AHEAD, UNHEARD};
use crate::stack::limits::Limits;
use crate::stack::stats::Stats;

const LIMITS: &str = include_str!("timeouts-and-limits.md");
const SOCKJS: &str = include_str!("sockjs.md");
const ERRORS: &str = include_str!("errors.md");
const STARTED: &str = include_str!("getting-started.md");

/// The first table behind `place`, as names and what the column `column` says of them.
pub(crate) fn table<'a>(page: &'a str, place: &str, column: &str) -> Vec<(&'a str, &'a str)> {
    let (_, rest) = page.split_once(place).expect(place);
    let mut rows = rest
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let head = rows.next().expect("a table");
    let column = head.iter().position(|name| *name == column).expect(column);
    rows.skip(1)
        .map(|cells| {
            let name = cells[1].split('`').nth(1).expect("a name");
            (name, cells[column])
        })
        .collect()
}

/// A value as `Debug` writes it, from what a table says: `65,536 bytes` and `25 s`, `none` and `` `Close` ``.
fn says(documented: &str, value: &str) -> bool {
    let value = value
        .strip_prefix("Some(")
        .and_then(|value| value.strip_suffix(')'))
        .unwrap_or(value);
    let bare = documented.replace(['`', ','], "");
    let number = bare.split(' ').next().unwrap_or_default();
    let without_spaces = bare.replace(' ', "");
    value == without_spaces || value == number || (value == "None" && bare == "none")
}

/// The fields of a value, at any depth: `Debug` writes `name: value` for each.
pub(crate) fn fields(value: &impl Debug) -> Vec<(String, String)> {
    let text = format!("{value:?}");
    let mut fields = Vec::new();
    for (at, _) in text.match_indices(": ") {
        let name = text[..at].rsplit([' ', '{']).next().unwrap_or_default();
        let value = &text[at + 2..];
        let end = value.find([',', '}']).unwrap_or(value.len());
        fields.push((name.to_owned(), value[..end].trim_end().to_owned()));
    }
    fields
}

/// Every field has its row, with its value, and every row its field.
fn describes(rows: &[(&str, &str)], value: &impl Debug, but: &[&str]) {
    let fields = fields(value);
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    for (name, value) in &fields {
        if but.contains(&name.as_str()) {
            continue;
        }
        let row = rows.iter().find(|(row, _)| last(row) == *name);
        let (_, documented) = row.unwrap_or_else(|| panic!("`{name}` ({value}) is not described"));
        assert!(
            says(documented, value),
            "`{name}` is {value}, and described as {documented}"
        );
    }
    for (row, _) in rows {
        assert!(
            fields.iter().any(|(name, _)| *name == last(row)),
            "`{row}` is described, and there is no such field"
        );
    }
}

/// Every row has its value here, and nothing else is here.
fn lists(rows: &[(&str, &str)], values: &[(&str, String)]) {
    let named = |rows: &mut dyn Iterator<Item = &str>| rows.collect::<Vec<_>>().join(" ");
    assert_eq!(
        named(&mut rows.iter().map(|(name, _)| *name)),
        named(&mut values.iter().map(|(name, _)| *name))
    );
    for ((name, documented), (_, value)) in rows.iter().zip(values) {
        assert!(
            says(documented, value),
            "`{name}` is {value}, and described as {documented}"
        );
    }
}

#[test]
fn limits_of_sessions() {
    let stomp = table(LIMITS, "# Sessions with STOMP", "Default");
    describes(&stomp, &Limits::default(), &["heart_beat"]);
    let raw = table(LIMITS, "# Sessions without STOMP", "Default");
    describes(&raw, &RawLimits::default(), &[]);
    assert_eq!(Limits::default().message(), 393_216);
    assert!(LIMITS.contains("393,216 bytes with the defaults"));
}

#[test]
fn options_of_sockjs() {
    let not_a_value = ["config", "transports", "client_library_url"];
    let options = table(SOCKJS, "# Options", "Default");
    let values: Vec<_> = options
        .iter()
        .copied()
        .filter(|(name, _)| !not_a_value.contains(name))
        .collect();
    describes(&values, &SockJs::default(), &not_a_value);

    let numbers = table(LIMITS, "# SockJS", "Default");
    let named: Vec<_> = numbers.iter().map(|(name, _)| *name).collect();
    let other: Vec<_> = fields(&SockJs::default())
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !named.contains(&name.as_str()))
        .collect();
    let other: Vec<_> = other.iter().map(String::as_str).collect();
    describes(&numbers, &SockJs::default(), &other);
}

#[test]
fn limits_of_sockjs_requests() {
    let rows = table(LIMITS, "what one request may bring", "Default");
    let payload = PayloadLimits::default();
    lists(
        &rows,
        &[
            ("bytes", payload.bytes.to_string()),
            ("messages", payload.messages.to_string()),
            ("MAX_ID_LEN", MAX_ID_LEN.to_string()),
            ("MAX_CALLBACK_LEN", MAX_CALLBACK_LEN.to_string()),
        ],
    );
}

#[cfg(feature = "serve")]
#[test]
fn limits_of_the_http_server() {
    let rows = table(LIMITS, "# HTTP connections", "Default");
    describes(&rows, &crate::serve::ServeLimits::default(), &[]);
}

#[test]
fn settings_of_the_broker() {
    let broker = EmbeddedBroker::new();
    let everything = Pattern::parse("/**").expect("a pattern");
    let most = Hub::new(broker).statistics(&everything, 0).max_bytes;
    let rows = table(
        LIMITS,
        "[`EmbeddedBroker`](crate::EmbeddedBroker),",
        "Default",
    );
    assert!(rows[0].0 == "max_bytes" && says(rows[0].1, &most.to_string()));

    let queue = table(
        LIMITS,
        "[`QueueSettings`](crate::broker::QueueSettings),",
        "Default",
    );
    describes(&queue, &QueueSettings::default(), &[]);
    let topic = table(
        LIMITS,
        "[`TopicSettings`](crate::broker::TopicSettings),",
        "Default",
    );
    describes(&topic, &TopicSettings::default(), &[]);
    let names = table(
        LIMITS,
        "[`Destination`](crate::broker::Destination) and",
        "Default",
    );
    lists(
        &names,
        &[
            ("MAX_LENGTH", Destination::MAX_LENGTH.to_string()),
            ("MAX_SEGMENTS", Destination::MAX_SEGMENTS.to_string()),
            ("MAX_WILD_SEGMENTS", Pattern::MAX_WILD_SEGMENTS.to_string()),
            ("MAX_WILD_LENGTH", Pattern::MAX_WILD_LENGTH.to_string()),
        ],
    );
}

#[test]
fn what_cannot_be_chosen() {
    let time = |value: Duration| format!("{value:?}");
    lists(
        &table(LIMITS, "# What cannot be chosen", "Value"),
        &[
            ("TICK", time(TICK)),
            ("CLOSE_TIME", time(CLOSE_TIME)),
            ("LAST_CHANCE", time(LAST_CHANCE)),
            ("READ_AHEAD", READ_AHEAD.to_string()),
            ("UNHEARD", UNHEARD.to_string()),
            ("QUEUE_LIMIT", QUEUE_LIMIT.to_string()),
            ("INFLATED", INFLATED.to_string()),
            ("LOOKUPS", LOOKUPS.to_string()),
            ("LOOKUP_TIME", time(LOOKUP_TIME)),
            ("DISCARDED", DISCARDED.to_string()),
            ("DISCARD_TIME", time(DISCARD_TIME)),
            ("SESSION_LOG_LINES", SESSION_LOG_LINES.to_string()),
            ("ADDRESS_LOG_LINES", ADDRESS_LOG_LINES.to_string()),
            ("LOG_TIME", time(LOG_TIME)),
            ("READ_TOLERANCE", tramline_stomp::READ_TOLERANCE.to_string()),
        ],
    );
}

/// Every kind of rejection has its row, under the name that clients see; and every counter of failures has one.
#[test]
fn every_failure_is_described() {
    use RejectionKind::{
        Anonymous, Application, BadMessage, BadReply, Denied, HandlerPanicked, HandlerTimedOut,
        Invalid, MessagesMissed, Misconfigured, NoRoute, NotPublished, NotSubscribed, Refused,
        TokenRefused, UnsupportedFormat,
    };
    let kinds = [
        BadMessage,
        UnsupportedFormat,
        Invalid,
        Anonymous,
        NoRoute,
        Application,
        Refused,
        Misconfigured,
        HandlerPanicked,
        HandlerTimedOut,
        BadReply,
        NotPublished,
        NotSubscribed,
        Denied,
        TokenRefused,
        MessagesMissed,
    ];
    let named: Vec<_> = table(ERRORS, "# Rejected messages", "When")
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    let known = kinds.map(|kind| match kind {
        // A new kind does not compile without its row.
        BadMessage | UnsupportedFormat | Invalid | Anonymous | NoRoute | Application | Refused
        | Misconfigured | HandlerPanicked | HandlerTimedOut | BadReply | NotPublished
        | NotSubscribed | Denied | TokenRefused | MessagesMissed => serde_json::to_string(&kind)
            .expect("a text")
            .replace('"', ""),
    });
    assert_eq!(named, known);

    let no_failures = [
        "sessions_open",
        "sessions_total",
        "messages_received",
        "messages_sent",
    ];
    let counters = fields(&Stats::default());
    assert!(counters.len() > no_failures.len());
    for (counter, _) in counters {
        assert!(
            no_failures.contains(&&*counter) || ERRORS.contains(&format!("`{counter}`")),
            "`{counter}` counts what is not described"
        );
    }
}

/// The first page shows the program and the page that the browsers' test runs.
#[test]
fn the_first_program_is_the_example() {
    let program = include_str!("../../../../examples/getting-started/src/main.rs");
    let (_, code) = program.split_once("\n\n").expect("a line about it");
    assert!(
        STARTED.contains(&format!("```no_run\n{code}```\n")),
        "copy examples/getting-started/src/main.rs, from its first `use` on"
    );
    let page = include_str!("../../../../examples/getting-started/page/index.html");
    assert!(
        STARTED.contains(&format!("```html\n{page}```\n")),
        "copy examples/getting-started/page/index.html"
    );
}

/// The tests above would pass whatever the tables say if this did.
#[test]
fn a_wrong_value_and_a_missing_row_are_noticed() {
    assert!(says("65,536 bytes", "65536") && says("25 s", "Some(25s)") && says("none", "None"));
    assert!(!says("65,536 bytes", "65537") && !says("25 s", "20s") && !says("none", "Some(25s)"));
    let missing = std::panic::catch_unwind(|| describes(&[], &TopicSettings::default(), &[]));
    assert!(missing.is_err());
}
