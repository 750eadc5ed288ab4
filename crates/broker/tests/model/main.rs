//! The embedded broker does what a plain model of it does, whatever is done to it in whatever order.

mod world;

use proptest::prelude::*;
use proptest::sample::select;
use tramline_broker::{AckMode, Outcome};

use self::world::{Letter, Life, Named, Operation, Settling, To, Wanted, World};

const USERS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];

const PATHS: [&str; 2] = ["/queue/a", "/queue/b"];

const DESTINATIONS: &[&str] = &[
    "/t/a",
    "/t/old",
    "/t/new",
    "/t/last",
    "/t/last",
    "/t/reject",
    "/t/dead",
    "/d/x.y",
    "/q/wait",
    "/q/wait",
    "/q/wait",
    "/q/room",
    "/q/room",
    "/q/now",
    "/q/old",
    "/q/old",
    "/q/new",
    "/q/tries",
    "/q/tries",
    "/q/short",
    "/q/dead",
    "/q/plain",
];

const PATTERNS: &[&str] = &[
    "/t/*", "/t/**", "/t/?", "/t/l*t", "/d/*.y", "/d/**", "/q/*", "/x/*",
];

fn session() -> impl Strategy<Value = usize> {
    0..5_usize
}

fn open() -> impl Strategy<Value = Operation> {
    let limit = prop_oneof![1 => Just(None), 2 => (1..6_usize).prop_map(Some)];
    (select(&USERS[..]), limit)
        .prop_map(|(user, limit)| Operation::Open(user.map(str::to_owned), limit))
}

fn text(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        8 => text(DESTINATIONS).prop_map(Wanted::Pattern),
        2 => text(PATTERNS).prop_map(Wanted::Pattern),
        1 => text(&PATHS).prop_map(Wanted::User),
    ]
}

fn ack() -> impl Strategy<Value = AckMode> {
    select(vec![
        AckMode::Auto,
        AckMode::Client,
        AckMode::ClientIndividual,
    ])
}

fn letter() -> impl Strategy<Value = Letter> {
    let to = prop_oneof![
        16 => text(DESTINATIONS).prop_map(To::Destination),
        1 => Just(To::Destination("/nowhere".to_owned())),
        1 => (session(), text(&PATHS)).prop_map(|(session, path)| To::User(session, path)),
        1 => (session(), text(&PATHS)).prop_map(|(session, path)| To::Session(session, path)),
    ];
    let life = prop_oneof![
        16 => Just(Life::Silent),
        2 => (0..4_000_u64).prop_map(Life::For),
        1 => (0..30_000_u64).prop_map(Life::Until),
        1 => Just(Life::Nonsense),
    ];
    let key = select(vec![None, Some('a'), Some('b')]);
    (to, 1..4_usize, key, life).prop_map(|(to, units, key, life)| Letter {
        units,
        key,
        life,
        ..Letter::new(to)
    })
}

fn letters(most: usize) -> impl Strategy<Value = Vec<Letter>> {
    prop::collection::vec(letter(), 1..=most)
}

fn settling() -> impl Strategy<Value = Settling> {
    let named = prop_oneof![
        8 => Just(Named::Tag),
        2 => Just(Named::Id),
        2 => Just(Named::IdAlone),
        1 => Just(Named::Wrongly),
    ];
    let outcome = prop_oneof![
        4 => Just(Outcome::Accepted),
        2 => Just(Outcome::Released),
        1 => Just(Outcome::Rejected),
    ];
    (0..8_usize, named, outcome).prop_map(|(place, named, outcome)| Settling {
        place,
        named,
        outcome,
    })
}

/// A consumer of a small queue that publishes to it what it makes of its messages.
fn exchange() -> impl Strategy<Value = Operation> {
    let queue = select(&["/q/wait", "/q/room"][..]);
    let letters = (queue, 1..4_usize).prop_map(|(queue, count)| {
        let letter = Letter::new(To::Destination(queue.to_owned()));
        vec![letter; count]
    });
    let settles = prop::collection::vec(settling(), 1..3);
    (session(), settles, letters)
        .prop_map(|(session, settles, letters)| Operation::Commit(session, settles, letters))
}

fn operation() -> impl Strategy<Value = Operation> {
    let settlings = prop::collection::vec(settling(), 0..4);
    prop_oneof![
        1 => open(),
        1 => session().prop_map(Operation::Close),
        6 => (session(), wanted(), ack(), 1..5_u32).prop_map(|(session, wanted, ack, prefetch)| {
            Operation::Subscribe(session, wanted, ack, prefetch)
        }),
        2 => (session(), 0..12_u32)
            .prop_map(|(session, slot)| Operation::Unsubscribe(session, slot)),
        9 => letters(5).prop_map(Operation::Publish),
        6 => (session(), settling())
            .prop_map(|(session, settling)| Operation::Settle(session, settling)),
        3 => (session(), settlings, prop::collection::vec(letter(), 0..4))
            .prop_map(|(session, settles, letters)| Operation::Commit(session, settles, letters)),
        2 => exchange(),
        6 => (session(), 1..5_usize).prop_map(|(session, count)| Operation::Take(session, count)),
        2 => prop_oneof![Just(1), Just(500), Just(2_000), Just(4_000), Just(10_000)]
            .prop_map(Operation::Sweep),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let opened = prop::collection::vec(open(), 2..5);
    let others = prop::collection::vec(operation(), 1..80);
    (opened, others).prop_map(|(mut operations, others)| {
        operations.extend(others);
        operations
    })
}

proptest! {
    #[test]
    fn the_broker_does_what_the_model_does(operations in operations()) {
        let mut world = World::new();
        for operation in operations {
            world.apply(operation);
        }
        world.finish();
    }
}
