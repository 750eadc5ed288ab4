//! `cargo run -p tramline-websocket --example echo_server -- 127.0.0.1:9001`: a WebSocket server that echoes
//! everything, with blocking threads and the standard library only.
//!
//! The Autobahn test suite runs against it: `cargo xtask test`.

mod support;

use std::env;
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use tramline_websocket::{Connection, Role, accept_key, is_valid_key};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || {
            if let Err(error) = serve(stream) {
                eprintln!("connection lost: {error}");
            }
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (head, early) = support::read_head(&mut stream)?;
    let key = support::header(&head, "Sec-WebSocket-Key").find(|key| is_valid_key(key));
    let Some(key) = key else {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
        return Ok(());
    };
    let accept = accept_key(key);
    let agreement = support::deflate().accept(support::header(&head, "Sec-WebSocket-Extensions"));
    let extensions = agreement.map_or(String::new(), |agreement| {
        format!("Sec-WebSocket-Extensions: {}\r\n", agreement.response())
    });
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    )?;
    let mut connection = Connection::new(Role::Server, support::config());
    if let Some(agreement) = agreement {
        connection = connection.with_deflate(agreement);
    }
    support::echo(&mut stream, &mut connection, early)?;
    // The server ends TCP first (RFC 6455 section 7.1.1).
    stream.shutdown(Shutdown::Write)?;
    support::linger(&mut stream);
    Ok(())
}
