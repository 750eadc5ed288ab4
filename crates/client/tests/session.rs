//! Messages, receipts and streams.

mod common;

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use common::{connected, connected_plainly, soon};
use tramline_client::{Error, Overflow, Subscription};
use tramline_stomp::ServerEvent;

#[tokio::test]
async fn a_message_arrives_whole() {
    let (client, mut server) = connected().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    assert_eq!(subscription.destination(), "/topic/a");
    server.message(slot, "[1,2]").await;
    let message = soon(subscription.next()).await.unwrap().unwrap();
    assert_eq!(message.destination, "/topic/a");
    assert_eq!(message.message_id, "m1");
    assert_eq!(message.content_type(), Some("text/plain"));
    assert_eq!(message.text().unwrap(), "[1,2]");
    #[cfg(feature = "json")]
    {
        assert_eq!(message.json::<Vec<u8>>().unwrap(), [1, 2]);
        let error = message.json::<String>().unwrap_err();
        assert!(matches!(error, Error::InvalidBody { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn subscribing_waits_for_the_receipt() {
    let (client, mut server) = connected().await;
    let mut subscribing = Box::pin(client.subscribe("/topic/a").into_future());
    let subscribe = tokio::select! {
        biased;
        _ = &mut subscribing => panic!("confirmed by nobody"),
        subscribe = server.subscribe() => subscribe,
    };
    // Messages before the receipt are kept.
    server.message(subscribe.slot, "early").await;
    server.receipt(&subscribe.receipt.unwrap()).await;
    let mut subscription = soon(subscribing).await.unwrap();
    assert_eq!(text(&mut subscription).await, "early");

    let _unconfirmed = soon(client.subscribe("/topic/b").unconfirmed())
        .await
        .unwrap();
    assert_eq!(server.subscribe().await.receipt, None);
}

/// It would stop after as many messages as the server gives out at a time.
#[tokio::test]
async fn a_subscription_that_has_to_acknowledge_is_refused() {
    let (client, mut server) = connected().await;
    for mode in ["client", "client-individual", "none", ""] {
        let error = soon(client.subscribe("/queue/a").header("ack", mode))
            .await
            .unwrap_err();
        let expected = format!(
            "the header `ack:{mode}` is not supported: this client does not acknowledge messages; leave the header out"
        );
        assert_eq!(error.to_string(), expected);
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    }
    assert!(client.ended().is_none());
    let (subscribed, _) = soon(async {
        let auto = client.subscribe("/queue/a").header("ack", "auto");
        tokio::join!(auto, server.subscribed())
    })
    .await;
    assert!(subscribed.is_ok(), "nothing was sent before");
}

#[tokio::test]
async fn a_send_resolves_when_queued_or_when_confirmed() {
    let (client, mut server) = connected().await;
    client
        .send("/app/a", "one")
        .header("k", "v:w")
        .content_type("text/plain")
        .await
        .unwrap();
    let send = server.send().await;
    assert_eq!((&*send.destination, &*send.body), ("/app/a", &b"one"[..]));
    assert_eq!(send.headers.get("k"), Some("v:w"));
    assert_eq!(send.headers.get("content-type"), Some("text/plain"));
    assert_eq!(send.receipt, None);

    let mut sending = Box::pin(client.send("/app/a", vec![0xff, 0]).receipt().into_future());
    let send = tokio::select! {
        biased;
        _ = &mut sending => panic!("confirmed by nobody"),
        send = server.send() => send,
    };
    assert_eq!(&*send.body, [0xff, 0]);
    server.receipt(&send.receipt.unwrap()).await;
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn plain_stomp_does_the_same() {
    let (client, mut server) = connected_plainly().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/queue/a"), server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    server.message(slot, "plain").await;
    assert_eq!(text(&mut subscription).await, "plain");
    let (left, ()) = soon(async { tokio::join!(client.disconnect(), server.disconnected()) }).await;
    left.unwrap();
    assert!(matches!(
        soon(subscription.next()).await,
        Some(Err(Error::Disconnected))
    ));
    assert!(soon(subscription.next()).await.is_none());
}

#[tokio::test]
async fn dropping_a_subscription_unsubscribes() {
    let (client, mut server) = connected().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    drop(subscription);
    let event = soon(server.event()).await;
    assert!(
        matches!(&event, Some(ServerEvent::Unsubscribe(gone)) if gone.slot == slot),
        "{event:?}"
    );

    // And so does cancelling before it was confirmed.
    let mut subscribing = Box::pin(client.subscribe("/topic/b").into_future());
    let slot = tokio::select! {
        biased;
        _ = &mut subscribing => panic!("confirmed by nobody"),
        subscribe = server.subscribe() => subscribe.slot,
    };
    drop(subscribing);
    let event = soon(server.event()).await;
    assert!(
        matches!(&event, Some(ServerEvent::Unsubscribe(gone)) if gone.slot == slot),
        "{event:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_inbox_pushes_back_and_loses_nothing() {
    let (client, mut server) = connected().await;
    let subscribing = client.subscribe("/topic/a").inbox(4 * 1024);
    let (subscription, slot) = soon(async { tokio::join!(subscribing, server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    let body = "x".repeat(1000);
    let flood = async {
        for n in 0..200 {
            server.message(slot, &format!("{n} {body}")).await;
        }
    };
    let mut flood = Box::pin(flood);
    // The clock advances only when nothing else can: the server is blocked, well before its end.
    let stuck = tokio::time::timeout(std::time::Duration::from_secs(1), &mut flood).await;
    assert!(
        stuck.is_err(),
        "200 KiB do not fit into inbox, pipe and one read"
    );

    // Sends still go out.
    client.send("/app/a", "out").await.unwrap();

    let read = async {
        for n in 0..200 {
            assert!(text(&mut subscription).await.starts_with(&format!("{n} ")));
        }
    };
    soon(async { tokio::join!(flood, read) }).await;
    assert_eq!(server.send().await.body, "out");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscription_does_not_push_back() {
    let (client, mut server) = connected().await;
    let subscribing = client.subscribe("/topic/a").inbox(0);
    let (subscription, slot) = soon(async { tokio::join!(subscribing, server.subscribed()) }).await;
    let flood = async {
        for _ in 0..200 {
            server.message(slot, &"x".repeat(1000)).await;
        }
    };
    let mut flood = Box::pin(flood);
    let stuck = tokio::time::timeout(std::time::Duration::from_secs(1), &mut flood).await;
    assert!(stuck.is_err());
    drop(subscription);
    soon(flood).await;
}

#[tokio::test]
async fn a_full_inbox_does_not_keep_us_from_leaving() {
    let (client, mut server) = connected().await;
    let subscribing = client.subscribe("/topic/a").inbox(0);
    let (subscription, slot) = soon(async { tokio::join!(subscribing, server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    for body in ["read", "dropped"] {
        server.message(slot, body).await;
    }
    let (left, ()) = soon(async { tokio::join!(client.disconnect(), server.disconnected()) }).await;
    left.unwrap();
    assert_eq!(text(&mut subscription).await, "read");
    let end = soon(subscription.next()).await;
    assert!(matches!(end, Some(Err(Error::Disconnected))), "{end:?}");
}

#[tokio::test]
async fn an_inbox_that_may_not_push_back_ends() {
    let (client, mut server) = connected().await;
    let subscribing = client
        .subscribe("/topic/a")
        .inbox(2000)
        .overflow(Overflow::End);
    let (subscription, slot) = soon(async { tokio::join!(subscribing, server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    for n in 0..3 {
        server
            .message(slot, &format!("{n} {}", "x".repeat(1000)))
            .await;
    }
    let event = soon(server.event()).await;
    assert!(
        matches!(event, Some(ServerEvent::Unsubscribe(_))),
        "{event:?}"
    );
    assert!(text(&mut subscription).await.starts_with("0 "));
    assert!(text(&mut subscription).await.starts_with("1 "));
    let end = soon(subscription.next()).await;
    assert!(
        matches!(end, Some(Err(Error::InboxFull { limit: 2000 }))),
        "{end:?}"
    );
    assert!(soon(subscription.next()).await.is_none());
    assert!(client.ended().is_none(), "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_makes_sends_wait() {
    let (client, mut server) = connected().await;
    let body = "x".repeat(50_000);
    let sends = async {
        for _ in 0..80 {
            client.send("/app/a", body.clone()).await.unwrap();
        }
    };
    let mut sends = Box::pin(sends);
    let stuck = tokio::time::timeout(std::time::Duration::from_secs(1), &mut sends).await;
    assert!(
        stuck.is_err(),
        "4 MB do not fit into the queue and the pipe"
    );
    let read = async {
        for _ in 0..80 {
            assert_eq!(server.send().await.body.len(), body.len());
        }
    };
    soon(async { tokio::join!(sends, read) }).await;
}

#[tokio::test]
async fn a_subscription_is_a_stream() {
    fn poll<S: futures_core::Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(stream).poll_next(&mut context)
    }
    let (client, mut server) = connected().await;
    let (subscription, _) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    assert!(poll(&mut subscription.unwrap()).is_pending());
}

async fn text(subscription: &mut Subscription) -> String {
    let message = soon(subscription.next()).await.unwrap().unwrap();
    message.text().unwrap().to_owned()
}
