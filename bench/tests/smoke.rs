//! The tools run: every workload and every attack, tiny, against the server in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tramline_load::connection::Target;
use tramline_load::flood::{self, Flood};
use tramline_load::workload::{self, FanOut, Outcome, Workload};

struct Server {
    child: Child,
    target: Target,
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tramline-bench"))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        let target = format!("ws://{address}/stomp").parse().unwrap();
        Self { child, target }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn tiny_workloads() -> Vec<Workload> {
    let fan_out = FanOut {
        subscribers: 20,
        size: 128,
        burst: 1,
        messages: 20,
        rate: None,
    };
    vec![
        Workload::FanOut(fan_out),
        Workload::FanOut(FanOut {
            burst: 16,
            messages: 40,
            ..fan_out
        }),
        Workload::FanOut(FanOut {
            size: 4096,
            rate: Some(50),
            ..fan_out
        }),
        Workload::Echo {
            sessions: 4,
            rate: 100,
            messages: 50,
        },
        Workload::Idle {
            sessions: 20,
            settle: Duration::from_millis(10),
        },
        Workload::Connect { sessions: 20 },
    ]
}

fn assert_whole(workload: Workload, outcome: &Outcome) {
    assert!(outcome.expected > 0, "{workload:?}: {outcome:?}");
    assert_eq!(
        outcome.delivered, outcome.expected,
        "{workload:?}: {outcome:?}"
    );
    assert_eq!((outcome.lost, outcome.disordered), (0, 0), "{workload:?}");
    assert!(!outcome.figures.is_empty(), "{workload:?}");
}

#[tokio::test]
async fn every_workload_loses_nothing() {
    let server = Server::start();
    for workload in tiny_workloads() {
        let outcome = workload::run(workload, &server.target, server.child.id()).await;
        assert_whole(workload, &outcome.unwrap());
    }
}

#[tokio::test]
async fn the_floor_carries_the_same_workloads() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = format!("ws://{address}/stomp").parse().unwrap();
    tokio::spawn(tramline_floor::serve(listener));
    for workload in tiny_workloads() {
        let outcome = workload::run(workload, &target, std::process::id()).await;
        assert_whole(workload, &outcome.unwrap());
    }
}

#[tokio::test]
async fn every_attack_reaches_the_server_which_still_serves_afterwards() {
    for flood in Flood::ALL {
        let server = Server::start();
        let mut time = Duration::from_millis(200);
        loop {
            let done = flood::run(*flood, server.target.clone(), time, 0.01).await;
            if done.opened() > 0 && done.sent() > 0 {
                break;
            }
            // A busy machine may need longer than that to let anyone in.
            time *= 2;
            assert!(time < Duration::from_secs(60), "{flood:?}: {done}");
        }
        let workload = tiny_workloads()[0];
        let outcome = workload::run(workload, &server.target, server.child.id()).await;
        assert_whole(workload, &outcome.unwrap());
    }
}
