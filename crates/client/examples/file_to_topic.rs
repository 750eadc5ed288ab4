//! Follows a file, as `tail -f` does, and sends each new line to a destination.
//!
//! `cargo run -p tramline-client --example file_to_topic -- /var/log/syslog /topic/log stomp://localhost`
//!
//! Each line is confirmed by the server; while there is no connection, lines wait in the file.

use std::{env, error::Error, io::SeekFrom, time::Duration};

use futures_util::SinkExt;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncSeekExt, BufReader},
    signal::ctrl_c,
    time::sleep,
};
use tramline_client::{Client, MessageSink, Outgoing, Reconnect};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [file, destination, url] = &arguments[..] else {
        return Err("usage: file_to_topic FILE DESTINATION URL".into());
    };
    let client = Client::connect(url).reconnect(Reconnect::new()).await?;
    let mut file = File::open(file).await?;
    file.seek(SeekFrom::End(0)).await?;
    let mut sink = client.sink(destination.as_str());
    tokio::select! {
        followed = follow(file, &mut sink) => followed?,
        _ = ctrl_c() => {}
    }
    sink.close().await?;
    Ok(client.disconnect().await?)
}

/// Sends the lines of a file that grows, for ever.
async fn follow(file: File, sink: &mut MessageSink) -> Result<(), Box<dyn Error>> {
    let mut file = BufReader::new(file);
    let mut line = String::new();
    loop {
        if file.read_line(&mut line).await? == 0 {
            sink.flush().await?;
            sleep(Duration::from_millis(200)).await;
        } else if line.ends_with('\n') {
            // A line without its end is still being written.
            let text = line.trim_end().to_owned();
            sink.feed(Outgoing::from(text).header("content-type", "text/plain"))
                .await?;
            line.clear();
        }
    }
}
