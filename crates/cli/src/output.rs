//! Messages as lines of JSON, and progress.

use std::{
    io::{IsTerminal, Write, stderr, stdout},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use tramline_client::Message;

use crate::failure::Failure;

/// A message as one object: `body` if it is text, `base64` otherwise. Of repeated headers the first counts.
pub(crate) fn object(message: &Message) -> Value {
    let mut headers = Map::new();
    for (name, value) in message.headers.iter() {
        headers.entry(name).or_insert_with(|| value.into());
    }
    let mut object = json!({ "destination": &*message.destination, "headers": headers });
    match message.text() {
        Ok(text) => object["body"] = text.into(),
        Err(_) => object["base64"] = BASE64_STANDARD.encode(&message.body).into(),
    }
    object
}

/// Writes a line to stdout, at once.
pub(crate) fn line(line: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(Failure::io("cannot write to stdout"))
}

/// A count on stderr, if that is a terminal, at most twice a second.
pub(crate) struct Progress {
    what: &'static str,
    count: u64,
    shown: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            count: 0,
            shown: stderr().is_terminal().then(Instant::now),
        }
    }

    pub(crate) fn add(&mut self, more: u64) {
        self.count += more;
        if let Some(shown) = &mut self.shown
            && shown.elapsed() >= Duration::from_millis(500)
        {
            *shown = Instant::now();
            eprint!("\r{} {}", self.count, self.what);
        }
    }

    /// Shows the last count.
    pub(crate) fn done(&self) {
        let begin = if self.shown.is_some() { "\r" } else { "" };
        eprintln!("{begin}{} {}", self.count, self.what);
    }
}
