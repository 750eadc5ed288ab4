use super::*;

#[test]
fn heads_are_utf_8() {
    let mut session = Session::of(Version::V1_2);
    let send = session.send("SEND\ndestination:/tòpic/é\nключ:значение\n\n\0");
    assert_eq!(send.destination, "/tòpic/é");
    assert_eq!(send.headers.get("ключ"), Some("значение"));
    let wire = Bytes::from_static(b"SEND\ndestination:/\xFF\n\n\0");
    session.server.receive(wire, session.now);
    assert!(matches!(
        session.server.poll_event(),
        Some(ServerEvent::Failed(_))
    ));
}

#[test]
fn lines_end_with_lf_or_crlf_even_mixed() {
    for wire in [
        "SEND\ndestination:/a\nx:y\n\nhi\0",
        "SEND\r\ndestination:/a\r\nx:y\r\n\r\nhi\0",
        "SEND\r\ndestination:/a\nx:y\r\n\nhi\0",
    ] {
        for version in Version::ALL {
            let send = Session::of(version).send(wire);
            assert_eq!(send.headers.get("x"), Some("y"));
            assert_eq!(send.body, "hi");
        }
    }
}

#[test]
fn line_ends_may_follow_a_frame() {
    for version in Version::ALL {
        let mut session = Session::of(version);
        session.send("SEND\ndestination:/a\n\nhi\0\n\r\n\n");
        session.send("\nSEND\ndestination:/a\n\nhi\0");
    }
}

#[test]
fn commands_and_names_are_case_sensitive() {
    refusal(Version::V1_2, "send\ndestination:/a\n\n\0");
    refusal(Version::V1_2, "SEND\nDestination:/a\n\n\0");
}

#[test]
fn blanks_belong_to_names_and_values() {
    let send = Session::of(Version::V1_2).send("SEND\ndestination:/a\n x : y \n\n\0");
    assert_eq!(send.headers.get(" x "), Some(" y "));
}

#[test]
fn a_value_may_be_empty_and_has_what_follows_the_first_colon() {
    let send = Session::of(Version::V1_0).send("SEND\ndestination:/a\nx:\ny:1:2\n\n\0");
    assert_eq!(send.headers.get("x"), Some(""));
    assert_eq!(send.headers.get("y"), Some("1:2"));
}
