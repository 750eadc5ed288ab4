use super::*;

#[test]
fn only_send_may_have_one_among_client_frames() {
    for version in Version::ALL {
        assert_eq!(
            Session::of(version)
                .send("SEND\ndestination:/a\n\nbody\0")
                .body,
            "body"
        );
        for head in [
            "SUBSCRIBE\nid:1\ndestination:/a",
            "UNSUBSCRIBE\nid:1",
            "ACK\nid:0-1\nmessage-id:1\nsubscription:1",
            "NACK\nid:0-1\nmessage-id:1\nsubscription:1",
            "BEGIN\ntransaction:1",
            "COMMIT\ntransaction:1",
            "ABORT\ntransaction:1",
            "DISCONNECT\nreceipt:1",
        ] {
            let error = refusal(version, &format!("{head}\n\nbody\0"));
            let text = error.headers.get("message").unwrap();
            assert!(text.contains("has no body"), "{text}");
        }
    }
    let error = Session::fresh(ServerConfig::default()).refusal("CONNECT\n\nbody\0");
    assert!(error.headers.get("message").unwrap().contains("CONNECT"));
}
