//! permessage-deflate at the endpoint: what is agreed on, and what then goes over the wire.

use tramline::endpoint::Compression;

use crate::support::{FrameExt, Request, Server, Setup};

/// Chromium's offer.
const OFFER: &str = "permessage-deflate; client_max_window_bits";

const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

async fn compressing() -> Server {
    let setup = Setup::new().builder(|builder| builder.compression(Compression::On));
    setup.start().await
}

/// JSON of some KiB.
fn prices() -> String {
    let prices: Vec<_> = (0..100)
        .map(|n| {
            format!(
                r#"{{"symbol":"EURUSD","bid":1.{:05},"seq":{n}}}"#,
                n * 7919 % 100_000
            )
        })
        .collect();
    format!("[{}]", prices.join(","))
}

#[tokio::test]
async fn nothing_is_agreed_on_unless_it_is_turned_on() {
    let server = Server::start().await;
    let response = Request::upgrade("/ws")
        .with(EXTENSIONS, OFFER)
        .send(&server)
        .await;
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn the_first_offer_that_can_be_met_is_taken() {
    let server = compressing().await;
    let no_context = "server_no_context_takeover; client_no_context_takeover";
    for (offer, answer) in [
        (OFFER, Some(String::new())),
        ("permessage-deflate", Some(String::new())),
        (
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
            Some("; server_max_window_bits=10".to_owned()),
        ),
        (
            "permessage-deflate; from_the_future, x, permessage-deflate",
            Some(String::new()),
        ),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("x-webkit-deflate-frame", None),
        (";;;", None),
    ] {
        let response = Request::upgrade("/ws")
            .with(EXTENSIONS, offer)
            .send(&server)
            .await;
        assert_eq!(response.status, 101, "{offer}");
        let expected = answer.map(|answer| format!("permessage-deflate; {no_context}{answer}"));
        assert_eq!(
            response.header("sec-websocket-extensions"),
            expected.as_deref(),
            "{offer}"
        );
    }
}

#[tokio::test]
async fn a_message_reaches_those_who_compress_and_those_who_do_not() {
    let server = compressing().await;
    // The second one's window is too small for what the others share.
    let small_window = "permessage-deflate; server_max_window_bits=9";
    let offers = [Some(OFFER), Some(small_window), None];
    let mut clients = Vec::new();
    for offer in offers {
        let request = Request::upgrade("/ws");
        let request = offer.map_or(request.clone(), |offer| request.with(EXTENSIONS, offer));
        let mut client = request.open(&server).await;
        client.send("CONNECT\naccept-version:1.2\n\n\0").await;
        client.expect("CONNECTED").await;
        client.subscribe("prices", "/topic/open/prices").await;
        clients.push(client);
    }
    let prices = prices();
    // From a client, compressed on its way in too.
    let send = format!("SEND\ndestination:/topic/open/prices\n\n{prices}\0");
    clients[0].send(&send).await;
    for (client, offer) in clients.iter_mut().zip(offers) {
        let before = client.received;
        client.expect_message("/topic/open/prices", &prices).await;
        let small = client.received - before < prices.len() / 2;
        assert_eq!(
            small,
            offer == Some(OFFER),
            "{} bytes for {offer:?}",
            client.received - before
        );
    }
    // What is small goes as it is, and after a compressed message nothing is different.
    server
        .messaging()
        .publisher()
        .send("/topic/open/prices", "small")
        .await
        .unwrap();
    for client in &mut clients {
        client.expect_message("/topic/open/prices", "small").await;
        client.ping(b"still there?").await;
        client.expect_pong(b"still there?").await;
    }
}

#[tokio::test]
async fn so_does_one_over_sockjs() {
    let server = compressing().await;
    let request = Request::upgrade("/sockjs/000/abc/websocket").with(EXTENSIONS, OFFER);
    let mut client = request.open(&server).await.without_stomp();
    assert_eq!(client.expect_text().await, "o");
    client
        .send(r#"["CONNECT\naccept-version:1.2\n\n\u0000"]"#)
        .await;
    assert!(client.expect_text().await.contains("CONNECTED"));
    let subscribe = r#"["SUBSCRIBE\nid:7\ndestination:/topic/x\nreceipt:r\n\n\u0000"]"#;
    client.send(subscribe).await;
    assert!(client.expect_text().await.contains("RECEIPT"));

    let prices = prices();
    let publisher = server.messaging().publisher();
    publisher.send("/topic/x", prices.clone()).await.unwrap();
    let before = client.received;
    let message = client.expect_text().await;
    assert!(client.received - before < prices.len() / 2);
    let frames: Vec<String> = serde_json::from_str(message.strip_prefix('a').unwrap()).unwrap();
    let [frame] = frames.as_slice() else {
        panic!("{frames:?}")
    };
    assert!(
        frame.starts_with("MESSAGE\n") && frame.contains("subscription:7\n"),
        "{frame}"
    );
    assert!(frame.ends_with(&format!("\n\n{prices}\0")), "{frame}");
}

#[tokio::test]
async fn a_bomb_is_1009() {
    let setup = Setup::new().builder(|builder| builder.compression(Compression::AboveSize(0)));
    let server = setup.start().await;
    let request = Request::upgrade("/ws").with(EXTENSIONS, OFFER);
    let mut client = request.open(&server).await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    client.expect("CONNECTED").await.has("version", "1.2");
    let bomb = "x".repeat(10_000_000);
    client.send(&bomb).await;
    let reason =
        "message inflates to more than 393216 bytes (by `Limits::body`); send it as several";
    client.expect_close(1009, reason).await;
    assert_eq!(server.stats().protocol_errors, 1);
    server.serves().await;
}

#[tokio::test]
async fn what_cannot_be_inflated_is_1007() {
    let server = compressing().await;
    let request = Request::upgrade("/ws").with(EXTENSIONS, OFFER);
    let mut client = request.open(&server).await;
    client.send_frame(0xc1, b"\x07").await;
    let reason = "compressed message is not DEFLATE data flushed to its end";
    client.expect_close(1007, reason).await;
    assert_eq!(server.stats().protocol_errors, 1);
}
