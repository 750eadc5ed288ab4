//! The life of a web session is the life of its sockets.

use crate::support::{Browser, Site, Stream, connect};

/// A STOMP session by SockJS over HTTP, and the stream or poll in which its end will come.
async fn sockjs(browser: &mut Browser, transport: &str) -> Stream {
    let token = browser.token().await;
    let session = format!("/ws/000/{transport}");
    let path = format!("{session}/{transport}");
    let method = if transport == "eventsource" {
        "GET"
    } else {
        "POST"
    };
    let mut stream = browser.stream(method, &path).await;
    // Polling answers the opening at once, and each message in an answer of its own.
    let opened = if transport == "eventsource" {
        "data: o\r\n"
    } else {
        "o\n"
    };
    stream.expect(opened).await;
    let frame = serde_json::to_string(&[connect(&token)]).unwrap();
    let sent = browser
        .ask("POST", &format!("{session}/xhr_send"), &[], &frame)
        .await;
    assert_eq!(sent.status, 204, "{sent:?}");
    if transport == "xhr" {
        browser
            .stream(method, &path)
            .await
            .expect("CONNECTED")
            .await;
        return browser.stream(method, &path).await;
    }
    stream.expect("CONNECTED").await;
    stream
}

#[tokio::test]
async fn a_logout_closes_the_sockets_on_every_transport() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    let mut other = site.logged_in("ada").await;
    let mut elsewhere = other.stomp().await;

    let mut plain = ada.stomp().await;
    let token = ada.token().await;
    let mut framed = ada.socket("/ws/000/framed/websocket", &[]).await.unwrap();
    assert_eq!(framed.next().await, "o");
    framed
        .send(&serde_json::to_string(&[connect(&token)]).unwrap())
        .await;
    assert!(framed.next().await.contains("CONNECTED"));
    let mut streams = Vec::new();
    for transport in ["xhr", "xhr_streaming", "eventsource"] {
        streams.push(sockjs(&mut ada, transport).await);
    }
    assert_eq!(site.messaging.registry().sessions().len(), 6);

    assert_eq!(ada.log_out().await.status, 303);
    let end = (1008, "you have logged out".to_owned());
    assert_eq!(plain.closed().await, end);
    assert_eq!(framed.next().await, "c[1008,\"you have logged out\"]");
    for stream in &mut streams {
        stream.expect("c[1008,\"you have logged out\"]").await;
    }
    // Another login of the same user goes on.
    elsewhere
        .send("SEND\ndestination:/app/say\nreceipt:1\n\nstill here\0")
        .await;
    assert!(elsewhere.next().await.starts_with("RECEIPT"));
    assert_eq!(site.messaging.registry().sessions().len(), 1);
}

/// Opened before the logout, used after it.
#[tokio::test]
async fn a_socket_that_is_being_opened_ends_too() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    let token = ada.token().await;
    let mut early = ada.socket("/ws", &[]).await.unwrap();
    let cookies = ada.cookies.clone();
    ada.log_out().await;
    early.send(&connect(&token)).await;
    let error = early.next().await;
    assert!(
        error.starts_with("ERROR") && error.contains("you have logged out"),
        "{error}"
    );
    // Whoever has kept the cookie has nothing.
    ada.cookies = cookies;
    assert_eq!(ada.socket("/ws", &[]).await.err(), Some(401));
    assert_eq!(ada.whoami().await, None);
}

#[tokio::test]
async fn a_changed_password_ends_all_that_the_old_one_opened() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    let mut phone = site.logged_in("ada").await;
    let mut ben = site.logged_in("ben").await;
    let mut sockets = [ada.stomp().await, phone.stomp().await];
    let mut bens = ben.stomp().await;

    site.users.set_password("ada", "another").unwrap();
    let closed = site
        .login
        .revoke_user("ADA", "your password was changed")
        .await;
    assert_eq!(closed.unwrap(), 2);
    for socket in &mut sockets {
        assert_eq!(
            socket.closed().await,
            (1008, "your password was changed".to_owned())
        );
    }
    assert_eq!((ada.whoami().await, phone.whoami().await), (None, None));
    bens.send("SEND\ndestination:/app/say\nreceipt:1\n\nhello\0")
        .await;
    assert!(bens.next().await.starts_with("RECEIPT"));
    assert_eq!(ada.log_in("ada", "another", "/").await.status, 303);
    assert_eq!(ada.whoami().await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_revoked_user_has_to_log_in_again() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    assert_eq!(
        site.login.revoke_user("ada", "stop").await.unwrap(),
        0,
        "no socket is open"
    );
    assert_eq!(ada.whoami().await, None);
    let mut ada = site.logged_in("ada").await;
    assert_eq!(ada.whoami().await.as_deref(), Some("ada"));
    // Without `revoke_user`, a removed user is none from the next request on.
    site.users.remove("ada");
    assert_eq!(ada.whoami().await, None);
}

#[tokio::test]
async fn one_web_session_is_revoked_alone() {
    let site = Site::start().await;
    let mut here = site.logged_in("ada").await;
    let mut there = site.logged_in("ada").await;
    let mut socket = here.stomp().await;
    let sessions = site.messaging.registry().sessions();
    let web = sessions[0]
        .handshake()
        .extension::<tramline_login::WebSession>()
        .unwrap();
    assert_eq!((web.user(), web.has_ended()), ("ada", false));
    assert_eq!(site.login.revoke(web, "moderated").await, 1);
    assert!(web.has_ended());
    assert_eq!(socket.closed().await, (1008, "moderated".to_owned()));
    assert_eq!(
        (here.whoami().await, there.whoami().await.as_deref()),
        (None, Some("ada"))
    );
}
