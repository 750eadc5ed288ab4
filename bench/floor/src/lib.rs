//! The least that a STOMP server over WebSocket on tokio can do for a fan-out: one task and one queue per connection, each
//! message encoded once, one write for everything that waits.
//!
//! A measuring stick and no server: it has no limits, heart-beats, acknowledgements, policy, or care for slow readers. A
//! message for `/app/x` comes back on `/topic/x`, as from a handler.

mod frames;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use frames::Frame;

/// Messages of one write.
const BATCH: usize = 64;

const READ: usize = 64 * 1024;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Serves for ever.
///
/// # Errors
///
/// Accepting a connection fails.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let topics = Arc::new(Topics::default());
    loop {
        let (stream, _) = listener.accept().await?;
        let topics = Arc::clone(&topics);
        // A peer that leaves or errs is dropped without a word.
        tokio::spawn(async move { accept(stream, topics).await.ok() });
    }
}

/// A message, in the form that all subscribers share.
struct Message {
    number: u64,
    /// Everything behind the line of the message-id.
    tail: Bytes,
}

/// A peer and the index of its subscription.
type Subscriber = (Arc<Peer>, u32);

type Delivery = (u32, Arc<Message>);

struct Peer {
    id: u64,
    stream: TcpStream,
    queue: Mutex<VecDeque<Delivery>>,
    /// Bytes that the socket has not taken.
    unsent: Mutex<Vec<u8>>,
    /// The first bytes of each subscription's MESSAGE frames.
    heads: RwLock<Vec<Box<[u8]>>>,
    wake: Notify,
}

#[derive(Default)]
struct Topics {
    subscribers: RwLock<HashMap<String, Vec<Subscriber>>>,
    number: AtomicU64,
    peer: AtomicU64,
}

impl Topics {
    fn publish(&self, topic: &str, messages: &[Arc<Message>]) {
        let subscribers = self
            .subscribers
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for (peer, subscription) in subscribers.get(topic).into_iter().flatten() {
            let deliveries = messages
                .iter()
                .map(|message| (*subscription, Arc::clone(message)));
            lock(&peer.queue).extend(deliveries);
            peer.wake.notify_one();
        }
    }

    fn subscribe(&self, peer: &Arc<Peer>, id: &str, topic: &str) {
        let mut heads = peer.heads.write().unwrap_or_else(PoisonError::into_inner);
        let head = format!("MESSAGE\nsubscription:{id}\nmessage-id:{}-", peer.id);
        heads.push(head.into_bytes().into());
        let subscription = heads.len() as u32 - 1;
        let mut subscribers = self
            .subscribers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let topic = subscribers.entry(topic.to_owned()).or_default();
        topic.push((Arc::clone(peer), subscription));
    }

    fn remove(&self, peer: &Peer) {
        let mut subscribers = self
            .subscribers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for topic in subscribers.values_mut() {
            topic.retain(|(other, _)| other.id != peer.id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(stream: TcpStream, topics: Arc<Topics>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut kept = Vec::new();
    let answer = loop {
        stream.readable().await?;
        match read(&stream, &mut kept, frames::answer_handshake) {
            Ok(Some(answer)) => break answer,
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    };
    let peer = Arc::new(Peer {
        id: topics.peer.fetch_add(1, Ordering::Relaxed),
        stream,
        queue: Mutex::default(),
        unsent: Mutex::default(),
        heads: RwLock::default(),
        wake: Notify::new(),
    });
    peer.write(answer.as_bytes())?;
    // A fresh task, so that no connection keeps the memory of its handshake's larger one.
    tokio::spawn(async move {
        // However it ends, it is over.
        let _ended = run(&peer, &topics, kept).await;
        topics.remove(&peer);
    });
    Ok(())
}

async fn run(peer: &Arc<Peer>, topics: &Topics, mut kept: Vec<u8>) -> io::Result<()> {
    let mut blocked = false;
    loop {
        let interest = if blocked {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        tokio::select! {
            biased;
            () = peer.wake.notified() => blocked = peer.flush()?,
            ready = peer.stream.ready(interest) => {
                let ready = ready?;
                if ready.is_writable() && blocked {
                    blocked = peer.flush()?;
                }
                if ready.is_readable() {
                    match read(&peer.stream, &mut kept, |bytes| take(bytes, peer, topics)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => result?,
                    }
                }
            }
        }
    }
}

/// One read behind what was kept; `take` says how much of it is used up.
fn read<T>(
    stream: &TcpStream,
    kept: &mut Vec<u8>,
    take: impl FnOnce(&mut [u8]) -> io::Result<(usize, T)>,
) -> io::Result<T> {
    INPUT.with_borrow_mut(|input| {
        let old = kept.len();
        if input.len() < old + READ / 2 {
            input.resize(old + READ, 0);
        }
        let count = match stream.try_read(&mut input[old..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => count,
        };
        input[..old].copy_from_slice(kept);
        let (used, result) = take(&mut input[..old + count])?;
        *kept = input[used..old + count].to_vec();
        Ok(result)
    })
}

/// Handles the whole frames of one read; what is published to one topic goes out as one.
fn take(bytes: &mut [u8], peer: &Arc<Peer>, topics: &Topics) -> io::Result<(usize, ())> {
    let mut used = 0;
    let mut batch: (String, Vec<Arc<Message>>) = Default::default();
    while let Some((opcode, payload)) = frames::next(&mut bytes[used..])? {
        let content = &bytes[used + payload.start..used + payload.end];
        used += payload.end;
        match opcode {
            0x8 => return Err(io::ErrorKind::ConnectionAborted.into()),
            0x9 => peer.write(&frames::frame(0xA, content))?,
            0x1 | 0x2 => {}
            _ => continue,
        }
        let Some(frame) = Frame::parse(content)? else {
            continue;
        };
        match frame.command {
            b"SEND" => {
                let topic = match frame.destination.strip_prefix("/app/") {
                    Some(rest) => format!("/topic/{rest}"),
                    None => frame.destination.to_owned(),
                };
                if topic != batch.0 {
                    topics.publish(&batch.0, &batch.1);
                    batch = (topic, Vec::new());
                }
                batch.1.push(Arc::new(Message {
                    number: topics.number.fetch_add(1, Ordering::Relaxed),
                    tail: frames::tail(&batch.0, frame.body),
                }));
            }
            b"SUBSCRIBE" => topics.subscribe(peer, frame.id, frame.destination),
            b"CONNECT" => {
                let connected = b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0";
                peer.write(&frames::frame(0x1, connected))?;
            }
            _ => {}
        }
        if let Some(receipt) = frame.receipt {
            let answer = format!("RECEIPT\nreceipt-id:{receipt}\n\n\0");
            peer.write(&frames::frame(0x1, answer.as_bytes()))?;
        }
    }
    topics.publish(&batch.0, &batch.1);
    Ok((used, ()))
}

impl Peer {
    /// Writes what the socket takes, and keeps the rest.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut unsent = lock(&self.unsent);
        let count = if unsent.is_empty() {
            written(self.stream.try_write(bytes))?
        } else {
            0
        };
        if count < bytes.len() {
            unsent.extend_from_slice(&bytes[count..]);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Writes what waits, in batches; whether the socket is full.
    fn flush(&self) -> io::Result<bool> {
        let mut unsent = lock(&self.unsent);
        if !unsent.is_empty() {
            let count = written(self.stream.try_write(&unsent))?;
            unsent.drain(..count);
            if !unsent.is_empty() {
                return Ok(true);
            }
            *unsent = Vec::new();
        }
        let heads = self.heads.read().unwrap_or_else(PoisonError::into_inner);
        loop {
            let full = OUTPUT.with_borrow_mut(|output| {
                output.clear();
                {
                    let mut queue = lock(&self.queue);
                    let count = queue.len().min(BATCH);
                    for (subscription, message) in queue.drain(..count) {
                        let head = &heads[subscription as usize];
                        frames::put_message(output, head, message.number, &message.tail);
                    }
                    if queue.is_empty() && queue.capacity() > 4 {
                        *queue = VecDeque::new();
                    }
                }
                if output.is_empty() {
                    return io::Result::Ok(None);
                }
                let count = written(self.stream.try_write(output))?;
                unsent.extend_from_slice(&output[count..]);
                Ok(Some(count < output.len()))
            })?;
            match full {
                Some(false) => {}
                Some(true) => return Ok(true),
                None => return Ok(false),
            }
        }
    }
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
