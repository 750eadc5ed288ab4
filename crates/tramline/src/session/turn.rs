//! The share of its worker's time that a session takes before the worker's other tasks run.

use std::cell::Cell;

use tramline_broker::Published;

/// The work of one turn: about a millisecond, in units of one delivery queued, some 60 ns. Less would have a burst to a
/// thousand subscribers wake each of them several times.
const WORK: u32 = 16 * 1024;

/// A frame: decoding, looking up its destination, asking the policy. More than it costs, since a session that yields
/// early costs the others little.
const FRAME: u32 = 256;

/// A change of the subscriptions.
const SUBSCRIPTION: u32 = 2048;

/// The most SENDs that are published together: what they cause is known only afterwards.
pub(super) const BATCH: usize = 16;

thread_local! {
    /// The work that is left of the turn of the session that this worker polls.
    static LEFT: Cell<u32> = const { Cell::new(WORK) };
    /// Its frames that are not counted yet.
    static FRAMES: Cell<u32> = const { Cell::new(0) };
}

/// Begins the turn of a session.
pub(super) fn begin() {
    LEFT.set(WORK);
    FRAMES.set(0);
}

/// Returns true if no further frame is to be handled in this turn.
pub(super) fn is_over() -> bool {
    LEFT.get() == 0
}

pub(super) fn frame() {
    FRAMES.set(FRAMES.get().wrapping_add(1));
    spend(FRAME);
}

/// Takes the number of frames since the turn began, or since this was last called.
pub(super) fn take_frames() -> u32 {
    FRAMES.take()
}

pub(super) fn subscription() {
    spend(SUBSCRIPTION);
}

/// Counts the deliveries that a session caused.
pub(super) fn published(published: &Published) {
    spend(u32::try_from(published.local_receivers).unwrap_or(u32::MAX));
}

fn spend(work: u32) {
    LEFT.set(LEFT.get().saturating_sub(work));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_by_frames_or_by_what_they_cause() {
        begin();
        let frames = (0..).take_while(|_| {
            frame();
            !is_over()
        });
        assert_eq!(frames.count(), 63);
        begin();
        published(&Published::new(16_000));
        assert!(!is_over());
        published(&Published::new(usize::MAX));
        assert!(is_over());
        begin();
        assert!(!is_over());
    }
}
