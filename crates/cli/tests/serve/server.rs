//! The running server: clients, back ends, signals.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tramline_client::{Client, Tls};

use crate::support::{Folder, Served, http, texts, tramline};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Users, rules, and HTTP for back ends.
const SERVER: &str = r#"
[web]
listen = "127.0.0.1:0"

[stomp]
listen = "127.0.0.1:0"

[back_end]
listen = "127.0.0.1:0"
key_file = "key"

[users]
file = "users"

[[rule]]
on = "connect"
allow = "authenticated"

[[rule]]
on = ["send", "subscribe"]
pattern = "/topic/users/{user}"
captures = { user = "name" }

[[rule]]
on = "subscribe"
pattern = ["/topic/**", "/user/queue/**", "/queue/**"]
allow = "authenticated"

[[rule]]
on = "send"
pattern = "/topic/**"
roles = ["staff"]
"#;

/// A line for the file of users.
fn user(name: &str, password: &str, roles: &str) -> String {
    let mut made = tramline(&["user", name, "--roles", roles])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = made.stdin.take().unwrap();
    writeln!(input, "{password}").unwrap();
    drop(input);
    let (code, line, _) = texts(made.wait_with_output().unwrap());
    assert_eq!(code, Some(0));
    assert!(line.starts_with(&format!("{name}:$argon2id$")), "{line}");
    assert!(!line.contains(password));
    line
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("key", &format!("{KEY}\n"));
    let users = user("ada", "ada's password", "staff") + &user("ben", "ben's password", "");
    folder.write("users", &users);
    folder
}

struct Urls {
    web: String,
    stomp: String,
    back_end: String,
}

fn start() -> (Served, Urls) {
    let mut server = Served::start(folder(), SERVER);
    let web = server.url("WebSocket and SockJS at ");
    let stomp = server.url("STOMP at ");
    let back_end = server.url("back ends at ");
    let urls = Urls {
        web,
        stomp,
        back_end,
    };
    (server, urls)
}

async fn connect(url: &str, name: &str) -> Client {
    let login = Client::connect(url).login(name, format!("{name}'s password"));
    login.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_all_kinds_and_a_back_end() {
    let (_server, urls) = start();
    let websocket = urls.web.replace("http://", "ws://");
    let mut subscriptions = Vec::new();
    let mut clients = Vec::new();
    for url in [&websocket, &urls.web, &urls.stomp] {
        let client = connect(url, "ben").await;
        subscriptions.push(client.subscribe("/topic/news").await.unwrap());
        subscriptions.push(client.subscribe("/user/queue/letters").await.unwrap());
        clients.push(client);
    }
    let messages = json!([
        { "destination": "/topic/news", "body": "to all", "headers": { "n": "1" } },
        { "destination": "/queue/letters", "user": "ben", "json": { "to": "ben" } },
    ]);
    let answer = http(
        &urls.back_end,
        "POST /publish",
        Some(KEY),
        &messages.to_string(),
    );
    assert_eq!(answer.body, json!({ "published": 2, "receivers": 6 }));
    for pair in subscriptions.chunks_mut(2) {
        let news = pair[0].next().await.unwrap().unwrap();
        assert_eq!(
            (news.text().unwrap(), news.headers.get("n")),
            ("to all", Some("1"))
        );
        let letter = pair[1].next().await.unwrap().unwrap();
        assert_eq!(letter.text().unwrap(), r#"{"to":"ben"}"#);
        assert_eq!(letter.content_type(), Some("application/json"));
    }

    let all = http(
        &urls.back_end,
        "GET /sessions?user=ben&limit=1",
        Some(KEY),
        "",
    );
    assert_eq!(all.body["total"], 3);
    assert_eq!(all.body["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(all.body["sessions"][0]["user"], "ben");
    let gone = http(
        &urls.back_end,
        "POST /disconnect",
        Some(KEY),
        r#"{"user":"ben","reason":"bye"}"#,
    );
    assert_eq!(gone.body, json!({ "closed": 3 }));
    for mut subscription in subscriptions {
        while let Some(Ok(_)) = subscription.next().await {}
    }
    let metrics = http(&urls.back_end, "GET /metrics", Some(KEY), "");
    let text = metrics.body.as_str().unwrap();
    assert!(text.contains("tramline_sessions_opened_total"), "{text}");
    for path in ["GET /health", "GET /ready"] {
        assert_eq!(http(&urls.back_end, path, None, "").status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_decide_and_passwords_count() {
    let (_server, urls) = start();
    for (name, password) in [("ben", "wrong"), ("nobody", "ben's password"), ("ben", "")] {
        let refused = Client::connect(&urls.stomp).login(name, password).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("wrong login or passcode"), "{error}");
    }
    Client::connect(&urls.stomp).await.unwrap_err();

    let own = connect(&urls.stomp, "ben").await;
    let mut subscription = own.subscribe("/topic/users/ben").await.unwrap();
    own.send("/topic/users/ben", "mine")
        .receipt()
        .await
        .unwrap();
    let message = subscription.next().await.unwrap().unwrap();
    assert_eq!(message.text().unwrap(), "mine");
    own.subscribe("/topic/users/ada").await.unwrap_err();
    let other = connect(&urls.stomp, "ben").await;
    other.send("/topic/news", "x").receipt().await.unwrap_err();
    let staff = connect(&urls.stomp, "ada").await;
    staff.send("/topic/news", "x").receipt().await.unwrap();
}

#[test]
fn back_ends_are_told_what_is_wrong() {
    let (_server, urls) = start();
    for key in [None, Some("wrong"), Some(""), Some(&KEY[1..])] {
        for request in [
            "POST /publish",
            "POST /disconnect",
            "GET /sessions",
            "GET /metrics",
        ] {
            let refused = http(&urls.back_end, request, key, "{}");
            assert_eq!(refused.status, 401, "{request}");
            assert!(
                refused.body["error"]
                    .as_str()
                    .unwrap()
                    .contains("Bearer KEY")
            );
        }
    }
    for (request, body, status, field, part) in [
        ("POST /publish", "nonsense", 400, None, "not JSON"),
        ("POST /publish", "1", 422, Some(""), "must be an object"),
        (
            "POST /publish",
            "{}",
            422,
            Some("destination"),
            "is missing",
        ),
        (
            "POST /publish",
            r#"[{"destination":"/topic/a","body":"x"},{"destination":"x","body":"x"}]"#,
            422,
            Some("[1].destination"),
            "",
        ),
        (
            "POST /publish",
            r#"{"destination":"/nowhere/a","body":"x"}"#,
            422,
            Some("destination"),
            "/topic",
        ),
        (
            "POST /publish",
            r#"{"destination":"/topic/a"}"#,
            422,
            Some("body"),
            "is missing",
        ),
        (
            "POST /publish",
            r#"{"destination":"/topic/a","body":{"a":1}}"#,
            422,
            Some("body"),
            "`json` takes any value",
        ),
        (
            "POST /publish",
            r#"{"destination":"/topic/a","base64":"?"}"#,
            422,
            Some("base64"),
            "",
        ),
        (
            "POST /publish",
            r#"{"destination":"/topic/a","body":"x","headers":{"a":1}}"#,
            422,
            Some("headers.a"),
            "must be a text",
        ),
        (
            "POST /publish",
            r#"{"destination":"/topic/a","body":"x","headers":{"subscription":"1"}}"#,
            422,
            Some("headers"),
            "subscription",
        ),
        (
            "POST /publish",
            r#"{"destination":"/topic/a","bdy":"x"}"#,
            422,
            Some("bdy"),
            "no such field",
        ),
        ("POST /nowhere", "{}", 404, None, "no such path"),
        ("GET /publish", "", 405, None, "another method"),
        ("GET /sessions?limit=many", "", 422, Some("query"), "limit"),
        ("POST /disconnect", "{}", 422, Some("user"), "says whom"),
        (
            "POST /disconnect",
            r#"{"session":"x"}"#,
            422,
            Some("session"),
            "id of a session",
        ),
    ] {
        let answer = http(&urls.back_end, request, Some(KEY), body);
        let text = answer.body.to_string();
        assert_eq!(answer.status, status, "{body}: {text}");
        assert_eq!(answer.body["field"].as_str(), field, "{body}: {text}");
        assert!(
            answer.body["error"].as_str().unwrap().contains(part),
            "{body}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_users_and_keys_and_names_the_rest() {
    let (mut server, urls) = start();
    let ben = connect(&urls.stomp, "ben").await;
    let mut subscription = ben.subscribe("/topic/news").await.unwrap();
    let ada = connect(&urls.stomp, "ada").await;
    server.folder.write(
        "users",
        &(user("ada", "ada's password", "staff") + &user("cleo", "cleo's password", "")),
    );
    let new_key = KEY.replace('0', "x");
    server.folder.write("key", &new_key);
    let changed = SERVER.to_owned() + "\n[limits]\nbody = '1 KiB'\n";
    server.folder.write("tramline.toml", &changed);
    server.signal("-HUP");
    server.logs("reloaded: users, back_end");
    server.logs("changed, and needs a restart: limits");
    // Who was removed is gone, others go on, and new ones may come.
    while let Some(Ok(_)) = subscription.next().await {}
    ada.send("/topic/news", "x").receipt().await.unwrap();
    connect(&urls.stomp, "cleo").await;
    assert_eq!(
        http(&urls.back_end, "GET /sessions", Some(KEY), "").status,
        401
    );
    assert_eq!(
        http(&urls.back_end, "GET /sessions", Some(&new_key), "").status,
        200
    );

    server
        .folder
        .write("tramline.toml", "[stomp]\nlisten = 1\n");
    server.signal("-HUP");
    server.logs("stomp.listen: 1 is not a text");
    server.logs("nothing is reloaded");
    ada.send("/topic/news", "x").receipt().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_queues_outlive_it() {
    let text = "[stomp]\nlisten = '127.0.0.1:0'\n[shutdown]\ndrain = '200 ms'\n\
        [[rule]]\non = 'connect'\nallow = 'all'\n\
        [[rule]]\non = ['send', 'subscribe']\npattern = '/queue/**'\nallow = 'all'\n";
    let data = Folder::new();
    let data = data.path().join("data");
    let arguments = ["--data", data.to_str().unwrap()];
    let mut server = Served::with(Folder::new(), text, &arguments);
    let client = Client::connect(server.url("STOMP at ")).await.unwrap();
    let kept = client
        .send("/queue/orders", "one")
        .header("persistent", "true");
    kept.receipt().await.unwrap();
    let mut other = client.subscribe("/queue/others").await.unwrap();
    server.signal("-TERM");
    server.logs("draining over 200ms");
    let end = loop {
        match other.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error.to_string(),
            None => break String::new(),
        }
    };
    assert!(end.contains("retry-after-ms"), "{end}");
    server.logs("stopped");
    assert_eq!(server.ended(), Some(0));

    let mut server = Served::with(Folder::new(), text, &arguments);
    let client = Client::connect(server.url("STOMP at ")).await.unwrap();
    let mut orders = client.subscribe("/queue/orders").await.unwrap();
    let order = orders.next().await.unwrap().unwrap();
    assert_eq!(order.text().unwrap(), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_sessions_and_their_keys_change() {
    let sign = |secret: &str| {
        let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        let claims = r#"{"sub":"ada","exp":4102444800,"roles":["staff"],"rooms":["7"]}"#;
        let text = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let mut hmac = std::process::Command::new("openssl")
            .args(["dgst", "-sha256", "-binary", "-hmac", secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl is installed (Debian: sudo apt-get install --yes openssl)");
        hmac.stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let signature = hmac.wait_with_output().unwrap().stdout;
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    };
    let (old, new) = (KEY, KEY.replace('0', "n"));
    let text = "[stomp]\nlisten = '127.0.0.1:0'\n\
        [tokens]\nsecret_file = 'secret'\nroles_claim = 'roles'\n\
        [[rule]]\non = 'connect'\nallow = 'authenticated'\n\
        [[rule]]\non = ['send', 'subscribe']\npattern = '/topic/rooms/{room}'\ncaptures = { room = 'claim:rooms' }\n\
        [[rule]]\non = 'subscribe'\npattern = '/topic/**'\nroles = ['staff']\n";
    let folder = Folder::new();
    folder.write("secret", old);
    let mut server = Served::start(folder, text);
    let url = server.url("STOMP at ");
    let client = Client::connect(&url).bearer(sign(old)).await.unwrap();
    client.subscribe("/topic/rooms/7").await.unwrap();
    client.subscribe("/topic/news").await.unwrap();
    client.subscribe("/topic/rooms/8").await.unwrap_err();
    Client::connect(&url).bearer(sign(&new)).await.unwrap_err();

    fs::write(server.folder.path().join("secret"), &new).unwrap();
    server.signal("-HUP");
    server.logs("reloaded: tokens");
    Client::connect(&url).bearer(sign(&new)).await.unwrap();
    Client::connect(&url).bearer(sign(old)).await.unwrap_err();
}

/// An authority, and the chain and key of a certificate that it has signed, all in PEM.
fn certificate(name: &str) -> [String; 3] {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let chain = params.signed_by(&key, &issuer).unwrap().pem();
    [authority_pem, chain, key.serialize_pem()]
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_users_and_are_reloaded() {
    let text = "[stomps]\nlisten = '127.0.0.1:0'\n\
        [tls]\nchain = 'chain.pem'\nkey_file = 'key.pem'\nclients = 'devices.pem'\nclient_roles = ['device']\n\
        [[rule]]\non = 'connect'\nroles = ['device']\n\
        [[rule]]\non = 'subscribe'\npattern = '/topic/meters/{meter}'\ncaptures = { meter = 'name' }\n";
    let folder = Folder::new();
    let [authority, chain, key] = certificate("localhost");
    folder.write("chain.pem", &chain);
    folder.write("key.pem", &key);
    let [devices, device, device_key] = certificate("meter-7");
    folder.write("devices.pem", &devices);
    let mut server = Served::start(folder, text);
    let url = server
        .url("STOMP over TLS at ")
        .replace("127.0.0.1", "localhost");
    let known = |authority: &str| {
        Tls::with_roots(authority).client_certificate(device.as_str(), device_key.as_str())
    };
    let client = Client::connect(&url).tls(known(&authority)).await.unwrap();
    client.subscribe("/topic/meters/meter-7").await.unwrap();
    let stranger = Client::connect(&url).tls(Tls::with_roots(authority.as_str()));
    stranger.await.unwrap_err();

    let [new_authority, chain, key] = certificate("localhost");
    server.folder.write("chain.pem", &chain);
    server.folder.write("key.pem", &key);
    server.signal("-HUP");
    server.logs("reloaded: tls");
    Client::connect(&url)
        .tls(known(&new_authority))
        .await
        .unwrap();
    client.subscribe("/topic/meters/meter-8").await.unwrap_err();
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!("[stomp]\nlisten = '{address}'\n[[rule]]\non = 'connect'\nallow = 'all'\n");
    let mut server = Served::start(Folder::new(), &text);
    server.logs(&format!("cannot listen on {address}"));
    assert_eq!(server.ended(), Some(1));
    let mut server = Served::start(Folder::new(), "[stomp]\n");
    server.logs("tramline.toml:1: [stomp] needs `listen`");
    assert_eq!(server.ended(), Some(2));
}
