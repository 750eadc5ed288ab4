//! STOMP over plain TCP: the same sessions, on a stream that has no frames of its own.

use std::fs::File;
use std::io::ErrorKind;
use std::process::Command;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::{Client, DEADLINE, FrameExt, SHORT, Server, Setup, Tcp};

const GOING_AWAY: &str = "the server is going away";

#[tokio::test]
async fn a_handler_greets_everyone_on_either_transport() {
    let server = Server::start().await;
    let mut web = Client::subscribed(&server, ["/topic/greetings"]).await;
    let mut tcp = Tcp::connect(&server).await;
    tcp.subscribe("0", "/topic/greetings").await;
    tcp.send("SEND\ndestination:/app/hello\n\nAda\0").await;
    let greeting = tcp.expect_message("/topic/greetings", "Hello, Ada!").await;
    greeting.has("subscription", "0");
    web.expect_message("/topic/greetings", "Hello, Ada!").await;

    web.send("SEND\ndestination:/app/hello\n\nWeb\0").await;
    tcp.expect_message("/topic/greetings", "Hello, Web!").await;
    tcp.send("DISCONNECT\nreceipt:bye\n\n\0").await;
    tcp.expect("RECEIPT").await.has("receipt-id", "bye");
    tcp.expect_end().await;
    server
        .counted("one is left", |stats| stats.sessions_open == 1)
        .await;
    let stats = server.stats();
    assert_eq!((stats.sessions_total, stats.vanished), (2, 0));
}

#[tokio::test]
async fn the_address_is_known_and_a_request_there_was_not() {
    let server = Server::start().await;
    let mut tcp = Tcp::connect(&server).await;
    tcp.subscribe("0", "/topic/handshake").await;
    tcp.send("SEND\ndestination:/app/handshake\n\n\0").await;
    let answer = r#"{"origin":null,"remote":"127.0.0.1","secret":null,"tenant":null}"#;
    tcp.expect_message("/topic/handshake", answer).await;
}

#[tokio::test]
async fn versions_and_their_escapes() {
    let server = Server::start().await;
    for (accept, version, sent, received) in [
        ("", "1.0", "a\\c", "a\\c"),
        ("accept-version:1.0,1.1\n", "1.1", "a\\cb", "a:b"),
        ("accept-version:1.0,1.1,1.2\n", "1.2", "a\\cb\\r", "a:b\r"),
    ] {
        let mut tcp = Tcp::open(&server).await;
        tcp.send(format!("CONNECT\n{accept}\n\0")).await;
        tcp.expect("CONNECTED").await.has("version", version);
        tcp.subscribe("0", "/topic/open/x").await;
        tcp.send(format!(
            "SEND\ndestination:/topic/open/x\nnote:{sent}\n\nx\0"
        ))
        .await;
        let message = tcp.expect_message("/topic/open/x", "x").await;
        message.has("note", received);
    }
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte() {
    let server = Server::start().await;
    let mut tcp = Tcp::connect(&server).await;
    tcp.subscribe("0", "/topic/greetings").await;
    tcp.stream.set_nodelay(true).unwrap();
    for byte in "\r\nSEND\r\ndestination:/app/hello\r\ncontent-length:4\r\n\r\nZoë\0".bytes() {
        tcp.send([byte]).await;
        tokio::task::yield_now().await;
    }
    tcp.expect_message("/topic/greetings", "Hello, Zoë!").await;
}

#[tokio::test]
async fn several_frames_in_one_write_are_handled_in_their_order() {
    let server = Server::start().await;
    let mut tcp = Tcp::open(&server).await;
    let mut script = String::from("CONNECT\naccept-version:1.2\n\n\0\n");
    script += "SUBSCRIBE\nid:0\ndestination:/topic/open/x\n\n\0\n\n";
    for number in 0..50 {
        script += &format!("SEND\ndestination:/app/log\n\n{number}\0");
        script += &format!("SEND\ndestination:/topic/open/x\nreceipt:{number}\n\n{number}\0\n");
    }
    tcp.send(&script).await;
    tcp.expect("CONNECTED").await;
    // Each in its order; which of the two comes first is not promised.
    let (mut messages, mut receipts) = (0, 0);
    while (messages, receipts) != (50, 50) {
        let frame = tcp.expect_any().await;
        if frame.command.as_str() == "MESSAGE" {
            assert_eq!(frame.text(), messages.to_string());
            messages += 1;
        } else {
            frame.has("receipt-id", &*receipts.to_string());
            receipts += 1;
        }
    }
    let numbers: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(server.gate.log(), numbers);
}

#[tokio::test]
async fn large_bodies_with_nuls_pass_both_ways() {
    let server = Setup::new()
        .limits(|limits| {
            limits.body = 4 * 1024 * 1024;
            limits.outbox = 16 * 1024 * 1024;
        })
        .start()
        .await;
    let mut tcp = Tcp::connect(&server).await;
    tcp.subscribe("0", "/topic/echo").await;
    for size in [0, 1, 16_000, 100_000, 4 * 1024 * 1024] {
        let body: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        let head = format!("SEND\ndestination:/app/echo\ncontent-length:{size}\n\n");
        tcp.send([head.as_bytes(), &body, b"\0"].concat()).await;
        let message = tcp.expect("MESSAGE").await;
        message.has("content-length", &*size.to_string());
        assert!(message.body == body, "{size} bytes");
    }
}

#[tokio::test]
async fn heart_beats_go_both_ways() {
    let server = Setup::new()
        .limits(|limits| {
            limits.heart_beat.send = 100;
            limits.heart_beat.receive = 100;
        })
        .start()
        .await;
    let mut tcp = Tcp::open(&server).await;
    tcp.send("CONNECT\naccept-version:1.2\nheart-beat:100,100\n\n\0")
        .await;
    tcp.expect("CONNECTED").await.has("heart-beat", "100,100");
    // Long beyond what silence would be forgiven.
    for _ in 0..8 {
        tcp.expect_heart_beat().await;
        tcp.send("\n").await;
    }
    tcp.subscribe("0", "/topic/x").await;
    assert_eq!(server.stats().timeouts, 0);

    let error = tcp.expect("ERROR").await;
    let message = error.headers.get("message").unwrap();
    assert!(
        message.starts_with("nothing was received for "),
        "{message}"
    );
    tcp.expect_end().await;
    assert_eq!(server.stats().timeouts, 1);
    server.serves().await;
}

#[tokio::test]
async fn what_is_no_stomp_is_told_so() {
    let server = Server::start().await;
    let mut tcp = Tcp::open(&server).await;
    tcp.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let error = "`GET / HTTP/1.1` is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a line of \
                 its own";
    tcp.expect_error(error).await;
    // A TLS handshake.
    let mut tcp = Tcp::open(&server).await;
    tcp.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xff\n")
        .await;
    tcp.expect("ERROR").await;
    tcp.expect_end().await;
    assert_eq!(server.stats().protocol_errors, 2);
    server.serves().await;
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_before_it_is_kept() {
    let server = Setup::new()
        .limits(|limits| limits.body = 1000)
        .start()
        .await;
    let mut tcp = Tcp::connect(&server).await;
    // Nothing of the body was sent yet.
    tcp.send("SEND\ndestination:/app/hello\ncontent-length:1001\n\n")
        .await;
    let error = tcp.expect("ERROR").await;
    let message = error.headers.get("message").unwrap();
    assert!(
        message.contains("1001") && message.contains("1000"),
        "{message}"
    );
    tcp.expect_end().await;

    let mut endless = Tcp::connect(&server).await;
    endless.send("SEND\ndestination:/app/hello\n\n").await;
    for _ in 0..100 {
        endless.send([b'x'; 1000]).await;
    }
    let error = endless.expect("ERROR").await;
    let message = error.headers.get("message").unwrap();
    assert!(message.contains("1000"), "{message}");
    endless.expect_end().await;
    assert_eq!(server.stats().protocol_errors, 2);
}

#[tokio::test]
async fn a_client_that_never_connects_hears_why_it_is_closed() {
    let server = Setup::new()
        .limits(|limits| limits.connect_time = SHORT)
        .start()
        .await;
    let mut silent = Tcp::open(&server).await;
    let mut beating = Tcp::open(&server).await;
    beating.send("\n").await;
    let mut half = Tcp::open(&server).await;
    half.send("CONNECT\naccept-version:1.2\n").await;
    for tcp in [&mut silent, &mut beating, &mut half] {
        tcp.expect_error("no CONNECT frame came in time").await;
    }
    assert_eq!(server.stats().timeouts, 3);
    server.serves().await;
}

#[tokio::test]
async fn a_denied_frame_is_an_error_and_the_end() {
    let server = Server::start().await;
    let mut tcp = Tcp::connect(&server).await;
    tcp.send("SEND\ndestination:/topic/closed\nreceipt:1\n\nx\0")
        .await;
    let error = tcp.expect_error("access denied").await;
    error.has("receipt-id", "1");
    assert_eq!(server.stats().denied, 1);
}

#[tokio::test]
async fn what_was_sent_before_the_end_of_stream_is_handled_and_answered() {
    let server = Server::start().await;
    let mut witness = Client::subscribed(&server, ["/topic/slow", "/topic/open/x"]).await;
    let mut tcp = Tcp::connect(&server).await;
    tcp.send("SEND\ndestination:/app/slow\nreceipt:1\n\na\0")
        .await;
    tcp.send("SEND\ndestination:/topic/open/x\nreceipt:2\n\nb\0")
        .await;
    tcp.finish().await;
    server.gate.started(1).await;
    server.gate.release();
    tcp.expect("RECEIPT").await.has("receipt-id", "1");
    tcp.expect("RECEIPT").await.has("receipt-id", "2");
    tcp.expect_end().await;
    witness.expect_message("/topic/slow", "slow a").await;
    witness.expect_message("/topic/open/x", "b").await;
    server
        .counted("it did not say goodbye", |stats| {
            stats.vanished == 1 && stats.sessions_open == 1
        })
        .await;
}

#[tokio::test]
async fn a_connection_that_is_reset_has_vanished() {
    let server = Server::start().await;
    let mut tcp = Tcp::connect(&server).await;
    tcp.subscribe("0", "/topic/x").await;
    tcp.stream.set_zero_linger().unwrap();
    drop(tcp);
    server
        .counted("it is missed", |stats| {
            stats.vanished == 1 && stats.sessions_open == 0
        })
        .await;
    assert_eq!(server.receivers("/topic/x").await, 0);
    server.serves().await;
}

#[tokio::test]
async fn a_slow_reader_hears_why_it_is_closed_and_others_do_not_notice() {
    let server = Setup::new()
        .limits(|limits| limits.outbox = 256 * 1024)
        .start()
        .await;
    let mut slow = Tcp::open_narrow(&server).await.connected().await;
    slow.subscribe("0", "/topic/x").await;
    let mut quick = Tcp::connect(&server).await;
    quick.subscribe("0", "/topic/x").await;
    let publisher = server.messaging().publisher();
    let body = "x".repeat(60_000);
    let mut sent = 0;
    while server.stats().slow_consumers == 0 {
        publisher.send("/topic/x", body.clone()).await.unwrap();
        quick.expect_message("/topic/x", &body).await;
        sent += 1;
        assert!(sent < 1000, "the outbox has no end");
    }
    server.serves().await;
    // Late, but still: it reads what was written, whole frames only, and then why no more comes.
    let mut got = 0;
    let error = loop {
        match slow.expect_message_or_error().await {
            Ok(message) => {
                assert_eq!(message.text(), body);
                got += 1;
            }
            Err(error) => break error,
        }
    };
    assert!(got < sent, "{got} of {sent}");
    let message = error.headers.get("message").unwrap();
    assert!(
        message.starts_with("the client reads too slowly: ")
            && message.contains("262144 may (`Limits::outbox`)"),
        "{message}"
    );
    slow.expect_end().await;
}

#[tokio::test]
async fn shutdown_tells_sessions_and_stops_listening() {
    let mut server = Server::start().await;
    let mut idle = Tcp::connect(&server).await;
    idle.subscribe("0", "/topic/x").await;
    let mut early = Tcp::open(&server).await;
    // Known to the server, so that it is not refused by the kernel.
    server
        .counted("both are there", |stats| stats.sessions_open == 2)
        .await;
    let mut busy = Tcp::connect(&server).await;
    busy.send("SEND\ndestination:/app/slow\nreceipt:1\n\nx\0")
        .await;
    server.gate.started(1).await;
    let messaging = server.messaging().clone();
    let shutdown = tokio::spawn(async move { messaging.shutdown(DEADLINE).await });
    idle.expect_error(GOING_AWAY).await;
    early.expect_error(GOING_AWAY).await;
    server.tcp_ended().await.unwrap();
    let refused = TcpStream::connect(server.tcp).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(!shutdown.is_finished());

    server.gate.release();
    busy.expect("RECEIPT").await.has("receipt-id", "1");
    busy.expect_error(GOING_AWAY).await;
    assert_eq!(shutdown.await.unwrap(), 0);
    let stats = server.stats();
    assert_eq!((stats.sessions_open, stats.vanished), (0, 0));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let after = server.messaging().serve_tcp(listener);
    let after = tokio::time::timeout(DEADLINE, after).await;
    after
        .expect("a stack that was shut down takes nobody")
        .unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_ends_sessions_and_listening() {
    let mut server = Server::start().await;
    let mut tcp = Tcp::connect(&server).await;
    server.drop_handles().await;
    tcp.expect_error(GOING_AWAY).await;
    server.tcp_ended().await.unwrap();
}

#[tokio::test]
async fn any_stream_is_served_however_narrow() {
    let server = Server::start().await;
    let (near, far) = tokio::io::duplex(16);
    let remote = "203.0.113.7:1234".parse().unwrap();
    let session = server.messaging().serve_stream(far, Some(remote));
    let session = tokio::spawn(session);
    let mut client = Tcp::on(near).connected().await;
    client.subscribe("0", "/topic/handshake").await;
    client.subscribe("1", "/topic/greetings").await;
    client.send("SEND\ndestination:/app/handshake\n\n\0").await;
    let answer = r#"{"origin":null,"remote":"203.0.113.7","secret":null,"tenant":null}"#;
    client.expect_message("/topic/handshake", answer).await;
    client.send("SEND\ndestination:/app/hello\n\nAda\0").await;
    client
        .expect_message("/topic/greetings", "Hello, Ada!")
        .await;
    assert!(!session.is_finished());
    client.send("DISCONNECT\nreceipt:bye\n\n\0").await;
    client.expect("RECEIPT").await;
    client.expect_end().await;
    session.await.unwrap();
    assert_eq!(server.stats().sessions_open, 0);

    let (near, far) = tokio::io::duplex(1024);
    drop(server.messaging().serve_stream(far, None));
    Tcp::on(near).expect_end().await;
    assert_eq!(server.stats().sessions_total, 1, "it never began");
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_that_does_not_listen_is_an_error() {
    let server = Server::start().await;
    let connected = std::net::TcpStream::connect(server.tcp).unwrap();
    connected.set_nonblocking(true).unwrap();
    // Something to look at.
    connected.shutdown(std::net::Shutdown::Both).unwrap();
    let disguised = std::net::TcpListener::from(std::os::fd::OwnedFd::from(connected));
    let listener = TcpListener::from_std(disguised).unwrap();
    let ended = tokio::time::timeout(DEADLINE, server.messaging().serve_tcp(listener)).await;
    let error = ended.expect("it does not wait for ever").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// Runs in a process of its own, since all tests of this one share its files.
#[cfg(target_os = "linux")]
#[test]
fn listening_survives_a_lack_of_files() {
    const CHILD: &str = "TRAMLINE_TEST_FEW_FILES";
    if std::env::var_os(CHILD).is_none() {
        let test = std::env::current_exe().unwrap();
        let child = Command::new("sh")
            .args([
                "-c",
                "ulimit -n 64 && exec \"$0\" --exact tcp::listening_survives_a_lack_of_files",
            ])
            .arg(test)
            .env(CHILD, "yes")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{output}");
        assert!(output.contains("1 passed"), "{output}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let server = Server::start().await;
        let socket = TcpSocket::new_v4().unwrap();
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        // The kernel takes the connection, the process cannot.
        let mut waiting = Tcp::on(socket.connect(server.tcp).await.unwrap());
        waiting.send("CONNECT\naccept-version:1.2\n\n\0").await;
        tokio::time::sleep(SHORT).await;
        assert_eq!(server.stats().sessions_total, 0);
        drop(files);
        waiting.expect("CONNECTED").await;
        server.serves().await;
    });
}
