//! The embedded broker behaves like a plain model of it, for any sequence of operations.

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

/// Queues whose publishers wait for room.
const CROWDED: &[&str] = &["/q/wait", "/q/wait", "/q/room"];

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

fn wanted(destinations: &'static [&'static str]) -> impl Strategy<Value = Wanted> {
    prop_oneof![
        8 => text(destinations).prop_map(Wanted::Pattern),
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

fn letter(destinations: &'static [&'static str]) -> impl Strategy<Value = Letter> {
    let to = prop_oneof![
        16 => text(destinations).prop_map(To::Destination),
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

fn letters(
    destinations: &'static [&'static str],
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<Letter>> {
    prop::collection::vec(letter(destinations), count)
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

fn operation(destinations: &'static [&'static str]) -> impl Strategy<Value = Operation> {
    let settlings = prop::collection::vec(settling(), 0..4);
    prop_oneof![
        1 => open(),
        1 => session().prop_map(Operation::Close),
        6 => (session(), wanted(destinations), ack(), 1..5_u32).prop_map(|(session, wanted, ack, prefetch)| {
            Operation::Subscribe(session, wanted, ack, prefetch)
        }),
        2 => (session(), 0..12_u32)
            .prop_map(|(session, slot)| Operation::Unsubscribe(session, slot)),
        9 => letters(destinations, 1..6).prop_map(Operation::Publish),
        6 => (session(), settling())
            .prop_map(|(session, settling)| Operation::Settle(session, settling)),
        3 => (session(), settlings, letters(destinations, 0..4))
            .prop_map(|(session, settles, letters)| Operation::Commit(session, settles, letters)),
        6 => (session(), 1..5_usize).prop_map(|(session, count)| Operation::Take(session, count)),
        2 => prop_oneof![Just(1), Just(500), Just(2_000), Just(4_000), Just(10_000)]
            .prop_map(Operation::Sweep),
    ]
}

fn operations(destinations: &'static [&'static str]) -> impl Strategy<Value = Vec<Operation>> {
    let opened = prop::collection::vec(open(), 2..5);
    let others = prop::collection::vec(operation(destinations), 1..80);
    (opened, others).prop_map(|(mut operations, others)| {
        operations.extend(others);
        operations
    })
}

fn compare(operations: Vec<Operation>) {
    let mut world = World::new();
    for operation in operations {
        world.apply(operation);
    }
    world.finish();
}

proptest! {
    #[test]
    fn the_broker_does_what_the_model_does(operations in operations(DESTINATIONS)) {
        compare(operations);
    }

    #[test]
    fn the_broker_does_so_where_publishers_wait(operations in operations(CROWDED)) {
        compare(operations);
    }
}
