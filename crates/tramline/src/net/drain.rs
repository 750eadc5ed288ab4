//! Closing sessions gradually, so that their clients do not come back all at once.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytestring::ByteString;
use tokio::time::Instant;

use super::lifecycle::Lifecycle;
use super::transport::task::CLOSE_TIME;

/// Closes `sessions` sessions that `all` returns, spread over the time `over`, and waits for them [`CLOSE_TIME`] longer
/// at most; returns how many are still open then. `close_all` closes those that are left if the future is dropped.
pub(crate) async fn drain<T>(
    lifecycle: &Lifecycle,
    over: Duration,
    count: impl Fn() -> usize,
    all: impl FnOnce() -> Vec<T>,
    close: impl FnMut(T),
    close_all: impl Fn(),
) -> usize {
    let until = Instant::now() + over + CLOSE_TIME;
    lifecycle.drain_within(over + CLOSE_TIME, retry_window(over, count()));
    let rest = Rest(close_all);
    {
        let mut closing = pin!(spread(all(), over, close));
        let mut gone = pin!(lifecycle.all_gone(over, &count));
        // Sessions that end by themselves are not waited for.
        std::future::poll_fn(|context| match closing.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => gone.as_mut().poll(context).map(|_| ()),
        })
        .await;
    }
    drop(rest);
    let left = until.saturating_duration_since(Instant::now());
    lifecycle.all_gone(left, count).await
}

/// Calls `close` for each of `sessions`: each at a random moment of its own share of `over`.
async fn spread<T>(sessions: Vec<T>, over: Duration, mut close: impl FnMut(T)) {
    let start = Instant::now();
    let share = over.as_secs_f64() / sessions.len().max(1) as f64;
    let mut random = Random::new();
    for (n, session) in sessions.into_iter().enumerate() {
        let due = share * (n as f64 + random.fraction());
        tokio::time::sleep_until(start + Duration::from_secs_f64(due)).await;
        close(session);
    }
}

/// The close reason of a drain: the milliseconds after which the client should connect again, at a random moment of the
/// window. As long as the drain, a second at least, and a millisecond for each session: no node meets more than 1,000
/// clients a second again.
fn retry_window(over: Duration, sessions: usize) -> ByteString {
    let over = over.as_millis().max(1000).max(sessions as u128);
    format!("retry-after-ms=0..{over}").into()
}

/// Closes the sessions that are left.
struct Rest<F: Fn()>(F);

impl<F: Fn()> Drop for Rest<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Random enough to spread clients (SplitMix64).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let mut seed = [0; 8];
        // Without entropy the moments are those of the last time, and still spread.
        let _ = getrandom::fill(&mut seed);
        Self(u64::from_ne_bytes(seed))
    }

    /// A number from 0 to less than 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_session_is_closed_in_its_share_of_the_time() {
        let start = Instant::now();
        let mut closed = Vec::new();
        let sessions: Vec<u32> = (0..100).collect();
        spread(sessions, Duration::from_secs(10), |n| {
            closed.push((n, start.elapsed()));
        })
        .await;
        assert_eq!(closed.len(), 100);
        for (n, at) in closed {
            let share = Duration::from_millis(100) * n..=Duration::from_millis(101) * (n + 1);
            assert!(share.contains(&at), "session {n} was closed at {at:?}");
        }
    }

    #[test]
    fn the_window_is_as_long_as_the_drain_and_longer_for_many_sessions() {
        let window = |seconds, sessions| retry_window(Duration::from_secs(seconds), sessions);
        assert_eq!(window(20, 100), "retry-after-ms=0..20000");
        assert_eq!(window(20, 30_000), "retry-after-ms=0..30000");
        assert_eq!(window(0, 1), "retry-after-ms=0..1000");
    }
}
