//! One coarse timer for all sessions.
//!
//! A `Sleep` in each session would cost memory and a heap operation per heart-beat. Instead, a session has at most one
//! entry in this wheel: at its tick it is woken and checks its own deadlines. Ticks are coarse, which is enough for
//! heart-beats and time limits that are counted in seconds.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tramline_broker::Outbox;

use crate::model::clock::now;

/// The most that a timer may be late, apart from a busy machine.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The earliest of the deadlines that are set. Asked after every read, where a loop over iterators is measurable.
#[inline]
pub(crate) fn earliest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    let mut earliest = None;
    for deadline in deadlines {
        earliest = match (earliest, deadline) {
            (Some(one), Some(other)) => Some(std::cmp::min(one, other)),
            (one, other) => one.or(other),
        };
    }
    earliest
}

/// `time` later than `start`, or in the far future where that cannot be told.
pub(crate) fn after(start: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    start + time.min(FAR)
}

/// A session that can be woken to check its deadlines.
pub(crate) trait Sleeper: Send + Sync + 'static {
    fn wake(&self);
}

impl Sleeper for Outbox {
    fn wake(&self) {
        Self::wake(self);
    }
}

/// A timer further away than this many ticks (102 s) wakes its session early, which then sets it again.
const SLOTS: usize = 1024;

pub(crate) struct Wheel {
    started: Instant,
    /// The last tick that has passed.
    tick: AtomicU64,
    slots: [Mutex<Vec<Weak<dyn Sleeper>>>; SLOTS],
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

    /// The number of the last tick.
    #[cfg(feature = "metrics")]
    pub(crate) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// The first tick that is not before `deadline`: a session that is woken then finds it passed.
    fn tick_of(&self, deadline: Instant) -> u64 {
        const ALMOST_A_TICK: Duration = TICK.saturating_sub(Duration::from_nanos(1));
        self.ticks_until(deadline + ALMOST_A_TICK)
    }

    /// The whole ticks from the start to `time`, without a 128-bit division: sessions ask after every read.
    fn ticks_until(&self, time: Instant) -> u64 {
        const MILLIS: u32 = TICK.as_millis() as u32;
        let since = time.saturating_duration_since(self.started);
        since.as_secs() * u64::from(1000 / MILLIS) + u64::from(since.subsec_millis() / MILLIS)
    }

    /// Wakes `sleeper` at `tick`, or earlier if that is far away; returns the tick.
    fn wake_at<S: Sleeper>(&self, tick: u64, sleeper: &Arc<S>) -> u64 {
        let weak = Arc::downgrade(sleeper);
        let now = self.tick.load(Ordering::Acquire);
        let tick = tick.clamp(now + 1, now + SLOTS as u64 - 1);
        let mut slot = self.slots[tick as usize % SLOTS].lock();
        slot.push(weak);
        drop(slot);
        // The wheel may have passed between the check and the push; the entry would then wait a whole turn.
        if self.has_fired(tick) {
            sleeper.wake();
        }
        tick
    }

    /// Returns true if a timer that was set for `tick` has fired.
    fn has_fired(&self, tick: u64) -> bool {
        self.tick.load(Ordering::Acquire) >= tick
    }

    /// Advances to `now` and wakes the sleepers that are due. Called by one task, about every [`TICK`].
    pub(crate) fn advance(&self, now: Instant) {
        let target = self.ticks_until(now);
        let first = self.tick.load(Ordering::Relaxed) + 1;
        for tick in first..=target {
            self.tick.store(tick, Ordering::Release);
            let due = std::mem::take(&mut *self.slots[tick as usize % SLOTS].lock());
            for sleeper in due.iter().filter_map(Weak::upgrade) {
                sleeper.wake();
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

/// A session's one entry in the wheel.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<NonZeroU64>);

impl Alarm {
    /// Makes the wheel wake `sleeper` at `deadline`, unless it will do so earlier.
    pub(crate) fn set<S: Sleeper>(
        &mut self,
        deadline: Option<Instant>,
        wheel: &Wheel,
        sleeper: &Arc<S>,
    ) {
        let Some(deadline) = deadline else { return };
        let tick = wheel.tick_of(deadline);
        let set = self.0.map(NonZeroU64::get);
        if set.is_none_or(|set| tick < set || wheel.has_fired(set)) {
            // No timer is set for tick 0: the wheel begins with it.
            self.0 = NonZeroU64::new(wheel.wake_at(tick, sleeper));
        }
    }

    /// Returns true if the wheel has woken the session since the last call.
    pub(crate) fn rang(&mut self, wheel: &Wheel) -> bool {
        self.0.take_if(|set| wheel.has_fired(set.get())).is_some()
    }
}

/// The owner of a wheel that must turn.
pub(crate) trait Driven: Send + Sync + 'static {
    fn driver(&self) -> &Driver;

    fn wheel(&self) -> &Arc<Wheel>;

    /// Other work for each tick.
    fn tick(&self, now: Instant);
}

/// The task that turns a wheel, started with the first session.
#[derive(Debug, Default)]
pub(crate) struct Driver(AtomicBool);

impl Driver {
    /// Starts the task that turns the wheel of `driven`, if it is not running yet. Must be called inside a runtime.
    pub(crate) fn start<D: Driven>(driven: &Arc<D>) {
        if driven.driver().0.swap(true, Ordering::AcqRel) {
            return;
        }
        // The wheel has not turned until now.
        driven.wheel().advance(now());
        driven.tick(now());
        let driven = Arc::downgrade(driven);
        tokio::spawn(async move {
            let _restart = Restart(driven.clone());
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(driven) = driven.upgrade() else {
                    return;
                };
                let now = now();
                driven.wheel().advance(now);
                driven.tick(now);
            }
        });
    }
}

/// Lets the next session start the driver again after its runtime has shut down.
struct Restart<D: Driven>(Weak<D>);

impl<D: Driven> Drop for Restart<D> {
    fn drop(&mut self) {
        if let Some(driven) = self.0.upgrade() {
            driven.driver().0.store(false, Ordering::Release);
        }
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

        assert_eq!(wheel.tick_of(start + Duration::from_millis(300)), 3);
        let after = start + Duration::from_nanos(300_000_001);
        assert_eq!(wheel.tick_of(after), 4);

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
