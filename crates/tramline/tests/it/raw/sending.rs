//! From anywhere, within bounds.

use tramline::Bytes;
use tramline::raw::{Message, Overflow, SharedMessage};

use super::*;

#[tokio::test]
async fn everyone_some_and_one_can_be_reached() {
    let (builder, _sockets) = handed_over();
    let server = RawServer::start(builder).await;
    let sessions = server.endpoint().sessions();
    assert!(sessions.is_empty());
    let mut clients = Vec::new();
    for user in ["alice", "bob", "alice"] {
        let client = Request::upgrade("/raw").by_user(user).open(&server);
        clients.push(client.await.without_stomp());
    }
    server
        .counted("three came", |stats| stats.sessions_open == 3)
        .await;
    assert_eq!(sessions.len(), 3);

    let is_alice = |session: &SocketSender| session.user().unwrap().name() == "alice";
    assert_eq!(sessions.broadcast_to("for alice", is_alice), 2);
    assert_eq!(sessions.broadcast(vec![1, 2, 3]), 3);
    let shared = SharedMessage::from("shared");
    for session in sessions.all() {
        assert_eq!(sessions.get(session.id()).unwrap().id(), session.id());
        session.send(&shared).await.unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        if n != 1 {
            assert_eq!(client.expect_text().await, "for alice");
        }
        assert_eq!(client.expect_binary().await, [1, 2, 3]);
        assert_eq!(client.expect_text().await, "shared");
    }

    let gone = sessions.all().remove(0);
    sessions.close(tramline::raw::CloseCode::new(3000).unwrap(), "Go away!");
    for client in &mut clients {
        client.expect_close(3000, "Go away!").await;
    }
    server
        .counted("all are gone", |stats| stats.sessions_open == 0)
        .await;
    assert!(sessions.is_empty() && sessions.get(gone.id()).is_none());
    assert_eq!(gone.try_send("too late"), Err(SendError::Closed));
    assert_eq!(sessions.broadcast("nobody hears"), 0);
    server.echoless_client_is_served().await;
}

impl RawServer {
    /// After `close`, newcomers come in as before.
    async fn echoless_client_is_served(&self) {
        let mut client = self.client().await;
        self.counted("a newcomer", |stats| stats.sessions_open == 1)
            .await;
        assert_eq!(self.endpoint().sessions().broadcast("welcome"), 1);
        assert_eq!(client.expect_text().await, "welcome");
    }
}

/// Large enough that a few of them fill every buffer on the way.
fn large() -> Bytes {
    Bytes::from(vec![b'x'; 256 * 1024])
}

/// A connection whose client reads nothing, with a socket that is full: one more message has to wait.
async fn full(overflow: Overflow) -> (RawServer, Client, Socket) {
    let (builder, mut sockets) = handed_over();
    let limits = limits(|limits| {
        limits.outbox = 600 * 1024;
        limits.overflow = overflow;
        limits.send_time = DEADLINE;
    });
    let server = RawServer::start(builder.limits(limits)).await;
    let slow = Request::upgrade("/raw")
        .receive_buffer(16 * 1024)
        .open(&server);
    let client = slow.await.without_stomp();
    let socket = next(&mut sockets).await;
    // As long as the socket takes it, there is room again and again.
    while let Ok(sent) = tokio::time::timeout(SHORT, socket.send(large())).await {
        sent.unwrap();
    }
    (server, client, socket)
}

#[tokio::test]
async fn by_default_a_client_that_takes_too_little_is_closed_with_4500() {
    let (server, mut client, socket) = full(Overflow::Close).await;
    let overflow = socket.try_send(large());
    let Err(SendError::Overflow { queued, limit }) = overflow else {
        panic!("{overflow:?}");
    };
    assert!(limit == 600 * 1024 && queued > limit && queued < 2 * limit);
    assert_eq!(socket.try_send("x"), Err(SendError::Closed));
    let why = closed(&socket.sender()).await;
    assert!(matches!(why, Closed::TooSlow { .. }), "{why:?}");
    assert_eq!(server.stats().slow_consumers, 1);
    // What was written before it is whole, then comes the reason.
    let reason = format!("{queued} bytes would wait for it, and {limit} may (`RawLimits::outbox`)");
    client.expect_close_after_binaries(4500, &reason).await;
}

#[tokio::test]
async fn the_oldest_make_room_where_only_the_latest_matter() {
    let (server, mut client, socket) = full(Overflow::DropOldest).await;
    for n in 0..1000 {
        socket
            .try_send(Message::from(n.to_string().into_bytes()))
            .unwrap();
        socket.try_send(large()).unwrap();
    }
    socket.try_send(Message::from(&b"last"[..])).unwrap();
    assert!(server.stats().messages_dropped > 1900);
    assert_eq!(server.stats().slow_consumers, 0);
    let mut count = 0;
    while client.expect_binary().await != b"last" {
        count += 1;
    }
    assert!(count < 100, "{count} were kept");
}

#[tokio::test]
async fn the_new_one_is_refused_where_that_is_the_policy() {
    let (server, mut client, socket) = full(Overflow::Refuse).await;
    let refused = socket.try_send(large());
    assert!(
        matches!(refused, Err(SendError::Full { queued, limit: 614_400 }) if queued > 614_400),
        "{refused:?}"
    );
    assert_eq!(server.stats().messages_dropped, 1);
    assert_eq!(server.endpoint().sessions().broadcast(large()), 0);
    // Who waits gets in when the client reads on.
    let waiting = tokio::spawn(async move { socket.send("at last").await });
    loop {
        match client.expect_text_or_binary().await {
            Ok(text) => break assert_eq!(text, "at last"),
            Err(bytes) => assert_eq!(bytes.len(), large().len()),
        }
    }
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_long_is_closed_and_who_waited_to_send_hears_it() {
    let (builder, mut sockets) = handed_over();
    let limits = limits(|limits| limits.send_time = SHORT);
    let server = RawServer::start(builder.limits(limits)).await;
    let slow = Request::upgrade("/raw")
        .receive_buffer(16 * 1024)
        .open(&server);
    let _client = slow.await;
    let socket = next(&mut sockets).await;
    let sending = async { while socket.send(large()).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, sending).await.unwrap();
    let why = closed(&socket.sender()).await;
    assert!(matches!(why, Closed::TooSlow { .. }), "{why:?}");
    assert_eq!(server.stats().slow_consumers, 1);
}

#[tokio::test]
async fn one_message_beyond_the_limit_passes_when_nothing_waits() {
    let (builder, mut sockets) = handed_over();
    let server = RawServer::start(builder.limits(limits(|limits| limits.outbox = 10))).await;
    let mut client = server.client().await;
    let socket = next(&mut sockets).await;
    socket.try_send(large()).unwrap();
    assert_eq!(client.expect_binary().await, large());
    socket.send(large()).await.unwrap();
    assert_eq!(client.expect_binary().await, large());
}

#[tokio::test]
async fn what_many_send_at_a_time_arrives_whole_and_in_each_senders_order() {
    let (builder, mut sockets) = handed_over();
    // So little room that they have to wait for each other.
    let server = RawServer::start(builder.limits(limits(|limits| limits.outbox = 500))).await;
    let mut client = server.client().await;
    let socket = next(&mut sockets).await;
    let mut senders = Vec::new();
    for name in 0..8 {
        let sender = socket.sender();
        senders.push(tokio::spawn(async move {
            for n in 0..200 {
                sender.send(format!("{name} {n}")).await.unwrap();
            }
        }));
    }
    let mut next = [0; 8];
    for _ in 0..8 * 200 {
        let text = client.expect_text().await;
        let (name, n) = text.split_once(' ').unwrap();
        let expected = &mut next[name.parse::<usize>().unwrap()];
        assert_eq!(n, expected.to_string());
        *expected += 1;
    }
    for sender in senders {
        sender.await.unwrap();
    }
}
