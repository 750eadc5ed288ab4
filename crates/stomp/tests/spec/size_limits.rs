use super::*;

#[test]
fn each_limit_gets_an_error_that_names_it() {
    let limits = Limits::default()
        .with_body(8)
        .with_header_line(40)
        .with_header_count(3);
    for (wire, named) in [
        (
            "SEND\ndestination:/a\n\n123456789\0".to_owned(),
            "Limits::body",
        ),
        (
            "SEND\ndestination:/a\ncontent-length:9\n\n123456789\0".to_owned(),
            "Limits::body",
        ),
        (
            format!("SEND\ndestination:/{}\n\n\0", "a".repeat(40)),
            "Limits::header_line",
        ),
        (
            "SEND\ndestination:/a\na:1\nb:2\nc:3\n\n\0".to_owned(),
            "Limits::header_count",
        ),
    ] {
        let mut session = Session::fresh(ServerConfig::default().with_limits(limits));
        session.connect("accept-version:1.2\n");
        let error = session.refusal(&wire);
        let text = error.headers.get("message").unwrap();
        assert!(text.contains(named), "{text}");
    }
}
