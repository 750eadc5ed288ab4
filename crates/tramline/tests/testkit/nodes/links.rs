//! Engines that cannot be reached for a while.

use tramline::broker::PublishError;
use tramline::publisher::SendError;
use tramline::test::AckMode;

use super::support::{nodes, reads};

const UNAVAILABLE: &str = "the broker is not available";

#[tokio::test]
async fn subscriptions_live_through_it_and_what_is_asked_meanwhile_is_refused() {
    let [here, there] = nodes(|engine| engine).await;
    let (ada, bob) = (here.connect("ada").await, there.connect("bob").await);
    let mut topic = ada.subscribe("/topic/a").await;
    let mut mine = ada.subscribe("/user/queue/x").await;
    let mut jobs = ada.subscribe("/queue/jobs").await;
    let others = [(); 3].map(|()| here.connect("eve"));
    let mut eves = Vec::new();
    for eve in others {
        eves.push(eve.await);
    }
    for node in [&here, &there] {
        node.events();
    }

    here.engine.lose();
    assert_eq!(here.events(), ["unavailable"]);
    assert!(there.events().is_empty());
    let publisher = here.app.publisher();
    let error = publisher.send("/topic/a", "lost").await.unwrap_err();
    let unavailable = matches!(error, SendError::Publish(PublishError::BrokerUnavailable));
    assert!(unavailable, "{error:?}");
    eves[0].send("/topic/a", "lost").await;
    drop(eves[1].subscribe("/topic/b").await);
    drop(eves[2].subscribe("/queue/b").await);
    let errors = [
        "message not published",
        "subscription refused",
        "subscription refused",
    ];
    for (eve, error) in eves.iter().zip(errors) {
        let end = eve.closed().await;
        assert_eq!(
            (end.error(), end.detail()),
            (Some(error), Some(UNAVAILABLE))
        );
    }
    let newcomer = here.app.try_connect_with(|client| client);
    let end = newcomer.await.unwrap_err();
    assert_eq!(
        (end.error(), end.detail()),
        (Some("session refused"), Some(UNAVAILABLE))
    );
    bob.send("/topic/a", "unheard").await;

    here.engine.restore();
    assert!(here.app.start().await.is_ok());
    let events = here.events();
    assert_eq!(events.iter().filter(|line| *line == "available").count(), 1);
    assert!(!events.contains(&"unavailable".to_owned()));
    bob.send("/topic/a", "heard").await;
    bob.send("/user/ada/queue/x", "heard").await;
    bob.send("/queue/jobs", "heard").await;
    for subscription in [&mut topic, &mut mine, &mut jobs] {
        assert_eq!(subscription.next_text().await, "heard");
        subscription.expect_nothing().await;
    }
}

/// A handler's client receives the rejection, and its session goes on.
#[tokio::test]
async fn a_handler_s_reply_is_rejected() {
    let [here, _there] = nodes(|engine| engine).await;
    let ada = here.app.connect_as("ada").await;
    here.engine.lose();
    ada.send("/app/say", "x").await;
    let rejection = ada.expect_rejection().await;
    assert_eq!(
        (&*rejection.kind, &*rejection.error),
        ("not-published", UNAVAILABLE)
    );
    here.engine.restore();
    let mut topic = ada.subscribe("/topic/a").await;
    ada.send("/app/say", "y").await;
    assert_eq!(topic.next_text().await, "y");
}

#[tokio::test]
async fn a_delivery_before_it_cannot_be_acknowledged_after_it() {
    let [here, there] = nodes(|engine| engine).await;
    let ada = here.connect("ada").await;
    let subscribing = ada.subscribe_with("/queue/jobs", |s| s.ack(AckMode::ClientIndividual));
    let mut jobs = subscribing.await;
    ada.send("/queue/jobs", "one").await;
    let job = jobs.next().await;
    here.engine.lose();
    let bob = there.connect("bob").await;
    let mut others = bob.subscribe("/queue/jobs").await;
    let again = others.next().await;
    assert_eq!(
        (again.text(), again.header("redelivered")),
        ("one", Some("true"))
    );
    here.engine.restore();
    let acked = tokio::spawn(async move { jobs.ack(&job).await });
    let end = ada.closed().await;
    assert_eq!(end.error(), Some("not acknowledged"));
    assert!(
        end.detail().unwrap().starts_with("no delivery 1 waits"),
        "{end}"
    );
    assert!(acked.await.is_err());
}

#[tokio::test]
async fn registry_and_presence_are_right_again_after_it() {
    const ROOM: &str = "/topic/rooms/7";
    let [here, there] = nodes(|engine| engine).await;
    let (ada, bob) = (here.connect("ada").await, there.connect("bob").await);
    let cy = there.connect("cy").await;
    for client in [&ada, &bob, &cy] {
        drop(client.subscribe(ROOM).await);
    }
    here.settle();
    let present = |node: &super::support::Node| node.app.presence().members(ROOM);
    let users = |node: &super::support::Node| {
        let users = node.app.registry().users();
        users
            .iter()
            .map(|user| user.name().to_owned())
            .collect::<Vec<_>>()
    };
    for node in [&here, &there] {
        assert_eq!(users(node), ["ada", "bob", "cy"]);
        assert_eq!(present(node), ["ada", "bob", "cy"]);
    }
    here.engine.lose();
    for (node, own) in [(&here, vec!["ada"]), (&there, vec!["bob", "cy"])] {
        assert_eq!(users(node), own);
        assert_eq!(present(node), own);
    }
    bob.disconnect().await;
    here.engine.restore();
    for node in [&here, &there] {
        reads(|| users(node), vec!["ada".to_owned(), "cy".to_owned()]).await;
        reads(|| present(node), vec!["ada".to_owned(), "cy".to_owned()]).await;
    }
}

/// STOMP has only ERROR to say that a subscription is over.
#[tokio::test]
async fn a_subscription_that_the_broker_ends_ends_its_session_by_name() {
    let [here, there] = nodes(|engine| engine).await;
    let clients = ["ada", "bob", "cy"].map(|name| here.connect(name));
    let mut connected = Vec::new();
    for client in clients {
        connected.push(client.await);
    }
    let destinations = ["/topic/a", "/queue/jobs", "/topic/b"];
    let mut subscriptions = Vec::new();
    for (client, destination) in connected.iter().zip(destinations) {
        subscriptions.push(client.subscribe(destination).await);
    }
    for (client, destination) in connected.iter().zip(destinations).take(2) {
        here.engine.lose();
        here.events();
        here.engine.restore_without(destination);
        let end = client.closed().await;
        assert_eq!(end.error(), Some("subscription ended"));
        let detail = end.detail().unwrap();
        let reason = format!("to \"{destination}\": {destination} was refused");
        assert!(detail.ends_with(&reason), "{detail}");
        let events = here.events();
        let ended = |line: &&String| line.contains("unsubscribed") && line.contains(destination);
        assert_eq!(events.iter().filter(ended).count(), 1, "{events:?}");
    }
    assert_eq!(here.app.messaging().stats().rejected, 2);
    there
        .connect("eve")
        .await
        .send("/topic/b", "still here")
        .await;
    assert_eq!(subscriptions[2].next_text().await, "still here");

    here.engine.lose();
    here.engine.restore_without("user \"cy\"");
    let end = connected[2].closed().await;
    assert_eq!(
        (end.code(), end.reason()),
        (Some(1013), "user \"cy\" was refused")
    );
}

#[tokio::test]
async fn a_client_is_told_which_subscription_missed_messages() {
    let [here, there] = nodes(|engine| engine).await;
    let ada = here.app.connect_as("ada").await;
    let mut topic = ada.subscribe("/topic/a").await;
    here.engine.lose();
    there.connect("bob").await.send("/topic/a", "missed").await;
    here.engine.restore();
    let notices = [ada.expect_rejection().await, ada.expect_rejection().await];
    let mut missed = notices.map(|notice| (notice.kind, notice.destination));
    missed.sort_unstable();
    let of = |destination: &str| ("messages-missed".to_owned(), destination.to_owned());
    assert_eq!(missed, [of("/topic/a"), of("/user/queue/errors")]);
    there.connect("bob").await.send("/topic/a", "seen").await;
    assert_eq!(topic.next_text().await, "seen");
    let stats = here.app.messaging().stats();
    assert_eq!((stats.messages_missed, stats.rejected), (2, 0));
}
