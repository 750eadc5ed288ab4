//! What the compiler says to those who hold it wrong.

/// What each message has to tell, so that accepting a new golden does not lose it.
const FIXES: &[(&str, &[&str])] = &[
    (
        "bare_reply",
        &["message(handler).send_to(\"/topic/...\")", "To::topic("],
    ),
    (
        "bare_string",
        &["message(handler).send_to(\"/topic/...\")", "To::topic("],
    ),
    (
        "body_first",
        &["the argument `Json<String>`", "must be the last argument"],
    ),
    (
        "axum_json",
        &["the argument `axum::Json<Hello>`", "`use tramline::Json`"],
    ),
    (
        "axum_path",
        &[
            "the argument `axum::extract::Path<u32>`",
            "of axum are not those of `tramline`",
        ],
    ),
    (
        "sync_fn",
        &["must be an `async fn`, and this one returns `String`"],
    ),
    (
        "missing_deserialize",
        &[
            "the argument `Json<Hello>`",
            "`#[derive(serde::Deserialize)]` on `T`",
        ],
    ),
    (
        "missing_state",
        &[
            "the handlers of `MessageRouter<Greeting>` have no state yet",
            "`.with_state(state)`",
        ],
    ),
    ("not_an_extractor", &["is not an extractor"]),
    (
        "reply_not_sendable",
        &["cannot be sent as a message", "return `Json(value)`"],
    ),
    (
        "error_not_sendable",
        &[
            "return a `Rejection`, `Result<_, Rejection>`",
            "`.map_err(Rejection::application)`",
        ],
    ),
    ("answer_not_sendable", &["return `Json(value)`"]),
    (
        "connect_nonsense",
        &["a connect handler returns `()`, `User`, `Option<User>`"],
    ),
    ("connect_error", &["Err(ConnectRefused::new("]),
    (
        "error_says_nothing",
        &[
            "`impl From<MyError> for Rejection`",
            "`impl IntoEffects for MyError`",
        ],
    ),
    ("never_absent", &["only what can be absent"]),
    (
        "no_part_of_the_state",
        &["expected `Accounts`, found `App`"],
    ),
    (
        "session_without_default",
        &["`Sent: Default` is not satisfied"],
    ),
    (
        "too_many_arguments",
        &["eight arguments at most: more are joined in a tuple"],
    ),
    (
        "not_send",
        &["future is not `Send`", "`count` maybe used later"],
    ),
];

#[test]
fn expected_messages_name_the_fix() {
    for (name, fixes) in FIXES {
        let path = format!("{}/tests/ui/{name}.stderr", env!("CARGO_MANIFEST_DIR"));
        let message = std::fs::read_to_string(&path).unwrap();
        let errors = message.lines().filter(|line| line.starts_with("error"));
        assert_eq!(errors.count(), 1, "{path} says it twice");
        for fix in *fixes {
            assert!(
                message.contains(fix),
                "{path} does not say {fix:?}:\n{message}"
            );
        }
    }
}

/// Compares the compiler's words, which belong to one compiler: elsewhere they may differ without anything being wrong.
#[test]
fn the_compiler_says_what_is_expected() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = String::from_utf8(version.unwrap().stdout).unwrap();
    if !version.starts_with("rustc 1.95.") {
        eprintln!("skipped: the expected messages are those of Rust 1.95, and this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
