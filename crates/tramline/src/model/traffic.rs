//! What passes a session, for the console. Without the feature `console` nothing is counted.

#[cfg(feature = "console")]
pub(crate) use self::counted::Traffic;
#[cfg(not(feature = "console"))]
pub(crate) use self::nothing::Traffic;

#[cfg(feature = "console")]
mod counted {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use crate::model::clock::now;

    /// What has passed a session: bytes of STOMP, without the transport's framing, since the console asked for them.
    #[derive(Debug)]
    pub(crate) struct Traffic {
        pub(crate) opened: Instant,
        pub(crate) transport: &'static str,
        read: AtomicU64,
        written: AtomicU64,
    }

    impl Traffic {
        pub(crate) fn over(transport: &'static str) -> Self {
            Self {
                opened: now(),
                transport,
                read: AtomicU64::new(0),
                written: AtomicU64::new(0),
            }
        }

        pub(crate) fn read(&self, bytes: usize) {
            self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        }

        pub(crate) fn wrote(&self, bytes: usize) {
            self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }

        /// Bytes read and written.
        pub(crate) fn bytes(&self) -> (u64, u64) {
            let read = self.read.load(Ordering::Relaxed);
            (read, self.written.load(Ordering::Relaxed))
        }
    }
}

#[cfg(not(feature = "console"))]
mod nothing {
    /// Counts nothing.
    #[derive(Debug)]
    pub(crate) struct Traffic;

    impl Traffic {
        pub(crate) fn over(_: &'static str) -> Self {
            Self
        }
    }
}
