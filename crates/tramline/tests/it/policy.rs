//! Who may do what: denied frames, users, roles.

use tramline::policy::{Policy, authenticated, deny, permit, role};

use crate::support::{Client, ERRORS, FrameExt, Request, Server, Setup};

/// Sends `frame` in an anonymous session; it must be denied, loudly, and change nothing.
async fn is_denied(server: &Server, frame: &str, what: &str) {
    let before = server.stats();
    let mut client = Client::connect(server).await;
    client.send(frame).await;
    let body = format!("{what} is denied to an anonymous session by this server's policy");
    client
        .expect_error("access denied", &body)
        .await
        .has("receipt-id", frame.contains("receipt:7").then_some("7"));
    assert_eq!(server.stats().denied, before.denied + 1);
    assert_eq!(server.stats().protocol_errors, before.protocol_errors);
    server.serves().await;
}

#[tokio::test]
async fn a_denied_send() {
    let server = Server::start().await;
    let mut listener = Client::subscribed(&server, ["/topic/**"]).await;
    let frame = "SEND\ndestination:/topic/greetings\nreceipt:7\n\nfaked\0";
    is_denied(&server, frame, "SEND to \"/topic/greetings\"").await;
    listener
        .expect_message("/topic/greetings", "Hello, World!")
        .await;
    is_denied(
        &server,
        "SEND\ndestination:/user/alice/private\n\nx\0",
        "SEND to \"/user/alice/private\"",
    )
    .await;
}

#[tokio::test]
async fn a_denied_subscribe() {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/greetings", permit())
        .otherwise(role("operator"));
    let server = Setup::new().policy(policy).start().await;
    for destination in ["/topic/secret", "/topic/*", "/topic/**", "/user/queue/x"] {
        let frame = format!("SUBSCRIBE\nid:0\ndestination:{destination}\nreceipt:7\n\n\0");
        is_denied(&server, &frame, &format!("SUBSCRIBE to {destination:?}")).await;
    }
    assert_eq!(server.receivers("/topic/secret").await, 0);
}

/// Whoever may not subscribe there does not learn either whether there is anything.
#[tokio::test]
async fn a_denied_subscribe_to_nowhere_is_denied_first() {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/**", permit())
        .otherwise(role("operator"));
    let server = Setup::new().policy(policy).start().await;
    for destination in ["/nowhere", "/app/hello"] {
        let frame = format!("SUBSCRIBE\nid:0\ndestination:{destination}\n\n\0");
        is_denied(&server, &frame, &format!("SUBSCRIBE to {destination:?}")).await;
        let frame = format!("SEND\ndestination:{destination}/x\n\n\0");
        is_denied(&server, &frame, &format!("SEND to \"{destination}/x\"")).await;
    }
}

#[tokio::test]
async fn a_denied_connect() {
    let policy = Policy::builder()
        .on_connect(authenticated())
        .on_message("/app/**", permit())
        .on_subscribe("/topic/**", permit())
        .otherwise(deny());
    let server = Setup::new().policy(policy).start().await;
    let mut client = Client::open(&server).await;
    client
        .send("CONNECT\naccept-version:1.2\n\n\0SEND\ndestination:/app/log\n\nx\0")
        .await;
    let body = "CONNECT is denied to an anonymous session by this server's policy";
    client.expect_error("access denied", body).await;
    assert_eq!(server.stats().denied, 1);
    assert!(server.gate.log().is_empty());

    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("0", "/topic/greetings").await;
    alice.send("SEND\ndestination:/app/hello\n\nWorld\0").await;
    alice
        .expect_message("/topic/greetings", "Hello, World!")
        .await;
}

#[tokio::test]
async fn a_wide_pattern_does_not_get_around_a_narrow_rule() {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/**", permit())
        .on_subscribe("/topic/secret/**", role("admin"))
        .on_subscribe("/topic/**", permit())
        .otherwise(deny());
    let server = Setup::new().policy(policy).start().await;
    for pattern in [
        "/topic/**",
        "/topic/secret/*",
        "/topic/s*/x",
        "/topic/*/x",
        "/topic/?ecret/x",
    ] {
        let frame = format!("SUBSCRIBE\nid:0\ndestination:{pattern}\n\n\0");
        is_denied(&server, &frame, &format!("SUBSCRIBE to {pattern:?}")).await;
    }
    let mut public = Client::subscribed(&server, ["/topic/public/*", "/topic/rooms/**"]).await;
    let mut root = Client::connect_as(&server, "root:admin").await;
    root.subscribe("0", "/topic/**").await;
    assert_eq!(server.receivers("/topic/secret/keys").await, 1);
    root.expect_message("/topic/secret/keys", "how many?").await;
    assert_eq!(server.receivers("/topic/public/news").await, 2);
    public
        .expect_message("/topic/public/news", "how many?")
        .await;
}

#[tokio::test]
async fn users_and_roles() {
    let policy = Policy::builder()
        .on_connect(permit())
        .on_message("/app/rooms/**", role("speaker"))
        .on_message("/app/who", authenticated())
        .on_message("/app/hello", permit())
        .on_subscribe("/topic/**", permit())
        .otherwise(role("operator"));
    let server = Setup::new().policy(policy).start().await;
    is_denied(
        &server,
        "SEND\ndestination:/app/who\n\n\0",
        "SEND to \"/app/who\"",
    )
    .await;

    let mut alice = Client::connect_as(&server, "alice:speaker,auditor").await;
    alice.subscribe("0", "/topic/**").await;
    alice.send("SEND\ndestination:/app/who\n\n\0").await;
    alice.expect_message("/topic/who", "alice").await;
    alice
        .send("SEND\ndestination:/app/rooms/7/say\n\nhi\0")
        .await;
    alice.expect_message("/topic/rooms/7", "[7] hi").await;

    let mut bob = Client::connect_as(&server, "bob:speakers").await;
    bob.send("SEND\ndestination:/app/who\n\n\0").await;
    alice.expect_message("/topic/who", "bob").await;
    bob.send("SEND\ndestination:/app/rooms/7/say\n\nhi\0").await;
    let body = "SEND to \"/app/rooms/7/say\" is denied to user \"bob\" by this server's policy";
    bob.expect_error("access denied", body).await;
    assert_eq!(server.stats().denied, 2);
    server.serves().await;
}

/// The user of a session is that of its HTTP request; what CONNECT says of a login changes nothing.
#[tokio::test]
async fn a_login_header_makes_no_user() {
    let policy = Policy::builder()
        .on_connect(authenticated())
        .otherwise(role("operator"));
    let server = Setup::new().policy(policy).start().await;
    let mut client = Request::upgrade("/ws").open(&server).await;
    client
        .send("CONNECT\naccept-version:1.2\nlogin:alice\npasscode:x\nuser-name:alice\n\n\0")
        .await;
    let body = "CONNECT is denied to an anonymous session by this server's policy";
    client.expect_error("access denied", body).await;
}

/// Where no rule says anything of it, a client may receive what became of its own messages.
#[tokio::test]
async fn notices_need_no_rule_and_a_rule_may_deny_them() {
    let policy = || {
        Policy::builder()
            .on_connect(permit())
            .on_message("/app/**", permit())
            .on_subscribe("/topic/**", permit())
            .on_subscribe("/app/**", permit())
    };
    let server = Setup::new()
        .policy(policy().otherwise(deny()))
        .start()
        .await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    client.post("/app/nowhere", "").await;
    client.expect_rejection("no-route").await;
    for destination in ["/user/queue/*", "/user/queue/other"] {
        let frame = format!("SUBSCRIBE\nid:0\ndestination:{destination}\n\n\0");
        is_denied(&server, &frame, &format!("SUBSCRIBE to {destination:?}")).await;
    }
    let denying = policy().on_subscribe("/user/queue/e*", deny());
    let server = Setup::new().policy(denying.otherwise(deny())).start().await;
    let frame = format!("SUBSCRIBE\nid:0\ndestination:{ERRORS}\n\n\0");
    is_denied(&server, &frame, &format!("SUBSCRIBE to {ERRORS:?}")).await;
}

/// A server whose clients may do everything.
async fn permissive() -> Server {
    let policy = Policy::builder().otherwise(permit());
    Setup::new().policy(policy).start().await
}

#[tokio::test]
async fn destinations_that_lead_nowhere() {
    let server = permissive().await;
    let nowhere = |destination: &str| {
        format!(
            "{destination:?} leads nowhere: handlers are below \"/app\", what is for users is below \"/user\", and the \
             broker carries what is below \"/topic\""
        )
    };
    let mut client = Client::connect(&server).await;
    client
        .send("SEND\ndestination:/elsewhere/x\nreceipt:7\n\nx\0")
        .await;
    let error = client
        .expect_error("bad destination", &nowhere("/elsewhere/x"))
        .await;
    error.has("receipt-id", "7");

    let mut client = Client::connect(&server).await;
    client
        .send("SUBSCRIBE\nid:0\ndestination:/elsewhere/**\n\n\0")
        .await;
    client
        .expect_error("bad destination", &nowhere("/elsewhere/**"))
        .await;

    let mut client = Client::connect(&server).await;
    client
        .send("SUBSCRIBE\nid:0\ndestination:/app/hello\n\n\0")
        .await;
    let body =
        "nothing can be subscribed to at \"/app/hello\": no handler answers subscriptions there";
    client.expect_error("subscription refused", body).await;
    server.serves().await;
}

/// No failure is silent: besides ERROR and log line, something has to count.
#[tokio::test]
async fn destinations_that_lead_nowhere_are_counted() {
    let server = permissive().await;
    for frame in [
        "SEND\ndestination:/elsewhere/x\n\nx\0",
        "SUBSCRIBE\nid:0\ndestination:/elsewhere/**\n\n\0",
        "SEND\ndestination:/topic/open/*\n\nx\0",
    ] {
        let before = server.stats();
        let mut client = Client::connect(&server).await;
        client.send(frame).await;
        client.expect("ERROR").await;
        let now = server.stats();
        let failures =
            |stats: tramline::Stats| stats.denied + stats.rejected + stats.protocol_errors;
        assert_eq!(failures(now), failures(before) + 1, "{frame:?}");
    }
}

#[tokio::test]
async fn a_send_to_a_pattern_is_refused() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send("SEND\ndestination:/topic/open/*\n\nx\0").await;
    let error = client.expect("ERROR").await;
    error.has("message", "bad destination");
    assert!(error.text().contains("\"/topic/open/*\""), "{error:?}");
    server.serves().await;
}

/// Patterns that would make matching expensive are told as that, whatever the policy permits.
#[tokio::test]
async fn hostile_patterns_are_refused_by_name() {
    let server = Server::start().await;
    let deep = format!("/topic/**{}", "/".repeat(8000));
    let many = format!("/topic{}", "/*".repeat(9));
    let long = format!("/topic/*{}b", "a".repeat(2000));
    for (pattern, why) in [
        (
            &*deep,
            "a destination of 8009 bytes is too long; 512 are allowed here",
        ),
        (
            &many,
            "more than 8 segments with wildcards; subscribe to a shorter pattern",
        ),
        (
            &long,
            "a destination of 2009 bytes is too long; 512 are allowed here",
        ),
    ] {
        let mut client = Client::connect(&server).await;
        client
            .send(&format!("SUBSCRIBE\nid:0\ndestination:{pattern}\n\n\0"))
            .await;
        let error = client.expect("ERROR").await;
        error.has("message", "subscription refused");
        assert!(error.text().contains(why), "{error:?}");
    }
    server.serves().await;
}
