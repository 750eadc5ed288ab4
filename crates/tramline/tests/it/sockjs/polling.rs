//! Conversations over plain HTTP requests.

use super::*;

#[tokio::test]
async fn polling_opens_sends_and_receives() {
    let server = Server::start().await;
    let session = Polling::new(&server, "abc");
    let opened = session.poll().await;
    opened
        .is(200, "o\n")
        .has("content-type", JAVASCRIPT)
        .has("cache-control", NO_CACHE);
    assert_eq!(server.stats().sessions_open, 1);
    let taken = session
        .send(r#"["CONNECT\naccept-version:1.1,1.0\nheart-beat:10000,10000\n\n\u0000"]"#)
        .await;
    taken.is(204, "").has("content-type", TEXT);
    let connected = session.frames().await;
    let shape = r#"a["CONNECTED\nversion:1.1\nheart-beat:10000,10000\nsession:"#;
    assert!(connected.starts_with(shape), "{connected}");
    assert!(connected.ends_with(r#"\n\n\u0000"]"#), "{connected}");
}

#[tokio::test]
async fn a_conversation_by_polling() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let subscribe = r#"SUBSCRIBE\nid:sub-0\ndestination:/topic/greetings\nreceipt:1\n\n\u0000"#;
    let send = r#"SEND\ndestination:/app/hello\n\nWörld \"x\"\u0000"#;
    session
        .send(&format!(r#"["{subscribe}"]"#))
        .await
        .is(204, "");
    assert_eq!(
        session.frames().await,
        r#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#
    );
    // Several messages in one request, and a frame over two of them.
    let (front, back) = send.split_at(12);
    session
        .send(&format!(r#"["{send}","{front}","{back}"]"#))
        .await
        .is(204, "");
    let mut got = String::new();
    while got.matches("MESSAGE").count() < 2 {
        got += &session.frames().await;
    }
    let shape = r#"a["MESSAGE\nsubscription:sub-0\nmessage-id:"#;
    assert!(got.starts_with(shape), "{got}");
    assert_eq!(
        got.matches(r#"\n\nHello, Wörld \"x\"!\u0000""#).count(),
        2,
        "{got}"
    );
    // A WebSocket client hears the same.
    let mut client = Client::subscribed(&server, ["/topic/greetings"]).await;
    session.send(&format!(r#"["{send}"]"#)).await.is(204, "");
    client
        .expect_message("/topic/greetings", "Hello, Wörld \"x\"!")
        .await;
    // What waits comes in one frame.
    session.frames().await;
    let publisher = server.messaging().publisher();
    for body in ["one", "two"] {
        publisher.send("/topic/greetings", body).await.unwrap();
    }
    let mut got = String::new();
    while !got.contains("two") {
        got += &session.frames().await;
    }
    assert!(got.find("one") < got.find("two"), "{got}");

    session.say("DISCONNECT\nreceipt:bye\n\n\0").await;
    let mut got = session.frames().await;
    assert!(
        got.ends_with(r#"a["RECEIPT\nreceipt-id:bye\n\n\u0000"]"#),
        "{got}"
    );
    for _ in 0..3 {
        got = session.frames().await;
        assert_eq!(got, r#"c[1000,""]"#);
    }
    server
        .counted("the session is gone", |stats| stats.sessions_open == 1)
        .await;
    assert_eq!(server.receivers("/topic/greetings").await, 1);
    let stats = server.stats();
    assert_eq!((stats.vanished, stats.protocol_errors), (0, 0));
}

#[tokio::test]
async fn a_poll_waits_for_something_to_say() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    let mut waiting = session.request("POST", "xhr").begin(&server).await;
    assert_eq!(waiting.status, 200);
    server
        .messaging()
        .publisher()
        .send("/topic/x", "at last")
        .await
        .unwrap();
    let chunk = waiting.chunk().await.unwrap();
    assert!(chunk.contains("at last"), "{chunk}");
    assert_eq!(waiting.chunk().await, None);
}

#[tokio::test]
async fn streaming_begins_with_a_prelude_and_goes_on() {
    let server = Server::start().await;
    let session = Polling::new(&server, "abc");
    let mut stream = session
        .request("POST", "xhr_streaming")
        .begin(&server)
        .await;
    assert_eq!(stream.status, 200);
    stream
        .has("content-type", JAVASCRIPT)
        .has("cache-control", NO_CACHE)
        .has("transfer-encoding", "chunked");
    assert_eq!(
        stream.chunk().await.unwrap(),
        "h".repeat(PRELUDE_AND) + "\n"
    );
    assert_eq!(stream.chunk().await.unwrap(), "o\n");
    session.say("CONNECT\naccept-version:1.2\n\n\0").await;
    let connected = stream.chunk().await.unwrap();
    assert!(
        connected.starts_with(r#"a["CONNECTED\nversion:1.2"#),
        "{connected}"
    );
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert_eq!(
        stream.chunk().await.unwrap(),
        "a[\"RECEIPT\\nreceipt-id:1\\n\\n\\u0000\"]\n"
    );
    for number in 0..3 {
        let body = format!("news {number}");
        server
            .messaging()
            .publisher()
            .send("/topic/x", body.clone())
            .await
            .unwrap();
        let chunk = stream.chunk().await.unwrap();
        assert!(chunk.contains(&body) && chunk.ends_with("\"]\n"), "{chunk}");
    }
    session.say("DISCONNECT\n\n\0").await;
    assert_eq!(stream.chunk().await.unwrap(), "c[1000,\"\"]\n");
    assert_eq!(stream.chunk().await, None);
}

#[tokio::test]
async fn a_stream_ends_at_its_limit_and_the_next_goes_on() {
    let server = Setup::new()
        .sockjs(|options| options.response_limit(1000))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    let publisher = server.messaging().publisher();
    let mut next = 0;
    for _ in 0..3 {
        let mut stream = session
            .request("POST", "xhr_streaming")
            .begin(&server)
            .await;
        assert_eq!(stream.chunk().await.unwrap().len(), PRELUDE_AND + 1);
        let mut length = 0;
        loop {
            let body = format!("<{next}>{}", "x".repeat(200));
            if length < 1000 {
                publisher.send("/topic/x", body.clone()).await.unwrap();
            }
            match stream.chunk().await {
                Some(chunk) => {
                    assert!(chunk.contains(&body), "{next}: {chunk}");
                    length += chunk.len();
                    next += 1;
                }
                None => break,
            }
        }
        assert!((1000..1500).contains(&length), "{length}");
    }
    assert_eq!(server.stats().sessions_total, 1);
}

#[tokio::test]
async fn nobody_sends_to_a_session_that_is_not_there() {
    let server = Server::start().await;
    let session = Polling::new(&server, "never");
    let answer = session.send("[\"x\"]").await;
    answer.is(404, "");
    assert_eq!(server.stats().sessions_total, 0);
    assert_eq!(server.stats().requests_refused, 1);
    server.serves().await;
}

#[tokio::test]
async fn broken_payloads_are_500_and_the_session_goes_on() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let many = serde_json::to_string(&vec!["SEND\ndestination:/topic/x\n\n\0"; 10_000]).unwrap();
    for (number, (body, text)) in [
        ("", "Payload expected."),
        ("[\"x\"", "Broken JSON encoding."),
        ("[\"x", "Broken JSON encoding."),
        ("{\"a\":1}", "Broken JSON encoding."),
        ("[1]", "Broken JSON encoding."),
        ("garbage", "Broken JSON encoding."),
        ("null", "Broken JSON encoding."),
        ("17", "Broken JSON encoding."),
        ("[[\"x\"]]", "Broken JSON encoding."),
        ("[\"x\",[\"y\"]]", "Broken JSON encoding."),
        ("[\"x\"],[\"y\"]", "Broken JSON encoding."),
        ("[\"x\",]", "Broken JSON encoding."),
        ("\u{feff}[\"x\"]", "Broken JSON encoding."),
        (&*"[".repeat(500_000), "Broken JSON encoding."),
        (&*"{\"a\":".repeat(80_000), "Broken JSON encoding."),
        (&*" ".repeat(500_000), "Broken JSON encoding."),
        (&*"\"\\u".repeat(100_000), "Broken JSON encoding."),
        (&*many, "Too many messages in one payload: 4096 allowed."),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = session.send(body).await;
        answer.is(500, text).has("content-type", TEXT);
        assert_eq!(server.stats().protocol_errors, number as u64 + 1);
    }
    // What is empty in another way is fine, and nothing of the others was taken.
    for nothing in ["[]", " [ ] ", "[\"\"]", "[\"\\n\"]"] {
        session.send(nothing).await.is(204, "");
    }
    assert_eq!(server.stats().messages_received, 0);
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert_eq!(
        session.frames().await,
        r#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#
    );
    server.serves().await;
}

#[tokio::test]
async fn oversize_payloads_are_413() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let huge = format!("[\"{}\"]", "x".repeat(600 * 1024));
    let answer = session.send(&huge).await;
    answer.is(
        413,
        "the body has more than 524288 bytes; send fewer messages at a time, or smaller ones\n",
    );
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert_eq!(
        session.frames().await,
        r#"a["RECEIPT\nreceipt-id:1\n\n\u0000"]"#
    );
    assert_eq!(server.stats().protocol_errors, 1);
}

#[tokio::test]
async fn a_second_receiver_is_2010_and_the_first_does_not_notice() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    let mut first = session
        .request("POST", "xhr_streaming")
        .begin(&server)
        .await;
    assert_eq!(first.chunk().await.unwrap().len(), PRELUDE_AND + 1);
    let refused = "c[2010,\"Another connection still open\"]\n";
    session.poll().await.is(200, refused);
    let streamed = session.request("POST", "xhr_streaming").send(&server).await;
    streamed.is(200, &format!("{}\n{refused}", "h".repeat(PRELUDE_AND)));
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert_eq!(
        first.chunk().await.unwrap(),
        "a[\"RECEIPT\\nreceipt-id:1\\n\\n\\u0000\"]\n"
    );
}

/// The session's name is in every proxy's log: knowing it is not enough.
#[tokio::test]
async fn a_session_belongs_to_its_user() {
    let server = Server::start().await;
    let session = |user| Polling {
        user,
        ..Polling::new(&server, "abc")
    };
    let alice = session(Some("alice"));
    alice.poll().await.is(200, "o\n");
    for other in [None, Some("bob")] {
        let other = session(other);
        other.send("[\"x\"]").await.is(404, "");
        other.poll().await.is(404, "");
        let streamed = other.request("POST", "xhr_streaming").send(&server).await;
        streamed.is(404, "");
    }
    assert_eq!(server.stats().requests_refused, 6);
    alice.say("CONNECT\naccept-version:1.2\n\n\0").await;
    let connected = alice.frames().await;
    assert!(connected.contains(r"\nuser-name:alice\n"), "{connected}");
    assert_eq!(server.stats().sessions_total, 1);
    // Nor is a session that nobody opened for whoever comes with a name.
    let nobody = Polling::open(&server, "nobody").await;
    let alice = Polling {
        user: Some("alice"),
        ..Polling::new(&server, "nobody")
    };
    alice.poll().await.is(404, "");
    assert_eq!(server.stats().requests_refused, 7);
    nobody.say("CONNECT\naccept-version:1.2\n\n\0").await;
    assert!(!nobody.frames().await.contains("user-name"));
    server.serves().await;
}

#[tokio::test]
async fn a_polling_reader_receives_a_burst() {
    let server = Server::start().await;
    let session = Polling::connected(&server, "abc").await;
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    session.frames().await;
    let publisher = server.messaging().publisher();
    for number in 0..150 {
        let body = format!("<{number}>{}", "x".repeat(4_000));
        publisher.send("/topic/x", body).await.unwrap();
    }
    let mut received = String::new();
    while !received.contains("<149>") {
        received += &session.frames().await;
    }
    let all = (0..150).all(|number| received.contains(&format!("<{number}>")));
    assert!(all, "{} bytes", received.len());
}
