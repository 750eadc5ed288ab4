//! What `build` finds wrong, all at once.

use tramline::broker::Separator;
use tramline::policy::{Policy, deny, permit};
use tramline::{EmbeddedBroker, MessageRouter, Messaging, message};

async fn nothing() {}

async fn text() -> &'static str {
    "text"
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let error = Messaging::builder()
        .application_prefix("app")
        .user_prefix("/topic/user")
        .allowed_origins([
            "app.example",
            "https://fine.example",
            "https://a.example/path",
        ])
        .broker(EmbeddedBroker::new().topics("/topic"))
        .routes(
            MessageRouter::new()
                .route("no-slash", message(nothing))
                .route("/twice", message(nothing))
                .route("/twice", message(nothing))
                .route("/old/:name", message(nothing))
                .route("/open/{name", message(nothing))
                .route("/a", message(text).send_to("/topic/{missing}"))
                .route("/b", message(text).send_to("/topic/{unclosed"))
                .route("/c", message(text).send_to("/topic/*"))
                .route(
                    "/d",
                    message(text).send_to("/queue/x").send_to("/topic/fine"),
                )
                .route("/e", message(text).send_to_user("queue/x")),
        )
        .policy(
            Policy::builder()
                .on_message("/topic/\n", permit())
                .on_subscribe("/*/*/*/*/*/*/*/*/*", permit())
                .otherwise(deny()),
        )
        .build()
        .unwrap_err();
    let mistakes: Vec<&str> = error.errors().collect();
    assert_eq!(
        mistakes,
        [
            "application prefix \"app\": must begin with `/` and not end with it",
            "user prefix \"/topic/user\": the broker carries destinations there too",
            "route \"no-slash\": a path begins with `/`",
            "route \"/twice\": two message handlers",
            "route \"/old/:name\": captures are written {name}, not :name",
            "route \"/open/{name\": unclosed `{`",
            "route \"/a\": reply destination \"/topic/{missing}\" uses {missing}, which its route does not capture",
            "route \"/b\": reply destination \"/topic/{unclosed\" has an unclosed `{`",
            "route \"/c\": destination \"/topic/*\" has a wildcard; messages go to one destination, only \
             subscriptions may use `*`, `?` and `**`",
            "route \"/d\": the broker carries no destination \"/queue/x\"",
            "route \"/e\": \"queue/x\" is no path of a user's destination: it begins with `/`, as \"/queue/news\" for what \
             clients subscribe to as \"/user/queue/news\"",
            "allowed origin \"app.example\": must look like `https://app.example`, `https://*.app.example` or `https://app.example:[8080,8443]`, or be `null` or `*`",
            "allowed origin \"https://a.example/path\": must look like `https://app.example`, `https://*.app.example` or `https://app.example:[8080,8443]`, or be `null` or `*`",
            "policy: destination \"/topic/\\n\" has a control character; use printable characters",
            "policy: pattern \"/*/*/*/*/*/*/*/*/*\" has more than 8 segments with wildcards; subscribe to a shorter \
             pattern",
        ]
    );
    assert!(
        error
            .to_string()
            .starts_with("the messaging cannot be built:\n  - application prefix")
    );
    assert_eq!(error.to_string().lines().count(), 1 + mistakes.len());
}

#[test]
fn broker_and_policy_must_be_said() {
    let error = Messaging::builder().build().unwrap_err();
    assert_eq!(
        error.errors().collect::<Vec<_>>(),
        [
            "no policy: say what clients may do with `.policy(..)`",
            "no broker: say what carries messages with `.broker(EmbeddedBroker::new()..)`",
        ]
    );
}

#[test]
fn prefixes_must_differ() {
    let error = Messaging::builder()
        .application_prefix("/same")
        .user_prefix("/same")
        .broker(EmbeddedBroker::new())
        .policy(Policy::builder().otherwise(deny()))
        .build()
        .unwrap_err();
    assert_eq!(
        error.errors().collect::<Vec<_>>(),
        ["application prefix and user prefix are both \"/same\""]
    );
}

/// One prefix inside the other would make a handler's destination a user's, or the other way round.
#[test]
fn prefixes_must_not_lie_inside_each_other() {
    for (application, user) in [("/x", "/x/user"), ("/x/app", "/x")] {
        let built = Messaging::builder()
            .application_prefix(application)
            .user_prefix(user)
            .broker(EmbeddedBroker::new())
            .policy(Policy::builder().otherwise(deny()))
            .build();
        assert!(built.is_err(), "{application} and {user}");
    }
}

/// Outside of any runtime: nothing is started.
#[test]
fn building_starts_nothing() {
    let messaging = Messaging::builder()
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(deny()))
        .build()
        .unwrap();
    let endpoint = messaging.endpoint().with_sockjs();
    assert_eq!(messaging.stats(), tramline::Stats::default());
    drop((endpoint, messaging));
}

/// Below an application prefix dots are slashes; a rule that only reaches in there is not read so, and would be got around.
#[test]
fn rules_with_dots_name_the_prefix_that_they_are_for() {
    let wrong = [
        "/svc/*/admin.reset",
        "/**/admin.reset",
        "/svc/a??/x.*",
        "/*/**/a.b",
    ];
    let fine = [
        "/svc/app/*.reset",
        "/svc/*/admin/reset",
        "/topic/admin.reset",
        "/svc/other/a.b",
        "/**",
    ];
    let mut policy = Policy::builder();
    for pattern in wrong.into_iter().chain(fine) {
        policy = policy.on_message(pattern, deny());
    }
    let error = Messaging::builder()
        .application_prefix("/svc/app")
        .application_separator(Separator::Dot)
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(policy.otherwise(permit()))
        .build()
        .unwrap_err();
    let told: Vec<&str> = error.errors().collect();
    assert_eq!(told.len(), wrong.len(), "{told:#?}");
    for (told, pattern) in told.iter().zip(wrong) {
        assert!(
            told.starts_with(&format!("policy: pattern {pattern:?}: where")),
            "{told}"
        );
    }
}
