//! Damaged files: everything that is not damaged is read, nothing wrong is, and the report says what is gone.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use support::Contents;
use support::disk::Disk;
use support::scenario::{self, Journal as Scenario};
use tramline_store::{Files, Problem, Report, Store};

/// A store that was closed: two files with messages, one of them long complete.
fn store() -> (Disk, Contents) {
    let disk = Arc::new(Disk::default());
    let mut scenario = Scenario::open(Arc::clone(&disk));
    let mut removed = Vec::new();
    for number in 0..8 {
        let bodies = [format!("first {number}"), format!("second {number}")];
        let keys = scenario
            .enqueue("/queue/a", &[&bodies[0], &bodies[1]])
            .unwrap();
        removed.push(keys[1]);
    }
    scenario.remove(&removed[..1]).unwrap();
    scenario.store.close().unwrap();
    let contents = scenario.confirmed().after(17);
    assert_eq!(contents["/queue/a"].len(), 15);
    (disk.copy(), contents)
}

fn logs(disk: &Disk) -> Vec<String> {
    let names = disk.list().unwrap().into_iter();
    names.filter(|name| name.ends_with(".log")).collect()
}

fn open(disk: Disk) -> (Report, Contents) {
    let store = Store::open_in(Arc::new(disk), scenario::options()).unwrap();
    (store.report().clone(), support::contents(&store))
}

/// The messages of both; a message whose removal is damaged may be back.
fn is_subset(found: &Contents, whole: &Contents, back: &str) -> bool {
    let whole: BTreeSet<_> = whole["/queue/a"].iter().map(|(body, _)| &**body).collect();
    let mut found = found.values().flatten();
    found.all(|(body, _)| whole.contains(&**body) || body == back)
}

fn count(contents: &Contents) -> usize {
    contents.values().map(Vec::len).sum()
}

#[test]
fn a_flipped_bit_in_every_byte() {
    flip(|at| at % 8..at % 8 + 1);
}

/// For `cargo xtask soak`.
#[test]
#[ignore = "takes a minute"]
fn every_single_bit_flip() {
    flip(|_| 0..8);
}

/// Flips `bits` of each byte, one at a time.
fn flip(bits: impl Fn(usize) -> std::ops::Range<usize>) {
    let (disk, whole) = store();
    let logs = logs(&disk);
    assert!(logs.len() >= 2, "{logs:?}");
    for name in &logs {
        for at in 0..disk.bytes(name).len() {
            for bit in bits(at) {
                let damaged = disk.copy();
                damaged.change(name, |bytes| bytes[at] ^= 1 << bit);
                let (report, found) = open(damaged);
                let context = format!("bit {bit} of byte {at} of {name}: {report}\n{found:?}");
                assert!(is_subset(&found, &whole, "second 0"), "{context}");
                // One record has one message, one removal or none.
                assert!(count(&found) + 1 >= count(&whole), "{context}");
                if at < 128 {
                    // The other copy of the header is there.
                    assert_eq!(found, whole, "{context}");
                    continue;
                }
                let named = report.problems.iter().any(|problem| match problem {
                    Problem::Damaged {
                        file,
                        offset,
                        bytes,
                        ..
                    }
                    | Problem::Cut {
                        file,
                        offset,
                        bytes,
                    } => file == name && (*offset..offset + bytes).contains(&(at as u64)),
                    _ => false,
                });
                assert!(named, "{context}");
                // Only the end, which says that the store was closed, cannot be told from a write under way.
                assert!(report.has_losses() || found == whole, "{context}");
            }
        }
    }
}

#[test]
fn every_truncation() {
    let (disk, whole) = store();
    let logs = logs(&disk);
    for (number, name) in logs.iter().enumerate() {
        let is_last = number + 1 == logs.len();
        for length in 0..disk.bytes(name).len() {
            let damaged = disk.copy();
            damaged.change(name, |bytes| bytes.truncate(length));
            let (report, found) = open(damaged);
            let context = format!("{name} cut at {length}: {report}\n{found:?}");
            assert!(is_subset(&found, &whole, "second 0"), "{context}");
            // A file that was appended to last may end anywhere, after a crash; but not unsaid.
            let is_said = report.problems.iter().any(|problem| problem.file() == name);
            assert!(is_said || (is_last && !report.was_closed), "{context}");
            assert!(is_last || report.has_losses(), "{context}");
        }
    }
}

#[test]
fn a_file_that_is_gone_is_named() {
    let (disk, whole) = store();
    let logs = logs(&disk);
    disk.remove(&logs[0]).unwrap();
    let (report, found) = open(disk);
    assert!(count(&found) < count(&whole));
    let missing = Problem::Missing {
        file: logs[0].clone(),
    };
    assert_eq!(report.problems, [missing]);
}

#[test]
fn an_empty_file_is_no_empty_store() {
    let (disk, _) = store();
    let logs = logs(&disk);
    for name in &logs {
        disk.change(name, Vec::clear);
    }
    let damaged = Arc::new(disk.copy());
    let store = Store::open_in(damaged.clone(), scenario::options()).unwrap();
    let report = store.report();
    assert!(!report.is_new && report.has_losses(), "{report}");
    assert_eq!(report.problems.len(), logs.len(), "{report}");
    store.close().unwrap();
    // They are kept under another name, and named once.
    let names = damaged.list().unwrap();
    for name in &logs {
        assert!(
            names.contains(&name.replace(".log", ".damaged")),
            "{names:?}"
        );
    }
    let (report, _) = open(damaged.copy());
    assert!(report.problems.is_empty(), "{report}");
}

/// What was damaged is set aside once, and the rest is what it was, with keys that were never used.
#[test]
fn a_mended_store_goes_on() {
    let (disk, _) = store();
    let name = logs(&disk).remove(0);
    disk.flip_where(b"first 1");
    let disk = Arc::new(disk);
    let mut scenario = Scenario::open(Arc::clone(&disk));
    assert!(scenario.store.report().has_losses());
    scenario.enqueue("/queue/a", &["new"]).unwrap();
    scenario.store.close().unwrap();
    assert!(
        disk.list()
            .unwrap()
            .contains(&name.replace(".log", ".damaged"))
    );
    let store = Store::open_in(disk, scenario::options()).unwrap();
    let report = store.report();
    assert!(report.problems.is_empty() && report.was_closed, "{report}");
    let bodies = support::bodies(&store, "/queue/a");
    assert_eq!(bodies.len(), 15, "{bodies:?}");
    assert_eq!(bodies.last().unwrap(), "new");
    assert!(!bodies.iter().any(|body| body == "first 1"));
}

/// A message whose body is a copy of a record is no record, even behind damage.
#[test]
fn a_record_in_a_body_is_no_record() {
    let (disk, whole) = store();
    let name = logs(&disk).remove(0);
    let record = {
        let bytes = disk.bytes(&name);
        let mut markers = bytes.windows(4).enumerate();
        let second = markers
            .by_ref()
            .filter(|(_, window)| *window == [0xF5, b'T', b'R', 0xE9])
            .nth(1);
        let start = second.unwrap().0;
        bytes[start..start + 120].to_vec()
    };
    // As a stale block of a disk would show it: the same bytes at another place.
    disk.change(&name, |bytes| {
        let end = bytes.len();
        bytes[end - 200..end - 80].copy_from_slice(&record);
    });
    let (report, found) = open(disk);
    assert!(report.has_losses(), "{report}");
    assert!(is_subset(&found, &whole, "second 0"));
    let bodies: Vec<_> = found["/queue/a"].iter().map(|(body, _)| body).collect();
    let distinct: BTreeSet<_> = bodies.iter().collect();
    assert_eq!(bodies.len(), distinct.len(), "{bodies:?}");
}
