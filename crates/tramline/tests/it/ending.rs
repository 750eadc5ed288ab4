//! How sessions end that nobody ended properly.

use std::time::Duration;

use crate::support::{Client, DEADLINE, FrameExt, Request, SHORT, Server, Setup, eventually};

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let server = Server::start().await;
    let client = Client::subscribed(&server, ["/topic/x", "/user/queue/x"]).await;
    assert_eq!(server.receivers("/topic/x").await, 1);
    assert_eq!(server.stats().sessions_open, 1);
    drop(client);
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    assert_eq!(server.receivers("/topic/x").await, 0);
    let stats = server.stats();
    assert_eq!((stats.protocol_errors, stats.timeouts), (0, 0));
    server.serves().await;
}

#[tokio::test]
async fn a_connection_that_is_reset_has_vanished() {
    let server = Server::start().await;
    let client = Client::subscribed(&server, ["/topic/x"]).await;
    client.reset();
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    assert_eq!(server.receivers("/topic/x").await, 0);
    server.serves().await;
}

#[tokio::test]
async fn a_client_may_vanish_in_the_middle_of_anything() {
    let server = Server::start().await;
    for (number, bytes) in [
        &b"\x81"[..],
        b"\x81\xfe\x01\x00\0\0\0\0SEND\ndestination:/app/hello\n\nhalf",
        b"\x01\x84\0\0\0\0SEND",
    ]
    .iter()
    .enumerate()
    {
        let mut client = Client::connect(&server).await;
        client.send_raw(bytes).await;
        drop(client);
        server
            .counted("it is missed", |stats| {
                stats.vanished == number as u64 + 1 && stats.sessions_open == 0
            })
            .await;
    }
    // Before its CONNECT as well.
    drop(Client::open(&server).await);
    server
        .counted("it is missed", |stats| {
            stats.vanished == 4 && stats.sessions_open == 0
        })
        .await;
    server.serves().await;
}

#[tokio::test]
async fn a_client_may_vanish_while_its_handler_runs() {
    let server = Server::start().await;
    let mut witness = Client::subscribed(&server, ["/topic/slow"]).await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    client.send("SEND\ndestination:/app/slow\n\nx\0").await;
    server.gate.started(1).await;
    drop(client);
    // It subscribes to nothing any more, while what it sent is still handled.
    let gone = async {
        while server.receivers("/topic/x").await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone)
        .await
        .expect("its subscription ends");
    server.gate.release();
    witness.expect("MESSAGE").await;
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 1
        })
        .await;
    server.serves().await;
}

#[tokio::test]
async fn a_client_that_never_connects_is_4500() {
    let server = Setup::new()
        .limits(|limits| limits.connect_time = SHORT)
        .start()
        .await;
    let mut silent = Client::open(&server).await;
    let mut beating = Client::open(&server).await;
    beating.send("\n").await;
    let mut half = Client::open(&server).await;
    half.send("CONNECT\naccept-version:1.2\n").await;
    for client in [&mut silent, &mut beating, &mut half] {
        client
            .expect_close(4500, "no CONNECT frame came in time")
            .await;
    }
    assert_eq!(server.stats().timeouts, 3);
    server.serves().await;
}

#[tokio::test]
async fn a_connected_client_may_be_silent_where_no_heart_beats_are_agreed() {
    let server = Setup::new()
        .limits(|limits| {
            limits.connect_time = SHORT;
            limits.heart_beat.receive = 100;
            limits.heart_beat.send = 100;
        })
        .start()
        .await;
    let mut quiet = Client::subscribed(&server, ["/topic/x"]).await;
    let mut clock = Client::open(&server).await;
    clock
        .send("CONNECT\naccept-version:1.2\nheart-beat:0,100\n\n\0")
        .await;
    clock.expect("CONNECTED").await.has("heart-beat", "100,100");
    let start = std::time::Instant::now();
    while start.elapsed() < 2 * SHORT {
        clock.expect_heart_beat().await;
    }
    assert_eq!(server.receivers("/topic/x").await, 1);
    quiet.expect_message("/topic/x", "how many?").await;
    assert_eq!(server.stats().timeouts, 0);
}

#[tokio::test]
async fn a_client_whose_heart_beats_fail_hears_why() {
    let server = Setup::new()
        .limits(|limits| {
            limits.heart_beat_silence = Duration::ZERO;
            limits.heart_beat.send = 100;
            limits.heart_beat.receive = 100;
        })
        .start()
        .await;
    let mut client = Client::open(&server).await;
    client
        .send("CONNECT\naccept-version:1.2\nheart-beat:100,0\n\n\0")
        .await;
    client.expect("CONNECTED").await;
    client.subscribe("0", "/topic/x").await;
    let error = client.expect("ERROR").await;
    let message = error.headers.get("message").unwrap();
    let (before, after) = (
        "nothing was received for ",
        "longer than the agreed heart-beat allows",
    );
    assert!(
        message.starts_with(before) && message.contains(after),
        "{message}"
    );
    client
        .expect_close(1002, &crate::support::cut(message))
        .await;
    server
        .counted("the session is gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.stats().timeouts, 1);
    assert_eq!(server.receivers("/topic/x").await, 0);
    server.serves().await;
}

#[tokio::test]
async fn a_client_whose_heart_beats_come_stays() {
    let server = Setup::new()
        .limits(|limits| {
            limits.heart_beat_silence = Duration::ZERO;
            limits.heart_beat.send = 100;
            limits.heart_beat.receive = 100;
        })
        .start()
        .await;
    let mut client = Client::open(&server).await;
    client
        .send("CONNECT\naccept-version:1.2\nheart-beat:100,100\n\n\0")
        .await;
    client.expect("CONNECTED").await;
    let start = std::time::Instant::now();
    while start.elapsed() < 3 * SHORT {
        client.expect_heart_beat().await;
        client.send("\n").await;
    }
    client.subscribe("0", "/topic/x").await;
    assert_eq!(server.stats().timeouts, 0);
}

#[tokio::test]
async fn a_client_that_never_reads_is_4500_and_others_do_not_notice() {
    let server = Setup::new()
        .limits(|limits| limits.outbox = 256 * 1024)
        .start()
        .await;
    let mut slow = Request::upgrade("/ws")
        .receive_buffer(4096)
        .open(&server)
        .await;
    slow.send("CONNECT\naccept-version:1.2\n\n\0").await;
    slow.expect("CONNECTED").await;
    slow.subscribe("0", "/topic/x").await;
    let mut quick = Client::subscribed(&server, ["/topic/x"]).await;
    let publisher = server.messaging().publisher();
    let body = "x".repeat(60_000);
    let mut sent = 0;
    while server.stats().slow_consumers == 0 {
        publisher.send("/topic/x", body.clone()).await.unwrap();
        quick.expect_message("/topic/x", &body).await;
        sent += 1;
        assert!(sent < 1000, "the outbox has no end");
    }
    assert_eq!(server.receivers("/topic/x").await, 1);
    quick.expect_message("/topic/x", "how many?").await;
    server.serves().await;
    // Late, but still: it reads what was written, and then why no more comes.
    let mut got = 0;
    let close = loop {
        match slow.expect_message_or_close().await {
            Ok(message) => {
                assert_eq!(message.text(), body);
                got += 1;
            }
            Err(close) => break close,
        }
    };
    assert!(got < sent, "{got} of {sent}");
    assert_eq!(close.0, 4500);
    let reason = close.1;
    assert!(
        reason.starts_with("the client reads too slowly: "),
        "{reason}"
    );
    assert!(reason.contains("262144 may (`Limits::outbox`)"), "{reason}");
    assert_eq!(server.stats().slow_consumers, 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_too_long_is_4500() {
    let server = Setup::new()
        .limits(|limits| {
            limits.outbox = usize::MAX;
            limits.send_time = SHORT;
        })
        .start()
        .await;
    let mut slow = Request::upgrade("/ws")
        .receive_buffer(4096)
        .open(&server)
        .await;
    slow.send("CONNECT\naccept-version:1.2\n\n\0").await;
    slow.expect("CONNECTED").await;
    slow.subscribe("0", "/topic/x").await;
    let publisher = server.messaging().publisher();
    for _ in 0..400 {
        publisher
            .send("/topic/x", "x".repeat(60_000))
            .await
            .unwrap();
    }
    server
        .counted("it is given up", |stats| stats.slow_consumers == 1)
        .await;
    assert_eq!(server.receivers("/topic/x").await, 0);
    server.serves().await;
    let close = loop {
        if let Err(close) = slow.expect_message_or_close().await {
            break close;
        }
    };
    assert_eq!(
        close,
        (
            4500,
            "nothing could be written for 300ms (`Limits::send_time`)".into()
        )
    );
}

/// What the server owes besides deliveries is bounded too: who does not read is not read.
#[tokio::test]
async fn a_client_that_asks_for_receipts_and_never_reads_is_not_served_for_ever() {
    let server = Server::start().await;
    let mut client = Request::upgrade("/ws")
        .receive_buffer(4096)
        .open(&server)
        .await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    client.expect("CONNECTED").await;
    let frame = format!(
        "SEND\ndestination:/topic/open/x\nreceipt:{}\n\n\0",
        "r".repeat(8000)
    );
    let most = 32 * 1024 * 1024;
    let taken = client.flood(&frame, most, SHORT).await;
    assert!(
        taken < most,
        "the server took all of {taken} bytes and keeps the receipts"
    );
    server.serves().await;
}

/// The goodbye has its five seconds, whatever timer was set before it.
#[tokio::test]
async fn a_client_that_never_says_goodbye_is_not_waited_for_for_ever() {
    let server = Setup::new()
        .limits(|limits| limits.heart_beat.send = 1000)
        .start()
        .await;
    let mut client = Client::open(&server).await;
    client
        .send("CONNECT\naccept-version:1.2\nheart-beat:0,1000\n\n\0")
        .await;
    client.expect("CONNECTED").await;
    client.send("SEND\ndestination:/forbidden\n\nx\0").await;
    // It neither answers the close nor ends its stream.
    server
        .counted("it is let go", |stats| stats.sessions_open == 0)
        .await;
    drop(client);
}

/// What was sent before leaving is handled; a SUBSCRIBE among it leads to nothing.
#[tokio::test]
async fn a_subscribe_among_the_last_words_costs_nothing() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send("SEND\ndestination:/app/slow\n\na\0").await;
    server.gate.started(1).await;
    client
        .send("SUBSCRIBE\nid:0\ndestination:/topic/x\n\n\0")
        .await;
    client
        .send("SEND\ndestination:/app/log\n\nlast words\0")
        .await;
    client.close(1000, "").await;
    server.gate.release();
    let gate = server.gate.clone();
    eventually("the last words", move || {
        gate.log() == ["slow a", "last words"]
    })
    .await;
    assert_eq!(server.stats().rejected, 0);
}
