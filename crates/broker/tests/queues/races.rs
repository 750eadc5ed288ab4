//! Guarantees under concurrent calls.

use std::sync::Barrier;
use std::thread;

use tramline_broker::{DeliveryRef, Hub, Outcome, QueueSettings, Settle};

use crate::support::*;

/// The session closes while its transaction gets the room that it waited for.
#[test]
fn a_transaction_of_a_session_that_closes_is_done_whole_or_not_at_all() {
    for _ in 0..2_000 {
        let small = QueueSettings::default().max_messages(1);
        let broker = Hub::new(broker().queue_settings("/queue/small", small));
        let (alice, bob) = (Client::open(&broker), Client::open(&broker));
        alice.subscribe(0, "/queue/work", INDIVIDUAL);
        bob.subscribe(0, "/queue/small", INDIVIDUAL);
        send(&broker, "/queue/work", &["work"]);
        send(&broker, "/queue/small", &["in the way"]);
        let settle = Settle::new(Some(0), DeliveryRef::Tag(1), Outcome::Accepted);
        let result = vec![to("/queue/small", "result")];
        let answer = alice.commit(vec![settle], result, at(0));
        let together = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                bob.accept(0, 1);
            });
            scope.spawn(|| {
                together.wait();
                alice.close();
            });
        });
        drop(answer);
        let published = counts(&broker, "/queue/small").published == 2;
        let accepted = known(&broker, "/queue/work").depth == 0;
        assert_eq!(published, accepted);
    }
}
