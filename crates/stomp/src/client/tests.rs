use super::*;

fn client() -> (ClientConnection, Instant) {
    let now = Instant::now();
    let mut client = ClientConnection::new(ClientConfig::new("h"), now);
    client.poll_transmit();
    (client, now)
}

fn receive(client: &mut ClientConnection, wire: &str, now: Instant) -> Option<ClientEvent> {
    client.receive(Bytes::copy_from_slice(wire.as_bytes()), now);
    client.poll_event()
}

fn text(bytes: Option<Bytes>) -> String {
    String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap()
}

#[test]
fn connect_has_its_headers_in_order() {
    let config = ClientConfig::new("h")
        .with_versions(vec![Version::V1_2, Version::V1_1, Version::V1_2])
        .with_heart_beat(HeartBeat {
            send: 1,
            receive: 2,
        })
        .with_login("ann", "se:cret")
        .with_header("token", "t");
    let mut client = ClientConnection::new(config, Instant::now());
    assert!(!format!("{client:?}").contains("cret"));
    assert_eq!(
        text(client.poll_transmit()),
        "CONNECT\naccept-version:1.1,1.2\nhost:h\nheart-beat:1,2\nlogin:ann\npasscode:se:cret\n\
         token:t\n\n\0"
    );
}

#[test]
fn frames_wait_for_connected_and_are_written_in_its_version() {
    let (mut client, now) = client();
    client.send("/a:b", Headers::new(), "x", Some("1"));
    assert_eq!(client.poll_transmit(), None);
    let event = receive(&mut client, "CONNECTED\nversion:1.1\nserver:s\n\n\0", now);
    let Some(ClientEvent::Connected(connected)) = event else {
        panic!("{event:?}")
    };
    assert_eq!(connected.version, Version::V1_1);
    assert_eq!(connected.server.as_deref(), Some("s"));
    assert_eq!(
        text(client.poll_transmit()),
        "SEND\ndestination:/a\\cb\nreceipt:1\ncontent-length:1\n\nx\0"
    );
}

#[test]
fn an_absent_version_is_1_0() {
    let (mut client, now) = client();
    let event = receive(&mut client, "CONNECTED\nsession:1\n\n\0", now);
    assert!(matches!(event, Some(ClientEvent::Connected(_))));
    assert_eq!(client.version(), Version::V1_0);
}

#[test]
fn messages_and_receipts_are_told() {
    let (mut client, now) = client();
    receive(&mut client, "CONNECTED\nversion:1.2\n\n\0", now);
    let wire = "MESSAGE\nsubscription:0\nmessage-id:m\ndestination:/t\nx:y\n\nhi\0\
                RECEIPT\nreceipt-id:7\n\n\0";
    let Some(ClientEvent::Message(message)) = receive(&mut client, wire, now) else {
        panic!()
    };
    assert_eq!((&*message.subscription, &*message.message_id), ("0", "m"));
    assert_eq!(
        (&*message.destination, &message.body[..]),
        ("/t", &b"hi"[..])
    );
    assert_eq!(client.poll_event(), Some(ClientEvent::Receipt("7".into())));
}

#[test]
fn what_a_server_must_not_do_fails_the_session() {
    let unexpected = |command| ClientError::UnexpectedFrame { command };
    let missing = |command, header| ClientError::MissingHeader { command, header };
    let not_offered = |version: &str| ClientError::VersionNotOffered {
        version: version.into(),
    };
    let connected = "CONNECTED\nversion:1.2\n\n\0";
    for (before, wire, expected) in [
        (
            "",
            "RECEIPT\nreceipt-id:1\n\n\0",
            unexpected(Command::Receipt),
        ),
        ("", "CONNECTED\nversion:1.3\n\n\0", not_offered("1.3")),
        (connected, connected, unexpected(Command::Connected)),
        (connected, "SEND\n\n\0", unexpected(Command::Send)),
        (
            connected,
            "MESSAGE\n\n\0",
            missing(Command::Message, "subscription"),
        ),
        (
            connected,
            "RECEIPT\n\n\0",
            missing(Command::Receipt, "receipt-id"),
        ),
    ] {
        let (mut client, now) = client();
        receive(&mut client, before, now);
        let event = receive(&mut client, wire, now);
        assert_eq!(event, Some(ClientEvent::Failed(expected)), "{wire:?}");
        client.send("/a", Headers::new(), "x", None);
        assert_eq!(client.poll_transmit(), None);
        assert_eq!(receive(&mut client, connected, now), None);
    }
    for wire in [
        "HTTP/1.1 400\r\n",
        "CONNECTED\nversion:1.2\nheart-beat:x\n\n\0",
    ] {
        let (mut client, now) = client();
        let event = receive(&mut client, wire, now);
        assert!(matches!(event, Some(ClientEvent::Failed(_))), "{event:?}");
    }
}

#[test]
fn an_error_frame_ends_the_session() {
    let (mut client, now) = client();
    let event = receive(&mut client, "ERROR\nmessage:no\\c\n\nwhy\0ERROR\n\n\0", now);
    let Some(ClientEvent::Error(frame)) = event else {
        panic!("{event:?}")
    };
    assert_eq!(frame.headers.get("message"), Some("no:"));
    assert_eq!(frame.body, "why");
    assert_eq!(client.poll_event(), None);
}

/// Returns a session of this version and a message that it received.
fn with_message(version: &str) -> (ClientConnection, Message) {
    let (mut client, now) = client();
    receive(
        &mut client,
        &format!("CONNECTED\nversion:{version}\n\n\0"),
        now,
    );
    let wire = "MESSAGE\nsubscription:s\nack:0-7\nmessage-id:m\ndestination:/q\n\nhi\0";
    match receive(&mut client, wire, now) {
        Some(ClientEvent::Message(message)) => (client, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn subscribe_says_the_ack_mode() {
    let (mut client, _) = with_message("1.2");
    for (mode, header) in [
        (AckMode::Auto, ""),
        (AckMode::Client, "ack:client\n"),
        (AckMode::ClientIndividual, "ack:client-individual\n"),
    ] {
        let id = client.subscribe("/q", mode, Headers::new(), Some("r"));
        assert_eq!(
            text(client.poll_transmit()),
            format!("SUBSCRIBE\nid:{id}\ndestination:/q\n{header}receipt:r\n\n\0")
        );
    }
}

#[test]
fn each_version_names_a_message_in_its_own_way() {
    for (version, names) in [
        ("1.0", "message-id:m\n"),
        ("1.1", "subscription:s\nmessage-id:m\n"),
        ("1.2", "id:0-7\n"),
    ] {
        let (mut client, message) = with_message(version);
        let headers = Headers::from_iter([("x", "y")]);
        let kept = message.delivery();
        assert_eq!(client.ack(&message, headers.clone(), Some("r")), Ok(()));
        assert_eq!(
            text(client.poll_transmit()),
            format!("ACK\n{names}receipt:r\nx:y\n\n\0")
        );
        assert_eq!(client.ack_in("t", &kept, Headers::new(), None), Ok(()));
        assert_eq!(
            text(client.poll_transmit()),
            format!("ACK\n{names}transaction:t\n\n\0")
        );
        if version == "1.0" {
            continue;
        }
        assert_eq!(client.nack(kept, headers, None), Ok(()));
        assert_eq!(
            text(client.poll_transmit()),
            format!("NACK\n{names}x:y\n\n\0")
        );
        assert_eq!(client.nack_in("t", &message, Headers::new(), None), Ok(()));
        assert_eq!(
            text(client.poll_transmit()),
            format!("NACK\n{names}transaction:t\n\n\0")
        );
    }
}

#[test]
fn what_cannot_be_acknowledged_is_not_sent() {
    let (mut client, message) = with_message("1.0");
    let refused = client.nack(&message, Headers::new(), None);
    assert_eq!(refused, Err(NotAcknowledgeable::NackIn1_0));

    let (mut newer, mut message) = with_message("1.2");
    message.ack = None;
    for refused in [
        newer.ack(&message, Headers::new(), None),
        newer.nack_in("t", &message, Headers::new(), None),
    ] {
        assert_eq!(refused, Err(NotAcknowledgeable::NoAckHeader));
    }
    assert_eq!(client.poll_transmit(), None);
    assert_eq!(newer.poll_transmit(), None);
}

#[test]
fn transactions_have_ids_of_their_own() {
    let (mut client, _) = with_message("1.2");
    let (first, second) = (client.begin(Some("r")), client.begin(None));
    assert_ne!(first, second);
    client.send_in(&second, "/q", Headers::from_iter([("x", "y")]), "hi", None);
    client.abort(&first, None);
    client.commit(&second, Some("done"));
    let mut written = String::new();
    while let Some(frame) = client.poll_transmit() {
        written += &text(Some(frame));
    }
    assert_eq!(
        written,
        "BEGIN\ntransaction:0\nreceipt:r\n\n\0BEGIN\ntransaction:1\n\n\0\
         SEND\ndestination:/q\ntransaction:1\nx:y\ncontent-length:2\n\nhi\0\
         ABORT\ntransaction:0\n\n\0COMMIT\ntransaction:1\nreceipt:done\n\n\0"
    );
}

#[test]
fn a_message_knows_whether_it_was_delivered_before() {
    let (_, mut message) = with_message("1.2");
    assert_eq!(
        (message.redelivered(), message.delivery_count()),
        (false, None)
    );
    message.headers = Headers::from_iter([("redelivered", "true"), ("delivery-count", "3")]);
    assert_eq!(
        (message.redelivered(), message.delivery_count()),
        (true, Some(3))
    );
    message.headers = Headers::from_iter([("redelivered", "false"), ("delivery-count", "-1")]);
    assert_eq!(
        (message.redelivered(), message.delivery_count()),
        (false, None)
    );
}

#[test]
fn a_kept_delivery_does_not_keep_the_message() {
    let (mut client, now) = client();
    receive(&mut client, "CONNECTED\nversion:1.2\n\n\0", now);
    let wire = b"MESSAGE\nsubscription:s\nack:1\nmessage-id:m\ndestination:/q\n\nhi\0";
    let piece = Bytes::from(wire.to_vec());
    client.receive(piece.clone(), now);
    let Some(ClientEvent::Message(message)) = client.poll_event() else {
        panic!()
    };
    assert_eq!(message.delivery(), Delivery::from(&message));
    let kept = message.delivery();
    drop(message);
    assert!(piece.is_unique());
    assert_eq!(client.ack(&kept, Headers::new(), None), Ok(()));
}
