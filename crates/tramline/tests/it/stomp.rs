//! STOMP on the wire: frames that break it, versions, receipts, subscription ids.

use crate::support::{Client, FrameExt, Server, Setup, broker, cut, rejected};

/// Sends `frames` in an open session, and expects this ERROR, the close, and everyone else undisturbed.
async fn is_an_error(server: &Server, frames: &str, message: &str) {
    let before = server.stats().protocol_errors;
    let mut client = Client::subscribed(server, ["/topic/x"]).await;
    client.send(frames).await;
    client.expect_error(message, "").await;
    server
        .counted("the session is gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.stats().protocol_errors, before + 1, "{frames:?}");
    assert_eq!(server.receivers("/topic/x").await, 0);
    server.serves().await;
}

#[tokio::test]
async fn an_unknown_command() {
    let server = Server::start().await;
    let rest = "is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a line of its own";
    for command in ["HELLO", "send", "SEND "] {
        is_an_error(
            &server,
            &format!("{command}\n\n\0"),
            &format!("`{command}` {rest}"),
        )
        .await;
    }
}

#[tokio::test]
async fn garbage_without_an_end() {
    let server = Server::start().await;
    let rest = "is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a line of its own";
    // Nothing tells that this line ever ends, so it is not waited for.
    is_an_error(
        &server,
        &"garbage ".repeat(1000),
        &format!("`{}…` {rest}", "garbage ".repeat(4)),
    )
    .await;
    is_an_error(
        &server,
        "{\"json\":1}\n",
        &format!("`{{\"json\":1}}` {rest}"),
    )
    .await;
}

#[tokio::test]
async fn garbage_instead_of_connect() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let error = "`GET / HTTP/1.1` is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a line of \
                 its own";
    client.expect_error(error, "").await;
    assert_eq!(server.stats().protocol_errors, 1);
    server.serves().await;
}

#[tokio::test]
async fn malformed_headers() {
    let server = Server::start().await;
    for (frame, error) in [
        (
            "SEND\ndestination\n\n\0",
            "the header line `destination` has no colon; write it as name:value",
        ),
        (
            "SEND\n:x\n\n\0",
            "the header line `:x` has no name; write it as name:value",
        ),
        (
            "SEND\ndestination:/app/hello\nx:\\t\n\n\0",
            "`\\t` in the header line `x:\\t` is not an escape of this STOMP version; write a backslash as \\\\",
        ),
        (
            "SEND\ndestination:/app/hello\0",
            "the frame ends inside its headers; send a blank line after the last header, then the body and NUL",
        ),
        (
            "SEND\ndestination:/app/hello\ncontent-length:x\n\n\0",
            "`x` is not a content-length; send the number of bytes of the body or leave the header out",
        ),
        (
            "SEND\ndestination:/app/hello\ncontent-length:1\n\nabc\0",
            "no NUL follows the 1 bytes that content-length announces; count the bytes of the body, not its \
             characters, and end the frame with NUL",
        ),
    ] {
        is_an_error(&server, frame, error).await;
    }
}

/// What this broker does not do is refused by name, and never ignored: the client would wait for what does not come.
#[tokio::test]
async fn what_is_not_supported_is_refused_by_name() {
    let server = Setup::open_to_all(broker()).start().await;
    let name = |header: &str| header.split(':').next().unwrap().to_owned();
    let of_the_engine = ["selector", "durable", "browser", "retained", "resume-from"];
    for header in [
        "selector:a = 1",
        "durable:true",
        "durable:True",
        "browser:true",
        "retained:true",
        "resume-from:7-3",
        "activemq.subscriptionName:x",
        "durable-subscription-name:x",
        "x-stream-offset:first",
        "no-local:true",
        "exclusive:TRUE",
    ] {
        for destination in ["/topic/x", "/queue/x", "/user/queue/x"] {
            if header.starts_with("selector") && !destination.starts_with("/user") {
                continue;
            }
            let mut client = Client::connect(&server).await;
            let frame =
                format!("SUBSCRIBE\nreceipt:7\nid:0\ndestination:{destination}\n{header}\n\n\0");
            let name = match name(header) {
                // ActiveMQ's and Artemis's names for it.
                named if named.contains("ubscription") => "durable".to_owned(),
                name => name,
            };
            let mut body = format!("this broker does not support the header `{name}`");
            if of_the_engine.contains(&&*name) {
                body += " for this destination";
            }
            let expected = ("subscription refused", &*body);
            server
                .refuses(&mut client, &frame, expected, rejected)
                .await;
        }
    }
    for header in [
        "persistent:true",
        "persistent:True",
        "AMQ_SCHEDULED_DELAY:10",
    ] {
        let mut client = Client::connect(&server).await;
        let frame = format!("SEND\nreceipt:7\ndestination:/queue/x\n{header}\n\nx\0");
        let body = format!("this broker does not support the header `{}`", name(header));
        let expected = ("message not published", &*body);
        server
            .refuses(&mut client, &frame, expected, rejected)
            .await;
    }
    for (header, wrong) in [
        ("durable", "yes"),
        ("persistent", "1"),
        ("browser", ""),
        ("no-local", "maybe"),
    ] {
        let mut client = Client::connect(&server).await;
        let frame =
            format!("SUBSCRIBE\nreceipt:7\nid:0\ndestination:/topic/x\n{header}:{wrong}\n\n\0");
        let body = format!("the header `{header}` is {wrong:?}; it must be true or false");
        let expected = ("subscription refused", &*body);
        server
            .refuses(&mut client, &frame, expected, rejected)
            .await;
    }
    // Said not to be wanted, they are no reason.
    let mut client = Client::connect(&server).await;
    client
        .consume(
            "0",
            "/queue/x",
            "durable:false\nbrowser:False\nno-local:false\n",
        )
        .await;
    client
        .done("SEND\ndestination:/queue/x\npersistent:false\n\nx\0")
        .await;
}

#[tokio::test]
async fn headers_that_are_not_utf8() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client
        .send_binary(b"SEND\ndestination:/app/\xff\n\n\0")
        .await;
    client
        .expect_error(
            "the headers of the SEND frame are not UTF-8; encode them so",
            "",
        )
        .await;
    assert_eq!(server.stats().protocol_errors, 1);
    server.serves().await;
}

#[tokio::test]
async fn frames_over_the_limits() {
    let server = Setup::new()
        .limits(|limits| {
            limits.body = 1000;
            limits.header_line = 100;
            limits.header_count = 5;
        })
        .start()
        .await;
    let send = "SEND\ndestination:/app/hello\n";
    let line = "x".repeat(200);
    let body = "b".repeat(1001);
    for (frame, error) in [
        (
            format!("{send}content-length:1001\n\n"),
            "frame body of 1001 bytes exceeds the limit of 1000 bytes; send less or raise `Limits::body`",
        ),
        (
            format!("{send}\n{body}"),
            "frame body exceeds the limit of 1000 bytes without an end; send less or raise `Limits::body`",
        ),
        (
            format!("{send}{line}:1\n\n\0"),
            "a header line exceeds the limit of 100 bytes; send less or raise `Limits::header_line`",
        ),
        (
            format!("{send}a:1\nb:2\nc:3\nd:4\ne:5\n\n\0"),
            "the frame has more than 5 headers; send fewer or raise `Limits::header_count`",
        ),
    ] {
        is_an_error(&server, &frame, error).await;
    }
    // Up to the limits everything passes.
    let mut client = Client::subscribed(&server, ["/topic/echo"]).await;
    let body = "b".repeat(1000);
    client
        .send(&format!(
            "SEND\ndestination:/app/echo\na:1\nb:2\nc:3\nd:4\n\n{body}\0"
        ))
        .await;
    client.expect_message("/topic/echo", &body).await;
}

#[tokio::test]
async fn the_default_limits_are_springs() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/echo"]).await;
    let body = "b".repeat(64 * 1024);
    client
        .send(&format!("SEND\ndestination:/app/echo\n\n{body}\0"))
        .await;
    client.expect_message("/topic/echo", &body).await;
    client
        .send("SEND\ndestination:/app/echo\ncontent-length:65537\n\n")
        .await;
    let error = "frame body of 65537 bytes exceeds the limit of 65536 bytes; send less or raise `Limits::body`";
    client.expect_error(error, "").await;
}

#[tokio::test]
async fn too_many_subscriptions() {
    let server = Setup::new()
        .limits(|limits| limits.subscriptions = 2)
        .start()
        .await;
    let mut client = Client::subscribed(&server, ["/topic/a", "/topic/b"]).await;
    client.send("UNSUBSCRIBE\nid:0\n\n\0").await;
    client.subscribe("2", "/topic/c").await;
    client
        .send("SUBSCRIBE\nid:3\ndestination:/topic/d\n\n\0")
        .await;
    // By the name that an application of this crate can raise.
    let error = "a session may hold 2 subscriptions; unsubscribe some, or raise the server's limit";
    client.expect_error(error, "").await;
    server.serves().await;
}

#[tokio::test]
async fn frames_before_connect() {
    let server = Server::start().await;
    for (command, rest) in [
        ("SEND", "destination:/app/hello\n\nx"),
        ("SUBSCRIBE", "id:0\ndestination:/topic/x\n\n"),
        ("DISCONNECT", "\n"),
    ] {
        let mut client = Client::open(&server).await;
        client.send(&format!("{command}\n{rest}\0")).await;
        let error =
            format!("{command} came before the session was open; send CONNECT or STOMP first");
        client.expect_error(&error, "").await;
    }
    assert_eq!(server.stats().protocol_errors, 3);
    assert_eq!(server.stats().messages_received, 0);
    // A heart-beat is no frame.
    let mut client = Client::open(&server).await;
    client.send("\n").await;
    client.send("CONNECT\naccept-version:1.2\n\n\0").await;
    client.expect("CONNECTED").await;
    server.serves().await;
}

#[tokio::test]
async fn connect_twice() {
    let server = Server::start().await;
    let error = "the session is open already; send CONNECT once per connection";
    is_an_error(&server, "CONNECT\naccept-version:1.2\n\n\0", error).await;
    is_an_error(&server, "STOMP\naccept-version:1.2\n\n\0", error).await;
}

#[tokio::test]
async fn frames_that_only_servers_send() {
    let server = Server::start().await;
    for command in ["CONNECTED", "MESSAGE", "RECEIPT", "ERROR"] {
        let error = format!("{command} is a frame that only servers send");
        is_an_error(&server, &format!("{command}\n\n\0"), &error).await;
    }
}

#[tokio::test]
async fn versions_are_negotiated() {
    let server = Server::start().await;
    for (accept, version) in [
        ("", "1.0"),
        ("accept-version:1.0\n", "1.0"),
        ("accept-version:1.0,1.1\n", "1.1"),
        ("accept-version:1.1, 1.2\n", "1.2"),
        ("accept-version:2.0,1.2,1.1\n", "1.2"),
    ] {
        let mut client = Client::open(&server).await;
        client.send(&format!("CONNECT\n{accept}\n\0")).await;
        client.expect("CONNECTED").await.has("version", version);
    }
}

#[tokio::test]
async fn no_common_version() {
    let server = Server::start().await;
    for (number, accept) in ["2.0", "1.3,3.0", "latest"].iter().enumerate() {
        let mut client = Client::open(&server).await;
        client
            .send(&format!(
                "CONNECT\naccept-version:{accept}\nreceipt:1\n\n\0"
            ))
            .await;
        let message =
            format!("none of the versions `{accept}` is spoken here; accept 1.0, 1.1 or 1.2");
        let error = client.expect("ERROR").await;
        error
            .has("message", &*message)
            .has("version", "1.0,1.1,1.2")
            .has("content-type", "text/plain");
        assert_eq!(error.text(), "Supported protocol versions are 1.0 1.1 1.2");
        client.expect_close(1002, &cut(&message)).await;
        assert_eq!(server.stats().protocol_errors, number as u64 + 1);
    }
    server.serves().await;
}

#[tokio::test]
async fn a_1_0_client_needs_neither_ids_nor_escapes() {
    let server = Server::start().await;
    let mut client = Client::open(&server).await;
    client
        .send("CONNECT\nlogin:old\npasscode:client\n\n\0")
        .await;
    client.expect("CONNECTED").await.has("version", "1.0");
    client
        .send("SUBSCRIBE\ndestination:/topic/greetings\nreceipt:1\n\n\0")
        .await;
    client.expect("RECEIPT").await;
    client
        .send("SEND\ndestination:/app/hello\n\nC:\\dir\0")
        .await;
    let message = client
        .expect_message("/topic/greetings", "Hello, C:\\dir!")
        .await;
    message.has("content-type", "text/plain;charset=UTF-8");
    client
        .send("UNSUBSCRIBE\ndestination:/topic/greetings\nreceipt:2\n\n\0")
        .await;
    client.expect("RECEIPT").await;
    assert_eq!(server.receivers("/topic/greetings").await, 0);
}

#[tokio::test]
async fn malformed_heart_beats() {
    let server = Server::start().await;
    for (number, value) in ["x", "10000", "1,-1", "1,2,3"].iter().enumerate() {
        let mut client = Client::open(&server).await;
        client
            .send(&format!(
                "CONNECT\naccept-version:1.2\nheart-beat:{value}\n\n\0"
            ))
            .await;
        let error = format!(
            "heart-beat: `{value}` is not a heart-beat; send two numbers of milliseconds with a comma between them, \
             such as 10000,10000"
        );
        client.expect_error(&error, "").await;
        assert_eq!(server.stats().protocol_errors, number as u64 + 1);
    }
    let mut client = Client::open(&server).await;
    client
        .send("CONNECT\naccept-version:1.2\nheart-beat:99999999999,0\n\n\0")
        .await;
    let error = "heart-beat: `99999999999,0` exceeds the limit of 4294967295 milliseconds; send less, or 0 for no \
                 heart-beats in that direction";
    client.expect_error(error, "").await;
    let mut client = Client::open(&server).await;
    client
        .send("CONNECT\naccept-version:1.2\nheart-beat:10000, 10000\n\n\0")
        .await;
    client.expect("CONNECTED").await;
    server.serves().await;
}

#[tokio::test]
async fn missing_headers() {
    let server = Server::start().await;
    for (frame, error) in [
        (
            "SEND\n\nhi\0",
            "SEND lacks the header `destination`; add it",
        ),
        (
            "SEND\ndestination:\n\nhi\0",
            "SEND lacks the header `destination`; add it",
        ),
        (
            "SUBSCRIBE\nid:1\n\n\0",
            "SUBSCRIBE lacks the header `destination`; add it",
        ),
        (
            "SUBSCRIBE\ndestination:/topic/x\n\n\0",
            "SUBSCRIBE lacks the header `id`; add it",
        ),
        (
            "UNSUBSCRIBE\n\n\0",
            "UNSUBSCRIBE lacks the header `id`; add it",
        ),
    ] {
        is_an_error(&server, frame, error).await;
    }
}

#[tokio::test]
async fn an_error_names_the_receipt_of_the_frame_it_is_about() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    client.send("SEND\nreceipt:r-7\n\nhi\0").await;
    let error = client
        .expect_error("SEND lacks the header `destination`; add it", "")
        .await;
    error.has("receipt-id", "r-7");
}

#[tokio::test]
async fn subscription_ids_in_use_and_unknown() {
    let server = Server::start().await;
    is_an_error(
        &server,
        "SUBSCRIBE\nid:0\ndestination:/topic/y\n\n\0",
        "the subscription id `0` is in use; choose another id or unsubscribe it first",
    )
    .await;
    is_an_error(
        &server,
        "UNSUBSCRIBE\nid:7\n\n\0",
        "no subscription has the id `7`; send the id that was given to SUBSCRIBE, and nothing about it \
         after UNSUBSCRIBE",
    )
    .await;
    is_an_error(
        &server,
        "UNSUBSCRIBE\nid:0\n\n\0UNSUBSCRIBE\nid:0\n\n\0",
        "no subscription has the id `0`; send the id that was given to SUBSCRIBE, and nothing about it \
         after UNSUBSCRIBE",
    )
    .await;
}

#[tokio::test]
async fn every_frame_that_asks_gets_its_receipt() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    for (frame, receipt) in [
        (
            "SUBSCRIBE\nid:0\ndestination:/topic/open/x\nreceipt:a\n\n\0",
            "a",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:/user/queue/x\nreceipt:b\n\n\0",
            "b",
        ),
        ("SEND\ndestination:/app/log\nreceipt:c\n\nx\0", "c"),
        ("UNSUBSCRIBE\nid:0\nreceipt:d\n\n\0", "d"),
        ("UNSUBSCRIBE\nid:1\nreceipt:e\n\n\0", "e"),
        (
            "SEND\ndestination:/topic/open/x\nreceipt:f with spaces\\c and colon\n\nx\0",
            "f with spaces: and colon",
        ),
        (
            "SEND\ndestination:/user/nobody/queue/x\nreceipt:g\n\nx\0",
            "g",
        ),
    ] {
        client.send(frame).await;
        client.expect("RECEIPT").await.has("receipt-id", receipt);
    }
    assert_eq!(
        server.gate.log(),
        ["x"],
        "a receipt comes when the handler is done"
    );
    client.send("DISCONNECT\nreceipt:bye\n\n\0").await;
    client.expect("RECEIPT").await.has("receipt-id", "bye");
    client.expect_close(1000, "").await;
    let stats = server.stats();
    assert_eq!(
        (
            stats.protocol_errors,
            stats.vanished,
            stats.messages_received
        ),
        (0, 0, 3)
    );
}

#[tokio::test]
async fn receipts_come_in_the_order_of_their_frames() {
    let server = Server::start().await;
    let mut client = Client::connect(&server).await;
    let frames = [
        "SEND\ndestination:/topic/open/x\nreceipt:0\n\nx\0",
        "SEND\ndestination:/topic/open/y\nreceipt:1\n\nx\0",
        "SEND\ndestination:/app/log\nreceipt:2\n\nx\0",
        "SEND\ndestination:/topic/open/x\nreceipt:3\n\nx\0",
        "SUBSCRIBE\nid:0\ndestination:/topic/open/x\nreceipt:4\n\n\0",
        "SEND\ndestination:/app/log\nreceipt:5\n\nx\0",
        "UNSUBSCRIBE\nid:0\nreceipt:6\n\n\0",
        "SEND\ndestination:/topic/open/x\nreceipt:7\n\nx\0",
        "DISCONNECT\nreceipt:8\n\n\0",
    ];
    client.send(&frames.concat()).await;
    for receipt in 0..frames.len() {
        client
            .expect("RECEIPT")
            .await
            .has("receipt-id", &*receipt.to_string());
    }
    client.expect_close(1000, "").await;
}

/// The first frame is done, whatever its successor is; also when both come in one read.
#[tokio::test]
async fn a_receipt_is_owed_although_the_next_frame_is_an_error() {
    let server = Server::start().await;
    let send = "SEND\ndestination:/topic/open/x\nreceipt:1\n\nx\0";
    for (bad, message, body) in [
        (
            "HELLO\n\n\0",
            "`HELLO` is not a STOMP command; send one such as CONNECT or SEND, in capitals, on a line of its own",
            "",
        ),
        (
            "SEND\ndestination:/topic/closed\n\nx\0",
            "access denied",
            "SEND to \"/topic/closed\" is denied to an anonymous session by this server's policy",
        ),
    ] {
        let mut listener = Client::subscribed(&server, ["/topic/open/x"]).await;
        let mut client = Client::connect(&server).await;
        client.send(&format!("{send}{bad}")).await;
        listener.expect_message("/topic/open/x", "x").await;
        client.expect("RECEIPT").await.has("receipt-id", "1");
        client.expect_error(message, body).await;
    }
}

#[tokio::test]
async fn disconnect_without_a_receipt_is_1000() {
    let server = Server::start().await;
    let mut client = Client::subscribed(&server, ["/topic/x"]).await;
    client
        .send("DISCONNECT\n\n\0SEND\ndestination:/app/log\n\nafter the end\0")
        .await;
    client.expect_close(1000, "").await;
    server
        .counted("the session is gone", |stats| stats.sessions_open == 0)
        .await;
    assert_eq!(server.receivers("/topic/x").await, 0);
    assert!(
        server.gate.log().is_empty(),
        "nothing counts after DISCONNECT"
    );
}
