use super::*;

#[test]
fn all_four_escapes_count_in_1_2_names_and_values() {
    let send =
        Session::of(Version::V1_2).send("SEND\ndestination:/a\n\\r\\n\\c\\\\:\\\\\\c\\n\\r\n\n\0");
    assert_eq!(send.headers.get("\r\n:\\"), Some("\\:\n\r"));
}

#[test]
fn three_escapes_count_in_1_1() {
    let send = Session::of(Version::V1_1).send("SEND\ndestination:/a\nx\\c:\\n\\c\\\\\n\n\0");
    assert_eq!(send.headers.get("x:"), Some("\n:\\"));
}

#[test]
fn nothing_is_an_escape_in_1_0() {
    let send = Session::of(Version::V1_0).send("SEND\ndestination:/a\nx:\\n\\t\\\n\n\0");
    assert_eq!(send.headers.get("x"), Some("\\n\\t\\"));
}

#[test]
fn undefined_escapes_are_fatal() {
    for (version, escapes) in [
        (Version::V1_1, &["\\t", "\\r", "\\N", "\\", "\\x41"][..]),
        (Version::V1_2, &["\\t", "\\R", "\\0", "\\", "\\ "]),
    ] {
        for escape in escapes {
            refusal(version, &format!("SEND\ndestination:/a\nx:{escape}\n\n\0"));
        }
    }
}

#[test]
fn the_handshake_is_not_escaped_in_any_version() {
    for version in Version::ALL {
        let mut session = Session::fresh(ServerConfig::default());
        let wire = format!("CONNECT\naccept-version:{version}\nlogin:a\\c\\t:b\n\n\0");
        let Some(ServerEvent::Connect(connect)) = session.event(&wire) else {
            panic!()
        };
        assert_eq!(connect.login.as_deref(), Some("a\\c\\t:b"));
        session.server.accept(Some("a\\c:b"), None, session.now);
        let written = session.server.poll_transmit().unwrap();
        let text = std::str::from_utf8(&written).unwrap();
        assert!(text.contains("\nuser-name:a\\c:b\n"), "{text}");
    }
}

#[test]
fn what_the_server_writes_is_escaped_by_version() {
    for (version, receipt, written) in [
        (Version::V1_0, "a\\c", "a\\c"),
        (Version::V1_1, "a\\c\\\\", "a\\c\\\\"),
        (Version::V1_2, "a\\c\\\\\\n\\r", "a\\c\\\\\\n\\r"),
    ] {
        let mut session = Session::of(version);
        let wire = format!("SEND\ndestination:/a\nreceipt:{receipt}\n\n\0");
        let receipt = session.send(&wire).receipt.unwrap();
        session.server.receipt(&receipt);
        assert_eq!(
            session.server.poll_transmit().unwrap(),
            format!("RECEIPT\nreceipt-id:{written}\n\n\0")
        );
    }
}
