//! Interceptors: every frame in, every message out; what they change, refuse and count.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tramline::broker::QueueSettings;
use tramline::interceptor::{ClientFrame, Interceptor, Outgoing, OutgoingMessage, Refusal};
use tramline::policy::{Policy, permit, role};
use tramline::reply::{IntoReply, Payload};
use tramline::{Rejection, message};
use tramline_stomp::Version;

use crate::support::{Client, ERRORS, FrameExt, Log, Server, Setup, Tcp, answer, broker};

/// An interceptor of two functions.
struct Both<I, O>(I, O);

impl<I, O> Interceptor for Both<I, O>
where
    I: Fn(&mut ClientFrame<'_>) -> Result<(), Refusal> + Send + Sync + 'static,
    O: Fn(&OutgoingMessage<'_>) -> Outgoing + Send + Sync + 'static,
{
    fn inbound(&self, frame: &mut ClientFrame<'_>) -> Result<(), Refusal> {
        self.0(frame)
    }

    fn outbound(&self, message: &OutgoingMessage<'_>) -> Outgoing {
        self.1(message)
    }
}

fn inbound(
    see: impl Fn(&mut ClientFrame<'_>) -> Result<(), Refusal> + Send + Sync + 'static,
) -> impl Interceptor {
    Both(see, |_: &OutgoingMessage<'_>| Outgoing::Pass)
}

fn outbound(
    see: impl Fn(&OutgoingMessage<'_>) -> Outgoing + Send + Sync + 'static,
) -> impl Interceptor {
    Both(|_: &mut ClientFrame<'_>| Ok(()), see)
}

/// Everything a session may say, once.
const ALL: &str = "SUBSCRIBE\nid:0\ndestination:/queue/x\nack:client-individual\n\n\0\
                   SEND\ndestination:/topic/x\n\nx\0\
                   BEGIN\ntransaction:a\n\n\0\
                   ABORT\ntransaction:a\n\n\0\
                   BEGIN\ntransaction:b\n\n\0\
                   SEND\ndestination:/topic/x\ntransaction:b\n\nx\0\
                   COMMIT\ntransaction:b\n\n\0\
                   UNSUBSCRIBE\nid:0\n\n\0\
                   DISCONNECT\nreceipt:bye\n\n\0";

#[tokio::test]
async fn every_frame_is_seen_once_and_in_order() {
    let log = Log::default();
    let noted = log.clone();
    let server = Setup::open_to_all(broker())
        .builder(move |builder| {
            builder.interceptor(inbound(move |frame| {
                let user = frame
                    .user()
                    .map_or("nobody".to_owned(), |user| user.name().to_owned());
                let destination = frame.destination().unwrap_or("-").to_owned();
                noted.add(format!("{} {destination} {user}", frame.command()));
                Ok(())
            }))
        })
        .start()
        .await;
    let publisher = server.messaging().publisher();
    publisher.send("/queue/y", "for y").await.unwrap();
    let mut client = Client::connect_as(&server, "alice").await;
    client
        .send("SUBSCRIBE\nid:y\ndestination:/queue/y\nack:client-individual\n\n\0")
        .await;
    let first = client.expect("MESSAGE").await;
    let ack = first.headers.get("ack").unwrap().to_owned();
    client.send(&format!("NACK\nid:{ack}\n\n\0")).await;
    let again = client.expect("MESSAGE").await;
    let ack = again.headers.get("ack").unwrap().to_owned();
    client.send(&format!("ACK\nid:{ack}\n\n\0")).await;
    // All at once, so that sends are held back behind each other.
    client.send(ALL).await;
    client.expect("RECEIPT").await.has("receipt-id", "bye");
    log.reads([
        "CONNECT - alice",
        "SUBSCRIBE /queue/y alice",
        "NACK - alice",
        "ACK - alice",
        "SUBSCRIBE /queue/x alice",
        "SEND /topic/x alice",
        "BEGIN - alice",
        "ABORT - alice",
        "BEGIN - alice",
        "SEND /topic/x alice",
        "COMMIT - alice",
        "UNSUBSCRIBE - alice",
        "DISCONNECT - alice",
    ])
    .await;
}

#[tokio::test]
async fn what_is_changed_is_what_the_rest_sees() {
    async fn seen(headers: tramline::extract::Headers, body: String) -> String {
        format!("{} {body}", headers.get("tenant").unwrap_or("none"))
    }
    let server = Setup::new()
        .builder(|builder| {
            builder
                .interceptor(inbound(|frame| {
                    if frame.command() == "SEND" {
                        let body = frame.body().unwrap().to_ascii_uppercase();
                        frame.set_body(body);
                        frame.headers_mut().unwrap().push("tenant", "acme");
                    }
                    Ok(())
                }))
                .interceptor(inbound(|frame| {
                    // The second sees what the first left.
                    if frame.body().is_some_and(|body| body == "MOVE ME") {
                        frame.set_destination("/topic/open/moved");
                    }
                    if frame.destination() == Some("/topic/alias") {
                        frame.set_destination("/topic/open/moved");
                    }
                    // What does not have it stays as it is.
                    if frame.command() == "UNSUBSCRIBE" {
                        frame.set_destination("/nowhere");
                        frame.set_body("nothing");
                        assert!(frame.headers_mut().is_none() && frame.body().is_none());
                    }
                    Ok(())
                }))
        })
        .routes(|routes| routes.route("/seen", message(seen).send_to("/topic/seen")))
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/seen", "/topic/alias"]).await;
    client.post("/app/seen", "hi").await;
    client.expect_message("/topic/seen", "acme HI").await;
    client.post("/topic/secret", "move me").await;
    let moved = client.expect_message("/topic/open/moved", "MOVE ME").await;
    moved.has("tenant", "acme").has("subscription", "1");
    client.send("UNSUBSCRIBE\nid:1\nreceipt:r\n\n\0").await;
    client.expect("RECEIPT").await;
}

/// The policy judges the destination that an interceptor gives, not the one that the client wrote.
#[tokio::test]
async fn the_policy_judges_what_the_interceptor_left() {
    let server = Setup::new()
        .policy(
            Policy::builder()
                .on_connect(permit())
                .on_message("/topic/open", permit())
                .otherwise(role("operator")),
        )
        .builder(|builder| {
            builder.interceptor(inbound(|frame| {
                let swapped = match frame.destination() {
                    Some("/topic/open") => "/topic/secret",
                    Some("/topic/bad") => "no\ndestination",
                    _ => return Ok(()),
                };
                frame.set_destination(swapped);
                Ok(())
            }))
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client.post("/topic/open", "x").await;
    let detail =
        "SEND to \"/topic/secret\" is denied to an anonymous session by this server's policy";
    client.expect_error("access denied", detail).await;
    for frame in ["SEND", "SUBSCRIBE\nid:0"] {
        let mut client = Client::connect(&server).await;
        client
            .send(&format!("{frame}\ndestination:/topic/bad\n\n\0"))
            .await;
        client.expect("ERROR").await;
    }
    server.serves_nothing_but_errors().await;
}

impl Server {
    /// Shows that the server still takes sessions, where the policy permits nothing to ask.
    async fn serves_nothing_but_errors(&self) {
        let mut client = Client::connect(self).await;
        client.send("DISCONNECT\nreceipt:bye\n\n\0").await;
        client.expect("RECEIPT").await;
    }
}

#[tokio::test]
async fn a_refusal_closes_whatever_the_frame() {
    for command in [
        "CONNECT",
        "SUBSCRIBE",
        "SEND",
        "BEGIN",
        "ABORT",
        "COMMIT",
        "UNSUBSCRIBE",
        "DISCONNECT",
    ] {
        for reject in [false, true] {
            if reject && command == "SEND" {
                continue;
            }
            let server = Setup::open_to_all(broker())
                .builder(move |builder| {
                    builder.interceptor(inbound(move |frame| match frame.command() == command {
                        false => Ok(()),
                        true if reject => Err(Refusal::reject(Rejection::application("not today"))),
                        true => Err(Refusal::close("not today")),
                    }))
                })
                .start()
                .await;
            let mut client = Client::open(&server).await;
            client.send("CONNECT\naccept-version:1.2\n\n\0").await;
            if command != "CONNECT" {
                client.expect("CONNECTED").await;
                client.send(ALL).await;
            }
            // Of what came before it, there may be a message.
            let error = client.expect_error("refused", "not today").await;
            if command == "DISCONNECT" {
                error.has("receipt-id", "bye");
            }
            let stats = server.stats();
            assert_eq!((stats.refused, stats.rejected), (1, 0), "{command}");
            assert_eq!(stats.protocol_errors, 0, "{command}");
        }
    }
}

#[tokio::test]
async fn a_rejected_send_is_dropped_and_told() {
    let server = Setup::new()
        .builder(|builder| {
            builder.interceptor(inbound(|frame| {
                match frame.body().is_some_and(|body| body == "spam") {
                    true => Err(Refusal::reject(Rejection::application("no spam"))),
                    false => Ok(()),
                }
            }))
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, [ERRORS, "/topic/**"]).await;
    let frames = [
        "SEND\ndestination:/topic/open/x\nreceipt:1\n\nham\0",
        "SEND\ndestination:/topic/open/x\nreceipt:2\ncorrelation-id:c\n\nspam\0",
        "SEND\ndestination:/topic/secret\nreceipt:3\n\nspam\0",
        "SEND\ndestination:/topic/open/x\nreceipt:4\n\nham\0",
    ];
    client.send(&frames.concat()).await;
    let (mut receipts, mut messages) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let (frame, _) = client.expect_any().await;
        match frame.command.as_str() {
            "RECEIPT" => receipts.push(frame.headers.get("receipt-id").unwrap().to_owned()),
            _ => messages.push(frame),
        }
    }
    assert_eq!(receipts, ["1", "2", "3", "4"]);
    let destinations: Vec<&str> = messages
        .iter()
        .map(|message| message.headers.get("destination").unwrap())
        .collect();
    let sent = "/topic/open/x";
    assert_eq!(destinations, [sent, ERRORS, ERRORS, sent]);
    messages[1].has("correlation-id", "c");
    messages[2].has("correlation-id", None);
    let stats = server.stats();
    assert_eq!((stats.refused, stats.rejected, stats.denied), (2, 2, 0));

    // In a transaction, the rest is done.
    client.send("BEGIN\ntransaction:t\n\n\0").await;
    client
        .post_with("/topic/open/x", "transaction:t\n", "spam")
        .await;
    client
        .post_with("/topic/open/x", "transaction:t\n", "more ham")
        .await;
    client.expect_rejection("application").await;
    client.send("COMMIT\ntransaction:t\n\n\0").await;
    client.expect_message("/topic/open/x", "more ham").await;
}

#[tokio::test]
async fn an_interceptor_that_panics_ends_one_session() {
    let server = Setup::new()
        .builder(|builder| {
            builder.interceptor(inbound(|frame| {
                let asked = frame.body().is_some_and(|body| body == "panic");
                assert!(!asked, "an interceptor was asked to panic");
                Ok(())
            }))
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client.post_with("/app/hello", "receipt:1\n", "panic").await;
    let error = client
        .expect_error("refused", "the server failed to look at this frame")
        .await;
    error.has("receipt-id", "1");
    assert_eq!(server.stats().handler_panics, 1);
    server.serves().await;
}

/// Drops "drop", replaces "replace", lets all else pass; counts what it sees.
fn censor(seen: &Arc<AtomicUsize>) -> impl Interceptor {
    let seen = Arc::clone(seen);
    outbound(move |message| {
        seen.fetch_add(1, Ordering::Relaxed);
        match &message.body()[..] {
            b"drop" => Outgoing::Drop,
            b"replace" => {
                let own = format!(
                    "for {}",
                    message
                        .user()
                        .map_or("nobody".to_owned(), |user| user.name().to_owned())
                );
                let mut payload = Payload::new("text/x-own", own);
                payload.headers.push(
                    "was",
                    message.headers().get("kind").unwrap_or("none").to_owned(),
                );
                Outgoing::Replace(payload)
            }
            b"panic" => panic!("an interceptor was asked to panic"),
            _ => Outgoing::Pass,
        }
    })
}

#[tokio::test]
async fn messages_out_may_be_dropped_and_replaced_for_each_receiver() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let server = Setup::new()
        .builder(move |builder| builder.interceptor(censor(&counted)))
        .start()
        .await;
    let mut alice = Client::connect_as(&server, "alice").await;
    let mut bob = Tcp::connect(&server).await;
    alice.subscribe("0", "/topic/x").await;
    alice.subscribe("1", "/user/queue/mine").await;
    bob.subscribe("0", "/topic/x").await;
    let publisher = server.messaging().publisher();
    for body in ["drop", "replace", "pass"] {
        let payload = body.with_header("kind", "news");
        publisher.send("/topic/x", payload).await.unwrap();
        let sent = publisher.send_to_user("alice", "/queue/mine", body).await;
        assert_eq!(sent.unwrap().local_receivers, 1);
    }
    let replaced = alice.expect_message("/topic/x", "for alice").await;
    replaced
        .has("content-type", "text/x-own")
        .has("was", "news")
        .has("kind", None)
        .has("subscription", "0");
    alice
        .expect_message("/user/queue/mine", "for alice")
        .await
        .has("was", "none");
    alice.expect_message("/topic/x", "pass").await;
    alice.expect_message("/user/queue/mine", "pass").await;
    let other = bob.expect_message("/topic/x", "for nobody").await;
    assert_eq!(
        other.headers.get("message-id"),
        replaced.headers.get("message-id")
    );
    bob.expect_message("/topic/x", "pass").await;
    let stats = server.stats();
    assert_eq!((seen.load(Ordering::Relaxed), stats.messages_sent), (9, 6));
}

/// What a queue has handed out when an interceptor panics is not lost with the session: another consumer gets it.
#[tokio::test]
async fn a_panic_on_the_way_out_ends_the_session_and_loses_nothing() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let server = Setup::open_to_all(broker())
        .builder(move |builder| {
            builder.interceptor(outbound(move |_| {
                let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
                assert!(!first, "an interceptor was asked to panic");
                Outgoing::Pass
            }))
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client.subscribe("0", "/queue/x").await;
    server
        .messaging()
        .publisher()
        .send("/queue/x", "kept")
        .await
        .unwrap();
    client
        .expect_error(
            "the server failed",
            "the server failed to look at a message for this session",
        )
        .await;
    assert_eq!(server.stats().handler_panics, 1);
    let mut other = Client::connect(&server).await;
    other.subscribe("0", "/queue/x").await;
    other
        .expect_message("/queue/x", "kept")
        .await
        .has("redelivered", "true");
}

/// What a queue has handed out and an interceptor drops counts as taken: the queue is empty, and nothing comes again.
#[tokio::test]
async fn messages_of_a_queue_that_are_dropped_are_settled() {
    for ack in ["auto", "client-individual", "client"] {
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        let server = Setup::open_to_all(broker())
            .builder(move |builder| builder.interceptor(censor(&counted)))
            .start()
            .await;
        let mut client = Client::connect(&server).await;
        client
            .send(&format!(
                "SUBSCRIBE\nid:0\ndestination:/queue/x\nack:{ack}\nreceipt:r\n\n\0"
            ))
            .await;
        client.expect("RECEIPT").await;
        let publisher = server.messaging().publisher();
        let bodies = ["one", "drop", "two", "drop", "replace", "drop"];
        for body in bodies {
            publisher.send("/queue/x", body).await.unwrap();
        }
        let expected = match ack {
            // It acknowledges all before one, so it has to see each.
            "client" => &["one", "", "two", "", "for nobody", ""][..],
            _ => &["one", "two", "for nobody"],
        };
        let mut last = None;
        for body in expected {
            let message = client.expect_message("/queue/x", body).await;
            if ack == "client-individual" {
                let ack = message.headers.get("ack").unwrap();
                client.send(&format!("ACK\nid:{ack}\n\n\0")).await;
            }
            if body.is_empty() {
                message.has("content-type", None).has("content-length", "0");
            }
            last = message.headers.get("ack").map(str::to_owned);
        }
        if ack == "client" {
            server.loaded("/queue/x", (0, bodies.len())).await;
            client
                .send(&format!("ACK\nid:{}\n\n\0", last.unwrap()))
                .await;
        }
        server.loaded("/queue/x", (0, 0)).await;
        assert_eq!(seen.load(Ordering::Relaxed), bodies.len(), "{ack}");
        drop(client);
        let mut next = Client::connect(&server).await;
        next.subscribe("0", "/queue/x").await;
        next.expect_nothing(&server).await;
    }
}

/// What a client has not acknowledged comes again, replaced or not, and says so.
#[tokio::test]
async fn a_replaced_message_is_redelivered_as_one() {
    let server = Setup::open_to_all(broker())
        .builder(|builder| builder.interceptor(censor(&Arc::default())))
        .start()
        .await;
    let publisher = server.messaging().publisher();
    publisher.send("/queue/x", "replace").await.unwrap();
    let mut client = Client::connect(&server).await;
    client
        .send("SUBSCRIBE\nid:0\ndestination:/queue/x\nack:client-individual\n\n\0")
        .await;
    let first = client.expect_message("/queue/x", "for nobody").await;
    first.has("redelivered", None);
    let ack = first.headers.get("ack").unwrap();
    client.send(&format!("NACK\nid:{ack}\n\n\0")).await;
    let again = client.expect_message("/queue/x", "for nobody").await;
    again.has("redelivered", "true");
    assert_eq!(
        again.headers.get("message-id"),
        first.headers.get("message-id")
    );
}

#[tokio::test]
async fn on_the_way_out_the_last_comes_first() {
    let server = Setup::new()
        .builder(|builder| {
            let stamp = |name: &'static str| {
                outbound(move |message| {
                    let body = std::str::from_utf8(message.body()).unwrap();
                    match body.starts_with("stop") {
                        true => Outgoing::Drop,
                        false => Outgoing::Replace(Payload::untyped(format!("{body} {name}"))),
                    }
                })
            };
            builder
                .interceptor(stamp("first"))
                .interceptor(stamp("last"))
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    let publisher = server.messaging().publisher();
    publisher.send("/topic/x", "stop").await.unwrap();
    publisher.send("/topic/x", "go").await.unwrap();
    client.expect_message("/topic/x", "go last first").await;
}

/// A replacement that has what is the server's goes out without its content, and the session goes on.
#[tokio::test]
async fn a_replacement_with_the_servers_headers_is_emptied() {
    let server = Setup::new()
        .builder(|builder| {
            builder.interceptor(outbound(|message| match &message.body()[..] {
                b"forge" => {
                    let mut payload = Payload::untyped("forged");
                    payload.headers.push("subscription", "other");
                    Outgoing::Replace(payload)
                }
                _ => Outgoing::Pass,
            }))
        })
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    let publisher = server.messaging().publisher();
    publisher.send("/topic/x", "forge").await.unwrap();
    let emptied = client.expect_message("/topic/x", "").await;
    emptied.has("subscription", "0");
    publisher.send("/topic/x", "fine").await.unwrap();
    client.expect_message("/topic/x", "fine").await;
}

/// What the server wrote before stays in a replacement that keeps it.
#[tokio::test]
async fn a_replaced_dead_letter_keeps_its_headers() {
    let settings = QueueSettings::default().dead_letters("/queue/dead");
    let broker = broker().queue_settings("/queue/x", settings);
    let server = Setup::open_to_all(broker)
        .builder(|builder| {
            builder.interceptor(outbound(|message| {
                let mut payload = Payload::untyped("other");
                payload.headers = message.headers().clone();
                Outgoing::Replace(payload)
            }))
        })
        .start()
        .await;
    let mut client = Client::connect(&server).await;
    client
        .consume("s", "/queue/x", "ack:client-individual\n")
        .await;
    client.consume("d", "/queue/dead", "").await;
    server.publish("/queue/x", ["m"]).await;
    let message = client.expect_message("/queue/x", "other").await;
    client
        .send(&answer(Version::V1_2, "NACK", &message, "requeue:false\n"))
        .await;
    let dead = client.expect_message("/queue/dead", "other").await;
    dead.has("dead-letter-reason", "rejected")
        .has("original-destination", "/queue/x");
}

/// On the way out one may publish and ask the registry: it is in no lock, and in no way of itself.
#[tokio::test]
async fn an_interceptor_may_publish_and_close_sessions() {
    let slot: Arc<parking_lot::Mutex<Option<tramline::Messaging>>> = Arc::default();
    let in_slot = Arc::clone(&slot);
    let server = Setup::new()
        .builder(move |builder| {
            builder.interceptor(outbound(move |message| {
                let Some(messaging) = in_slot.lock().clone() else {
                    return Outgoing::Pass;
                };
                let registry = messaging.registry();
                assert_eq!(registry.users().len(), 1);
                if message.body() == "first" {
                    let publisher = messaging.publisher();
                    let sent = publisher.send("/topic/x", "second");
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    assert!(std::pin::pin!(sent).poll(&mut context).is_ready());
                } else {
                    registry.close_session(message.session_id(), "enough");
                }
                Outgoing::Pass
            }))
        })
        .start()
        .await;
    let mut client = Client::connect_as(&server, "alice").await;
    client.subscribe("0", "/topic/x").await;
    *slot.lock() = Some(server.messaging().clone());
    let publisher = server.messaging().publisher();
    publisher.send("/topic/x", "first").await.unwrap();
    client.expect_message("/topic/x", "first").await;
    client.expect_message("/topic/x", "second").await;
    client.expect_close(1008, "enough").await;
    *slot.lock() = None;
}
