//! Errors of a policy that only its stack shows.

use bytestring::ByteString;

use super::{Entry, Policy, permit};
use crate::model::prefix::quoted;
use crate::model::temporary;

impl Policy {
    /// Returns an error for each rule that never decides: nothing is below its pattern, or an earlier rule
    /// covers it and says something else.
    pub(crate) fn idle_rules(&self, prefixes: &[ByteString]) -> Vec<String> {
        let kinds = [("SEND", &self.message), ("SUBSCRIBE", &self.subscribe)];
        let mut errors = Vec::new();
        // Rules for both kinds that are idle for one.
        let mut half_idle: Vec<&ByteString> = Vec::new();
        for (verb, entries) in kinds {
            for (at, entry) in entries.iter().enumerate() {
                let written = &entry.written;
                let earlier = entries[..at].iter();
                let earlier = { earlier }
                    .find(|earlier| earlier.pattern.covers(&entry.pattern))
                    .filter(|earlier| earlier.rule.to_string() != entry.rule.to_string());
                let error = if let Some(prefix) = written.strip_suffix('/')
                    && prefixes.iter().any(|known| known == prefix)
                {
                    format!(
                        "covers no destination: write \"{prefix}/**\" for all that is below {prefix:?}"
                    )
                } else if !prefixes.iter().any(|prefix| entry.reaches(prefix))
                    && !temporary::PREFIXES
                        .iter()
                        .any(|prefix| entry.reaches(prefix))
                {
                    let slash = match written.starts_with('/') {
                        true => "",
                        false => "it does not begin with `/`, and ",
                    };
                    format!(
                        "clients cannot {verb} there: {slash}destinations are below {}",
                        quoted(prefixes)
                    )
                } else if let Some(Entry {
                    call,
                    written,
                    rule,
                    ..
                }) = earlier
                {
                    format!(
                        "is never asked: {call}({written:?}), {rule}, comes first and covers all of it; write the \
                         narrower rule in front of the wider one"
                    )
                } else {
                    continue;
                };
                let call = entry.call;
                if call == "on_destination" {
                    if verb == "SEND" {
                        half_idle.push(written);
                        continue;
                    }
                    if !half_idle.contains(&written) {
                        continue;
                    }
                }
                errors.push(format!("{call}({written:?}), {}: {error}", entry.rule));
            }
        }
        errors
    }

    /// Returns false if no rule permits anybody to SEND to any destination that `text`, a pattern, covers.
    pub(crate) fn may_permit_message(&self, text: &str) -> bool {
        self.may_permit(&self.message, text)
    }

    /// Returns false if no rule permits anybody to SUBSCRIBE to any destination that `text`, a pattern, covers.
    pub(crate) fn may_permit_subscribe(&self, text: &str) -> bool {
        self.may_permit(&self.subscribe, text)
    }

    fn may_permit(&self, entries: &[Entry], text: &str) -> bool {
        let Ok(pattern) = self.reading.pattern(text) else {
            // It is reported as what it is: a pattern that cannot be.
            return true;
        };
        for Entry {
            pattern: ruled,
            rule,
            ..
        } in entries
        {
            if !rule.denies_all() && ruled.overlaps(&pattern) {
                return true;
            }
            if ruled.covers(&pattern) {
                return false;
            }
        }
        !self.otherwise.denies_all()
    }

    /// Permits, where no rule of the application's decides, to SUBSCRIBE to `destination`.
    pub(crate) fn permitting(mut self, destination: String) -> Self {
        match Entry::new("on_subscribe", destination.into(), permit()) {
            Ok(entry) => self.subscribe.push(entry),
            Err(error) => self.errors.push(error),
        }
        self
    }
}
