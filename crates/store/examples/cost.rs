//! What a confirmed message costs beside a bare `fdatasync` of the same bytes, for 1, 16 and 256 senders that wait for
//! each confirmation: `cargo run --release -p tramline-store --example cost DIR`.
//!
//! Both alternate in one run, since disks differ and so do the hours of one disk.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tramline_broker::{Change, Destination, Durability, Headers, Journal, Message, Publish};
use tramline_store::Store;

/// How long each measurement runs.
const TIME: Duration = Duration::from_secs(2);

const BODY: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).map(PathBuf::from);
    let directory = directory.ok_or("name a directory on the disk to measure")?;
    fs::create_dir_all(&directory)?;
    println!("senders  syncs/s bare  messages/s stored  sender's wait / bare sync");
    for senders in [1, 16, 256] {
        let before = bare(&directory, senders)?;
        let stored = store(&directory, senders)?;
        let bare = (before + bare(&directory, senders)?) / 2.0;
        // What one sender waits for a confirmation, in bare syncs of as many messages.
        let ratio = senders as f64 / stored * bare;
        println!("{senders:7}  {bare:12.0}  {stored:17.0}  {ratio:25.2}");
    }
    Ok(())
}

/// Appends as many messages as there are senders and syncs, again and again; returns the syncs in a second.
fn bare(directory: &Path, senders: usize) -> Result<f64, Box<dyn Error>> {
    let path = directory.join("bare");
    let mut file = File::create(&path)?;
    let bytes = vec![b'x'; senders * (BODY + 100)];
    let begun = Instant::now();
    let mut syncs = 0;
    while begun.elapsed() < TIME {
        file.write_all(&bytes)?;
        file.sync_data()?;
        syncs += 1;
    }
    let taken = begun.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(f64::from(syncs) / taken)
}

/// Each sender stores a message when its last one is confirmed; returns the messages in a second.
fn store(directory: &Path, senders: usize) -> Result<f64, Box<dyn Error>> {
    let path = directory.join("store");
    let store = Store::open(&path)?;
    let queue = "/queue/cost".into();
    let destination = Destination::parse("/queue/cost")?;
    let publish = Publish::new(destination, Headers::new(), vec![b'x'; BODY]);
    let message = Message::new(publish, "1".into(), None);
    let (confirmed, confirmations) = mpsc::channel();
    let send = || {
        let message = &message;
        let queue = &queue;
        let appended = store.append(&[Change::Enqueue { queue, message }]);
        let confirmed = confirmed.clone();
        // The receiver is there as long as this runs.
        let done = move |stored| drop(confirmed.send(stored));
        store.when_stored(appended.ticket, Durability::Synced, Box::new(done));
    };
    for _ in 0..senders {
        send();
    }
    let begun = Instant::now();
    let mut stored = 0;
    while begun.elapsed() < TIME {
        confirmations.recv()??;
        stored += 1;
        send();
    }
    let taken = begun.elapsed().as_secs_f64();
    store.close()?;
    fs::remove_dir_all(path)?;
    Ok(f64::from(stored) / taken)
}
