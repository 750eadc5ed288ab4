//! Metrics, read while clients are at work, and the dashboard made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::to_bytes;
use http::{Method, Request, StatusCode, header};
use tower::ServiceExt;
use tramline::metrics::Metrics;
use tramline::policy::{Policy, permit};
use tramline::raw::{RawEndpoint, Socket};
use tramline::{EmbeddedBroker, Messaging};

use crate::support::{Client, Server, Setup, eventually};

/// The samples of a text, by name and labels. Fails where a line is none.
fn read(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect(line);
        (series.to_owned(), value.parse().expect(line))
    });
    samples.collect()
}

/// The families of a text.
fn families(text: &str) -> BTreeSet<&str> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

/// Metrics of everything that has some, and the raw endpoint among it.
fn all(messaging: &Messaging) -> (Metrics, RawEndpoint) {
    async fn ignore(_: Socket) {}

    let raw = RawEndpoint::builder(ignore).build().unwrap();
    let metrics = Metrics::new()
        .stack(messaging)
        .destinations(messaging, "/topic/**", 3)
        .unwrap()
        .raw("echo", &raw);
    (metrics, raw)
}

#[tokio::test]
async fn what_clients_do_is_counted_and_timed() {
    let server = Server::start().await;
    let metrics = Metrics::new().stack(server.messaging());
    let mut client = Client::subscribed(&server, ["/topic/echo"]).await;
    client.send("SEND\ndestination:/app/echo\n\nhello\0").await;
    client.expect_message("/topic/echo", "hello").await;
    let sample = |series: &str| read(&metrics.render()).get(series).copied();
    for (series, value) in [
        ("tramline_sessions{stack=\"test\"}", 1.0),
        ("tramline_messages_received_total{stack=\"test\"}", 1.0),
        ("tramline_broker_published_total{stack=\"test\"}", 1.0),
        ("tramline_broker_available{stack=\"test\"}", 1.0),
        ("tramline_draining{stack=\"test\"}", 0.0),
        (
            "tramline_handler_duration_seconds_count{stack=\"test\",kind=\"message\",route=\"/echo\"}",
            1.0,
        ),
        (
            "tramline_handler_duration_seconds_count{stack=\"test\",kind=\"message\",route=\"/hello\"}",
            0.0,
        ),
    ] {
        assert_eq!(sample(series), Some(value), "{series}");
    }
    // The session counts what it has written after the client may have read it.
    eventually("the delivery is timed", || {
        let count = "tramline_delivery_delay_seconds_count{stack=\"test\",kind=\"topic\"}";
        sample(count) == Some(1.0)
    })
    .await;
    let bucket =
        "tramline_delivery_delay_seconds_bucket{stack=\"test\",kind=\"topic\",le=\"+Inf\"}";
    assert_eq!(sample(bucket), Some(1.0));
}

#[tokio::test]
async fn without_metrics_nothing_is_timed() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/echo"]).await;
    client.send("SEND\ndestination:/app/echo\n\nhello\0").await;
    client.expect_message("/topic/echo", "hello").await;
    let late = read(&Metrics::new().stack(server.messaging()).render());
    let timed = late
        .iter()
        .filter(|(series, _)| series.contains("_seconds_count"));
    assert!(timed.clone().count() > 3);
    assert!(timed.clone().all(|(_, count)| *count == 0.0), "{late:?}");
}

#[tokio::test]
async fn destinations_have_series_up_to_their_limit() {
    let server = Server::start().await;
    let metrics = Metrics::new()
        .stack(server.messaging())
        .destinations(server.messaging(), "/topic/prices/*", 2)
        .unwrap();
    let topics = [
        "/topic/prices/a",
        "/topic/prices/b",
        "/topic/prices/c",
        "/topic/other",
    ];
    let _client = Client::subscribed(&server, topics).await;
    let samples = read(&metrics.render());
    let shown = samples
        .keys()
        .filter(|series| series.starts_with("tramline_destination_subscriptions"));
    let series = |name| {
        format!(
            "tramline_destination_subscriptions{{stack=\"test\",kind=\"topic\",destination=\"/topic/prices/{name}\"}}"
        )
    };
    assert_eq!(shown.collect::<Vec<_>>(), [&series("a"), &series("b")]);
    let wrong = Metrics::new().destinations(server.messaging(), "", 2);
    assert!(wrong.is_err(), "not a pattern of destinations");
}

/// Scrapes while messages pass: no sample is lost, no counter goes back, and the end is exact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrape_under_load() {
    const MESSAGES: usize = 2_000;
    let server = Setup::new().start().await;
    let (metrics, _raw) = all(server.messaging());
    let clients = [1, 2].map(|_| Client::subscribed(&server, ["/topic/load"]));
    let mut clients = futures_util::future::join_all(clients).await;
    let over = Arc::new(AtomicBool::new(false));
    let scraper = tokio::spawn({
        let (metrics, over) = (metrics.clone(), Arc::clone(&over));
        async move {
            let mut before = read(&metrics.render());
            let mut scrapes = 0;
            while !over.load(Ordering::Relaxed) || scrapes < 3 {
                let now = read(&metrics.render());
                for (series, value) in before
                    .iter()
                    .filter(|(series, _)| series.contains("_total"))
                {
                    assert!(
                        now[series] >= *value,
                        "{series} went from {value} to {}",
                        now[series]
                    );
                }
                before = now;
                scrapes += 1;
                tokio::task::yield_now().await;
            }
        }
    });
    let publisher = server.messaging().publisher();
    for number in 0..MESSAGES {
        publisher
            .send("/topic/load", number.to_string())
            .await
            .unwrap();
    }
    for client in &mut clients {
        for number in 0..MESSAGES {
            client
                .expect_message("/topic/load", &number.to_string())
                .await;
        }
    }
    over.store(true, Ordering::Relaxed);
    scraper.await.unwrap();
    let samples = read(&metrics.render());
    let published = "tramline_destination_published_total{stack=\"test\",kind=\"topic\",destination=\"/topic/load\"}";
    assert_eq!(samples[published], MESSAGES as f64);
    let delivered = "tramline_broker_delivered_total{stack=\"test\"}";
    assert_eq!(samples[delivered], 2.0 * MESSAGES as f64);
}

#[tokio::test]
async fn it_is_a_service_for_get() {
    let messaging = Messaging::builder()
        .broker(EmbeddedBroker::new().topics("/topic"))
        .policy(Policy::builder().otherwise(permit()))
        .build()
        .unwrap();
    let metrics = Metrics::new().stack(&messaging);
    let ask = async |method: Method| {
        let request = Request::builder().method(method).body(()).unwrap();
        let answer = metrics.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = to_bytes(axum::body::Body::new(body), usize::MAX)
            .await
            .unwrap();
        (parts, String::from_utf8(body.into()).unwrap())
    };
    let (got, text) = ask(Method::GET).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(
        got.headers[header::CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(text, metrics.render());
    let (head, empty) = ask(Method::HEAD).await;
    assert_eq!(
        (head.headers[header::CONTENT_LENGTH].clone(), &*empty),
        (text.len().into(), "")
    );
    let (refused, _) = ask(Method::POST).await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers[header::ALLOW], "GET, HEAD");
    drop(messaging);
    assert_eq!(metrics.render(), "", "metrics keep no stack");
}

/// The families that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| letter != '_' && !letter.is_ascii_lowercase());
    let words = words.filter(|word| word.starts_with("tramline_"));
    words
        .map(|word| {
            let mut of_histogram = ["_bucket", "_sum", "_count"].iter();
            let family = of_histogram.find_map(|suffix| word.strip_suffix(suffix));
            family.unwrap_or(word)
        })
        .collect()
}

#[tokio::test]
async fn the_dashboard_asks_for_metrics_that_exist_and_the_guide_has_all() {
    let server = Server::start().await;
    let _client = Client::subscribed(&server, ["/topic/a"]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = axum::Router::<()>::new();
    let connections = tramline::serve(listener, app).connections();
    let (metrics, _raw) = all(server.messaging());
    let text = metrics.server(connections).render();
    assert!(
        text.contains("tramline_raw_sessions{endpoint=\"echo\"} 0\n"),
        "{text}"
    );
    let exist = families(&text);

    let dashboard = include_str!("../../../../docs/grafana-dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<&str> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() >= 15, "{}", queries.len());
    for query in queries {
        for family in named(query) {
            assert!(exist.contains(family), "{query}: there is no {family}");
        }
    }

    let guide = named(include_str!("../../src/guide/metrics.md"));
    let missing: Vec<&&str> = exist.difference(&guide).collect();
    assert!(missing.is_empty(), "not in the guide: {missing:?}");
    let unknown: Vec<&&str> = guide.difference(&exist).collect();
    assert!(unknown.is_empty(), "only in the guide: {unknown:?}");
}
