//! Lost connections that are opened again.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::{PIPE, Server, soon};
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};
use tramline_client::{AckMode, Client, Connect, Credentials, Error, Reconnect, State};
use tramline_stomp::{ErrorReply, ServerEvent};

type Ends = mpsc::UnboundedReceiver<(String, DuplexStream)>;

/// A builder whose connections come out of the receiver, with the host that was asked for.
fn dialling(url: &str) -> (Connect, Ends) {
    let (sender, ends) = mpsc::unbounded_channel();
    let connect = Client::connect(url).dial(move |host, _| {
        let (near, far) = duplex(PIPE);
        let sent = sender.send((host, far));
        async move {
            sent.map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            Ok(near)
        }
    });
    (connect.reconnect(Reconnect::new()), ends)
}

async fn next(ends: &mut Ends) -> Server<DuplexStream> {
    let (_, far) = soon(ends.recv()).await.unwrap();
    soon(Server::plain(far)).await
}

async fn connected() -> (Client, Server<DuplexStream>, Ends) {
    let (connect, mut ends) = dialling("stomp://one.test");
    let (client, server) = soon(async { tokio::join!(connect, next(&mut ends)) }).await;
    (client.unwrap(), server, ends)
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_made_again_and_go_on_where_they_were() {
    let (client, mut server, mut ends) = connected().await;
    let (subscription, slot) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    server.message_with(slot, "position", "7-3", "one").await;
    assert_eq!(
        soon(subscription.next()).await.unwrap().unwrap().body,
        "one"
    );
    drop(server);

    let mut server = next(&mut ends).await;
    let again = soon(server.subscribe()).await;
    assert_eq!(again.destination, "/topic/a");
    assert_eq!(again.headers.get("resume-from"), Some("7-3"));
    server.receipt(again.receipt.as_deref().unwrap()).await;
    server
        .message_with(again.slot, "position", "7-4", "two")
        .await;
    assert_eq!(
        soon(subscription.next()).await.unwrap().unwrap().body,
        "two"
    );
    assert!(client.ended().is_none());
}

#[tokio::test(start_paused = true)]
async fn sends_wait_for_the_next_connection_and_are_not_repeated() {
    let (client, mut server, mut ends) = connected().await;
    let sending = tokio::spawn(client.send("/app/a", "unanswered").receipt().into_future());
    assert_eq!(soon(server.send()).await.body, "unanswered");
    let mut states = client.states();
    assert!(matches!(soon(states.next()).await, Some(State::Connected)));
    drop(server);
    let error = soon(sending).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ClosedByServer { .. }), "{error:?}");
    let state = soon(states.next()).await;
    assert!(
        matches!(state, Some(State::Reconnecting { attempt: 1, .. })),
        "{state:?}"
    );

    let kept = tokio::spawn(client.send("/app/a", "kept").receipt().into_future());
    let mut server = next(&mut ends).await;
    let send = soon(server.send()).await;
    assert_eq!(send.body, "kept", "what was sent is not sent again");
    server.receipt(send.receipt.as_deref().unwrap()).await;
    soon(kept).await.unwrap().unwrap();
    assert!(matches!(soon(states.next()).await, Some(State::Connected)));
}

#[tokio::test(start_paused = true)]
async fn sends_fail_at_once_if_asked_for() {
    let (connect, mut ends) = dialling("stomp://one.test");
    let connect = connect.reconnect(Reconnect::new().fail_sends());
    let (client, server) = soon(async { tokio::join!(connect, next(&mut ends)) }).await;
    let client = client.unwrap();
    let mut states = client.states();
    soon(states.next()).await;
    drop(server);
    soon(states.next()).await;
    let error = soon(client.send("/app/a", "one")).await.unwrap_err();
    assert!(matches!(error, Error::ClosedByServer { .. }), "{error:?}");
    let mut server = next(&mut ends).await;
    while !matches!(soon(states.next()).await, Some(State::Connected)) {}
    client.send("/app/a", "two").await.unwrap();
    assert_eq!(soon(server.send()).await.body, "two");
}

#[tokio::test(start_paused = true)]
async fn unacknowledged_messages_and_transactions_end_with_their_connection() {
    let (client, mut server, mut ends) = connected().await;
    let subscribing = client.subscribe("/queue/a").ack(AckMode::ClientIndividual);
    let (subscription, slot) = soon(async { tokio::join!(subscribing, server.subscribed()) }).await;
    let mut subscription = subscription.unwrap();
    server.deliver(slot, 1, "read").await;
    server.message_with(slot, "position", "7-2", "unread").await;
    let read = soon(subscription.next()).await.unwrap().unwrap();
    let transaction = soon(client.begin()).await.unwrap();
    let mut states = client.states();
    soon(states.next()).await;
    drop(server);
    soon(states.next()).await;

    let error = soon(read.ack()).await.unwrap_err();
    assert!(
        matches!(error, Error::NotAcknowledgeable { .. }),
        "{error:?}"
    );
    let error = soon(transaction.commit()).await.unwrap_err();
    assert!(matches!(error, Error::TransactionLost), "{error:?}");

    let mut server = next(&mut ends).await;
    let subscribe = soon(server.subscribe()).await;
    let resumed = subscribe.headers.get("resume-from");
    assert_eq!(resumed, None, "it would skip what was unread");
    server.receipt(subscribe.receipt.as_deref().unwrap()).await;
    let slot = subscribe.slot;
    server.deliver(slot, 1, "read again").await;
    let again = soon(subscription.next()).await.unwrap().unwrap();
    assert_eq!(
        again.body, "read again",
        "what was unread is not delivered twice"
    );
    soon(again.ack()).await.unwrap();
    assert!(matches!(
        soon(server.event()).await,
        Some(ServerEvent::Ack(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn the_waits_grow_and_start_anew_after_a_success() {
    let (connect, mut ends) = dialling("stomp://one.test");
    let (client, server) = soon(async { tokio::join!(connect, next(&mut ends)) }).await;
    let client = client.unwrap();
    let mut states = client.states();
    soon(states.next()).await;
    drop(server);
    let mut waits = Vec::new();
    for expected in 1..=4 {
        let Some(State::Reconnecting { attempt, after, .. }) = soon(states.next()).await else {
            panic!("no attempt")
        };
        assert_eq!(attempt, expected);
        waits.push(after.as_secs_f64());
        // This one takes the connection, and closes it.
        drop(soon(ends.recv()).await);
    }
    for (wait, longest) in waits.iter().zip([1.0, 2.0, 4.0, 8.0]) {
        assert!((longest / 2.0..=longest).contains(wait), "{waits:?}");
    }
    let server = next(&mut ends).await;
    while !matches!(soon(states.next()).await, Some(State::Connected)) {}
    drop(server);
    let state = soon(states.next()).await;
    assert!(
        matches!(state, Some(State::Reconnecting { attempt: 1, .. })),
        "{state:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn other_addresses_are_tried_with_fresh_credentials() {
    let (connect, mut ends) = dialling("stomp://one.test");
    let count = Arc::new(AtomicUsize::new(0));
    let connect = connect.fallback("stomp://two.test").credentials(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok(Credentials::login("ann", format!("token{number}"))) }
    });
    let serve = async {
        let (host, far) = ends.recv().await.unwrap();
        assert_eq!(host, "one.test");
        drop(far);
        let (host, far) = ends.recv().await.unwrap();
        assert_eq!(host, "two.test");
        let mut server = Server::new(far, None);
        let Some(ServerEvent::Connect(connect)) = server.event().await else {
            panic!("no CONNECT")
        };
        assert_eq!(connect.passcode.as_deref(), Some("token1"));
        server.stomp.accept(Some("ann"), Some("s1"), common::now());
        server.flush().await;
        server
    };
    let (client, server) = soon(async { tokio::join!(connect, serve) }).await;
    let client = client.unwrap();
    drop(server);
    // The one that worked comes first.
    let (host, far) = soon(ends.recv()).await.unwrap();
    assert_eq!(host, "two.test");
    let _server = soon(Server::plain(far)).await;
    assert!(client.ended().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_refused_is_not_made_again() {
    let (client, mut server, mut ends) = connected().await;
    let (kept, _) =
        soon(async { tokio::join!(client.subscribe("/topic/a"), server.subscribed()) }).await;
    let _kept = kept.unwrap();
    let refuse = async {
        let subscribe = server.subscribe().await;
        server
            .stomp
            .error(ErrorReply::new("no").receipt(subscribe.receipt));
        server.flush().await;
        drop(server);
    };
    let (refused, ()) =
        soon(async { tokio::join!(client.subscribe("/topic/secret"), refuse) }).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::ServerError { .. }), "{error:?}");
    let mut server = next(&mut ends).await;
    let again = soon(server.subscribe()).await;
    assert_eq!(again.destination, "/topic/a");
    server.receipt(again.receipt.as_deref().unwrap()).await;
    client.send("/app/a", "next").await.unwrap();
    assert_eq!(
        soon(server.send()).await.body,
        "next",
        "and no other SUBSCRIBE"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_and_the_last_attempt_end_the_client() {
    let (client, server, mut ends) = connected().await;
    drop(server);
    let (_, far) = soon(ends.recv()).await.unwrap();
    let mut server = Server::new(far, None);
    soon(server.event()).await;
    server.stomp.refuse(ErrorReply::new("bad credentials"));
    server.flush().await;
    let mut states = client.states();
    let ended = loop {
        match soon(states.next()).await {
            Some(State::Ended(error)) => break error,
            Some(_) => {}
            None => panic!("it has not ended"),
        }
    };
    assert!(
        matches!(ended.cause(), Error::ServerError { .. }),
        "{ended:?}"
    );
    assert!(soon(states.next()).await.is_none());

    let (connect, mut ends) = dialling("stomp://one.test");
    let connect = connect.reconnect(Reconnect::new().attempts(2));
    let (client, server) = soon(async { tokio::join!(connect, next(&mut ends)) }).await;
    let client = client.unwrap();
    drop((server, ends));
    let error = soon(client.send("/app/a", "kept").receipt())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with("cannot connect to stomp://one.test:61613: "),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn leaving_does_not_wait_for_a_connection() {
    let (client, server, mut ends) = connected().await;
    let mut states = client.states();
    soon(states.next()).await;
    drop(server);
    soon(states.next()).await;
    let error = soon(client.disconnect()).await.unwrap_err();
    assert!(matches!(error, Error::ClosedByServer { .. }), "{error:?}");
    assert!(client.ended().is_some());

    let (client, server, mut more) = connected().await;
    let mut states = client.states();
    soon(states.next()).await;
    drop((client, server));
    while soon(states.next()).await.is_some() {}
    for ends in [&mut ends, &mut more] {
        assert!(
            soon(ends.recv()).await.is_none(),
            "nobody connects any more"
        );
    }
}

#[tokio::test]
async fn a_stream_cannot_be_opened_again() {
    let (near, _far) = duplex(PIPE);
    let error = Client::over(near)
        .reconnect(Reconnect::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Connect::dial"), "{error}");
}
