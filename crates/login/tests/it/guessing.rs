//! Guessing passwords and names.

use std::time::Duration;

use tramline_login::Throttle;

use crate::support::{PASSWORD, Site};

#[tokio::test]
async fn attack_guessing_a_password() {
    let site = Site::start().await;
    let mut attacker = site.browser();
    for _ in 0..5 {
        assert_eq!(attacker.log_in("ada", "guess", "/").await.status, 401);
    }
    // From now on not even the right one is looked at; another spelling is the same name.
    for name in ["ada", "ADA", " ada ", "ａda"] {
        let answer = attacker.log_in(name, PASSWORD, "/").await;
        assert_eq!(answer.status, 429, "{name}");
        assert!(
            answer.body.contains("Too many attempts. Try again in "),
            "{}",
            answer.body
        );
        assert!(
            answer
                .header("retry-after")
                .is_some_and(|seconds| seconds.parse::<u64>().is_ok())
        );
    }
    // Somebody else at the same address.
    assert_eq!(
        site.browser().log_in("ben", PASSWORD, "/").await.status,
        303
    );
}

#[tokio::test]
async fn attack_one_password_for_many_names() {
    let site = Site::with(|login| {
        login.throttle(Throttle::default().per_address(8, Duration::from_secs(3600)))
    })
    .await;
    let mut attacker = site.browser();
    let mut statuses = Vec::new();
    for number in 0..10 {
        let name = format!("user{number}");
        statuses.push(attacker.log_in(&name, "123456", "/").await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 401, 401, 429, 429]);
}

#[tokio::test]
async fn attack_guessing_by_http_basic() {
    let site = Site::with(|login| login.http_basic("orders")).await;
    let mut attacker = site.browser();
    let wrong = [("authorization", "Basic YWRhOng=")];
    for _ in 0..5 {
        assert_eq!(attacker.ask("GET", "/whoami", &wrong, "").await.status, 401);
    }
    let answer = attacker.ask("GET", "/whoami", &wrong, "").await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").is_some());
}

/// What an unknown name is answered differs in nothing from what a known one is.
#[tokio::test]
async fn attack_finding_out_names() {
    let site = Site::start().await;
    let mut attacker = site.browser();
    let without_secrets = |body: String| {
        let fields = body
            .split("value=\"")
            .map(|part| part.split_once('"').map_or(part, |(_, rest)| rest));
        fields.collect::<Vec<_>>().join("")
    };
    let known = attacker.log_in("ada", "guess", "/").await;
    for name in ["nobody", "ad\u{200b}a", ""] {
        let unknown = attacker.log_in(name, "guess", "/").await;
        assert_eq!(unknown.status, known.status);
        assert_eq!(
            without_secrets(unknown.body),
            without_secrets(known.body.clone())
        );
    }
}
