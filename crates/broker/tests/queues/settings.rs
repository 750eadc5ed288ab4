//! Prefixes, patterns of settings, and their errors.

use tramline_broker::{
    EmbeddedBroker, Hub, Prefix, QueueSettings, Separator, TopicSettings, WhenFull,
};

use crate::support::*;

#[test]
fn a_prefix_may_end_with_a_slash_and_covers_only_what_is_below() {
    let broker = Hub::new(EmbeddedBroker::new().topics("/topic/").queues("/queue"));
    for (text, serves) in [
        ("/topic/a", true),
        ("/topic/", true),
        ("/topic/**", true),
        ("/queue/a", true),
        ("/topic", false),
        ("/topics/a", false),
        ("topic/a", false),
        ("", false),
    ] {
        assert_eq!(broker.serves(text), serves, "{text}");
    }
}

#[test]
fn dots_separate_below_a_prefix_that_says_so() {
    let dotted = |text| Prefix::new(text).separator(Separator::Dot);
    let settings = QueueSettings::default()
        .max_messages(1)
        .when_full(WhenFull::DropNewest);
    let broker = Hub::new(
        EmbeddedBroker::new()
            .topics(dotted("/topic"))
            .topics("/plain")
            .queues(dotted("/queue"))
            .queue_settings("/queue/orders.*", settings),
    );
    assert_eq!(broker.separator("/topic/a.b"), Separator::Dot);
    assert_eq!(broker.separator("/plain/a.b"), Separator::Slash);
    assert_eq!(broker.separator("/nowhere/a.b"), Separator::Slash);
    let alice = Client::open(&broker);
    alice.subscribe(0, "/topic/price.stock.*", AUTO);
    alice.subscribe(1, "/topic/price.**", AUTO);
    alice.subscribe(2, "/plain/price.*", AUTO);
    for (destination, receivers) in [
        ("/topic/price.stock.acme", 2),
        ("/topic/price.stock.acme.bid", 1),
        ("/topic/price", 1),
        ("/topic/price/stock", 1),
        ("/topic/prices", 0),
        ("/plain/price.stock.acme", 1),
        ("/plain/price/stock", 0),
    ] {
        assert_eq!(
            send(&broker, destination, &["x"]),
            receivers,
            "{destination}"
        );
    }
    send(&broker, "/queue/orders.eu", &["1", "2"]);
    send(&broker, "/queue/orders.eu.de", &["1", "2"]);
    assert_eq!(counts(&broker, "/queue/orders.eu").published, 1);
    assert_eq!(counts(&broker, "/queue/orders.eu.de").published, 2);
}

#[test]
fn the_first_pattern_that_covers_a_destination_counts() {
    let most = |count| {
        QueueSettings::default()
            .max_messages(count)
            .when_full(WhenFull::DropNewest)
    };
    let broker = Hub::new(
        broker()
            .queue_settings("/queue/a/*", most(1))
            .queue_settings("/queue/**", most(2))
            .queue_settings("/queue/a/b", most(3)),
    );
    for queue in ["/queue/a/b", "/queue/a"] {
        send(&broker, queue, &["1", "2", "3", "4"]);
    }
    assert_eq!(known(&broker, "/queue/a/b").depth, 1);
    assert_eq!(known(&broker, "/queue/a").depth, 2);
}

#[test]
fn what_is_wrong_is_said_by_name() {
    let fine = Hub::new(
        broker()
            .queue_settings(
                "/queue/a",
                QueueSettings::default().dead_letters("/queue/b"),
            )
            .topic_settings(
                "/topic/**",
                TopicSettings::default().dead_letters("/queue/b"),
            ),
    );
    assert_eq!(fine.errors(), [""; 0]);

    let wrong = Hub::new(
        EmbeddedBroker::new()
            .topics("topic")
            .topics("/topic")
            .queues("/topic/a")
            .queues("/queue")
            .queues("/queue/")
            .topic_settings("/queue/**", TopicSettings::default())
            .queue_settings("/topic/b", QueueSettings::default())
            .queue_settings("", QueueSettings::default())
            .queue_settings("/queue/a", QueueSettings::default().dead_letters("/dead"))
            .topic_settings(
                "/topic/b",
                TopicSettings::default().dead_letters("/topic/*"),
            ),
    );
    let expected = [
        r#"broker prefix "topic": must begin with `/`"#,
        r#"broker prefix "/topic/a": overlaps with another one"#,
        r#"broker prefix "/queue": overlaps with another one"#,
        r#"topic settings for "/queue/**": no prefix of topics covers that"#,
        r#"topic settings for "/topic/b": dead letters go to "/topic/*", which the broker does not carry"#,
        r#"queue settings for "/topic/b": no prefix of queues covers that"#,
        r#"queue settings for "": a destination must not be empty"#,
        r#"queue settings for "/queue/a": dead letters go to "/dead", which the broker does not carry"#,
    ];
    assert_eq!(wrong.errors(), expected);
}
