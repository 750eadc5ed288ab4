//! How sessions over plain HTTP requests end, and how they stay.

use super::*;

#[tokio::test]
async fn errors_end_a_polling_session_with_a_close_frame_that_can_be_asked_for_again() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    session.say("HELLO\n\n\0").await;
    let text = "`HELLO` is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a line of its own";
    assert_eq!(
        session.frames().await,
        format!(
            r#"a["ERROR\nmessage:{text}\ncontent-type:text/plain\ncontent-length:{}\n\n{text}\u0000"]"#,
            text.len()
        )
    );
    for _ in 0..2 {
        assert_eq!(session.frames().await, format!(r#"c[1002,"{text}"]"#));
    }
    // What comes late is counted, but no error: the close frame has told the reason.
    session.send("[\"x\"]").await.is(204, "");
    assert_eq!(server.stats().requests_refused, 1);
    assert_eq!(server.stats().protocol_errors, 1);
    server.serves().await;
}

#[tokio::test]
async fn a_closed_session_is_forgotten_and_its_name_is_free_again() {
    let server = Setup::new()
        .sockjs(|options| options.disconnect_delay(SHORT).remember_time(SHORT))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    session.say("DISCONNECT\n\n\0").await;
    assert_eq!(session.frames().await, r#"c[1000,""]"#);
    let reborn = async {
        loop {
            let answer = session.poll().await;
            if answer.body == "o\n" {
                return;
            }
            answer.is(200, "c[1000,\"\"]\n");
        }
    };
    within(
        std::panic::Location::caller(),
        "a fresh session",
        String::new,
        reborn,
    )
    .await;
    assert_eq!(server.stats().sessions_total, 2);
}

#[tokio::test]
async fn a_session_that_nobody_polls_has_vanished() {
    let server = Setup::new()
        .sockjs(|options| options.disconnect_delay(SHORT))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    assert_eq!(server.receivers("/topic/x").await, 1);
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    assert_eq!(server.receivers("/topic/x").await, 0);
    server.serves().await;
}

/// Only a receiving request keeps a session alive.
#[tokio::test]
async fn a_session_that_only_sends_has_vanished() {
    let server = Setup::new()
        .sockjs(|options| options.disconnect_delay(SHORT))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    let sends = async {
        while server.stats().vanished == 0 {
            let answer = session.send(r#"["\n"]"#).await;
            assert!(matches!(answer.status, 204 | 404), "{answer:?}");
        }
    };
    let at = std::panic::Location::caller();
    within(at, "the end", String::new, sends).await;
    server
        .counted("it is over", |stats| stats.sessions_open == 0)
        .await;
}

/// A response that the client cut off is followed by another poll, or by nothing.
#[tokio::test]
async fn a_cut_off_stream_is_missed_after_the_disconnect_delay() {
    let server = Setup::new()
        .sockjs(|options| options.disconnect_delay(SHORT))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    let mut stream = session
        .request("POST", "xhr_streaming")
        .begin(&server)
        .await;
    assert_eq!(stream.chunk().await.unwrap().len(), PRELUDE_AND + 1);
    drop(stream);
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    server.serves().await;
}

#[tokio::test]
async fn a_polling_client_that_never_connects_is_4500() {
    let server = Setup::new()
        .limits(|limits| limits.connect_time = SHORT)
        .start()
        .await;
    let session = Polling::open(&server, "abc").await;
    assert_eq!(
        session.frames().await,
        r#"c[4500,"no CONNECT frame came in time"]"#
    );
    assert_eq!(server.stats().timeouts, 1);
    server.serves().await;
}

#[tokio::test]
async fn quiet_receivers_get_heart_beat_frames() {
    let server = Setup::new()
        .sockjs(|options| options.heartbeat(Duration::from_millis(100)))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    let start = std::time::Instant::now();
    session.poll().await.is(200, "h\n");
    assert!(start.elapsed() < 5 * SHORT, "{:?}", start.elapsed());
    let mut stream = session
        .request("POST", "xhr_streaming")
        .begin(&server)
        .await;
    stream.chunk().await.unwrap();
    for _ in 0..2 {
        assert_eq!(stream.chunk().await.unwrap(), "h\n");
    }
}

/// Two clocks would only wake phones twice.
#[tokio::test]
async fn sockjs_heart_beats_stop_where_stomp_has_its_own() {
    let server = Setup::new()
        .limits(|limits| limits.heart_beat.send = 500)
        .sockjs(|options| options.heartbeat(Duration::from_millis(200)))
        .start()
        .await;
    let session = Polling::open(&server, "abc").await;
    session
        .say("CONNECT\naccept-version:1.2\nheart-beat:0,500\n\n\0")
        .await;
    session.frames().await;
    for _ in 0..2 {
        assert_eq!(session.frames().await, r#"a["\n"]"#);
    }
}

#[tokio::test]
async fn shutdown_reaches_polling_sessions() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let mut waiting = session.request("POST", "xhr").begin(&server).await;
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(crate::support::DEADLINE).await });
    assert_eq!(
        waiting.chunk().await.unwrap(),
        "c[1001,\"the server is going away\"]\n"
    );
    assert_eq!(shutdown.await.unwrap(), 0);
}

/// Nobody new is let in, but who is in gets to hear the rest: here the reply of a handler that still runs.
#[tokio::test]
async fn shutdown_lets_polling_sessions_collect_what_is_theirs() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/slow\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    session.say("SEND\ndestination:/app/slow\n\nanswer\0").await;
    server.gate.started(1).await;
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(crate::support::DEADLINE).await });
    tokio::task::yield_now().await;
    let stranger = Polling::new(&server, "new").poll().await;
    stranger.is(503, "the server is going away\n");
    server.gate.release();
    let reply = session.frames().await;
    assert!(reply.contains("slow answer"), "{reply}");
    assert_eq!(
        session.frames().await,
        r#"c[1001,"the server is going away"]"#
    );
    assert_eq!(shutdown.await.unwrap(), 0);
}

/// A receiver that waits is told at once, whatever it is: an answer of the server itself as well as a message.
#[tokio::test]
async fn a_waiting_poll_hears_the_servers_own_frames() {
    let server = Server::start().await;
    let session = Polling::open(&server, "abc").await;
    let answers = [
        ("CONNECT\naccept-version:1.2\n\n\0", "CONNECTED"),
        (
            "SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0",
            "RECEIPT",
        ),
        ("SUBSCRIBE\nid:0\ndestination:/topic/x\n\n\0", "ERROR"),
    ];
    for (frame, answer) in answers {
        let waiting = session.request("POST", "xhr").begin(&server).await;
        let start = std::time::Instant::now();
        session.say(frame).await;
        let mut waiting = waiting;
        let chunk = waiting.chunk().await.unwrap();
        assert!(chunk.starts_with(&format!("a[\"{answer}")), "{chunk}");
        assert!(
            start.elapsed() < 5 * SHORT,
            "{answer} took {:?}",
            start.elapsed()
        );
    }
}

/// The name of a session that vanished is not taken for ever, nor is the memory for it.
#[tokio::test]
async fn a_vanished_session_is_forgotten_too() {
    let server = Setup::new()
        .sockjs(|options| options.disconnect_delay(SHORT).remember_time(SHORT))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    let reborn = async {
        loop {
            let answer = session.poll().await;
            if answer.body == "o\n" {
                return;
            }
            answer.is(200, "c[3000,\"Go away!\"]\n");
        }
    };
    within(
        std::panic::Location::caller(),
        "a fresh session",
        String::new,
        reborn,
    )
    .await;
}

#[tokio::test]
async fn a_polling_client_that_does_not_fetch_its_messages_is_4500() {
    let server = Setup::new()
        .limits(|limits| limits.outbox = 64 * 1024)
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    let publisher = server.messaging().publisher();
    let body = "x".repeat(4000);
    let mut sent = 0;
    while server.stats().slow_consumers == 0 {
        publisher.send("/topic/x", body.clone()).await.unwrap();
        tokio::task::yield_now().await;
        sent += 1;
        assert!(sent < 1000, "the outbox has no end");
    }
    let mut got = 0;
    let close = loop {
        let frames = session.frames().await;
        if frames.starts_with('c') {
            break frames;
        }
        got += frames.matches("MESSAGE").count();
    };
    assert!(0 < got && got < sent, "{got} of {sent}");
    assert!(
        close.starts_with("c[4500,\"the client reads too slowly: "),
        "{close}"
    );
    server.serves().await;
}

/// A poll that comes late, as from a page whose network stood still, must not open a session that its page takes for the
/// old one.
#[tokio::test]
async fn a_late_request_gets_the_close_frame_again() {
    let server = Setup::new()
        .sockjs(|options| options.disconnect_delay(SHORT))
        .start()
        .await;
    let ours = |request: Request| request.with("sec-fetch-site", "same-origin");
    let mut session = Polling::new(&server, "abc");
    session.user = Some("alice");
    session.poll().await.is(200, "o\n");
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    // Longer than the closed session itself is kept.
    tokio::time::sleep(4 * SHORT).await;
    let prelude = "h".repeat(PRELUDE_AND);
    for (method, transport, body) in [
        ("POST", "xhr", "c[3000,\"Go away!\"]\n".to_owned()),
        (
            "POST",
            "xhr_streaming",
            format!("{prelude}\nc[3000,\"Go away!\"]\n"),
        ),
        (
            "GET",
            "eventsource",
            "\r\ndata: c[3000,\"Go away!\"]\r\n\r\n".to_owned(),
        ),
        (
            "GET",
            "jsonp?c=cb",
            "/**/cb(\"c[3000,\\\"Go away!\\\"]\");\r\n".to_owned(),
        ),
    ] {
        let answer = ours(session.request(method, transport));
        let answer = answer.send(&server).await;
        answer.is(200, &body).has("cache-control", NO_CACHE);
    }
    let page = ours(session.request("GET", "htmlfile?c=cb"));
    let page = page.send(&server).await;
    assert!(
        page.body
            .ends_with("<script>\np(\"c[3000,\\\"Go away!\\\"]\");\n</script>\r\n"),
        "{page:?}"
    );
    // Nothing takes the message; the close frame says so.
    for (transport, status, body) in [("xhr_send", 204, ""), ("jsonp_send", 200, "ok")] {
        let late = session.request("POST", transport).body("[\"x\"]");
        late.send(&server).await.is(status, body);
    }
    // The name is its user's.
    Polling::new(&server, "abc").poll().await.is(404, "");
    assert_eq!(server.stats().sessions_total, 1);
}

#[tokio::test]
async fn a_late_request_gets_the_reason_of_an_earlier_close() {
    let server = Setup::new()
        .limits(|limits| limits.connect_time = SHORT / 2)
        .sockjs(|options| options.disconnect_delay(2 * SHORT))
        .start()
        .await;
    let session = Polling::open(&server, "abc").await;
    server
        .counted("it is over", |stats| stats.timeouts == 1)
        .await;
    tokio::time::sleep(4 * SHORT).await;
    for _ in 0..2 {
        let frames = session.frames().await;
        assert_eq!(frames, r#"c[4500,"no CONNECT frame came in time"]"#);
    }
    assert_eq!(server.stats().sessions_total, 1);
}
