//! A folder with a file, and the program that serves it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder that is removed when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tramline-serve-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The program, without what the environment says.
pub(crate) fn tramline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tramline"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRAMLINE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn texts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The server. It is killed when it is dropped.
pub(crate) struct Served {
    pub(crate) folder: Folder,
    child: Child,
    log: Receiver<String>,
    seen: String,
}

impl Served {
    /// Serves this file.
    pub(crate) fn start(folder: Folder, text: &str) -> Self {
        Self::with(folder, text, &[])
    }

    pub(crate) fn with(folder: Folder, text: &str, arguments: &[&str]) -> Self {
        let file = folder.write("tramline.toml", text);
        let mut child = tramline(&["serve", "--config", file.to_str().unwrap()])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, log) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            folder,
            child,
            log,
            seen: String::new(),
        }
    }

    /// Waits for a line of the log that has this text.
    pub(crate) fn logs(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.log.recv_timeout(DEADLINE) else {
                panic!("{text:?} is not logged:\n{}", self.seen);
            };
            self.seen += &format!("{line}\n");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The URL behind this text in the log.
    pub(crate) fn url(&mut self, text: &str) -> String {
        let line = self.logs(text);
        line[line.find(text).unwrap() + text.len()..]
            .trim()
            .to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end; returns the exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of HTTP: its status and its body as JSON, or as a text.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: serde_json::Value,
}

/// A request of HTTP/1.1 written by hand.
pub(crate) fn http(url: &str, request: &str, key: Option<&str>, body: &str) -> Answer {
    let host = url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let key = key.map_or(String::new(), |key| {
        format!("Authorization: Bearer {key}\r\n")
    });
    let length = body.len();
    write!(
        socket,
        "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{key}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: serde_json::from_str(body).unwrap_or_else(|_| body.into()),
    }
}
