//! The contract's clauses about transactions.

use super::member::{Trial, TrialMember, accepting, body, to};
use crate::AckMode;
use crate::errors::CommitError;
use crate::hub::outbox::Delivery;
use crate::request::{DeliveryRef, Outcome, Settle};

/// Returns a consumer that has received one message.
fn consumer<'a>(trial: &'a Trial<'a>) -> (TrialMember<'a>, Delivery) {
    let member = trial.open();
    member.subscribe_as(0, &trial.queue("a"), AckMode::ClientIndividual, 1);
    member.subscribe(1, &trial.topic("a"));
    trial.send(&trial.queue("a"), &["1"]);
    let taken = member.take(1).remove(0);
    (member, taken)
}

/// Checks that the consumer still has its message, and received nothing else.
fn nothing_was_done(trial: &Trial<'_>, member: &TrialMember<'_>, taken: &Delivery) {
    member.nothing();
    trial.send(&trial.queue("a"), &["2"]);
    member.nothing();
    member.settled(taken, Outcome::Accepted);
    assert_eq!(member.bodies(1), ["2"]);
}

pub(super) fn a_transaction_is_done_in_order(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial);
    let publishes = vec![
        to(&trial.topic("a"), "x"),
        to(&trial.queue("a"), "2"),
        to(&trial.topic("a"), "y"),
    ];
    let committed = member.commit(vec![accepting(&taken)], publishes);
    committed.expect("nothing is in the way");
    let taken = member.take(3);
    let of = |slot| {
        let own = taken.iter().filter(move |taken| taken.slot == slot);
        own.map(body).collect::<Vec<_>>()
    };
    assert_eq!(of(0), ["2"], "there is room by the settled one");
    assert_eq!(of(1), ["x", "y"]);
}

pub(super) fn a_transaction_that_cannot_settle_does_nothing(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial);
    let none = DeliveryRef::MessageId("none".into());
    let settles = vec![
        accepting(&taken),
        Settle::new(Some(0), none, Outcome::Accepted),
    ];
    let error = member.commit(settles, vec![to(&trial.topic("a"), "x")]);
    assert!(matches!(error, Err(CommitError::Settle(_))), "{error:?}");
    let twice = vec![accepting(&taken), accepting(&taken)];
    let error = member.commit(twice, vec![to(&trial.topic("a"), "x")]);
    assert!(matches!(error, Err(CommitError::Settle(_))), "{error:?}");
    nothing_was_done(trial, &member, &taken);
}

pub(super) fn a_transaction_that_cannot_publish_does_nothing(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial);
    let publishes = vec![
        to(&trial.topic("a"), "x"),
        to(&trial.queue("a"), "y"),
        to(&trial.nowhere(), "z"),
    ];
    let error = member.commit(vec![accepting(&taken)], publishes);
    assert!(matches!(error, Err(CommitError::Publish(_))), "{error:?}");
    nothing_was_done(trial, &member, &taken);
}
