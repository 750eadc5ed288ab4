//! Counters that many threads increment, and their snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

/// Defines a struct of numbers, and one of the counters behind them.
macro_rules! counters {
    (
        $(#[$about:meta])* $stats:ident, $counters:ident:
        $($(#[$doc:meta])* $name:ident,)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $(pub(crate) $name: $crate::model::counter::Counter,)*
        }

        impl $counters {
            pub(crate) fn snapshot(&self) -> $stats {
                $stats { $($name: self.$name.get(),)* }
            }
        }
    };
}

pub(crate) use counters;

/// A number that many tasks increment.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
