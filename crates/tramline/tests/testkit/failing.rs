//! What a failing test says.

use std::future::Future;
use std::time::Duration;

use tramline::test::{TestConnect, TestMessaging};

use super::support::{Greeting, app, limited};

/// The text of the panic that `test` ends with.
async fn failure<F>(test: impl FnOnce(TestMessaging) -> F) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let failed = tokio::spawn(test(app())).await.expect_err("the test fails");
    *failed.into_panic().downcast::<String>().expect("a text")
}

fn assert_says(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            panic!("{part:?} is not there, or not in its place:\n{text}");
        };
        rest = behind;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_come() {
    let line = line!() + 8;
    let text = failure(|app| async move {
        let alice = app
            .connect_with(|c| c.user("alice").passcode("hunter2"))
            .await;
        let mut greetings = alice.subscribe("/topic/greetings").await;
        alice.send("/app/helo", "Alice").await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        greetings.next().await;
    });
    let text = text.await;
    assert_says(
        &text,
        &[
            &format!("failing.rs:{line}:"),
            "waited 10s in vain for a message at \"/topic/greetings\"",
            "conversation of user \"alice\"",
            "0.0s >> CONNECT accept-version:1.0,1.1,1.2 host:localhost",
            " passcode:***",
            "<< CONNECTED version:1.2",
            ">> SUBSCRIBE id:0 destination:/user/queue/errors",
            ">> SUBSCRIBE id:1 destination:/topic/greetings receipt:receipt-2",
            "<< RECEIPT receipt-id:receipt-2",
            ">> SEND destination:/app/helo receipt:receipt-3 content-type:text/plain;charset=UTF-8 | Alice",
            "<< MESSAGE subscription:0",
            "\"kind\":\"no-route\"",
            "heart-beats: ",
        ],
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_something_else() {
    let text = failure(|app| async move {
        let alice = app.connect().await;
        let mut who = alice.subscribe("/topic/who").await;
        alice.send("/app/whoami", ()).await;
        who.next_json::<Greeting>().await;
    });
    assert_says(
        &text.await,
        &[
            "failing.rs:",
            "a message to \"/topic/who\" | nobody / None",
            "should be JSON of a `testkit::support::Greeting`",
            "conversation of an anonymous client",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_while_something_else_is_waited_for() {
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        let mut greetings = alice.subscribe("/topic/greetings").await;
        alice.send("/app/admin/reset", ()).await;
        greetings.next().await;
    });
    assert_says(
        &text.await,
        &[
            "a message at \"/topic/greetings\": the session has ended: ERROR \"access denied\"",
            "\"/app/admin/reset\" is denied to user \"alice\"",
            "<< ERROR message:access denied",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_that_nobody_looked_at() {
    let line = line!() + 2;
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        alice.send("/app/admin/reset", ()).await;
    });
    let place = format!("failing.rs:{line}:");
    assert_says(
        &text.await,
        &[
            &place,
            "the test expected none of it: ERROR \"access denied\"",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn using_a_session_that_has_ended() {
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        alice.disconnect().await;
        alice.send("/app/hello", "late").await;
    });
    let said = "SEND to \"/app/hello\": the session has ended: no ERROR, closed with 1000";
    assert_says(&text.await, &[said]);
}

#[tokio::test(start_paused = true)]
async fn expecting_a_denial_of_what_is_permitted() {
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        alice.send("/app/hello", "Alice").await;
        alice.expect_denied("/app/hello").await;
    });
    let said = "expecting that \"/app/hello\" is denied: it is not, the session goes on";
    assert_says(&text.await, &[said]);

    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        alice.send("/app/admin/reset", ()).await;
        alice.expect_denied("/app/admin").await;
    });
    let said = "\"/app/admin\" is denied: the session ended otherwise: ERROR \"access denied\"";
    assert_says(&text.await, &[said]);
}

#[tokio::test(start_paused = true)]
async fn expecting_another_error() {
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        alice.send("/app/admin/reset", ()).await;
        alice.expect_error("out of paper").await;
    });
    let said = "expected an ERROR with \"out of paper\", and the session ended otherwise: ERROR";
    assert_says(&text.await, &[said]);
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        alice.expect_error("anything").await;
    });
    assert_says(
        &text.await,
        &["waited 10s in vain for an ERROR with \"anything\""],
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_where_none_was_expected() {
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        let greetings = alice.subscribe("/topic/greetings").await;
        alice.send("/app/hello", "Alice").await;
        greetings.expect_nothing().await;
    });
    assert_says(
        &text.await,
        &[
            "nothing was expected at \"/topic/greetings\", and there is a message to \"/topic/greetings\"",
            "Hello, Alice!",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_refused() {
    let app = limited(|limits| limits.header_count = 1);
    let connects = tokio::spawn(async move { app.connect().await });
    let text = connects.await.unwrap_err().into_panic();
    let text = text.downcast::<String>().unwrap();
    assert_says(
        &text,
        &["failing.rs:", "the session is refused: ERROR", "<< ERROR "],
    );
}

#[tokio::test(start_paused = true)]
async fn a_rejection_that_does_not_come_or_cannot() {
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        alice.send("/app/hello", "Alice").await;
        alice.expect_rejection().await;
    });
    assert_says(&text.await, &["waited 10s in vain for a rejection"]);
    let text = failure(|app| async move {
        let alice = app.connect_with(TestConnect::without_rejections).await;
        alice.expect_rejection().await;
    });
    let said = "no rejection can come: the client connected `without_rejections`";
    assert_says(&text.await, &[said]);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_of_what_needs_none() {
    let text = failure(|app| async move {
        let alice = app.connect_as("alice").await;
        let mut open = alice.subscribe("/topic/open").await;
        alice.send("/topic/open", "read").await;
        let message = open.next().await;
        open.ack(&message).await;
    });
    assert_says(
        &text.await,
        &[
            "ACK of a message to \"/topic/open\" | read: ",
            "needs no ACK",
        ],
    );
}

/// The panic is also what the test runner sees.
#[tokio::test]
#[should_panic(expected = "waited 20ms in vain for the session to end")]
async fn in_real_time_the_deadline_is_real() {
    let app = app().with_deadline(Duration::from_millis(20));
    app.connect().await.closed().await;
}
