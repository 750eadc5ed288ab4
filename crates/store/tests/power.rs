//! A disk whose power fails: what was not synced may be gone, torn or written in another order.

mod support;

use std::sync::Arc;

use support::disk::{Disk, Loss};
use support::scenario::{self, Journal as Scenario};
use tramline_broker::{Change, Journal};
use tramline_store::{Files, Problem, Store};

/// The power fails after every single operation on the disk, and each time in all ways.
#[test]
fn every_crash_point_of_a_scenario() {
    let disk = Arc::new(Disk::default());
    let mut scenario = Scenario::open(Arc::clone(&disk));
    scenario::run(&mut scenario);
    let confirmed = scenario.confirmed();
    let operations = disk.operations();
    assert!(
        operations > 100,
        "the scenario does {operations} operations"
    );
    for point in 0..=operations {
        for loss in Loss::ALL {
            let after = Arc::new(disk.after_crash(point, loss));
            let store = Store::open_in(after.clone(), scenario::options()).unwrap();
            let report = store.report();
            let losses: Vec<_> = report
                .problems
                .iter()
                .filter(|problem| problem.is_loss())
                .collect();
            assert!(
                losses.is_empty(),
                "power fails at {point} ({loss:?}): {losses:?}"
            );
            confirmed.check(
                point,
                &support::contents(&store),
                &format!("at {point}, {loss:?}"),
            );
            store.close().unwrap();
            // What was mended stays mended.
            let again = Store::open_in(after, scenario::options()).unwrap();
            let report = again.report();
            assert!(
                report.was_closed && report.problems.is_empty(),
                "at {point} ({loss:?}): {report}"
            );
            confirmed.check(
                point,
                &support::contents(&again),
                &format!("again at {point}, {loss:?}"),
            );
        }
    }
}

/// The process is killed after every operation: the operating system has all that was written.
#[test]
fn every_kill_point_keeps_what_was_written() {
    let disk = Arc::new(Disk::default());
    let mut scenario = Scenario::open(Arc::clone(&disk));
    scenario::run(&mut scenario);
    for point in 0..=disk.operations() {
        let after = Arc::new(disk.after_crash(point, Loss::Nothing));
        let store = Store::open_in(after, scenario::options()).unwrap();
        assert!(
            store.report().problems.is_empty(),
            "at {point}: {}",
            store.report()
        );
    }
}

/// A record that nobody waits for to be synced, and that makes files worth compacting.
#[test]
fn compaction_tears_no_record() {
    let disk = Arc::new(Disk::default());
    let mut scenario = Scenario::open(Arc::clone(&disk));
    let long = "x".repeat(150);
    let bodies: Vec<_> = (0..12).map(|number| format!("{number} {long}")).collect();
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    let keys = scenario.enqueue("/queue/a", &bodies).unwrap();
    let before = disk.operations();
    // All of the first files, and one message of the last.
    let removed = [&keys[..9], &keys[11..]].concat();
    let removals: Vec<_> = removed
        .iter()
        .map(|key| Change::Remove { key: *key })
        .collect();
    scenario.store.append(&removals);
    scenario.store.close().unwrap();
    let files = disk.list().unwrap();
    assert!(!files.contains(&"0000000001.log".to_owned()), "{files:?}");
    for point in before..=disk.operations() {
        for loss in Loss::ALL {
            let after = Arc::new(disk.after_crash(point, loss));
            let store = Store::open_in(after, scenario::options()).unwrap();
            let found = support::bodies(&store, "/queue/a").len();
            assert!(
                [12, 2].contains(&found),
                "at {point}, {loss:?}: {found} are left"
            );
        }
    }
}

#[test]
fn a_failed_sync_is_the_last_one() {
    let disk = Arc::new(Disk::default());
    let mut scenario = Scenario::open(Arc::clone(&disk));
    scenario.enqueue("/queue/a", &["1"]).unwrap();
    disk.fail_next_sync();
    assert!(scenario.enqueue("/queue/a", &["2"]).is_err());
    // The disk would work again, but what it dropped is not known.
    let error = scenario.enqueue("/queue/a", &["3"]).unwrap_err();
    assert!(error.to_string().contains("has failed"), "{error}");
    assert!(scenario.store.close().is_err());
    let after = Arc::new(disk.after_crash(disk.operations(), Loss::Everything));
    let store = Store::open_in(after, scenario::options()).unwrap();
    assert_eq!(support::bodies(&store, "/queue/a"), ["1"]);
}

#[test]
fn a_full_disk_refuses_publishers_and_takes_acknowledgements() {
    let disk = Arc::new(Disk::default());
    let mut scenario = Scenario::open(Arc::clone(&disk));
    let first = scenario.enqueue("/queue/a", &["1", "2"]).unwrap();
    disk.set_room(0);
    // What was accepted before the disk was full goes into the reserve.
    scenario.enqueue("/queue/a", &["3"]).unwrap();
    let refused = scenario.check(1).unwrap_err();
    assert!(
        refused.to_string().starts_with("the store holds"),
        "{refused}"
    );
    scenario.remove(&first).unwrap();
    disk.set_room(u64::MAX);
    scenario.store.close().unwrap();
    let store = Store::open_in(disk.clone(), scenario::options()).unwrap();
    assert_eq!(support::bodies(&store, "/queue/a"), ["3"]);
    assert!(tramline_broker::Journal::check(&store, 1).is_ok());
}

/// A message that cannot be read any more is missing, and never another one.
#[test]
fn damage_while_the_store_is_open() {
    let disk = Arc::new(Disk::default());
    let mut scenario = Scenario::open(Arc::clone(&disk));
    let keys = scenario.enqueue("/queue/a", &["one", "two"]).unwrap();
    disk.flip_where(b"one");
    let fetched = scenario.fetch(&keys);
    let bodies: Vec<_> = fetched
        .iter()
        .map(|fetched| fetched.message.is_some())
        .collect();
    assert_eq!(bodies, [false, true]);
    drop(scenario);
    let store = Store::open_in(disk, scenario::options()).unwrap();
    let problems = &store.report().problems;
    assert!(
        matches!(
            problems[..],
            [Problem::Damaged {
                records: Some(1),
                ..
            }]
        ),
        "{problems:?}"
    );
    assert_eq!(support::bodies(&store, "/queue/a"), ["two"]);
}
