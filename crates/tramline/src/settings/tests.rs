//! Values that operators write, and the errors they read when a value is wrong.

use std::fs;

use super::keys::KEYS;
use super::*;
use crate::guide::tests::{fields, table};
use tramline_broker::Overflow;
use tramline_sockjs::OnAbort;
use tramline_sockjs::Transport as SockJsTransport;
use tramline_stomp::HeartBeat;

const PAGE: &str = include_str!("../guide/settings.md");

fn toml(text: &str) -> Result<Settings, Vec<String>> {
    let loaded = Settings::loader().toml("my.toml", text).load();
    loaded.map_err(|error| error.errors().map(str::to_owned).collect())
}

fn variables<const N: usize>(of: [(&str, &str); N]) -> Result<Settings, Vec<String>> {
    let loaded = Settings::loader().variables("TRAMLINE", of).load();
    loaded.map_err(|error| error.errors().map(str::to_owned).collect())
}

fn cells(column: &str) -> Vec<(&'static str, &'static str)> {
    table(PAGE, "# All keys", column)
}

/// The last text between backticks.
fn last_code(cell: &str) -> &str {
    cell.rsplit('`').nth(1).expect("a value")
}

#[test]
fn the_guide_has_every_key_with_its_variable() {
    let rows = cells("Variable");
    assert_eq!(
        rows.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        KEYS.iter().map(|key| key.name).collect::<Vec<_>>()
    );
    for (key, (_, variable)) in KEYS.iter().zip(rows) {
        assert_eq!(format!("`{}`", key.variable("TRAMLINE")), variable);
    }
}

#[test]
fn the_guide_s_defaults_change_nothing_and_its_values_do() {
    let untouched = format!("{:?}", Settings::default());
    for (key, default) in cells("Default") {
        let settings = toml(&format!("{key} = {}", last_code(default))).expect(key);
        assert_eq!(format!("{settings:?}"), untouched, "the default of {key}");
    }
    for (key, value) in cells("Takes, as") {
        let settings = toml(&format!("{key} = {}", last_code(value))).expect(key);
        assert_ne!(format!("{settings:?}"), untouched, "{key} has no effect");
        // A variable has the same without quotes and brackets.
        let bare = last_code(value).replace(['"', '[', ']'], "");
        let variable = KEYS.iter().find(|one| one.name == key).expect(key);
        let same = variables([(&*variable.variable("TRAMLINE"), &*bare)]).expect(key);
        assert_eq!(format!("{same:?}"), format!("{settings:?}"), "{key}");
    }
}

#[test]
fn every_field_has_a_key() {
    let last = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
    let keys: Vec<_> = KEYS.iter().map(|key| last(key.name)).collect();
    let structs = [
        "limits",
        "heart_beat",
        "sockjs",
        "config",
        "broker",
        "max_bytes_each",
        "max_destinations_each",
        "max_patterns",
        "max_scanned_patterns",
        "serve",
    ];
    for (field, _) in fields(&Settings::default()) {
        assert!(
            keys.contains(&&*field) || structs.contains(&&*field),
            "{field} has no key"
        );
    }
}

#[test]
fn a_builder_and_a_broker_have_the_same_defaults() {
    // `build`'s result for nothing but defaults is the same with and without the settings.
    let described = |builder: MessagingBuilder| {
        let broker = EmbeddedBroker::new().topics("/topic");
        let policy =
            crate::stack::policy::Policy::builder().otherwise(crate::stack::policy::permit());
        let messaging = builder.broker(broker).policy(policy).build().unwrap();
        let stack = &messaging.handle.stack;
        format!(
            "{} {:?} {} {:?} {:?} {:?}",
            stack.name,
            stack.app_prefixes,
            stack.user_prefix,
            stack.limits,
            stack.front,
            stack.sockjs
        )
    };
    let settings = Settings::default();
    assert_eq!(
        described(MessagingBuilder::default()),
        described(MessagingBuilder::default().settings(&settings))
    );

    assert_eq!(
        format!("{:?}", settings.broker.embedded()),
        format!("{:?}", EmbeddedBroker::new())
    );
}

#[test]
fn a_file_sets_what_it_names() {
    let settings = toml(
        r#"
        name = "chat"
        allowed_origins = ["https://a.example:[80,443]", "null"]
        allowed_hosts = ["intranet"]
        keep_headers = ["User-Agent"]
        compression = "4 KiB"
        [limits]
        body = 1_024
        overflow = "latest:symbol"
        heart_beat = { send = "off", receive = "3 s" }
        keep_alive = "off"
        [sockjs]
        transports = ["xhr", "websocket"]
        on_abort = "keep"
        [broker]
        max_bytes = "1 MiB"
        max_bytes_each = { account = "64 KiB" }
        max_patterns = { session = 7, all = 9 }
        "#,
    )
    .unwrap();
    assert_eq!(settings.name, "chat");
    assert_eq!(
        settings.allowed_origins,
        ["https://a.example:[80,443]", "null"]
    );
    assert_eq!(settings.allowed_hosts, ["intranet"]);
    assert_eq!(settings.keep_headers, ["user-agent"]);
    assert_eq!(settings.compression, Compression::AboveSize(4096));
    assert_eq!(settings.limits.body, 1024);
    assert_eq!(settings.limits.overflow, Overflow::latest("symbol"));
    let (send, receive) = (0, 3000);
    assert_eq!(settings.limits.heart_beat, HeartBeat { send, receive });
    assert_eq!(settings.limits.keep_alive, None);
    assert_eq!(settings.limits.outbox, Limits::default().outbox);
    let expected = SockJs::default()
        .transports([SockJsTransport::Xhr, SockJsTransport::WebSocket])
        .on_abort(OnAbort::Keep);
    assert_eq!(format!("{:?}", settings.sockjs), format!("{expected:?}"));
    let shares = Shares::new(7, 100_000, 9);
    let expected = EmbeddedBroker::new()
        .max_bytes(1024 * 1024)
        .max_bytes_each(None, 65_536)
        .max_patterns(shares);
    let embedded = settings.broker.embedded();
    assert_eq!(format!("{embedded:?}"), format!("{expected:?}"));
}

#[test]
fn every_error_in_a_file_is_reported_with_its_line() {
    let text = r#"name = ""
user_prefix = "me/"
application_prefixes = []
alowed_origins = []
allowed_origins = ["www.example.com"]
limits.body = "64 Kib"
limits.send_time = 10
limits.subscriptions = 0
limits.heart_beat = "5 s"
limits.bdy = 7
body = 7
when = 2026-08-31
limits.overflow = 2026-08-31
trusted_proxies = ["10.0.0.0/40"]
keep_headers = ["not a header"]
sockjs.transports = ["xhr", "carrier-pigeon"]
sockjs.cors = "no"
[lmits]
body = 3
[broker]
default_prefetch = 2.5
max_bytes = 99999999999999999999
quota = true
"#;
    let wrong = [
        "my.toml:1: name = \"\": must be a text that is not empty",
        "my.toml:2: user_prefix = \"me/\": must begin with `/`",
        "my.toml:3: application_prefixes = []: must be one prefix at least",
        "my.toml:4: alowed_origins: there is no such key; did you mean allowed_origins?",
        "my.toml:5: allowed_origins = [\"www.example.com\"]: allowed origin \"www.example.com\": must look like",
        "my.toml:6: limits.body = \"64 Kib\": must be a number of bytes from 1 on, such as 65536, \"64 KiB\"",
        "my.toml:7: limits.send_time = 10: must be a time, a whole number with its unit, such as \"500 ms\"",
        "my.toml:8: limits.subscriptions = 0: must be a whole number from 1",
        "my.toml:9: limits.heart_beat = \"5 s\": is a section, of which there are limits.heart_beat.send, limits.heart",
        "my.toml:10: limits.bdy: there is no such key; did you mean limits.body?",
        "my.toml:11: body: there is no such key; did you mean limits.body?",
        "my.toml:12: when: there is no such key; the guide's page on settings lists them all",
        "my.toml:13: limits.overflow = 2026-08-31: must be \"close\", \"drop-oldest\"",
        "my.toml:14: trusted_proxies = [\"10.0.0.0/40\"]: trusted proxy \"10.0.0.0/40\": must be an address",
        "my.toml:15: keep_headers = [\"not a header\"]: \"not a header\" is no name of an HTTP header",
        "my.toml:16: sockjs.transports = [\"xhr\", \"carrier-pigeon\"]: \"carrier-pigeon\" is no transport: must be some of web",
        "my.toml:17: sockjs.cors = \"no\": must be true or false",
        "my.toml:18: lmits: there is no such key; did you mean limits?",
        "my.toml:21: broker.default_prefetch = 2.5: must be a whole number from 1",
        "my.toml:22: broker.max_bytes = \"99999999999999999999\": must be a number of bytes",
        "my.toml:23: broker.quota: there is no such key; the guide",
    ];
    let errors = toml(text).unwrap_err();
    for line in wrong {
        let matching = errors.iter().filter(|text| text.starts_with(line));
        assert_eq!(matching.count(), 1, "{line}\nin {errors:#?}");
    }
    assert_eq!(errors.len(), wrong.len(), "{errors:#?}");

    // A TOML syntax error is reported together with the errors in the rest.
    let errors = toml("limits.body = \nname = 7\nname = \"twice\"\n").unwrap_err();
    assert!(
        errors.iter().any(|text| text.starts_with("my.toml:1: ")),
        "{errors:#?}"
    );
    assert!(
        errors
            .iter()
            .any(|text| text.starts_with("my.toml:3: ") && text.contains("duplicate")),
        "{errors:#?}"
    );
}

#[test]
fn variables_are_told_from_those_of_others() {
    let settings = variables([
        ("TRAMLINE_LIMITS_BODY", "1 KiB"),
        ("TRAMLINE_TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.7"),
        ("TRAMLINE_LISTEN", "127.0.0.1:0"),
        ("TRAMLINE_HOME", "/srv"),
        ("TRAMLINE_CONFIG", "none.toml"),
        ("TRAMLINES", "many"),
        ("LIMITS_BODY", "7"),
    ])
    .unwrap();
    assert_eq!(settings.limits.body, 1024);
    assert_eq!(settings.trusted_proxies, ["10.0.0.0/8", "192.168.1.7"]);

    let errors = variables([
        ("TRAMLINE_LIMITS_BODDY", "7"),
        ("TRAMLINE_ALOWED_ORIGINS", "*"),
        ("TRAMLINE_SOCKJS_PIGEONS", "7"),
        ("TRAMLINE_LIMITS_OUTBOX", ""),
    ])
    .unwrap_err();
    let wrong = [
        "TRAMLINE_LIMITS_BODDY: there is no such setting; did you mean TRAMLINE_LIMITS_BODY?",
        "TRAMLINE_ALOWED_ORIGINS: there is no such setting; did you mean TRAMLINE_ALLOWED_ORIGINS?",
        "TRAMLINE_SOCKJS_PIGEONS: there is no such setting; the guide's page on settings lists them all",
        "TRAMLINE_LIMITS_OUTBOX = \"\": must be a number of bytes",
    ];
    assert_eq!(errors.len(), wrong.len(), "{errors:#?}");
    for line in wrong {
        assert!(
            errors.iter().any(|text| text.starts_with(line)),
            "{line}\nin {errors:#?}"
        );
    }
}

#[test]
#[cfg(unix)]
fn a_variable_that_is_no_utf_8_is_an_error() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;

    let value = OsStr::from_bytes(b"\xff").to_owned();
    let one = [(OsString::from("TRAMLINE_NAME"), value)];
    let error = Settings::loader().variables("TRAMLINE", one).load();
    assert_eq!(
        error.unwrap_err().to_string(),
        "the settings cannot be used:\n  - TRAMLINE_NAME = \"\\xFF\": must be UTF-8"
    );
}

#[test]
fn variables_lie_over_files_and_files_over_defaults() {
    let folder = folder();
    let path = folder.join("settings.toml");
    fs::write(
        &path,
        "limits.body = 2\nlimits.outbox = 2\nlimits.header_line = 2",
    )
    .unwrap();
    let mut defaults = Settings::default();
    for limit in [
        &mut defaults.limits.body,
        &mut defaults.limits.outbox,
        &mut defaults.limits.transaction_bytes,
    ] {
        *limit = 1;
    }
    let settings = Settings::loader()
        .defaults(defaults)
        .file(&path)
        .file_if_there(folder.join("none.toml"))
        .variables("CHAT", [("CHAT_LIMITS_BODY", "3")])
        .load()
        .unwrap();
    let limits = &settings.limits;
    assert_eq!(
        (
            limits.transaction_bytes,
            limits.outbox,
            limits.header_line,
            limits.body
        ),
        (1, 2, 2, 3)
    );
    assert_eq!(
        Settings::from_file(&path).unwrap().limits.header_line,
        2,
        "one file alone"
    );
    fs::remove_dir_all(&folder).unwrap();

    let error = Settings::from_file(&path).unwrap_err().to_string();
    let expected = format!("{}: cannot be read as a file of settings: ", path.display());
    assert!(error.contains(&expected), "{error}");
}

/// A folder of this process alone.
fn folder() -> std::path::PathBuf {
    let folder = env::temp_dir().join(format!("tramline-settings-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn an_endpoint_with_sockjs_has_the_options_of_the_settings() {
    use http_body_util::BodyExt;
    use tower_service::Service;

    let settings = toml("name = 'shop'\nlimits.body = 7\nsockjs.cookie_needed = false").unwrap();
    let messaging = MessagingBuilder::default()
        .settings(&settings)
        .broker(settings.broker.embedded().topics("/topic"))
        .policy(crate::stack::policy::Policy::builder().otherwise(crate::stack::policy::permit()))
        .build()
        .unwrap();
    let stack = &messaging.handle.stack;
    assert_eq!((&*stack.name, stack.limits.body), ("shop", 7));
    let info = async |mut endpoint: crate::session::endpoint::Endpoint| {
        let request = http::Request::get("/info").body(String::new()).unwrap();
        let answer = endpoint.call(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    };
    let asks = info(messaging.endpoint().with_sockjs()).await;
    assert!(asks.contains("\"cookie_needed\":false"), "{asks}");
    let told = info(messaging.endpoint().sockjs(SockJs::default())).await;
    assert!(told.contains("\"cookie_needed\":true"), "{told}");
}
