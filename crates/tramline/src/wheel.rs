//! One coarse timer for all sessions.
//!
//! A `Sleep` in each session would cost memory and a heap operation per heart-beat. Sessions have at most one entry in
//! this wheel instead: when its tick comes they are woken and look at their own deadlines. Ticks are coarse, which is
//! enough for heart-beats and time limits that are counted in seconds.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tramline_broker::Outbox;

/// How late a timer may be at most, besides a busy machine.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A timer further away than this many ticks (102 s) wakes its session on the way, which sets it again.
const SLOTS: usize = 1024;

pub(crate) struct Wheel {
    started: Instant,
    /// The tick that is over.
    tick: AtomicU64,
    slots: [Mutex<Vec<Weak<Outbox>>>; SLOTS],
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            tick: AtomicU64::new(0),
            slots: [const { Mutex::new(Vec::new()) }; SLOTS],
        }
    }

    /// The time of the last tick: coarse, and cheap to read.
    pub(crate) fn now(&self) -> Instant {
        self.started + TICK * self.tick.load(Ordering::Relaxed) as u32
    }

    /// The tick at which `deadline` has passed: a session that is woken then finds so.
    pub(crate) fn tick_of(&self, deadline: Instant) -> u64 {
        (deadline.saturating_duration_since(self.started).as_millis() / TICK.as_millis()) as u64 + 1
    }

    /// Wakes the session of `outbox` at `tick`, or on the way when that is far away; gives when.
    pub(crate) fn wake_at(&self, tick: u64, outbox: &Arc<Outbox>) -> u64 {
        let now = self.tick.load(Ordering::Acquire);
        let tick = tick.clamp(now + 1, now + SLOTS as u64 - 1);
        let mut slot = self.slots[tick as usize % SLOTS].lock();
        slot.push(Arc::downgrade(outbox));
        drop(slot);
        // The wheel may have come by between the look at it and the push; the next time would be a whole turn later.
        if self.has_fired(tick) {
            outbox.wake();
        }
        tick
    }

    /// Whether a timer that was set for `tick` has fired.
    pub(crate) fn has_fired(&self, tick: u64) -> bool {
        self.tick.load(Ordering::Acquire) >= tick
    }

    /// Goes on to `now` and wakes whose time has come. Called by one task, about every [`TICK`].
    pub(crate) fn advance(&self, now: Instant) {
        let target =
            (now.saturating_duration_since(self.started).as_millis() / TICK.as_millis()) as u64;
        let first = self.tick.load(Ordering::Relaxed) + 1;
        for tick in first..=target {
            self.tick.store(tick, Ordering::Release);
            let due = std::mem::take(&mut *self.slots[tick as usize % SLOTS].lock());
            for outbox in due.iter().filter_map(Weak::upgrade) {
                outbox.wake();
            }
        }
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("tick", &self.tick)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Wake, Waker};

    use tramline_broker::Overflow;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_session_is_woken_when_its_deadline_has_passed_and_not_before() {
        let start = Instant::now();
        let wheel = Wheel::new(start);
        let outbox = Arc::new(Outbox::new(1, Overflow::Close));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let taken = outbox.poll_take(&mut Context::from_waker(&waker), &mut Vec::new(), 1, 1);
        assert_eq!(taken, tramline_broker::Taken::Nothing);

        let deadline = start + Duration::from_millis(250);
        let tick = wheel.wake_at(wheel.tick_of(deadline), &outbox);
        wheel.advance(start + Duration::from_millis(299));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(!wheel.has_fired(tick));
        wheel.advance(start + Duration::from_millis(300));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(wheel.has_fired(tick) && wheel.now() >= deadline);

        wheel.wake_at(wheel.tick_of(start), &outbox);
        wheel.advance(start + Duration::from_millis(400));
        assert_eq!(
            woken.0.load(Ordering::Relaxed),
            2,
            "a deadline in the past fires at the next tick"
        );

        let far = wheel.wake_at(wheel.tick_of(start + Duration::from_secs(3600)), &outbox);
        wheel.advance(start + Duration::from_secs(200));
        assert!(wheel.has_fired(far), "far deadlines wake on the way");
    }
}
