//! Sessions that are ended from another node.

use super::support::{nodes, reads};

#[tokio::test]
async fn a_session_is_closed_where_it_lives_with_the_reason_given() {
    let [here, there] = nodes(|engine| engine).await;
    let ada = there.connect("ada").await;
    let mut last = ada.subscribe("/topic/a").await;
    here.app
        .publisher()
        .send("/topic/a", "the last")
        .await
        .unwrap();
    here.settle();
    let (registry, id) = (here.app.registry(), ada.session_id());
    assert!(registry.close_session(id, "not you"));
    // Before the other node has said that it is done, perhaps.
    registry.close_session(id, "not you either");
    assert_eq!(
        last.next_text().await,
        "the last",
        "what is queued is written"
    );
    let end = ada.closed().await;
    assert_eq!((end.code(), end.reason()), (Some(1008), "not you"));
    assert_eq!(end.error(), None);
    reads(|| registry.sessions().len(), 0).await;
    assert!(!registry.close_session(id, "again"));
    assert!(!there.app.registry().close_session(id, "again"));
    let events = there.events();
    assert_eq!(events.last().unwrap(), "disconnected ada Server");
    let ends = events
        .iter()
        .filter(|line| line.starts_with("disconnected"));
    assert_eq!(ends.count(), 1);
}

#[tokio::test]
async fn a_user_is_closed_on_all_nodes() {
    let all = nodes::<3>(|engine| engine).await;
    let mut adas = Vec::new();
    for node in &all {
        adas.push(node.connect("ada").await);
    }
    let bob = all[2].connect("bob").await;
    all[0].settle();
    assert_eq!(all[1].app.registry().close_user("eve", "nobody"), 0);
    assert_eq!(all[1].app.registry().close_user("ada", "banned"), 3);
    for ada in adas {
        let end = ada.closed().await;
        assert_eq!((end.code(), end.reason()), (Some(1008), "banned"));
    }
    for node in &all {
        reads(|| node.users(), vec![("bob".to_owned(), 1)]).await;
        assert_eq!(node.app.registry().close_user("ada", "banned"), 0);
    }
    bob.disconnect().await;
}

#[tokio::test]
async fn nothing_behind_the_end_is_looked_at() {
    let [here, there] = nodes(|engine| engine).await;
    let watcher = here.connect("eve").await;
    let watched = watcher.subscribe("/topic/a").await;
    let ada = there.connect("ada").await;
    here.settle();
    assert!(here.app.registry().close_user("ada", "banned") == 1);
    here.settle();
    ada.send_without_receipt("/topic/a", "after the end");
    assert_eq!(ada.closed().await.reason(), "banned");
    here.settle();
    watched.expect_nothing().await;
}
