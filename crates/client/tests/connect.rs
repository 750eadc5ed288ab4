//! Starts of sessions, successful and failed.

mod common;

use std::time::Duration;

use common::{Server, head, header, now, soon, websocket};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    net::TcpListener,
};
use tramline_client::{Client, Connect, Error, ProtocolError, Version};
use tramline_stomp::{ErrorReply, ServerEvent};

#[tokio::test]
async fn over_a_socket_with_login_and_headers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = Client::connect(format!("ws://{address}/ws"))
        .login("ann", "secret")
        .header("room", "7")
        .heart_beat(Duration::ZERO, Duration::from_millis(1500));
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = Server::websocket(stream).await;
        let Some(ServerEvent::Connect(frame)) = server.event().await else {
            panic!("not CONNECT")
        };
        server.stomp.accept(Some("ann"), Some("s1"), now());
        server.flush().await;
        (server, frame)
    };
    let (client, (server, frame)) = soon(async { tokio::join!(connect, serve) }).await;
    let client = client.unwrap();
    assert_eq!(frame.login.as_deref(), Some("ann"));
    assert_eq!(frame.passcode.as_deref(), Some("secret"));
    assert_eq!(frame.host.as_deref(), Some("127.0.0.1"));
    assert_eq!(frame.headers.get("room"), Some("7"));
    assert_eq!(frame.headers.get("heart-beat"), Some("0,1500"));
    assert_eq!(client.connected().version, Version::V1_2);
    assert_eq!(client.connected().user_name.as_deref(), Some("ann"));
    assert_eq!(client.connected().session.as_deref(), Some("s1"));
    assert!(client.ended().is_none());

    let (left, ()) = soon(async { tokio::join!(client.disconnect(), server.disconnected()) }).await;
    left.unwrap();
    assert!(matches!(client.ended(), Some(Error::Disconnected)));
}

#[tokio::test]
async fn the_request_is_a_websocket_handshake() {
    let (connect, mut far) = websocket();
    let connect = connect
        .versions([Version::V1_1, Version::V1_2])
        .http_header("Authorization", "Bearer xyz");
    let (_, request) = soon(async {
        tokio::join!(connect, async {
            let request = head(&mut far).await;
            drop(far);
            request
        })
    })
    .await;
    assert!(request.starts_with("GET /ws?a=b HTTP/1.1\r\n"), "{request}");
    for (name, value) in [
        ("host", "tramline.test"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "v11.stomp, v12.stomp"),
        ("authorization", "Bearer xyz"),
    ] {
        assert_eq!(header(&request, name), value);
    }
    let key = header(&request, "sec-websocket-key");
    assert!(tramline_websocket::is_valid_key(key));
}

#[tokio::test]
async fn a_refusal_carries_status_and_a_bounded_body() {
    let body = "x".repeat(10_000);
    let error = answered(&format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 10000\r\n\r\n{body}"
    ))
    .await;
    let Error::Handshake { status, body } = error.cause() else {
        panic!("{error:?}")
    };
    assert_eq!((*status, body.len()), (403, 4096));

    let error = answered("HTTP/1.1 403 Forbidden\r\nContent-Length: 11\r\n\r\nnot allowed").await;
    assert!(
        error.to_string().ends_with("status 403: not allowed"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_is_no_handshake_is_the_servers_fault() {
    for (answer, reason) in [
        (
            "HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
            "another protocol",
        ),
        (
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "our key",
        ),
        (
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
            "sub-protocol",
        ),
        (
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Extensions: x\r\n\r\n",
            "extension",
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "wrong"),
    ] {
        let error = answered(answer).await;
        assert!(
            matches!(
                error.cause(),
                Error::Protocol(ProtocolError::Handshake { .. })
            ),
            "{answer}: {error:?}"
        );
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_is_an_io_error() {
    let error = answered("").await;
    assert!(matches!(error.cause(), Error::Io(_)), "{error:?}");
}

#[tokio::test]
async fn the_server_refuses_the_session() {
    let (connect, far) = websocket();
    let serve = async {
        let mut server = Server::websocket(far).await;
        server.event().await.unwrap();
        let error = ErrorReply::new("bad credentials").detail("who are you?");
        server.stomp.refuse(error);
        server.flush().await;
        server
    };
    let (client, _server) = soon(async { tokio::join!(connect, serve) }).await;
    let error = client.unwrap_err();
    let Error::ServerError { message, body } = error.cause() else {
        panic!("{error:?}")
    };
    assert_eq!((&**message, &**body), ("bad credentials", "who are you?"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let (connect, _far) = websocket();
    let error = connect.await.unwrap_err();
    assert!(
        matches!(error.cause(), Error::Timeout { after, .. } if *after == Duration::from_secs(10)),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_not_tried() {
    for connect in [
        Client::connect("ftp://example/ws"),
        Client::connect("ws://example/ws").http_header("Upgrade", "h2c"),
    ] {
        let error = connect.await.unwrap_err();
        assert!(matches!(error, Error::InvalidRequest { .. }), "{error:?}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let connect = Client::connect("ws://example/?token=secret")
        .login("ann", "secret")
        .http_header("authorization", "secret");
    let shown = format!("{connect:?}");
    assert!(
        !shown.contains("secret") && shown.contains("authorization"),
        "{shown}"
    );
}

/// Returns the error of a client whose handshake gets this answer. ACCEPT stands for the right key.
async fn answered(answer: &str) -> Error {
    let (connect, far): (Connect, DuplexStream) = websocket();
    let serve = async {
        let mut far = far;
        let request = head(&mut far).await;
        let accept = tramline_websocket::accept_key(header(&request, "sec-websocket-key"));
        let answer = answer.replace("ACCEPT", &accept);
        // The client may close before it has read everything.
        let _ = far.write_all(answer.as_bytes()).await;
    };
    let (client, ()) = soon(async { tokio::join!(connect, serve) }).await;
    client.unwrap_err()
}
