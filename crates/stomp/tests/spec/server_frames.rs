use super::*;

fn message(session: &Session, slot: u32, headers: &Headers) -> Frame {
    let mut wire = Vec::new();
    assert!(session.server.tagged_head(slot, 5, 0, &mut wire));
    let version = session.server.version();
    encode_message_tail(version, "m:1", "/a:b", headers, b"x\0y", &mut wire);
    frame(version, wire.into()).unwrap()
}

#[test]
fn message_has_destination_id_subscription_and_the_sender_s_headers() {
    for version in Version::ALL {
        let mut session = Session::of(version);
        let subscribe = session.subscribe("id:s-1\ndestination:/a");
        let sent = Headers::from_iter([("priority", "9"), ("content-type", "text/plain")]);
        let message = message(&session, subscribe.slot, &sent);
        assert_eq!(message.command, Command::Message);
        for (name, value) in [
            ("destination", "/a:b"),
            ("message-id", "m:1"),
            ("subscription", "s-1"),
            ("content-length", "3"),
            ("content-type", "text/plain"),
            ("priority", "9"),
        ] {
            assert_eq!(message.headers.get(name), Some(value));
        }
        assert_eq!(message.body, "x\0y");
    }
}

#[test]
fn a_1_2_message_that_needs_an_ack_says_by_what() {
    for (ack, named) in [
        ("auto", false),
        ("client", true),
        ("client-individual", true),
    ] {
        let mut session = Session::of(Version::V1_2);
        let subscribe = session.subscribe(&format!("id:1\ndestination:/a\nack:{ack}"));
        let message = message(&session, subscribe.slot, &Headers::new());
        let id = message.headers.get("ack");
        assert_eq!(id.is_some(), named);
        if let Some(id) = id {
            let ack = session.event(&format!("ACK\nid:{id}\n\n\0"));
            assert!(matches!(ack, Some(ServerEvent::Ack(_))), "{ack:?}");
        }
    }
}

#[test]
fn receipts_are_written_in_the_order_of_their_frames() {
    let mut session = Session::of(Version::V1_2);
    for id in ["1", "2", "3"] {
        session.server.receipt(id);
    }
    let written = session.written();
    let ids: Vec<_> = written
        .iter()
        .map(|frame| frame.headers.get("receipt-id").unwrap())
        .collect();
    assert_eq!(ids, ["1", "2", "3"]);
}

#[test]
fn error_has_a_message_and_names_the_receipt_of_its_frame() {
    for version in Version::ALL {
        let error = refusal(version, "UNSUBSCRIBE\nid:1\nreceipt:r-1\n\n\0");
        assert!(!error.headers.get("message").unwrap().is_empty());
        assert_eq!(error.headers.get("receipt-id"), Some("r-1"));
        let error = refusal(version, "UNSUBSCRIBE\nid:1\n\n\0");
        assert_eq!(error.headers.get("receipt-id"), None);
    }
}

#[test]
fn nothing_follows_error() {
    let mut session = Session::of(Version::V1_2);
    session.server.error(ErrorReply::new("over"));
    session.server.error(ErrorReply::new("again"));
    let written = session.written();
    assert_eq!(written.len(), 1);
    session.server.receipt("1");
    session.server.accept(None, None, session.now);
    session
        .server
        .handle_timeout(session.now + Duration::from_secs(1000));
    assert_eq!(session.server.poll_transmit(), None);
}
