//! A session whose name somebody else has learnt: from a log, a `Referer`, over a shoulder.

use tramline::{Connect, User};

use super::*;

async fn login(connect: Connect) -> Option<User> {
    connect.login().map(|login| User::new(login.to_owned()))
}

async fn server() -> Server {
    Setup::new()
        .routes(|routes| routes.connect(login))
        .start()
        .await
}

const CONNECT: &str = "CONNECT\naccept-version:1.2\nheart-beat:0,0\nlogin:ann\n\n\0";
const SUBSCRIBE: &str = "SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:1\n\n\0";

/// A client of a session, with the cookie that it has.
struct Holder<'a> {
    server: &'a Server,
    session: &'a str,
    cookie: Option<String>,
}

impl Holder<'_> {
    fn request(&self, transport: &str) -> Request {
        let request = Request::post(&format!("/sockjs/000/{}/{transport}", self.session));
        match &self.cookie {
            Some(cookie) => request.with("Cookie", cookie),
            None => request,
        }
    }

    async fn receive(&self) -> Response {
        self.request("xhr").send(self.server).await
    }

    async fn say(&self, frame: &str) -> Response {
        let body = serde_json::to_string(&[frame]).unwrap();
        self.request("xhr_send").body(body).send(self.server).await
    }
}

/// The cookie that an answer sets.
fn cookie(response: &Response) -> String {
    let set = response
        .header("set-cookie")
        .unwrap_or_else(|| panic!("{response:?}"));
    assert!(
        set.contains("; HttpOnly") && set.contains("; Path=/"),
        "{set}"
    );
    set.split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_name_of_a_session_that_has_logged_in_neither_reads_nor_sends() {
    let server = server().await;
    for with_cookies in [true, false] {
        let name = format!("theft-{with_cookies}");
        let mut ann = Holder {
            server: &server,
            session: &name,
            cookie: None,
        };
        let opened = ann.receive().await;
        opened.is(200, "o\n");
        let given = cookie(&opened);
        if with_cookies {
            ann.cookie = Some(format!("theme=dark; {given}"));
        }
        ann.say(CONNECT).await.is(204, "");
        assert!(ann.receive().await.body.contains("user-name:ann"));
        ann.say(SUBSCRIBE).await.is(204, "");
        assert!(ann.receive().await.body.contains("RECEIPT"));

        let other = format!("tramline-sockjs={:032x}", 7);
        let mut thieves = vec![Some(other), Some("tramline-sockjs=nonsense".into())];
        if with_cookies {
            thieves.push(None);
        } else {
            // A browser that has taken the cookie is another client than one that has not.
            thieves.pop();
        }
        for cookie in thieves {
            let thief = Holder { cookie, ..ann };
            thief.receive().await.is(404, "");
            thief
                .say("SEND\ndestination:/app/hello\n\nfaked\0")
                .await
                .is(404, "");
        }
        server
            .messaging()
            .publisher()
            .send("/topic/x", "for ann")
            .await
            .unwrap();
        assert!(ann.receive().await.body.contains("for ann"));
        assert_eq!(server.gate.log(), [""; 0]);
        ann.say("DISCONNECT\n\n\0").await.is(204, "");
    }
}

/// A thief that receives before the login, and stays.
#[tokio::test]
async fn who_receives_before_the_login_does_not_receive_what_comes_behind_it() {
    let server = server().await;
    let mut ann = Holder {
        server: &server,
        session: "early",
        cookie: None,
    };
    let given = cookie(&ann.receive().await);
    ann.cookie = Some(given);
    let thief = Holder {
        cookie: None,
        ..ann
    };
    let mut stream = thief.request("xhr_streaming").begin(&server).await;
    assert_eq!(stream.status, 200);
    ann.say(CONNECT).await.is(204, "");
    let mut seen = String::new();
    while let Some(chunk) = stream.chunk().await {
        seen.push_str(&chunk);
    }
    assert!(!seen.contains("CONNECTED"), "{seen}");
    assert!(ann.receive().await.body.contains("user-name:ann"));
    thief.receive().await.is(404, "");
}

/// A thief that sends before the login: then the session is the thief's, who has no user.
#[tokio::test]
async fn who_sends_before_the_login_does_not_become_its_user() {
    let server = server().await;
    let mut ann = Holder {
        server: &server,
        session: "fixed",
        cookie: None,
    };
    let given = cookie(&ann.receive().await);
    let thief = Holder {
        cookie: None,
        ..ann
    };
    thief.say("\n").await.is(204, "");
    ann.cookie = Some(given);
    ann.say(CONNECT).await.is(404, "");
    assert_eq!(server.messaging().registry().user_count(), 0);
}

#[tokio::test]
async fn an_anonymous_session_and_one_of_a_web_session_need_no_cookie() {
    let server = server().await;
    let anonymous = Holder {
        server: &server,
        session: "anonymous",
        cookie: None,
    };
    anonymous.receive().await.is(200, "o\n");
    anonymous
        .say("CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0")
        .await
        .is(204, "");
    assert!(anonymous.receive().await.body.contains("CONNECTED"));
    let later = Holder {
        cookie: Some(format!("tramline-sockjs={:032x}", 7)),
        ..anonymous
    };
    later.say(SUBSCRIBE).await.is(204, "");
    assert!(later.receive().await.body.contains("RECEIPT"));
}
