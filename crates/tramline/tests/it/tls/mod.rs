//! TLS of our own listeners, against clients of other houses and attackers.

mod support;

use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tramline::User;
use tramline::policy::authenticated;
use tramline::tls::Tls;

use self::support::{Authority, Folder, Options, Secure};
use crate::support::{DEADLINE, SHORT, eventually};

/// What arrives until the end of the connection.
async fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = socket.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(DEADLINE, read)
        .await
        .expect("the connection ends");
    bytes
}

#[tokio::test]
async fn clients_meet_over_wss_and_stomps() {
    let server = Secure::start(Options::default()).await;
    let [web, stomp] = server.urls();
    let (web, stomp) = (server.connect(&web).await, server.connect(&stomp).await);
    let mut received = web.subscribe("/topic/open").await.unwrap();
    stomp
        .send("/topic/open", "over TLS")
        .receipt()
        .await
        .unwrap();
    let message = received.next().await.unwrap().unwrap();
    assert_eq!(message.text().unwrap(), "over TLS");
    let sockjs = format!("https://localhost:{}/ws", server.web.port());
    let sockjs = server.connect(&sockjs).await;
    sockjs
        .send("/topic/open", "by SockJS")
        .receipt()
        .await
        .unwrap();
    let message = received.next().await.unwrap().unwrap();
    assert_eq!(message.text().unwrap(), "by SockJS");
    assert_eq!(server.tls.stats().handshakes_failed, 0);
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let server = Secure::start(Options::default()).await;
    for url in server.urls() {
        let client = server.connect(&url).await;
        let mut echo = client.subscribe("/topic/echo").await.unwrap();
        let body: Vec<u8> = (0..1024 * 1024).map(|n| (n % 251) as u8).collect();
        client
            .send("/app/echo", body.clone())
            .receipt()
            .await
            .unwrap();
        let message = echo.next().await.unwrap().unwrap();
        assert!(message.body[..] == body[..], "{url}");
    }
}

#[tokio::test]
async fn frames_behind_the_handshake_of_a_websocket_are_not_lost() {
    let server = Secure::start(Options::default()).await;
    let mut stream = server.stream().await;
    let mut sent = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x9e\0\0\0\0"
        .to_vec();
    sent.extend_from_slice(b"CONNECT\naccept-version:1.2\n\n\0\n");
    stream.write_all(&sent).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.windows(9).any(|window| window == b"CONNECTED") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(DEADLINE, read)
        .await
        .expect("CONNECTED");
}

fn devices(required: bool) -> Options {
    Options {
        connect: authenticated(),
        files: match required {
            true => |files, folder| {
                files.required_client_certificates(folder.write("devices.pem", &DEVICES.pem))
            },
            false => |files, folder| {
                let files =
                    files.optional_client_certificates(folder.write("devices.pem", &DEVICES.pem));
                files.user(|certificate| {
                    let name = certificate.dns_names().next()?;
                    (name != "stranger").then(|| User::new(name))
                })
            },
        },
        ..Options::default()
    }
}

/// The authority of clients' certificates.
static DEVICES: std::sync::LazyLock<Authority> = std::sync::LazyLock::new(Authority::new);

#[tokio::test]
async fn a_certificate_is_the_user_of_its_sessions() {
    let server = Secure::start(devices(false)).await;
    let [web, stomp] = server.urls();
    for url in [&web, &stomp] {
        let meter = DEVICES.signs("meter-7");
        let tls = server
            .authority
            .client()
            .client_certificate(meter.chain, meter.key);
        let client = server.connect_as(url, tls).await.unwrap();
        assert!(server.messaging.registry().user("meter-7").is_some());
        let mut answers = client.subscribe("/topic/certificate").await.unwrap();
        client.send("/app/certificate", "").receipt().await.unwrap();
        let answer = answers.next().await.unwrap().unwrap();
        let text = answer.text().unwrap();
        assert!(
            text.contains("CN=meter-7") && text.ends_with(" meter-7"),
            "{text}"
        );
        client.disconnect().await.unwrap();
    }
    // Without one, and with one that is nobody's, there is no user, which the policy refuses.
    for url in [web, stomp] {
        let error = server.connect_as(&url, server.authority.client()).await;
        assert!(error.unwrap_err().to_string().contains("denied"), "{url}");
        let stranger = DEVICES.signs("stranger");
        let tls = server
            .authority
            .client()
            .client_certificate(stranger.chain, stranger.key);
        let error = server.connect_as(&url, tls).await;
        assert!(error.unwrap_err().to_string().contains("denied"), "{url}");
    }
    assert_eq!(server.tls.stats().handshakes_failed, 0);
}

#[tokio::test]
async fn a_certificate_of_another_authority_opens_nothing() {
    for required in [false, true] {
        let server = Secure::start(devices(required)).await;
        for url in server.urls() {
            let forged = Authority::new().signs("meter-7");
            let tls = server
                .authority
                .client()
                .client_certificate(forged.chain, forged.key);
            server.connect_as(&url, tls).await.unwrap_err();
        }
        let tls = server.tls.clone();
        eventually("both have failed", || tls.stats().handshakes_failed == 2).await;
        assert_eq!(server.messaging.stats().sessions_total, 0);
        if required {
            for url in server.urls() {
                let none = server.connect_as(&url, server.authority.client()).await;
                none.unwrap_err();
            }
            eventually("and those without", || tls.stats().handshakes_failed == 4).await;
        }
    }
}

#[tokio::test]
async fn a_reload_is_for_new_connections() {
    let server = Secure::start(Options::default()).await;
    let new = Authority::new();
    for (round, url) in server.urls().iter().enumerate() {
        let old = server.connect(url).await;
        let mut received = old.subscribe("/topic/open").await.unwrap();

        // Whoever renews writes one file before the other.
        let renewed = new.signs("localhost");
        server.folder.write("chain.pem", &renewed.chain);
        let error = server.tls.reload().unwrap_err();
        assert!(error.path().ends_with("key.pem"), "{error}");
        assert!(error.to_string().contains("is not the key"), "{error}");
        server.connect(url).await;

        server.folder.write("key.pem", &renewed.key);
        server.tls.reload().unwrap();
        server
            .connect_as(url, server.authority.client())
            .await
            .unwrap_err();
        let client = server.connect_as(url, new.client()).await.unwrap();
        client.send("/topic/open", "new").receipt().await.unwrap();
        let message = received.next().await.unwrap().unwrap();
        assert_eq!(message.text().unwrap(), "new");
        let stats = server.tls.stats();
        let round = round as u64;
        assert_eq!(stats.reloads_failed, round + 1);
        assert_eq!(stats.reloads_total, 2 * round + 1);

        let _ = server
            .folder
            .write_server(&server.authority.signs("localhost"));
        server.tls.reload().unwrap();
    }
}

#[tokio::test]
async fn files_that_change_are_reloaded() {
    let server = Secure::start(Options::default()).await;
    let watching = server.tls.clone().reload_when_changed(SHORT / 30);
    let watching = tokio::spawn(watching);
    let new = Authority::new();
    server.folder.write("key.pem", "");
    let tls = server.tls.clone();
    eventually("the error is noticed", || tls.stats().reloads_failed == 1).await;
    let _ = server.folder.write_server(&new.signs("localhost"));
    eventually("the files are in use", || {
        let stats = tls.stats();
        stats.reloads_total == 1 && stats.reloads_failed <= 2
    })
    .await;
    let [web, _] = server.urls();
    server.connect_as(&web, new.client()).await.unwrap();
    watching.abort();
}

#[tokio::test]
async fn who_speaks_without_tls_receives_an_answer() {
    let server = Secure::start(Options::default()).await;
    for (address, request, answer) in [
        (
            server.web,
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        (server.stomp, "CONNECT\naccept-version:1.2\n\n\0", "ERROR\n"),
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let got = String::from_utf8(rest(socket).await).unwrap();
        assert!(got.starts_with(answer), "{got}");
        assert!(got.contains("this port speaks TLS"), "{got}");
    }
    assert_eq!(server.messaging.stats().sessions_total, 0);
    assert_eq!(server.tls.stats().handshakes_failed, 2);
}

/// What `openssl s_client` reports of a handshake.
async fn openssl(port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(arguments)
        .stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output
        .await
        .unwrap()
        .expect("openssl is installed (Debian: sudo apt-get install --yes openssl)");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn old_versions_and_other_protocols_are_refused() {
    let server = Secure::start(Options::default()).await;
    let (web, stomp) = (server.web.port(), server.stomp.port());
    for port in [web, stomp] {
        for version in ["-tls1_2", "-tls1_3"] {
            let done = openssl(port, &[version]).await;
            assert!(done.contains("BEGIN CERTIFICATE"), "{done}");
        }
        for old in ["-tls1", "-tls1_1"] {
            let refused = openssl(port, &[old, "-cipher", "DEFAULT@SECLEVEL=0"]).await;
            assert!(refused.contains("SSL alert number"), "{refused}");
            assert!(!refused.contains("BEGIN CERTIFICATE"), "{refused}");
        }
    }
    let done = openssl(web, &["-alpn", "h2,http/1.1"]).await;
    assert!(done.contains("ALPN protocol: http/1.1"), "{done}");
    // A page's script cannot make its browser speak to a port of STOMP.
    for (port, offered) in [(web, "h2"), (stomp, "h2,http/1.1")] {
        let refused = openssl(port, &["-alpn", offered]).await;
        assert!(refused.contains("no application protocol"), "{refused}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_ends_its_connection() {
    let server = Secure::start(Options {
        serve: |limits| limits.head_time = SHORT,
        limits: |limits| limits.connect_time = SHORT,
        ..Options::default()
    })
    .await;
    for (n, address) in [(1, server.web), (2, server.stomp)] {
        let silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(rest(silent).await, b"");
        // Bytes now and then do not extend the time.
        let mut socket = TcpStream::connect(address).await.unwrap();
        let drip = async {
            socket.write_all(b"\x16\x03\x01\x02\0\x01").await.unwrap();
            while socket.write_all(b"\0").await.is_ok() {
                tokio::time::sleep(SHORT / 20).await;
            }
        };
        let dripped = tokio::time::timeout(DEADLINE, drip).await;
        dripped.expect("the connection ends");
        assert_eq!(server.tls.stats().handshake_timeouts, 2 * n);
    }
    assert_eq!(server.connections.stats().http_open, 0);
}

#[tokio::test]
async fn handshakes_count_among_the_connections() {
    let mut server = Secure::start(Options {
        serve: |limits| limits.connections = 1,
        ..Options::default()
    })
    .await;
    let half = TcpStream::connect(server.web).await.unwrap();
    let connections = server.connections.clone();
    eventually("it is there", || connections.stats().http_open == 1).await;
    let refused = TcpStream::connect(server.web).await.unwrap();
    assert_eq!(rest(refused).await, b"");
    assert_eq!(server.connections.stats().connections_refused, 1);
    // The end of the server ends it.
    server.stop().await;
    assert_eq!(rest(half).await, b"");
}

#[tokio::test]
async fn handshakes_of_stomp_are_bounded_for_each_address() {
    let server = Secure::start(Options::default()).await;
    let mut half = Vec::new();
    for _ in 0..100 {
        half.push(TcpStream::connect(server.stomp).await.unwrap());
    }
    let refused = TcpStream::connect(server.stomp).await.unwrap();
    assert_eq!(rest(refused).await, b"");
    assert_eq!(server.messaging.stats().requests_refused, 1);
    drop(half);
    let [_, stomp] = server.urls();
    let tls = server.tls.clone();
    eventually("they are gone", || tls.stats().handshakes_failed == 100).await;
    server.connect(&stomp).await;
}

#[tokio::test]
async fn a_page_from_without_tls_may_not_connect() {
    let server = Secure::start(Options {
        hosts: &["app.example"],
        ..Options::default()
    })
    .await;
    let request = |path: &str, origin: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: app.example\r\n{origin}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    for (origin, status) in [
        ("https://app.example", "101"),
        ("http://app.example", "403"),
    ] {
        let origin = format!("Origin: {origin}\r\n");
        let answer = server.ask(&request("/ws", &origin)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    // The cookie of SockJS is never sent without TLS, wherever its page is from.
    let answer = server
        .ask("GET /ws/info HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
        .await;
    let cookie = answer
        .lines()
        .find(|line| line.starts_with("set-cookie: tramline-sockjs="));
    assert!(cookie.expect("a cookie").ends_with("; Secure"), "{answer}");
}

#[test]
fn errors_name_the_file_and_what_is_wrong_with_it() {
    let folder = Folder::new();
    let (one, other) = (
        Authority::new().signs("localhost"),
        Authority::new().signs("localhost"),
    );
    let chain = folder.write("chain.pem", &one.chain);
    let key = folder.write("key.pem", &one.key);
    let empty = folder.write("empty.pem", "");
    let cut = folder.write("cut.pem", &one.key[..60]);
    let encrypted = one.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let encrypted = folder.write("encrypted.pem", &encrypted);
    let others = folder.write("other.pem", &other.key);
    let garbage = "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n";
    let garbage = folder.write("garbage.pem", garbage);
    let missing = folder.write("missing.pem", "");
    std::fs::remove_file(&missing).unwrap();
    let files = |chain, key| Tls::files(chain, key);
    for (files, named, problem) in [
        (files(&missing, &key), &missing, "No such file"),
        (files(&chain, &missing), &missing, "No such file"),
        (files(&empty, &key), &empty, "no certificate in it"),
        (files(&key, &key), &key, "no certificate in it"),
        (files(&garbage, &key), &garbage, "malformed"),
        (files(&chain, &empty), &empty, "no private key in it"),
        (files(&chain, &chain), &chain, "no private key in it"),
        (files(&chain, &cut), &cut, "malformed"),
        (files(&chain, &encrypted), &encrypted, "is encrypted"),
        (
            files(&chain, &others),
            &others,
            "not the key of the certificate",
        ),
        (
            files(&chain, &key).optional_client_certificates(&empty),
            &empty,
            "no certificate in it",
        ),
    ] {
        let error = files.load().unwrap_err();
        let text = error.to_string();
        assert_eq!(error.path(), named, "{text}");
        assert!(text.contains(&named.display().to_string()), "{text}");
        assert!(text.contains(problem), "{text}");
        let content = std::fs::read_to_string(named).unwrap_or_default();
        for line in content.lines().filter(|line| !line.starts_with('-')) {
            assert!(!format!("{text}{error:?}").contains(line), "{text}");
        }
    }
    assert!(Tls::files(chain, key).load().is_ok());
}
