//! The contract's clauses about queues.

use std::collections::HashSet;

use super::member::{Trial, TrialMember, body, by_tag, tries};
use crate::AckMode::{Client, ClientIndividual};
use crate::errors::SettleError;
use crate::hub::outbox::Delivery;
use crate::request::{DeliveryRef, Outcome};

/// The [`next`] deliveries of messages that were delivered once before.
fn again(trial: &Trial<'_>, bodies: &[&str]) -> Vec<(String, u32)> {
    let count = trial.counts_between_nodes().into();
    bodies
        .iter()
        .map(|body| ((*body).to_owned(), count))
        .collect()
}

pub(super) fn a_message_waits_and_goes_to_one_consumer(trial: &Trial<'_>) {
    let queue = trial.queue("a");
    let bodies: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    trial.send(&queue, &texts[..10]);
    let members = [trial.open(), trial.open(), trial.open()];
    for (slot, member) in members.iter().enumerate() {
        member.subscribe_as(slot as u32, &queue, ClientIndividual, 100);
    }
    trial.send(&queue, &texts[10..]);
    let got: Vec<String> = trial.take(&members, 20).iter().map(body).collect();
    let distinct: HashSet<&String> = got.iter().collect();
    assert_eq!(distinct, bodies.iter().collect(), "each once");
    for member in &members {
        member.nothing();
    }
}

pub(super) fn consumers_take_turns(trial: &Trial<'_>) {
    let queue = trial.queue("a");
    let members = [trial.open(), trial.open()];
    for member in &members {
        member.subscribe_as(0, &queue, ClientIndividual, 100);
    }
    trial.send(&queue, &["1", "2", "3", "4", "5", "6"]);
    for member in &members {
        assert_eq!(member.take(3).len(), 3);
        member.nothing();
    }
}

pub(super) fn a_queue_keeps_its_order(trial: &Trial<'_>) {
    let queue = trial.queue("a");
    let bodies: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = bodies.iter().map(String::as_str).collect();
    trial.send(&queue, &texts[..25]);
    let member = trial.open();
    member.subscribe_as(0, &queue, Client, 100);
    trial.send(&queue, &texts[25..]);
    let taken = member.take(50);
    assert_eq!(taken.iter().map(body).collect::<Vec<_>>(), bodies);
    assert!(taken.iter().all(|taken| taken.redeliveries == 0));
    let tags: HashSet<u32> = taken.iter().map(|taken| taken.tag).collect();
    assert!(tags.len() == 50 && !tags.contains(&0));
}

pub(super) fn no_more_are_given_out_than_may_be_unsettled(trial: &Trial<'_>) {
    let queue = trial.queue("a");
    trial.send(&queue, &["1", "2", "3", "4"]);
    let (one, two) = (trial.open(), trial.open());
    one.subscribe_as(0, &queue, ClientIndividual, 1);
    let first = one.take(1);
    one.nothing();
    two.subscribe_as(0, &queue, ClientIndividual, 2);
    assert_eq!(two.bodies(2), ["2", "3"], "the other has no room");
    one.settled(&first[0], Outcome::Accepted);
    assert_eq!(one.bodies(1), ["4"]);
}

/// Returns a consumer that has received `count` messages, `1` being the first.
fn consumer<'a>(
    trial: &'a Trial<'a>,
    ack: crate::AckMode,
    count: usize,
) -> (TrialMember<'a>, Vec<Delivery>) {
    let queue = trial.queue("a");
    let member = trial.open();
    member.subscribe_as(0, &queue, ack, 100);
    for n in 1..=count {
        trial.send(&queue, &[&n.to_string()]);
    }
    let taken = member.take(count);
    (member, taken)
}

/// Returns the next deliveries of another consumer, with 0 for the counts that the engine does not know there.
fn next<'a>(trial: &'a Trial<'a>, count: usize) -> Vec<(String, u32)> {
    let member = trial.open();
    member.subscribe_as(0, &trial.queue("a"), ClientIndividual, 100);
    let mut taken = member.take(count);
    member.nothing();
    if !trial.counts_between_nodes() {
        taken.iter_mut().for_each(|taken| taken.redeliveries = 0);
    }
    tries(&taken)
}

pub(super) fn the_mode_client_settles_all_before(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial, Client, 4);
    member.settled(&taken[2], Outcome::Accepted);
    member.close();
    assert_eq!(next(trial, 1), again(trial, &["4"]));
}

pub(super) fn the_mode_client_individual_settles_one(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial, ClientIndividual, 4);
    member.settled(&taken[2], Outcome::Accepted);
    member.settled(&taken[0], Outcome::Accepted);
    member.close();
    assert_eq!(next(trial, 2), again(trial, &["2", "4"]));
}

pub(super) fn a_delivery_is_known_by_its_message_id_too(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial, ClientIndividual, 3);
    let id = |n: usize| DeliveryRef::MessageId(taken[n].message.id().clone());
    assert_eq!(member.settle(0, id(1), Outcome::Accepted), Ok(()));
    assert_eq!(member.settle(None, id(0), Outcome::Accepted), Ok(()));
    member.close();
    assert_eq!(next(trial, 1), again(trial, &["3"]));
}

pub(super) fn what_is_released_comes_back_and_is_counted(trial: &Trial<'_>) {
    let (member, mut taken) = consumer(trial, ClientIndividual, 2);
    for count in 1..4 {
        member.settled(&taken[0], Outcome::Released);
        taken = member.take(1);
        assert_eq!(tries(&taken), [("1".to_owned(), count)]);
    }
}

pub(super) fn what_an_ended_subscription_had_goes_to_others_in_order(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial, ClientIndividual, 4);
    member.settled(&taken[1], Outcome::Accepted);
    member.unsubscribe(0);
    assert_eq!(next(trial, 3), again(trial, &["1", "3", "4"]));
    assert!(
        member
            .settle(0, by_tag(&taken[0]), Outcome::Accepted)
            .is_err()
    );
}

pub(super) fn what_a_closed_session_had_goes_to_others_in_order(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial, Client, 4);
    member.settled(&taken[0], Outcome::Accepted);
    member.close();
    trial.send(&trial.queue("a"), &["5"]);
    let mut expected = again(trial, &["2", "3", "4"]);
    expected.push(("5".to_owned(), 0));
    assert_eq!(next(trial, 4), expected);
}

pub(super) fn what_was_accepted_never_comes_back(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial, Client, 3);
    member.settled(&taken[2], Outcome::Accepted);
    member.close();
    assert_eq!(next(trial, 0), []);
}

pub(super) fn what_was_rejected_never_comes_back(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial, ClientIndividual, 3);
    member.settled(&taken[0], Outcome::Rejected);
    member.settled(&taken[2], Outcome::Rejected);
    member.nothing();
    member.close();
    assert_eq!(next(trial, 1), again(trial, &["2"]));
}

pub(super) fn settling_what_is_not_there_is_an_error(trial: &Trial<'_>) {
    let (member, taken) = consumer(trial, Client, 3);
    let unknown = |member: &TrialMember<'_>, slot: Option<u32>, delivery: DeliveryRef| {
        let answer = member.settle(slot, delivery.clone(), Outcome::Accepted);
        assert_eq!(answer, Err(SettleError::UnknownDelivery { delivery }));
    };
    unknown(&member, Some(0), DeliveryRef::Tag(0));
    unknown(&member, Some(0), DeliveryRef::MessageId("none".into()));
    unknown(&member, Some(1), by_tag(&taken[0]));
    unknown(&trial.open(), Some(0), by_tag(&taken[0]));
    member.settled(&taken[1], Outcome::Accepted);
    unknown(&member, Some(0), by_tag(&taken[1]));
    unknown(&member, Some(0), by_tag(&taken[0]));
    member.close();
    unknown(&member, Some(0), by_tag(&taken[2]));
    assert_eq!(next(trial, 1), again(trial, &["3"]));
}

pub(super) fn a_full_outbox_waits_and_resumes(trial: &Trial<'_>) {
    const COUNT: usize = 30;
    let queue = trial.queue("a");
    let member = trial.open_slow(2_000);
    member.subscribe_as(0, &queue, Client, 100);
    for n in 0..COUNT {
        trial.send(&queue, &[&format!("{n:0300}")]);
    }
    for n in 0..COUNT {
        let taken = member.take(1);
        assert_eq!(tries(&taken), [(format!("{n:0300}"), 0)]);
    }
    member.nothing();
}
