//! The client with a real server: Tramline, in this process, by every transport.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use tramline::endpoint::{SockJs, SockJsTransport};
use tramline::policy::{Policy, permit};
use tramline::{EmbeddedBroker, Messaging, raw};
use tramline_client::{AckMode, Client, Error, Outgoing, Reconnect, Socket, SocketMessage, State};

struct Server {
    messaging: Messaging,
    tcp: SocketAddr,
    http: SocketAddr,
}

impl Server {
    async fn start(sockjs: SockJs) -> Self {
        let messaging = Messaging::builder()
            .broker(EmbeddedBroker::new().topics("/topic").queues("/queue"))
            .policy(Policy::builder().otherwise(permit()))
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = listener.local_addr().unwrap();
        tokio::spawn(messaging.serve_tcp(listener));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let endpoint = messaging.endpoint().sockjs(sockjs);
        tokio::spawn(tramline::serve(listener, endpoint).into_future());
        Self {
            messaging,
            tcp,
            http,
        }
    }
}

/// Starts an endpoint without STOMP, which sends back what it receives, and closes when it is told to.
async fn echo(sockjs: SockJs) -> SocketAddr {
    async fn answer(mut socket: raw::Socket) {
        while let Some(message) = socket.receive().await {
            if message == raw::Message::Text("leave".into()) {
                socket.close(raw::CloseCode::new(4000).unwrap(), "as you wish");
            } else if socket.send(message).await.is_err() {
                return;
            }
        }
    }
    let endpoint = raw::RawEndpoint::builder(answer)
        .sockjs(sockjs)
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(tramline::serve(listener, endpoint).into_future());
    address
}

/// A time limit that no test reaches.
async fn soon<T>(future: impl IntoFuture<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    timeout(limit, future).await.expect("it takes for ever")
}

/// Subscribes, sends, receives and leaves.
async fn converse(client: Client, destination: &str) {
    let mut messages = soon(client.subscribe(destination)).await.unwrap();
    let text = "täglich \u{1f980} \"x\"\n".repeat(2_000);
    for body in ["short", &text] {
        soon(client.send(destination, body.to_owned()).receipt())
            .await
            .unwrap();
        let message = soon(messages.next()).await.unwrap().unwrap();
        assert_eq!(message.text().unwrap(), body);
    }
    soon(client.disconnect()).await.unwrap();
    let end = soon(messages.next()).await;
    assert!(matches!(end, Some(Err(Error::Disconnected))), "{end:?}");
}

#[tokio::test]
async fn every_transport_carries_a_conversation() {
    let server = Server::start(SockJs::default()).await;
    let only = |transport| SockJs::default().websocket(false).transports([transport]);
    let streaming = Server::start(only(SockJsTransport::XhrStreaming)).await;
    let polling = Server::start(only(SockJsTransport::Xhr)).await;
    for url in [
        format!("stomp://{}", server.tcp),
        format!("ws://{}/", server.http),
        format!("http://{}/", server.http),
        format!("http://{}", streaming.http),
        format!("http://{}", polling.http),
    ] {
        let client = soon(Client::connect(&url)).await.unwrap();
        converse(client, "/topic/a").await;
    }
}

#[tokio::test]
async fn sockjs_tells_why_it_ends_and_takes_text_only() {
    let only = SockJs::default().websocket(false);
    let server = Server::start(only).await;
    let client = soon(Client::connect(format!("http://{}", server.http)))
        .await
        .unwrap();
    let error = soon(client.send("/topic/a", vec![0xff])).await.unwrap_err();
    assert!(matches!(error, Error::InvalidMessage { .. }), "{error:?}");
    assert!(client.ended().is_none());
    let mut messages = soon(client.subscribe("/topic/a")).await.unwrap();
    tokio::spawn({
        let messaging = server.messaging.clone();
        async move { messaging.drain(Duration::from_millis(10)).await }
    });
    let end = soon(messages.next()).await;
    assert!(
        matches!(&end, Some(Err(Error::ClosedByServer { code: Some(1012), reason })) if reason.starts_with("retry-after-ms=")),
        "{end:?}"
    );

    let error = soon(Client::connect(format!("http://{}/other", server.http)))
        .await
        .unwrap_err();
    assert!(
        matches!(error.cause(), Error::Handshake { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_raw_connection_is_stream_and_sink_by_every_transport() {
    let only = |transport| SockJs::default().websocket(false).transports([transport]);
    let text = "täglich \u{1f980} \"x\"\n".repeat(2_000);
    for (url, binary) in [
        (format!("ws://{}/", echo(SockJs::default()).await), true),
        (format!("http://{}/", echo(SockJs::default()).await), true),
        (
            format!("http://{}", echo(only(SockJsTransport::XhrStreaming)).await),
            false,
        ),
        (
            format!("http://{}", echo(only(SockJsTransport::Xhr)).await),
            false,
        ),
    ] {
        let mut socket = soon(Socket::connect(&url)).await.unwrap();
        for body in ["one", "", &text] {
            soon(socket.feed(body.into())).await.unwrap();
        }
        soon(socket.flush()).await.unwrap();
        for body in ["one", "", &text] {
            let message = soon(socket.next()).await.unwrap().unwrap();
            assert_eq!(message, SocketMessage::from(body), "{url}");
        }
        let sent = soon(socket.send(SocketMessage::Binary(vec![0xff].into()))).await;
        if binary {
            sent.unwrap();
            let message = soon(socket.next()).await.unwrap().unwrap();
            assert_eq!(message, SocketMessage::Binary(vec![0xff].into()));
        } else {
            let error = sent.unwrap_err();
            assert!(matches!(error, Error::InvalidMessage { .. }), "{error:?}");
        }
        soon(socket.close()).await.unwrap();
        assert!(soon(socket.next()).await.is_none(), "{url}");
        let error = soon(socket.send("late".into())).await.unwrap_err();
        assert!(matches!(error, Error::Disconnected), "{error:?}");
    }
}

#[tokio::test]
async fn the_server_ends_a_raw_connection_with_a_reason() {
    let only = SockJs::default().websocket(false);
    for url in [
        format!("ws://{}/", echo(SockJs::default()).await),
        format!("http://{}/", echo(only).await),
    ] {
        let mut socket = soon(Socket::connect(&url)).await.unwrap();
        soon(socket.send("leave".into())).await.unwrap();
        let end = soon(socket.next()).await;
        assert!(
            matches!(&end, Some(Err(Error::ClosedByServer { code: Some(4000), reason })) if reason == "as you wish"),
            "{url}: {end:?}"
        );
        assert!(soon(socket.next()).await.is_none());
    }
    let error = soon(Socket::connect("stomp://localhost"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
}

#[tokio::test]
async fn a_drained_server_says_when_to_come_back() {
    let server = Server::start(SockJs::default()).await;
    let connect = Client::connect(format!("ws://{}/", server.http));
    let client = soon(connect.reconnect(Reconnect::new().first(Duration::from_secs(3600)))).await;
    let client = client.unwrap();
    let mut states = client.states();
    soon(states.next()).await;
    tokio::spawn({
        let messaging = server.messaging.clone();
        async move { messaging.drain(Duration::from_millis(10)).await }
    });
    let Some(State::Reconnecting { after, .. }) = soon(states.next()).await else {
        panic!("it does not connect again")
    };
    assert!(
        after <= Duration::from_secs(1),
        "the server's window is a second: {after:?}"
    );
}

#[cfg(feature = "tls")]
mod tls {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
    };
    use tokio_rustls::TlsAcceptor;
    use tramline_client::Tls;

    use super::*;

    struct Identity {
        certificate: CertificateDer<'static>,
        key: Vec<u8>,
    }

    impl Identity {
        fn new() -> Self {
            let names = vec!["localhost".to_owned()];
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            Self {
                certificate: made.cert.der().clone(),
                key: made.signing_key.serialize_der(),
            }
        }

        fn pem(label: &str, der: &[u8]) -> String {
            let text = BASE64_STANDARD.encode(der);
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        }

        fn certificate(&self) -> String {
            Self::pem("CERTIFICATE", &self.certificate)
        }

        fn key(&self) -> String {
            Self::pem("PRIVATE KEY", &self.key)
        }
    }

    /// Ends TLS in front of a server; returns the port. With `client`, it asks for that certificate.
    async fn ends_tls(to: SocketAddr, server: &Identity, client: Option<&Identity>) -> u16 {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.certificate.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(server.key.clone()).unwrap();
        let config = builder
            .with_single_cert(vec![server.certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(mut near) = acceptor.accept(stream).await
                        && let Ok(mut far) = TcpStream::connect(to).await
                    {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn carries_stomp_websocket_and_sockjs() {
        let server = Server::start(SockJs::default()).await;
        let identity = Identity::new();
        let tcp = ends_tls(server.tcp, &identity, None).await;
        let http = ends_tls(server.http, &identity, None).await;
        for url in [
            format!("stomps://localhost:{tcp}"),
            format!("wss://localhost:{http}/"),
            format!("https://localhost:{http}/"),
        ] {
            let tls = Tls::with_roots(identity.certificate());
            let client = soon(Client::connect(&url).tls(tls)).await.unwrap();
            converse(client, "/topic/a").await;
        }
    }

    #[tokio::test]
    async fn refuses_servers_that_nobody_vouches_for() {
        let server = Server::start(SockJs::default()).await;
        let identity = Identity::new();
        let port = ends_tls(server.tcp, &identity, None).await;
        let tls = Tls::with_roots(Identity::new().certificate());
        let error = soon(Client::connect(format!("stomps://localhost:{port}")).tls(tls)).await;
        let error = error.unwrap_err();
        assert!(matches!(error.cause(), Error::Io(_)), "{error:?}");
        let begin = format!("cannot connect to stomps://localhost:{port}: ");
        assert!(error.to_string().starts_with(&begin), "{error}");

        // The certificate names the host, not its address.
        let tls = Tls::with_roots(identity.certificate());
        let error = soon(Client::connect(format!("stomps://127.0.0.1:{port}")).tls(tls)).await;
        assert!(matches!(error.unwrap_err().cause(), Error::Io(_)));
    }

    #[tokio::test]
    async fn shows_our_certificate_to_who_asks() {
        let server = Server::start(SockJs::default()).await;
        let (theirs, ours) = (Identity::new(), Identity::new());
        let port = ends_tls(server.tcp, &theirs, Some(&ours)).await;
        let url = format!("stomps://localhost:{port}");
        let tls = Tls::with_roots(theirs.certificate());
        assert!(soon(Client::connect(&url).tls(tls.clone())).await.is_err());
        let tls = tls.client_certificate(ours.certificate(), ours.key());
        let client = soon(Client::connect(&url).tls(tls)).await.unwrap();
        converse(client, "/topic/a").await;
    }
}

/// A cable in front of a server, which can be cut.
struct Cable {
    address: SocketAddr,
    cut: watch::Sender<u64>,
}

impl Cable {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, _) = watch::channel(0);
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cut = cuts.subscribe();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, cut }
    }

    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

/// Nothing is lost when the cable is cut in the middle of the work: every message is processed at least once.
#[tokio::test]
async fn a_pipeline_outlives_a_cut_cable() {
    let server = Server::start(SockJs::default()).await;
    let cable = Cable::to(server.tcp).await;
    let connect = Client::connect(format!("stomp://{}", cable.address));
    let reconnect = Reconnect::new().first(Duration::from_millis(20));
    let client = soon(connect.reconnect(reconnect)).await.unwrap();
    let jobs = client
        .subscribe("/queue/jobs")
        .ack(AckMode::ClientIndividual)
        .prefetch(10);
    let jobs = soon(jobs).await.unwrap();

    let producer = soon(Client::connect(format!("stomp://{}", server.tcp)))
        .await
        .unwrap();
    let mut sink = producer.sink("/queue/jobs").window(10);
    for n in 0..300 {
        soon(sink.feed(Outgoing::from(n.to_string())))
            .await
            .unwrap();
    }
    soon(sink.close()).await.unwrap();

    let (seen, mut arrivals) = mpsc::unbounded_channel();
    let (stop, mut stopped) = watch::channel(false);
    let processing = jobs
        .process(move |job| {
            let sent = seen.send(job.text().unwrap().parse::<u32>().unwrap());
            async move { Ok(sent?) }
        })
        .concurrency(4)
        .until(async move {
            let _ = stopped.changed().await;
        });
    let processing = tokio::spawn(processing.into_future());
    let mut missing: std::collections::HashSet<u32> = (0..300).collect();
    while !missing.is_empty() {
        let n = soon(arrivals.recv()).await.unwrap();
        missing.remove(&n);
        if n % 100 == 50 {
            cable.cut();
        }
    }
    stop.send_replace(true);
    let processed = soon(processing).await.unwrap().unwrap();
    assert!(processed.done >= 300, "{processed:?}");
    assert_eq!(processed.failed, 0);
    soon(client.disconnect()).await.unwrap();
}

#[tokio::test]
async fn what_a_handler_refuses_goes_to_the_error_channel_and_comes_again() {
    let server = Server::start(SockJs::default()).await;
    let client = soon(Client::connect(format!("stomp://{}", server.tcp)))
        .await
        .unwrap();
    let jobs = client
        .subscribe("/queue/jobs")
        .ack(AckMode::ClientIndividual);
    let jobs = soon(jobs).await.unwrap();
    for body in ["good", "bad", "worse"] {
        soon(client.send("/queue/jobs", body).receipt())
            .await
            .unwrap();
    }
    let (errors, mut failed) = mpsc::channel(8);
    let (stop, mut stopped) = watch::channel(false);
    let attempts = Arc::new(AtomicU64::new(0));
    let counted = attempts.clone();
    let processing = jobs
        .process(move |job| {
            let first = job.text().unwrap() == "good" || job.redelivered();
            if job.text().unwrap() == "worse" && !first {
                panic!("on purpose");
            }
            counted.fetch_add(1, Ordering::Relaxed);
            async move { if first { Ok(()) } else { Err("not yet".into()) } }
        })
        .errors(errors)
        .until(async move {
            let _ = stopped.changed().await;
        });
    let processing = tokio::spawn(processing.into_future());
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let one = soon(failed.recv()).await.unwrap();
        bodies.push(one.messages[0].text().unwrap().to_owned());
    }
    bodies.sort();
    assert_eq!(bodies, ["bad", "worse"]);
    // good, bad, and both again; the first attempt at `worse` panicked.
    while attempts.load(Ordering::Relaxed) < 4 {
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    let processed = soon(processing).await.unwrap().unwrap();
    assert_eq!((processed.done, processed.failed), (3, 2));
}

#[tokio::test]
async fn batches_are_acknowledged_as_one() {
    let server = Server::start(SockJs::default()).await;
    let client = soon(Client::connect(format!("stomp://{}", server.tcp)))
        .await
        .unwrap();
    for n in 0..25 {
        soon(client.send("/queue/rows", n.to_string()).receipt())
            .await
            .unwrap();
    }
    let rows = client.subscribe("/queue/rows").ack(AckMode::Client);
    let rows = soon(rows).await.unwrap();
    let (sizes, mut batches) = mpsc::unbounded_channel();
    let (stop, mut stopped) = watch::channel(false);
    let processing = rows
        .process_batches(10, Duration::from_millis(20), move |batch| {
            let sent = sizes.send(batch.len());
            async move { Ok(sent?) }
        })
        .until(async move {
            let _ = stopped.changed().await;
        });
    let processing = tokio::spawn(processing.into_future());
    let mut count = 0;
    while count < 25 {
        let size = soon(batches.recv()).await.unwrap();
        assert!(size <= 10);
        count += size;
    }
    stop.send_replace(true);
    assert_eq!(soon(processing).await.unwrap().unwrap().done, 25);

    let rest = soon(client.subscribe("/queue/rows")).await.unwrap();
    soon(client.send("/queue/rows", "last").receipt())
        .await
        .unwrap();
    let mut rest = rest.map(|row| row.unwrap().body);
    assert_eq!(
        soon(rest.next()).await.unwrap(),
        "last",
        "all others are acknowledged"
    );
}

#[tokio::test]
async fn requests_transactions_and_the_server_agree() {
    let server = Server::start(SockJs::default()).await;
    let url = format!("stomp://{}", server.tcp);
    let (asker, answerer) = soon(async {
        tokio::join!(
            Client::connect(&url).into_future(),
            Client::connect(&url).into_future()
        )
    })
    .await;
    let (asker, answerer) = (asker.unwrap(), answerer.unwrap());
    let mut questions = soon(answerer.subscribe("/queue/questions")).await.unwrap();
    let answering = async {
        let question = questions.next().await.unwrap().unwrap();
        let body = format!("{}!", question.text().unwrap());
        answerer.reply(&question, body).unwrap().await.unwrap();
    };
    let asking = asker
        .request("/queue/questions", "why")
        .reply_to("/queue/answers");
    let (answer, ()) = soon(async { tokio::join!(asking, answering) }).await;
    assert_eq!(answer.unwrap().text().unwrap(), "why!");

    let mut done = soon(answerer.subscribe("/queue/done")).await.unwrap();
    let aborted = soon(asker.begin()).await.unwrap();
    soon(aborted.send("/queue/done", "never")).await.unwrap();
    soon(aborted.abort()).await.unwrap();
    let committed = soon(asker.begin()).await.unwrap();
    soon(committed.send("/queue/done", "once")).await.unwrap();
    soon(committed.commit()).await.unwrap();
    assert_eq!(soon(done.next()).await.unwrap().unwrap().body, "once");
}
