//! What handlers and listeners leave behind, and what they wait for.

use std::fmt::Display;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::within;

/// Lines that the server's side writes.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: impl Display) {
        self.0.lock().push(line.to_string());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// Waits until there are `count` lines; fails unless they are these.
    #[track_caller]
    pub(crate) fn reads<'a, const N: usize>(
        &'a self,
        expected: [&'a str; N],
    ) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            let enough = async {
                while self.0.lock().len() < N {
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
            };
            let context = || format!("{:#?}", self.lines());
            within(at, "lines in the log", context, enough).await;
            assert_eq!(self.lines(), expected, "{at}");
        }
    }
}

/// Counts that it is dropped.
pub(crate) struct Told(pub(crate) Arc<AtomicUsize>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where handlers wait until they are let through.
#[derive(Clone)]
pub(crate) struct Door {
    came: watch::Sender<usize>,
    open: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new() -> Self {
        Self {
            came: watch::Sender::new(0),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) async fn pass(&self) {
        self.came.send_modify(|came| *came += 1);
        self.open.acquire().await.unwrap().forget();
    }

    /// Waits until `times` have come.
    #[track_caller]
    pub(crate) fn came(&self, times: usize) -> impl Future<Output = ()> + use<> {
        let at = Location::caller();
        let mut came = self.came.subscribe();
        async move {
            let wait = came.wait_for(|came| *came >= times);
            let waited = within(at, "who should come to the door", String::new, wait);
            waited.await.unwrap();
        }
    }

    /// How many have come so far.
    pub(crate) fn count(&self) -> usize {
        *self.came.borrow()
    }

    /// Lets this many through.
    pub(crate) fn let_in(&self, count: usize) {
        self.open.add_permits(count);
    }
}
