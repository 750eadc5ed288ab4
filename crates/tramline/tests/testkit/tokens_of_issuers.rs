//! JSON Web Tokens: attacks on them, and keys that change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::sleep;
use tramline::User;
use tramline::token::{Algorithm, Jwt, TokenError, Verify};

const PRIVATE: &[u8] = include_bytes!("keys/ed25519.pem");
const PUBLIC: &[u8] = include_bytes!("keys/ed25519.pub.pem");
const OTHER: &[u8] = include_bytes!("keys/other.pem");
const OTHER_PUBLIC: &[u8] = include_bytes!("keys/other.pub.pem");
const RSA: &[u8] = include_bytes!("keys/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("keys/rsa.pub.pem");

fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

fn claims() -> Value {
    json!({
        "sub": "ann", "iss": "https://login.example", "aud": "chat", "exp": seconds() + 600,
        "realm_access": { "roles": ["admin", "user"] }, "scope": "read write",
    })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn signed(claims: &Value, key: &[u8], id: Option<&str>) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = id.map(Into::into);
    encode(&header, claims, &EncodingKey::from_ed_pem(key).unwrap()).unwrap()
}

fn jwt() -> Jwt {
    let jwt = Jwt::public_key(Algorithm::EdDSA, PUBLIC).unwrap();
    jwt.issuer("https://login.example").audience("chat")
}

async fn refused(jwt: &Jwt, token: String) -> TokenError {
    let error = jwt.verify(token.clone()).await.unwrap_err();
    assert!(!error.detail().contains(&token) && !error.to_string().contains(&token));
    error
}

#[tokio::test]
async fn a_token_is_its_user_with_roles_claims_and_end() {
    let token = signed(&claims(), PRIVATE, None);
    let user = jwt()
        .roles_claim("realm_access.roles")
        .verify(token.clone())
        .await
        .unwrap();
    assert_eq!(user.name(), "ann");
    assert!(user.has_role("admin") && user.has_role("user"));
    assert_eq!(user.claim("scope"), Some(&json!("read write")));
    let end = user
        .expires_at()
        .and_then(|end| end.duration_since(UNIX_EPOCH).ok());
    let left = end.map_or(0, |end| end.as_secs() - seconds());
    assert!(
        (650..=660).contains(&left),
        "with a minute of leeway: {left}"
    );
    let user = jwt()
        .roles_claim("scope")
        .name_claim("iss")
        .verify(token.clone())
        .await
        .unwrap();
    assert!(user.has_role("write") && user.name() == "https://login.example");
    assert!(!format!("{user:?}").contains("realm"), "claims are private");
    let user: User = jwt().roles_claim("nothing").verify(token).await.unwrap();
    assert!(!user.has_role("admin"));
}

/// The attacks: wrong audience, wrong issuer, times, and claims that are missing.
#[tokio::test]
async fn a_token_that_is_for_others_or_for_another_time_is_refused() {
    for (claims, expected) in [
        (
            with(|claims| claims["aud"] = json!("shop")),
            "InvalidAudience",
        ),
        (
            with(|claims| claims["aud"] = json!(["shop", "mail"])),
            "InvalidAudience",
        ),
        (
            with(|claims| claims["iss"] = json!("https://evil.example")),
            "InvalidIssuer",
        ),
        (
            with(|claims| claims["exp"] = json!(seconds() - 61)),
            "expired",
        ),
        (with(|claims| claims["exp"] = json!("tomorrow")), "exp"),
        (with(|claims| claims["exp"] = json!(-1)), "exp"),
        (with(|claims| claims["exp"] = json!(1e300)), "exp"),
        (
            with(|claims| claims["nbf"] = json!(seconds() + 120)),
            "not valid yet",
        ),
        (with(|claims| claims["sub"] = json!("")), "sub"),
        (with(|claims| claims["sub"] = json!(["ann"])), ""),
    ] {
        let error = refused(&jwt(), signed(&claims, PRIVATE, None)).await;
        assert!(error.detail().contains(expected), "{expected}: {error:?}");
    }
    for name in ["exp", "iss", "aud", "sub"] {
        let claims = with(|claims| {
            claims.as_object_mut().map(|claims| claims.remove(name));
        });
        refused(&jwt(), signed(&claims, PRIVATE, None)).await;
    }
    // An audience that nobody asked about is not ours.
    let jwt = Jwt::public_key(Algorithm::EdDSA, PUBLIC).unwrap();
    refused(&jwt, signed(&claims(), PRIVATE, None)).await;
    let late = with(|claims| claims["exp"] = json!(seconds() - 30));
    assert!(
        self::jwt()
            .verify(signed(&late, PRIVATE, None))
            .await
            .is_ok(),
        "clocks differ"
    );
}

fn unsigned(header: &Value) -> String {
    let encode = |value: &Value| base64(value.to_string().as_bytes());
    format!("{}.{}.", encode(header), encode(&claims()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk
            .iter()
            .fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        let number = number << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            text.push(char::from(DIGITS[(number >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}

/// The attacks: `alg:none`, a public key as a secret, a key of another kind, another key, a changed text.
#[tokio::test]
async fn a_token_that_nobody_of_ours_has_signed_is_refused() {
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "NONE", "typ": "JWT" }),
        json!({ "alg": "" }),
        json!({}),
        json!({ "alg": "EdDSA" }),
        json!({ "alg": "EdDSA", "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "AAAA" } }),
    ] {
        refused(&jwt(), unsigned(&header)).await;
    }
    let confused = |public: &[u8]| {
        let secret = EncodingKey::from_secret(public).unwrap();
        encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap()
    };
    let rsa = Jwt::public_key(Algorithm::RS256, RSA_PUBLIC).unwrap();
    let rsa = rsa.issuer("https://login.example").audience("chat");
    let error = refused(&rsa, confused(RSA_PUBLIC)).await;
    assert!(
        error.detail().contains("only [RS256] is taken"),
        "{error:?}"
    );
    refused(&jwt(), confused(PUBLIC)).await;
    let by_rsa = EncodingKey::from_rsa_pem(RSA).unwrap();
    let by_rsa = |algorithm| encode(&Header::new(algorithm), &claims(), &by_rsa).unwrap();
    assert!(rsa.verify(by_rsa(Algorithm::RS256)).await.is_ok());
    refused(&rsa, by_rsa(Algorithm::RS512)).await;
    refused(&jwt(), by_rsa(Algorithm::RS256)).await;
    refused(&jwt(), signed(&claims(), OTHER, None)).await;

    let token = signed(&claims(), PRIVATE, None);
    let parts: Vec<&str> = token.split('.').collect();
    let admin = base64(
        with(|claims| claims["sub"] = json!("root"))
            .to_string()
            .as_bytes(),
    );
    refused(&jwt(), format!("{}.{admin}.{}", parts[0], parts[2])).await;
    refused(&jwt(), format!("{}.{}.", parts[0], parts[1])).await;
    for nonsense in ["", ".", "..", "a.b.c", "\u{e4}.\u{e4}.\u{e4}"] {
        jwt().verify(nonsense.into()).await.unwrap_err();
    }
    let long = refused(&jwt(), "x".repeat(20_000)).await;
    assert!(long.detail().contains("20000 bytes"), "{long:?}");
}

#[test]
fn keys_that_cannot_be_are_errors() {
    for (keys, wrong) in [
        (
            Jwt::public_key(Algorithm::HS256, PUBLIC),
            "use `Jwt::secret`",
        ),
        (
            Jwt::public_key(Algorithm::RS256, PUBLIC),
            "no public key for RS256",
        ),
        (
            Jwt::public_key(Algorithm::EdDSA, b"nonsense"),
            "no public key for EdDSA",
        ),
        (Jwt::secret(&[1; 31]), "31 bytes"),
        (
            Jwt::key_set([Algorithm::HS256], key_set(&[("1", PUBLIC)]).as_bytes()),
            "HS256",
        ),
        (
            Jwt::key_set([], key_set(&[("1", PUBLIC)]).as_bytes()),
            "no algorithm",
        ),
        (Jwt::key_set([Algorithm::EdDSA], b"{}"), "no `keys`"),
        (
            Jwt::key_set([Algorithm::EdDSA], b"{\"keys\":[]}"),
            "no key for signatures",
        ),
        (
            // A secret that somebody published is none.
            Jwt::key_set(
                [Algorithm::EdDSA],
                b"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
            ),
            "no key for signatures",
        ),
    ] {
        let error = keys.unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

/// A key set of these public keys.
fn key_set(keys: &[(&str, &[u8])]) -> String {
    let keys = keys.iter().map(|(id, pem)| {
        let text = std::str::from_utf8(pem).unwrap();
        let text: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        // Behind 12 bytes of its head, an Ed25519 key is 32 bytes; in base64 the head is 16 digits.
        let x = text[16..]
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_");
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x })
    });
    // Kinds of keys that are not known here hide none that are.
    let unknown = json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "later", "pub": "AAAA" });
    json!({ "keys": keys.chain([unknown]).collect::<Vec<_>>() }).to_string()
}

/// What an issuer publishes, and how often somebody asked.
#[derive(Clone, Default)]
struct Issuer {
    answer: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn publish(&self, keys: &[(&str, &[u8])]) {
        *self.answer.lock() = Some(key_set(keys));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn jwt(&self) -> Jwt {
        let issuer = self.clone();
        let fetch = move |url: String| {
            let issuer = issuer.clone();
            async move {
                assert_eq!(url, "https://login.example/keys");
                issuer.asked.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(100)).await;
                issuer.answer.lock().clone().ok_or("the issuer is away")
            }
        };
        let jwt = Jwt::remote_keys([Algorithm::EdDSA], "https://login.example/keys", fetch);
        jwt.unwrap()
            .issuer("https://login.example")
            .audience("chat")
    }
}

#[tokio::test(start_paused = true)]
async fn keys_change_while_sessions_log_in() {
    let issuer = Issuer::default();
    let jwt = issuer.jwt();
    // Longer than this test's clock runs.
    let claims = || with(|claims| claims["exp"] = json!(seconds() + 6000));
    let (one, two) = (
        || signed(&claims(), PRIVATE, Some("1")),
        || signed(&claims(), OTHER, Some("2")),
    );
    let away = refused(&jwt, one()).await;
    assert!(away.detail().contains("the issuer is away"), "{away:?}");
    assert!(away.to_string().contains("try again later"));
    refused(&jwt, one()).await;
    assert_eq!(issuer.asked(), 1, "not again within 10 s");

    issuer.publish(&[("1", PUBLIC)]);
    sleep(Duration::from_secs(11)).await;
    let (first, second) = tokio::join!(jwt.verify(one()), jwt.verify(one()));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(issuer.asked(), 2, "once for all who wait");

    // A new key is fetched when the first token has it; those who make up keys cause no more.
    issuer.publish(&[("1", PUBLIC), ("2", OTHER_PUBLIC)]);
    sleep(Duration::from_secs(11)).await;
    assert!(jwt.verify(two()).await.is_ok());
    assert_eq!(issuer.asked(), 3);
    for number in 0..50 {
        refused(
            &jwt,
            signed(&claims(), PRIVATE, Some(&format!("made up {number}"))),
        )
        .await;
    }
    assert!(issuer.asked() <= 4, "{}", issuer.asked());
    refused(&jwt, signed(&claims(), OTHER, Some("1"))).await;

    // One that was taken back is not taken for longer than 10 minutes, and all go on while the issuer is away.
    issuer.publish(&[("2", OTHER_PUBLIC)]);
    sleep(Duration::from_secs(601)).await;
    refused(&jwt, one()).await;
    *issuer.answer.lock() = None;
    sleep(Duration::from_secs(601)).await;
    assert!(jwt.verify(two()).await.is_ok());
}

#[tokio::test]
async fn a_provider_is_asked_where_its_keys_are() {
    let description =
        |issuer: &str| json!({ "issuer": issuer, "jwks_uri": "https://login.example/keys" });
    let fetch = |description: Value| {
        move |url: String| {
            let description = description.to_string();
            async move {
                match &*url {
                    "https://login.example/.well-known/openid-configuration" => Ok(description),
                    "https://login.example/keys" => Ok(key_set(&[("1", PUBLIC)])),
                    _ => Err("404"),
                }
            }
        }
    };
    let right = fetch(description("https://login.example"));
    let jwt = Jwt::discover([Algorithm::EdDSA], "https://login.example", right)
        .await
        .unwrap();
    let jwt = jwt.audience("chat");
    assert!(
        jwt.verify(signed(&claims(), PRIVATE, Some("1")))
            .await
            .is_ok()
    );
    let evil = with(|claims| claims["iss"] = json!("https://evil.example"));
    refused(&jwt, signed(&evil, PRIVATE, Some("1"))).await;

    for (issuer, described, wrong) in [
        (
            "https://login.example",
            description("https://evil.example"),
            "https://evil.example",
        ),
        (
            "https://login.example",
            json!({ "issuer": "https://login.example" }),
            "jwks_uri",
        ),
        ("https://else.example", json!({}), "404"),
    ] {
        let error = Jwt::discover([Algorithm::EdDSA], issuer, fetch(described))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
    }
}
