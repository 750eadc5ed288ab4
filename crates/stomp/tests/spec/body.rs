use super::*;

/// "All other frames MUST NOT have a body": what comes there is ignored.
#[test]
fn only_send_may_have_one_among_client_frames() {
    for version in Version::ALL {
        assert_eq!(
            Session::of(version)
                .send("SEND\ndestination:/a\n\nbody\0")
                .body,
            "body"
        );
        for body in ["\n", "body"] {
            let mut session = Session::fresh(ServerConfig::default());
            let accept = version.as_str();
            session.connect(&format!("accept-version:{accept}\n\n{body}"));
            session.subscribe(&format!("id:1\ndestination:/a\n\n{body}"));
            for head in [
                "BEGIN\ntransaction:1",
                "COMMIT\ntransaction:1",
                "UNSUBSCRIBE\nid:1",
            ] {
                let event = session.event(&format!("{head}\n\n{body}\0"));
                assert!(
                    !matches!(event, None | Some(ServerEvent::Failed(_))),
                    "{event:?}"
                );
            }
            let disconnect = session.event(&format!("DISCONNECT\n\n{body}\0"));
            assert!(matches!(disconnect, Some(ServerEvent::Disconnect(_))));
        }
    }
}
