//! The script of docs/server.md, as it stands there.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Folder, texts};

/// A port that was free a moment ago.
fn port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[test]
fn the_script_of_the_page_runs() {
    let page = include_str!("../../../../docs/server.md");
    let (_, script) = page.split_once("```sh\n").expect("a script");
    let (script, _) = script.split_once("```\n").expect("its end");
    let folder = Folder::new();
    let program = Path::new(env!("CARGO_BIN_EXE_tramline"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let run = Command::new("timeout")
        .args(["60", "sh", "-c", script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("WEB_PORT", port())
        .env("BACK_END_PORT", port())
        .stdin(Stdio::null())
        .output();
    let (code, out, error) = texts(run.unwrap());
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert_eq!(code, Some(0), "{out}\n{error}\n{log}");
    assert!(out.contains(r#""body":"hello""#), "{out}\n{error}\n{log}");
}
