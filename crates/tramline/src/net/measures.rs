//! Times that are measured while somebody collects metrics. Without the feature `metrics` nothing is, and what is left of
//! this costs nothing.

pub(crate) use self::feature::Measures;

#[cfg(feature = "metrics")]
mod feature {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Instant;

    use tramline_broker::{Delivery, DestinationKind, Publish};

    use crate::model::clock::now;
    use crate::model::histogram::Histogram;
    use crate::net::wheel::Wheel;

    /// The way of some messages from their publisher to their receivers.
    ///
    /// One message in a tick of the wheel is a sample: at most ten a second, however many are published, and nearly all of
    /// them where there are few.
    #[derive(Debug)]
    pub(crate) struct Measures {
        is_on: AtomicBool,
        wheel: Arc<Wheel>,
        /// The tick of the last sample.
        sampled: AtomicU64,
        pub(crate) topics: Histogram,
        pub(crate) queues: Histogram,
        pub(crate) users: Histogram,
    }

    impl Measures {
        pub(crate) fn new(wheel: &Arc<Wheel>) -> Self {
            Self {
                is_on: AtomicBool::new(false),
                wheel: Arc::clone(wheel),
                sampled: AtomicU64::new(u64::MAX),
                topics: Histogram::default(),
                queues: Histogram::default(),
                users: Histogram::default(),
            }
        }

        /// Measures from now on.
        pub(crate) fn begin(&self) {
            self.is_on.store(true, Ordering::Relaxed);
        }

        #[inline]
        pub(crate) fn is_on(&self) -> bool {
            self.is_on.load(Ordering::Relaxed)
        }

        /// Marks the first of the messages, if none was marked in this tick.
        #[inline]
        pub(crate) fn sample(&self, batch: &mut [Publish]) {
            if self.is_on() {
                let (tick, last) = (self.wheel.tick(), self.sampled.load(Ordering::Relaxed));
                if tick != last
                    && self.is_first(last, tick)
                    && let Some(first) = batch.first_mut()
                {
                    first.sample(now());
                }
            }
        }

        /// Returns true if no other thread samples in this tick.
        fn is_first(&self, last: u64, tick: u64) -> bool {
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            let swapped = self.sampled.compare_exchange(last, tick, success, failure);
            swapped.is_ok()
        }

        /// Observes the samples among deliveries that were written.
        #[inline]
        pub(crate) fn written(
            &self,
            deliveries: &[Delivery],
            kind: impl Fn(&str) -> Option<DestinationKind>,
        ) {
            if !self.is_on() {
                return;
            }
            for delivery in deliveries {
                if let Some(published) = delivery.message.sampled_at() {
                    let kind = kind(delivery.message.destination());
                    self.observe(delivery, published, kind);
                }
            }
        }

        #[cold]
        fn observe(&self, delivery: &Delivery, published: Instant, kind: Option<DestinationKind>) {
            // What a topic keeps may be read again much later, and what came back has waited for more than one consumer.
            if delivery.message.is_kept() || delivery.redeliveries > 0 {
                return;
            }
            let histogram = match kind {
                Some(DestinationKind::Topic) => &self.topics,
                Some(_) => &self.queues,
                None => &self.users,
            };
            histogram.observe(now().saturating_duration_since(published));
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod feature {
    use std::sync::Arc;

    use tramline_broker::{Delivery, DestinationKind, Publish};

    use crate::net::wheel::Wheel;

    /// Measures nothing.
    #[derive(Debug)]
    pub(crate) struct Measures;

    impl Measures {
        pub(crate) fn new(_: &Arc<Wheel>) -> Self {
            Self
        }

        #[inline]
        pub(crate) fn sample(&self, _: &mut [Publish]) {}

        #[inline]
        pub(crate) fn written(&self, _: &[Delivery], _: impl Fn(&str) -> Option<DestinationKind>) {}
    }
}
