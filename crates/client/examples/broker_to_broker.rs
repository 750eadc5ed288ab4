//! Carries the messages of a queue at one broker to a queue at another.
//!
//! `cargo run -p tramline-client --example broker_to_broker -- stomp://one /queue/in stomp://two /queue/out`
//!
//! A message is acknowledged when the other broker has confirmed it: none is lost, whichever of the two restarts, and one
//! that was under way may come twice.

use std::{env, error::Error};

use tokio::signal::ctrl_c;
use tramline_client::{AckMode, Client, Reconnect};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [from_url, from, to_url, to] = arguments
        .try_into()
        .map_err(|_| "usage: broker_to_broker FROM_URL FROM_DESTINATION TO_URL TO_DESTINATION")?;
    let one = Client::connect(from_url)
        .reconnect(Reconnect::new())
        .await?;
    let two = Client::connect(to_url).reconnect(Reconnect::new()).await?;
    let messages = one
        .subscribe(from)
        .ack(AckMode::ClientIndividual)
        .prefetch(16)
        .await?;
    let sender = two.clone();
    let carried = messages
        .process(move |message| {
            let send = sender.forward(to.as_str(), &message);
            async move { Ok(send.receipt().await?) }
        })
        .concurrency(16)
        .until(async {
            let _ = ctrl_c().await;
        })
        .await?;
    println!("{} carried, {} given back", carried.done, carried.failed);
    one.disconnect().await?;
    Ok(two.disconnect().await?)
}
