use super::*;
use crate::{AckMode, DeliveryId, Transaction};

fn transaction(id: &str, receipt: Option<&str>) -> Transaction {
    Transaction {
        id: id.into(),
        receipt: receipt.map(Into::into),
    }
}

#[test]
fn a_transaction_is_open_from_begin_to_its_end() {
    let mut server = Server::connected(CONNECT);
    for (end, event) in [
        (
            "COMMIT",
            ServerEvent::Commit as fn(Transaction) -> ServerEvent,
        ),
        ("ABORT", ServerEvent::Abort),
    ] {
        // The id is free again once the transaction has ended.
        assert_eq!(
            server.receive("BEGIN\ntransaction:t\\c1\nreceipt:r-1\n\n\0"),
            Some(ServerEvent::Begin(transaction("t:1", Some("r-1"))))
        );
        assert_eq!(server.connection.transaction_count(), 1);
        assert_eq!(
            server.receive(&format!("{end}\ntransaction:t\\c1\nreceipt:r-2\n\n\0")),
            Some(event(transaction("t:1", Some("r-2"))))
        );
        assert_eq!(server.connection.transaction_count(), 0);
    }
    assert_eq!(
        server.receive("BEGIN\ntransaction:t\n\n\0"),
        Some(ServerEvent::Begin(transaction("t", None)))
    );
}

#[test]
fn sends_and_acknowledgements_say_their_transaction() {
    let mut server = Server::connected(CONNECT);
    server.subscribe("id:1\ndestination:/q\nack:client");
    server.receive("BEGIN\ntransaction:t\n\n\0");
    server.receive("BEGIN\ntransaction:u\n\n\0");

    let Some(ServerEvent::Send(send)) =
        server.receive("SEND\ndestination:/a\ntransaction:t\n\nx\0")
    else {
        panic!()
    };
    assert_eq!(send.transaction.as_deref(), Some("t"));
    let Some(ServerEvent::Ack(ack)) = server.receive("ACK\nid:0-1\ntransaction:u\n\n\0") else {
        panic!()
    };
    assert_eq!(ack.transaction.as_deref(), Some("u"));
    assert_eq!(ack.delivery, DeliveryId::Tag { slot: 0, tag: 1 });
    let Some(ServerEvent::Nack(nack)) = server.receive("NACK\nid:0-2\ntransaction:t\n\n\0") else {
        panic!()
    };
    assert_eq!(nack.transaction.as_deref(), Some("t"));

    let Some(ServerEvent::Send(send)) = server.receive("SEND\ndestination:/a\n\nx\0") else {
        panic!()
    };
    assert_eq!(send.transaction, None);
}

#[test]
fn bad_transactions_fail_the_session_and_say_what_to_do() {
    let cases = [
        ("BEGIN\n", "BEGIN lacks the header `transaction`", "add it"),
        (
            "BEGIN\ntransaction:\n",
            "BEGIN lacks the header `transaction`",
            "that you choose",
        ),
        (
            "COMMIT\n",
            "COMMIT lacks the header `transaction`",
            "add it",
        ),
        (
            "ABORT\ntransaction:\n",
            "ABORT lacks the header `transaction`",
            "add it",
        ),
        (
            "BEGIN\ntransaction:open\n",
            "the transaction `open` is open already",
            "choose another id",
        ),
        (
            "COMMIT\ntransaction:t\n",
            "the transaction `t` is not open",
            "send BEGIN",
        ),
        (
            "ABORT\ntransaction:ended\n",
            "the transaction `ended` is not open",
            "end it only once",
        ),
        (
            "SEND\ndestination:/a\ntransaction:t\n",
            "the transaction `t` is not open",
            "without the header",
        ),
        (
            "SEND\ndestination:/a\ntransaction:\n",
            "the transaction `` is not open",
            "without the header",
        ),
        (
            "ACK\nid:0-1\ntransaction:t\n",
            "the transaction `t` is not open",
            "send BEGIN",
        ),
        (
            "NACK\nid:0-1\ntransaction:ended\n",
            "the transaction `ended` is not open",
            "send BEGIN",
        ),
    ];
    for (wire, text, advice) in cases {
        let mut server = Server::connected(CONNECT);
        server.subscribe("id:1\ndestination:/q\nack:client");
        server.receive("BEGIN\ntransaction:open\n\n\0");
        server.receive("BEGIN\ntransaction:ended\n\n\0");
        server.receive("COMMIT\ntransaction:ended\n\n\0");
        let (error, written) = server.failure(&format!("{wire}receipt:r\n\n\0"));
        violation(error);
        assert!(
            written.contains(text) && written.contains(advice),
            "{wire:?}: {written}"
        );
        assert!(written.contains("\nreceipt-id:r\n"), "{written}");
        assert_eq!(server.connection.transaction_count(), 0);
        assert_eq!(server.connection.ack_mode(0), None::<AckMode>);
    }
}

#[test]
fn open_transactions_are_limited() {
    let config = ServerConfig::default().with_max_transactions(2);
    let mut server = Server::connected_with(config, CONNECT);
    server.receive("BEGIN\ntransaction:1\n\n\0");
    server.receive("BEGIN\ntransaction:2\n\n\0");
    server.receive("ABORT\ntransaction:1\n\n\0");
    let event = server.receive("BEGIN\ntransaction:3\n\n\0");
    assert!(matches!(event, Some(ServerEvent::Begin(_))));
    let (error, _) = server.failure("BEGIN\ntransaction:4\n\n\0");
    assert_eq!(
        violation(error),
        PeerViolation::TooManyTransactions { limit: 2 }
    );
    assert_eq!(ServerConfig::default().max_transactions, 16);
}

#[test]
fn a_session_that_ends_forgets_its_transactions() {
    let mut server = Server::connected(CONNECT);
    server.receive("BEGIN\ntransaction:t\n\n\0");
    let event = server.receive("DISCONNECT\n\n\0");
    assert!(matches!(event, Some(ServerEvent::Disconnect(_))));
    assert_eq!(server.connection.transaction_count(), 0);
}

#[test]
fn an_open_transaction_keeps_nothing_that_was_received() {
    let mut server = Server::connected(CONNECT);
    let piece = Bytes::from(b"BEGIN\ntransaction:t\n\n\0".to_vec());
    server.connection.receive(piece.clone(), server.now);
    assert!(server.connection.poll_event().is_some());
    assert!(piece.is_unique());
}
