//! Messages, receipts and streams.

mod common;

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{PIPE, connected, connected_plainly, soon};
use tramline_client::{AckMode, Error, Overflow, Subscription};
use tramline_stomp::{DeliveryId, ServerEvent};

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

#[tokio::test]
async fn the_mode_of_acknowledgement_is_no_header() {
    let (client, _server) = connected().await;
    let error = soon(client.subscribe("/queue/a").header("ack", "client")).await;
    let expected = "the header `ack:client` is not supported: choose the mode by `Subscribe::ack`";
    assert_eq!(error.unwrap_err().to_string(), expected);
    let dropping = client
        .subscribe("/queue/a")
        .ack(AckMode::Client)
        .overflow(Overflow::DropOldest);
    let error = soon(dropping).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    assert!(client.ended().is_none());
}

#[tokio::test]
async fn a_message_is_acknowledged_by_itself() {
    let (client, mut server) = connected().await;
    let subscribing = client
        .subscribe("/queue/a")
        .ack(AckMode::ClientIndividual)
        .prefetch(3);
    let (subscription, subscribed) = soon(async {
        tokio::join!(subscribing, async {
            let subscribe = server.subscribe().await;
            server.receipt(subscribe.receipt.as_deref().unwrap()).await;
            subscribe
        })
    })
    .await;
    let mut subscription = subscription.unwrap();
    assert_eq!(subscribed.ack, AckMode::ClientIndividual);
    assert_eq!(subscribed.headers.get("prefetch-count"), Some("3"));

    server.deliver(subscribed.slot, 1, "one").await;
    server.deliver(subscribed.slot, 2, "two").await;
    let one = soon(subscription.next()).await.unwrap().unwrap();
    let two = soon(subscription.next()).await.unwrap().unwrap();
    soon(one.ack()).await.unwrap();
    let (acked, ()) = soon(async {
        tokio::join!(two.nack().header("requeue", "false").receipt(), async {
            let Some(ServerEvent::Ack(ack)) = server.event().await else {
                panic!("no ACK")
            };
            let slot = subscribed.slot;
            assert_eq!(ack.delivery, DeliveryId::Tag { slot, tag: 1 });
            let Some(ServerEvent::Nack(nack)) = server.event().await else {
                panic!("no NACK")
            };
            assert_eq!(nack.delivery, DeliveryId::Tag { slot, tag: 2 });
            assert_eq!(nack.headers.get("requeue"), Some("false"));
            server.receipt(nack.receipt.as_deref().unwrap()).await;
        })
    })
    .await;
    acked.unwrap();
}

#[tokio::test]
async fn a_message_that_needs_no_acknowledgement_says_so() {
    let (client, mut server) = connected().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    server.message(slot, "one").await;
    let message = soon(subscription.unwrap().next()).await.unwrap().unwrap();
    let error = soon(message.ack()).await.unwrap_err();
    assert!(
        matches!(error, Error::NotAcknowledgeable { .. }) && error.to_string().contains("ack:auto"),
        "{error:?}"
    );
    assert!(client.ended().is_none());
}

#[tokio::test]
async fn a_transaction_commits_or_aborts() {
    let (client, mut server) = connected().await;
    let transaction = soon(client.begin()).await.unwrap();
    transaction.send("/queue/b", "one").await.unwrap();
    let (committed, ()) = soon(async {
        tokio::join!(transaction.commit(), async {
            let Some(ServerEvent::Begin(begin)) = server.event().await else {
                panic!("no BEGIN")
            };
            let send = server.send().await;
            assert_eq!(send.transaction.as_deref(), Some(&*begin.id));
            let Some(ServerEvent::Commit(commit)) = server.event().await else {
                panic!("no COMMIT")
            };
            assert_eq!(commit.id, begin.id);
            server.receipt(commit.receipt.as_deref().unwrap()).await;
        })
    })
    .await;
    committed.unwrap();

    let dropped = soon(client.begin()).await.unwrap();
    drop(dropped);
    assert!(matches!(
        soon(server.event()).await,
        Some(ServerEvent::Begin(_))
    ));
    let aborted = soon(server.event()).await;
    assert!(
        matches!(aborted, Some(ServerEvent::Abort(_))),
        "{aborted:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_until_the_bytes_are_written() {
    let (client, mut server) = connected().await;
    let mut flushing = Box::pin(
        client
            .send("/app/a", vec![b'x'; 4 * PIPE])
            .flush()
            .into_future(),
    );
    let stuck = tokio::time::timeout(Duration::from_secs(1), &mut flushing).await;
    assert!(stuck.is_err(), "the pipe does not hold it");
    let (flushed, send) = soon(async { tokio::join!(flushing, server.send()) }).await;
    flushed.unwrap();
    assert_eq!(send.body.len(), 4 * PIPE);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_missed_in_time() {
    let (client, mut server) = connected().await;
    let beats = async {
        loop {
            server.write(b"\n").await;
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    };
    let sending = client.send("/app/a", "one").receipt().into_future();
    let error = tokio::select! {
        sent = sending => sent.unwrap_err(),
        () = beats => panic!("it ends"),
    };
    assert!(
        matches!(error, Error::Timeout { after, .. } if after == Duration::from_secs(60)),
        "{error:?}"
    );
    assert!(client.ended().is_none());
}

#[tokio::test]
async fn the_reply_is_that_of_the_request() {
    let (client, mut server) = connected().await;
    let request = client
        .request("/queue/prices", "ABC")
        .reply_to("/user/queue/replies");
    let (reply, ()) = soon(async {
        tokio::join!(request, async {
            let subscribe = server.subscribe().await;
            assert_eq!(subscribe.destination, "/user/queue/replies");
            server.receipt(subscribe.receipt.as_deref().unwrap()).await;
            let send = server.send().await;
            assert_eq!(send.headers.get("reply-to"), Some("/user/queue/replies"));
            let correlation = send.headers.get("correlation-id").unwrap();
            server.reply(subscribe.slot, "another", "wrong").await;
            server.reply(subscribe.slot, correlation, "12").await;
        })
    })
    .await;
    assert_eq!(reply.unwrap().text().unwrap(), "12");

    let second = client
        .request("/queue/prices", "DEF")
        .reply_to("/user/queue/replies");
    let second = second.timeout(Duration::from_millis(1));
    let (reply, send) = soon(async { tokio::join!(second, server.send()) }).await;
    let error = reply.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert_eq!(send.body, "DEF", "it does not subscribe again");
}

#[tokio::test]
async fn a_full_inbox_may_drop_the_oldest() {
    let (client, mut server) = connected().await;
    let subscribing = client
        .subscribe("/topic/a")
        .inbox(2000)
        .overflow(Overflow::DropOldest);
    let (subscription, slot) = soon(async { tokio::join!(subscribing, server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    for n in 0..10 {
        server
            .message(slot, &format!("{n} {}", "x".repeat(1000)))
            .await;
    }
    // What was sent behind them has arrived, so they have too.
    let (sent, ()) = soon(async {
        tokio::join!(client.send("/app/a", "x").receipt(), async {
            let send = server.send().await;
            server.receipt(send.receipt.as_deref().unwrap()).await;
        })
    })
    .await;
    sent.unwrap();
    assert_eq!(subscription.dropped(), 8);
    assert!(text(&mut subscription).await.starts_with("8 "));
    assert!(text(&mut subscription).await.starts_with("9 "));
}

#[cfg(feature = "json")]
#[tokio::test]
async fn a_typed_subscription_outlives_a_bad_body() {
    let (client, mut server) = connected().await;
    let subscribing = client.subscribe_json::<Vec<u8>>("/topic/a");
    let (subscription, slot) = soon(async { tokio::join!(subscribing, server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    for body in ["[1,2]", "nonsense", "[3]"] {
        server.message(slot, body).await;
    }
    let mut values = Vec::new();
    for _ in 0..3 {
        values.push(soon(subscription.next()).await.unwrap().unwrap().value);
    }
    assert_eq!(values[0].as_ref().unwrap(), &[1, 2]);
    assert!(
        matches!(values[1], Err(Error::InvalidBody { .. })),
        "{values:?}"
    );
    assert_eq!(values[2].as_ref().unwrap(), &[3]);

    client.send_json("/app/a", &[7]).unwrap().await.unwrap();
    let send = server.send().await;
    assert_eq!(
        (&*send.body, send.headers.get("content-type")),
        (&b"[7]"[..], Some("application/json"))
    );
}

#[tokio::test]
async fn a_message_is_forwarded_without_the_headers_of_its_delivery() {
    let (client, mut server) = connected().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    server
        .message_with(slot, "receipt", "of the sender", "one")
        .await;
    server.message_with(slot, "note", "kept", "two").await;
    let mut subscription = subscription.unwrap();
    for note in [None, Some("kept")] {
        let message = soon(subscription.next()).await.unwrap().unwrap();
        client.forward("/queue/b", &message).await.unwrap();
        let send = server.send().await;
        assert_eq!(
            (&*send.destination, &send.body),
            ("/queue/b", &message.body)
        );
        assert_eq!(send.headers.get("note"), note);
        assert_eq!(send.receipt, None);
        assert_eq!(send.headers.get("message-id"), None);
    }
}

#[tokio::test]
async fn unsubscribing_waits_for_its_receipt() {
    let (client, mut server) = connected().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    let (left, ()) = soon(async {
        tokio::join!(subscription.unwrap().unsubscribe(), async {
            let Some(ServerEvent::Unsubscribe(gone)) = server.event().await else {
                panic!("no UNSUBSCRIBE")
            };
            assert_eq!(gone.slot, slot);
            server.receipt(gone.receipt.as_deref().unwrap()).await;
        })
    })
    .await;
    left.unwrap();
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
