//! What visitors see: the form, its answers, and where they go.

use crate::support::{PASSWORD, Site};

#[tokio::test]
async fn a_closed_page_leads_to_the_form_and_the_form_back_to_it() {
    let site = Site::start().await;
    let mut ada = site.browser();
    assert_eq!(ada.visit("/").await.body, "welcome");
    let answer = ada.visit("/whoami?x=1").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/login?next=/whoami%3Fx%3D1"))
    );

    let page = ada.visit("/login?next=/whoami%3Fx%3D1").await;
    assert_eq!(
        (page.status, page.header("cache-control")),
        (200, Some("no-store"))
    );
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| policy.contains("frame-ancestors 'none'"))
    );
    let (_, token) = page.body.split_once("name=\"_csrf\" value=\"").unwrap();
    let token = token.split('"').next().unwrap().to_owned();
    let (_, next) = page.body.split_once("name=\"next\" value=\"").unwrap();
    let next = next.split('"').next().unwrap().to_owned();
    let fields = [
        ("name", " ADA "),
        ("password", PASSWORD),
        ("_csrf", &*token),
        ("next", &*next),
    ];
    let answer = ada.submit("/login", &fields).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/whoami?x=1"))
    );
    assert_eq!(ada.whoami().await.as_deref(), Some("ada"));
    assert_eq!(
        ada.get("/whoami").await.header("cache-control"),
        Some("no-store")
    );

    let answer = ada.log_out().await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/login?out"))
    );
    assert_eq!(ada.whoami().await, None);
    assert!(!ada.cookies.contains_key("session"), "{:?}", ada.cookies);
    assert!(
        ada.visit("/login?out")
            .await
            .body
            .contains("You have logged out.")
    );
}

#[tokio::test]
async fn scripts_and_programs_get_statuses_and_texts() {
    let site = Site::start().await;
    let mut script = site.browser();
    let answer = script.get("/whoami").await;
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, None)
    );
    assert_eq!(script.get("/ws/info").await.status, 401);
    assert_eq!(script.socket("/ws", &[]).await.err(), Some(401));

    let token = script.token().await;
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-csrf-token", &*token),
    ];
    let answer = script
        .ask("POST", "/login", &form, "name=ada&password=wrong")
        .await;
    assert_eq!(
        (answer.status, answer.body.trim()),
        (401, "The name or the password is wrong.")
    );
    let right = format!("name=ada&password={}", PASSWORD.replace(' ', "+"));
    let answer = script.ask("POST", "/login", &form, &right).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(script.whoami().await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn the_cookie_is_not_for_scripts_nor_for_other_sites() {
    for (site, secure) in [
        (Site::start().await, true),
        (
            Site::with(tramline_login::LoginBuilder::plain_http).await,
            false,
        ),
    ] {
        let mut ada = site.browser();
        let answer = ada.log_in("ada", PASSWORD, "/").await;
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.starts_with("session="), "{cookie}");
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert_eq!(cookie.contains("Secure"), secure, "{cookie}");
        assert!(
            !cookie.contains("Max-Age") && !cookie.contains("Expires"),
            "{cookie}"
        );
    }
}

/// An attacker gives the visitor a session whose id the attacker knows, and waits for the login.
#[tokio::test]
async fn attack_session_fixation() {
    let site = Site::start().await;
    let mut attacker = site.logged_in("ben").await;
    let mut victim = site.browser();
    let planted = attacker.cookies["session"].clone();
    victim.cookies.insert("session".to_owned(), planted.clone());
    let answer = victim.log_in("ada", PASSWORD, "/").await;
    assert_eq!(answer.status, 303);
    assert_ne!(victim.cookies["session"], planted);
    assert_eq!(victim.whoami().await.as_deref(), Some("ada"));
    // The session that the attacker knows has ended, whoever it was of.
    assert_eq!(attacker.whoami().await, None);

    let mut victim = site.browser();
    let invented = "AAAAAAAAAAAAAAAAAAAAAA";
    victim
        .cookies
        .insert("session".to_owned(), invented.to_owned());
    victim.log_in("ada", PASSWORD, "/").await;
    assert_ne!(victim.cookies["session"], invented);
}

#[tokio::test]
async fn attack_open_redirect() {
    let site = Site::start().await;
    for next in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "\thttps://evil.example",
        "/\r\nlocation: https://evil.example",
        "javascript:alert(1)",
    ] {
        let mut ada = site.browser();
        let answer = ada.log_in("ada", PASSWORD, next).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some("/")),
            "{next:?}"
        );
    }
    let page = site.browser().visit("/login?next=//evil.example").await;
    assert!(!page.body.contains("evil.example"), "{}", page.body);
}

#[tokio::test]
async fn what_was_typed_is_shown_as_text() {
    let site = Site::start().await;
    let answer = site
        .browser()
        .log_in("\"><script>alert(1)</script>", "x", "/")
        .await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.body.contains("The name or the password is wrong.")
            && !answer.body.contains("<script")
    );
    assert!(!answer.body.contains("value=\"x\""), "never a password");
}

#[tokio::test]
async fn a_page_by_plain_http_is_told_that_the_login_needs_https() {
    let site = Site::start().await;
    let mut ada = site.browser();
    let token = ada.token().await;
    let form = [
        ("accept", "text/html"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("sec-fetch-site", "same-origin"),
        ("origin", "http://intranet"),
        ("x-csrf-token", &*token),
    ];
    let answer = ada
        .ask("POST", "/login", &form, "name=ada&password=x")
        .await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.body.contains("the login needs https"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn programs_log_in_by_http_basic_where_it_is_on() {
    let ada = "Basic YWRhOmNvcnJlY3QgaG9yc2U=";
    let off = Site::start().await;
    assert_eq!(
        off.browser()
            .ask("GET", "/whoami", &[("authorization", ada)], "")
            .await
            .status,
        401
    );

    let site = Site::with(|login| login.http_basic("orders")).await;
    let mut program = site.browser();
    let answer = program
        .ask("GET", "/whoami", &[("authorization", ada)], "")
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ada"));
    assert!(program.cookies.is_empty(), "no web session");
    let answer = program
        .ask("POST", "/orders", &[("authorization", ada)], "7")
        .await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "taken: 7"));
    let answer = program
        .ask("GET", "/whoami", &[("authorization", "Basic YWRhOng=")], "")
        .await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Basic realm=\"orders\", charset=\"UTF-8\"")
    );
    // A browser that sends such credentials by itself, made to by a page of another site.
    let forged = [("authorization", ada), ("sec-fetch-site", "cross-site")];
    assert_eq!(
        program.ask("POST", "/orders", &forged, "7").await.status,
        403
    );
    // To people the form is shown, not the browser's own question.
    assert_eq!(program.visit("/whoami").await.status, 303);
}

#[tokio::test]
async fn pages_have_security_headers_and_sockets_their_own() {
    let site = Site::start().await;
    let page = site.browser().visit("/").await;
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"));
    assert!(page.header("strict-transport-security").is_some());
    let info = site.logged_in("ada").await.get("/ws/info").await;
    assert_eq!((info.status, info.header("x-frame-options")), (200, None));
}
