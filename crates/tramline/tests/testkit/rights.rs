//! Rights that change while a session lives.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tramline::policy::{
    Policy, PolicyBuilder, Refusals, anonymous, any_role, check_with_state, deny, permit, role,
};
use tramline::test::TestMessaging;
use tramline::{EmbeddedBroker, Messaging, MessagingBuilder, Path, State, User};

/// Members of rooms, and how often somebody asked.
#[derive(Clone, Default)]
struct Members {
    rooms: Arc<Mutex<HashSet<(String, u32)>>>,
    asked: Arc<AtomicUsize>,
}

impl Members {
    fn of(members: impl IntoIterator<Item = (&'static str, u32)>) -> Self {
        let members = members.into_iter();
        let rooms = members
            .map(|(name, room)| (name.to_owned(), room))
            .collect();
        Self {
            rooms: Arc::new(Mutex::new(rooms)),
            asked: Arc::default(),
        }
    }

    fn expel(&self, name: &str, room: u32) {
        self.rooms.lock().remove(&(name.to_owned(), room));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn is_member(user: User, Path(room): Path<u32>, State(members): State<Members>) -> bool {
    members.asked.fetch_add(1, Ordering::SeqCst);
    sleep(Duration::from_millis(200)).await;
    members
        .rooms
        .lock()
        .contains(&(user.name().to_owned(), room))
}

const KEPT: Duration = Duration::from_secs(60);

fn builder(policy: Policy, refusals: Refusals) -> MessagingBuilder {
    Messaging::builder()
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy)
        .refusals(refusals)
}

fn app(members: &Members, refusals: Refusals) -> TestMessaging {
    let rule = check_with_state(members.clone(), is_member).cached_for(KEPT);
    let policy = Policy::builder()
        .on_destination("/topic/rooms/{room}", rule)
        .otherwise(permit());
    let app = TestMessaging::new(builder(policy, refusals).build().unwrap());
    app.with_deadline(Duration::from_secs(200))
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_time_per_session_and_destination() {
    let members = Members::of([("alice", 7), ("alice", 8)]);
    let app = app(&members, Refusals::EndSession);
    let alice = app.connect_as("alice").await;
    for _ in 0..3 {
        alice.send("/topic/rooms/7", "x").await;
    }
    assert_eq!(members.asked(), 1);
    alice.send("/topic/rooms/8", "x").await;
    assert_eq!(members.asked(), 2);
    app.connect_as("alice")
        .await
        .send("/topic/rooms/7", "x")
        .await;
    assert_eq!(members.asked(), 3, "another session asks for itself");
    sleep(KEPT).await;
    alice.send("/topic/rooms/7", "x").await;
    assert_eq!(members.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn more_answers_than_a_session_may_keep_are_asked_for_again() {
    let members = Members::of((0..65).map(|room| ("alice", room)));
    let app = app(&members, Refusals::EndSession);
    let alice = app.connect_as("alice").await;
    for room in (0..65).chain([64, 0]) {
        alice.send(format!("/topic/rooms/{room}"), "x").await;
    }
    assert_eq!(members.asked(), 66, "of room 0, the answer gave way");
}

#[tokio::test(start_paused = true)]
async fn a_live_subscription_is_checked_again_and_ends() {
    let members = Members::of([("alice", 7), ("alice", 8)]);
    let app = app(&members, Refusals::Notify);
    let alice = app.connect_as("alice").await;
    let start = Instant::now();
    let lost = alice.subscribe("/topic/rooms/7").await;
    let mut kept = alice.subscribe("/topic/rooms/8").await;
    sleep(KEPT * 2).await;
    assert!(members.asked() >= 4, "{}", members.asked());
    members.expel("alice", 7);
    let notice = alice.expect_rejection().await;
    assert_eq!(
        (&*notice.kind, &*notice.destination),
        ("denied", "/topic/rooms/7")
    );
    assert!(start.elapsed() >= KEPT * 2);
    let registry = app.messaging().registry();
    assert!(registry.subscriptions("/topic/rooms/7").is_empty());

    let publisher = app.messaging().publisher();
    for room in [7, 8] {
        publisher
            .send(format!("/topic/rooms/{room}"), "hi")
            .await
            .unwrap();
    }
    assert_eq!(kept.next_text().await, "hi");
    lost.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_recheck_asks_at_once_and_a_refusal_may_end_the_session() {
    let members = Members::of([("alice", 7)]);
    let app = app(&members, Refusals::EndSession);
    let (alice, bob) = (app.connect_as("alice").await, app.connect_as("bob").await);
    let mut room = alice.subscribe("/topic/rooms/7").await;
    let registry = app.messaging().registry();
    assert_eq!(registry.recheck_user("alice"), 1);
    assert_eq!(registry.recheck_user("carl"), 0);
    alice.send("/topic/rooms/7", "still here").await;
    assert_eq!(room.next_text().await, "still here");
    assert_eq!(
        members.asked(),
        3,
        "the kept answer was dropped, and SEND has its own"
    );

    members.expel("alice", 7);
    assert!(registry.recheck_session(alice.session_id()));
    let end = alice.closed().await;
    let detail = "the subscription \"sub-0\" to \"/topic/rooms/7\" is denied to user \"alice\" by this server's policy";
    let said = end.detail().unwrap_or_default();
    assert!(said.ends_with(&detail[24..]), "{said}");
    assert_eq!(end.code(), Some(1002));
    bob.send("/topic/else", "x").await;
}

/// The check of a SUBSCRIBE has begun by the rights of before.
#[tokio::test(start_paused = true)]
async fn a_recheck_while_a_subscribe_is_decided_asks_about_it_too() {
    let members = Members::of([("alice", 7)]);
    let app = app(&members, Refusals::Notify);
    let alice = app.connect_as("alice").await;
    let registry = app.messaging().registry();
    let change = async {
        while members.asked() == 0 {
            tokio::task::yield_now().await;
        }
        registry.recheck_user("alice");
    };
    let (room, ()) = tokio::join!(alice.subscribe("/topic/rooms/7"), change);
    members.expel("alice", 7);
    assert_eq!(alice.expect_rejection().await.kind, "denied");
    room.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_does_not_wait_for_rechecks() {
    let members = Members::of((0..100).map(|room| ("alice", room)));
    let app = app(&members, Refusals::EndSession);
    let alice = app.connect_as("alice").await;
    let mut rooms = Vec::new();
    for room in 0..100 {
        rooms.push(alice.subscribe(format!("/topic/rooms/{room}")).await);
    }
    app.messaging().registry().recheck_user("alice");
    let start = Instant::now();
    alice.disconnect().await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "each check takes 200 ms"
    );
}

#[tokio::test(start_paused = true)]
async fn every_decision_goes_to_the_audit_log() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    let members = Members::of([("alice", 7)]);
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/topic/admin", any_role(["admin", "root"]))
        .on_message("/topic/guests", anonymous())
        .on_subscribe("/topic/rooms/{room}", check_with_state(members, is_member))
        .otherwise(deny());
    let builder = builder(policy, Refusals::Notify).on_decision(move |audited| {
        let user = audited.user.as_ref().map(|user| user.name().to_owned());
        let permitted = audited.decision.is_permitted();
        seen.lock()
            .push((format!("{:?}", audited.action), user, permitted));
        assert!(
            !format!("{:?}", audited.action).contains("panic"),
            "the listener panics"
        );
    });
    let app = TestMessaging::new(builder.build().unwrap());
    let root = app
        .connect_as(User::new("alice").with_roles(["root"]))
        .await;
    root.send("/topic/admin", "x").await;
    root.send_without_receipt("/topic/guests", "x");
    root.expect_rejection().await;
    let _room = root.subscribe("/topic/rooms/7").await;
    let _refused = root.subscribe("/topic/rooms/8").await;
    root.expect_rejection().await;
    let lines: Vec<_> = log
        .lock()
        .iter()
        .map(|(action, user, permitted)| {
            assert_eq!(user.as_deref(), Some("alice"));
            (action.clone(), *permitted)
        })
        .collect();
    for (action, permitted) in [
        ("Connect", true),
        ("Message(\"/topic/admin\")", true),
        ("Message(\"/topic/guests\")", false),
        ("Subscribe(\"/topic/rooms/7\")", true),
        ("Subscribe(\"/topic/rooms/8\")", false),
    ] {
        assert!(
            lines.contains(&(action.into(), permitted)),
            "{action}: {lines:?}"
        );
    }
    root.send_without_receipt("/topic/panic", "x");
    root.expect_rejection().await;
    assert_eq!(app.stats().handler_panics, 1);
}

fn errors(policy: PolicyBuilder) -> String {
    let built = builder(policy.otherwise(deny()), Refusals::EndSession).build();
    built.unwrap_err().to_string()
}

#[test]
fn answers_that_cannot_be_kept_are_errors() {
    async fn yes() -> bool {
        true
    }
    let check = || tramline::policy::check(yes);
    let minute = Duration::from_secs(60);
    for (policy, wrong) in [
        (
            Policy::builder().on_message("/topic/a", role("x").cached_for(minute)),
            "on_message(\"/topic/a\"), role \"x\", kept for 60s: only the answer of a check is kept",
        ),
        (
            Policy::builder().on_connect(check().cached_for(minute)),
            "CONNECT is asked once",
        ),
        (
            Policy::builder().on_destination("/topic/a", check().cached_for(Duration::ZERO)),
            "leave `cached_for` out",
        ),
        (
            Policy::builder().on_destination("/topic/{", permit()),
            "unclosed",
        ),
        (
            Policy::builder()
                .on_destination("/topic/**", permit())
                .on_destination("/topic/a", role("x")),
            "on_destination(\"/topic/a\"), role \"x\": is never asked: on_destination(\"/topic/**\"), permit, comes first",
        ),
    ] {
        let error = errors(policy);
        assert!(error.contains(wrong), "{error}");
        assert_eq!(error.matches(wrong).count(), 1, "{error}");
    }
    let half = Policy::builder()
        .on_message("/topic/a", deny())
        .on_destination("/topic/a", permit())
        .otherwise(deny());
    assert!(
        builder(half, Refusals::EndSession).build().is_ok(),
        "it decides about SUBSCRIBE"
    );
}
