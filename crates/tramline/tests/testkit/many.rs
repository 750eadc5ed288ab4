//! Many clients at once.

use std::time::Duration;

use super::support::app;

const CLIENTS: usize = 100;

async fn everybody_hears_everybody() {
    let app = app();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..CLIENTS {
        let app = app.clone();
        tasks.spawn(async move {
            let client = app.connect_as(&*format!("user-{n}")).await;
            let room = client.subscribe("/topic/rooms/1").await;
            (client, room)
        });
    }
    let clients = tasks.join_all().await;
    assert_eq!(app.stats().sessions_open, CLIENTS as u64);
    let mut tasks = tokio::task::JoinSet::new();
    for (client, mut room) in clients {
        tasks.spawn(async move {
            client.send("/app/rooms/1/say", "hello").await;
            let mut heard = Vec::new();
            for _ in 0..CLIENTS {
                heard.push(room.next_text().await);
            }
            room.expect_nothing().await;
            client.disconnect().await;
            heard
        });
    }
    let mut heard = tasks.join_all().await;
    let first = heard.swap_remove(0);
    assert!(
        heard.iter().all(|other| *other == first),
        "one order for all"
    );
    let mut names = first;
    names.sort();
    names.dedup();
    assert_eq!(names.len(), CLIENTS);
    assert_eq!(app.stats().sessions_open, 0);
}

#[tokio::test(start_paused = true)]
async fn in_paused_time() {
    everybody_hears_everybody().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_several_threads() {
    everybody_hears_everybody().await;
}
