//! Sending, receiving, and that nothing is received.

use tramline::policy::{Policy, Refusals, deny, permit, role};
use tramline::reply::{IntoReply, Payload};
use tramline::test::{AckMode, TestMessaging, inbound};
use tramline::{Json, User};

use super::support::{Greeting, app, builder, routes};

#[tokio::test(start_paused = true)]
async fn a_handlers_reply_arrives() {
    let app = app();
    let alice = app.connect_as("alice").await;
    let mut greetings = alice.subscribe("/topic/greetings").await;
    assert_eq!(greetings.destination(), "/topic/greetings");
    alice.send("/app/hello", "Alice").await;
    let greeting: Greeting = greetings.next_json().await;
    assert_eq!(greeting.content, "Hello, Alice!");

    alice.send("/app/hello", String::from("Bob")).await;
    let message = greetings.next().await;
    assert_eq!(message.destination(), "/topic/greetings");
    assert_eq!(message.header("content-type"), Some("application/json"));
    assert_eq!(message.json::<Greeting>().content, "Hello, Bob!");
    assert_eq!(message.text().as_bytes(), message.body());
    assert!(message.headers().get("message-id").is_some());
}

#[tokio::test]
async fn it_works_in_real_time_too() {
    let app = app();
    let bob = app.connect_as(User::new("bob")).await;
    let mut room = bob.subscribe("/topic/rooms/*").await;
    bob.send(format!("/app/rooms/{}/say", 7), "hi").await;
    assert_eq!(room.next_text().await, "bob: hi");
    room.expect_nothing().await;
    bob.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn payloads_are_all_that_can_be_a_reply_and_nothing() {
    let app = app();
    let alice = app.connect().await;
    let mut open = alice.subscribe("/topic/open").await;
    alice.send("/topic/open", ()).await;
    let empty = open.next().await;
    assert!(empty.body().is_empty() && empty.header("content-type").is_none());
    alice.send("/topic/open", None::<String>).await;
    assert!(open.next().await.body().is_empty());
    let greeting = Greeting {
        content: "x".into(),
    };
    alice.send("/topic/open", Json(&greeting)).await;
    assert_eq!(open.next_json::<Greeting>().await, greeting);
    alice
        .send("/topic/open", Payload::untyped(vec![0, 255]))
        .await;
    let bytes = open.next().await;
    assert_eq!(
        (bytes.body().to_vec(), bytes.header("content-type")),
        (vec![0, 255], None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_has_every_session_and_others_have_nothing() {
    let app = app();
    let (phone, desk) = tokio::join!(app.connect_as("ann/é@x"), app.connect_as("ann/é@x"));
    let bob = app.connect_as("bob").await;
    assert_eq!(phone.user_name().as_deref(), Some("ann/é@x"));
    let mut on_phone = phone.subscribe("/user/queue/news").await;
    let mut on_desk = desk.subscribe("/user/queue/news").await;
    let bobs = bob.subscribe("/user/queue/news").await;
    let publisher = app.publisher();
    let sent = publisher
        .send_to_user("ann/é@x", "/queue/news", "for you")
        .await;
    assert_eq!(sent.unwrap().local_receivers, 2);
    let message = on_phone.next().await;
    assert_eq!(
        (message.destination(), message.text()),
        ("/user/queue/news", "for you")
    );
    assert_eq!(on_desk.next_text().await, "for you");
    bobs.expect_nothing().await;
    on_phone.expect_nothing().await;
}

/// What is queued behind more than one write's worth of other messages is not overlooked.
#[tokio::test(start_paused = true)]
async fn nothing_means_nothing_on_the_way_either() {
    let app = app();
    let alice = app.connect_as("alice").await;
    let flood = alice.subscribe("/topic/flood").await;
    let dropped = alice.subscribe("/topic/drop").await;
    dropped.expect_nothing().await;
    for _ in 0..60 {
        let sent = app
            .publisher()
            .send("/topic/flood", "x".repeat(8_000))
            .await;
        assert_eq!(sent.unwrap().local_receivers, 1);
    }
    // Nothing of the above has been written yet: this task has not given way.
    let sent = app.publisher().send("/topic/drop", "one").await;
    assert_eq!(sent.unwrap().local_receivers, 1);
    let looks = tokio::spawn(async move { dropped.expect_nothing().await });
    let failure = looks.await.unwrap_err().into_panic();
    let text = failure.downcast::<String>().unwrap();
    assert!(text.contains("nothing was expected at \"/topic/drop\", and there is a message"));
    flood.unsubscribe().await;
}

/// How much may be sent is the server's to say: a client takes what comes.
#[tokio::test(start_paused = true)]
async fn what_the_server_sends_may_be_long() {
    let app = app();
    let alice = app.connect_as("alice").await;
    let mut open = alice.subscribe("/topic/open").await;
    let long = "x".repeat(400_000);
    let sent = app.publisher().send("/topic/open", long.clone()).await;
    assert_eq!(sent.unwrap().local_receivers, 1);
    assert_eq!(open.next_text().await, long);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_when_it_is_told() {
    let app = app();
    let alice = app.connect_as("alice").await;
    let mut first = alice.subscribe("/topic/open").await;
    let second = alice.subscribe("/topic/open").await;
    second.unsubscribe().await;
    let sent = app.publisher().send("/topic/open", "to one").await;
    assert_eq!(sent.unwrap().local_receivers, 1);
    assert_eq!(first.next_text().await, "to one");
    drop(first);
    let sent = app.publisher().send("/topic/open", "unheard").await;
    assert_eq!(
        sent.unwrap().local_receivers,
        1,
        "dropping does not unsubscribe"
    );
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_and_headers() {
    let app = app();
    let worker = app.connect_as("worker").await;
    let individually = AckMode::ClientIndividual;
    let mut jobs = worker
        .subscribe_with("/queue/jobs", |s| {
            s.ack(individually).header("prefetch-count", "1")
        })
        .await;
    worker.send("/queue/jobs", "one").await;
    worker.send("/queue/jobs", "two").await;
    let one = jobs.next().await;
    jobs.expect_nothing().await;
    jobs.nack(&one).await;
    let again = jobs.next().await;
    assert_eq!(
        (again.text(), again.header("redelivered")),
        ("one", Some("true"))
    );
    jobs.ack(&again).await;
    let two = jobs.next().await;
    jobs.ack(&two).await;
    let statistics = app.broker_statistics("/queue/**", 10).unwrap();
    assert_eq!((statistics.selected[0].depth, two.text()), (0, "two"));
}

#[tokio::test(start_paused = true)]
async fn what_the_request_said_reaches_the_handler() {
    let app = app();
    let client = app
        .connect_with(|c| {
            c.user("alice")
                .path("/ws")
                .origin("https://app.example")
                .remote(([10, 0, 0, 1], 4711).into())
                .request_header("x-tenant", "acme")
                .request_header("user-agent", "not kept")
        })
        .await;
    let mut who = client.subscribe("/topic/who").await;
    client.send("/app/whoami", ()).await;
    assert_eq!(
        who.next_text().await,
        "alice /ws Some(\"https://app.example\") Some(10.0.0.1:4711) Some(\"acme\") None"
    );
    let anonymous = app.connect().await;
    assert_eq!(anonymous.user_name(), None);
    anonymous.send("/app/whoami", ()).await;
    assert_eq!(who.next_text().await, "nobody / None None None None");
    assert_ne!(anonymous.session_id(), client.session_id());
}

#[tokio::test(start_paused = true)]
async fn rejections_are_heard_without_a_subscription_of_the_tests_own() {
    let app = app();
    let alice = app.connect_as("alice").await;
    alice.send("/app/refuse", ()).await;
    alice.send("/app/rooms/seven/say", "hi").await;
    let rejection = alice.expect_rejection().await;
    assert_eq!(rejection.kind, "application");
    assert_eq!(rejection.error, "nobody gets this right");
    assert_eq!(rejection.details, Some(vec![1, 2].into()));
    assert_eq!(rejection.destination, "/app/refuse");
    let rejection = alice.expect_rejection().await;
    assert_eq!(rejection.destination, "/app/rooms/seven/say");
    assert_eq!((&*rejection.kind, rejection.details), ("bad-message", None));

    let before = app.stats().messages_received;
    alice.send_without_receipt("/app/refuse", ());
    alice.expect_rejection().await;
    assert_eq!(app.stats().messages_received, before + 1);
}

#[tokio::test(start_paused = true)]
async fn headers_go_with_what_is_sent() {
    let app = app();
    let alice = app.connect_as("alice").await;
    let bob = app.connect_as("bob").await;
    let mut whispers = bob.subscribe("/user/queue/whispers").await;
    let mut status = alice.subscribe("/user/queue/status").await;
    let whisper = "psst".with_header("correlation-id", "w1");
    alice.send("/app/whisper", whisper).await;
    assert_eq!(whispers.next_text().await, "psst");
    let sent = status.next().await;
    assert_eq!(
        (sent.text(), sent.header("correlation-id")),
        ("sent", Some("w1"))
    );

    let mut open = alice.subscribe("/topic/open").await;
    alice
        .send(
            "/topic/open",
            Payload::untyped("x").with_header("priority", "9"),
        )
        .await;
    assert_eq!(open.next().await.header("priority"), Some("9"));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_answered() {
    let app = app();
    let alice = app.connect_as("alice").await;
    let mut history = alice.subscribe("/app/rooms/7/history").await;
    assert_eq!(history.next_json::<Vec<u32>>().await, [7, 7, 7]);
    history.expect_nothing().await;
}

/// A client with a role that only the connect handler gives may hear of its rejections by that role.
#[tokio::test(start_paused = true)]
async fn who_hears_of_rejections_is_for_the_policy_to_say() {
    async fn promote(user: User) -> User {
        match user.name() {
            "alice" => user.with_roles(["admin"]),
            _ => user,
        }
    }
    let policy = Policy::builder()
        .on_subscribe("/user/queue/errors", role("admin"))
        .on_subscribe("/**", role("operator"))
        .otherwise(permit());
    let messaging = builder().routes(routes().connect(promote)).policy(policy);
    let app = TestMessaging::new(messaging.build().unwrap());
    let alice = app.connect_as("alice").await;
    alice.send("/app/refuse", ()).await;
    assert_eq!(alice.expect_rejection().await.destination, "/app/refuse");
    let bob = app.connect_as("bob").await;
    bob.send("/app/refuse", ()).await;
    bob.disconnect().await;
    let waits = tokio::spawn(async move { bob.expect_rejection().await });
    let text = waits
        .await
        .unwrap_err()
        .into_panic()
        .downcast::<String>()
        .unwrap();
    let why = "no rejection can come: the policy denies SUBSCRIBE to \"/user/queue/errors\"";
    assert!(text.contains(why), "{text}");
}

#[tokio::test]
async fn a_message_for_an_extractor() {
    use tramline::Path;
    use tramline::extract::{Extension, FromMessage, FromMessageParts};
    use tramline::login::Handshake;

    let tenant = http::HeaderName::from_static("x-tenant");
    let inbound = inbound("/app/rooms/7/say")
        .user(User::new("alice").with_roles(["admin"]))
        .capture("room", "7")
        .header("priority", "9")
        .kept_header(tenant.clone(), "acme".parse().unwrap())
        .extension(42u8)
        .json(&Greeting {
            content: "x".into(),
        })
        .build();
    assert_eq!(inbound.destination(), "/app/rooms/7/say");
    assert_eq!(
        inbound.headers().get("destination"),
        Some("/app/rooms/7/say")
    );
    assert_eq!(inbound.headers().get("priority"), Some("9"));
    assert!(inbound.user().unwrap().has_role("admin"));
    let Path(room) = Path::<u32>::from_message_parts(&inbound, &())
        .await
        .unwrap();
    let handshake = Handshake::from_message_parts(&inbound, &()).await.unwrap();
    assert_eq!((room, handshake.header(&tenant)), (7, Some("acme")));
    let extension = Extension::<u8>::from_message_parts(&inbound, &()).await;
    assert_eq!(extension.unwrap().0, 42);
    let Json(body) = Json::<Greeting>::from_message(inbound, &()).await.unwrap();
    assert_eq!(body.content, "x");
}

#[tokio::test(start_paused = true)]
async fn what_a_notice_refuses_is_not_waited_for() {
    let policy = Policy::builder()
        .on_message("/topic/secret", deny())
        .on_subscribe("/topic/secret", deny())
        .otherwise(permit());
    let messaging = builder().policy(policy).refusals(Refusals::Notify);
    let app = TestMessaging::new(messaging.build().unwrap());
    let alice = app.connect_as("alice").await;
    alice.send("/topic/secret", "psst").await;
    let notice = alice.expect_rejection().await;
    assert_eq!(
        (&*notice.kind, &*notice.destination),
        ("denied", "/topic/secret")
    );
    let secrets = alice.subscribe("/topic/secret").await;
    assert_eq!(alice.expect_rejection().await.destination, "/topic/secret");
    let mut open = alice.subscribe("/topic/open").await;
    alice.send("/topic/open", "still here").await;
    assert_eq!(open.next_text().await, "still here");
    secrets.expect_nothing().await;
}
