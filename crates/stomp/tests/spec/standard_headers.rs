use super::*;

#[test]
fn content_length_octets_are_the_body_whatever_they_are() {
    for version in Version::ALL {
        let send =
            Session::of(version).send("SEND\ndestination:/a\ncontent-length:7\n\n\0\n\0SEND\0");
        assert_eq!(send.body, "\0\n\0SEND");
    }
}

#[test]
fn content_length_counts_octets_and_not_characters() {
    let send = Session::of(Version::V1_2).send("SEND\ndestination:/a\ncontent-length:4\n\néé\0");
    assert_eq!(send.body, "éé");
    refusal(
        Version::V1_2,
        "SEND\ndestination:/a\ncontent-length:2\n\néé\0",
    );
}

#[test]
fn a_body_without_content_length_ends_at_the_first_nul() {
    let mut session = Session::of(Version::V1_2);
    let send = session.send("SEND\ndestination:/a\n\none\0SEND\ndestination:/a\n\ntwo\0");
    assert_eq!(send.body, "one");
    let Some(ServerEvent::Send(send)) = session.server.poll_event() else {
        panic!()
    };
    assert_eq!(send.body, "two");
}

#[test]
fn frames_with_a_body_announce_its_length_and_its_type() {
    let error = refusal(Version::V1_2, "HELLO\n\n\0");
    let length = error.body.len().to_string();
    assert_eq!(error.headers.get("content-length"), Some(&*length));
    assert!(!error.body.is_empty(), "it says why");

    let mut session = Session::of(Version::V1_2);
    session.server.error(ErrorReply::new("no").detail("why é"));
    let error = session.written().remove(0);
    assert_eq!(error.headers.get("content-length"), Some("6"));
    assert_eq!(error.headers.get("content-type"), Some("text/plain"));
}

#[test]
fn every_client_frame_but_connect_may_ask_for_a_receipt() {
    for version in Version::ALL {
        let mut session = Session::of(version);
        let slot = session.subscribe("id:q\ndestination:/q\nack:client").slot;
        let mut message = Vec::new();
        session.server.tagged_head(slot, 1, 0, &mut message);
        let message = String::from_utf8(message).unwrap();
        let token = message.trim_end().split_once("\nack:");
        let token = token.map_or("", |(_, token)| token);
        for head in [
            "SUBSCRIBE\nid:1\ndestination:/a",
            "SEND\ndestination:/a",
            "BEGIN\ntransaction:t",
            "ACK\nid:$TOKEN\nmessage-id:1\nsubscription:q",
            "NACK\nid:$TOKEN\nmessage-id:1\nsubscription:q",
            "ABORT\ntransaction:t",
            "BEGIN\ntransaction:t",
            "COMMIT\ntransaction:t",
            "UNSUBSCRIBE\nid:1",
            "DISCONNECT",
        ] {
            if version == Version::V1_0 && head.starts_with("NACK") {
                continue;
            }
            let head = head.replace("$TOKEN", token);
            let receipt = match session.event(&format!("{head}\nreceipt:r-1\n\n\0")) {
                Some(ServerEvent::Send(send)) => send.receipt,
                Some(ServerEvent::Subscribe(subscribe)) => subscribe.receipt,
                Some(ServerEvent::Unsubscribe(unsubscribe)) => unsubscribe.receipt,
                Some(ServerEvent::Ack(ack) | ServerEvent::Nack(ack)) => ack.receipt,
                Some(
                    ServerEvent::Begin(transaction)
                    | ServerEvent::Commit(transaction)
                    | ServerEvent::Abort(transaction),
                ) => transaction.receipt,
                Some(ServerEvent::Disconnect(disconnect)) => disconnect.receipt,
                other => panic!("{other:?}"),
            };
            session.server.receipt(&receipt.unwrap());
            let written = session.written();
            assert_eq!(written.len(), 1);
            assert_eq!(written[0].command, Command::Receipt);
            assert_eq!(written[0].headers.get("receipt-id"), Some("r-1"));
        }
    }
}

#[test]
fn of_repeated_headers_the_first_counts() {
    for version in Version::ALL {
        let send = Session::of(version)
            .send("SEND\ndestination:/a\ndestination:/b\nreceipt:1\nreceipt:2\n\n\0");
        assert_eq!(send.destination, "/a");
        assert_eq!(send.receipt.as_deref(), Some("1"));
        let all: Vec<_> = send.headers.get_all("destination").collect();
        assert_eq!(all, ["/a", "/b"], "the others are kept");
    }
}
