//! Tests of a queue without its engine.

use std::num::NonZeroU32;

use super::*;
use crate::feed::Token;
use crate::request::Outcome;
use crate::{
    AckMode, Destination, Headers, Outbox, Overflow, Pattern, Publish, SessionId, SubscribeOptions,
};

const NOW: Timestamp = Timestamp::from_millis(1);

fn push(
    queue: &Arc<Queue>,
    message: &Arc<Message>,
    after: &mut Aftermath,
) -> Result<bool, NotTaken> {
    queue.push(message, (None, None), false, NOW, after)
}

fn subscribe(queue: &Arc<Queue>, after: &mut Aftermath) -> SeatKey {
    let consumer = Arc::new(Consumer::new(
        (SessionId::random(), 0),
        (Pattern::parse("/queue/a").unwrap(), None),
        AckMode::Client,
        NonZeroU32::MAX,
        SubscribeOptions::default(),
        Arc::new(Outbox::new(1 << 20, Overflow::Close)),
    ));
    queue.subscribe(&consumer, NOW, after).unwrap();
    consumer.record::<Seating>().unwrap().key
}

#[test]
fn an_old_key_does_not_settle_for_who_sits_there_now() {
    let meter = Meter::new(&Arc::default());
    let queue = Arc::new(Queue::new("/queue/a".into(), Arc::default(), meter, None));
    let mut after = Aftermath::default();
    let publish = Publish::new(Destination::parse("/queue/a").unwrap(), Headers::new(), "x");
    let message = Arc::new(Message::new(publish, "m".into(), None));
    assert!(!push(&queue, &message, &mut after).unwrap());
    let old = subscribe(&queue, &mut after);
    queue.unsubscribe(old, &mut after);
    queue.serve(NOW, &mut after);
    let new = subscribe(&queue, &mut after);
    assert_eq!(old.at, new.at);
    let first = [Token(1)];
    let accept = |key| {
        let mut after = Aftermath::default();
        queue.settle(key, &first, Outcome::Accepted, NOW, &mut after)
    };
    assert!(!accept(old));
    assert!(queue.hold(old, &first, Outcome::Accepted).is_none());
    queue.unsubscribe(old, &mut after);
    assert!(accept(new));
}
