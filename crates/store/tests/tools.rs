//! What operators do with a store.

mod support;

use std::fs;
use std::path::PathBuf;

use support::client::{Client, NOW, hub, send, to, wait};
use tramline_store::{Problem, Store, export, inspect, repair};

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tramline-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&path));
    path
}

#[test]
fn a_damaged_store_is_inspected_exported_and_mended() {
    let path = directory("tools");
    let hub = hub(Store::open(&path).unwrap());
    send(&hub, "/queue/a", &["one", "two", "three"]).unwrap();
    let mut escaped = to("/queue/b", "four\0five");
    escaped.headers.push("colon:", "line\nfeed\\");
    wait(hub.publish(vec![escaped], NOW)).unwrap();
    wait(hub.stop(NOW));
    drop(hub);
    let whole = inspect(&path).unwrap();
    assert!(whole.was_closed && whole.problems.is_empty(), "{whole}");
    let queues: Vec<_> = whole
        .queues
        .iter()
        .map(|queue| (&*queue.name, queue.messages))
        .collect();
    assert_eq!(queues, [("/queue/a", 3), ("/queue/b", 1)]);

    let file = path.join("0000000001.log");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes
        .windows(3)
        .position(|window| window == b"two")
        .unwrap();
    bytes[at] ^= 0x10;
    fs::write(&file, &bytes).unwrap();

    let report = inspect(&path).unwrap();
    let [
        Problem::Damaged {
            file: named,
            offset,
            bytes: length,
            records: Some(1),
            ..
        },
    ] = &report.problems[..]
    else {
        panic!("{report}")
    };
    assert_eq!(named, "0000000001.log");
    assert!((*offset..offset + length).contains(&(at as u64)));
    assert!(
        report
            .to_string()
            .contains("SOMETHING IS GONE:\n0000000001.log: "),
        "{report}"
    );

    let mut out = Vec::new();
    export(&path, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let frames: Vec<_> = out.split("SEND\n").skip(1).collect();
    assert_eq!(
        frames,
        [
            "destination:/queue/a\nkind:order\ncontent-length:3\n\none\0\n",
            "destination:/queue/a\nkind:order\ncontent-length:5\n\nthree\0\n",
            "destination:/queue/b\nkind:order\ncolon\\c:line\\nfeed\\\\\ncontent-length:9\n\nfour\0five\0\n",
        ]
    );
    // None of it has changed anything.
    assert_eq!(fs::read(&file).unwrap(), bytes);

    assert!(repair(&path).unwrap().has_losses());
    assert!(path.join("0000000001.damaged").exists());
    let mended = inspect(&path).unwrap();
    assert!(mended.was_closed && mended.problems.is_empty(), "{mended}");
    assert_eq!(mended.messages(), 3);
    fs::remove_dir_all(&path).unwrap();
}

#[test]
fn durable_subscriptions_are_listed_and_exported() {
    let path = directory("tools-durable");
    let hub = hub(Store::open(&path).unwrap());
    Client::durable(&hub, "all", "/topic/kept/**").close();
    Client::durable(&hub, "empty", "/topic/kept/b").close();
    Client::durable(&hub, "full", "/topic/kept/a").close();
    wait(hub.publish(vec![to("/topic/kept/a", "one")], NOW)).unwrap();
    wait(hub.stop(NOW));
    drop(hub);
    let report = inspect(&path).unwrap();
    let queues: Vec<_> = report
        .queues
        .iter()
        .map(|queue| (&*queue.name, queue.messages))
        .collect();
    assert_eq!(
        queues,
        [
            ("subscription:alice:all:/topic/kept/%2A%2A", 1),
            ("subscription:alice:empty:/topic/kept/b", 0),
            ("subscription:alice:full:/topic/kept/a", 1)
        ]
    );
    let mut out = Vec::new();
    export(&path, &mut out).unwrap();
    let frame = "SEND\ndestination:/topic/kept/a\nkind:order\ncontent-length:3\n\none\0\n";
    assert_eq!(String::from_utf8(out).unwrap(), frame.repeat(2));
    fs::remove_dir_all(&path).unwrap();
}

#[test]
fn what_is_no_store_is_not_made_one() {
    let path = directory("none");
    for refused in [repair(&path), inspect(&path)] {
        assert!(refused.unwrap_err().to_string().contains("cannot be used"));
    }
    fs::create_dir(&path).unwrap();
    assert!(repair(&path).unwrap_err().to_string().contains("no store"));
    assert!(inspect(&path).unwrap().is_new);
    fs::remove_dir_all(&path).unwrap();
}
