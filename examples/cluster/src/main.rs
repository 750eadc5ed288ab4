//! Three nodes of a chat behind nginx, with RabbitMQ between them: `cargo run -p tramline-example-cluster`.

mod chat;
mod programs;

use std::io;
use std::net::TcpListener;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Three nodes of a chat behind nginx, with RabbitMQ between them.
#[derive(Debug, Parser)]
#[command(name = "cluster", version)]
struct Options {
    /// Address that nginx listens on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// STOMP address of a broker that runs already, with the login guest; otherwise RabbitMQ is started.
    #[arg(long, value_name = "ADDR")]
    broker: Option<String>,
    #[command(subcommand)]
    node: Option<Node>,
}

#[derive(Debug, Subcommand)]
enum Node {
    /// Runs one node, as the cluster does.
    Node {
        /// Its name on the page.
        #[arg(long)]
        name: String,
        /// Address to listen on.
        #[arg(long)]
        listen: String,
        /// STOMP address of the broker.
        #[arg(long)]
        broker: String,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    let options = Options::parse();
    if let Some(Node::Node {
        name,
        listen,
        broker,
    }) = options.node
    {
        return chat::serve(name, &listen, broker).await;
    }

    let (rabbit, broker) = match options.broker {
        Some(broker) => (None, broker),
        None => {
            let rabbit = programs::rabbitmq(free_port()?, [free_port()?, free_port()?]).await?;
            let broker = rabbit.address.clone();
            (Some(rabbit), broker)
        }
    };
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let listen = format!("127.0.0.1:{}", free_port()?);
        let node = programs::node(name, &listen, &broker)?;
        println!(
            "node {name}: http://{listen}, process {}",
            node.id().unwrap_or_default()
        );
        nodes.push((listen, node));
    }
    let addresses: Vec<&str> = nodes.iter().map(|(address, _)| address.as_str()).collect();
    for address in &addresses {
        programs::answers(address).await?;
    }
    let nginx = programs::nginx(&options.listen, &addresses).await?;
    println!("the chat: http://{}", options.listen);
    tramline::serve::stop_signal().await;
    // In this order: nobody is sent to a node that is gone.
    drop(nginx);
    drop(nodes);
    drop(rabbit);
    Ok(())
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
