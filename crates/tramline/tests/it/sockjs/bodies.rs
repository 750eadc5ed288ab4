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

#[tokio::test]
async fn the_end_of_a_session_ends_the_reading() {
    let server = patient().start().await;
    let session = Polling::connected(&server, "abc").await;
    let [with_length, chunked] = cut_short(&session, "xhr_send");
    let mut waiting = [with_length, chunked].map(|request| Box::pin(request.send(&server)));
    for request in &mut waiting {
        let waited = tokio::time::timeout(SHORT, request).await;
        waited.expect_err("it is still read");
    }
    session.say("DISCONNECT\n\n\0").await;
    // It is too late for them; the close frame says so, and these are counted.
    for request in waiting {
        request.await.is(204, "");
    }
    assert_eq!(session.frames().await, r#"c[1000,""]"#);
    assert_eq!(server.stats().requests_refused, 2);
    assert_eq!(server.stats().protocol_errors, 0);
}
