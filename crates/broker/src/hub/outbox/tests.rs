use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use tramline_stomp::Headers;

use super::*;
use crate::{Destination, Publish};

#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn message(size: usize) -> Arc<Message> {
    let destination = Destination::parse("/t").unwrap();
    let publish = Publish::new(destination, Headers::new(), vec![b'x'; size - 3]);
    Arc::new(Message::new(publish, "m".into(), None))
}

fn take(outbox: &Outbox, waker: &Waker, max_items: usize, max_bytes: usize) -> (Taken, usize) {
    let mut batch = Vec::new();
    let taken = outbox.poll_take(
        &mut Context::from_waker(waker),
        &mut batch,
        max_items,
        max_bytes,
    );
    (taken, batch.len())
}

const ALL: Taken = Taken::Some {
    more: false,
    room_wanted: false,
    conflates: false,
};
const MORE: Taken = Taken::Some {
    more: true,
    room_wanted: false,
    conflates: false,
};

#[test]
fn a_push_wakes_once_until_the_queue_was_emptied() {
    let counter = Arc::new(CountingWaker::default());
    let waker = Waker::from(Arc::clone(&counter));
    let outbox = Outbox::new(1000, Overflow::Close);
    assert_eq!(take(&outbox, &waker, 64, 1000), (Taken::Nothing, 0));
    outbox.push(0, &[message(10)]);
    outbox.push(0, &[message(10)]);
    assert_eq!(counter.0.load(Ordering::Relaxed), 1);
    assert_eq!(take(&outbox, &waker, 64, 1000), (ALL, 2));
    outbox.push(0, &[message(10)]);
    assert_eq!(
        counter.0.load(Ordering::Relaxed),
        2,
        "taking all registered the waker again"
    );
}

#[test]
fn batches_are_bounded_in_items_and_bytes() {
    let outbox = Outbox::new(1000, Overflow::Close);
    outbox.push(0, &[message(100), message(100), message(100), message(100)]);
    assert_eq!(take(&outbox, Waker::noop(), 1, 1000), (MORE, 1));
    assert_eq!(take(&outbox, Waker::noop(), 64, 101), (MORE, 2));
    assert_eq!(outbox.queued_bytes(), 100);
}

#[test]
fn one_message_over_the_limit_passes_an_empty_outbox() {
    let outbox = Outbox::new(50, Overflow::Close);
    outbox.push(0, &[message(100)]);
    assert_eq!(take(&outbox, Waker::noop(), 64, 1000), (ALL, 1));
}

#[test]
fn a_requested_end_comes_after_what_is_queued_and_once() {
    let outbox = Outbox::new(1000, Overflow::Close);
    outbox.push(0, &[message(10)]);
    let ending = Ending::Requested {
        code: 1001,
        reason: "going away".into(),
    };
    outbox.end(ending.clone());
    outbox.push(0, &[message(10)]);
    assert_eq!(take(&outbox, Waker::noop(), 64, 1000), (MORE, 2));
    assert_eq!(
        take(&outbox, Waker::noop(), 64, 1000),
        (Taken::Control(Control::End(ending)), 0)
    );
    outbox.push(0, &[message(10)]);
    assert_eq!(
        take(&outbox, Waker::noop(), 64, 1000),
        (ALL, 1),
        "a reply of the last handler"
    );
    assert_eq!(take(&outbox, Waker::noop(), 64, 1000), (Taken::Nothing, 0));
}

#[test]
fn a_blocked_session_receives_its_overflow() {
    let outbox = Outbox::new(15, Overflow::Close);
    let mut context = Context::from_waker(Waker::noop());
    outbox.push(0, &[message(10)]);
    assert_eq!(outbox.poll_overflow(&mut context), None);
    outbox.push(0, &[message(10)]);
    let overflow = Ending::Overflow {
        queued: 20,
        limit: 15,
    };
    assert_eq!(outbox.poll_overflow(&mut context), Some(overflow));
    outbox.push(0, &[message(10)]);
    assert_eq!(outbox.queued_bytes(), 0);
}

fn of_key(key: &str) -> Arc<Message> {
    let destination = Destination::parse("/t").unwrap();
    let mut headers = Headers::new();
    headers.push("key", key);
    Arc::new(Message::new(
        Publish::new(destination, headers, "x"),
        "m".into(),
        None,
    ))
}

#[test]
fn what_was_taken_back_leaves_no_places_behind() {
    for (overflow, left) in [(Overflow::latest("key"), 3), (Overflow::DropOldest, 4)] {
        let limit = message(10).size() + 3 * of_key("a").size();
        let outbox = Outbox::new(limit, overflow);
        outbox.push(0, &[message(10)]);
        for _ in 0..1_000 {
            outbox.push(1, &[of_key("a"), of_key("b")]);
        }
        let places = outbox.state.lock().queue.len();
        assert!(places <= 2 * SPARE_PLACES, "{places} places for {left}");
        let (taken, count) = take(&outbox, Waker::noop(), 64, 1000);
        assert_eq!(count, left);
        let is_latest = left == 3;
        assert!(
            matches!(taken, Taken::Some { more: false, conflates, .. } if conflates == is_latest)
        );
        assert_eq!(outbox.queued_bytes(), 0);
    }
}

#[test]
fn an_idle_outbox_is_small_and_holds_no_queue() {
    assert!(size_of::<Outbox>() <= 120, "{}", size_of::<Outbox>());
    assert_eq!(size_of::<Delivery>(), 24);
    let outbox = Outbox::new(100_000, Overflow::Close);
    for _ in 0..100 {
        outbox.push(0, &[message(10)]);
    }
    assert_eq!(take(&outbox, Waker::noop(), 100, 100_000).1, 100);
    assert_eq!(outbox.state.lock().queue.capacity(), 0);
}
