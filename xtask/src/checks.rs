//! `test`, `ci` and `tidy`: which steps, in which order.

use std::fs;
use std::path::{Path, PathBuf};

use crate::setup;
use crate::steps::{self, Steps, Trouble, cargo, failed, program, root, run, run_watched};
use crate::tidy as rules;

/// Everything a change must pass.
pub(crate) fn ci(steps: &mut Steps) {
    steps.step("fmt", || run(cargo().args(["fmt", "--all", "--check"])));
    steps.step("clippy", || {
        run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]))
    });
    steps.step("docs", || {
        run(cargo()
            .args(["doc", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"))
    });
    tidy(steps);
    test(steps);
}

/// The rules that no compiler checks.
pub(crate) fn tidy(steps: &mut Steps) {
    steps.step("tidy", || {
        let problems = rules::problems()?;
        for problem in &problems {
            println!("{problem}");
        }
        match problems.len() {
            0 => Ok(String::new()),
            count => failed(format!("{count} problems")),
        }
    });
}

/// Set-up, then every test. A failing Rust test does not stop the browser.
pub(crate) fn test(steps: &mut Steps) {
    let chromium = set_up(steps);
    steps.step("cargo test", cargo_test);
    steps.step("fuzz seeds", || {
        run(cargo().args(["test", "--manifest-path", "fuzz/Cargo.toml", "--locked"]))
    });
    if let Some(chromium) = chromium {
        against_gallery(steps, &chromium, &[]);
    }
}

/// Set-up, then the browser and the foreign clients alone: the test files with one of `words` in their names, or all.
pub(crate) fn e2e(steps: &mut Steps, words: &[&str]) {
    if let Some(chromium) = set_up(steps) {
        against_gallery(steps, &chromium, words);
    }
}

/// What the browser tests need; `None` when a part is not there.
fn set_up(steps: &mut Steps) -> Option<PathBuf> {
    let mut chromium = None;
    let clients =
        steps.step("node and npm", setup::node) && steps.step("clients for e2e", setup::clients);
    steps.step("chromium", || {
        let found = setup::chromium()?;
        let remark = found.display().to_string();
        chromium = Some(found);
        Ok(remark)
    });
    chromium.filter(|_| clients)
}

fn against_gallery(steps: &mut Steps, chromium: &Path, words: &[&str]) {
    let mut gallery = None;
    steps.step("build the gallery", || {
        gallery = Some(Gallery::build()?);
        Ok(String::new())
    });
    let Some(gallery) = gallery else { return };
    let mut closing = Vec::new();
    steps.step("browser and foreign clients", || {
        run_node(&gallery, chromium, words, &mut closing)
    });
    steps.close_with(closing);
}

fn cargo_test() -> steps::Result {
    let (mut passed, mut suites) = (0, 0);
    run_watched(
        cargo().args(["test", "--workspace", "--locked", "--no-fail-fast"]),
        |line| {
            if let Some(count) = passed_tests(line) {
                passed += count;
                suites += 1;
            }
            true
        },
    )?;
    Ok(format!("{passed} passed in {suites} suites"))
}

/// The count in a closing line of Rust's test runner.
fn passed_tests(line: &str) -> Option<usize> {
    let (_, counts) = line.split_once("test result: ")?;
    let (before, _) = counts.split_once(" passed")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// The binaries that the browser talks to.
struct Gallery {
    path: PathBuf,
    /// Built as on a machine without npm.
    cdn_path: PathBuf,
}

impl Gallery {
    fn build() -> Result<Self, Trouble> {
        let built = rules::target_folder()?
            .join("debug")
            .join(binary("gallery"));
        let cdn_path = built.with_file_name(binary("gallery-cdn"));
        let build = ["build", "--package", "gallery", "--locked"];
        run(cargo().args(build).env("TRAMLINE_GALLERY_NPM", "skip"))?;
        fs::copy(&built, &cdn_path)
            .map_err(|error| Trouble::Failed(format!("{}: {error}", built.display())))?;
        run(cargo().args(build).env_remove("TRAMLINE_GALLERY_NPM"))?;
        Ok(Self {
            path: built,
            cdn_path,
        })
    }
}

fn binary(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

fn run_node(
    gallery: &Gallery,
    chromium: &Path,
    words: &[&str],
    closing: &mut Vec<String>,
) -> steps::Result {
    let folder = root().join("e2e");
    let mut tests: Vec<_> = fs::read_dir(folder.join("tests"))
        .map_err(|error| Trouble::Failed(format!("e2e/tests: {error}")))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".test.mjs"))
        .filter(|name| words.is_empty() || words.iter().any(|word| name.contains(word)))
        .map(|name| format!("tests/{name}"))
        .collect();
    if tests.is_empty() {
        return failed(format!(
            "no file in e2e/tests has {} in its name",
            words.join(" or ")
        ));
    }
    tests.sort();
    let screenshots = rules::target_folder()?.join("screenshots");
    let result = run_watched(
        program("node", &folder)
            .args(["--test", "--test-reporter=spec"])
            .args(&tests)
            .env("TRAMLINE_GALLERY_BIN", &gallery.path)
            .env("TRAMLINE_GALLERY_CDN_BIN", &gallery.cdn_path)
            .env("TRAMLINE_CHROMIUM", chromium)
            .env("TRAMLINE_SCREENSHOTS", &screenshots),
        |line| {
            let closes = !closing.is_empty() || line.contains("ℹ tests ");
            if closes {
                closing.push(line.to_owned());
            }
            !closes
        },
    );
    if closing.is_empty() {
        return failed("node's test runner did not come to its end");
    }
    result.map(|_| format!("screenshots in {}", screenshots.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_s_closing_line_is_counted() {
        let line = "test result: ok. 17 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(passed_tests(line), Some(17));
        let coloured = "test result: \u{1b}[32mok\u{1b}[0m. 3 passed; 0 failed";
        assert_eq!(passed_tests(coloured), Some(3));
        assert_eq!(passed_tests("test broker::passed ... ok"), None);
    }
}
