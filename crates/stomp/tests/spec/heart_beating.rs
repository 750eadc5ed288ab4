use super::*;

fn session(client: &str) -> Session {
    let heart_beat = HeartBeat {
        send: 1000,
        receive: 4000,
    };
    let config = ServerConfig::default().with_heart_beat(heart_beat);
    let mut session = Session::fresh(config.with_min_silence(Duration::ZERO));
    session.connect(client);
    session
}

#[test]
fn an_absent_header_means_none() {
    assert_eq!(session("").server.next_timeout(), None);
    assert_eq!(session("heart-beat:0,0\n").server.next_timeout(), None);
}

#[test]
fn each_direction_takes_the_slower_of_promise_and_wish() {
    let due = |client: &str| {
        let session = session(client);
        session.server.next_timeout().map(|at| at - session.now)
    };
    let millis = Duration::from_millis;
    assert_eq!(due("heart-beat:0,500\n"), Some(millis(900)));
    assert_eq!(due("heart-beat:0,3000\n"), Some(millis(2700)));
    // Its silence is tolerated for three times as long: the error margin.
    assert_eq!(due("heart-beat:2000,0\n"), Some(millis(12_000)));
    assert_eq!(due("heart-beat:5000,0\n"), Some(millis(15_000)));
}

#[test]
fn the_server_writes_at_least_a_line_end_in_time() {
    let mut session = session("heart-beat:0,1000\n");
    session.now += Duration::from_millis(900);
    session.server.handle_timeout(session.now);
    assert_eq!(session.server.poll_transmit().unwrap(), "\n");
}

#[test]
fn a_client_s_line_end_shows_that_it_lives() {
    let mut session = session("heart-beat:4000,0\n");
    for _ in 0..10 {
        session.now += Duration::from_secs(11);
        session.server.handle_timeout(session.now);
        assert_eq!(session.event("\n"), None);
    }
    assert!(session.server.is_connected());
    session.now += Duration::from_secs(12);
    session.server.handle_timeout(session.now);
    assert!(session.server.is_failed());
}

#[test]
fn the_header_is_two_numbers() {
    for value in ["1000", "a,b", "-1,0", "1,2,3", "1.5,1", ""] {
        Session::fresh(ServerConfig::default())
            .refusal(&format!("CONNECT\nheart-beat:{value}\n\n\0"));
    }
}
