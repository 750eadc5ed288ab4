//! BEGIN to COMMIT or ABORT: all of it, in order, or nothing.

use std::time::Duration;

use tramline::Stats;
use tramline::broker::{QueueSettings, WhenFull};
use tramline::policy::{Policy, deny, permit};
use tramline_stomp::Version;

use crate::support::{
    Client, ERRORS, FrameExt, Server, Setup, ack, answer, broker, protocol_errors, rejected,
};

const NOT_COMMITTED: &str = "transaction not committed";

async fn server() -> Server {
    Setup::open_to_all(broker()).start().await
}

fn send(destination: &str, body: &str) -> String {
    format!("SEND\ntransaction:t\ndestination:{destination}\n\n{body}\0")
}

const BEGIN: &str = "BEGIN\ntransaction:t\n\n\0";
const COMMIT: &str = "COMMIT\ntransaction:t\n\n\0";
const ABORT: &str = "ABORT\ntransaction:t\n\n\0";

#[tokio::test]
async fn what_is_committed_is_done_and_not_before() {
    for version in Version::ALL {
        let server = server().await;
        server.publish("/queue/in", ["1", "2"]).await;
        let mut witness = Client::subscribed(&server, ["/topic/x", "/queue/x"]).await;
        let mut client = Client::connect_in(&server, version).await;
        client
            .consume("s", "/queue/in", "ack:client-individual\n")
            .await;
        let got = client.expect_bodies(["1", "2"]).await;
        // Inside, a receipt says that it is accepted.
        client.done(BEGIN).await;
        client.done(send("/topic/x", "a")).await;
        client.done(send("/queue/x", "b")).await;
        client
            .done(answer(version, "ACK", &got[0], "transaction:t\n"))
            .await;
        if version > Version::V1_0 {
            let headers = "transaction:t\nrequeue:false\n";
            client.done(answer(version, "NACK", &got[1], headers)).await;
        } else {
            client
                .done(answer(version, "ACK", &got[1], "transaction:t\n"))
                .await;
        }
        client.done(send("/topic/x", "c")).await;
        witness.hears_nothing().await;
        assert_eq!(server.load("/queue/in"), (0, 2));
        client.done(COMMIT).await;
        assert_eq!(server.load("/queue/in"), (0, 0));
        let counts = server.of("/queue/in").counts;
        let expected = if version > Version::V1_0 {
            (1, 1)
        } else {
            (2, 0)
        };
        assert_eq!((counts.acked, counts.discarded), expected);
        for message in witness.expect_bodies(["a", "b", "c"]).await {
            message.has("transaction", None).has("receipt", None);
        }
        // The id is free again.
        client.done(BEGIN).await;
        client.done(COMMIT).await;
    }
}

#[tokio::test]
async fn what_is_aborted_was_never_said() {
    for version in Version::ALL {
        let server = server().await;
        server.publish("/queue/in", ["1", "2"]).await;
        let mut witness = Client::subscribed(&server, ["/topic/x"]).await;
        let mut client = Client::connect_in(&server, version).await;
        client.consume("s", "/queue/in", "ack:client\n").await;
        let got = client.expect_bodies(["1", "2"]).await;
        client.done(BEGIN).await;
        client.done(send("/topic/x", "a")).await;
        client.done(send("/app/log", "b")).await;
        client
            .done(answer(version, "ACK", &got[1], "transaction:t\n"))
            .await;
        client.done(ABORT).await;
        witness.hears_nothing().await;
        assert_eq!(server.load("/queue/in"), (0, 2));
        // What was acknowledged in there is still to be.
        client.done(answer(version, "ACK", &got[0], "")).await;
        client.done(answer(version, "ACK", &got[1], "")).await;
        assert_eq!(server.load("/queue/in"), (0, 0));
        assert!(server.gate.log().is_empty());
    }
}

#[tokio::test]
async fn a_session_that_ends_aborts_what_is_open() {
    for end in ["cut", "close", "DISCONNECT", "ERROR"] {
        let server = server().await;
        server.publish("/queue/in", ["1"]).await;
        let mut witness = Client::subscribed(&server, ["/topic/x"]).await;
        let mut client = Client::connect(&server).await;
        client.consume("s", "/queue/in", "ack:client\n").await;
        let got = client.expect_bodies(["1"]).await;
        client.done(BEGIN).await;
        client.done(send("/topic/x", "a")).await;
        client.done(send("/app/log", "b")).await;
        client
            .done(answer(Version::V1_2, "ACK", &got[0], "transaction:t\n"))
            .await;
        match end {
            "cut" => drop(client),
            "close" => client.close(1000, "").await,
            "DISCONNECT" => client.done("DISCONNECT\n\n\0").await,
            _ => client.send("HELLO\n\n\0").await,
        }
        server.loaded("/queue/in", (1, 0)).await;
        witness.hears_nothing().await;
        assert!(server.gate.log().is_empty());
        server.serves().await;
    }
}

#[tokio::test]
async fn several_may_be_open() {
    let server = server().await;
    let mut witness = Client::subscribed(&server, ["/topic/x"]).await;
    let mut client = Client::connect(&server).await;
    let of =
        |id: &str, body: &str| format!("SEND\ntransaction:{id}\ndestination:/topic/x\n\n{body}\0");
    for id in ["a", "b", "c"] {
        client.done(format!("BEGIN\ntransaction:{id}\n\n\0")).await;
    }
    for (id, body) in [("a", "1"), ("b", "2"), ("c", "3"), ("b", "4"), ("a", "5")] {
        client.done(of(id, body)).await;
    }
    client.done("SEND\ndestination:/topic/x\n\nnow\0").await;
    witness.expect_bodies(["now"]).await;
    client.done("COMMIT\ntransaction:b\n\n\0").await;
    witness.expect_bodies(["2", "4"]).await;
    client.done("ABORT\ntransaction:c\n\n\0").await;
    client.done("COMMIT\ntransaction:a\n\n\0").await;
    witness.expect_bodies(["1", "5"]).await;
    witness.hears_nothing().await;
}

#[tokio::test]
async fn wrong_transactions_are_told() {
    let limits = |limits: &mut tramline::Limits| {
        limits.transactions = 2;
        limits.transaction_frames = 3;
        limits.transaction_bytes = 1000;
    };
    let not_open = |id: &str| {
        format!(
            "the transaction `{id}` is not open; send BEGIN with this id first, end it only once, or send without the \
             header `transaction`"
        )
    };
    let missing = |command: &str| {
        format!(
            "{command} lacks the header `transaction`; add it, with an id that you choose at BEGIN"
        )
    };
    let frames: fn(Stats) -> u64 = protocol_errors;
    let too_large = "transaction too large";
    let many = "the transaction has 3 frames, as many as it may (`Limits::transaction_frames`); commit earlier";
    let big = "the messages of the transaction are larger than 1000 bytes (`Limits::transaction_bytes`); commit earlier";
    let half = "x".repeat(490);
    let log = send("/app/log", "x");
    for (before, wrong, message, body, counter) in [
        (
            BEGIN.into(),
            "BEGIN\nreceipt:7\ntransaction:t\n\n\0".into(),
            "the transaction `t` is open already; choose another id, or end it first".into(),
            "",
            frames,
        ),
        (String::new(), COMMIT.into(), not_open("t"), "", frames),
        (String::new(), ABORT.into(), not_open("t"), "", frames),
        (String::new(), send("/topic/x", "a"), not_open("t"), "", frames),
        (String::new(), send("/app/log", "a"), not_open("t"), "", frames),
        (
            BEGIN.into(),
            "ACK\nreceipt:7\nid:0-1-$KEY\ntransaction:u\n\n\0".into(),
            not_open("u"),
            "",
            frames,
        ),
        (
            BEGIN.into(),
            "NACK\nreceipt:7\nid:0-1-$KEY\ntransaction:u\n\n\0".into(),
            not_open("u"),
            "",
            frames,
        ),
        (format!("{BEGIN}{COMMIT}"), COMMIT.into(), not_open("t"), "", frames),
        (format!("{BEGIN}{ABORT}"), COMMIT.into(), not_open("t"), "", frames),
        (String::new(), "BEGIN\nreceipt:7\n\n\0".into(), missing("BEGIN"), "", frames),
        (BEGIN.into(), "COMMIT\nreceipt:7\n\n\0".into(), missing("COMMIT"), "", frames),
        (BEGIN.into(), "ABORT\ntransaction:\n\n\0".into(), missing("ABORT"), "", frames),
        (
            format!("{BEGIN}BEGIN\ntransaction:u\n\n\0"),
            "BEGIN\nreceipt:7\ntransaction:v\n\n\0".into(),
            "a session may have 2 transactions open; commit or abort some, or raise the server's limit".into(),
            "",
            frames,
        ),
        (
            format!("{BEGIN}{log}{}{log}", send("/topic/x", "a")),
            "ACK\nreceipt:7\nid:0-1-$KEY\ntransaction:t\n\n\0".into(),
            too_large.into(),
            many,
            rejected,
        ),
        (
            format!("{BEGIN}{}{}", send("/topic/x", &half), "\n"),
            send("/topic/x", &format!("{half}{half}")).replacen('\n', "\nreceipt:7\n", 1),
            too_large.into(),
            big,
            rejected,
        ),
        (
            format!("{BEGIN}{}", send("/app/log", &half)),
            send("/app/log", &half),
            too_large.into(),
            big,
            rejected,
        ),
        (
            BEGIN.into(),
            "SEND\nreceipt:7\ntransaction:t\ndestination:/nowhere\n\n\0".into(),
            "bad destination".into(),
            "\"/nowhere\" leads nowhere: handlers are below \"/app\", what is for users is below \"/user\", and the broker \
             carries what is below \"/topic\" or \"/queue\"",
            rejected,
        ),
    ] {
        let server = Setup::open_to_all(broker()).limits(limits).start().await;
        let mut witness = Client::subscribed(&server, ["/topic/x"]).await;
        let mut client = Client::connect(&server).await;
        client.consume("s", "/queue/x", "ack:client\n").await;
        client.send(&before).await;
        server
            .refuses(&mut client, &wrong, (&message, body), counter)
            .await;
        witness.hears_nothing().await;
        assert!(server.gate.log().is_empty());
    }
}

/// What waits for COMMIT is bounded, ACKs by message id too.
#[tokio::test]
async fn acknowledgements_count_for_the_size_of_a_transaction() {
    let server = Setup::open_to_all(broker())
        .limits(|limits| limits.transaction_bytes = 1000)
        .start()
        .await;
    let mut client = Client::connect_in(&server, Version::V1_1).await;
    client.consume("s", "/queue/x", "ack:client\n").await;
    client.done(BEGIN).await;
    let id = "x".repeat(600);
    let frame = format!("ACK\nreceipt:7\nsubscription:s\nmessage-id:{id}\ntransaction:t\n\n\0");
    client.send(&frame).await;
    client.expect("RECEIPT").await;
    let body = "the messages of the transaction are larger than 1000 bytes (`Limits::transaction_bytes`); commit earlier";
    let expected = ("transaction too large", body);
    server
        .refuses(&mut client, &frame, expected, rejected)
        .await;
}

#[tokio::test]
async fn a_transaction_may_be_as_large_as_its_limits() {
    let server = Setup::open_to_all(broker())
        .limits(|limits| {
            limits.transactions = 1;
            limits.transaction_frames = 3;
        })
        .start()
        .await;
    let mut witness = Client::subscribed(&server, ["/topic/x"]).await;
    let mut client = Client::connect(&server).await;
    for _ in 0..2 {
        client.done(BEGIN).await;
        for body in ["1", "2", "3"] {
            client.done(send("/topic/x", body)).await;
        }
        client.done(COMMIT).await;
        witness.expect_bodies(["1", "2", "3"]).await;
    }
}

/// First the broker's part, then the handlers one after the other, then the receipt.
#[tokio::test]
async fn handlers_run_at_commit_in_order_and_before_its_receipt() {
    let server = server().await;
    let all = ["/topic/x", "/topic/greetings", "/topic/slow"];
    let mut witness = Client::subscribed(&server, all).await;
    let mut client = Client::connect(&server).await;
    client.done(BEGIN).await;
    for (destination, body) in [
        ("/app/log", "a"),
        ("/topic/x", "1"),
        ("/app/hello", "World"),
        ("/app/slow", "b"),
        ("/topic/x", "2"),
        ("/app/log", "c"),
    ] {
        client.done(send(destination, body)).await;
    }
    witness.hears_nothing().await;
    assert!(server.gate.log().is_empty());
    client
        .send(&format!(
            "{}SEND\ndestination:/app/log\nreceipt:behind\n\nd\0",
            COMMIT.replacen('\n', "\nreceipt:commit\n", 1)
        ))
        .await;
    witness.expect_bodies(["1", "2", "Hello, World!"]).await;
    server.gate.started(1).await;
    assert_eq!(server.gate.log(), ["a"], "the second handler runs");
    server.gate.release();
    client.expect("RECEIPT").await.has("receipt-id", "commit");
    assert_eq!(server.gate.log()[..3], ["a", "slow b", "c"]);
    witness.expect_bodies(["slow b"]).await;
    client.expect("RECEIPT").await.has("receipt-id", "behind");
    assert_eq!(server.gate.log(), ["a", "slow b", "c", "d"]);
}

/// What a handler publishes is there when COMMIT's receipt comes.
#[tokio::test]
async fn the_effects_of_handlers_come_before_the_receipt() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    client.done(BEGIN).await;
    client.done(send("/app/three", "m")).await;
    client.done(send("/app/three", "n")).await;
    client.done(COMMIT).await;
    assert_eq!(server.load("/queue/x"), (2, 0));
    client.consume("s", "/queue/x", "").await;
    client.expect_bodies(["m", "n"]).await;
}

/// The client hears of each, those behind it run, and COMMIT has its receipt: everything was handled.
#[tokio::test]
async fn handlers_that_fail_inside_a_transaction() {
    let server = server().await;
    let mut errors = Client::connect_as(&server, "anne").await;
    errors.subscribe("e", "/user/queue/errors").await;
    errors.done(BEGIN).await;
    for (destination, body) in [
        ("/app/panic", "please"),
        ("/app/log", "1"),
        ("/app/order", "no JSON"),
        ("/app/log", "2"),
        ("/app/nothing", ""),
        ("/app/lost", ""),
        ("/app/log", "3"),
    ] {
        errors.done(send(destination, body)).await;
    }
    errors
        .send("COMMIT\nreceipt:commit\ntransaction:t\n\n\0")
        .await;
    let mut kinds = Vec::new();
    let mut receipts = 0;
    while kinds.len() + receipts < 5 {
        let (frame, _) = errors.expect_any().await;
        match frame.headers.get("receipt-id") {
            Some(receipt) => {
                assert_eq!(receipt, "commit");
                receipts += 1;
            }
            None => {
                let error: serde_json::Value = serde_json::from_slice(&frame.body).unwrap();
                kinds.push(error["kind"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(receipts, 1);
    assert_eq!(
        kinds,
        ["handler-panicked", "bad-message", "no-route", "bad-reply"]
    );
    assert_eq!(server.gate.log(), ["1", "2", "3"]);
    let stats = server.stats();
    assert_eq!((stats.rejected, stats.handler_panics), (4, 1));
    server.serves().await;
}

/// Each frame is judged when it comes.
#[tokio::test]
async fn a_denied_frame_ends_the_transaction_with_its_session() {
    let policy = Policy::builder()
        .on_message("/topic/secret", deny())
        .on_message("/app/secret", deny())
        .otherwise(permit());
    let denied = |stats: Stats| stats.denied;
    for destination in ["/topic/secret", "/app/secret"] {
        let server = Setup::new()
            .broker(broker())
            .policy(policy.clone())
            .start()
            .await;
        let mut witness = Client::subscribed(&server, ["/topic/x", "/topic/secret"]).await;
        let mut client = Client::connect(&server).await;
        client.done(BEGIN).await;
        client.done(send("/topic/x", "a")).await;
        let frame = send(destination, "x").replacen('\n', "\nreceipt:7\n", 1);
        let body = format!(
            "SEND to {destination:?} is denied to an anonymous session by this server's policy"
        );
        let before = server.stats();
        client.send(&format!("{frame}{COMMIT}")).await;
        let error = client.expect_error("access denied", &body).await;
        error.has("receipt-id", "7");
        assert_eq!(denied(server.stats()), denied(before) + 1);
        witness.hears_nothing().await;
        server.serves().await;
    }
}

/// One part that cannot be done, and nothing is done: no message, no ACK, no handler.
#[tokio::test]
async fn all_or_nothing() {
    let full = "the queue \"/queue/full\" has no room: it holds ";
    let too_soon = "no delivery 1 waits to be acknowledged; acknowledge each once, and none after its subscription ended \
                    or after a later one in the mode `client`";
    let unknown = too_soon.replacen('1', "9", 1);
    let ack = |id: &str| format!("ACK\ntransaction:t\nid:{id}-$KEY\n\n\0");
    for (wrong, body) in [
        (ack("0-9"), &*unknown),
        // The mode is `client`: the ACK of 2 took 1 along.
        (ack("0-1"), too_soon),
        (ack("0-2"), &too_soon.replacen('1', "2", 1)),
        (send("/queue/full", "b"), full),
        (
            send("/queue/x", "b").replacen('\n', "\nexpires:soon\n", 1),
            "the header `expires` is \"soon\"; it must be a number of milliseconds, as digits",
        ),
    ] {
        let settings = QueueSettings::default()
            .max_messages(1)
            .when_full(WhenFull::Wait(Duration::ZERO));
        let broker = broker().queue_settings("/queue/full", settings);
        let server = Setup::open_to_all(broker).start().await;
        server.publish("/queue/full", ["0"]).await;
        server.publish("/queue/in", ["1", "2", "3"]).await;
        let mut witness = Client::subscribed(&server, ["/topic/x", "/queue/x"]).await;
        let mut client = Client::connect(&server).await;
        client.consume("s", "/queue/in", "ack:client\n").await;
        client.expect_bodies(["1", "2", "3"]).await;
        client.subscribe("errors", ERRORS).await;
        client.done(BEGIN).await;
        client.done(send("/topic/x", "a")).await;
        client.done(send("/queue/x", "a")).await;
        client.done(ack("0-2")).await;
        client.done(send("/app/log", "a")).await;
        client.done(wrong).await;
        client.done(send("/topic/x", "c")).await;
        let before = server.stats();
        client
            .send(&format!(
                "{}SEND\ndestination:/topic/x\n\nbehind it\0",
                COMMIT.replacen('\n', "\nreceipt:7\n", 1)
            ))
            .await;
        // What finds no room does not end the session.
        let goes_on = body == full;
        if goes_on {
            let notice = client.expect("MESSAGE").await;
            notice.has("destination", ERRORS).has("receipt-id", "7");
            let notice: serde_json::Value = serde_json::from_slice(&notice.body).unwrap();
            let text = format!("nothing of the transaction was done: {body}");
            assert!(notice["error"].as_str().unwrap().starts_with(&text));
            witness.expect_message("/topic/x", "behind it").await;
            drop(client);
        } else {
            let error = client.expect("ERROR").await;
            error.has("message", NOT_COMMITTED).has("receipt-id", "7");
            assert!(error.text().starts_with(body), "{error:?}");
            let reason = crate::support::cut(error.text());
            client.expect_close(1002, &reason).await;
        }
        assert_eq!(server.stats().rejected, before.rejected + 1);
        server.loaded("/queue/in", (3, 0)).await;
        assert_eq!(server.load("/queue/full"), (1, 0));
        assert_eq!(server.of("/queue/in").counts.acked, 0);
        witness.hears_nothing().await;
        assert!(server.gate.log().is_empty());
        server.serves().await;
    }
}

/// An ACK in a transaction whose subscription has ended meanwhile is one that cannot be done.
#[tokio::test]
async fn an_ack_whose_subscription_ended_before_the_commit() {
    let server = server().await;
    server.publish("/queue/in", ["1"]).await;
    let mut client = Client::connect(&server).await;
    client.consume("s", "/queue/in", "ack:client\n").await;
    client.expect_bodies(["1"]).await;
    client.done(BEGIN).await;
    client.done("ACK\ntransaction:t\nid:0-1-$KEY\n\n\0").await;
    client.done(send("/queue/out", "a")).await;
    client.done("UNSUBSCRIBE\nid:s\n\n\0").await;
    let frame = COMMIT.replacen('\n', "\nreceipt:7\n", 1);
    let body = "no delivery 1 waits to be acknowledged; acknowledge each once, and none after its subscription ended or \
                after a later one in the mode `client`";
    let expected = (NOT_COMMITTED, body);
    server
        .refuses(&mut client, &frame, expected, rejected)
        .await;
    assert_eq!(server.load("/queue/in"), (1, 0));
    let mut consumer = Client::connect(&server).await;
    consumer.consume("s", "/queue/out", "").await;
    consumer.hears_nothing().await;
}

/// A COMMIT waits for room as a SEND does, counting the room that it makes itself.
#[tokio::test]
async fn a_commit_to_a_full_queue() {
    let settings = QueueSettings::default()
        .max_messages(2)
        .when_full(WhenFull::Wait(Duration::from_secs(60)));
    let broker = broker().queue_settings("/queue/x", settings);
    let server = Setup::open_to_all(broker).start().await;
    server.publish("/queue/x", ["1", "2"]).await;
    let mut client = Client::connect(&server).await;
    client
        .consume("s", "/queue/x", "ack:client\nprefetch-count:1\n")
        .await;
    let first = client.expect_bodies(["1"]).await;
    // One goes, one comes.
    client.done(BEGIN).await;
    client
        .done(answer(Version::V1_2, "ACK", &first[0], "transaction:t\n"))
        .await;
    client.done(send("/queue/x", "3")).await;
    client.done(COMMIT).await;
    client.expect_bodies(["2"]).await;
    assert_eq!(server.load("/queue/x"), (1, 1));
    // Another's has to wait, with everything in it.
    let mut witness = Client::subscribed(&server, ["/topic/x"]).await;
    let mut other = Client::connect(&server).await;
    other.done(BEGIN).await;
    other.done(send("/topic/x", "a")).await;
    other.done(send("/queue/x", "4")).await;
    other.done(send("/app/log", "b")).await;
    other
        .send(&COMMIT.replacen('\n', "\nreceipt:commit\n", 1))
        .await;
    server.serves().await;
    witness.hears_nothing().await;
    assert!(server.gate.log().is_empty());
    client.done("ACK\nid:0-2-$KEY\n\n\0").await;
    other.expect("RECEIPT").await.has("receipt-id", "commit");
    witness.expect_bodies(["a"]).await;
    assert_eq!(server.gate.log(), ["b"]);
    client.expect_bodies(["3"]).await;
    assert_eq!(server.load("/queue/x"), (1, 1));
}

#[tokio::test]
async fn a_commit_that_waited_in_vain_is_refused_whole() {
    let settings = QueueSettings::default()
        .max_messages(2)
        .when_full(WhenFull::Wait(Duration::from_millis(1)));
    let broker = broker().queue_settings("/queue/x", settings);
    let server = Setup::open_to_all(broker).start().await;
    let mut witness = Client::subscribed(&server, ["/topic/x"]).await;
    let mut client = Client::subscribed(&server, [ERRORS]).await;
    client.done(BEGIN).await;
    client.done(send("/topic/x", "a")).await;
    for body in ["1", "2", "3"] {
        client.done(send("/queue/x", body)).await;
    }
    let text = "nothing of the transaction was done: the queue \"/queue/x\" has no room: it holds 0 messages of 2, 0 bytes \
                of 67108864; send less, or send it again later";
    let frame = COMMIT.replacen('\n', "\nreceipt:7\n", 1);
    server.has_no_room(&mut client, &frame, text).await;
    witness.hears_nothing().await;
    assert_eq!(server.load("/queue/x"), (0, 0));
    assert_eq!(server.of("/queue/x").counts.refused, 1);
}

/// What a released delivery stands before, and what is sent in the same transaction.
#[tokio::test]
async fn settles_come_before_sends() {
    let server = server().await;
    server.publish("/queue/x", ["1", "2"]).await;
    let mut client = Client::connect(&server).await;
    client
        .consume("s", "/queue/x", "ack:client-individual\nprefetch-count:1\n")
        .await;
    let first = client.expect_bodies(["1"]).await;
    client.done(BEGIN).await;
    client.done(send("/queue/x", "3")).await;
    client
        .done(answer(Version::V1_2, "NACK", &first[0], "transaction:t\n"))
        .await;
    client.done(COMMIT).await;
    for body in ["1", "2", "3"] {
        let message = client.expect_bodies([body]).await;
        message[0].has("redelivered", (body == "1").then_some("true"));
        client.done(ack(&message[0])).await;
    }
}

/// Last words: what was committed before the goodbye is done.
#[tokio::test]
async fn a_commit_among_the_last_words_is_done() {
    let server = server().await;
    let mut witness = Client::subscribed(&server, ["/topic/x"]).await;
    let mut client = Client::connect(&server).await;
    client.send("SEND\ndestination:/app/slow\n\na\0").await;
    server.gate.started(1).await;
    let frames = [
        BEGIN,
        &send("/topic/x", "b"),
        &send("/app/log", "c"),
        COMMIT,
    ];
    client.send(&frames.concat()).await;
    client.close(1000, "").await;
    server.gate.release();
    witness.expect_bodies(["b"]).await;
    let gate = server.gate.clone();
    crate::support::eventually("the handler", move || gate.log() == ["slow a", "c"]).await;
    assert_eq!(server.stats().rejected, 0);
}
