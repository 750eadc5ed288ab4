//! Subscribers that need a look at each message: they receive what topics keep, at their own pace, before what is
//! live, or only what their selector picks.

use std::sync::Arc;

use super::outbox::Burst;
use super::shelf::{Found, ReadFrom, Shelf};
use super::window::{Origin, Window};
use crate::hub::outbox::{Control, Lost, Outbox};
use crate::message::{Gap, Message, Position};
use crate::selector::Selector;
use crate::statistics::Count;
use crate::sync::Mutex;

/// A subscription to topics that receives kept messages first, or only some.
///
/// While it reads a shelf, live messages of that topic wait there for it and nowhere else, so that a slow reader holds no
/// memory. What a shelf drops before the reader comes to it is reported as missed.
#[derive(Debug)]
pub(super) struct Reader {
    outbox: Arc<Outbox>,
    slot: u32,
    window: Option<Arc<Window>>,
    selector: Option<Arc<Selector>>,
    state: Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// The shelves that it has not read to their end, with the sequence before the next message.
    unread: Vec<(Arc<Shelf>, u64)>,
    /// True until all shelves of a pattern were looked up: a topic that is new meanwhile is read from its beginning.
    is_looking: bool,
    ended: bool,
}

/// The result of one look at the shelves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    /// The position before the first message that it may receive.
    pub(super) after: Position,
    /// The number of kept messages to be read.
    pub(super) count: usize,
    pub(super) gap: Option<Gap>,
}

/// The place of a reader's live messages.
pub(super) struct Live<'a> {
    pub(super) outbox: &'a Arc<Outbox>,
    pub(super) slot: u32,
    pub(super) window: Option<&'a Arc<Window>>,
}

/// Messages of a shelf that are looked at in one turn.
const TURN: usize = 1_024;

impl Reader {
    pub(super) fn new(
        (outbox, slot): (Arc<Outbox>, u32),
        window: Option<Arc<Window>>,
        selector: Option<Arc<Selector>>,
    ) -> Self {
        Self {
            outbox,
            slot,
            window,
            selector,
            state: Mutex::default(),
        }
    }

    /// The place of its live messages when it has nothing left to read; `None` if they need a look.
    pub(super) fn live(&self) -> Option<Live<'_>> {
        self.selector.is_none().then_some(Live {
            outbox: &self.outbox,
            slot: self.slot,
            window: self.window.as_ref(),
        })
    }

    pub(super) fn has_selector(&self) -> bool {
        self.selector.is_some()
    }

    /// Begins to look up shelves: until [`found_all`](Self::found_all), no message of a topic that keeps some is delivered.
    pub(super) fn look(&self) {
        self.state.lock().is_looking = true;
    }

    pub(super) fn found_all(&self) {
        self.state.lock().is_looking = false;
    }

    /// Will read a shelf; `Err` is its last position if `from` is ahead of that. The caller holds the topic's turn, or
    /// has called [`look`](Self::look).
    pub(super) fn read(&self, shelf: &Arc<Shelf>, from: ReadFrom) -> Result<Begun, Position> {
        let kept = shelf.lock();
        let Found { after, gap } = kept.find(from)?;
        let count = kept.after(after).count();
        let mut state = self.state.lock();
        let known = state
            .unread
            .iter_mut()
            .find(|(known, _)| Arc::ptr_eq(known, shelf));
        match known {
            // It was new while this reader was looking, and nothing of it was delivered.
            Some((_, known)) => *known = after,
            None => state.unread.push((Arc::clone(shelf), after)),
        }
        let after = Position {
            sequence: after,
            ..kept.last()
        };
        Ok(Begun { after, count, gap })
    }

    /// Delivers kept messages, as far as there is room; returns true when nothing is left to read. Called again when there
    /// is room.
    pub(super) fn go_on(&self) -> bool {
        let mut looked_at = 0;
        loop {
            let shelf = {
                let state = self.state.lock();
                match state.unread.last() {
                    Some((shelf, _)) => Arc::clone(shelf),
                    None => return true,
                }
            };
            let kept = shelf.lock();
            let mut state = self.state.lock();
            let same = |(unread, _): &(Arc<Shelf>, u64)| Arc::ptr_eq(unread, &shelf);
            let Some(at) = state.unread.iter().position(same) else {
                continue;
            };
            let mut after = state.unread[at].1;
            if let Some(gap) = kept.gap_after(after) {
                after = gap.up_to.sequence;
                let (slot, gap) = (self.slot, Some(gap));
                self.outbox.instruct(Control::MessagesMissed { slot, gap });
            }
            let (mut delivered, mut has_room) = (0, true);
            for (sequence, message) in kept.after(after) {
                looked_at += 1;
                if looked_at > TURN {
                    self.outbox.want_room();
                    has_room = false;
                    break;
                }
                if self.wants(message) {
                    has_room = self.deliver_kept(message, &shelf.origin);
                    if !has_room {
                        break;
                    }
                    delivered += 1;
                }
                after = sequence;
            }
            shelf.origin.meter.count(Count::Delivered, delivered);
            if has_room {
                state.unread.swap_remove(at);
            } else {
                state.unread[at].1 = after;
                return false;
            }
        }
    }

    /// Delivers live messages of a topic, unless they wait on its shelf; returns how many of them were not delivered.
    pub(super) fn deliver(
        &self,
        shelf: Option<&Arc<Shelf>>,
        messages: &[Arc<Message>],
        burst: &Burst<'_>,
        origin: &Arc<Origin>,
    ) -> (Lost, usize) {
        let mut state = self.state.lock();
        if state.ended {
            return (Lost::default(), messages.len());
        }
        if let Some(shelf) = shelf
            && let Some(first) = messages.iter().find(|message| message.is_kept())
        {
            let same = |(unread, _): &(Arc<Shelf>, u64)| Arc::ptr_eq(unread, shelf);
            let is_unread = state.unread.iter().any(same);
            if !is_unread && state.is_looking {
                let before = first.position().map_or(0, |first| first.sequence - 1);
                state.unread.push((Arc::clone(shelf), before));
            }
            if is_unread || state.is_looking {
                return (Lost::default(), messages.len());
            }
        }
        if self.selector.is_none() {
            return (self.deliver_live(messages, burst, origin), 0);
        }
        let wanted = messages.iter().filter(|message| self.wants(message));
        let wanted: Vec<Arc<Message>> = wanted.cloned().collect();
        let burst = Burst::new(&wanted, burst.overflow());
        let lost = match wanted.is_empty() {
            true => Lost::default(),
            false => self.deliver_live(&wanted, &burst, origin),
        };
        (lost, messages.len() - wanted.len())
    }

    /// Delivers nothing any more: the subscription has ended.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.unread = Vec::new();
    }

    fn wants(&self, message: &Message) -> bool {
        let selector = self.selector.as_ref();
        selector.is_none_or(|selector| selector.matches(message))
    }

    fn deliver_kept(&self, message: &Arc<Message>, origin: &Arc<Origin>) -> bool {
        match &self.window {
            Some(window) => window.push_kept(message, origin),
            None => self.outbox.push_kept(self.slot, message),
        }
    }

    fn deliver_live(
        &self,
        messages: &[Arc<Message>],
        burst: &Burst<'_>,
        origin: &Arc<Origin>,
    ) -> Lost {
        match &self.window {
            Some(window) => window.push(messages, burst.overflow(), Some(origin)),
            None => self.outbox.push_burst(self.slot, burst),
        }
    }
}
