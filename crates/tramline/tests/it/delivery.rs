//! Messages on their way out: publishers, users, headers, bodies.

use tramline::extract::Text;
use tramline::publisher::SendError;
use tramline::{Bytes, Json, SessionId};

use crate::support::{Client, FrameExt, Server};

#[tokio::test]
async fn a_publisher_tells_how_many_subscriptions_it_reached() {
    let server = Server::start().await;
    let publisher = server.messaging().publisher();
    let send = async |body: &str| {
        let published = publisher.send("/topic/news", body.to_owned()).await;
        published.unwrap().local_receivers
    };
    assert_eq!(send("to nobody").await, 0);
    let mut one = Client::subscribed(&server, ["/topic/news", "/topic/**"]).await;
    let mut other = Client::subscribed(&server, ["/topic/other", "/topic/news"]).await;
    assert_eq!(send("hi").await, 3);
    for subscription in ["0", "1"] {
        one.expect_message("/topic/news", "hi")
            .await
            .has("subscription", subscription);
    }
    other
        .expect_message("/topic/news", "hi")
        .await
        .has("subscription", "1");
    other.send("UNSUBSCRIBE\nid:1\nreceipt:gone\n\n\0").await;
    other.expect("RECEIPT").await;
    assert_eq!(send("again").await, 2);
    server
        .counted("all are written", |stats| stats.messages_sent == 3 + 2)
        .await;
}

#[tokio::test]
async fn what_a_publisher_cannot_send() {
    let server = Server::start().await;
    let publisher = server.messaging().publisher();
    let wrong = publisher.send("/topic/*", "x").await.unwrap_err();
    assert!(matches!(wrong, SendError::Destination(_)), "{wrong:?}");
    let unreachable = |sent| match sent {
        Err(SendError::Unreachable(wrong)) => wrong,
        sent => panic!("{sent:?}"),
    };
    let wrong = unreachable(publisher.send("/queue/x", "x").await);
    let carried = "the broker carries no destination \"/queue/x\", only those below \"/topic\"";
    assert_eq!(wrong, carried);
    // What clients write for a user's destination reaches nobody, whoever is subscribed.
    let mut client = Client::connect_as(&server, "alice").await;
    client.subscribe("0", "/user/queue/x").await;
    let wrong = unreachable(publisher.send("/user/queue/x", "x").await);
    assert_eq!(
        wrong,
        "\"/user/queue/x\" is how clients write what is for a user: send to the user, at \"/queue/x\""
    );
    let user_path = "\"/user/queue/x\" is how clients write it: leave \"/user\" out, \"/queue/x\" is what they receive there";
    let sent = publisher.send_to_user("alice", "/user/queue/x", "x").await;
    assert_eq!(unreachable(sent), user_path);
    let sent = publisher.send_to_session(SessionId::random(), "/user/queue/x", "x");
    assert_eq!(unreachable(sent.await), user_path);
    let sent = publisher.send_to_user("alice", "/queue/x", "right").await;
    assert_eq!(sent.unwrap().local_receivers, 1);
    client.expect_message("/user/queue/x", "right").await;
    let map = std::collections::BTreeMap::from([(vec![1], 1)]);
    let wrong = publisher.send("/topic/x", Json(map)).await.unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the payload cannot be encoded: key must be a string"
    );
}

#[tokio::test]
async fn payloads_have_their_content_types() {
    let server = Server::start().await;
    let publisher = server.messaging().publisher();
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    let text = "text/plain;charset=UTF-8";
    publisher.send("/topic/x", "a").await.unwrap();
    client
        .expect_message("/topic/x", "a")
        .await
        .has("content-type", text);
    publisher.send("/topic/x", Text("b".into())).await.unwrap();
    client
        .expect_message("/topic/x", "b")
        .await
        .has("content-type", text);
    publisher.send("/topic/x", Json([1, 2])).await.unwrap();
    client
        .expect_message("/topic/x", "[1,2]")
        .await
        .has("content-type", "application/json");
    publisher
        .send("/topic/x", Bytes::from_static(b"c"))
        .await
        .unwrap();
    client
        .expect_message("/topic/x", "c")
        .await
        .has("content-type", "application/octet-stream");
    publisher.send("/topic/x", Some("d")).await.unwrap();
    client.expect_message("/topic/x", "d").await;
    let nothing: Option<&str> = None;
    assert_eq!(
        publisher
            .send("/topic/x", nothing)
            .await
            .unwrap()
            .local_receivers,
        0
    );
}

#[tokio::test]
async fn utf8_goes_out_as_text_and_bytes_as_binary() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/echo"]).await;
    for (body, text) in [
        (&b"plain"[..], true),
        ("größer".as_bytes(), true),
        (b"", true),
        (b"\xff\xfe", false),
        (b"\xc3", false),
        (b"nul \0 inside", true),
        (&[0xff; 40_000], false),
        (&[b'x'; 60_000], true),
    ] {
        let mut frame = format!(
            "SEND\ndestination:/app/echo\ncontent-length:{}\n\n",
            body.len()
        )
        .into_bytes();
        frame.extend_from_slice(body);
        frame.push(0);
        client.send_binary(&frame).await;
        let (message, as_text) = client.expect_any().await;
        assert_eq!((&message.body[..], as_text), (body, text));
        message
            .has("content-length", &*body.len().to_string())
            .has("content-type", None);
    }
}

#[tokio::test]
async fn a_sends_own_headers_pass_and_the_servers_do_not() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/open/x"]).await;
    client
        .send(
            "SEND\ndestination:/topic/open/x\ncontent-type:text/x-note\npriority:9\nreceipt:r\nmessage-id:mine\n\
             subscription:7\nack:1\nredelivered:true\nuser-name:root\ncontent-length:2\nlogin:root\npasscode:secret\n\
             dead-letter-reason:expired\ndead-letter-note:x\noriginal-destination:/queue/x\noriginal-delivery-count:9\n\
             delivery-count:9\nreceipt-id:r\noriginal-name:x\npriority:8\nnote:a\\cb\\nc\\\\\n\nhi\0",
        )
        .await;
    let mut message = client.expect_any().await.0;
    if message.command.as_str() == "RECEIPT" {
        message = client.expect_any().await.0;
    } else {
        client.expect("RECEIPT").await;
    }
    let mut headers: Vec<(&str, &str)> = message.headers.iter().collect();
    let id = message.headers.get("message-id").unwrap();
    headers.retain(|(name, _)| *name != "message-id");
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            ("content-length", "2"),
            ("content-type", "text/x-note"),
            ("destination", "/topic/open/x"),
            ("note", "a:b\nc\\"),
            ("original-name", "x"),
            ("priority", "8"),
            ("priority", "9"),
            ("subscription", "0"),
        ]
    );
    assert_ne!(id, "mine");
    assert_eq!(
        message.headers.get("priority"),
        Some("9"),
        "the first counts"
    );
}

#[tokio::test]
async fn message_ids_are_unique() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/open/x", "/topic/**"]).await;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..5 {
        client.send("SEND\ndestination:/topic/open/x\n\nx\0").await;
        let first = client.expect("MESSAGE").await;
        let second = client.expect("MESSAGE").await;
        second.has("message-id", first.headers.get("message-id"));
        ids.insert(first.headers.get("message-id").unwrap().to_owned());
    }
    assert_eq!(ids.len(), 5);
}

/// One encoded form per version, and each session gets its own.
#[tokio::test]
async fn sessions_of_different_versions_share_a_topic() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for accept in ["", "accept-version:1.1\n", "accept-version:1.2\n"] {
        let mut client = Client::open(&server).await;
        client.send(&format!("CONNECT\n{accept}\n\0")).await;
        client.expect("CONNECTED").await;
        client.subscribe("s", "/topic/**").await;
        clients.push(client);
    }
    clients[2]
        .send("SEND\ndestination:/topic/open/a\\cb\nnote:1\\c2\\r\n\nhi\0")
        .await;
    for (version, client) in clients.iter_mut().enumerate() {
        let message = client.expect("MESSAGE").await;
        assert_eq!(
            message.headers.get("destination"),
            Some("/topic/open/a:b"),
            "1.{version}"
        );
        if version > 0 {
            assert!(message.headers.get("note").unwrap().starts_with("1:2"));
        }
    }
}

#[tokio::test]
async fn a_users_messages_reach_all_of_its_sessions_and_nobody_elses() {
    let server = Server::start().await;
    let publisher = server.messaging().publisher();
    let mut first = Client::connect_as(&server, "alice").await;
    first.subscribe("a", "/user/queue/news").await;
    let mut second = Client::connect_as(&server, "alice").await;
    second.subscribe("b", "/user/queue/news").await;
    second.subscribe("c", "/user/queue/other").await;
    let mut bob = Client::connect_as(&server, "bob").await;
    bob.subscribe("d", "/user/queue/news").await;
    let mut anonymous = Client::subscribed(&server, ["/user/queue/news"]).await;

    let published = publisher
        .send_to_user("alice", "/queue/news", "for alice")
        .await;
    assert_eq!(published.unwrap().local_receivers, 2);
    let published = publisher
        .send_to_user("bob", "/queue/news", "for bob")
        .await;
    assert_eq!(published.unwrap().local_receivers, 1);
    let published = publisher.send_to_user("carol", "/queue/news", "x").await;
    assert_eq!(
        published.unwrap().local_receivers,
        0,
        "nobody there is no error"
    );

    let got = first.expect_message("/user/queue/news", "for alice").await;
    got.has("subscription", "a");
    let got = second.expect_message("/user/queue/news", "for alice").await;
    got.has("subscription", "b");
    bob.expect_message("/user/queue/news", "for bob").await;
    // Nothing came before this.
    anonymous.send("DISCONNECT\nreceipt:1\n\n\0").await;
    anonymous.expect("RECEIPT").await;

    second.send("UNSUBSCRIBE\nid:b\nreceipt:1\n\n\0").await;
    second.expect("RECEIPT").await;
    drop(first);
    server
        .counted("her other session is gone", |stats| stats.vanished == 1)
        .await;
    let published = publisher.send_to_user("alice", "/queue/news", "x").await;
    assert_eq!(published.unwrap().local_receivers, 0);
}

#[tokio::test]
async fn clients_send_to_users_where_the_policy_permits() {
    let server = Server::start().await;
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("0", "/user/queue/chat").await;
    let mut odd = Client::connect_as(&server, "a/b@example").await;
    odd.subscribe("0", "/user/queue/chat").await;
    let mut bob = Client::connect_as(&server, "bob").await;
    bob.subscribe("0", "/user/queue/chat").await;
    bob.send("SEND\ndestination:/user/alice/queue/chat\nmood:good\n\nhi alice\0")
        .await;
    let got = alice.expect_message("/user/queue/chat", "hi alice").await;
    got.has("mood", "good")
        .has("subscription", "0")
        .has("simpOrigDestination", None);
    bob.send("SEND\ndestination:/user/a%2Fb@example/queue/chat\n\nhi odd\0")
        .await;
    odd.expect_message("/user/queue/chat", "hi odd").await;
    bob.send("SEND\ndestination:/user/bob/queue/chat\n\nhi me\0")
        .await;
    bob.expect_message("/user/queue/chat", "hi me").await;

    bob.send("SEND\ndestination:/user/alice\n\nx\0").await;
    let body = "SEND to \"/user/alice\" is denied to user \"bob\" by this server's policy";
    bob.expect_error("access denied", body).await;
    server.serves().await;
}

/// What a subscription to a user destination catches, nobody can spell as a topic.
#[tokio::test]
async fn user_destinations_are_no_topics() {
    let server = Server::start().await;
    let mut alice = Client::connect_as(&server, "alice").await;
    alice.subscribe("0", "/user/queue/x").await;
    alice.subscribe("1", "/topic/**").await;
    let publisher = server.messaging().publisher();
    for wrong in ["/user/queue/x", "/queue/x", "/user/alice/queue/x"] {
        assert!(publisher.send(wrong, "x").await.is_err(), "{wrong}");
    }
    publisher
        .send_to_user("alice", "/queue/x", "mine")
        .await
        .unwrap();
    alice
        .expect_message("/user/queue/x", "mine")
        .await
        .has("subscription", "0");
    publisher.send("/topic/end", "end").await.unwrap();
    alice
        .expect_message("/topic/end", "end")
        .await
        .has("subscription", "1");
}

/// All who listen to a destination see one order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_see_one_order() {
    let server = Server::start().await;
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(Client::subscribed(&server, ["/topic/open/x"]).await);
    }
    let mut senders = [
        Client::connect(&server).await,
        Client::connect(&server).await,
    ];
    for number in 0..50 {
        for (name, sender) in ["a", "b"].iter().zip(&mut senders) {
            sender
                .send(&format!(
                    "SEND\ndestination:/topic/open/x\n\n{name}{number}\0"
                ))
                .await;
        }
    }
    let mut orders: Vec<Vec<String>> = Vec::new();
    for listener in &mut listeners {
        let mut order = Vec::new();
        for _ in 0..100 {
            order.push(listener.expect("MESSAGE").await.text().to_owned());
        }
        orders.push(order);
    }
    assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
    let of = |name| {
        orders[0]
            .iter()
            .filter(move |body| body.starts_with(name))
            .cloned()
    };
    assert!(of("a").eq((0..50).map(|number| format!("a{number}"))));
    assert!(of("b").eq((0..50).map(|number| format!("b{number}"))));
}
