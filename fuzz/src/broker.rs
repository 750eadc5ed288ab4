//! The embedded broker against a plain model of it, which is the property test's of `crates/broker` too: see there.
//!
//! Lines; sessions are numbered from 0 in the order of their opening, subscriptions over all sessions:
//!
//! | | |
//! |---|---|
//! | `o` name, `O` units name | open a session of this user, or an anonymous one; one whose outbox holds so much |
//! | `c` session | close it |
//! | `s` session pattern, `v` session path | subscribe; to a user destination |
//! | `k` session mode prefetch pattern, `K` session mode prefetch path | the same, acknowledged: `0` auto, `1` client, `2` client-individual |
//! | `u` session subscription | unsubscribe |
//! | `p` letters | publish a batch |
//! | `U` session path, `T` session path | publish to the session's user, to the session |
//! | `a`, `r`, `j` session place how | accept, release, reject what is at this place among the session's unsettled; by its tag, or how: `i` its id, `n` its id alone, `w` wrongly |
//! | `x` session settles `;` letters | a transaction; settles as above, `a0,r1i` |
//! | `t` session count | take from its outbox |
//! | `w` milliseconds | sweep so much later, ten seconds unless said |
//!
//! Letters are between commas, each `destination units key life`, of which only the first must be: units of body from 1
//! to 3, a key to be conflated by or `-`, and `x` milliseconds for `expiration`, `e` milliseconds for `expires`, `!` for
//! something that is no number.

#[path = "../../crates/broker/tests/model/world/mod.rs"]
mod world;

use tramline_broker::{AckMode, Outcome};

use self::world::{Letter, Life, Named, Operation, Settling, To, Wanted, World};
use crate::script;

/// Operations of an input: the model is slow.
const LONGEST: usize = 300;

/// Tries one input.
pub fn run(data: &[u8]) {
    let mut world = World::new();
    for (letter, argument) in script::lines(data).take(LONGEST) {
        if let Some(operation) = operation(letter, argument) {
            world.apply(operation);
        }
    }
    world.finish();
}

fn operation(letter: u8, argument: &[u8]) -> Option<Operation> {
    if let b'o' | b'p' = letter {
        let text = script::text(argument);
        return Some(match letter {
            b'o' => Operation::Open(user(text), None),
            _ => Operation::Publish(letters(&text)),
        });
    }
    let (number, rest) = script::number(argument);
    let session = usize::try_from(number).ok()?;
    let text = || script::text(rest);
    Some(match letter {
        b'O' => Operation::Open(user(text()), Some(session.min(MOST_UNITS))),
        b'c' => Operation::Close(session),
        b's' => Operation::Subscribe(session, Wanted::Pattern(text()), AckMode::Auto, PREFETCH),
        b'v' => Operation::Subscribe(session, Wanted::User(text()), AckMode::Auto, PREFETCH),
        b'k' | b'K' => {
            let (mode, rest) = script::number(rest);
            let (prefetch, rest) = script::number(rest);
            let wanted = match letter {
                b'k' => Wanted::Pattern(script::text(rest)),
                _ => Wanted::User(script::text(rest)),
            };
            let mode = match mode {
                0 => AckMode::Auto,
                1 => AckMode::Client,
                _ => AckMode::ClientIndividual,
            };
            let prefetch = u32::try_from(prefetch).ok()?;
            Operation::Subscribe(session, wanted, mode, prefetch)
        }
        b'u' => {
            let slot = u32::try_from(script::number(rest).0).ok()?;
            Operation::Unsubscribe(session, slot)
        }
        b'U' => Operation::Publish(vec![Letter::new(To::User(session, text()))]),
        b'T' => Operation::Publish(vec![Letter::new(To::Session(session, text()))]),
        b'a' | b'r' | b'j' => Operation::Settle(session, settling(letter, rest)?),
        b'x' => {
            let text = text();
            let (settles, publishes) = text.split_once(';')?;
            let settles = settles.split(',').filter_map(|settle| {
                let (letter, rest) = settle.as_bytes().split_first()?;
                settling(*letter, rest)
            });
            Operation::Commit(session, settles.collect(), letters(publishes))
        }
        b't' => Operation::Take(session, script::number(rest).0 as usize),
        b'w' if argument.is_empty() => Operation::Sweep(10_000),
        b'w' => Operation::Sweep(script::millis(argument).as_millis() as u64),
        _ => return None,
    })
}

const PREFETCH: u32 = 100;

/// An outbox of more is never full.
const MOST_UNITS: usize = 100;

fn user(name: String) -> Option<String> {
    (!name.is_empty()).then_some(name)
}

fn settling(letter: u8, argument: &[u8]) -> Option<Settling> {
    let outcome = match letter {
        b'a' => Outcome::Accepted,
        b'r' => Outcome::Released,
        b'j' => Outcome::Rejected,
        _ => return None,
    };
    let (place, how) = script::number(argument);
    let named = match how.first() {
        Some(b'i') => Named::Id,
        Some(b'n') => Named::IdAlone,
        Some(b'w') => Named::Wrongly,
        _ => Named::Tag,
    };
    Some(Settling {
        place: usize::try_from(place).ok()?,
        named,
        outcome,
    })
}

fn letters(text: &str) -> Vec<Letter> {
    text.split(',')
        .map(|text| {
            let mut words = text.split(' ');
            let destination = words.next().unwrap_or_default().to_owned();
            let number = |word: &str| script::number(word.as_bytes()).0;
            let units = words.next().map_or(1, number) as usize;
            let key = words.next().and_then(|word| word.chars().next());
            let life = words.next().unwrap_or_default();
            let after = |word: &str| script::millis(word.as_bytes()).as_millis() as u64;
            let life = match (life.chars().next(), life.get(1..)) {
                (Some('x'), Some(millis)) => Life::For(after(millis)),
                (Some('e'), Some(millis)) => Life::Until(after(millis)),
                (Some('!'), _) => Life::Nonsense,
                _ => Life::Silent,
            };
            Letter {
                units,
                key: key.filter(|key| *key != '-'),
                life,
                ..Letter::new(To::Destination(destination))
            }
        })
        .collect()
}
