//! Memory under rounds of connects, subscriptions, bursts and drops, counted in bytes that are allocated and not freed: a
//! round's memory is free again once it is over, and no round leaves anything behind.

use std::time::Duration;

use allocation_counter::measure;
use tokio::runtime::{Builder, Runtime};
use tramline::policy::{Policy, permit};
use tramline::reply::IntoReply;
use tramline::test::{AckMode, TestClient, TestMessaging};
use tramline::{EmbeddedBroker, Limits, MessageRouter, Messaging, Path, message};

/// Long enough for the broker to drop names that nobody uses, and for everything that has a deadline.
const IDLE: Duration = Duration::from_secs(180);

/// A stack on a runtime of one thread, so that all its allocations are counted.
struct Soak {
    runtime: Runtime,
    app: TestMessaging,
}

/// The size of a round.
#[derive(Clone, Copy)]
struct Size {
    clients: usize,
    /// Topics of each client.
    topics: usize,
    /// Messages to each topic, and to a queue.
    messages: usize,
    bytes: usize,
}

const SMALL: Size = Size {
    clients: 8,
    topics: 4,
    messages: 10,
    bytes: 1_000,
};

const LARGE: Size = Size {
    clients: 60,
    topics: 40,
    messages: 4,
    bytes: 4_000,
};

async fn say(Path(room): Path<String>, body: String) -> String {
    format!("{room}: {body}")
}

impl Soak {
    fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let app = runtime.block_on(async {
            let routes =
                MessageRouter::new().route("/say/{room}", message(say).send_to("/topic/{room}"));
            let mut limits = Limits::default();
            limits.send_time = Duration::from_secs(5);
            let messaging = Messaging::builder()
                .routes(routes)
                .broker(EmbeddedBroker::new().topics("/topic").queues("/queue"))
                .policy(Policy::builder().otherwise(permit()))
                .limits(limits)
                .build()
                .unwrap();
            TestMessaging::new(messaging)
        });
        Self { runtime, app }
    }

    /// Plays a round, and returns the bytes by which the memory in use has grown.
    fn round(&self, number: usize, size: Size) -> i64 {
        let info = measure(|| {
            self.runtime.block_on(async {
                play(&self.app, number, size).await;
                tokio::time::sleep(IDLE).await;
            });
        });
        info.bytes_current
    }

    /// Plays rounds, and returns the growth over all of them.
    fn rounds(&self, numbers: std::ops::Range<usize>) -> i64 {
        numbers.map(|number| self.round(number, SMALL)).sum()
    }
}

/// Clients come, subscribe to names that nobody used before, and send and receive bursts. Then a third of them says
/// goodbye, a third is cut off, and a third stops reading and is cut off with its backlog.
async fn play(app: &TestMessaging, number: usize, size: Size) {
    let body = "x".repeat(size.bytes);
    let mut clients = Vec::new();
    for at in 0..size.clients {
        let client = match at % 2 {
            0 => app.connect_as(format!("user-{number}-{at}")).await,
            _ => app.connect().await,
        };
        clients.push(client);
    }
    let mut subscriptions = Vec::new();
    for (at, client) in clients.iter().enumerate() {
        for topic in 0..size.topics {
            let name = format!("/topic/{number}/{at}/{topic}");
            subscriptions.push(client.subscribe(name).await);
        }
        subscriptions.push(client.subscribe(format!("/topic/{number}/*/{at}")).await);
        let window = format!("/topic/{number}/{at}/0");
        let window = client.subscribe_with(window, |how| how.ack(AckMode::Client));
        subscriptions.push(window.await);
    }
    let queue = format!("/queue/{number}");
    let mut jobs = clients[0].subscribe(&*queue).await;
    for (at, client) in clients.iter().enumerate() {
        if at % 3 == 2 {
            client.freeze();
        }
    }
    let publisher = app.messaging().publisher();
    for at in 0..size.clients {
        for topic in 0..size.topics {
            for _ in 0..size.messages {
                let name = format!("/topic/{number}/{at}/{topic}");
                let kept = body.clone().with_header("expires", "99999999999999");
                publisher.send(name, kept).await.unwrap();
            }
        }
    }
    for _ in 0..size.messages {
        clients[0].send(&*queue, body.clone()).await;
        jobs.next().await;
        clients[0]
            .send(format!("/app/say/{number}"), body.clone())
            .await;
    }
    drop((jobs, subscriptions));
    for (at, client) in clients.into_iter().enumerate() {
        leave(client, at % 3).await;
    }
}

async fn leave(client: TestClient, how: usize) {
    match how {
        0 => client.disconnect().await,
        _ => drop(client.cut().await),
    }
}

/// The bytes that maps may keep of what they held, and that differ from round to round.
const SLACK: i64 = 32 * 1024;

#[test]
fn the_memory_of_a_burst_is_free_again() {
    let soak = Soak::new();
    soak.rounds(0..3);
    let left = soak.round(3, LARGE);
    assert!(left < SLACK, "{left} bytes are left of a burst");
}

#[test]
fn rounds_leave_nothing_behind() {
    let soak = Soak::new();
    soak.rounds(0..5);
    let grown = soak.rounds(5..17);
    assert!(grown < SLACK, "12 rounds leave {grown} bytes");
}

/// The same, for longer: `cargo xtask soak`.
#[test]
#[ignore = "takes minutes"]
fn memory_is_a_flat_line() {
    let soak = Soak::new();
    soak.rounds(0..5);
    for hundred in 0..20 {
        let first = 5 + hundred * 100;
        let grown = soak.rounds(first..first + 100);
        assert!(grown < SLACK, "100 rounds leave {grown} bytes");
    }
}
