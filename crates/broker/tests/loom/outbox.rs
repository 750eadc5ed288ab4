//! The outbox alone: other threads push, its session's task takes.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::thread;
use tramline_broker::{Control, Ending, Outbox, Overflow, Taken};

use super::{block_on, body, message, model, take};

#[test]
fn no_push_is_missed_and_each_publisher_s_order_is_kept() {
    model(|| {
        let outbox = Arc::new(Outbox::new(1_000, Overflow::Close));
        let publisher = |bodies: [&'static str; 2]| {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                for body in bodies {
                    outbox.push(0, &[message(body)]);
                }
            })
        };
        let publishers = [publisher(["a1", "a2"]), publisher(["b1", "b2"])];
        let taken: Vec<String> = (0..4).map(|_| body(&take(&outbox).0).to_owned()).collect();
        let of = |letter| {
            let bodies = taken.iter().map(String::as_str);
            bodies
                .filter(|body| body.starts_with(letter))
                .collect::<Vec<_>>()
        };
        assert_eq!((of('a'), of('b')), (vec!["a1", "a2"], vec!["b1", "b2"]));
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
}

#[test]
fn an_end_comes_behind_what_was_queued() {
    model(|| {
        let outbox = Arc::new(Outbox::new(1_000, Overflow::Close));
        let ending = Ending::Requested {
            code: 1001,
            reason: "going away".into(),
        };
        let other = {
            let (outbox, ending) = (Arc::clone(&outbox), ending.clone());
            thread::spawn(move || {
                outbox.push(0, &[message("last words")]);
                outbox.end(ending);
            })
        };
        let mut batch = Vec::new();
        let received = block_on(poll_fn(|context| {
            loop {
                match outbox.poll_take(context, &mut batch, 64, usize::MAX) {
                    Taken::Some { more: true, .. } => {}
                    Taken::Control(Control::End(ending)) => {
                        return Poll::Ready(ending);
                    }
                    _ => return Poll::Pending,
                }
            }
        }));
        assert_eq!((received, batch.len()), (ending, 1));
        other.join().unwrap();
    });
}

#[test]
fn a_session_that_cannot_write_receives_its_overflow() {
    model(|| {
        let outbox = Arc::new(Outbox::new(1, Overflow::Close));
        let publisher = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                outbox.push(0, &[message("fits, alone")]);
                outbox.push(0, &[message("too much")]);
            })
        };
        let ending = block_on(poll_fn(|context| {
            outbox
                .poll_overflow(context)
                .map_or(Poll::Pending, Poll::Ready)
        }));
        assert!(matches!(ending, Ending::Overflow { limit: 1, .. }));
        assert_eq!(outbox.queued_bytes(), 0);
        publisher.join().unwrap();
    });
}

#[test]
fn a_sealed_outbox_gives_all_that_it_took_and_takes_no_more() {
    model(|| {
        let outbox = Arc::new(Outbox::new(1_000, Overflow::Close));
        let publisher = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                outbox.push(0, &[message("one")]);
                outbox.try_push(0, 1, &message("two"), 0)
            })
        };
        let empty = outbox.seal();
        let queued = outbox.queued_bytes();
        assert_eq!(empty, queued == 0);
        let taken_by_it = publisher.join().unwrap();
        assert_eq!(outbox.queued_bytes(), queued, "sealed");
        let mut bodies = Vec::new();
        while outbox.queued_bytes() > 0 {
            bodies.push(body(&take(&outbox).0).to_owned());
        }
        if taken_by_it {
            assert_eq!(bodies, ["one", "two"], "what it said it took");
        } else {
            assert!(bodies.len() < 2);
        }
    });
}
