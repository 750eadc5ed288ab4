//! Bodies that end late: the connection stays until they have, and nothing of an answer is lost to a reset.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::*;

/// Between two writes of a client.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection whose receive buffer holds a small part of a long answer.
async fn connect(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Writes the parts one after the other, with a pause before each but the first.
async fn write(stream: &mut TcpStream, parts: &[&[u8]]) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let written = tokio::time::timeout(Duration::from_secs(10), stream.write_all(part));
        written.await.expect("the server reads on").unwrap();
    }
}

/// Reads until `end` has come; fails if the connection is reset or closed before.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.windows(end.len()).any(|window| window == end) {
        let more = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut read));
        let more = more
            .await
            .unwrap_or_else(|_| panic!("nothing more after {}", text(&read)));
        let length = read.len();
        let more = more.unwrap_or_else(|error| panic!("{error} after {length} bytes"));
        assert_ne!(more, 0, "closed after {length} bytes: {}", text(&read));
    }
    read
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned()
}

fn head(method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
}

/// The same connection serves another request: the one before was read to its end.
async fn serves_another(stream: &mut TcpStream, after: &str) {
    stream
        .write_all(&head("GET", "/sockjs", "Connection: close\r\n"))
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    read.await.unwrap().unwrap();
    assert!(
        text(&answer).contains("Welcome to SockJS!"),
        "{after}: {}",
        text(&answer)
    );
}

/// As Java's HTTP client writes an empty body.
#[tokio::test]
async fn all_waiting_messages_arrive_though_the_body_ends_late() {
    for own_server in [true, false] {
        all_waiting_messages_arrive(own_server).await;
    }
}

async fn all_waiting_messages_arrive(own_server: bool) {
    // 500,000 bytes and more.
    const MESSAGES: usize = 63;
    let server = Setup::new()
        .own_server(own_server)
        .origin("*")
        .sockjs(|options| options.response_limit(1024 * 1024).message_cache(1000))
        .start()
        .await;
    for (name, transport, method) in [
        ("a", "xhr", "POST"),
        ("b", "xhr_streaming", "POST"),
        ("c", "eventsource", "GET"),
        ("d", "htmlfile?c=x", "GET"),
        ("e", "jsonp?c=x", "GET"),
    ] {
        let session = Polling::connected(&server, name).await;
        session
            .say("SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0")
            .await;
        assert!(session.frames().await.contains("RECEIPT"));
        let publisher = server.messaging().publisher();
        for number in 0..MESSAGES {
            let body = format!("{number:08000}");
            publisher.send("/topic/x", body).await.unwrap();
        }
        // 64 KiB are ready to be sent, the rest follows where the answer is a stream.
        tokio::time::sleep(PAUSE).await;

        let mut stream = connect(&server).await;
        let path = format!("/sockjs/000/{name}/{transport}");
        let head = head(method, &path, "Transfer-Encoding: chunked\r\n");
        let parts: [&[u8]; 4] = [&head, b"0\r\n", b"\r", b"\n"];
        write(&mut stream, &parts).await;
        tokio::time::sleep(PAUSE).await;
        let streams = ["xhr_streaming", "eventsource", "htmlfile?c=x"].contains(&transport);
        let last = if streams {
            format!("{:08000}", MESSAGES - 1)
        } else {
            "\r\n0\r\n\r\n".to_owned()
        };
        let answer = read_until(&mut stream, last.as_bytes()).await;
        let count = String::from_utf8_lossy(&answer).matches("MESSAGE").count();
        assert!(
            if streams {
                count == MESSAGES
            } else {
                count >= 8
            },
            "{transport}: {count}"
        );
        if !streams {
            serves_another(&mut stream, transport).await;
        }
    }
}

/// Every path that answers, with bodies that it wants and bodies that it does not.
#[tokio::test]
async fn every_answer_waits_for_the_end_of_the_body() {
    for own_server in [true, false] {
        every_answer(own_server).await;
    }
}

async fn every_answer(own_server: bool) {
    let server = Setup::new()
        .own_server(own_server)
        .origin("https://app.example")
        .sockjs(|options| options.disconnect_delay(Duration::from_secs(60)))
        .start()
        .await;
    Polling::connected(&server, "abc").await;
    let long = vec![b'x'; 600_000];
    let own = "Origin: https://app.example\r\n";
    let foreign = "Origin: https://evil.example\r\n";
    for (method, path, headers, status) in [
        ("POST", "/sockjs", "", 405),
        ("GET", "/sockjs", "", 200),
        ("GET", "/sockjs/nowhere", "", 404),
        ("GET", "/sockjs/info", "", 200),
        ("POST", "/sockjs/info", "", 405),
        ("OPTIONS", "/sockjs/info", "", 204),
        ("GET", "/sockjs/iframe.html", "", 404),
        ("POST", "/sockjs/iframe.html", "", 404),
        ("POST", "/sockjs/websocket", "", 405),
        ("GET", "/sockjs/websocket", "", 400),
        ("POST", "/sockjs/0/a/websocket", "", 405),
        ("POST", "/sockjs/0/a/xhr", foreign, 403),
        ("GET", "/sockjs/0/a/xhr", "", 405),
        ("GET", "/sockjs/0/a/jsonp", "", 403),
        ("GET", "/sockjs/0/a/jsonp", own, 500),
        ("POST", "/sockjs/0/unknown/xhr_send", "", 404),
        ("POST", "/sockjs/0/unknown/jsonp_send", "", 404),
        ("POST", "/sockjs/0/abc/xhr_send", "", 413),
        ("POST", "/sockjs/0/abc/jsonp_send", "", 413),
        ("POST", "/ws", "", 405),
        ("GET", "/ws", "", 400),
        ("POST", "/ws/nowhere", "", 404),
    ] {
        let case = format!("{method} {path}");
        let mut stream = connect(&server).await;
        let announced = format!("{headers}Content-Length: {}\r\n", long.len());
        let expected = format!("HTTP/1.1 {status} ");
        let (front, back) = long.split_at(550_000);
        let head_bytes = head(method, path, &announced);
        write(&mut stream, &[&head_bytes, front, back]).await;
        is_answered(stream, &expected, &case).await;

        let mut stream = connect(&server).await;
        let head_bytes = head(
            method,
            path,
            &format!("{headers}Transfer-Encoding: chunked\r\n"),
        );
        let size = format!("{:x}\r\n", long.len());
        let parts: [&[u8]; 7] = [
            &head_bytes,
            size.as_bytes(),
            front,
            back,
            b"\r\n",
            b"0\r\n",
            b"\r\n",
        ];
        write(&mut stream, &parts).await;
        is_answered(stream, &expected, &case).await;
    }
}

/// Fails unless the answer begins with `expected`, and the connection serves on.
async fn is_answered(mut stream: TcpStream, expected: &str, case: &str) {
    let answer = read_until(&mut stream, b"\r\n\r\n").await;
    assert!(
        answer.starts_with(expected.as_bytes()),
        "{case}: {}",
        text(&answer)
    );
    finish(&mut stream, &answer).await;
    serves_another(&mut stream, case).await;
}

/// Reads the body of an answer, of which `answer` has come.
async fn finish(stream: &mut TcpStream, answer: &[u8]) {
    let all = text(answer).to_ascii_lowercase();
    let (head, _) = all.split_once("\r\n\r\n").unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let mut left = (head.len() + 4 + length).saturating_sub(answer.len());
    while left > 0 {
        let mut buffer = vec![0; left];
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0);
        left -= read;
    }
}

/// Discarding is bounded: beyond it the connection ends.
#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let server = Setup::new().start().await;
    let mut stream = connect(&server).await;
    let head = head("POST", "/sockjs/nowhere", "Content-Length: 1000000000\r\n");
    stream.write_all(&head).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    reader.read_buf(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 404 "), "answered at once");
    let block = vec![b'x'; 1024 * 1024];
    let mut written = 0;
    while writer.write_all(&block).await.is_ok() {
        written += 1;
        assert!(written < 64, "{written} MiB were read");
    }
    assert!(written >= 15, "{written} MiB were read");
}
