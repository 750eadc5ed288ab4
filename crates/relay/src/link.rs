//! The bytes of one TCP connection to the broker.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The number of a link, never used again.
pub(crate) type LinkId = u64;

/// What a link reports to the engine.
#[derive(Debug)]
pub(crate) enum Report {
    /// It is connected: what is sent to the writer is written.
    Opened(mpsc::UnboundedSender<Bytes>),
    Read(Bytes),
    /// It was not opened, or has ended.
    Ended(String),
}

/// The size of one read.
const READ: usize = 64 * 1024;

/// Connects to `address` and carries bytes both ways, until the stream ends or the engine drops the writer.
pub(crate) async fn run(
    id: LinkId,
    address: String,
    connect_time: Duration,
    reports: mpsc::Sender<(LinkId, Report)>,
) {
    let connected = timeout(connect_time, TcpStream::connect(&address)).await;
    let reason = match connected {
        Err(_) => format!("{address} did not answer within {connect_time:?}"),
        Ok(Err(error)) => format!("{address}: {error}"),
        Ok(Ok(stream)) => {
            // Frames that wait are gathered by the writer, not by the kernel.
            let _ = stream.set_nodelay(true);
            let (reader, writer) = stream.into_split();
            let (sender, queue) = mpsc::unbounded_channel();
            if reports.send((id, Report::Opened(sender))).await.is_err() {
                return;
            }
            tokio::select! {
                reason = read(id, reader, &reports) => format!("{address}: {reason}"),
                Err(error) = write(writer, queue) => format!("{address}: {error}"),
            }
        }
    };
    // An engine that is gone needs no report.
    let _ = reports.send((id, Report::Ended(reason))).await;
}

async fn read(
    id: LinkId,
    mut reader: OwnedReadHalf,
    reports: &mpsc::Sender<(LinkId, Report)>,
) -> String {
    let mut buffer = BytesMut::new();
    loop {
        // A chunk is filled before the next is taken, since messages keep alive the one that they came in.
        if buffer.capacity() - buffer.len() < READ / 8 {
            buffer.reserve(READ);
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return "closed by the broker".to_owned(),
            Ok(_) => {
                let read = buffer.split().freeze();
                if reports.send((id, Report::Read(read))).await.is_err() {
                    return "the engine has ended".to_owned();
                }
            }
            Err(error) => return error.to_string(),
        }
    }
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
) -> io::Result<()> {
    let mut frames = Vec::new();
    let mut together = Vec::new();
    while queue.recv_many(&mut frames, 256).await > 0 {
        together.clear();
        for frame in frames.drain(..) {
            together.extend_from_slice(&frame);
        }
        writer.write_all(&together).await?;
        if together.capacity() > READ {
            together = Vec::new();
        }
    }
    writer.shutdown().await
}
