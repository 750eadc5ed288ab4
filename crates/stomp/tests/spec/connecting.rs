use super::*;

#[test]
fn stomp_is_taken_as_connect() {
    let mut session = Session::fresh(ServerConfig::default());
    let event = session.event("STOMP\naccept-version:1.2\nhost:h\n\n\0");
    assert!(matches!(event, Some(ServerEvent::Connect(_))));
}

#[test]
fn connected_names_the_version_and_what_there_is_to_name() {
    let config = ServerConfig::default().with_server("tramline/1");
    let mut session = Session::fresh(config);
    let connected = session.connect("accept-version:1.2\nhost:h\n");
    assert_eq!(connected.command, Command::Connected);
    for (name, value) in [
        ("version", "1.2"),
        ("session", "s-1"),
        ("server", "tramline/1"),
        ("heart-beat", "10000,10000"),
    ] {
        assert_eq!(connected.headers.get(name), Some(value));
    }
    assert_eq!(connected.body, "");
}

/// 1.1 and 1.2 require `host`, but browsers' clients omit it.
#[test]
fn a_missing_host_is_forgiven() {
    let mut session = Session::fresh(ServerConfig::default());
    let event = session.event("CONNECT\naccept-version:1.2\n\n\0");
    let Some(ServerEvent::Connect(connect)) = event else {
        panic!("{event:?}")
    };
    assert_eq!(connect.host, None);
}

#[test]
fn the_highest_common_version_is_chosen_and_1_0_without_a_list() {
    for (headers, version) in [
        ("", "1.0"),
        ("accept-version:1.0\n", "1.0"),
        ("accept-version:1.0,1.1\n", "1.1"),
        ("accept-version:1.2,1.1,1.0\n", "1.2"),
        ("accept-version:1.1,3.0\n", "1.1"),
    ] {
        let connected = Session::fresh(ServerConfig::default()).connect(headers);
        assert_eq!(connected.headers.get("version"), Some(version));
    }
}

#[test]
fn no_common_version_gets_an_error_with_the_supported_ones() {
    let error =
        Session::fresh(ServerConfig::default()).refusal("CONNECT\naccept-version:0.9,2.0\n\n\0");
    assert_eq!(error.headers.get("version"), Some("1.0,1.1,1.2"));
    assert!(!error.body.is_empty());
}

#[test]
fn a_refused_client_gets_an_error() {
    let mut session = Session::fresh(ServerConfig::default());
    session.event("CONNECT\nlogin:a\npasscode:b\n\n\0");
    session.server.refuse(ErrorReply::new("wrong passcode"));
    let written = session.written();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].command, Command::Error);
    assert_eq!(session.event("SEND\ndestination:/a\n\n\0"), None);
}

#[test]
fn nothing_comes_before_connect_and_connect_comes_once() {
    for wire in ["SEND\ndestination:/a\n\n\0", "DISCONNECT\n\n\0"] {
        Session::fresh(ServerConfig::default()).refusal(wire);
    }
    refusal(Version::V1_2, "CONNECT\naccept-version:1.2\n\n\0");
}
