//! ACK and NACK in every version, on queues, topics and user destinations, right and wrong.

use tramline::Stats;
use tramline::broker::{QueueSettings, TopicSettings};
use tramline_stomp::{Frame, Version};

use crate::support::{
    Client, FrameExt, Server, Setup, ack, answer, broker, nack, protocol_errors, rejected,
};

async fn server() -> Server {
    Setup::open_to_all(broker()).start().await
}

/// A destination to subscribe to, and how a message gets there.
const KINDS: [&str; 3] = ["/queue/x", "/topic/x", "/user/queue/x"];

async fn publish_to(server: &Server, destination: &'static str, body: &str) {
    match destination.strip_prefix("/user") {
        None => server.publish(destination, [body]).await,
        Some(path) => {
            let publisher = server.messaging().publisher();
            let sent = publisher.send_to_user("anne", path, body.to_owned()).await;
            assert_eq!(sent.unwrap().local_receivers, 1);
        }
    }
}

fn unknown_delivery(name: &str) -> String {
    format!(
        "no delivery {name} waits to be acknowledged; acknowledge each once, and none after its subscription ended or \
         after a later one in the mode `client`"
    )
}

#[tokio::test]
async fn only_1_2_has_an_ack_header_and_only_where_there_is_something_to_acknowledge() {
    for version in Version::ALL {
        for destination in KINDS {
            for mode in ["auto", "client", "client-individual"] {
                let server = server().await;
                let mut client = Client::connect_in(&server, version).await;
                client
                    .consume("s", destination, &format!("ack:{mode}\n"))
                    .await;
                publish_to(&server, destination, "m").await;
                let message = client.expect_message(destination, "m").await;
                let expected = version == Version::V1_2 && mode != "auto";
                assert_eq!(
                    message.headers.get("ack").is_some(),
                    expected,
                    "{mode} {message:?}"
                );
                message
                    .has("subscription", "s")
                    .has("redelivered", None)
                    .has("delivery-count", None);
                if mode != "auto" {
                    client.done(answer(version, "ACK", &message, "")).await;
                }
                if destination == "/queue/x" {
                    server.loaded("/queue/x", (0, 0)).await;
                    assert_eq!(server.of("/queue/x").counts.acked, 1);
                }
            }
        }
    }
}

#[tokio::test]
async fn client_mode_acknowledges_all_up_to_the_one_that_is_named() {
    for version in Version::ALL {
        for destination in KINDS {
            let server = server().await;
            let mut client = Client::connect_in(&server, version).await;
            client
                .consume("s", destination, "ack:client\nprefetch-count:3\n")
                .await;
            for body in ["1", "2", "3", "4", "5"] {
                publish_to(&server, destination, body).await;
            }
            let first = client.expect_bodies(["1", "2", "3"]).await;
            client.hears_nothing().await;
            client.done(answer(version, "ACK", &first[1], "")).await;
            let rest = client.expect_bodies(["4", "5"]).await;
            client.done(answer(version, "ACK", &rest[1], "")).await;
            if !destination.starts_with("/user") {
                assert_eq!(server.of(destination).counts.acked, 5, "{destination}");
            }
            let (name, frame) = match version {
                Version::V1_2 => ("1", answer(version, "ACK", &first[0], "receipt:7\n")),
                _ => (
                    first[0].headers.get("message-id").unwrap(),
                    answer(version, "ACK", &first[0], "receipt:7\n"),
                ),
            };
            let expected = ("not acknowledged", &*unknown_delivery(name));
            server
                .refuses(&mut client, &frame, expected, rejected)
                .await;
        }
    }
}

#[tokio::test]
async fn client_individual_acknowledges_one() {
    for version in Version::ALL {
        for destination in KINDS {
            let server = server().await;
            let mut client = Client::connect_in(&server, version).await;
            client
                .consume(
                    "s",
                    destination,
                    "ack:client-individual\nprefetch-count:3\n",
                )
                .await;
            for body in ["1", "2", "3", "4", "5"] {
                publish_to(&server, destination, body).await;
            }
            let first = client.expect_bodies(["1", "2", "3"]).await;
            client.done(answer(version, "ACK", &first[1], "")).await;
            let fourth = client.expect_bodies(["4"]).await;
            client.hears_nothing().await;
            client.done(answer(version, "ACK", &first[2], "")).await;
            let fifth = client.expect_bodies(["5"]).await;
            for message in [&fourth[0], &first[0], &fifth[0]] {
                client.done(answer(version, "ACK", message, "")).await;
            }
            client.hears_nothing().await;
            if destination == "/queue/x" {
                assert_eq!(server.load("/queue/x"), (0, 0));
            }
        }
    }
}

#[tokio::test]
async fn a_nacked_message_of_a_queue_comes_again_in_its_old_place() {
    for version in [Version::V1_1, Version::V1_2] {
        let server = server().await;
        server.publish("/queue/x", ["1", "2", "3", "4"]).await;
        let mut client = Client::connect_in(&server, version).await;
        client
            .consume("s", "/queue/x", "ack:client-individual\nprefetch-count:2\n")
            .await;
        let first = client.expect_bodies(["1", "2"]).await;
        for count in ["1", "2"] {
            // What says nothing about it is as `requeue:true`.
            let headers = if count == "1" { "" } else { "requeue:true\n" };
            client
                .done(answer(version, "NACK", &first[0], headers))
                .await;
            // It stands before 3.
            let again = client.expect_bodies(["1"]).await;
            again[0]
                .has("redelivered", "true")
                .has("delivery-count", count)
                .has("message-id", first[0].headers.get("message-id"));
            // 1.2 names a delivery, 1.1 a message.
            if version == Version::V1_2 {
                assert_ne!(again[0].headers.get("ack"), first[0].headers.get("ack"));
                client.done(nack(&again[0])).await;
                let thrice = client.expect_bodies(["1"]).await;
                thrice[0].has("delivery-count", "2");
                client.done(ack(&thrice[0])).await;
                break;
            }
        }
        if version == Version::V1_1 {
            client.done(answer(version, "ACK", &first[0], "")).await;
        }
        let third = client.expect_bodies(["3"]).await;
        third[0].has("redelivered", None);
        client.done(answer(version, "ACK", &first[1], "")).await;
        client.expect_bodies(["4"]).await[0].has("redelivered", None);
        let counts = server.of("/queue/x").counts;
        assert_eq!((counts.acked, counts.redelivered), (2, 2));
    }
}

/// In the mode `client` a NACK is as cumulative as an ACK.
#[tokio::test]
async fn what_a_cumulative_nack_returns_keeps_its_order() {
    let server = server().await;
    server.publish("/queue/x", ["1", "2", "3", "4", "5"]).await;
    let mut client = Client::connect(&server).await;
    client
        .consume("s", "/queue/x", "ack:client\nprefetch-count:4\n")
        .await;
    let first = client.expect_bodies(["1", "2", "3", "4"]).await;
    client.done(nack(&first[2])).await;
    let again = client.expect_bodies(["1", "2", "3"]).await;
    for message in &again {
        message
            .has("redelivered", "true")
            .has("delivery-count", "1");
    }
    client.done(ack(&again[2])).await;
    client.expect_bodies(["5"]).await[0].has("redelivered", None);
    assert_eq!(server.load("/queue/x"), (0, 1));
}

/// Who has it back may be who gave it back, but not for ever.
#[tokio::test]
async fn a_nacked_message_goes_to_the_next_in_turn() {
    let server = server().await;
    let mut one = Client::connect(&server).await;
    one.consume("s", "/queue/x", "ack:client\nprefetch-count:1\n")
        .await;
    server.publish("/queue/x", ["m"]).await;
    let first = one.expect_bodies(["m"]).await;
    let mut other = Client::connect(&server).await;
    other.consume("s", "/queue/x", "ack:client\n").await;
    one.done(nack(&first[0])).await;
    let second = one.expect_bodies(["m"]).await;
    one.done(nack(&second[0])).await;
    let third = other.expect_bodies(["m"]).await;
    third[0]
        .has("redelivered", "true")
        .has("delivery-count", "2");
    one.hears_nothing().await;
}

#[tokio::test]
async fn nack_without_requeue_gives_a_message_up() {
    for version in [Version::V1_1, Version::V1_2] {
        let kept = QueueSettings::default().dead_letters("/queue/dead");
        let broker = broker().queue_settings("/queue/kept", kept).topic_settings(
            "/topic/kept",
            TopicSettings::default().dead_letters("/queue/dead"),
        );
        let server = Setup::open_to_all(broker).start().await;
        let mut grave = Client::connect(&server).await;
        grave.consume("d", "/queue/dead", "").await;
        let mut client = Client::connect_in(&server, version).await;
        // `False` as Python writes it.
        for (id, (destination, no)) in [
            ("/queue/kept", "false"),
            ("/topic/kept", "False"),
            ("/queue/lost", "FALSE"),
            ("/topic/lost", "false"),
        ]
        .into_iter()
        .enumerate()
        {
            client
                .consume(
                    &id.to_string(),
                    destination,
                    "ack:client-individual\nprefetch-count:1\n",
                )
                .await;
            publish_to(&server, destination, "bad").await;
            publish_to(&server, destination, "good").await;
            let bad = client.expect_message(destination, "bad").await;
            client
                .done(answer(version, "NACK", &bad, &format!("requeue:{no}\n")))
                .await;
            let good = client.expect_message(destination, "good").await;
            good.has("redelivered", None);
            client.done(answer(version, "ACK", &good, "")).await;
            let counts = server.of(destination).counts;
            assert_eq!(
                (counts.published, counts.acked, counts.redelivered),
                (2, 1, 0)
            );
            if destination.ends_with("lost") {
                assert_eq!((counts.dead_lettered, counts.discarded), (0, 1));
                continue;
            }
            assert_eq!((counts.dead_lettered, counts.discarded), (1, 0));
            let dead = grave.expect_message("/queue/dead", "bad").await;
            dead.has("dead-letter-reason", "rejected")
                .has("original-destination", destination)
                .has("original-delivery-count", "1")
                .has("content-type", "text/plain;charset=UTF-8")
                .has("redelivered", None);
        }
        client.hears_nothing().await;
    }
}

/// Nobody else shall have it, so there is no difference to `requeue:false`.
#[tokio::test]
async fn a_nack_on_a_topic_drops_the_message() {
    for destination in ["/topic/x", "/user/queue/x"] {
        let server = server().await;
        let mut client = Client::connect_as(&server, "anne").await;
        client
            .consume(
                "s",
                destination,
                "ack:client-individual\nprefetch-count:1\n",
            )
            .await;
        publish_to(&server, destination, "1").await;
        publish_to(&server, destination, "2").await;
        let first = client.expect_bodies(["1"]).await;
        client.done(nack(&first[0])).await;
        let second = client.expect_bodies(["2"]).await;
        second[0].has("redelivered", None);
        client.done(ack(&second[0])).await;
        client.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_topics_windows_are_each_subscribers_own() {
    let server = server().await;
    let mut narrow = Client::connect(&server).await;
    narrow
        .consume("s", "/topic/x", "ack:client\nprefetch-count:1\n")
        .await;
    let mut wide = Client::subscribed(&server, ["/topic/x"]).await;
    server.publish("/topic/x", ["1", "2", "3"]).await;
    wide.expect_bodies(["1", "2", "3"]).await;
    let mut next = narrow.expect_bodies(["1"]).await;
    for body in ["2", "3"] {
        narrow.hears_nothing().await;
        narrow.done(ack(&next[0])).await;
        next = narrow.expect_bodies([body]).await;
    }
    drop(narrow);
    server
        .counted("its window is gone", |stats| stats.vanished == 1)
        .await;
    assert_eq!(server.receivers("/topic/x").await, 1);
    wide.expect_bodies(["how many?"]).await[0].has("redelivered", None);
}

/// A subscription, what came to it, and a frame that is wrong about it.
type Wrong = (
    Version,
    fn(&Frame) -> String,
    &'static str,
    &'static str,
    fn(Stats) -> u64,
);

const NOT_ACKNOWLEDGED: &str = "not acknowledged";

#[tokio::test]
async fn wrong_acknowledgements_are_told_and_cost_no_message() {
    const OF_AUTO: &str = "ACK is for a subscription with ack:auto, whose messages are done once sent; send no ACK, or \
                           subscribe with ack:client or ack:client-individual";
    let wrong: [Wrong; 24] = [
        (
            Version::V1_2,
            |m| format!("{0}{0}", ack(m)),
            NOT_ACKNOWLEDGED,
            "1",
            rejected,
        ),
        (
            Version::V1_2,
            |m| format!("{}{}", nack(m), ack(m)),
            NOT_ACKNOWLEDGED,
            "1",
            rejected,
        ),
        (
            Version::V1_2,
            |_| "ACK\nreceipt:7\nid:0-99-$KEY\n\n\0".into(),
            NOT_ACKNOWLEDGED,
            "99",
            rejected,
        ),
        (
            Version::V1_2,
            |_| "NACK\nreceipt:7\nid:0-0-$KEY\n\n\0".into(),
            NOT_ACKNOWLEDGED,
            "0",
            rejected,
        ),
        (
            Version::V1_2,
            |_| "ACK\nreceipt:7\nid:abc\n\n\0".into(),
            "`abc` names no delivery; send the `ack` header of the MESSAGE, unchanged, as the header `id`",
            "",
            protocol_errors,
        ),
        (
            Version::V1_2,
            |_| "ACK\nreceipt:7\nid:9-1-$KEY\n\n\0".into(),
            "`9-1-$KEY` names a delivery of no live subscription; acknowledge messages before you unsubscribe, and in the \
             session that received them",
            "",
            protocol_errors,
        ),
        (
            Version::V1_2,
            |m| format!("UNSUBSCRIBE\nid:s\n\n\0{}", ack(m)),
            "`0-1-$KEY` names a delivery of no live subscription; acknowledge messages before you unsubscribe, and in the \
             session that received them",
            "",
            protocol_errors,
        ),
        (
            Version::V1_2,
            |_| "ACK\nreceipt:7\nid:1-1-$KEY\n\n\0".into(),
            OF_AUTO,
            "",
            protocol_errors,
        ),
        (
            Version::V1_2,
            |m| answer(Version::V1_1, "ACK", m, "receipt:7\n"),
            "ACK lacks the header `id`; add it, with the value of the MESSAGE's header `ack`",
            "",
            protocol_errors,
        ),
        (
            Version::V1_2,
            |m| answer(Version::V1_2, "NACK", m, "receipt:7\nrequeue:maybe\n"),
            NOT_ACKNOWLEDGED,
            "the header `requeue` is \"maybe\"; it must be true or false",
            rejected,
        ),
        (
            Version::V1_2,
            |m| answer(Version::V1_2, "NACK", m, "requeue:\n"),
            NOT_ACKNOWLEDGED,
            "the header `requeue` is \"\"; it must be true or false",
            rejected,
        ),
        (
            Version::V1_1,
            |m| answer(Version::V1_1, "NACK", m, "requeue:0\n"),
            NOT_ACKNOWLEDGED,
            "the header `requeue` is \"0\"; it must be true or false",
            rejected,
        ),
        (
            Version::V1_1,
            |_| "ACK\nreceipt:7\nid:0-1\n\n\0".into(),
            "ACK lacks the header `message-id`; add it, as it stands in the MESSAGE",
            "",
            protocol_errors,
        ),
        (
            Version::V1_1,
            |m| answer(Version::V1_0, "NACK", m, "receipt:7\n"),
            "NACK lacks the header `subscription`; add it, as it stands in the MESSAGE",
            "",
            protocol_errors,
        ),
        (
            Version::V1_1,
            |_| "ACK\nreceipt:7\nsubscription:nope\nmessage-id:1\n\n\0".into(),
            "no subscription has the id `nope`; send the id that was given to SUBSCRIBE, and nothing about it after \
             UNSUBSCRIBE",
            "",
            protocol_errors,
        ),
        (
            Version::V1_1,
            |m| {
                format!(
                    "UNSUBSCRIBE\nid:s\n\n\0{}",
                    answer(Version::V1_1, "ACK", m, "")
                )
            },
            "no subscription has the id `s`; send the id that was given to SUBSCRIBE, and nothing about it after \
             UNSUBSCRIBE",
            "",
            protocol_errors,
        ),
        (
            Version::V1_1,
            |_| "ACK\nreceipt:7\nsubscription:auto\nmessage-id:1\n\n\0".into(),
            OF_AUTO,
            "",
            protocol_errors,
        ),
        (
            Version::V1_1,
            |_| "ACK\nreceipt:7\nsubscription:s\nmessage-id:x-1\n\n\0".into(),
            NOT_ACKNOWLEDGED,
            "x-1",
            rejected,
        ),
        (
            Version::V1_1,
            |_| "NACK\nreceipt:7\nsubscription:s\nmessage-id:x-1\n\n\0".into(),
            NOT_ACKNOWLEDGED,
            "x-1",
            rejected,
        ),
        (
            Version::V1_0,
            |m| answer(Version::V1_0, "NACK", m, "receipt:7\n"),
            "STOMP 1.0 has no NACK; connect with accept-version:1.1 or 1.2, or leave the message without an ACK",
            "",
            protocol_errors,
        ),
        (
            Version::V1_0,
            |_| "ACK\nreceipt:7\nid:0-1\n\n\0".into(),
            "ACK lacks the header `message-id`; add it, as it stands in the MESSAGE",
            "",
            protocol_errors,
        ),
        (
            Version::V1_0,
            |_| "ACK\nreceipt:7\nmessage-id:x-1\n\n\0".into(),
            NOT_ACKNOWLEDGED,
            "x-1",
            rejected,
        ),
        (
            Version::V1_0,
            |_| "ACK\nreceipt:7\nsubscription:auto\nmessage-id:x-1\n\n\0".into(),
            OF_AUTO,
            "",
            protocol_errors,
        ),
        (
            Version::V1_0,
            |_| "ACK\nreceipt:7\nsubscription:t\nmessage-id:x-1\n\n\0".into(),
            "no subscription has the id `t`; send the id that was given to SUBSCRIBE, and nothing about it after \
             UNSUBSCRIBE",
            "",
            protocol_errors,
        ),
    ];
    for (version, frame, message, body, counter) in wrong {
        let server = server().await;
        let mut client = Client::connect_in(&server, version).await;
        let headers = "ack:client-individual\nprefetch-count:1\n";
        client.consume("s", "/queue/x", headers).await;
        client.consume("auto", "/queue/auto", "").await;
        server.publish("/queue/x", ["m", "n"]).await;
        let delivered = client.expect_bodies(["m"]).await;
        let frame = frame(&delivered[0]);
        let unknown = unknown_delivery(body);
        let names_delivery = message == NOT_ACKNOWLEDGED && !body.starts_with("the header");
        let body = if names_delivery { &unknown } else { body };
        server
            .refuses(&mut client, &frame, (message, body), counter)
            .await;
        // In front of the frame that is wrong, one was right.
        let acked = frame.starts_with("ACK\nid:0-1-");
        let load = (2 - usize::from(acked), 0);
        server.loaded("/queue/x", load).await;
    }
}

#[tokio::test]
async fn a_session_settles_its_own_deliveries_only() {
    for version in Version::ALL {
        let server = server().await;
        let mut owner = Client::connect_in(&server, version).await;
        owner
            .consume("s", "/queue/x", "ack:client-individual\n")
            .await;
        server.publish("/queue/x", ["1", "2"]).await;
        let owned = owner.expect_bodies(["1", "2"]).await;
        let mut thief = Client::connect_in(&server, version).await;
        thief
            .consume("s", "/queue/x", "ack:client-individual\n")
            .await;
        let frame = answer(version, "ACK", &owned[1], "receipt:7\n");
        refuses_foreign(&server, &mut thief, &frame, &owned[1]).await;
        assert_eq!(server.load("/queue/x"), (0, 2));
        for message in &owned {
            owner.done(answer(version, "ACK", message, "")).await;
        }
        assert_eq!(server.load("/queue/x"), (0, 0));
    }
}

/// A worker that reconnects and acknowledges what it received before: the message that it received meanwhile has the same
/// place in its session, and must stay.
#[tokio::test]
async fn an_acknowledgement_of_an_earlier_session_settles_nothing() {
    for version in Version::ALL {
        for (command, mode) in [
            ("ACK", "client"),
            ("ACK", "client-individual"),
            ("NACK", "client"),
        ] {
            if (version, command) == (Version::V1_0, "NACK") {
                continue;
            }
            let server = server().await;
            let headers = &format!("ack:{mode}\n");
            let mut earlier = Client::connect_in(&server, version).await;
            earlier.consume("s", "/queue/x", headers).await;
            server.publish("/queue/x", ["m1"]).await;
            let m1 = earlier.expect_bodies(["m1"]).await;
            drop(earlier);
            server.loaded("/queue/x", (1, 0)).await;
            // Somebody else does the work.
            let mut other = Client::connect_in(&server, version).await;
            other.consume("s", "/queue/x", headers).await;
            let again = other.expect_bodies(["m1"]).await;
            other.done(answer(version, "ACK", &again[0], "")).await;
            other.done("UNSUBSCRIBE\nid:s\n\n\0").await;

            let mut later = Client::connect_in(&server, version).await;
            later.consume("s", "/queue/x", headers).await;
            server.publish("/queue/x", ["m2"]).await;
            later.expect_bodies(["m2"]).await;
            let frame = answer(version, command, &m1[0], "receipt:7\n");
            refuses_foreign(&server, &mut later, &frame, &m1[0]).await;
            server.loaded("/queue/x", (1, 0)).await;
            other.consume("s", "/queue/x", headers).await;
            other.expect_bodies(["m2"]).await;
        }
    }
}

/// Has `client` say `frame`, an ACK or NACK of a message of another session, which must end its session.
async fn refuses_foreign(server: &Server, client: &mut Client, frame: &str, message: &Frame) {
    let Some(token) = message.headers.get("ack") else {
        let id = message.headers.get("message-id").unwrap();
        let expected = (NOT_ACKNOWLEDGED, &*unknown_delivery(id));
        return server.refuses(client, frame, expected, rejected).await;
    };
    let error = format!(
        "`{token}` names no delivery of this session; acknowledge messages in the session that received them: what an \
         earlier one left is delivered again"
    );
    server
        .refuses(client, frame, (&error, ""), protocol_errors)
        .await;
}

/// 1.0 leaves the subscription out, where it is whichever has the message.
#[tokio::test]
async fn a_1_0_client_acknowledges_by_message_id_alone_or_with_its_subscription() {
    let server = server().await;
    let mut client = Client::connect_in(&server, Version::V1_0).await;
    client.consume("a", "/queue/a", "ack:client\n").await;
    client.consume("b", "/queue/b", "ack:client\n").await;
    server.publish("/queue/a", ["1"]).await;
    let a = client.expect_bodies(["1"]).await;
    server.publish("/queue/b", ["2"]).await;
    let b = client.expect_bodies(["2"]).await;
    client.done(answer(Version::V1_0, "ACK", &b[0], "")).await;
    assert_eq!(
        (server.load("/queue/a"), server.load("/queue/b")),
        ((0, 1), (0, 0))
    );
    client.done(answer(Version::V1_1, "ACK", &a[0], "")).await;
    assert_eq!(server.load("/queue/a"), (0, 0));
}

#[tokio::test]
async fn an_unknown_ack_mode_is_refused() {
    let server = server().await;
    for mode in ["none", "Client", "client_individual", ""] {
        let mut client = Client::connect(&server).await;
        let message =
            format!("`{mode}` is not an ack mode; send auto, client or client-individual");
        let frame = format!("SUBSCRIBE\nreceipt:7\nid:0\ndestination:/queue/x\nack:{mode}\n\n\0");
        server
            .refuses(&mut client, &frame, (&message, ""), protocol_errors)
            .await;
    }
}
