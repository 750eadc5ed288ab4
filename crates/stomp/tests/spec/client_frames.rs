use super::*;

#[test]
fn unknown_and_server_commands_get_an_error() {
    for command in ["HELLO", "CONNECTED", "MESSAGE", "RECEIPT", "ERROR"] {
        refusal(Version::V1_2, &format!("{command}\nx:y\n\n\0"));
    }
}

#[test]
fn required_headers_are_required() {
    let always = [
        "SEND\nx:y",
        "SEND\ndestination:",
        "SUBSCRIBE\nid:1",
        "UNSUBSCRIBE\nx:y",
        "ACK\nx:y",
        "BEGIN\nx:y",
        "COMMIT\nx:y",
        "ABORT\nx:y",
    ];
    let newer = [
        "SUBSCRIBE\ndestination:/a",
        "UNSUBSCRIBE\ndestination:/a",
        "NACK\nx:y",
    ];
    for version in Version::ALL {
        for frame in always {
            refusal(version, &format!("{frame}\n\n\0"));
        }
        if version > Version::V1_0 {
            for frame in newer {
                refusal(version, &format!("{frame}\n\n\0"));
            }
        }
    }
    refusal(Version::V1_1, "ACK\nmessage-id:1\n\n\0");
    refusal(Version::V1_1, "ACK\nsubscription:1\n\n\0");
    refusal(Version::V1_2, "ACK\nmessage-id:1\nsubscription:1\n\n\0");
}

#[test]
fn send_carries_any_other_header() {
    let send = Session::of(Version::V1_2)
        .send("SEND\ndestination:/a\ncontent-type:text/plain\npriority:9\n\n\0");
    assert_eq!(send.headers.get("content-type"), Some("text/plain"));
    assert_eq!(send.headers.get("priority"), Some("9"));
}

#[test]
fn a_destination_is_any_text() {
    for destination in ["a", "/queue/a b", "topic://é", "a:b"] {
        let wire = format!("SEND\ndestination:{destination}\n\n\0");
        assert_eq!(
            Session::of(Version::V1_0).send(&wire).destination,
            destination
        );
    }
}

#[test]
fn subscriptions_to_one_destination_have_ids_of_their_own() {
    for version in Version::ALL {
        let mut session = Session::of(version);
        let first = session.subscribe("id:1\ndestination:/a");
        let second = session.subscribe("id:2\ndestination:/a");
        assert_ne!(first.slot, second.slot);
        session.refusal("SUBSCRIBE\nid:2\ndestination:/b\n\n\0");
    }
}

#[test]
fn an_id_is_free_after_unsubscribe() {
    let mut session = Session::of(Version::V1_2);
    let first = session.subscribe("id:1\ndestination:/a");
    session.event("UNSUBSCRIBE\nid:1\n\n\0");
    let second = session.subscribe("id:1\ndestination:/b");
    assert_ne!(first.slot, second.slot);
}

#[test]
fn unsubscribe_names_a_live_subscription() {
    refusal(Version::V1_2, "UNSUBSCRIBE\nid:1\n\n\0");
}

#[test]
fn a_1_0_client_subscribes_and_unsubscribes_by_destination() {
    let mut session = Session::of(Version::V1_0);
    let subscribe = session.subscribe("destination:/a");
    let Some(ServerEvent::Unsubscribe(gone)) = session.event("UNSUBSCRIBE\ndestination:/a\n\n\0")
    else {
        panic!()
    };
    assert_eq!(gone.slot, subscribe.slot);
}

#[test]
fn ack_modes_are_the_three_and_auto_without_the_header() {
    for (header, mode) in [
        ("", "auto"),
        ("\nack:auto", "auto"),
        ("\nack:client", "client"),
        ("\nack:client-individual", "client-individual"),
    ] {
        let subscribe =
            Session::of(Version::V1_2).subscribe(&format!("id:1\ndestination:/a{header}"));
        assert_eq!(subscribe.ack.as_str(), mode);
    }
    for mode in ["", "Client", "none"] {
        let wire = format!("SUBSCRIBE\nid:1\ndestination:/a\nack:{mode}\n\n\0");
        refusal(Version::V1_2, &wire);
    }
}

#[test]
fn transactions_are_begun_once_and_ended_once() {
    for version in Version::ALL {
        for frames in [
            "COMMIT\ntransaction:t\n\n\0",
            "ABORT\ntransaction:t\n\n\0",
            "SEND\ndestination:/a\ntransaction:t\n\n\0",
        ] {
            refusal(version, frames);
        }
        let mut session = Session::of(version);
        let begin = "BEGIN\ntransaction:t\n\n\0";
        assert!(matches!(session.event(begin), Some(ServerEvent::Begin(_))));
        session.refusal(begin);
    }
}

#[test]
fn transactions_of_a_session_are_apart() {
    let mut session = Session::of(Version::V1_2);
    for id in ["t", "u"] {
        session.event(&format!("BEGIN\ntransaction:{id}\n\n\0"));
    }
    session.event("COMMIT\ntransaction:t\n\n\0");
    let send = session.send("SEND\ndestination:/a\ntransaction:u\n\n\0");
    assert_eq!(send.transaction.as_deref(), Some("u"));
}

#[test]
fn disconnect_aborts_what_is_open_and_ends_everything() {
    let mut session = Session::of(Version::V1_2);
    session.subscribe("id:1\ndestination:/a");
    session.event("BEGIN\ntransaction:t\n\n\0");
    let event = session.event("DISCONNECT\nreceipt:bye\n\n\0");
    assert!(matches!(event, Some(ServerEvent::Disconnect(_))));
    assert_eq!(session.server.transaction_count(), 0);
    assert_eq!(session.server.subscription_count(), 0);
    assert_eq!(session.event("COMMIT\ntransaction:t\n\n\0"), None);
    session.server.receipt("bye");
    assert_eq!(session.written()[0].headers.get("receipt-id"), Some("bye"));
}
