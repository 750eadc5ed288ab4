//! History: clients that come back receive what they missed, on every transport.

use std::sync::Arc;

use tokio::task::JoinSet;
use tramline::EmbeddedBroker;
use tramline::broker::{History, Position};
use tramline_stomp::{Frame, Version};

use crate::support::{Client, ERRORS, FrameExt, Server, Setup, Tcp, broker, rejected};

fn keeping(history: History) -> EmbeddedBroker {
    broker().history("/topic/kept/**", history)
}

async fn server() -> Server {
    Setup::open_to_all(keeping(History::messages(100)))
        .start()
        .await
}

fn subscribe(destination: &str, headers: &str) -> String {
    format!("SUBSCRIBE\nid:s\nreceipt:r\ndestination:{destination}\n{headers}\n\0")
}

fn position(frame: &Frame) -> Position {
    let position = frame.headers.get("position");
    position.expect("it has a position").parse().unwrap()
}

/// The headers of the RECEIPT about the start of a subscription.
fn start(receipt: &Frame) -> [Option<&str>; 2] {
    ["recovered", "gap"].map(|name| receipt.headers.get(name))
}

#[tokio::test]
async fn who_comes_back_misses_nothing_in_any_version() {
    let server = server().await;
    for version in Version::ALL {
        let destination = format!("/topic/kept/{version:?}");
        let mut client = Client::connect_in(&server, version).await;
        client.send(&subscribe(&destination, "")).await;
        let receipt = client.expect("RECEIPT").await;
        let first = position(&receipt);
        assert_eq!((first.sequence, start(&receipt)), (0, [None, None]));
        client.post(&destination, "1").await;
        let message = client.expect_message(&destination, "1").await;
        let seen = position(&message);
        drop(client);

        let mut publisher = Client::connect(&server).await;
        for body in ["2", "3"] {
            publisher
                .done(format!(
                    "SEND\ndestination:{destination}\nposition:forged\n\n{body}\0"
                ))
                .await;
        }
        let mut client = Client::connect_in(&server, version).await;
        let resume = format!("resume-from:{seen}\n");
        client.send(&subscribe(&destination, &resume)).await;
        let receipt = client.expect("RECEIPT").await;
        assert_eq!(start(&receipt), [Some("2"), None]);
        publisher.post(&destination, "4").await;
        for (message, sequence) in client.expect_bodies(["2", "3", "4"]).await.iter().zip(2..) {
            assert_eq!(position(message).sequence, sequence);
        }
    }
}

#[tokio::test]
async fn a_gap_is_told_in_the_receipt_or_in_a_notice() {
    let server = Setup::open_to_all(keeping(History::messages(2)))
        .start()
        .await;
    server.publish("/topic/kept/a", ["1", "2", "3", "4"]).await;
    let past = server.messaging().publisher();
    let past = past.history("/topic/kept/a", None, 10).await.unwrap();
    let epoch = past.position.epoch;
    assert_eq!((past.messages.len(), past.position.sequence), (2, 4));

    let mut client = Client::connect(&server).await;
    let resume = format!("resume-from:{epoch}-1\n");
    client.send(&subscribe("/topic/kept/a", &resume)).await;
    let receipt = client.expect("RECEIPT").await;
    let gap = format!("{epoch}-1..{epoch}-2");
    assert_eq!(start(&receipt), [Some("2"), Some(&*gap)]);
    client.expect_bodies(["3", "4"]).await;

    let mut silent = Client::subscribed(&server, [ERRORS]).await;
    let frame = subscribe("/topic/kept/a", &resume).replace("receipt:r\n", "");
    silent.send(&frame).await;
    silent.expect_bodies(["3", "4"]).await;
    let notice = silent.expect_rejection("messages-missed").await;
    let expected = serde_json::json!({
        "id": "s", "after": format!("{epoch}-1"), "up-to": format!("{epoch}-2"),
    });
    assert_eq!(notice["details"], expected);
    assert_eq!(server.stats().messages_missed, 1);
}

#[tokio::test]
async fn a_pattern_resumes_by_the_names_of_its_destinations() {
    let server = server().await;
    let mut client = Client::connect(&server).await;
    client.send(&subscribe("/topic/kept/*", "")).await;
    let receipt = client.expect("RECEIPT").await;
    let others = receipt.headers.get("position").unwrap().to_owned();
    assert!(others.starts_with("*="), "{others}");
    let odd = "/topic/kept/a=b&c%";
    server.publish(odd, ["1"]).await;
    let seen = position(&client.expect_message(odd, "1").await);
    drop(client);
    server.publish(odd, ["2"]).await;
    server.publish("/topic/kept/new", ["3"]).await;

    let mut client = Client::connect(&server).await;
    let resume = format!("resume-from:%2Ftopic/kept/a%3Db%26c%25={seen}&{others}\n");
    client.send(&subscribe("/topic/kept/*", &resume)).await;
    let receipt = client.expect("RECEIPT").await;
    assert_eq!(start(&receipt), [Some("2"), None]);
    let mut bodies = [
        client.expect("MESSAGE").await,
        client.expect("MESSAGE").await,
    ];
    bodies.sort_by_key(|frame| frame.text().to_owned());
    bodies[0].has("destination", odd);
    bodies[1].has("destination", "/topic/kept/new");

    let mut client = Client::connect(&server).await;
    let foreign = "resume-from:/topic/kept/a%3Db%26c%25=7-7&*=7-9\n";
    client.send(&subscribe("/topic/kept/*", foreign)).await;
    let receipt = client.expect("RECEIPT").await;
    let epoch = seen.epoch;
    let [recovered, gap] = start(&receipt);
    assert_eq!(recovered, Some("3"));
    let mut gaps = gap.unwrap().split('&');
    let expected = format!("/topic/kept/a%3Db%26c%25=7-7..{epoch}-0");
    assert_eq!(gaps.next(), Some(&*expected));
    assert!(gaps.next().unwrap().starts_with("/topic/kept/new=7-9.."));
}

#[tokio::test]
async fn the_last_value_comes_first() {
    let history = History::latest("symbol");
    let server = Setup::open_to_all(keeping(history)).start().await;
    let mut publisher = Client::connect(&server).await;
    for (symbol, price) in [("A", "1"), ("B", "2"), ("A", "3")] {
        let frame = format!("SEND\ndestination:/topic/kept/prices\nsymbol:{symbol}\n\n{price}\0");
        publisher.done(frame).await;
    }
    let mut client = Client::connect(&server).await;
    client
        .send(&subscribe("/topic/kept/prices", "retained:true\n"))
        .await;
    let receipt = client.expect("RECEIPT").await;
    assert_eq!(start(&receipt), [Some("2"), None]);
    publisher
        .post_with("/topic/kept/prices", "symbol:B\n", "4")
        .await;
    client.expect_bodies(["2", "3", "4"]).await;
}

#[tokio::test]
async fn over_tcp_too_and_with_a_selector() {
    let server = server().await;
    let mut publisher = Client::connect(&server).await;
    for n in 0..10 {
        let frame = format!("SEND\ndestination:/topic/kept/a\nn:{n}\n\n{n}\0");
        publisher.done(frame).await;
    }
    let mut tcp = Tcp::connect(&server).await;
    let headers = "resume-from:0-0\nselector:n > 3 AND n NOT IN ('5', '6')\n";
    tcp.send(subscribe("/topic/kept/a", headers)).await;
    tcp.expect("RECEIPT").await.has("recovered", None);
    for body in ["4", "7", "8", "9"] {
        tcp.expect_message("/topic/kept/a", body).await;
    }
    publisher.post_with("/topic/kept/a", "n:3\n", "no").await;
    publisher.post_with("/topic/kept/a", "n:10\n", "10").await;
    tcp.expect_message("/topic/kept/a", "10").await;
}

#[tokio::test]
async fn bad_positions_and_selectors_are_refused_by_name() {
    let server = server().await;
    server.publish("/topic/kept/a", ["1"]).await;
    let form = |value| {
        format!(
            "the header `resume-from` is \"{value}\"; it must be EPOCH-SEQUENCE, two numbers, or for a pattern \
             DESTINATION=EPOCH-SEQUENCE, joined by `&`, with `%`, `&` and `=` in names percent-encoded"
        )
    };
    let past = server.messaging().publisher();
    let last = past
        .history("/topic/kept/a", None, 1)
        .await
        .unwrap()
        .position;
    let ahead = format!("resume-from:{}-2\n", last.epoch);
    let ahead_error = format!(
        "the position {}-2 of \"/topic/kept/a\" is ahead of its last message, {last}; resume from one that the server gave",
        last.epoch
    );
    let both = "resume-from:0-0\nretained:true\n";
    for (destination, headers, body) in [
        ("/topic/kept/a", "resume-from:last\n", form("last")),
        ("/topic/kept/a", "resume-from:1-+2\n", form("1-+2")),
        ("/topic/kept/*", "resume-from:/topic/kept/%zz=1-2\n", form("/topic/kept/%zz=1-2")),
        ("/topic/kept/*", "resume-from:/topic/kept/%+1=1-2\n", form("/topic/kept/%+1=1-2")),
        ("/topic/kept/*", "resume-from:a=1-2&\n", form("a=1-2&")),
        ("/topic/kept/a", &ahead, ahead_error),
        (
            "/topic/kept/a",
            both,
            "`resume-from` asks for what follows a position, and `retained` for the last value; use one of them".into(),
        ),
        (
            "/topic/kept/*",
            "resume-from:0-0\n",
            "a pattern resumes from the positions of its destinations: `resume-from` must be DESTINATION=EPOCH-SEQUENCE, \
             joined by `&`"
                .into(),
        ),
        (
            "/topic/kept/a",
            "selector:n >\n",
            "the header `selector` is invalid: at character 4: a name or a value is missing at the end".into(),
        ),
    ] {
        let mut client = Client::connect(&server).await;
        let frame = subscribe(destination, headers).replace("receipt:r", "receipt:7");
        let expected = ("subscription refused", &*body);
        server.refuses(&mut client, &frame, expected, rejected).await;
    }
}

/// More than the outbox holds: it goes by the pace of the reader, and closes nobody.
#[tokio::test]
async fn a_replay_that_is_larger_than_the_outbox_closes_nobody() {
    let server = Setup::open_to_all(keeping(History::messages(10_000)))
        .limits(|limits| limits.outbox = 16 * 1024)
        .start()
        .await;
    let publisher = server.messaging().publisher();
    for n in 0..2_000 {
        let body = format!("{n:0>200}");
        publisher.send("/topic/kept/a", body).await.unwrap();
    }
    let mut client = Client::connect(&server).await;
    client
        .send(&subscribe("/topic/kept/a", "resume-from:0-0\n"))
        .await;
    client.expect("RECEIPT").await.has("recovered", "2000");
    for n in 0..2_000 {
        if n % 100 == 0 {
            let live = format!("{:0>200}", 2_000 + n / 100);
            publisher.send("/topic/kept/a", live).await.unwrap();
        }
        let message = client.expect("MESSAGE").await;
        assert_eq!(message.text().parse(), Ok(n));
    }
    for n in 2_000..2_020 {
        let message = client.expect("MESSAGE").await;
        assert_eq!(message.text().trim_start_matches('0'), n.to_string());
    }
}

/// Clients that are cut again and again, each at another place, receive everything once and in order.
#[tokio::test]
async fn jitter_loses_nothing() {
    jitter(8, 6, 5).await;
}

/// The same with many clients, for `cargo xtask soak`.
#[tokio::test]
#[ignore = "takes long"]
async fn much_jitter_loses_nothing() {
    jitter(200, 100, 20).await;
}

/// Each of `clients` is cut after every few messages, of `rounds` times `burst` in all.
async fn jitter(clients: usize, rounds: usize, burst: usize) {
    let server = Setup::open_to_all(keeping(History::messages(100_000)))
        .start()
        .await;
    let publisher = server.messaging().publisher();
    let all = rounds * burst;
    let server = Arc::new(server);
    let clients = (0..clients).map(|number| (number, Arc::clone(&server)));
    let clients: JoinSet<()> = clients
        .map(|(number, server)| async move {
            let (mut seen, mut position) = (0, Position::START);
            while seen < all {
                let mut client = Client::connect(&server).await;
                let resume = format!("resume-from:{position}\n");
                client.send(&subscribe("/topic/kept/jitter", &resume)).await;
                client.expect("RECEIPT").await.has("gap", None);
                for _ in 0..(1 + (seen + number) % 7).min(all - seen) {
                    let message = client.expect("MESSAGE").await;
                    assert_eq!(message.text(), seen.to_string(), "client {number}");
                    position = self::position(&message);
                    seen += 1;
                }
                // What was on its way to it is lost with the connection.
                client.reset();
            }
        })
        .collect();
    for n in 0..all {
        publisher
            .send("/topic/kept/jitter", n.to_string())
            .await
            .unwrap();
        if n % burst == 0 {
            tokio::task::yield_now().await;
        }
    }
    clients.join_all().await;
}
