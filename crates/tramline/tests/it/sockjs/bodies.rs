//! Bodies that do not come, or not whole.

use super::*;

/// A request of which the rest of the body never comes.
fn cut_short(session: &Polling<'_>, transport: &str) -> [Request; 2] {
    [
        session
            .request("POST", transport)
            .with("Content-Length", "1000")
            .body("[\"x"),
        session
            .request("POST", transport)
            .with("Transfer-Encoding", "chunked")
            .body("3\r\n[\"x\r\n"),
    ]
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_408() {
    let server = Setup::new()
        .sockjs(|options| options.body_time(SHORT))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    let text =
        "the body took longer than 300ms (`SockJs::body_time`); send fewer messages at a time\n";
    let mut errors = 0;
    for transport in ["xhr_send", "jsonp_send"] {
        for request in cut_short(&session, transport) {
            request
                .send(&server)
                .await
                .is(408, text)
                .has("content-type", TEXT);
            errors += 1;
            assert_eq!(server.stats().protocol_errors, errors);
        }
    }
    // Nothing of them was taken, and the session goes on.
    session
        .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
        .await;
    assert!(session.frames().await.contains("RECEIPT"));
    server.serves().await;
}

/// With half an hour to read them, there is one way for these to be answered.
fn patient() -> Setup {
    Setup::new().sockjs(|options| options.body_time(Duration::from_secs(1800)))
}

#[tokio::test]
async fn a_body_that_is_announced_too_long_is_not_read() {
    let server = patient().start().await;
    let session = Polling::connected(&server, "abc").await;
    for (transport, limit, form) in [
        ("xhr_send", 524_288, false),
        ("jsonp_send", 524_288, false),
        ("jsonp_send", 3 * 524_288, true),
    ] {
        let mut request = session
            .request("POST", transport)
            .with("Content-Length", &(limit + 1).to_string());
        if form {
            request = request.with("Content-Type", "application/x-www-form-urlencoded");
        }
        let text = format!(
            "the body has more than {limit} bytes; send fewer messages at a time, or smaller ones\n"
        );
        request.send(&server).await.is(413, &text);
    }
    assert_eq!(server.stats().protocol_errors, 3);
    server.serves().await;
}

/// However many requests a client makes at a time, one of them is in memory.
#[tokio::test]
async fn one_body_of_a_session_is_read_at_a_time() {
    let server = Setup::new()
        .sockjs(|options| options.body_time(SHORT * 3))
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    let [never_whole, _] = cut_short(&session, "xhr_send");
    let mut never_whole = Box::pin(never_whole.send(&server));
    let waited = tokio::time::timeout(SHORT, &mut never_whole).await;
    waited.expect_err("it is still read");
    // Other sessions do not wait for it.
    Polling::connected(&server, "other").await;
    // This one is whole, and has to wait all the same.
    session.say("DISCONNECT\n\n\0").await;
    assert_eq!(
        server.stats().protocol_errors,
        1,
        "the other was given up before"
    );
    never_whole.await.is(
        408,
        "the body took longer than 900ms (`SockJs::body_time`); send fewer messages at a time\n",
    );
}

#[tokio::test]
async fn the_end_of_a_session_ends_the_reading() {
    let server = Setup::new()
        .sockjs(|options| {
            let options = options.body_time(Duration::from_secs(1800));
            options.disconnect_delay(SHORT * 3)
        })
        .start()
        .await;
    let session = Polling::connected(&server, "abc").await;
    // The second waits for its turn.
    let mut waiting =
        cut_short(&session, "xhr_send").map(|request| Box::pin(request.send(&server)));
    for request in &mut waiting {
        let waited = tokio::time::timeout(SHORT / 3, request).await;
        waited.expect_err("it is still read");
    }
    server
        .counted("nobody came to receive", |stats| stats.vanished == 1)
        .await;
    // It is too late for them, which is no error of theirs.
    for request in waiting {
        request.await.is(204, "");
    }
    assert_eq!(server.stats().requests_refused, 2);
    assert_eq!(server.stats().protocol_errors, 0);
}
