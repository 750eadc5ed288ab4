//! The whole cluster, as its one command starts it: a line said at one node is seen at all, and one node less ends nothing.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;
use tramline_client::{Client, Subscription};

struct Cluster(Child);

impl Drop for Cluster {
    fn drop(&mut self) {
        // It stops its programs, which a kill would leave to end by themselves.
        let _ = Command::new("kill")
            .arg("-INT")
            .arg(self.0.id().to_string())
            .status();
        let _ = self.0.wait();
    }
}

/// A client, the node it is at, and what is said.
async fn come(address: &str, name: &str) -> (Client, String, Subscription) {
    loop {
        let connected = Client::connect(format!("ws://{address}/ws"))
            .login(name, "")
            .await;
        let Ok(client) = connected else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let said = client.subscribe("/topic/chat").await.unwrap();
        let mut welcome = client.subscribe("/app/welcome").await.unwrap();
        let welcome = welcome.next().await.unwrap().unwrap();
        let text = welcome.text().unwrap();
        let node = text
            .split(r#""node":""#)
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        return (client, node, said);
    }
}

#[tokio::test]
async fn a_line_is_seen_at_every_node_and_a_killed_node_ends_nothing() {
    let programs = ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/sbin/nginx"];
    if let Some(missing) = programs.iter().find(|program| !Path::new(program).exists()) {
        let told = format!("{missing} is not there; `cargo xtask test` installs it");
        assert!(!env::var("CI").is_ok_and(|value| value == "true"), "{told}");
        eprintln!("left out: {told}");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut child = Command::new(env!("CARGO_BIN_EXE_cluster"))
        .args(["--listen", &address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let _cluster = Cluster(child);
    let mut processes = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.unwrap();
        if let Some((node, process)) = line
            .strip_prefix("node ")
            .and_then(|rest| rest.split_once(", process "))
        {
            processes.push((node[..1].to_owned(), process.to_owned()));
        }
        if line.starts_with("the chat: ") {
            break;
        }
    }
    assert_eq!(processes.len(), 3);

    // nginx gives each newcomer to the next node.
    let mut people = Vec::new();
    for name in ["ann", "bob", "eve"] {
        people.push(come(&address, name).await);
    }
    let mut nodes: Vec<&str> = people.iter().map(|(_, node, _)| node.as_str()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["a", "b", "c"]);
    people[0]
        .0
        .send("/app/say", r#"{"text":"hello"}"#)
        .receipt()
        .await
        .unwrap();
    for (_, node, said) in &mut people {
        let line = said.next().await.unwrap().unwrap();
        assert!(
            line.text().unwrap().contains(r#""text":"hello""#),
            "at node {node}"
        );
    }

    let (_ann, at, mut said) = people.remove(0);
    let (_, process) = processes.iter().find(|(node, _)| *node == at).unwrap();
    Command::new("kill")
        .args(["-KILL", process])
        .status()
        .unwrap();
    while let Some(Ok(_)) = said.next().await {}
    let (ann, elsewhere, _said) = come(&address, "ann").await;
    assert_ne!(elsewhere, at);
    ann.send("/app/say", r#"{"text":"again"}"#)
        .receipt()
        .await
        .unwrap();
    for (_, node, said) in &mut people {
        let line = said.next().await.unwrap().unwrap();
        assert!(
            line.text().unwrap().contains(r#""text":"again""#),
            "at node {node}"
        );
    }
}
