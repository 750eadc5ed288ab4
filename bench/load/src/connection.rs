//! A client's WebSocket, cheap enough that thousands of them measure the server and not themselves.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};

use crate::frames;

/// Where a server listens: `ws://127.0.0.1:9002/stomp`.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server's address.
    pub address: SocketAddr,
    /// The path of its STOMP endpoint.
    pub path: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let wanted = || format!("{url:?} is not ws://ADDRESS:PORT/PATH with an IP address");
        let rest = url.strip_prefix("ws://").ok_or_else(wanted)?;
        let path = rest.find('/').ok_or_else(wanted)?;
        Ok(Self {
            address: rest[..path].parse().map_err(|_| wanted())?,
            path: rest[path..].to_owned(),
        })
    }
}

/// How a connection is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Source address; the system's choice unless given.
    pub from: Option<Ipv4Addr>,
    /// Sends what a desktop browser sends, with a cookie of 600 bytes.
    pub browser: bool,
    /// Size of the kernel's receive buffer, for readers that take little.
    pub receive_buffer: Option<u32>,
}

const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/150.0.0.0 Safari/537.36\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
                       Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCache-Control: no-cache\r\nPragma: no-cache\r\n\
                       Sec-Fetch-Dest: websocket\r\nSec-Fetch-Mode: websocket\r\nSec-Fetch-Site: same-origin\r\n";

/// The key of RFC 6455's example, and what it must be answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const SCRATCH: usize = 256 * 1024;

thread_local! {
    /// One read of any connection; only an incomplete frame is kept by the connection itself.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Opens a TCP connection.
pub(crate) async fn tcp(target: &Target, manner: Manner) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    if let Some(size) = manner.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(from) = manner.from {
        socket.bind((IpAddr::V4(from), 0).into())?;
    }
    socket.connect(target.address).await
}

/// Opens a WebSocket.
pub(crate) async fn open(target: &Target, manner: Manner) -> io::Result<(Writer, Reader)> {
    let stream = tcp(target, manner).await?;
    let Target { address, path } = target;
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \
         {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v12.stomp\r\nOrigin: http://{address}\r\n"
    );
    if manner.browser {
        let _infallible = write!(request, "{BROWSER}Cookie: session={}\r\n", "c".repeat(600));
    }
    request.push_str("\r\n");
    let shared = Arc::new(Shared {
        stream,
        unsent: Mutex::default(),
    });
    let (writer, mut reader) = (
        Writer(Arc::clone(&shared)),
        Reader {
            shared,
            kept: Vec::new(),
        },
    );
    writer.send(request.as_bytes()).await?;
    let head = loop {
        let found = reader
            .read(|bytes| {
                let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                    return Ok((0, None));
                };
                Ok((
                    end + 4,
                    Some(String::from_utf8_lossy(&bytes[..end]).into_owned()),
                ))
            })
            .await?;
        if let Some(head) = found {
            break head;
        }
    };
    if !head.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
        let line = head.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!(
            "the handshake was refused: {line}"
        )));
    }
    Ok((writer, reader))
}

/// Opens an anonymous STOMP session.
pub(crate) async fn session(target: &Target, manner: Manner) -> io::Result<(Writer, Reader)> {
    let (writer, mut reader) = open(target, manner).await?;
    writer.send(&frames::connect()).await?;
    reader.wait_for(b"CONNECTED\n").await?;
    Ok((writer, reader))
}

/// Opens a STOMP session with one subscription, which is live.
pub(crate) async fn subscriber(
    target: &Target,
    manner: Manner,
    destination: &str,
) -> io::Result<(Writer, Reader)> {
    let (writer, mut reader) = session(target, manner).await?;
    let subscribe = frames::subscribe("0", destination, Some("0"));
    writer.send(&subscribe).await?;
    reader.wait_for(b"RECEIPT\n").await?;
    Ok((writer, reader))
}

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    /// Bytes that the socket has not taken yet.
    unsent: Mutex<Vec<u8>>,
}

impl Shared {
    /// Writes; returns true if the socket has not taken all bytes.
    fn write(&self, bytes: &[u8]) -> io::Result<bool> {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        unsent.extend_from_slice(bytes);
        while !unsent.is_empty() {
            match self.stream.try_write(&unsent) {
                Ok(count) => drop(unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(!unsent.is_empty())
    }
}

/// The sending side.
#[derive(Clone, Debug)]
pub(crate) struct Writer(Arc<Shared>);

impl Writer {
    /// Writes what the socket takes; the rest follows when somebody polls the reader or calls [`send`](Self::send).
    pub(crate) fn send_now(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes).map(drop)
    }

    /// Writes everything.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut left = self.0.write(bytes)?;
        while left {
            self.0.stream.writable().await?;
            left = self.0.write(&[])?;
        }
        Ok(())
    }
}

/// The receiving side.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    /// An incomplete frame.
    kept: Vec<u8>,
}

impl Reader {
    /// Takes one read, and gives each of its messages to `each`.
    pub(crate) async fn receive(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut answers = Vec::new();
        self.read(|bytes| messages(bytes, &mut each, &mut answers).map(|used| (used, ())))
            .await?;
        if !answers.is_empty() {
            self.shared.write(&answers)?;
        }
        Ok(())
    }

    /// Reads until the connection ends, and gives each message to `each`.
    pub(crate) async fn receive_all(mut self, mut each: impl FnMut(&[u8])) -> io::Error {
        loop {
            if let Err(error) = self.receive(&mut each).await {
                return error;
            }
        }
    }

    async fn wait_for(&mut self, command: &[u8]) -> io::Result<()> {
        let mut found = false;
        let mut refused = None;
        while !found {
            self.receive(|message| {
                found |= message.starts_with(command);
                if message.starts_with(b"ERROR\n") {
                    refused = Some(String::from_utf8_lossy(message).into_owned());
                }
            })
            .await?;
            if let Some(error) = refused {
                return Err(io::Error::other(error));
            }
        }
        Ok(())
    }

    /// One read behind what was kept; `take` says how much of it is used up.
    async fn read<T>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> io::Result<(usize, T)>,
    ) -> io::Result<T> {
        loop {
            let unsent = self.shared.write(&[])?;
            let interest = if unsent {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            if !self.shared.stream.ready(interest).await?.is_readable() {
                continue;
            }
            let taken = READ.with_borrow_mut(|scratch| {
                let kept = self.kept.len();
                if scratch.len() < kept + SCRATCH {
                    scratch.resize(kept + SCRATCH, 0);
                }
                let count = match self.shared.stream.try_read(&mut scratch[kept..]) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                    Err(error) => return Err(error),
                };
                scratch[..kept].copy_from_slice(&self.kept);
                let (used, result) = take(&scratch[..kept + count])?;
                self.kept = scratch[used..kept + count].to_vec();
                Ok(Some(result))
            });
            if let Some(result) = taken? {
                return Ok(result);
            }
        }
    }
}

/// Gives each whole message to `each`; returns how many bytes are used up.
fn messages(
    bytes: &[u8],
    each: &mut impl FnMut(&[u8]),
    answers: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut used = 0;
    while let Some((opcode, payload)) = next(&bytes[used..])? {
        let payload_end = used + payload.end;
        let content = &bytes[used + payload.start..payload_end];
        used = payload_end;
        match opcode {
            0x1 | 0x2 => each(content),
            0x8 => {
                let code = content
                    .first_chunk()
                    .map_or(1005, |code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(content.get(2..).unwrap_or_default());
                let text = format!("closed with {code} {reason}");
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
            }
            0x9 => answers.extend(frames::frame(0xA, content)),
            0xA => {}
            _ => return Err(io::Error::other(format!("a frame with opcode {opcode}"))),
        }
    }
    Ok(used)
}

/// Opcode and payload of the first frame, if it is complete.
fn next(bytes: &[u8]) -> io::Result<Option<(u8, std::ops::Range<usize>)>> {
    let &[first, second, ..] = bytes else {
        return Ok(None);
    };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        let text = "a frame that is fragmented, compressed or masked";
        return Err(io::Error::other(text));
    }
    let (head, length) = match second {
        126 => match bytes.get(2..4) {
            Some(length) => (4, usize::from(length[0]) << 8 | usize::from(length[1])),
            None => return Ok(None),
        },
        127 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
            Some(length) => (
                10,
                usize::try_from(u64::from_be_bytes(*length)).map_err(io::Error::other)?,
            ),
            None => return Ok(None),
        },
        length => (2, usize::from(length)),
    };
    let end = head + length;
    Ok((bytes.len() >= end).then_some((first & 0xf, head..end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_when_they_are_whole() {
        let mut bytes = vec![0x81, 2, b'a', b'b', 0x89, 1, b'p', 0x81, 126, 0, 200];
        bytes.extend([b'c'; 199]);
        let (mut seen, mut answers) = (vec![], vec![]);
        let used = messages(
            &bytes,
            &mut |message| seen.push(message.len()),
            &mut answers,
        )
        .unwrap();
        assert_eq!((used, seen), (7, vec![2]));
        assert_eq!(answers, frames::frame(0xA, b"p"));
        bytes.push(b'c');
        let mut seen = vec![];
        let used = messages(&bytes, &mut |message| seen.push(message.len()), &mut vec![]).unwrap();
        assert_eq!((used, seen), (bytes.len(), vec![2, 200]));
    }

    #[test]
    fn a_close_frame_ends_the_connection_with_its_reason() {
        let bytes = [0x88, 4, 0x11, 0x94, b'n', b'o'];
        let error = messages(&bytes, &mut |_| {}, &mut vec![]).unwrap_err();
        assert_eq!(error.to_string(), "closed with 4500 no");
    }

    #[test]
    fn a_target_needs_an_address_and_a_path() {
        let target: Target = "ws://127.0.0.1:9002/stomp".parse().unwrap();
        assert_eq!(target.path, "/stomp");
        for bad in ["http://127.0.0.1:1/", "ws://127.0.0.1:9002", "ws://host:1/"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
