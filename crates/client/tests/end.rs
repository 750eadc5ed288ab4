//! Ends of sessions, and their reports.

mod common;

use std::time::Duration;

use common::{Server, connected, soon};
use tokio::io::DuplexStream;
use tramline_client::{Client, Error, ProtocolError, Subscription};
use tramline_stomp::{ErrorReply, ServerEvent};
use tramline_websocket::CloseCode;

/// A client with a subscription and a send whose receipt has not arrived.
struct Waiting {
    client: Client,
    subscription: Subscription,
    sending: tokio::task::JoinHandle<Result<(), Error>>,
    server: Server<DuplexStream>,
}

async fn waiting() -> Waiting {
    let (client, mut server) = connected().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    let sending = tokio::spawn(client.send("/app/a", "one").receipt().into_future());
    server.send().await;
    server.message(slot, "before the end").await;
    Waiting {
        subscription: subscription.unwrap(),
        client,
        sending,
        server,
    }
}

impl Waiting {
    /// Every waiting call reports the same end, after the earlier messages; and so do later calls.
    async fn all_report(mut self, expected: impl Fn(&Error) -> bool) {
        let mut heard = Vec::new();
        let message = soon(self.subscription.next()).await.unwrap().unwrap();
        assert_eq!(message.text().unwrap(), "before the end");
        heard.push(soon(self.subscription.next()).await.unwrap().unwrap_err());
        assert!(soon(self.subscription.next()).await.is_none());
        heard.push(soon(self.sending).await.unwrap().unwrap_err());
        heard.push(self.client.ended().unwrap().clone());
        heard.push(soon(self.client.send("/app/a", "two")).await.unwrap_err());
        heard.push(soon(self.client.subscribe("/topic/b")).await.unwrap_err());
        for error in heard {
            assert!(expected(&error), "{error:?}");
        }
    }
}

#[tokio::test]
async fn by_an_error_frame() {
    let mut waiting = waiting().await;
    waiting
        .server
        .stomp
        .error(ErrorReply::new("no").detail("not you"));
    waiting.server.flush().await;
    waiting
        .all_report(|error| {
            matches!(error, Error::ServerError { message, body } if message == "no" && body == "not you")
        })
        .await;
}

#[tokio::test]
async fn by_the_server_going_away() {
    let mut waiting = waiting().await;
    waiting.server.close(CloseCode::GOING_AWAY, "deploy").await;
    assert!(soon(waiting.server.event()).await.is_none());
    assert_eq!(
        waiting.server.closed,
        Some(Some(1001)),
        "the client answers"
    );
    waiting
        .all_report(|error| {
            matches!(error, Error::ClosedByServer { code: Some(1001), reason } if reason == "deploy")
        })
        .await;
}

#[tokio::test]
async fn by_the_server_vanishing() {
    let mut waiting = waiting().await;
    waiting.server.io = tokio::io::duplex(1).0;
    waiting
        .all_report(|error| matches!(error, Error::Io(_)))
        .await;
}

#[tokio::test]
async fn by_nonsense() {
    let mut waiting = waiting().await;
    waiting.server.write(b"HELLO\n\n\0").await;
    assert!(soon(waiting.server.event()).await.is_none());
    assert_eq!(waiting.server.closed, Some(Some(1002)));
    waiting
        .all_report(|error| matches!(error, Error::Protocol(ProtocolError::Stomp(_))))
        .await;
}

#[tokio::test(start_paused = true)]
async fn by_silence() {
    let waiting = waiting().await;
    let began = tokio::time::Instant::now();
    let sent = waiting.client.clone();
    waiting
        .all_report(|error| {
            matches!(error, Error::HeartBeatLost { silent_for } if *silent_for >= Duration::from_secs(30))
        })
        .await;
    assert_eq!(began.elapsed().as_secs(), 30);
    assert!(sent.disconnect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn heart_beats_keep_it_alive() {
    let (client, mut server) = connected().await;
    let before = server.received;
    for _ in 0..10 {
        server.write(b"\n").await;
        let pause = tokio::time::timeout(Duration::from_secs(20), server.event()).await;
        assert!(pause.is_err(), "no event, only heart-beats: {pause:?}");
    }
    let beats = server.received - before;
    // One after 9 s, which is 90 % of what was agreed.
    assert!((21..=23).contains(&beats), "{beats} heart-beats in 200 s");
    assert!(client.ended().is_none());
}

#[tokio::test]
async fn by_us() {
    let Waiting {
        client,
        mut subscription,
        sending,
        mut server,
    } = waiting().await;
    let leaving = tokio::spawn({
        let client = client.clone();
        async move { client.disconnect().await }
    });
    let Some(ServerEvent::Disconnect(disconnect)) = soon(server.event()).await else {
        panic!("not DISCONNECT")
    };
    assert!(!leaving.is_finished());
    server.receipt(&disconnect.receipt.unwrap()).await;
    assert!(soon(server.event()).await.is_none());
    assert_eq!(server.closed, Some(Some(1000)));
    assert!(!leaving.is_finished(), "the closing handshake is not over");
    server.flush().await;
    drop(server);
    soon(leaving).await.unwrap().unwrap();

    assert!(soon(subscription.next()).await.unwrap().is_ok());
    let end = soon(subscription.next()).await;
    assert!(matches!(end, Some(Err(Error::Disconnected))), "{end:?}");
    let sent = soon(sending).await.unwrap();
    assert!(matches!(sent, Err(Error::Disconnected)), "{sent:?}");
    client.disconnect().await.unwrap();
    let sent = client.send("/app/a", "two").await;
    assert!(matches!(sent, Err(Error::Disconnected)), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_without_an_answer_ends_in_time() {
    let (client, server) = connected().await;
    let left = client.disconnect().await;
    assert!(matches!(left, Err(Error::Timeout { .. })), "{left:?}");
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_cannot_keep_us() {
    let (client, _server) = connected().await;
    for _ in 0..4 {
        client.send("/app/a", vec![0; 200_000]).await.unwrap();
    }
    let left = soon(client.disconnect()).await;
    assert!(matches!(left, Err(Error::Timeout { .. })), "{left:?}");

    let (client, mut server) = connected().await;
    for _ in 0..4 {
        client.send("/app/a", vec![0; 200_000]).await.unwrap();
    }
    drop(client);
    tokio::time::advance(Duration::from_secs(60)).await;
    // The stream ends, even inside a frame.
    soon(async { while server.event().await.is_some() {} }).await;
}

#[tokio::test]
async fn the_last_handle_disconnects() {
    let (client, mut server) = connected().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    client.send("/app/a", "last words").await.unwrap();
    drop(client);
    assert_eq!(server.send().await.body, "last words");
    // A subscription is a handle too.
    server.message(slot, "still here").await;
    assert!(soon(subscription.next()).await.unwrap().is_ok());
    drop(subscription);
    let event = soon(server.event()).await;
    assert!(
        matches!(event, Some(ServerEvent::Unsubscribe(_))),
        "{event:?}"
    );
    soon(server.disconnected()).await;
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut subscription, client, _server) = runtime.block_on(async {
        let (client, mut server) = connected().await;
        let (subscription, _) = tokio::join!(client.subscribe("/topic/a"), server.subscribed());
        (subscription.unwrap(), client, server)
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    other.block_on(async {
        let end = subscription.next().await;
        assert!(matches!(end, Some(Err(Error::Disconnected))), "{end:?}");
        assert!(client.send("/app/a", "late").await.is_err());
    });
}
