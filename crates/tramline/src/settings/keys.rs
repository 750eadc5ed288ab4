//! All keys: their names, and the effects of their values.

use std::mem;
use std::num::NonZeroU32;
use std::time::Duration;

use bytestring::ByteString;
use http::HeaderName;

use super::Settings;
use super::value::{Value, Wrong};
use crate::model::prefix::unslashed;
use crate::net::compression::Compression;
use crate::net::endpoint::SockJs;
use crate::net::endpoint::{Hosts, Origins, Proxies};
use crate::stack::policy::Refusals;
use tramline_broker::Overflow;
use tramline_broker::Separator;
use tramline_sockjs::OnAbort;
use tramline_sockjs::Transport as SockJsTransport;

/// One setting.
#[derive(Debug)]
pub(super) struct Key {
    /// As in a file, with a dot after each section.
    pub(super) name: &'static str,
    pub(super) set: fn(&mut Settings, &Value) -> Result<(), Wrong>,
}

impl Key {
    /// The environment variable: `TRAMLINE_LIMITS_BODY` for `limits.body`.
    pub(super) fn variable(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.name.replace('.', "_").to_uppercase())
    }

    pub(super) fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

type Set = fn(&mut Settings, &Value) -> Result<(), Wrong>;

const fn key(name: &'static str, set: Set) -> Key {
    Key { name, set }
}

/// In the order of the guide's table.
pub(super) static KEYS: &[Key] = &[
    key("name", |to, value| {
        to.name = value.text()?;
        Ok(())
    }),
    key("application_prefixes", |to, value| {
        let prefixes = value.texts()?;
        if prefixes.is_empty() {
            return Err("must be one prefix at least".into());
        }
        to.application_prefixes = prefixes.into_iter().map(prefix).collect::<Result<_, _>>()?;
        Ok(())
    }),
    key("application_separator", |to, value| {
        to.application_separator = value.word("\"/\" or \".\"", |word| match word {
            "/" => Some(Separator::Slash),
            "." => Some(Separator::Dot),
            _ => None,
        })?;
        Ok(())
    }),
    key("user_prefix", |to, value| {
        to.user_prefix = prefix(value.text().unwrap_or_default())?;
        Ok(())
    }),
    key("refusals", |to, value| {
        to.refusals = value.word("\"end-session\" or \"notify\"", |word| match word {
            "end-session" => Some(Refusals::EndSession),
            "notify" => Some(Refusals::Notify),
            _ => None,
        })?;
        Ok(())
    }),
    key("allowed_origins", |to, value| {
        let texts = value.texts()?;
        none_wrong(&Origins::new(texts.iter().cloned()).errors)?;
        to.allowed_origins = texts;
        Ok(())
    }),
    key("allowed_hosts", |to, value| {
        let texts = value.texts()?;
        none_wrong(&Hosts::new(texts.iter().cloned()).errors)?;
        to.allowed_hosts = texts;
        Ok(())
    }),
    key("trusted_proxies", |to, value| {
        let texts = value.texts()?;
        none_wrong(&Proxies::new(texts.iter().cloned()).errors)?;
        to.trusted_proxies = texts;
        Ok(())
    }),
    key("keep_headers", |to, value| {
        let header = |name: &ByteString| {
            let wrong = |_| format!("{name:?} is no name of an HTTP header");
            HeaderName::from_bytes(name.as_bytes()).map_err(wrong)
        };
        let names = value.texts()?;
        to.keep_headers = names.iter().map(header).collect::<Result<_, _>>()?;
        Ok(())
    }),
    key("compression", |to, value| {
        to.compression = compression(value)?;
        Ok(())
    }),
    key("limits.body", |to, value| {
        to.limits.body = value.size()?;
        Ok(())
    }),
    key("limits.header_line", |to, value| {
        to.limits.header_line = value.size()?;
        Ok(())
    }),
    key("limits.header_count", |to, value| {
        to.limits.header_count = value.some()? as usize;
        Ok(())
    }),
    key("limits.subscriptions", |to, value| {
        to.limits.subscriptions = value.some()? as usize;
        Ok(())
    }),
    key("limits.transactions", |to, value| {
        to.limits.transactions = value.count()? as usize;
        Ok(())
    }),
    key("limits.transaction_frames", |to, value| {
        to.limits.transaction_frames = value.count()? as usize;
        Ok(())
    }),
    key("limits.transaction_bytes", |to, value| {
        to.limits.transaction_bytes = value.size()?;
        Ok(())
    }),
    key("limits.outbox", |to, value| {
        to.limits.outbox = value.size()?;
        Ok(())
    }),
    key("limits.overflow", |to, value| {
        to.limits.overflow = overflow(value)?;
        Ok(())
    }),
    key("limits.send_time", |to, value| {
        to.limits.send_time = value.time()?;
        Ok(())
    }),
    key("limits.connect_bytes", |to, value| {
        to.limits.connect_bytes = value.size()?;
        Ok(())
    }),
    key("limits.connect_time", |to, value| {
        to.limits.connect_time = value.time()?;
        Ok(())
    }),
    key("limits.handler_time", |to, value| {
        to.limits.handler_time = value.time()?;
        Ok(())
    }),
    key("limits.heart_beat.send", |to, value| {
        to.limits.heart_beat.send = heart_beat(value)?;
        Ok(())
    }),
    key("limits.heart_beat.receive", |to, value| {
        to.limits.heart_beat.receive = heart_beat(value)?;
        Ok(())
    }),
    key("limits.heart_beat_silence", |to, value| {
        to.limits.heart_beat_silence = value.time()?;
        Ok(())
    }),
    key("limits.keep_alive", |to, value| {
        to.limits.keep_alive = value.time_or_off()?;
        Ok(())
    }),
    key("limits.keep_alive_timeout", |to, value| {
        to.limits.keep_alive_timeout = value.time()?;
        Ok(())
    }),
    key("sockjs.transports", |to, value| {
        let transports = transports(value)?;
        sockjs(to, |options| options.transports(transports))
    }),
    key("sockjs.websocket", |to, value| {
        let on = value.switch()?;
        sockjs(to, |options| options.websocket(on))
    }),
    key("sockjs.heartbeat", |to, value| {
        let every = value.time_or_off()?.unwrap_or(Duration::ZERO);
        sockjs(to, |options| options.heartbeat(every))
    }),
    key("sockjs.disconnect_delay", |to, value| {
        let delay = value.time()?;
        sockjs(to, |options| options.disconnect_delay(delay))
    }),
    key("sockjs.response_limit", |to, value| {
        let bytes = value.size()?;
        sockjs(to, |options| options.response_limit(bytes))
    }),
    key("sockjs.message_cache", |to, value| {
        let messages = value.some()? as usize;
        sockjs(to, |options| options.message_cache(messages))
    }),
    key("sockjs.max_sessions", |to, value| {
        let sessions = value.count()? as usize;
        sockjs(to, |options| options.max_sessions(sessions))
    }),
    key("sockjs.max_sessions_per_address", |to, value| {
        let sessions = value.count()? as usize;
        sockjs(to, |options| options.max_sessions_per_address(sessions))
    }),
    key("sockjs.remember_time", |to, value| {
        let time = value.time()?;
        sockjs(to, |options| options.remember_time(time))
    }),
    key("sockjs.body_time", |to, value| {
        let time = value.time()?;
        sockjs(to, |options| options.body_time(time))
    }),
    key("sockjs.cookie_needed", |to, value| {
        let needed = value.switch()?;
        sockjs(to, |options| options.cookie_needed(needed))
    }),
    key("sockjs.session_cookie", |to, value| {
        let set = value.switch()?;
        sockjs(to, |options| options.session_cookie(set))
    }),
    key("sockjs.client_library_url", |to, value| {
        let url = Some(value.text()?).filter(|url| url != "off");
        sockjs(to, |options| {
            options.client_library_url(url.unwrap_or_default())
        })
    }),
    key("sockjs.cors", |to, value| {
        let on = value.switch()?;
        sockjs(to, |options| options.cors(on))
    }),
    key("sockjs.on_abort", |to, value| {
        let on_abort = value.word("\"close\" or \"keep\"", |word| match word {
            "close" => Some(OnAbort::Close),
            "keep" => Some(OnAbort::Keep),
            _ => None,
        })?;
        sockjs(to, |options| options.on_abort(on_abort))
    }),
    key("broker.max_bytes", |to, value| {
        to.broker.max_bytes = value.size()?;
        Ok(())
    }),
    key("broker.max_bytes_each.session", |to, value| {
        to.broker.max_bytes_each.0 = size_or_auto(value)?;
        Ok(())
    }),
    key("broker.max_bytes_each.account", |to, value| {
        to.broker.max_bytes_each.1 = size_or_auto(value)?;
        Ok(())
    }),
    key("broker.max_destinations", |to, value| {
        to.broker.max_destinations = value.some()? as usize;
        Ok(())
    }),
    key("broker.max_destinations_each.session", |to, value| {
        to.broker.max_destinations_each.0 = value.count()? as usize;
        Ok(())
    }),
    key("broker.max_destinations_each.account", |to, value| {
        to.broker.max_destinations_each.1 = value.count()? as usize;
        Ok(())
    }),
    key("broker.max_patterns.session", |to, value| {
        to.broker.max_patterns.session = value.count()? as usize;
        Ok(())
    }),
    key("broker.max_patterns.account", |to, value| {
        to.broker.max_patterns.account = value.count()? as usize;
        Ok(())
    }),
    key("broker.max_patterns.all", |to, value| {
        to.broker.max_patterns.all = value.count()? as usize;
        Ok(())
    }),
    key("broker.max_scanned_patterns.session", |to, value| {
        to.broker.max_scanned_patterns.session = value.count()? as usize;
        Ok(())
    }),
    key("broker.max_scanned_patterns.account", |to, value| {
        to.broker.max_scanned_patterns.account = value.count()? as usize;
        Ok(())
    }),
    key("broker.max_scanned_patterns.all", |to, value| {
        to.broker.max_scanned_patterns.all = value.count()? as usize;
        Ok(())
    }),
    key("broker.default_prefetch", |to, value| {
        to.broker.default_prefetch = NonZeroU32::new(value.some()?).unwrap_or(NonZeroU32::MIN);
        Ok(())
    }),
    key("broker.max_prefetch", |to, value| {
        to.broker.max_prefetch = value.some()?;
        Ok(())
    }),
    #[cfg(feature = "serve")]
    key("serve.head_time", |to, value| {
        to.serve.head_time = value.time()?;
        Ok(())
    }),
    #[cfg(feature = "serve")]
    key("serve.head_bytes", |to, value| {
        to.serve.head_bytes = value.size()?;
        Ok(())
    }),
    #[cfg(feature = "serve")]
    key("serve.body_time", |to, value| {
        to.serve.body_time = value.time()?;
        Ok(())
    }),
    #[cfg(feature = "serve")]
    key("serve.send_time", |to, value| {
        to.serve.send_time = value.time()?;
        Ok(())
    }),
    #[cfg(feature = "serve")]
    key("serve.idle_time", |to, value| {
        to.serve.idle_time = value.time()?;
        Ok(())
    }),
    #[cfg(feature = "serve")]
    key("serve.connections", |to, value| {
        to.serve.connections = value.some()? as usize;
        Ok(())
    }),
    #[cfg(feature = "serve")]
    key("serve.connections_per_address", |to, value| {
        to.serve.connections_per_address = value.some()? as usize;
        Ok(())
    }),
    #[cfg(feature = "serve")]
    key("serve.shutdown_time", |to, value| {
        to.serve.shutdown_time = value.time()?;
        Ok(())
    }),
];

fn none_wrong(errors: &[String]) -> Result<(), Wrong> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("; "))
    }
}

fn prefix(text: ByteString) -> Result<ByteString, Wrong> {
    if text.len() > 1 && text.starts_with('/') {
        Ok(unslashed(text))
    } else {
        Err("must begin with `/`, as \"/app\"".into())
    }
}

fn compression(value: &Value) -> Result<Compression, Wrong> {
    match value {
        Value::Text(word) if word == "off" => return Ok(Compression::Off),
        Value::Text(word) if word == "on" => return Ok(Compression::On),
        _ => {}
    }
    let bytes = value.size().ok().and_then(|size| u32::try_from(size).ok());
    bytes.map(Compression::AboveSize).ok_or_else(|| {
        "must be \"off\", \"on\", or the size from which on messages are compressed, such as \"4 KiB\"".into()
    })
}

fn overflow(value: &Value) -> Result<Overflow, Wrong> {
    let words = "\"close\", \"drop-oldest\", \"drop-newest\", or \"latest:\" and a header's name, as \"latest:symbol\"";
    value.word(words, |word| match word {
        "close" => Some(Overflow::Close),
        "drop-oldest" => Some(Overflow::DropOldest),
        "drop-newest" => Some(Overflow::DropNewest),
        _ => {
            let header = word.strip_prefix("latest:")?.trim();
            (!header.is_empty()).then(|| Overflow::latest(header))
        }
    })
}

fn size_or_auto(value: &Value) -> Result<Option<usize>, Wrong> {
    match value {
        Value::Text(word) if word.trim() == "auto" => Ok(None),
        value => match value.size() {
            Ok(size) => Ok(Some(size)),
            Err(wrong) => Err(format!("{wrong}; or \"auto\"")),
        },
    }
}

/// In milliseconds, 0 for none, as in STOMP.
fn heart_beat(value: &Value) -> Result<u32, Wrong> {
    let every = value.time_or_off()?.unwrap_or(Duration::ZERO);
    u32::try_from(every.as_millis()).map_err(|_| "must be 1000 h at most".into())
}

fn transports(value: &Value) -> Result<Vec<SockJsTransport>, Wrong> {
    let known = SockJsTransport::ALL.map(SockJsTransport::name).join(", ");
    let transport = |name: &ByteString| {
        SockJsTransport::from_name(name)
            .ok_or_else(|| format!("{name:?} is no transport: must be some of {known}"))
    };
    let names = value.texts()?;
    if names.is_empty() {
        return Err(format!("must be some of {known}"));
    }
    names.iter().map(transport).collect()
}

fn sockjs(to: &mut Settings, change: impl FnOnce(SockJs) -> SockJs) -> Result<(), Wrong> {
    let options = mem::take(&mut to.sockjs);
    to.sockjs = change(options);
    Ok(())
}
