//! Time that is paused.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tramline::broker::{Overflow, QueueSettings, TopicSettings};
use tramline::limits::HeartBeat;
use tramline::login::ConnectRefused;
use tramline::policy::{Policy, permit};
use tramline::reply::IntoReply;
use tramline::test::{AckMode, TestMessaging};
use tramline::{Connect, EmbeddedBroker, Limits, User};

use super::support::{app, builder, routes};

const HOUR: Duration = Duration::from_secs(3600);

/// Longer than the hour takes on a busy machine, and by far less than an hour.
const AT_ONCE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn an_hour_of_heart_beats_takes_no_time() {
    let started = Instant::now();
    let app = app();
    let alice = app.connect_as("alice").await;
    let mut open = alice.subscribe("/topic/open").await;
    tokio::time::sleep(HOUR).await;
    let transcript = alice.transcript();
    let beats = transcript.lines().find_map(|line| {
        let (_, counts) = line.split_once("heart-beats: ")?;
        let (client, server) = counts.split_once(" >>, ")?;
        let server = server.strip_suffix(" <<")?;
        Some((client.parse::<u32>().ok()?, server.parse::<u32>().ok()?))
    });
    let (client, server) = beats.expect("heart-beats");
    assert!(
        client >= 350 && server >= 350,
        "one each 10 s:\n{transcript}"
    );
    alice.send("/topic/open", "after all").await;
    assert_eq!(open.next_text().await, "after all");
    assert!(started.elapsed() < AT_ONCE);
    assert_eq!((app.stats().timeouts, app.stats().sessions_open), (0, 1));
}

/// Of 10,000 heart-beats none leaves later than agreed, whatever was written between them.
#[tokio::test(start_paused = true)]
async fn no_heart_beat_is_late() {
    for agreed in [200, 250, 1000, 1030] {
        let mut limits = Limits::default();
        limits.heart_beat.send = agreed;
        let messaging = builder().limits(limits).build().unwrap();
        let publisher = messaging.publisher();
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(messaging.serve_stream(near, None));
        let connect = format!("CONNECT\naccept-version:1.2\nheart-beat:0,{agreed}\n\n\0");
        let subscribe = "SUBSCRIBE\nid:0\ndestination:/topic/open\n\n\0";
        let frames = format!("{connect}{subscribe}");
        far.write_all(frames.as_bytes()).await.unwrap();
        let mut received = [0; 1024];
        let read = far.read(&mut received).await.unwrap();
        assert!(received[..read].starts_with(b"CONNECTED\n"));
        // Messages between two heart-beats, at all times between two ticks of the server's timer.
        let messages = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(3137)).await;
                publisher.send("/topic/open", "x").await.unwrap();
            }
        });
        let (mut last, mut beats) = (tokio::time::Instant::now(), 0);
        while beats < 2_500 {
            let read = far.read(&mut received).await.unwrap();
            let silent_for = last.elapsed().as_millis();
            assert!(silent_for <= agreed.into(), "{silent_for} of {agreed} ms");
            last = tokio::time::Instant::now();
            beats += usize::from(received[..read] == *b"\n");
        }
        messages.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_client_is_given_up() {
    let app = app();
    let alice = app.connect_as("alice").await;
    alice.freeze();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let end = alice.closed().await;
    assert_eq!((end.code(), app.stats().timeouts), (Some(1002), 1));
    assert!(end.reason().contains("heart-beat"), "{end}");

    let quiet = app
        .connect_with(|c| {
            c.heart_beat(HeartBeat {
                send: 0,
                receive: 0,
            })
        })
        .await;
    quiet.freeze();
    tokio::time::sleep(HOUR).await;
    quiet.thaw();
    quiet.send("/topic/open", "nobody minds").await;
    quiet.disconnect().await;
}

/// Browsers run a background tab's timers once a minute, whatever heart-beats it agreed on.
#[tokio::test(start_paused = true)]
async fn a_background_tab_that_beats_once_a_minute_stays() {
    let app = app();
    let tab = app.connect_as("alice").await;
    let mut open = tab.subscribe("/topic/open").await;
    for minute in 0..30 {
        tab.freeze();
        tokio::time::sleep(Duration::from_secs(60)).await;
        tab.thaw();
        let sent = app.publisher().send("/topic/open", "still there?").await;
        assert_eq!(sent.unwrap().local_receivers, 1, "minute {minute}");
        assert_eq!(open.next_text().await, "still there?");
    }
    assert_eq!(app.stats().timeouts, 0);
}

/// Somebody who was away for less than the server's patience goes on.
#[tokio::test(start_paused = true)]
async fn a_short_frost_does_no_harm() {
    let app = app();
    let alice = app.connect_as("alice").await;
    let mut open = alice.subscribe("/topic/open").await;
    alice.freeze();
    app.publisher()
        .send("/topic/open", "wait for me")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    alice.thaw();
    assert_eq!(open.next_text().await, "wait for me");
    tokio::time::sleep(HOUR).await;
    alice.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_wants_a_longer_deadline() {
    let app = app().with_deadline(Duration::from_secs(301));
    let alice = app.connect_as("alice").await;
    let mut slow = alice.subscribe("/topic/slow").await;
    alice.send("/app/slow", ()).await;
    assert_eq!(slow.next_text().await, "at last");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_takes_for_ever_is_given_up() {
    async fn login(_: Connect) -> Result<User, ConnectRefused> {
        std::future::pending().await
    }
    let app = TestMessaging::new(builder().routes(routes().connect(login)).build().unwrap());
    let app = app.with_deadline(HOUR);
    let refused = app.try_connect_with(|c| c).await.unwrap_err();
    assert_eq!((refused.code(), app.stats().timeouts), (Some(4500), 1));
}

/// The broker's time is the runtime's too.
#[tokio::test(start_paused = true)]
async fn messages_expire_by_the_paused_time() {
    let an_hour = QueueSettings::default().time_to_live(HOUR);
    let broker = EmbeddedBroker::new()
        .topics("/topic")
        .queues("/queue")
        .queue_settings("/queue/**", an_hour);
    let app = TestMessaging::new(builder().broker(broker).build().unwrap());
    let sender = app.connect_as("sender").await;
    sender.send("/queue/jobs", "do it soon").await;
    let depth = || {
        let statistics = app.broker_statistics("/queue/**", 1).unwrap();
        statistics.selected.first().map_or(0, |queue| queue.depth)
    };
    tokio::time::sleep(HOUR - Duration::from_secs(10)).await;
    assert_eq!(depth(), 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(depth(), 0);
}

/// By the real clock, at any time between two sweeps: neither from the queue, nor again.
#[tokio::test(start_paused = true)]
async fn what_has_expired_is_not_handed_out() {
    let app = TestMessaging::new(builder().build().unwrap());
    let sender = app.connect_as("sender").await;
    let expired = || {
        let statistics = app.broker_statistics("/queue/**", 100).unwrap();
        let queues = statistics.selected.iter();
        queues.map(|queue| queue.counts.expired).sum::<u64>()
    };
    for n in 0..60 {
        let queue = format!("/queue/jobs/{n}");
        let soon = "soon".with_header("expiration", "300");
        sender.send(&queue, soon).await;
        let later = "later".with_header("expiration", "10000");
        sender.send(&queue, later).await;
        tokio::time::sleep(Duration::from_millis(317)).await;
        let worker = app.connect_as("worker").await;
        let mut jobs = worker
            .subscribe_with(&queue, |s| s.ack(AckMode::ClientIndividual))
            .await;
        let later = jobs.next().await;
        assert_eq!(later.text(), "later", "{n}");
        tokio::time::sleep(Duration::from_millis(9_700)).await;
        jobs.nack(&later).await;
        let sent = app.publisher().send(queue, "next").await;
        sent.unwrap();
        assert_eq!(jobs.next_text().await, "next", "{n}");
        worker.disconnect().await;
    }
    assert_eq!(expired(), 120);
}

/// Nor from the outbox: neither of a queue nor of a topic.
#[tokio::test(start_paused = true)]
async fn what_expires_behind_a_slow_reader_is_not_written() {
    let kept = QueueSettings::default().dead_letters("/queue/dead");
    let broker = EmbeddedBroker::new()
        .topics("/topic")
        .queues("/queue")
        .queue_settings("/queue/jobs", kept);
    let permitted = Policy::builder().otherwise(permit());
    let messaging = builder().broker(broker).policy(permitted).build().unwrap();
    let app = TestMessaging::new(messaging.clone());
    let grave = app.connect_as("grave").await;
    let mut dead = grave.subscribe("/queue/dead").await;
    for (destination, ack) in [
        ("/topic/open", "auto"),
        ("/topic/open", "client"),
        ("/queue/jobs", "auto"),
        ("/queue/jobs", "client"),
    ] {
        let (near, mut far) = tokio::io::duplex(1000);
        tokio::spawn(messaging.serve_stream(near, None));
        let subscribe = format!(
            "CONNECT\naccept-version:1.2\n\n\0\
             SUBSCRIBE\nid:0\nack:{ack}\nreceipt:r\ndestination:{destination}\n\n\0"
        );
        far.write_all(subscribe.as_bytes()).await.unwrap();
        let mut read = String::new();
        reads(&mut far, &mut read, "receipt-id:r\n\n\0").await;
        let before = app.stats().messages_expired;
        let publisher = app.publisher();
        let large = "x".repeat(5_000);
        publisher.send(destination, large).await.unwrap();
        // The server writes it, as far as the pipe takes it.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let sent = "soon".with_header("expiration", "300");
        publisher.send(destination, sent).await.unwrap();
        let sent = "later".with_header("expiration", "3000");
        publisher.send(destination, sent).await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        reads(&mut far, &mut read, "\n\nlater\0").await;
        assert!(!read.contains("soon"), "{destination} {ack}: {read}");
        assert_eq!(app.stats().messages_expired, before + 1);
        if destination == "/queue/jobs" {
            let letter = dead.next().await;
            assert_eq!(letter.text(), "soon");
            assert_eq!(letter.header("dead-letter-reason"), Some("expired"));
        }
    }
}

/// Reads until `read` ends so.
async fn reads(stream: &mut tokio::io::DuplexStream, read: &mut String, end: &str) {
    let mut bytes = [0; 4096];
    while !read.ends_with(end) {
        let len = stream.read(&mut bytes).await.unwrap();
        assert!(len > 0, "the stream ended: {read}");
        read.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
    }
}

/// Publishes a price.
async fn price(app: &TestMessaging, symbol: &str, price: u32) {
    let price = price.to_string().with_header("symbol", symbol.to_owned());
    let publisher = app.messaging().publisher();
    publisher.send("/topic/prices", price).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paced_topic_brings_the_latest_of_each_key_once_in_an_interval() {
    let prices = TopicSettings::default()
        .overflow(Overflow::latest("symbol"))
        .at_most_every(Duration::from_secs(1));
    let broker = EmbeddedBroker::new()
        .topics("/topic")
        .queues("/queue")
        .topic_settings("/topic/prices", prices);
    let everything = Policy::builder().otherwise(permit());
    let messaging = builder().broker(broker).policy(everything);
    let app = TestMessaging::new(messaging.build().unwrap());
    let (alice, bob) = (app.connect().await, app.connect().await);
    let mut paced = alice.subscribe("/topic/prices").await;
    let mut by_pattern = alice.subscribe("/topic/*").await;
    let mut all = bob
        .subscribe_with("/topic/prices", |how| how.ack(AckMode::Client))
        .await;
    price(&app, "a", 0).await;
    assert_eq!(paced.next_text().await, "0", "at once");
    assert_eq!(by_pattern.next_text().await, "0");
    for number in 1..50 {
        price(&app, "a", number).await;
        price(&app, "b", 100 + number).await;
    }
    paced.expect_nothing().await;
    let begun = tokio::time::Instant::now();
    for expected in ["49", "149"] {
        assert_eq!(paced.next_text().await, expected);
        assert_eq!(by_pattern.next_text().await, expected);
    }
    // Time is the test's own here.
    assert!(begun.elapsed() > Duration::from_millis(500));
    let counts = app.messaging().broker_statistics("/**", 0).unwrap().totals;
    assert_eq!(counts.conflated, 2 * 2 * 48);
    // That has begun the next interval; after one without a message, the first comes at once again.
    price(&app, "a", 50).await;
    paced.expect_nothing().await;
    assert_eq!(paced.next_text().await, "50");
    tokio::time::sleep(Duration::from_secs(5)).await;
    price(&app, "a", 51).await;
    price(&app, "a", 52).await;
    let first = tokio::time::Instant::now();
    assert_eq!(paced.next_text().await, "51");
    assert_eq!(first.elapsed(), Duration::ZERO);
    assert_eq!(paced.next_text().await, "52");
    // Those who acknowledge have their own pace: as many as their prefetch.
    for _ in 0..100 {
        all.next().await;
    }
    // What is held is nobody's once its subscription has ended.
    price(&app, "a", 53).await;
    price(&app, "a", 54).await;
    drop((paced, by_pattern));
    alice.disconnect().await;
}
