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
