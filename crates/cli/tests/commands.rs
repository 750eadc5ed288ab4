//! The program against a real server: what it prints, and how it ends.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use tramline::policy::{Policy, permit};
use tramline::{EmbeddedBroker, Messaging};

/// Starts a server on a thread of its own, for as long as the test runs.
fn server() -> SocketAddr {
    let (told, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let messaging = Messaging::builder()
                .broker(EmbeddedBroker::new().topics("/topic").queues("/queue"))
                .policy(Policy::builder().otherwise(permit()))
                .build()
                .unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            messaging.serve_tcp(listener).await.unwrap();
        });
    });
    address.recv().unwrap()
}

fn tramline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tramline"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["URL", "LOGIN", "PASSCODE", "TOKEN"] {
        command.env_remove(format!("TRAMLINE_{variable}"));
    }
    command
}

/// Runs it to its end; returns exit code, stdout and stderr.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    result(tramline(arguments).output().unwrap())
}

fn result(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn messages_are_sent_carried_and_printed() {
    let url = format!("stomp://{}", server());
    let (code, out, error) = run(&[
        "send",
        "/queue/in",
        "täglich",
        "--url",
        &url,
        "-H",
        "n:1",
        "--content-type",
        "text/plain",
    ]);
    assert_eq!((code, &*out), (Some(0), ""), "{error}");
    let mut lines = tramline(&["send", "/queue/in", "--lines", "--url", &url])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lines
        .stdin
        .take()
        .unwrap()
        .write_all(b"two\nthree\n")
        .unwrap();
    let (code, _, error) = result(lines.wait_with_output().unwrap());
    assert_eq!((code, error.trim()), (Some(0), "2 messages sent"));

    let (code, _, error) = run(&[
        "bridge",
        "/queue/in",
        "/queue/out",
        "-n",
        "3",
        "--url",
        &url,
    ]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("3 messages carried"), "{error}");

    let (code, out, error) = run(&[
        "sub",
        "/queue/out",
        "--ack",
        "client-individual",
        "-n",
        "3",
        "--url",
        &url,
    ]);
    assert_eq!(code, Some(0), "{error}");
    let lines: Vec<_> = out.lines().map(json).collect();
    assert_eq!(lines[0]["destination"], "/queue/out");
    assert_eq!(lines[0]["headers"]["n"], "1");
    assert_eq!(lines[0]["headers"]["content-type"], "text/plain");
    let bodies: Vec<_> = lines
        .iter()
        .map(|line| line["body"].as_str().unwrap())
        .collect();
    assert_eq!(bodies, ["täglich", "two", "three"]);
}

#[test]
fn a_request_prints_its_reply() {
    let url = format!("stomp://{}", server());
    let client = url.clone();
    let (ready, subscribed) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = tramline_client::Client::connect(client).await.unwrap();
            let mut questions = client.subscribe("/queue/questions").await.unwrap();
            ready.send(()).unwrap();
            let question = questions.next().await.unwrap().unwrap();
            client
                .reply(&question, "because")
                .unwrap()
                .receipt()
                .await
                .unwrap();
        });
    });
    subscribed.recv().unwrap();
    let asked = [
        "request",
        "/queue/questions",
        "why",
        "--reply-to",
        "/queue/answers",
        "--url",
        &url,
    ];
    let (code, out, error) = run(&asked);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(json(out.trim())["body"], "because");
}

#[cfg(unix)]
#[test]
fn tail_prints_bodies_until_it_is_interrupted() {
    let url = format!("stomp://{}", server());
    let mut tail = tramline(&["tail", "/topic/log", "--destinations", "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut progress = BufReader::new(tail.stderr.take().unwrap()).lines();
    assert!(progress.any(|line| line.unwrap() == "subscribed"));
    let (code, _, error) = run(&["send", "/topic/log", "a line", "--url", &url]);
    assert_eq!(code, Some(0), "{error}");
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "/topic/log: a line");
    let pid = tail.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

#[test]
fn load_measures_what_it_sent() {
    let url = format!("stomp://{}", server());
    let (code, out, error) = run(&["load", "/topic/a", "-n", "50", "-c", "3", "--url", &url]);
    assert_eq!(code, Some(0), "{error}");
    let result = json(out.trim());
    assert_eq!(result["messages"], 50);
    assert!(result["receipt_ms"]["p99"].is_number(), "{result}");
}

#[test]
fn exit_codes_say_what_failed() {
    let url = format!("stomp://{}", server());
    let (code, _, error) = run(&["send", "/topic/a", "x"]);
    assert_eq!(code, Some(2), "{error}");
    let (code, _, error) = run(&["send", "/topic/a", "x", "--url", "ftp://127.0.0.1"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("the scheme `ftp` is not supported"),
        "{error}"
    );
    let (code, _, error) = run(&["send", "/topic/a", "x", "--url", "stomp://127.0.0.1:1"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(
        error.contains("cannot connect to stomp://127.0.0.1:1"),
        "{error}"
    );
    let missing = ["send", "/topic/a", "--file", "/nowhere", "--url", &url];
    let (code, _, error) = run(&missing);
    assert_eq!(code, Some(1), "{error}");
    let (code, _, error) = run(&["sub", "/topic/a", "-n", "1", "--for", "0.1", "--url", &url]);
    assert_eq!(code, Some(4), "{error}");
    assert!(
        error.contains("only 0 of 1 messages came in time"),
        "{error}"
    );
    let nobody = [
        "request",
        "/queue/nobody",
        "--reply-to",
        "/queue/r",
        "--timeout",
        "0.1",
        "--url",
        &url,
    ];
    let (code, _, error) = run(&nobody);
    assert_eq!(code, Some(4), "{error}");
}

/// The environment has what `ps` must not show; it does not appear in errors either.
#[test]
fn secrets_come_from_the_environment() {
    let output = tramline(&["send", "/topic/a", "x"])
        .env("TRAMLINE_URL", "stomp://127.0.0.1:1")
        .env("TRAMLINE_LOGIN", "ann")
        .env("TRAMLINE_PASSCODE", "swordfish")
        .output()
        .unwrap();
    let (code, _, error) = result(output);
    assert_eq!(code, Some(3), "{error}");
    let (_, help, _) = result(
        tramline(&["send", "--help"])
            .env("TRAMLINE_PASSCODE", "swordfish")
            .output()
            .unwrap(),
    );
    assert!(!error.contains("swordfish") && !help.contains("swordfish"));
}

#[test]
fn a_store_is_inspected_verified_and_exported() {
    let folder = std::env::temp_dir().join(format!("tramline-cli-store-{}", std::process::id()));
    let directory = folder.to_str().unwrap();
    let (code, _, error) = run(&["store", "inspect", directory]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(directory), "{error}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = tramline::store::Store::open(&folder).unwrap();
        let broker = EmbeddedBroker::new().queues("/queue").store(store);
        let messaging = Messaging::builder()
            .broker(broker.durable("/queue/**", tramline::broker::Durability::Synced))
            .policy(Policy::builder().otherwise(permit()))
            .build()
            .unwrap();
        let publisher = messaging.publisher();
        publisher.send("/queue/orders", "one").await.unwrap();
        messaging.shutdown(std::time::Duration::from_secs(5)).await;
    });

    let (code, out, error) = run(&["store", "inspect", directory]);
    assert_eq!(code, Some(0), "{error}");
    let queue = json(&out);
    assert_eq!(
        (&queue["queue"], &queue["messages"]),
        (&"/queue/orders".into(), &1.into())
    );
    let (code, out, error) = run(&["store", "verify", directory]);
    assert_eq!((code, &*out), (Some(0), ""), "{error}");
    let (code, out, _) = run(&["store", "export", directory]);
    assert_eq!(code, Some(0));
    assert!(
        out.starts_with("SEND\ndestination:/queue/orders\n"),
        "{out}"
    );

    let file = folder.join("0000000001.log");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(3).position(|body| body == b"one").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, _, error) = run(&["store", "verify", directory]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("0000000001.log"), "{error}");
    let (code, _, error) = run(&["store", "repair", directory]);
    assert_eq!(code, Some(1), "{error}");
    let (code, _, error) = run(&["store", "verify", directory]);
    assert_eq!(code, Some(0), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}
