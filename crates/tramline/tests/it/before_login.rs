//! What a client can make a session hold before CONNECTED, and after.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tramline::User;
use tramline::login::ConnectRefused;

use crate::support::{Request, Server, Setup, Tcp};

const CONNECT: &str = "CONNECT\naccept-version:1.2\n\n\0";
const NAMED: &str = "`Limits::connect_bytes`";

fn send(bytes: usize) -> String {
    format!("SEND\ndestination:/app/hello\n\n{}\0", "x".repeat(bytes))
}

#[tokio::test]
async fn a_tcp_session_holds_little() {
    let server = Server::start().await;
    let mut half = Tcp::open(&server).await;
    let line = "x".repeat(8000);
    half.send(format!("CONNECT\na:{line}\nb:{line}\nc:{line}"))
        .await;
    let error = half.expect("ERROR").await;
    assert!(format!("{error:?}").contains(NAMED), "{error:?}");

    let mut whole = Tcp::connect(&server).await;
    whole.subscribe("0", "/topic/greetings").await;
    whole.send(send(60_000)).await;
    whole.expect("MESSAGE").await;
}

#[tokio::test]
async fn little_waits_for_a_login() {
    let begun = Arc::new(Semaphore::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let (begins, waits) = (Arc::clone(&begun), Arc::clone(&gate));
    let server = Setup::new()
        .routes(|routes| {
            routes.connect(move || {
                let (begins, waits) = (Arc::clone(&begins), Arc::clone(&waits));
                async move {
                    begins.add_permits(1);
                    waits.acquire().await.unwrap().forget();
                    Ok::<_, ConnectRefused>(User::new("alice"))
                }
            })
        })
        .start()
        .await;
    let mut client = Tcp::open(&server).await;
    client.send(format!("{CONNECT}{}", send(30_000))).await;
    begun.acquire().await.unwrap().forget();
    gate.add_permits(1);
    let error = client.expect("ERROR").await;
    assert!(format!("{error:?}").contains(NAMED), "{error:?}");
}

#[tokio::test]
async fn a_web_socket_session_holds_little() {
    let server = Server::start().await;
    let too_large = format!(
        "message of 20000 bytes or more, limit 16384 before CONNECTED ({NAMED}); send it as several"
    );
    // The head of a frame of 20,000 bytes.
    let head = [0x81, 0x80 | 126, 0x4e, 0x20, 0, 0, 0, 0];
    let mut half = Request::upgrade("/ws").open(&server).await;
    half.send_raw(&head).await;
    half.expect_close(1009, &too_large).await;
    let mut whole = Request::upgrade("/ws")
        .open(&server)
        .await
        .connected()
        .await;
    whole.subscribe("0", "/topic/greetings").await;
    whole.send(&send(60_000)).await;
    whole.expect("MESSAGE").await;

    let sockjs = || Request::upgrade("/sockjs/000/abc/websocket").open(&server);
    let mut half = sockjs().await.without_stomp();
    assert_eq!(half.expect_text().await, "o");
    half.send_raw(&head).await;
    let close = half.expect_text().await;
    assert!(
        close.starts_with("c[1009,") && close.contains(NAMED),
        "{close}"
    );
    let mut whole = sockjs().await.without_stomp();
    assert_eq!(whole.expect_text().await, "o");
    let envelope = |frame: &str| serde_json::to_string(&[frame]).unwrap();
    whole.send(&envelope(CONNECT)).await;
    assert!(whole.expect_text().await.contains("CONNECTED"));
    let receipt = send(60_000).replacen('\n', "\nreceipt:1\n", 1);
    whole.send(&envelope(&receipt)).await;
    assert!(whole.expect_text().await.contains("RECEIPT"));
}

#[tokio::test]
async fn a_sockjs_session_holds_little() {
    let server = Server::start().await;
    let request = |transport: &str| Request::post(&format!("/sockjs/000/abc/{transport}"));
    request("xhr").send(&server).await.is(200, "o\n");
    let body = |message: &str| serde_json::to_string(&[message]).unwrap();
    let too_large = request("xhr_send").body(body(&send(20_000)));
    let too_large = too_large.send(&server).await;
    assert_eq!(too_large.status, 413);
    assert!(too_large.body.contains(NAMED), "{too_large:?}");

    let connect = request("xhr_send").body(body(CONNECT));
    connect.send(&server).await.is(204, "");
    let connected = request("xhr").send(&server).await;
    assert!(connected.body.contains("CONNECTED"), "{connected:?}");
    let large = request("xhr_send").body(body(&send(60_000)));
    large.send(&server).await.is(204, "");
}
