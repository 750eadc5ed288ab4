//! Turns: a session that sends much in one write does not keep its worker from the others. Both sides of a connection are
//! tasks of the test's one worker here, so that what a client receives tells whose turn it was.

use crate::support::{Client, FrameExt, Setup, broker};

/// Frames as one write, which one read brings.
fn all(count: usize, frame: impl Fn(usize) -> String) -> String {
    (0..count).map(frame).collect()
}

/// SENDs to `/topic/x`, numbered.
fn a_thousand() -> String {
    all(1_000, |number| {
        format!("SEND\ndestination:/topic/x\n\n{number}\0")
    })
}

/// Fails unless all of them come, in order.
async fn expect_a_thousand(reader: &mut Client) {
    for number in 0..1_000 {
        assert_eq!(reader.expect("MESSAGE").await.text(), number.to_string());
    }
}

#[tokio::test]
async fn frames_of_one_read_are_handled_over_several_turns_and_in_order() {
    let server = Setup::open_to_all(broker()).start().await;
    let mut sender = Client::connect(&server).await;
    sender.subscribe("0", "/topic/x").await;
    sender.send(&a_thousand()).await;
    expect_a_thousand(&mut sender).await;
}

/// The first of two writes is larger than a turn, so that the other session's echo overtakes its end.
#[tokio::test]
async fn another_session_has_its_turn_between() {
    let server = Setup::open_to_all(broker()).start().await;
    let mut flood = Client::connect(&server).await;
    let mut echo = Client::connect(&server).await;
    echo.subscribe("0", "/topic/flood").await;
    echo.subscribe("1", "/topic/echo").await;
    let mut overtaken = 0;
    for _ in 0..10 {
        let frames = all(1_500, |_| "SEND\ndestination:/topic/flood\n\n\0".into());
        flood.send(&frames).await;
        echo.send("SEND\ndestination:/topic/echo\n\n!\0").await;
        let mut before = 0;
        let mut echoed = None;
        while before < 1_500 || echoed.is_none() {
            match echo.expect("MESSAGE").await.text() {
                "!" => echoed = Some(before),
                _ => before += 1,
            }
        }
        overtaken += usize::from(echoed != Some(1_500));
    }
    assert!(overtaken > 0, "the echo always came last");
}

#[tokio::test]
async fn frames_behind_a_turn_are_handled_though_the_client_left() {
    let server = Setup::open_to_all(broker()).start().await;
    let mut reader = Client::connect(&server).await;
    reader.subscribe("0", "/topic/x").await;
    let mut sender = Client::connect(&server).await;
    sender.send(&a_thousand()).await;
    sender.close(1000, "").await;
    expect_a_thousand(&mut reader).await;
}

#[tokio::test]
async fn frames_before_a_violation_are_handled_over_several_turns() {
    let server = Setup::open_to_all(broker()).start().await;
    let mut reader = Client::connect(&server).await;
    reader.subscribe("0", "/topic/x").await;
    let mut sender = Client::connect(&server).await;
    sender.send(&a_thousand()).await;
    // A reserved opcode.
    sender.send_frame(0x83, b"").await;
    expect_a_thousand(&mut reader).await;
    assert_eq!(server.stats().protocol_errors, 1);
}
