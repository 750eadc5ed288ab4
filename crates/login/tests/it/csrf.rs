//! Requests and sockets that pages of other sites make, with their visitors' cookies.

use crate::support::{PASSWORD, Site, connect};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn a_request_that_changes_something_needs_the_token() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    let token = ada.token().await;
    assert_ne!(token, ada.token().await, "masked, each time otherwise");

    let answer = ada
        .ask("POST", "/orders", &[("x-csrf-token", &token)], "7")
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "taken: 7"));
    let body = format!("of=tea&_csrf={}", token.replace('=', "%3D"));
    let answer = ada.ask("POST", "/orders", &[FORM], &body).await;
    assert_eq!(
        (answer.status, answer.body),
        (200, format!("taken: {body}"))
    );

    for (headers, body) in [
        (vec![], "7"),
        (vec![FORM], "of=tea"),
        (vec![FORM], "of=tea&_csrf=AAAA"),
        (vec![("x-csrf-token", "")], "7"),
    ] {
        let answer = ada.ask("POST", "/orders", &headers, body).await;
        assert_eq!(answer.status, 403, "{headers:?} {body}");
        assert!(
            answer.body.contains("no valid CSRF token"),
            "{}",
            answer.body
        );
    }
    let large = "x".repeat(70_000);
    assert_eq!(
        ada.ask("POST", "/orders", &[FORM], &large).await.status,
        413
    );
    assert_eq!(
        ada.whoami().await.as_deref(),
        Some("ada"),
        "nothing has happened"
    );
}

/// The attacker has a token: of the attacker's own login, or one that the visitor had before.
#[tokio::test]
async fn attack_csrf_with_a_stolen_token() {
    let site = Site::start().await;
    let mut attacker = site.logged_in("ben").await;
    let mut victim = site.browser();
    let before = victim.token().await;
    victim.log_in("ada", PASSWORD, "/").await;
    let old = victim.token().await;
    victim.log_out().await;
    victim.log_in("ada", PASSWORD, "/").await;
    for stolen in [attacker.token().await, before, old] {
        let answer = victim
            .ask("POST", "/orders", &[("x-csrf-token", &stolen)], "7")
            .await;
        assert_eq!(answer.status, 403);
        let mut socket = victim.socket("/ws", &[]).await.unwrap();
        socket.send(&connect(&stolen)).await;
        let error = socket.next().await;
        assert!(
            error.starts_with("ERROR") && error.contains("is not that of this login"),
            "{error}"
        );
        assert_eq!(socket.closed().await.0, 1002);
    }
}

#[tokio::test]
async fn attack_csrf_without_a_token_in_connect() {
    let site = Site::start().await;
    let ada = site.logged_in("ada").await;
    let mut socket = ada.socket("/ws", &[]).await.unwrap();
    socket
        .send("CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        .await;
    let error = socket.next().await;
    assert!(
        error.starts_with("ERROR") && error.contains("CONNECT has no header X-CSRF-TOKEN"),
        "{error}"
    );
    assert_eq!(socket.closed().await.0, 1002);
    assert!(site.messaging.registry().sessions().is_empty());
}

/// A page of another site opens a WebSocket; the browser adds the cookie.
#[tokio::test]
async fn attack_cross_site_websocket() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(ada.socket("/ws", &foreign).await.err(), Some(403));
    assert_eq!(ada.socket("/ws/websocket", &foreign).await.err(), Some(403));
    assert_eq!(ada.ask("GET", "/ws/info", &foreign, "").await.status, 403);
    assert_eq!(
        ada.ask("POST", "/ws/0/x/xhr", &foreign, "").await.status,
        403
    );
    let own = format!("http://{}", site.address);
    assert!(ada.socket("/ws", &[("origin", &own)]).await.is_ok());
}

/// A page of another site logs its visitor in as the attacker, or out.
#[tokio::test]
async fn attack_login_csrf() {
    let site = Site::start().await;
    let mut attacker = site.browser();
    let token = attacker.token().await;
    let body = format!(
        "name=ben&password={}&_csrf={token}",
        PASSWORD.replace(' ', "+")
    );

    // The visitor's browser has no cookie for the token, or one of its own.
    let mut victim = site.browser();
    assert_eq!(
        victim.ask("POST", "/login", &[FORM], &body).await.status,
        403
    );
    victim.token().await;
    assert_eq!(
        victim.ask("POST", "/login", &[FORM], &body).await.status,
        403
    );
    // Even where the attacker could plant the cookie: the browser says where the form was.
    victim.cookies = attacker.cookies.clone();
    for from in [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ] {
        assert_eq!(
            victim
                .ask("POST", "/login", &[FORM, from], &body)
                .await
                .status,
            403
        );
    }
    assert_eq!(victim.whoami().await, None);

    let mut ada = site.logged_in("ada").await;
    assert_eq!(ada.ask("POST", "/logout", &[FORM], "").await.status, 403);
    assert_eq!(
        ada.get("/logout").await.status,
        405,
        "a link does not log out"
    );
    assert_eq!(ada.whoami().await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn switched_off_no_token_is_needed_but_the_origin_still_counts() {
    let site = Site::with(tramline_login::LoginBuilder::without_csrf_tokens).await;
    let mut ada = site.browser();
    let body = format!("name=ada&password={}", PASSWORD.replace(' ', "+"));
    assert_eq!(ada.ask("POST", "/login", &[FORM], &body).await.status, 204);
    assert_eq!(ada.ask("POST", "/orders", &[], "7").await.status, 200);
    assert_eq!(
        ada.ask("POST", "/orders", &[("sec-fetch-site", "cross-site")], "7")
            .await
            .status,
        403
    );
    let mut socket = ada.socket("/ws", &[]).await.unwrap();
    socket
        .send("CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        .await;
    assert!(socket.next().await.starts_with("CONNECTED"));
}
