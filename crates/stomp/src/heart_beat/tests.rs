use super::*;

fn beat(send: u32, receive: u32) -> HeartBeat {
    HeartBeat { send, receive }
}

#[test]
fn values_are_two_numbers() {
    assert_eq!("0,0".parse(), Ok(HeartBeat::NONE));
    assert_eq!(" 10000 , 5000 ".parse(), Ok(beat(10_000, 5_000)));
    assert_eq!(beat(1, 2).to_string(), "1,2");
    for bad in ["", "1", "1,", ",1", "1,2,3", "-1,0", "+1,0", "a,b", "1.5,0"] {
        let error = bad.parse::<HeartBeat>().unwrap_err().to_string();
        let expected = format!("`{bad}` is not a heart-beat");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_number_too_large_is_told_the_limit_and_the_way_out() {
    assert_eq!("4294967295,0".parse(), Ok(beat(u32::MAX, 0)));
    for large in ["4294967296,0", "0,99999999999999999999999"] {
        let error = large.parse::<HeartBeat>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "`{large}` exceeds the limit of 4294967295 milliseconds; send less, or 0 for no \
                 heart-beats in that direction"
            )
        );
    }
}

#[test]
fn each_direction_takes_the_slower_side() {
    for (ours, theirs, send, expect) in [
        (beat(10, 20), beat(30, 5), Some(10), Some(30)),
        (beat(10, 20), beat(5, 40), Some(40), Some(20)),
        (beat(0, 20), beat(30, 5), None, Some(30)),
        (beat(10, 0), beat(30, 5), Some(10), None),
        (beat(10, 20), beat(0, 0), None, None),
    ] {
        let agreed = ours.negotiate(theirs);
        assert_eq!(
            agreed.send_every,
            send.map(Duration::from_millis),
            "{ours} {theirs}"
        );
        assert_eq!(
            agreed.expect_within,
            expect.map(Duration::from_millis),
            "{ours} {theirs}"
        );
    }
}

#[test]
fn heart_beats_are_due_before_the_agreed_time_has_passed() {
    let millis = Duration::from_millis;
    for (every, period, due) in [
        (10_000, 0, 9_000),
        (1_000, 0, 900),
        (1_005, 0, 904),
        (5, 0, 4),
        (1, 0, 1),
        (u32::MAX, 0, 3_865_470_565),
        // A timer that fires every 100 ms, and no earlier than it was asked to.
        (10_000, 100, 9_000),
        (1_050, 100, 900),
        (1_000, 100, 900),
        (999, 100, 800),
        (250, 100, 200),
        (200, 100, 100),
        // It cannot do better.
        (100, 100, 100),
        (50, 100, 50),
    ] {
        assert_eq!(beat_after(every, millis(period)), due, "{every} {period}");
    }
}

#[test]
fn timers_fire_within_the_write_interval_and_at_thrice_the_read_interval() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut timers = Timers::new(start);
    assert_eq!(timers.next_timeout(), None);

    timers.agree(beat(100, 100), beat(100, 100), Margins::default());
    assert!(!timers.sends());
    assert_eq!(timers.next_timeout(), None);
    timers.start();
    assert_eq!(timers.next_timeout(), Some(at(90)));
    assert_eq!(timers.handle_timeout(at(89)), Due::Nothing);
    assert_eq!(timers.handle_timeout(at(90)), Due::HeartBeat);
    timers.wrote(at(250));
    assert_eq!(timers.next_timeout(), Some(at(300)));
    let gone = Due::PeerGone {
        silent_for: Duration::from_millis(300),
    };
    assert_eq!(timers.handle_timeout(at(300)), gone);
    timers.read(at(300));
    assert_eq!(timers.next_timeout(), Some(at(340)));
}

#[test]
fn a_pause_stops_the_read_timer_and_a_resume_restarts_it() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut timers = Timers::new(start);
    timers.agree(beat(0, 100), beat(100, 0), Margins::default());
    timers.start();
    assert_eq!(timers.next_timeout(), Some(at(300)));

    timers.pause_reading(true, at(200));
    assert_eq!(timers.next_timeout(), None);
    assert_eq!(timers.handle_timeout(at(1_000)), Due::Nothing);
    timers.pause_reading(false, at(1_000));
    assert_eq!(timers.next_timeout(), Some(at(1_300)));

    // A repeated pause changes nothing: the time goes on.
    timers.pause_reading(false, at(1_200));
    assert_eq!(timers.next_timeout(), Some(at(1_300)));
}

#[test]
fn a_peer_may_be_silent_for_the_least_time_whatever_was_agreed() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    for (agreed, least, dead_after) in [
        (10_000, 0, 30),
        (10_000, 90, 90),
        (40_000, 90, 120),
        (0, 90, 0),
    ] {
        let mut timers = Timers::new(start);
        let margins = Margins {
            min_silence: Duration::from_secs(least),
            ..Margins::default()
        };
        timers.agree(beat(0, agreed), beat(agreed, 0), margins);
        timers.start();
        let expected = (dead_after > 0).then(|| at(dead_after));
        assert_eq!(timers.next_timeout(), expected);
    }
}
