//! What is wrong with a file: all of it, with lines.

use crate::support::{Folder, texts, tramline};

/// Checks a file; returns exit code and errors.
fn check(folder: &Folder, text: &str) -> (Option<i32>, Vec<String>) {
    let file = folder.write("tramline.toml", text);
    let file = file.to_str().unwrap();
    let checked = tramline(&["check", "--config", file])
        .env("HELD_SECRET", "swordfish")
        .output();
    let (code, _, error) = texts(checked.unwrap());
    assert!(!error.contains("swordfish"), "{error}");
    let lines = error.lines().map(|line| line.replace(file, "FILE"));
    (code, lines.collect())
}

/// Fails unless a file has just these errors, each by its beginning and a part of its text.
#[track_caller]
fn wrong(text: &str, expected: &[(&str, &str)]) {
    let (code, lines) = check(&Folder::new(), text);
    assert_eq!(code, Some(2), "{lines:#?}");
    let errors = &lines[1..];
    assert_eq!(errors.len(), expected.len(), "{lines:#?}");
    for (error, (place, part)) in errors.iter().zip(expected) {
        assert!(error.starts_with(place), "{place} in {error}");
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn the_example_is_right_and_so_are_its_comments() {
    let example = include_str!("../../tramline.toml");
    let folder = Folder::new();
    let (code, lines) = check(&folder, example);
    assert_eq!(code, Some(0), "{lines:#?}");

    // Each key that is commented out, with its default or an example: known, and of the right kind.
    let mut all = String::new();
    for line in example.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key = bare.split_once(" = ").is_some_and(|(name, _)| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        if is_key || bare.starts_with('[') {
            all += &format!("{bare}\n");
        }
    }
    // Settings stand first in a file, relay and durable exclude each other, and keys of one kind too.
    let (mut top, mut sections) = (String::new(), String::new());
    for line in all.lines() {
        let name = line.split(' ').next().unwrap();
        let is_top = [
            "name",
            "allowed_origins",
            "allowed_hosts",
            "trusted_proxies",
        ]
        .contains(&name);
        let to = if is_top { &mut top } else { &mut sections };
        *to += &format!("{line}\n");
    }
    let text = top + &sections;
    let (_, lines) = check(&folder, &text);
    let harmless = [
        "No such file",
        "leave out [durable]",
        "RABBIT_PASSCODE is not set",
        "TRAMLINE_KEY is not set",
        "belong together",
    ];
    for line in &lines[1..] {
        assert!(
            harmless.iter().any(|part| line.contains(part)),
            "{line}\n{text}"
        );
    }
}

#[test]
fn all_errors_have_their_lines() {
    wrong(
        r#"[web]
listen = "nowhere"
pth = "/ws"
tls = true

[limits]
body = "64 Kib"

[[rule]]
on = "conect"
allow = "everybody"

[[rule]]
on = "send"

[shutdown]
drain = "2"
"#,
        &[
            ("FILE:2: web.listen: ", "\"nowhere\" is not an address"),
            ("FILE:3: web.pth: ", "there are listen, path, sockjs, tls"),
            ("FILE:4: web.tls: ", "no section [tls]"),
            ("FILE:7: limits.body = \"64 Kib\"", "number of bytes"),
            (
                "FILE:10: rule.on: ",
                "\"conect\" is none of connect, send, subscribe",
            ),
            ("FILE:11: rule.allow: ", "\"everybody\" is not \"all\""),
            ("FILE:13: [rule] needs `pattern`", ""),
            ("FILE:14: rule.on: ", "`allow`, `roles` or `captures`"),
            ("FILE:17: shutdown.drain: ", "\"2\" is not a time"),
        ],
    );
}

const STOMP: &str = "[stomp]\nlisten = \"127.0.0.1:0\"\n";

#[test]
fn each_section_says_what_it_needs() {
    for (text, place, part) in [
        ("", "FILE: ", "nothing to listen on"),
        ("[web]\n", "FILE:1: [web] needs `listen`", ""),
        ("web = 1\n", "FILE:1: web: ", "must be a section"),
        (
            "[stomps]\nlisten = \"127.0.0.1:0\"\n",
            "FILE:2: stomps.listen: ",
            "no section [tls]",
        ),
        (
            "[webb]\nlisten = \"x\"\n[stomp]\nlisten = \"127.0.0.1:0\"\n",
            "FILE:1: webb: ",
            "no such key",
        ),
    ] {
        wrong(text, &[(place, part)]);
    }
    for (text, place, part) in [
        (
            "[tls]\nchain = \"no.pem\"\nkey_file = \"no.pem\"",
            "FILE:4: tls.chain: ",
            "no.pem",
        ),
        (
            "[users]\nfile = \"nobody\"",
            "FILE:4: users.file: ",
            "nobody",
        ),
        (
            "[tokens]\nissuer = \"x\"",
            "FILE:3: tokens.public_key: ",
            "one key is needed",
        ),
        (
            "[tokens]\nsecret = \"short\"",
            "FILE:4: tokens.secret: ",
            "can be guessed",
        ),
        (
            "[tokens]\nsecret = \"${NO_SUCH}\"",
            "FILE:4: tokens.secret: ",
            "NO_SUCH is not set",
        ),
        (
            "[tokens]\nsecret = \"${HELD_SECRET}\"",
            "FILE:4: tokens.secret: ",
            "9 bytes",
        ),
        (
            "[tokens]\npublic_key = \"tramline.toml\"\nalgorithms = [\"none\"]",
            "FILE:5: tokens.algorithms: ",
            "\"none\" is not an algorithm",
        ),
        (
            "[back_end]\nlisten = \"127.0.0.1:0\"",
            "FILE:3: [back_end] needs `key`",
            "",
        ),
        (
            "[back_end]\nlisten = \"127.0.0.1:0\"\nkey = \"${HELD_SECRET}\"",
            "FILE:5: back_end.key: ",
            "9 characters can be guessed",
        ),
        ("[relay]\n", "FILE:3: [relay] needs `addresses`", ""),
        (
            "[relay]\naddresses = [\"x:1\"]\npasscode = \"swordfish\"",
            "FILE:3: relay.login: ",
            "belong together",
        ),
        ("[durable]\n", "FILE:3: [durable] needs `data`", ""),
        (
            "[destinations]\ntopics = [\"topic\"]",
            "FILE:4: destinations.topics: ",
            "must begin with `/`",
        ),
        (
            "[destinations]\ntopics = \"/topic\"",
            "FILE:4: destinations.topics: ",
            "a list of texts",
        ),
        ("rule = 1", "FILE:3: stomp.rule: ", "no such key"),
        (
            "[[rule]]\non = \"send\"\npattern = \"/topic/{room}\"\ncaptures = { rom = \"name\" }",
            "FILE:6: rule.captures: ",
            "no {rom}",
        ),
        (
            "[[rule]]\non = \"send\"\npattern = \"topic\"\nallow = \"all\"",
            "FILE:5: rule.pattern: ",
            "must begin with `/`",
        ),
        (
            "[[rule]]\non = \"send\"\npattern = \"/topic/**\"\nallow = \"all\"\n[[rule]]\non = \"send\"\npattern = \"/topic/a\"\nallow = \"nobody\"",
            "FILE:7: policy: on_message(\"/topic/a\")",
            "is never asked",
        ),
        (
            "[[rule]]\non = \"connect\"\nroles = []",
            "FILE:5: rule.roles: ",
            "one role at least",
        ),
        (
            "[limits]\nbdy = 1",
            "FILE:4: limits.bdy: ",
            "did you mean limits.body",
        ),
    ] {
        let (code, lines) = check(&Folder::new(), &format!("{STOMP}{text}\n"));
        assert_eq!(code, Some(2), "{text}");
        let found = lines
            .iter()
            .any(|line| line.starts_with(place) && line.contains(part));
        assert!(found, "{place}{part}\n{lines:#?}");
    }
}

#[test]
fn broken_toml_and_a_missing_file_are_errors() {
    wrong("[stomp\nlisten = 1\n", &[("FILE:1: ", "")]);
    let missing = tramline(&["check", "--config", "/nowhere/tramline.toml"]).output();
    let (code, _, error) = texts(missing.unwrap());
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("/nowhere/tramline.toml: No such file"),
        "{error}"
    );
}
