//! What takes longer than a change should wait: fuzzing and long random tests.

use std::fs;

use crate::autobahn::{self, Cases};
use crate::steps::{self, Steps, Trouble, cargo, failed, program, root};
use crate::tidy;

/// What an input may take before it counts as a failure. The slowest seed takes a thousandth of it.
const SECONDS_PER_INPUT: u32 = 5;

const PROPERTY_CASES: &str = "20000";

/// How long each fuzz target runs.
#[derive(Debug)]
pub(crate) struct Options {
    seconds: u32,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        match words {
            [] => Ok(Self { seconds: 300 }),
            ["--seconds", number] => match number.parse() {
                Ok(seconds) if seconds > 0 => Ok(Self { seconds }),
                _ => Err(format!("--seconds wants a number above 0, not {number:?}")),
            },
            _ => Err(format!("unknown: {}", words.join(" "))),
        }
    }
}

/// Runs every fuzz target, the whole Autobahn suite, then the long random tests.
pub(crate) fn run(steps: &mut Steps, options: &Options) {
    steps.step("fuzz", || fuzz(options.seconds));
    autobahn::step(steps, Cases::All);
    steps.step("long random tests", || {
        run_tests()?;
        Ok(format!("{PROPERTY_CASES} cases per property"))
    });
}

fn fuzz(seconds: u32) -> steps::Result {
    let manifest = root().join("fuzz/Cargo.toml");
    let Ok(manifest) = fs::read_to_string(manifest) else {
        return Err(Trouble::Missing("there is no fuzz/Cargo.toml".to_owned()));
    };
    let targets = binaries(&manifest);
    if targets.is_empty() {
        return failed("fuzz/Cargo.toml names no [[bin]]");
    }
    if cargo_fuzz(&["--version"]).is_err() {
        steps::run(cargo().args(["install", "cargo-fuzz", "--locked"]))?;
    }
    let built = tidy::target_folder()?;
    for target in &targets {
        println!("\n    {target}, {seconds} s");
        // What is found goes to the first folder; the seeds stay as they are.
        let corpus = built.join("fuzz-corpus").join(target);
        fs::create_dir_all(&corpus)
            .map_err(|error| Trouble::Failed(format!("{}: {error}", corpus.display())))?;
        let run = cargo_fuzz(&[
            "run",
            "--features=libfuzzer",
            &format!("--target-dir={}", built.join("fuzz").display()),
            target,
            &corpus.display().to_string(),
            &format!("fuzz/seeds/{target}"),
            "--",
            &format!("-max_total_time={seconds}"),
            &format!("-timeout={SECONDS_PER_INPUT}"),
        ]);
        if let Err(Trouble::Failed(reason) | Trouble::Missing(reason) | Trouble::LeftOut(reason)) =
            run
        {
            return failed(format!(
                "{target}: {reason}; its input, if it was one, is in fuzz/artifacts/{target}"
            ));
        }
    }
    Ok(format!("{}, {seconds} s each", targets.join(", ")))
}

/// The names of a manifest's `[[bin]]` sections.
fn binaries(manifest: &str) -> Vec<String> {
    let sections = manifest.split("[[bin]]").skip(1);
    let names = sections.filter_map(|section| {
        let line = section
            .lines()
            .find(|line| line.trim_start().starts_with("name"))?;
        line.split('"').nth(1)
    });
    names.map(str::to_owned).collect()
}

fn cargo_fuzz(arguments: &[&str]) -> steps::Result {
    // By rustup: the `cargo` in front of this process is one toolchain's own and takes no `+nightly`.
    let mut rustup = program("rustup", &root());
    steps::run(
        rustup
            .args(["run", "nightly", "cargo", "fuzz"])
            .args(arguments),
    )
}

fn run_tests() -> steps::Result {
    steps::run(
        cargo()
            .args([
                "test",
                "--workspace",
                "--all-features",
                "--locked",
                "--release",
                "--",
                "--include-ignored",
            ])
            .env("PROPTEST_CASES", PROPERTY_CASES)
            // Sixty test binaries: linking each of them whole would take longer than the tests.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_targets_are_the_manifest_s_binaries() {
        let manifest = "[package]\nname = \"fuzz\"\n\n[[bin]]\nname = \"decoder\"\npath = \"a.rs\"\n\n[[bin]]\npath = \
                        \"b.rs\"\nname = \"session\"\n";
        assert_eq!(binaries(manifest), ["decoder", "session"]);
    }

    #[test]
    fn seconds_are_a_number_above_nought() {
        assert_eq!(Options::parse(&[]).unwrap().seconds, 300);
        assert_eq!(Options::parse(&["--seconds", "5"]).unwrap().seconds, 5);
        assert!(Options::parse(&["--seconds", "0"]).is_err());
        assert!(Options::parse(&["--minutes", "5"]).is_err());
    }
}
