//! Kept messages of topics, for subscribers that come later or come back.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use proptest::prelude::*;
use tramline_broker::{
    AckMode, Confirm, Control, Delivery, DeliveryRef, Destination, EmbeddedBroker, Gap, Headers,
    History, Hub, Message, OpenSession, Outbox, Outcome, Overflow, Pattern, Position, Publish,
    SessionId, Settle, Start, SubscribeError, SubscribeOptions, SubscribeRequest, Subscribed,
    Taken, Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

struct Client<'a> {
    hub: &'a Hub,
    id: SessionId,
    outbox: Arc<Outbox>,
}

impl<'a> Client<'a> {
    fn open(hub: &'a Hub) -> Self {
        Self::with_outbox(hub, 1 << 24)
    }

    fn with_outbox(hub: &'a Hub, limit: usize) -> Self {
        let (id, outbox) = (
            SessionId::random(),
            Arc::new(Outbox::new(limit, Overflow::Close)),
        );
        let open = OpenSession::new(id, None, Arc::clone(&outbox));
        done(hub.open(open)).unwrap();
        Self { hub, id, outbox }
    }

    fn try_subscribe(
        &self,
        slot: u32,
        pattern: &str,
        options: impl FnOnce(&mut SubscribeOptions),
    ) -> Result<Subscribed, SubscribeError> {
        let pattern = Pattern::parse(pattern.to_owned()).unwrap();
        let mut request = SubscribeRequest::new(self.id, slot, pattern);
        options(&mut request.options);
        done(self.hub.subscribe(request))
    }

    fn resume(&self, slot: u32, destination: &str, after: Position) -> Subscribed {
        let start = Start::After(after);
        let subscribed = self.try_subscribe(slot, destination, |options| options.start = start);
        subscribed.unwrap()
    }

    fn resume_each(&self, slot: u32, pattern: &str, positions: &[(&str, Position)]) -> Subscribed {
        let positions = positions.iter();
        let positions = positions.map(|(name, position)| ((*name).into(), *position));
        let start = Start::AfterEach(positions.collect());
        let subscribed = self.try_subscribe(slot, pattern, |options| options.start = start);
        subscribed.unwrap()
    }

    /// Takes at most `count` deliveries, and reports room where it is wanted.
    fn take(&self, count: usize) -> (Vec<Delivery>, Option<Control>) {
        let mut batch = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        let taken = self
            .outbox
            .poll_take(&mut context, &mut batch, count, usize::MAX);
        let control = match taken {
            Taken::Control(control) => Some(control),
            Taken::Some { room_wanted, .. } => {
                if room_wanted {
                    self.hub.room_again(self.id);
                }
                None
            }
            _ => None,
        };
        (batch, control)
    }

    fn bodies(&self) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let (batch, control) = self.take(64);
            assert_eq!(control, None);
            if batch.is_empty() {
                return bodies;
            }
            bodies.extend(batch.iter().map(body));
        }
    }

    fn leave(self) {
        self.hub.close(self.id);
    }
}

fn done<T>(confirm: Confirm<T>) -> T {
    confirm
        .into_ready()
        .unwrap_or_else(|_| panic!("it answers at once"))
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body().to_vec()).unwrap()
}

fn to(destination: &str) -> Destination {
    Destination::parse(destination.to_owned()).unwrap()
}

fn publish(hub: &Hub, destination: &str, bodies: impl IntoIterator<Item = impl ToString>) {
    for body in bodies {
        let publish = Publish::new(to(destination), Headers::new(), body.to_string());
        done(hub.publish(vec![publish], NOW)).unwrap();
    }
}

fn publish_keyed(hub: &Hub, destination: &str, key: &str, body: &str) {
    let headers = Headers::from_iter([("key", key.to_owned())]);
    let publish = Publish::new(to(destination), headers, body.to_owned());
    done(hub.publish(vec![publish], NOW)).unwrap();
}

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::new().topics("/topic").queues("/queue")
}

fn hub(history: History) -> Hub {
    let hub = Hub::new(broker().history("/topic/kept/**", history));
    assert_eq!(hub.errors(), Vec::<String>::new());
    hub
}

fn position(hub: &Hub, destination: &str) -> Position {
    hub.history(&to(destination), None, 0).unwrap().position
}

fn after(epoch: u64, sequence: u64) -> Position {
    Position { epoch, sequence }
}

#[test]
fn who_was_away_receives_what_it_missed_and_then_what_is_live() {
    let hub = hub(History::messages(10));
    let alice = Client::open(&hub);
    let subscribed = alice.try_subscribe(0, "/topic/kept/a", |_| {}).unwrap();
    let start = subscribed.start.unwrap();
    assert_eq!(start.sequence, 0);
    publish(&hub, "/topic/kept/a", 1..=2);
    let (batch, _) = alice.take(64);
    let last = batch[1].message.position().unwrap();
    assert!(batch[1].message.is_kept());
    alice.leave();
    publish(&hub, "/topic/kept/a", 3..=5);

    let again = Client::open(&hub);
    let subscribed = again.resume(0, "/topic/kept/a", last);
    assert_eq!((subscribed.recovered, subscribed.gap), (Some(3), None));
    assert_eq!(subscribed.start, Some(last));
    publish(&hub, "/topic/kept/a", 6..=6);
    assert_eq!(again.bodies(), ["3", "4", "5", "6"]);

    let first = Client::open(&hub);
    let subscribed = first.resume(0, "/topic/kept/a", start);
    assert_eq!(subscribed.recovered, Some(6));
    let everything = Client::open(&hub);
    let subscribed = everything.resume(0, "/topic/kept/a", Position::START);
    assert_eq!((subscribed.recovered, subscribed.gap), (Some(6), None));
    let up_to_date = Client::open(&hub);
    let subscribed = up_to_date.resume(0, "/topic/kept/a", position(&hub, "/topic/kept/a"));
    assert_eq!((subscribed.recovered, subscribed.gap), (Some(0), None));
    assert_eq!(up_to_date.bodies(), Vec::<String>::new());
}

#[test]
fn each_bound_makes_a_gap_that_is_told() {
    let bytes = History::messages(100).bytes(3 * size() + size() / 2);
    for history in [History::messages(3), bytes] {
        let hub = hub(history);
        publish(&hub, "/topic/kept/a", 1..=2);
        let seen = position(&hub, "/topic/kept/a");
        publish(&hub, "/topic/kept/a", 3..=9);
        let alice = Client::open(&hub);
        let subscribed = alice.resume(0, "/topic/kept/a", seen);
        let gap = Gap {
            after: seen,
            up_to: after(seen.epoch, 6),
        };
        assert_eq!((subscribed.gap, subscribed.recovered), (Some(gap), Some(3)));
        assert_eq!(alice.bodies(), ["7", "8", "9"]);
    }

    let hub = hub(History::messages(3).time(Duration::from_secs(60)));
    publish(&hub, "/topic/kept/a", 1..=2);
    let seen = position(&hub, "/topic/kept/a");
    hub.sweep(NOW);
    let alice = Client::open(&hub);
    alice.resume(0, "/topic/kept/a", seen);
    hub.sweep(NOW + Duration::from_secs(61));
    let bob = Client::open(&hub);
    let subscribed = bob.resume(0, "/topic/kept/a", Position::START);
    let gap = Gap {
        after: Position::START,
        up_to: seen,
    };
    assert_eq!((subscribed.gap, subscribed.recovered), (Some(gap), Some(0)));
}

/// The size of a message with a body of one byte.
fn size() -> usize {
    let hub = hub(History::messages(1));
    publish(&hub, "/topic/kept/a", [1]);
    let past = hub.history(&to("/topic/kept/a"), None, 1).unwrap();
    past.messages[0].size()
}

#[test]
fn another_life_of_the_topic_is_a_gap_and_a_position_ahead_is_refused() {
    let hub = hub(History::messages(3));
    publish(&hub, "/topic/kept/a", 1..=2);
    let last = position(&hub, "/topic/kept/a");
    let alice = Client::open(&hub);
    let foreign = after(last.epoch + 7, 40);
    let subscribed = alice.resume(0, "/topic/kept/a", foreign);
    let gap = Gap {
        after: foreign,
        up_to: after(last.epoch, 0),
    };
    assert_eq!((subscribed.gap, subscribed.recovered), (Some(gap), Some(2)));
    assert_eq!(alice.bodies(), ["1", "2"]);

    let asked = after(last.epoch, 3);
    let refused = alice.try_subscribe(1, "/topic/kept/a", |o| o.start = Start::After(asked));
    let error = SubscribeError::PositionAhead {
        destination: "/topic/kept/a".into(),
        asked,
        last,
    };
    assert_eq!(refused, Err(error));
    publish(&hub, "/topic/kept/a", [3]);
    assert_eq!(alice.bodies(), ["3"], "what was refused receives nothing");
}

#[test]
fn options_without_history_and_contradictions_are_refused() {
    let hub = hub(History::messages(3));
    let alice = Client::open(&hub);
    let unsupported = |option| Err(SubscribeError::Unsupported { option });
    let start = || Start::After(Position::START);
    for pattern in ["/topic/other", "/topic/other/*"] {
        let refused = alice.try_subscribe(0, pattern, |o| o.start = start());
        assert_eq!(refused, unsupported("resume-from"));
        let refused = alice.try_subscribe(0, pattern, |o| o.retained = true);
        assert_eq!(refused, unsupported("retained"));
    }
    let both = alice.try_subscribe(0, "/topic/kept/a", |options| {
        options.start = start();
        options.retained = true;
    });
    let one_of_all = alice.try_subscribe(0, "/topic/kept/*", |o| o.start = start());
    for refused in [both, one_of_all] {
        assert!(matches!(refused, Err(SubscribeError::Contradiction { .. })));
    }
    let error = hub.history(&to("/topic/other"), None, 1).unwrap_err();
    assert!(error.to_string().contains("resume-from"), "{error}");
    let nothing = broker()
        .history("/topic/a", History::messages(0))
        .history("/queue/a", History::messages(1));
    let errors = Hub::new(nothing).errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("history of \"/topic/a\": it keeps 0 messages"));
}

#[test]
fn the_last_value_comes_first() {
    let last = hub(History::messages(5));
    publish(&last, "/topic/kept/a", 1..=3);
    let alice = Client::open(&last);
    let subscribed = alice.try_subscribe(0, "/topic/kept/a", |o| o.retained = true);
    assert_eq!(subscribed.unwrap().recovered, Some(1));
    publish(&last, "/topic/kept/a", [4]);
    assert_eq!(alice.bodies(), ["3", "4"]);
    let empty = Client::open(&last);
    let subscribed = empty.try_subscribe(0, "/topic/kept/b", |o| o.retained = true);
    assert_eq!(subscribed.unwrap().recovered, Some(0));

    let compacted = hub(History::latest("key").keys(3));
    for (key, body) in [
        ("a", "a1"),
        ("b", "b1"),
        ("a", "a2"),
        ("c", "c1"),
        ("a", "a3"),
    ] {
        publish_keyed(&compacted, "/topic/kept/p", key, body);
    }
    let alice = Client::open(&compacted);
    let subscribed = alice.try_subscribe(0, "/topic/kept/*", |o| o.retained = true);
    assert_eq!(subscribed.unwrap().recovered, Some(3));
    assert_eq!(alice.bodies(), ["b1", "c1", "a3"]);
    // What a later value replaced is no gap; what the bound drops is one.
    let bob = Client::open(&compacted);
    let subscribed = bob.resume(0, "/topic/kept/p", Position::START);
    assert_eq!((subscribed.gap, subscribed.recovered), (None, Some(3)));
    publish_keyed(&compacted, "/topic/kept/p", "d", "d1");
    let carol = Client::open(&compacted);
    let subscribed = carol.resume(0, "/topic/kept/p", Position::START);
    assert_eq!(subscribed.gap.unwrap().up_to.sequence, 2, "b1 is gone");
    assert_eq!(carol.bodies(), ["c1", "a3", "d1"]);
}

#[test]
fn a_compacted_topic_holds_no_places_of_what_was_replaced() {
    let hub = hub(History::latest("key"));
    publish_keyed(&hub, "/topic/kept/a", "rare", "first");
    for n in 0..10_000 {
        publish_keyed(&hub, "/topic/kept/a", &format!("key-{}", n % 3), "x");
    }
    let past = hub.history(&to("/topic/kept/a"), None, 100).unwrap();
    assert_eq!((past.messages.len(), past.gap), (4, None));
    assert_eq!(past.messages[0].body(), "first");
}

#[test]
fn a_pattern_resumes_each_of_its_destinations() {
    let hub = hub(History::messages(10));
    publish(&hub, "/topic/kept/quiet", ["before"]);
    let alice = Client::open(&hub);
    let subscribed = alice.try_subscribe(0, "/topic/**", |_| {}).unwrap();
    let others = subscribed.start.unwrap();
    publish(&hub, "/topic/kept/a", ["a1"]);
    publish(&hub, "/topic/kept/b", ["b1"]);
    let (batch, _) = alice.take(64);
    let seen = [0, 1].map(|at: usize| batch[at].message.position().unwrap());
    alice.leave();
    publish(&hub, "/topic/kept/a", ["a2", "a3"]);
    publish(&hub, "/topic/kept/quiet", ["after"]);
    publish(&hub, "/topic/kept/new", ["new"]);
    publish(&hub, "/topic/elsewhere", ["not kept"]);

    let positions = [
        ("/topic/kept/a", seen[0]),
        ("/topic/kept/b", seen[1]),
        ("*", others),
    ];
    let again = Client::open(&hub);
    let subscribed = again.resume_each(0, "/topic/**", &positions);
    assert_eq!(subscribed.recovered, Some(4));
    assert!(subscribed.gaps.is_empty(), "{subscribed:?}");
    publish(&hub, "/topic/kept/b", ["b2"]);
    publish(&hub, "/topic/elsewhere", ["live"]);
    let mut bodies = again.bodies();
    assert_eq!(bodies[4..], ["b2", "live"]);
    bodies[..4].sort();
    assert_eq!(bodies[..4], ["a2", "a3", "after", "new"]);

    // Without a position for the others, each begins with the first that is kept.
    let bob = Client::open(&hub);
    assert_eq!(
        bob.resume_each(0, "/topic/kept/*", &positions[..2])
            .recovered,
        Some(6)
    );
    assert_eq!(bob.bodies().len(), 6);

    // A restart: everything has another epoch.
    let foreign = [("/topic/kept/a", after(1, 1)), ("*", after(1, 1))];
    let carol = Client::open(&hub);
    let subscribed = carol.resume_each(0, "/topic/kept/*", &foreign);
    let names: Vec<&str> = subscribed.gaps.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "/topic/kept/a",
            "/topic/kept/b",
            "/topic/kept/new",
            "/topic/kept/quiet"
        ]
    );
}

#[test]
fn too_many_topics_are_refused_and_leave_nothing_behind() {
    let hub = hub(History::messages(1));
    for n in 0..=1_000 {
        publish(&hub, &format!("/topic/kept/{n}"), ["x"]);
    }
    let alice = Client::open(&hub);
    let refused = alice.try_subscribe(0, "/topic/kept/*", |o| o.retained = true);
    let error = SubscribeError::TooManyToRead {
        pattern: "/topic/kept/*".into(),
        limit: 1_000,
    };
    assert_eq!(refused, Err(error));
    publish(&hub, "/topic/kept/1", ["y"]);
    assert_eq!(alice.bodies(), Vec::<String>::new());
    let narrower = alice.try_subscribe(0, "/topic/kept/9*", |o| o.retained = true);
    assert_eq!(narrower.unwrap().recovered, Some(111));
}

#[test]
fn a_long_history_goes_by_the_pace_of_its_reader() {
    let hub = hub(History::messages(5_000));
    publish(&hub, "/topic/kept/a", 0..5_000);
    // Room for about twenty messages: nobody is closed, and half of it is left to others.
    let limit = 20 * size();
    let alice = Client::with_outbox(&hub, limit);
    alice.try_subscribe(1, "/topic/other", |_| {}).unwrap();
    let subscribed = alice.resume(0, "/topic/kept/a", Position::START);
    assert_eq!(subscribed.recovered, Some(5_000));
    let mut seen = Vec::new();
    let mut next = 5_000;
    while seen.len() < 5_000 {
        assert!(alice.outbox.queued_bytes() <= limit / 2);
        let (batch, control) = alice.take(3);
        assert_eq!(control, None);
        assert!(!batch.is_empty(), "after {}", seen.len());
        seen.extend(batch.iter().map(body));
        // What is live meanwhile waits behind what is kept, and drops as much of it as was read already.
        if seen.len() % 4 == 0 && next < 6_000 {
            publish(&hub, "/topic/kept/a", [next]);
            next += 1;
        }
    }
    seen.extend(alice.bodies());
    let expected: Vec<String> = (0..next).map(|n| n.to_string()).collect();
    assert!(seen == expected, "in order, without gap or duplicate");
    publish(&hub, "/topic/kept/a", [next]);
    assert_eq!(alice.bodies(), [next.to_string()]);
}

#[test]
fn what_is_dropped_before_a_slow_reader_comes_to_it_is_told() {
    let hub = hub(History::messages(100));
    publish(&hub, "/topic/kept/a", 0..100);
    let alice = Client::with_outbox(&hub, 20 * size());
    alice.resume(0, "/topic/kept/a", Position::START);
    publish(&hub, "/topic/kept/a", 100..250);
    let (mut seen, mut missed) = (Vec::new(), Vec::new());
    loop {
        let (batch, control) = alice.take(64);
        if batch.is_empty() && control.is_none() {
            break;
        }
        seen.extend(batch.iter().map(body));
        match control {
            Some(Control::MessagesMissed { slot: 0, gap }) => missed.push(gap.unwrap()),
            other => assert_eq!(other, None),
        }
    }
    let [gap] = missed[..] else {
        panic!("one gap: {missed:?}");
    };
    let (first, last) = (gap.after.sequence, gap.up_to.sequence);
    let expected = (0..first).chain(last..250).map(|n| n.to_string());
    assert_eq!(last, 150);
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn who_acknowledges_receives_history_through_its_window() {
    let hub = hub(History::messages(100));
    publish(&hub, "/topic/kept/a", 0..10);
    let alice = Client::open(&hub);
    let mut request = SubscribeRequest::new(alice.id, 0, Pattern::parse("/topic/kept/a").unwrap())
        .acknowledged(AckMode::ClientIndividual)
        .prefetch(std::num::NonZeroU32::new(3).unwrap());
    request.options.start = Start::After(Position::START);
    done(hub.subscribe(request)).unwrap();
    publish(&hub, "/topic/kept/a", 10..12);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (batch, _) = alice.take(64);
        assert_eq!(batch.len(), 3);
        for delivery in &batch {
            let settle = Settle::new(Some(0), DeliveryRef::Tag(delivery.tag), Outcome::Accepted);
            done(hub.settle(alice.id, settle)).unwrap();
        }
        seen.extend(batch.iter().map(body));
    }
    let expected: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_topic_stays_while_it_keeps_messages_and_all_of_them_are_charged() {
    let hub = hub(History::messages(10).time(Duration::from_secs(100)));
    hub.sweep(NOW);
    publish(&hub, "/topic/kept/a", 0..20);
    let everything = Pattern::parse("/**").unwrap();
    let statistics = hub.statistics(&everything, 10);
    let kept = statistics.selected[0].bytes;
    assert!(kept >= 9 * size() && kept < 12 * size());
    let charged = 2 * kept + 10 * Message::OVERHEAD;
    assert_eq!(statistics.bytes, charged, "with their encoded forms");
    for seconds in [20, 40, 60, 80] {
        hub.sweep(NOW + Duration::from_secs(seconds));
        assert_eq!(hub.destinations(), 1);
    }
    for seconds in [110, 130, 150] {
        hub.sweep(NOW + Duration::from_secs(seconds));
    }
    assert_eq!(hub.destinations(), 0);
    assert_eq!(hub.statistics(&everything, 10).bytes, 0);
}

#[test]
fn all_histories_together_are_bounded_and_refuse_nobody() {
    let size = size();
    let broker = broker()
        .history("/topic/kept/**", History::messages(100))
        .max_history_bytes(10 * size);
    let hub = Hub::new(broker);
    for n in 0..30 {
        publish(&hub, &format!("/topic/kept/{}", n % 3), [n % 10]);
    }
    let statistics = hub.statistics(&Pattern::parse("/**").unwrap(), 10);
    let kept: usize = statistics.selected.iter().map(|topic| topic.bytes).sum();
    assert!(
        kept <= 10 * size && kept > 5 * size,
        "{kept} of {}",
        10 * size
    );
    let alice = Client::open(&hub);
    let subscribed = alice.resume(0, "/topic/kept/0", Position::START);
    assert!(subscribed.gap.is_some());
}

#[test]
fn pages_of_history_follow_each_other() {
    let hub = hub(History::messages(10));
    let news = to("/topic/kept/news");
    let none = hub.history(&news, None, 5).unwrap();
    assert_eq!((none.messages.len(), none.position), (0, Position::START));
    publish(&hub, "/topic/kept/news", 0..10);
    let (mut from, mut pages) = (none.position, Vec::new());
    loop {
        let page = hub.history(&news, Some(from), 4).unwrap();
        assert_eq!(page.gap, None);
        if page.messages.is_empty() {
            break;
        }
        pages.push(page.messages.len());
        from = page.position;
    }
    assert_eq!(pages, [4, 4, 2]);
    let page = hub.history(&news, Some(Position::START), 0).unwrap();
    assert_eq!(page.position.sequence, 0);
    let alice = Client::open(&hub);
    publish(&hub, "/topic/kept/news", [10]);
    assert_eq!(alice.resume(0, "/topic/kept/news", from).recovered, Some(1));
}

#[test]
fn selectors_pick_of_what_is_kept_and_what_is_live() {
    let hub = hub(History::messages(100));
    for n in 0..6 {
        publish_keyed(&hub, "/topic/kept/a", ["a", "b"][n % 2], &n.to_string());
    }
    let alice = Client::open(&hub);
    let subscribed = alice.try_subscribe(0, "/topic/kept/*", |options| {
        options.start = Start::AfterEach(Vec::new());
        options.selector = Some("key = 'b'".into());
    });
    assert_eq!(
        subscribed.unwrap().recovered,
        None,
        "nobody has counted them"
    );
    alice
        .try_subscribe(1, "/topic/x", |o| o.selector = Some("key = 'a'".into()))
        .unwrap();
    for key in ["a", "b"] {
        publish_keyed(&hub, "/topic/kept/a", key, key);
        publish_keyed(&hub, "/topic/x", key, &format!("x{key}"));
    }
    assert_eq!(alice.bodies(), ["1", "3", "5", "xa", "b"]);
    let counts = hub.statistics(&Pattern::parse("/topic/x").unwrap(), 1);
    assert_eq!(
        counts.selected[0].counts.delivered, 1,
        "what is not picked is not delivered"
    );
    let refused = alice.try_subscribe(2, "/topic/x", |o| o.selector = Some("key = ".into()));
    let error = refused.unwrap_err().to_string();
    assert_eq!(
        error,
        "the header `selector` is invalid: at character 7: a name or a value is missing at the end"
    );
    done(hub.unsubscribe(alice.id, 1)).unwrap();
    publish_keyed(&hub, "/topic/x", "a", "no more");
    assert_eq!(alice.bodies(), Vec::<String>::new());
}

/// One step of a client's life.
#[derive(Clone, Debug)]
enum Step {
    Publish(u8, u8),
    Take(usize),
    Cut,
    Come,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 1..6_u8).prop_map(|(topic, count)| Step::Publish(topic, count)),
        3 => (1..8_usize).prop_map(Step::Take),
        1 => Just(Step::Cut),
        2 => Just(Step::Come),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Cut again and again, by exact subscription and by pattern, a client receives each message once and in order.
    #[test]
    fn who_is_cut_again_and_again_misses_nothing(
        steps in prop::collection::vec(step(), 1..80),
        room in 2..40_usize,
    ) {
        let hub = hub(History::messages(10_000));
        let names = ["/topic/kept/0", "/topic/kept/1", "/topic/kept/2"];
        let mut published = [0_u64; 3];
        let mut seen = [[0_u64; 2]; 3];
        let mut positions = [[None::<Position>; 2]; 3];
        let mut others: Option<Position> = None;
        let mut started = [None::<Position>; 3];
        let mut client: Option<Client<'_>> = None;
        let come = |positions: &[[Option<Position>; 2]; 3], others: &mut Option<Position>, started: &mut [Option<Position>; 3]| {
            let client = Client::with_outbox(&hub, room * size());
            for topic in 0..3 {
                let start = positions[topic][0].or(started[topic]).map_or(Start::Live, Start::After);
                let subscribed = client.try_subscribe(topic as u32, names[topic], |o| o.start = start).unwrap();
                assert_eq!(subscribed.gap, None);
                started[topic] = started[topic].or(subscribed.start);
            }
            let mut each: Vec<_> = (0..3)
                .filter_map(|topic| Some((names[topic].into(), positions[topic][1]?)))
                .collect();
            each.extend(others.map(|others| ("*".into(), others)));
            let start = if others.is_some() { Start::AfterEach(each) } else { Start::Live };
            let subscribed = client.try_subscribe(3, "/topic/kept/*", |o| o.start = start).unwrap();
            assert!(subscribed.gaps.is_empty());
            *others = others.or(subscribed.start);
            client
        };
        // It is there before the first message.
        client = Some(client.unwrap_or_else(|| come(&positions, &mut others, &mut started)));
        let all = steps.into_iter().chain([Step::Cut, Step::Come, Step::Take(usize::MAX)]);
        for step in all {
            match step {
                Step::Publish(topic, count) => {
                    // A client that takes nothing is closed by what is live; here it takes all that waits.
                    if let Some(client) = &client
                        && client.outbox.queued_bytes() == 0
                    {
                        let topic = usize::from(topic);
                        let count = u64::from(count).min(room as u64 / 4);
                        for _ in 0..count {
                            published[topic] += 1;
                            publish(&hub, names[topic], [published[topic]]);
                        }
                    } else if client.is_none() {
                        let topic = usize::from(topic);
                        for _ in 0..count {
                            published[topic] += 1;
                            publish(&hub, names[topic], [published[topic]]);
                        }
                    }
                }
                Step::Take(mut count) => while let (Some(client), true) = (&client, count > 0) {
                    let (batch, control) = client.take(count.min(64));
                    prop_assert_eq!(control, None);
                    if batch.is_empty() {
                        break;
                    }
                    count = count.saturating_sub(batch.len());
                    for delivery in batch {
                        let topic = names.iter().position(|name| *name == delivery.message.destination()).unwrap();
                        let way = usize::from(delivery.slot == 3);
                        seen[topic][way] += 1;
                        prop_assert_eq!(body(&delivery), seen[topic][way].to_string());
                        positions[topic][way] = delivery.message.position();
                    }
                },
                Step::Cut => if let Some(client) = client.take() {
                    client.leave();
                },
                Step::Come => if client.is_none() {
                    client = Some(come(&positions, &mut others, &mut started));
                },
            }
        }
        for topic in 0..3 {
            prop_assert_eq!(seen[topic], [published[topic]; 2]);
        }
    }
}
