use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::connection::{Connection, header};
use crate::failure::Failure;
use crate::output::line;

/// Send many messages and measure the time until each is confirmed.
///
/// Prints one JSON object: messages, seconds, messages a second, and the 50th, 99th and 100th percentile of the
/// milliseconds until a receipt. A connection waits for a receipt before it sends its next message; --connections sends
/// more at a time.
#[derive(Args)]
pub(crate) struct Load {
    /// Where to send.
    destination: String,
    #[command(flatten)]
    connection: Connection,
    /// How many messages, over all connections.
    #[arg(short = 'n', long, default_value = "1000")]
    messages: u64,
    /// Bytes of each body.
    #[arg(long, default_value = "100")]
    size: usize,
    /// How many connections.
    #[arg(short, long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Messages a second, over all connections. Default as fast as receipts come.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// A header of SEND, as NAME:VALUE.
    #[arg(short = 'H', long, value_parser = header)]
    header: Vec<(String, String)>,
}

impl Load {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(self.connection.connect(false).await?);
        }
        eprintln!("{} connected", clients.len());
        let (load, next) = (Arc::new(self), Arc::new(AtomicU64::new(0)));
        let began = Instant::now();
        let workers: Vec<_> = clients
            .iter()
            .map(|client| tokio::spawn(load.clone().work(client.clone(), next.clone())))
            .collect();
        let mut times = Vec::new();
        for worker in workers {
            let done = worker.await.map_err(|error| {
                Failure::Io("a worker failed".into(), std::io::Error::other(error))
            })?;
            times.extend(done?);
        }
        let seconds = began.elapsed().as_secs_f64();
        for client in clients {
            client.disconnect().await?;
        }
        times.sort_unstable();
        let millis = |percent: usize| {
            let at = (times.len().saturating_sub(1)) * percent / 100;
            times.get(at).map(|time| time.as_secs_f64() * 1000.0)
        };
        line(
            &json!({
                "messages": times.len(),
                "seconds": seconds,
                "per_second": times.len() as f64 / seconds,
                "receipt_ms": { "p50": millis(50), "p99": millis(99), "max": millis(100) },
            })
            .to_string(),
        )
    }

    async fn work(
        self: Arc<Self>,
        client: tramline_client::Client,
        next: Arc<AtomicU64>,
    ) -> Result<Vec<Duration>, Failure> {
        let body = vec![b'x'; self.size];
        let mut pace = self.rate.map(|rate| pace(rate, self.connections));
        let mut times = Vec::new();
        while next.fetch_add(1, Ordering::Relaxed) < self.messages {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            let mut message = client.send(self.destination.as_str(), body.clone());
            for (name, value) in &self.header {
                message = message.header(name.as_str(), value.as_str());
            }
            let sent = Instant::now();
            message.receipt().await?;
            times.push(sent.elapsed());
        }
        Ok(times)
    }
}

/// The ticks of one connection. After a pause it does not hurry.
fn pace(rate: u32, connections: u32) -> Interval {
    let each = Duration::from_secs(1).mul_f64(f64::from(connections) / f64::from(rate));
    let mut pace = interval(each);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
