//! What clients can take of the server that open sessions and then do nothing with them, or do too much.
//!
//! The bound is said at [`tramline::SockJs`]; what is counted here are sessions, messages and requests.

use super::*;

fn name(number: usize) -> String {
    format!("/sockjs/000/{number}")
}

/// A session that is opened, and then perhaps forgotten.
async fn open(server: &Server, number: usize) -> Response {
    let path = format!("{}/xhr", name(number));
    Request::post(&path).send(server).await
}

async fn say(server: &Server, number: usize, message: &str) {
    let body = serde_json::to_string(&[message]).unwrap();
    let request = Request::post(&format!("{}/xhr_send", name(number))).body(body);
    request.send(server).await.is(204, "");
}

/// A session that gets what is sent to the topic.
async fn subscribe(server: &Server, number: usize) {
    open(server, number).await.is(200, "o\n");
    say(
        server,
        number,
        "CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0",
    )
    .await;
    open(server, number).await;
    let subscribe = "SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0";
    say(server, number, subscribe).await;
    let receipt = open(server, number).await;
    assert!(receipt.body.contains("RECEIPT"), "{receipt:?}");
}

#[tokio::test]
async fn a_thousand_sessions_and_then_silence() {
    const SESSIONS: usize = 1000;
    let delay = Duration::from_secs(1);
    let server = Setup::new()
        // A session that is over keeps its place for as long: the third round needs those of the first.
        .sockjs(|options| options.disconnect_delay(delay).max_sessions(2 * SESSIONS))
        .start()
        .await;
    for (round, cut_off) in [(1, false), (2, true), (3, false)] {
        // Each round has names of its own: a session that is over is known for a while.
        for number in (0..SESSIONS).map(|number| round * 10_000 + number) {
            if cut_off {
                let stream = Request::post(&format!("{}/xhr_streaming", name(number)));
                assert_eq!(stream.begin(&server).await.status, 200);
            } else {
                open(&server, number).await.is(200, "o\n");
            }
        }
        server.serves().await;
        server
            .counted("all are given up", |stats| {
                stats.sessions_open == 0 && stats.vanished == (round * SESSIONS) as u64
            })
            .await;
    }
    // Their places are free again, all of them: else the next round had found none.
    assert_eq!(server.stats().sessions_total, 3 * SESSIONS as u64 + 3);
    assert_eq!(server.stats().requests_refused, 0);
}

#[tokio::test]
async fn there_are_as_many_sessions_as_may_be() {
    let server = Setup::new()
        .sockjs(|options| options.max_sessions(3))
        .start()
        .await;
    for number in 0..3 {
        open(&server, number).await.is(200, "o\n");
    }
    let text = "there are 3 SockJS sessions, as many as may be (`SockJs::max_sessions`); try again later\n";
    for transport in ["xhr", "xhr_streaming"] {
        let one_more = Request::post(&format!("/sockjs/0/one-more/{transport}"));
        one_more
            .send(&server)
            .await
            .is(503, text)
            .has("cache-control", NO_CACHE);
    }
    assert_eq!(server.stats().requests_refused, 2);
    // Those that are there go on, and WebSocket is not concerned.
    let session = "CONNECT\naccept-version:1.2\n\n\0";
    say(&server, 1, session).await;
    assert!(open(&server, 1).await.body.contains("CONNECTED"));
    let websocket = Request::upgrade("/sockjs/0/one-more/websocket");
    let mut client = websocket.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    assert_eq!(server.stats().sessions_total, 4);
}

/// Subscribed, and never polled again: what waits is bounded, and who reads hears everything.
#[tokio::test]
async fn subscribers_that_never_poll_are_let_go_and_others_served() {
    const SESSIONS: usize = 50;
    const BODY: usize = 2000;
    let server = Setup::new()
        .limits(|limits| limits.outbox = 32 * 1024)
        .sockjs(|options| options.disconnect_delay(Duration::from_secs(60)))
        .start()
        .await;
    for number in 0..SESSIONS {
        subscribe(&server, number).await;
    }
    let mut reader = Client::subscribed(&server, ["/topic/x"]).await;
    let publisher = server.messaging().publisher();
    let mut published = 0;
    while server.stats().slow_consumers < SESSIONS as u64 {
        let body = format!("{published:0BODY$}");
        publisher.send("/topic/x", body.clone()).await.unwrap();
        reader.expect_message("/topic/x", &body).await;
        published += 1;
        // The outbox, the queue for the next request, and what one write may add to it; heads make it less.
        let bound = 32 * 1024 + 64 * 1024 + 64 * 1024;
        assert!(
            published * BODY <= bound,
            "{published} messages wait somewhere"
        );
    }
    assert_eq!(server.stats().slow_consumers, SESSIONS as u64);
    assert_eq!(server.receivers("/topic/x").await, 1);
}

/// As many messages wait ready to go as the option says, and the others in the outbox.
#[tokio::test]
async fn few_messages_wait_outside_the_outbox() {
    let server = Setup::new()
        .limits(|limits| limits.outbox = 16 * 1024)
        .sockjs(|options| options.message_cache(10))
        .start()
        .await;
    subscribe(&server, 0).await;
    let publisher = server.messaging().publisher();
    let mut published = 0;
    while server.stats().slow_consumers == 0 {
        publisher.send("/topic/x", "x".repeat(100)).await.unwrap();
        tokio::task::yield_now().await;
        published += 1;
        assert!(published < 5000, "the outbox has no end");
    }
    // What was ready to go, and what one write may have added to it; 64 KiB would have room for some 250.
    let ready = open(&server, 0).await.body.matches("MESSAGE").count();
    assert!((10..=10 + 64).contains(&ready), "{ready} were ready to go");
}

/// A stream whose client reads nothing is one response's worth, and then it is over.
#[tokio::test]
async fn a_stream_that_is_never_read_is_let_go() {
    let server = Setup::new()
        .limits(|limits| limits.outbox = 64 * 1024)
        .start()
        .await;
    subscribe(&server, 0).await;
    let stream = Request::post(&format!("{}/xhr_streaming", name(0))).receive_buffer(4096);
    let _never_read = stream.begin(&server).await;
    let publisher = server.messaging().publisher();
    let mut published = 0;
    while server.stats().slow_consumers == 0 {
        publisher.send("/topic/x", "x".repeat(8000)).await.unwrap();
        tokio::task::yield_now().await;
        published += 1;
        // Here, in the response, and in the kernel's buffers, which are not ours to bound.
        assert!(published < 2000, "the stream has no end");
    }
    server
        .counted("the session is over", |stats| stats.sessions_open == 0)
        .await;
    server.serves().await;
}

/// What a client sends faster than its handler takes it waits with the client.
#[tokio::test]
async fn senders_wait_for_a_handler_that_takes_its_time() {
    const REQUESTS: usize = 40;
    let server = Server::start().await;
    open(&server, 0).await.is(200, "o\n");
    say(
        &server,
        0,
        "CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0",
    )
    .await;
    open(&server, 0).await;
    say(&server, 0, "SEND\ndestination:/app/slow\n\nfirst\0").await;
    server.gate.started(1).await;

    let body = "x".repeat(30_000);
    let frame = format!("SEND\ndestination:/app/log\n\n{body}\0");
    let payload = serde_json::to_string(&[frame]).unwrap();
    let mut answered = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..REQUESTS {
        let request = Request::post(&format!("{}/xhr_send", name(0))).body(payload.clone());
        let mut sent = Box::pin(request.send(&server));
        match tokio::time::timeout(Duration::from_millis(50), &mut sent).await {
            Ok(response) => answered.push(response),
            Err(_) => waiting.push(sent),
        }
    }
    // 16 KiB are looked at ahead and 64 KiB wait for that, give or take a request each.
    assert!(answered.len() <= 6, "{} were taken", answered.len());
    assert!(waiting.len() >= REQUESTS - 6);
    server.gate.release();
    for sent in waiting {
        sent.await.is(204, "");
    }
    server
        .counted("all are handled", |stats| {
            stats.messages_received == 1 + REQUESTS as u64
        })
        .await;
}

/// A request from an address.
fn from(address: &str, number: usize, transport: &str) -> Request {
    Request::post(&format!("{}/{transport}", name(number))).with("x-peer", address)
}

#[tokio::test]
async fn one_address_cannot_use_up_the_places_of_others() {
    let server = Setup::new()
        .trusted_proxy("192.0.2.99")
        .sockjs(|options| options.max_sessions_per_address(3).max_sessions(10))
        .start()
        .await;
    let text = "your address has 3 SockJS sessions without a user, as many as may be \
                (`SockJs::max_sessions_per_address`); try again later\n";
    let greedy = [
        "192.0.2.1:1",
        "192.0.2.1:2",
        "[::ffff:192.0.2.1]:3",
        "192.0.2.1:4",
        "192.0.2.1:5",
    ];
    for (number, address) in greedy.iter().enumerate() {
        let opened = from(address, number, "xhr").send(&server).await;
        if number < 3 {
            opened.is(200, "o\n");
        } else {
            opened.is(503, text);
        }
    }
    assert_eq!(server.stats().requests_refused, 2);
    // By IPv6 a client has a network of 64 bits.
    for (number, status) in [(10, 200), (11, 200), (12, 200), (13, 503)] {
        let address = format!("[2001:db8::{number}]:1");
        let opened = from(&address, number, "xhr_streaming").begin(&server).await;
        assert_eq!(opened.status, status, "{number}");
    }
    // Behind a trusted proxy the client counts.
    for number in 20..23 {
        let forwarded = from("192.0.2.99:1", number, "xhr")
            .with("x-forwarded-for", &format!("198.51.100.{number}"));
        forwarded.send(&server).await.is(200, "o\n");
    }
    let forwarded = from("192.0.2.99:1", 24, "xhr").with("x-forwarded-for", "192.0.2.1");
    forwarded.send(&server).await.is(503, text);
    // A user has the login's word, and is not a stranger.
    let known = from("192.0.2.1:1", 30, "xhr").by_user("alice");
    known.send(&server).await.is(200, "o\n");
}

/// Who logs in by CONNECT makes room for others behind the same address.
#[tokio::test]
async fn a_login_makes_room_for_others_of_the_address() {
    use tramline::login::ConnectRefused;
    use tramline::{Connect, User};

    async fn login(connect: Connect) -> Result<User, ConnectRefused> {
        Ok(User::new(connect.login().unwrap_or("nobody").to_owned()))
    }
    let server = Setup::new()
        .routes(|routes| routes.connect(login))
        .sockjs(|options| options.max_sessions_per_address(1))
        .start()
        .await;
    let address = "192.0.2.1:1";
    for number in 0..5 {
        from(address, number, "xhr")
            .send(&server)
            .await
            .is(200, "o\n");
        let full = from(address, 100, "xhr").send(&server).await;
        assert_eq!(full.status, 503);
        let connect = "CONNECT\naccept-version:1.2\nlogin:alice\n\n\0";
        let body = serde_json::to_string(&[connect]).unwrap();
        let sent = from(address, number, "xhr_send").body(body);
        sent.send(&server).await.is(204, "");
        let connected = from(address, number, "xhr").send(&server).await;
        assert!(connected.body.contains("CONNECTED"), "{connected:?}");
    }
}

#[tokio::test]
async fn guesses_of_names_are_throttled() {
    let server = Server::start().await;
    let (guesser, other) = ("192.0.2.1:1", "192.0.2.2:1");
    open(&server, 0).await.is(200, "o\n");
    from(other, 1, "xhr").send(&server).await.is(200, "o\n");
    from(guesser, 2, "xhr").send(&server).await.is(200, "o\n");
    let mut statuses = Vec::new();
    for number in 0..400 {
        let guess = from(guesser, 1000 + number, "xhr_send").body("[]");
        statuses.push(guess.send(&server).await.status);
    }
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    let (missing, throttled) = (count(404), count(429));
    // A slow run may begin another ten seconds.
    assert!((100..=200).contains(&missing), "{missing} look-ups");
    assert_eq!(missing + throttled, 400);
    assert_eq!(server.stats().requests_refused, 400);
    // A right guess is refused as a wrong one is, by any transport.
    for transport in ["xhr", "xhr_streaming", "xhr_send", "jsonp_send"] {
        // Another ten seconds may have begun.
        for number in 0..101 {
            let guess = from(guesser, 3000 + number, "xhr_send").body("[]");
            if guess.send(&server).await.status == 429 {
                break;
            }
        }
        let right = from(guesser, 1, transport).body("[]").send(&server).await;
        right
            .is(
                429,
                "too many requests for sessions that are not there; try again later\n",
            )
            .has("retry-after", "10");
    }
    // Its own sessions go on, and those of others.
    for (address, number) in [(guesser, 2), (other, 1)] {
        let sent = from(address, number, "xhr_send").body("[\"\\n\"]");
        sent.send(&server).await.is(204, "");
    }
    say(&server, 0, "\n").await;
}

/// What is kept of ended sessions has an end too.
#[tokio::test]
async fn an_address_has_a_share_of_remembered_names() {
    let server = Setup::new()
        .sockjs(|options| {
            let options = options.disconnect_delay(SHORT).max_sessions_per_address(3);
            options.max_sessions(5)
        })
        .start()
        .await;
    let remembered = async |address, numbers: std::ops::Range<usize>| {
        let mut count = 0;
        for number in numbers {
            let late = from(address, number, "xhr").by_user("alice");
            count += usize::from(late.send(&server).await.body.starts_with('c'));
        }
        count
    };
    for (round, address) in ["192.0.2.1:1", "192.0.2.2:1"].into_iter().enumerate() {
        for number in 0..5 {
            let number = round * 10 + number;
            let opened = from(address, number, "xhr").by_user("alice");
            opened.send(&server).await.is(200, "o\n");
        }
        server
            .counted("all are missed", |stats| {
                stats.vanished == 5 * (round as u64 + 1) && stats.sessions_open == 0
            })
            .await;
        tokio::time::sleep(3 * SHORT).await;
    }
    // Three of the first address; of the second, as many as five in all leave room for.
    assert_eq!(remembered("192.0.2.1:1", 0..5).await, 3);
    assert_eq!(remembered("192.0.2.2:1", 10..15).await, 2);
}
