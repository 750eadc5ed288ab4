use super::*;
use crate::{AckMode, Acknowledge, DeliveryId};

/// Returns a session of this version with a subscription `a:1` in slot 0.
fn subscribed(version: &str, ack: &str) -> Server {
    let mut server = Server::connected(&format!("CONNECT\naccept-version:{version}\n\n\0"));
    // 1.0 has no escapes.
    let id = if version == "1.0" { "a:1" } else { "a\\c1" };
    let event = server.subscribe(&format!("id:{id}\ndestination:/q\n{ack}"));
    assert!(
        matches!(event, Some(ServerEvent::Subscribe(_))),
        "{event:?}"
    );
    server
}

fn head(server: &Server, slot: u32, tag: u32, redeliveries: u32) -> String {
    let mut head = Vec::new();
    let live = server
        .connection
        .tagged_head(slot, tag, redeliveries, &mut head);
    assert_eq!(live, !head.is_empty());
    String::from_utf8(head).unwrap()
}

fn acknowledged(event: Option<ServerEvent>) -> Acknowledge {
    match event {
        Some(ServerEvent::Ack(acknowledge) | ServerEvent::Nack(acknowledge)) => acknowledge,
        other => panic!("{other:?}"),
    }
}

#[test]
fn subscribe_says_its_ack_mode() {
    for (header, mode) in [
        ("x:y", AckMode::Auto),
        ("ack:auto", AckMode::Auto),
        ("ack:client", AckMode::Client),
        ("ack:client-individual", AckMode::ClientIndividual),
    ] {
        for version in ["1.0", "1.1", "1.2"] {
            let mut server = Server::connected(&format!("CONNECT\naccept-version:{version}\n\n\0"));
            let event = server.subscribe(&format!("id:1\ndestination:/q\n{header}"));
            let Some(ServerEvent::Subscribe(subscribe)) = event else {
                panic!("{event:?}")
            };
            assert_eq!(subscribe.ack, mode);
            assert_eq!(server.connection.ack_mode(0), Some(mode));
        }
    }
    assert_eq!(Server::connected(CONNECT).connection.ack_mode(0), None);
}

#[test]
fn the_ack_header_is_written_where_the_client_needs_it() {
    for (version, ack, written) in [
        ("1.2", "ack:client", "ack:0-7\n"),
        ("1.2", "ack:client-individual", "ack:0-7\n"),
        ("1.2", "ack:auto", ""),
        ("1.1", "ack:client", ""),
        ("1.0", "ack:client", ""),
    ] {
        let server = subscribed(version, ack);
        let id = if version == "1.0" { "a:1" } else { "a\\c1" };
        let untagged = format!("MESSAGE\nsubscription:{id}\n");
        assert_eq!(head(&server, 0, 7, 0), format!("{untagged}{written}"));
        assert_eq!(
            head(&server, 0, 7, 2),
            format!("{untagged}{written}redelivered:true\ndelivery-count:2\n")
        );
        assert_eq!(
            server.connection.message_head(0),
            Some(untagged.as_bytes()),
            "the hot path's head stays as it is"
        );
        assert_eq!(head(&server, 1, 7, 0), "");
    }
}

#[test]
fn a_subscription_that_is_gone_has_no_head_and_no_mode() {
    let mut server = subscribed("1.2", "ack:client");
    server.receive("UNSUBSCRIBE\nid:a\\c1\n\n\0");
    assert_eq!(head(&server, 0, 1, 0), "");
    assert_eq!(server.connection.ack_mode(0), None);
}

#[test]
fn a_1_2_client_acknowledges_by_tag() {
    for mode in ["ack:client", "ack:client-individual"] {
        let mut server = subscribed("1.2", mode);
        let event = server.receive("ACK\nid:0-4294967295\nreceipt:r\nx:y\n\n\0");
        assert!(matches!(event, Some(ServerEvent::Ack(_))));
        let acknowledge = acknowledged(event);
        let tag = u32::MAX;
        assert_eq!(acknowledge.delivery, DeliveryId::Tag { slot: 0, tag });
        assert_eq!(acknowledge.receipt.as_deref(), Some("r"));
        assert_eq!(acknowledge.transaction, None);
        assert_eq!(acknowledge.headers.get("x"), Some("y"));

        let event = server.receive("NACK\nid:0-1\n\n\0");
        assert!(matches!(event, Some(ServerEvent::Nack(_))));
        let delivery = acknowledged(event).delivery;
        assert_eq!(delivery, DeliveryId::Tag { slot: 0, tag: 1 });
    }
}

#[test]
fn older_clients_acknowledge_by_message_id() {
    let by_message_id = |slot| DeliveryId::Message {
        slot,
        message_id: "m-1".into(),
    };
    let mut server = subscribed("1.1", "ack:client");
    for command in ["ACK", "NACK"] {
        let wire = format!("{command}\nsubscription:a\\c1\nmessage-id:m-1\n\n\0");
        let event = server.receive(&wire);
        assert_eq!(acknowledged(event).delivery, by_message_id(Some(0)));
    }

    let mut server = subscribed("1.0", "ack:client");
    let event = server.receive("ACK\nmessage-id:m-1\n\n\0");
    assert_eq!(acknowledged(event).delivery, by_message_id(None));
    let event = server.receive("ACK\nsubscription:a:1\nmessage-id:m-1\n\n\0");
    assert_eq!(acknowledged(event).delivery, by_message_id(Some(0)));
}

#[test]
fn bad_acknowledgements_fail_the_session_and_say_what_to_do() {
    for (version, mode, wire, text, advice) in [
        (
            "1.2",
            "client",
            "ACK\nmessage-id:m\nsubscription:a\\c1",
            "ACK lacks the header `id`",
            "the MESSAGE's header `ack`",
        ),
        (
            "1.2",
            "client",
            "NACK\nid:",
            "NACK lacks the header `id`",
            "the MESSAGE's header `ack`",
        ),
        (
            "1.2",
            "client",
            "ACK\nid:message-7",
            "`message-7` names no delivery",
            "send the `ack` header",
        ),
        (
            "1.2",
            "client",
            "ACK\nid:3-1",
            "`3-1` names a delivery of no live subscription",
            "before you unsubscribe",
        ),
        (
            "1.2",
            "auto",
            "ACK\nid:0-1",
            "ack\\cauto",
            "ack\\cclient-individual",
        ),
        (
            "1.1",
            "client",
            "ACK\nsubscription:a\\c1",
            "ACK lacks the header `message-id`",
            "as it stands in the MESSAGE",
        ),
        (
            "1.1",
            "client",
            "NACK\nmessage-id:m",
            "NACK lacks the header `subscription`",
            "as it stands in the MESSAGE",
        ),
        (
            "1.1",
            "client",
            "ACK\nsubscription:b\nmessage-id:m",
            "no subscription has the id `b`",
            "given to SUBSCRIBE",
        ),
        (
            "1.1",
            "auto",
            "NACK\nsubscription:a\\c1\nmessage-id:m",
            "NACK is for a subscription with ack\\cauto",
            "send no NACK",
        ),
        (
            "1.0",
            "client",
            "ACK\nsubscription:a:1",
            "ACK lacks the header `message-id`",
            "as it stands in the MESSAGE",
        ),
        (
            "1.0",
            "client",
            "ACK\nsubscription:b\nmessage-id:m",
            "no subscription has the id `b`",
            "given to SUBSCRIBE",
        ),
        (
            "1.0",
            "client",
            "ACK\nsubscription:\nmessage-id:m",
            "ACK lacks the header `subscription`",
            "as it stands in the MESSAGE",
        ),
        (
            "1.0",
            "client",
            "NACK\nmessage-id:m",
            "STOMP 1.0 has no NACK",
            "accept-version:1.1",
        ),
    ] {
        let mut server = subscribed(version, &format!("ack:{mode}"));
        let (error, written) = server.failure(&format!("{wire}\nreceipt:r\n\n\0"));
        violation(error);
        assert!(
            written.contains(text) && written.contains(advice),
            "{wire:?}: {written}"
        );
        assert!(written.contains("\nreceipt-id:r\n"), "{written}");
    }
}

#[test]
fn a_delivery_of_an_ended_subscription_is_refused() {
    let mut server = subscribed("1.2", "ack:client");
    server.receive("UNSUBSCRIBE\nid:a\\c1\n\n\0");
    let (error, _) = server.failure("ACK\nid:0-1\n\n\0");
    let id = "0-1".to_owned();
    assert_eq!(
        violation(error),
        PeerViolation::AckWithoutSubscription { id }
    );

    let mut server = subscribed("1.1", "ack:client");
    server.receive("UNSUBSCRIBE\nid:a\\c1\n\n\0");
    let (error, _) = server.failure("ACK\nsubscription:a\\c1\nmessage-id:m\n\n\0");
    let id = "a:1".to_owned();
    assert_eq!(violation(error), PeerViolation::UnknownSubscription { id });
}

/// Every session counts its deliveries from the same number: a client that reconnects and acknowledges what it received
/// before must not settle another message.
#[test]
fn a_token_is_worth_nothing_in_another_session() {
    let session = |name| {
        let mut server = Server::new(ServerConfig::default());
        server.receive(CONNECT);
        server.connection.accept(None, name, server.now);
        server.written();
        server.subscribe("id:s\ndestination:/q\nack:client");
        server
    };
    let token = |server: &Server| {
        let head = head(server, 0, 1, 0);
        let (_, token) = head.trim_end().split_once("\nack:").unwrap();
        token.to_owned()
    };
    let names = [Some("one"), Some("other"), None];
    for (at, name) in names.into_iter().enumerate() {
        let mut server = session(name);
        let id = token(&server);
        let event = server.receive(&format!("ACK\nid:{id}\n\n\0"));
        let delivery = DeliveryId::Tag { slot: 0, tag: 1 };
        assert_eq!(acknowledged(event).delivery, delivery);
        for (_, other) in names.iter().enumerate().filter(|(other, _)| *other != at) {
            for command in ["ACK", "NACK"] {
                let wire = format!("{command}\nreceipt:r\nid:{id}\n\n\0");
                let (error, written) = session(*other).failure(&wire);
                let id = id.clone();
                assert_eq!(violation(error), PeerViolation::AckOfOtherSession { id });
                assert!(written.contains("\nreceipt-id:r\n"), "{written}");
            }
        }
    }
}
