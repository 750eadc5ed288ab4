//! Every committed seed still passes: what a fuzz run found once is not found again.

use std::{fs, panic, path::Path};

use tramline_fuzz::TARGETS;

const SMALL: usize = 4096;

#[test]
fn every_seed_passes_its_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut failures = Vec::new();
    for (target, run) in TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(seeds.join(target)).expect("each target has seeds") {
            let path = entry.expect("a seed").path();
            let seed = fs::read(&path).expect("a seed can be read");
            assert!(seed.len() < SMALL, "{} is large", path.display());
            if panic::catch_unwind(|| run(&seed)).is_err() {
                failures.push(path);
            }
            count += 1;
        }
        assert!(count > 0, "{target} has no seeds");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn no_input_at_all_is_fine() {
    for (_, run) in TARGETS {
        run(b"");
        run(b"\n");
    }
}
