//! What `build` finds wrong, all at once.

use tramline::broker::Separator;
use tramline::policy::{Policy, authenticated, check, deny, permit, role};
use tramline::{BuildError, EmbeddedBroker, MessageRouter, Messaging, message, subscribe};

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
            "application prefix \"app\": must begin with `/`",
            "user prefix \"/topic/user\": the broker carries destinations there too",
            "route \"no-slash\": a path begins with `/`",
            "route \"/twice\": two message handlers",
            "route \"/old/:name\": captures are written {name}, not :name",
            "route \"/open/{name\": unclosed `{`",
            "route \"/a\": reply destination \"/topic/{missing}\" uses {missing}, which its route does not capture",
            "route \"/b\": reply destination \"/topic/{unclosed\" has an unclosed `{`",
            "route \"/c\": destination \"/topic/*\" has a wildcard; messages go to one destination, only \
             subscriptions may use `*`, `?` and `**`",
            "route \"/d\": the broker carries no destination \"/queue/x\", only those below \"/topic\"",
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
    // None is hidden by the wide ones: all deny.
    let fine = [
        "/svc/app/*.reset",
        "/svc/*/admin/reset",
        "/topic/admin.reset",
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

/// The errors of a stack with these rules, a topic prefix and a queue prefix.
fn errors_of(routes: MessageRouter, policy: Policy) -> Vec<String> {
    let built = Messaging::builder()
        .routes(routes)
        .broker(EmbeddedBroker::new().topics("/topic/").queues("/queue"))
        .policy(policy)
        .build();
    let error = built.err();
    let errors = error.iter().flat_map(BuildError::errors);
    errors.map(ToOwned::to_owned).collect()
}

#[test]
fn rules_that_never_decide_are_reported() {
    async fn allowed() -> bool {
        true
    }
    let policy = Policy::builder()
        .on_message("/app/**", permit())
        .on_message("/app/admin/**", role("admin"))
        .on_message("/app/reset", deny())
        .on_message("/app/hello", permit())
        .on_message("/ap/**", permit())
        .on_message("topic/x", permit())
        .on_message("/queue/", deny())
        .on_subscribe("/topic/{room}", check(allowed))
        .on_subscribe("/topic/secret", deny())
        .on_subscribe("/topic/**", permit())
        .on_subscribe("/topics/{room}", permit())
        .on_subscribe("/**", deny())
        .otherwise(deny());
    let told = errors_of(MessageRouter::new(), policy);
    let comes_first = |call: &str, rule: &str| {
        format!(
            "is never asked: {call}, {rule}, comes first and covers all of it; write the narrower rule in front of the \
             wider one"
        )
    };
    let below = "destinations are below \"/app\", \"/user\", \"/topic\" or \"/queue\"";
    let app = comes_first("on_message(\"/app/**\")", "permit");
    let checked = told[5].split_once("{room}").unwrap().1;
    assert_eq!(
        told,
        [
            format!("policy: on_message(\"/app/admin/**\"), role \"admin\": {app}"),
            format!("policy: on_message(\"/app/reset\"), deny: {app}"),
            format!("policy: on_message(\"/ap/**\"), permit: clients cannot SEND there: {below}"),
            format!(
                "policy: on_message(\"topic/x\"), permit: clients cannot SEND there: it does not begin with `/`, and {below}"
            ),
            "policy: on_message(\"/queue/\"), deny: covers no destination: write \"/queue/**\" for all that is below \
             \"/queue\""
                .into(),
            format!(
                "policy: on_subscribe(\"/topic/secret\"), deny: is never asked: on_subscribe(\"/topic/{{room}}{checked}"
            ),
            format!(
                "policy: on_subscribe(\"/topics/{{room}}\"), permit: clients cannot SUBSCRIBE there: {below}"
            ),
        ]
    );
    assert!(checked.contains("check ") && checked.ends_with("in front of the wider one"));
}

/// A narrow rule in front of a wide one, in either direction.
#[test]
fn rules_in_the_right_order_are_not_reported() {
    let policy = Policy::builder()
        .on_message("/app/admin/**", role("admin"))
        .on_message("/app/**", permit())
        .on_message("/user/*/queue/**", permit())
        .on_subscribe("/topic/a*", permit())
        .on_subscribe("/topic/*a", deny())
        .on_subscribe("/**", permit())
        .otherwise(deny());
    assert_eq!(errors_of(MessageRouter::new(), policy), [""; 0]);
}

#[test]
fn routes_and_replies_that_nobody_may_reach_are_reported() {
    let routes = || {
        MessageRouter::new()
            .route("/hello", message(text).send_to("/topic/greetings"))
            .route(
                "/rooms/{room}/say",
                message(text).send_to("/topic/rooms/{room}"),
            )
            .route("/files/{*path}", message(text).send_to("/topic/f/{path}"))
            .route("/mine", message(text).send_to_user("/queue/mine"))
            .route("/ask", subscribe(text))
            .fallback(nothing)
    };
    let told = errors_of(
        routes(),
        Policy::builder().on_connect(permit()).otherwise(deny()),
    );
    let nobody = |what: &str, call: &str, destination: &str, reply: &str| {
        let verb = match call {
            "on_message" => "SEND",
            _ => "SUBSCRIBE",
        };
        format!(
            "{what}: no rule of the policy permits anybody to {verb} to {destination:?}{reply}; permit it with \
             `.{call}({destination:?}, ..)`, in front of a rule that denies it"
        )
    };
    let reply = ", where its replies go";
    let (send, subscribe) = ("on_message", "on_subscribe");
    let (hello, say, files) = (
        "route \"/hello\"",
        "route \"/rooms/{room}/say\"",
        "route \"/files/{*path}\"",
    );
    assert_eq!(
        told,
        [
            nobody("fallback", send, "/app/**", ""),
            nobody(hello, send, "/app/hello", ""),
            nobody(hello, subscribe, "/topic/greetings", reply),
            nobody(say, send, "/app/rooms/*/say", ""),
            nobody(say, subscribe, "/topic/rooms/*", reply),
            nobody(files, send, "/app/files/**", ""),
            nobody(files, subscribe, "/topic/f/**", reply),
            nobody("route \"/mine\"", send, "/app/mine", ""),
            nobody("route \"/mine\"", subscribe, "/user/queue/mine", reply),
            nobody("route \"/ask\"", subscribe, "/app/ask", ""),
        ]
    );
    // A rule for a part of it is enough, even behind one that denies another part.
    let policy = Policy::builder()
        .on_message("/app/rooms/7/*", deny())
        .on_message("/app/**", role("member"))
        .on_subscribe("/topic/rooms/7", permit())
        .on_subscribe("/topic/f/a/b", permit())
        .on_subscribe("/topic/greetings", permit())
        .on_subscribe("/user/**", authenticated())
        .on_subscribe("/app/*", permit())
        .otherwise(deny());
    assert_eq!(errors_of(routes(), policy), [""; 0]);
}

#[test]
fn paths_and_replies_leave_the_prefixes_of_clients_out() {
    let routes = MessageRouter::new()
        .route("/app/hello", message(nothing))
        .route("/application", message(nothing))
        .route("/a", message(text).send_to("/user/queue/x"))
        .route("/b", message(text).send_to_user("/user/queue/x"))
        .route("/c", message(text).send_to_session("/user/queue/x"))
        .route("/d", message(text).send_to("/app/hello"));
    let told = errors_of(routes, Policy::builder().otherwise(permit()));
    let path = "\"/user/queue/x\" is how clients write it: leave \"/user\" out, \"/queue/x\" is what they receive there";
    assert_eq!(
        told,
        [
            "route \"/app/hello\": clients would have to write \"/app/app/hello\", since paths are what follows the \
             application prefix; write \"/hello\""
                .to_owned(),
            "route \"/a\": \"/user/queue/x\" is how clients write what is for a user: send to the user, at \"/queue/x\""
                .into(),
            format!("route \"/b\": {path}"),
            format!("route \"/c\": {path}"),
            "route \"/d\": the broker carries no destination \"/app/hello\", only those below \"/topic\" or \"/queue\""
                .into(),
        ]
    );
}

/// Alike for the application's, the users', the broker's and nested ones: a `/` at the end changes nothing.
#[test]
fn a_slash_at_the_end_of_a_prefix_changes_nothing() {
    let inner = MessageRouter::new().route("/say", message(text).send_to("/topic/x"));
    let messaging = Messaging::builder()
        .application_prefix("/svc/")
        .user_prefix("/me/")
        .routes(MessageRouter::new().nest("/rooms/", inner))
        .broker(EmbeddedBroker::new().topics("/topic/"))
        .policy(
            Policy::builder()
                .on_message("/svc/rooms/say", permit())
                .on_subscribe("/topic/x", permit())
                .on_subscribe("/me/queue/errors", deny())
                .otherwise(deny()),
        )
        .build();
    messaging.unwrap();
}
