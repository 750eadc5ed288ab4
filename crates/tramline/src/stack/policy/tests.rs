//! What the rules of a policy say.

use std::sync::Weak;
use std::task::{Context, Poll, Waker};

use tramline_broker::SessionId;

use super::*;
use crate::app::extract::Path;
use crate::model::disconnected::{DisconnectCause, Disconnected};
use crate::model::inbound::{Cause, Inbound, SessionInfo, SessionRecord};
use crate::model::user::Handshake;

fn session(user: Option<&User>) -> Arc<SessionRecord> {
    let info = SessionInfo {
        id: SessionId::random(),
        user: user.cloned(),
        handshake: Handshake::default(),
    };
    Arc::new(SessionRecord::new(info, Weak::new(), "memory"))
}

fn authorize(policy: &Policy, action: Action<'_>, user: Option<&User>) -> Answer<Inbound> {
    let (cause, destination) = match action {
        Action::Message(destination) => (Cause::Message, destination),
        Action::Subscribe(pattern) => (Cause::Subscribe, pattern),
        Action::Connect => {
            let disconnected = Disconnected {
                cause: DisconnectCause::Client,
                code: 1000,
                reason: "".into(),
            };
            (Cause::Disconnect(Arc::new(disconnected)), "")
        }
    };
    policy.authorize(Inbound::new(session(user), cause, destination.into()))
}

fn permits(policy: &Policy, action: Action<'_>, user: Option<&User>) -> bool {
    let explained = policy.explain(action, user);
    match authorize(policy, action, user) {
        Answer::Now(answer) => {
            assert_eq!(answer.is_ok(), explained.is_permitted(), "one judgement");
            assert!(!explained.is_checked());
        }
        Answer::Later(_) => panic!("{explained:?}"),
    }
    explained.is_permitted()
}

/// Lets a check decide, which must not wait for anything.
fn asked(policy: &Policy, action: Action<'_>, user: Option<&User>) -> Result<(), Decision> {
    let explained = policy.explain(action, user);
    let answer = match authorize(policy, action, user) {
        Answer::Now(answer) => answer,
        Answer::Later(mut asked) => {
            assert!(explained.is_checked() && !explained.is_permitted());
            let Poll::Ready(answer) = asked.poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("it waits")
            };
            answer
        }
    };
    answer.map(|permitted| {
        let permitted = permitted.into_inner();
        assert!(
            permitted.captures.is_empty(),
            "the rule's captures are for its check"
        );
    })
}

async fn is_member(user: User, Path(room): Path<u32>) -> Result<bool, &'static str> {
    match room {
        0 => Err("the database is away"),
        13 => panic!("asked to panic"),
        room => Ok(user.has_role(&room.to_string())),
    }
}

#[test]
fn a_check_decides_and_what_it_cannot_decide_is_denied() {
    let policy = Policy::builder()
        .on_message("/app/rooms/lobby/**", permit())
        .on_message("/app/rooms/{room}/**", check(is_member))
        .on_subscribe("/topic/rooms/{room}", check(is_member))
        .otherwise(permit())
        .separated(Vec::new(), |_| Separator::Slash);
    let alice = User::new("alice").with_roles(["7"]);
    let alice = Some(&alice);
    assert!(permits(
        &policy,
        Action::Message("/app/rooms/lobby/say"),
        None
    ));
    for (destination, failure) in [
        ("/app/rooms/8/say", None),
        (
            "/app/rooms/x/say",
            Some("{room} is \"x\": invalid digit found in string"),
        ),
        ("/app/rooms/0/say", Some("the database is away")),
        ("/app/rooms/13/say", Some("asked to panic")),
    ] {
        let denied = asked(&policy, Action::Message(destination), alice).unwrap_err();
        assert!(!denied.is_checked() && !denied.is_permitted());
        assert_eq!(
            denied.failure().map(ToString::to_string).as_deref(),
            failure
        );
        let rule = "message /app/rooms/{room}/**: check tramline::stack::policy::tests::is_member";
        assert_eq!((denied.rule(), denied.reason()), (rule, None));
    }
    let anonymous = asked(&policy, Action::Message("/app/rooms/7/say"), None).unwrap_err();
    assert!(anonymous.failure().is_some_and(Failure::is_clients));
    let empty = asked(&policy, Action::Message("/app/rooms//say"), alice).unwrap_err();
    assert_eq!(empty.reason(), Some("{room} of the rule is empty there"));
    asked(&policy, Action::Message("/app/rooms/7/say"), alice).unwrap();
    asked(&policy, Action::Subscribe("/topic/rooms/7"), alice).unwrap();
}

#[test]
fn a_check_decides_about_one_destination() {
    let policy = Policy::builder()
        .on_subscribe("/topic/rooms/open/**", permit())
        .on_subscribe("/topic/rooms/{room}", check(is_member))
        .on_subscribe("/topic/**", permit())
        .otherwise(check(async || true))
        .separated(Vec::new(), |_| Separator::Slash);
    for pattern in [
        "/topic/rooms/*",
        "/topic/*/7",
        "/topic/**",
        "/**",
        "/queue/*",
    ] {
        let denied = asked(&policy, Action::Subscribe(pattern), None).unwrap_err();
        let why = "a check decides about one destination, and this is a pattern";
        assert_eq!(denied.reason(), Some(why), "{pattern}");
        assert!(
            !policy
                .explain(Action::Subscribe(pattern), None)
                .is_checked()
        );
    }
    assert!(permits(
        &policy,
        Action::Subscribe("/topic/rooms/open/*"),
        None
    ));
    assert!(permits(&policy, Action::Subscribe("/topic/news/*"), None));
    asked(&policy, Action::Subscribe("/queue/jobs"), None).unwrap();
    assert!(policy.checks_send("/queue/jobs"));
}

#[test]
fn where_dots_separate_captures_are_between_dots() {
    async fn is_it(Path((a, b)): Path<(String, String)>) -> bool {
        (&*a, &*b) == ("x", "y")
    }
    let policy = Policy::builder()
        .on_subscribe("/topic/{a}.{b}", check(is_it))
        .on_message("/app/{a}.{b}", check(is_it))
        .otherwise(deny())
        .separated(vec!["/app".into()], |text| match below(text, "/topic") {
            Some(_) => Separator::Dot,
            None => Separator::Slash,
        });
    assert_eq!(policy.errors, [""; 0]);
    asked(&policy, Action::Subscribe("/topic/x.y"), None).unwrap();
    asked(&policy, Action::Subscribe("/topic/x.z"), None).unwrap_err();
    for destination in ["/app/x.y", "/app/x/y"] {
        asked(&policy, Action::Message(destination), None).unwrap();
    }
}

#[test]
fn the_first_match_decides_and_the_rest_is_otherwise() {
    let policy = Policy::builder()
        .on_message("/app/open", permit())
        .on_message("/app/**", authenticated())
        .on_message("/app/admin/**", permit())
        .otherwise(deny());
    let alice = User::new("alice");
    assert!(permits(&policy, Action::Message("/app/open"), None));
    assert!(
        !permits(&policy, Action::Message("/app/admin/x"), None),
        "an earlier rule decided"
    );
    assert!(permits(
        &policy,
        Action::Message("/app/admin/x"),
        Some(&alice)
    ));
    assert!(!permits(&policy, Action::Message("/topic/x"), Some(&alice)));
    assert!(!permits(&policy, Action::Connect, Some(&alice)));
    let decision = policy.explain(Action::Message("/app/x"), None);
    assert_eq!(decision.rule(), "message /app/**: authenticated");
}

#[test]
fn where_handlers_take_dots_for_slashes_rules_do_too() {
    for rule in [
        "/app/admin/reset",
        "/app/admin.reset",
        "/app/*/reset",
        "/app/*.reset",
    ] {
        let policy = Policy::builder()
            .on_message(rule, deny())
            .on_subscribe(rule, deny())
            .otherwise(permit())
            .separated(vec!["/app".into()], |_| Separator::Slash);
        for destination in ["/app/admin/reset", "/app/admin.reset"] {
            assert!(
                !permits(&policy, Action::Message(destination), None),
                "{rule} {destination}"
            );
            assert!(
                !permits(&policy, Action::Subscribe(destination), None),
                "{rule} {destination}"
            );
        }
        assert!(permits(&policy, Action::Message("/app/admin.look"), None));
    }
}

/// What a subscription means is what the broker takes it for, however it is spelt.
#[test]
fn where_dots_separate_stars_get_around_no_rule() {
    let policy = Policy::builder()
        .on_subscribe("/topic/rooms.*.private.*", deny())
        .on_subscribe("/topic/rooms.**", permit())
        .on_subscribe("/topic/public.*.***", permit())
        .on_subscribe("/*/*", permit())
        .otherwise(deny())
        .separated(Vec::new(), |text| match below(text, "/topic") {
            Some(_) => Separator::Dot,
            None => Separator::Slash,
        });
    for wide in [
        "/topic/rooms.**",
        "/topic/rooms.**.***",
        "/topic/rooms.***.**",
        "/topic/rooms.x***.**",
        "/topic/public.**.***",
        "/topic/public.***.**",
        "/topic/else.**",
    ] {
        assert!(!permits(&policy, Action::Subscribe(wide), None), "{wide}");
    }
    for narrow in [
        "/topic/rooms.7",
        "/topic/rooms.*",
        "/topic/public.a.***",
        "/topic/public.***.b",
        "/topic/else.*",
    ] {
        assert!(
            permits(&policy, Action::Subscribe(narrow), None),
            "{narrow}"
        );
    }
}

#[test]
fn a_wide_subscription_does_not_get_around_a_narrow_rule() {
    let policy = Policy::builder()
        .on_subscribe("/topic/secret/**", role("admin"))
        .on_subscribe("/topic/**", permit())
        .otherwise(deny());
    let admin = User::new("root").with_roles(["admin"]);
    for wide in [
        "/topic/**",
        "/topic/*/keys",
        "/topic/secret/*",
        "/topic/s*/**",
        "/**",
    ] {
        assert!(!permits(&policy, Action::Subscribe(wide), None), "{wide}");
    }
    assert!(permits(
        &policy,
        Action::Subscribe("/topic/**"),
        Some(&admin)
    ));
    assert!(
        !permits(&policy, Action::Subscribe("/**"), Some(&admin)),
        "more than any rule covers"
    );
    assert!(permits(&policy, Action::Subscribe("/topic/public/*"), None));
    assert!(!permits(&policy, Action::Subscribe(""), Some(&admin)));
}
