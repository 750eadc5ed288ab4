//! Clients that send too fast: slowed down, then closed.

use super::StompSession;
use super::end::End;
use super::rights::Pace;
use super::turn;
use crate::net::wheel::after;
use crate::stack::rates::TooFast;

impl StompSession {
    /// Counts what a read has brought, and slows its client down if that is too much.
    pub(super) fn count_read(&mut self, bytes: usize) {
        let frames = turn::take_frames();
        match self.stack.rates.read(&self.record, bytes, frames) {
            Some(too_fast) => self.slow_down(&too_fast),
            None => {
                if let Some(rights) = self.order.rights_mut() {
                    rights.pace = None;
                }
            }
        }
    }

    #[cold]
    fn slow_down(&mut self, too_fast: &TooFast) {
        let TooFast { wait, name, rate } = too_fast;
        let now = self.stack.wheel.now();
        let pace = &mut self.order.rights_or_new().pace;
        let since = pace.as_ref().map_or(now, |pace| pace.since);
        let patience = self.stack.rates.rates.patience;
        *pace = Some(Pace {
            until: after(now, *wait),
            since,
        });
        if now.saturating_duration_since(since) < patience {
            return;
        }
        self.state.end(End::TooFast(format!(
            "the client sends too fast: more than {rate} for {patience:?} (`Rates::{name}`)"
        )));
    }

    /// Returns whether nothing is read yet.
    #[inline]
    pub(super) fn is_slowed_down(&self) -> bool {
        let pace = self.order.rights().and_then(|rights| rights.pace.as_ref());
        pace.is_some_and(|pace| pace.until > self.stack.wheel.now())
    }
}
