//! Ends in time, and what puts them off.

use std::time::Duration;

use crate::support::Site;

const MINUTE: Duration = Duration::from_secs(60);
const IDLE: &str = "you were logged out because nothing happened for a while";

#[tokio::test]
async fn a_session_that_nobody_uses_ends_by_itself_and_its_sockets_with_it() {
    let site = Site::with(|login| login.idle_end(Duration::from_secs(5))).await;
    let mut ada = site.logged_in("ada").await;
    let mut socket = ada.stomp().await;
    assert_eq!(socket.closed().await, (1008, IDLE.to_owned()));
    assert_eq!(ada.whoami().await, None);
}

#[tokio::test]
async fn frames_put_off_the_idle_end_and_not_the_last_one() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    let mut socket = ada.stomp().await;
    let look = async |minutes: u32| site.login.look_as_if_later(minutes * MINUTE).await;
    for minutes in (20..720).step_by(20) {
        socket
            .send("SEND\ndestination:/app/say\nreceipt:1\n\nhello\0")
            .await;
        let receipt = socket.next().await;
        assert!(
            receipt.starts_with("RECEIPT"),
            "at minute {minutes}: {receipt}"
        );
        look(minutes).await;
    }
    look(721).await;
    assert_eq!(
        socket.closed().await,
        (
            1008,
            "your login has reached its end: log in again".to_owned()
        )
    );
    assert_eq!(ada.whoami().await, None);
}

/// A heart-beat shows that the page is open, not that somebody uses it.
#[tokio::test]
async fn heart_beats_put_off_nothing() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    let mut socket = ada.stomp().await;
    site.login.look_as_if_later(MINUTE).await;
    socket.send("\n").await;
    site.login.look_as_if_later(32 * MINUTE).await;
    assert_eq!(socket.closed().await, (1008, IDLE.to_owned()));
}

/// As another node sees it, that shares the store.
#[tokio::test]
async fn what_ended_elsewhere_ends_here() {
    let store = tramline_login::MemorySessions::default();
    let (shared, theirs) = (store.clone(), store);
    let here = Site::with(|login| login.store(shared)).await;
    let elsewhere = Site::with(|login| login.store(theirs)).await;
    let mut ada = here.logged_in("ada").await;
    let mut socket = ada.stomp().await;
    // The same cookie, sent to the other node.
    let mut same = elsewhere.browser();
    same.cookies = ada.cookies.clone();
    // Accounts of two nodes have the same hashes; those of two tests do not.
    assert_eq!(same.whoami().await, None);
    here.login.look_as_if_later(2 * MINUTE).await;
    assert_eq!(socket.closed().await.0, 1008);
    assert_eq!(ada.whoami().await, None);
}

#[tokio::test]
async fn a_password_that_was_changed_elsewhere_ends_sockets_too() {
    let site = Site::start().await;
    let mut ada = site.logged_in("ada").await;
    let mut socket = ada.stomp().await;
    site.users.set_password("ada", "another").unwrap();
    site.login.look_as_if_later(2 * MINUTE).await;
    assert_eq!(
        socket.closed().await,
        (1008, "your password was changed: log in again".to_owned())
    );
}
