//! `test`, `ci` and `tidy`: which steps, in which order.

use std::fs;
use std::path::PathBuf;

use crate::autobahn::{self, Cases};
use crate::manifests;
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
            "--all-features",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]))
    });
    steps.step("docs", || {
        run(cargo()
            .args([
                "doc",
                "--workspace",
                "--all-features",
                "--no-deps",
                "--locked",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"))
    });
    manifests::all(steps);
    tidy(steps);
    test(steps);
}

/// The rules that neither the compiler nor another tool checks.
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
    let foreigners = set_up(steps);
    brokers(steps);
    steps.step("cargo test", cargo_test);
    loom(steps);
    steps.step("fuzz seeds", || {
        run(cargo().args(["test", "--manifest-path", "fuzz/Cargo.toml", "--locked"]))
    });
    autobahn::step(steps, Cases::Quick);
    if let Some(foreigners) = foreigners {
        against_servers(steps, &foreigners, &[]);
    }
}

/// What the relay's tests start.
pub(crate) fn brokers(steps: &mut Steps) {
    steps.step("rabbitmq, activemq, artemis", setup::brokers);
}

/// The broker's models.
pub(crate) fn loom(steps: &mut Steps) {
    steps.step("loom", loom_models);
}

/// Set-up, then the browser and the foreign clients alone: the test files with one of `words` in their names, or all.
pub(crate) fn e2e(steps: &mut Steps, words: &[&str]) {
    if let Some(foreigners) = set_up(steps) {
        against_servers(steps, &foreigners, words);
    }
}

/// Who talks to the servers besides node.
struct Foreigners {
    chromium: PathBuf,
    python: PathBuf,
    proxies: setup::Proxies,
}

/// What the browser and the foreign clients need; `None` when a part is not there.
fn set_up(steps: &mut Steps) -> Option<Foreigners> {
    let (mut chromium, mut python, mut proxies) = (None, None, None);
    let clients =
        steps.step("node and npm", setup::node) && steps.step("clients for e2e", setup::clients);
    steps.step("chromium", || {
        let found = setup::chromium()?;
        let remark = found.display().to_string();
        chromium = Some(found);
        Ok(remark)
    });
    steps.step("python clients", || {
        let found = setup::python()?;
        let remark = found.display().to_string();
        python = Some(found);
        Ok(remark)
    });
    steps.step("nginx, haproxy, openssl", || {
        let found = setup::proxies()?;
        let remark = format!("{}, {}", found.nginx.display(), found.haproxy.display());
        proxies = Some(found);
        Ok(remark)
    });
    let foreigners = Foreigners {
        chromium: chromium?,
        python: python?,
        proxies: proxies?,
    };
    clients.then_some(foreigners)
}

fn against_servers(steps: &mut Steps, foreigners: &Foreigners, words: &[&str]) {
    let mut servers = None;
    steps.step("build the servers", || {
        servers = Some(Servers::build()?);
        Ok(String::new())
    });
    let Some(servers) = servers else { return };
    let mut closing = Vec::new();
    steps.step("browser and foreign clients", || {
        run_node(&servers, foreigners, words, &mut closing)
    });
    steps.close_with(closing);
}

fn cargo_test() -> steps::Result {
    let (mut passed, mut suites) = (0, 0);
    run_watched(
        cargo().args([
            "test",
            "--workspace",
            "--all-features",
            "--locked",
            "--no-fail-fast",
        ]),
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

/// In a target folder of its own: loom wants everything built another way.
fn loom_models() -> steps::Result {
    let folder = rules::target_folder()?.join("loom");
    run(cargo()
        .args(["test", "--package", "tramline-broker", "--test", "loom"])
        .args(["--locked", "--target-dir"])
        .arg(folder)
        .env("RUSTFLAGS", "--cfg loom"))
}

/// The count in a closing line of Rust's test runner.
fn passed_tests(line: &str) -> Option<usize> {
    let (_, counts) = line.split_once("test result: ")?;
    let (before, _) = counts.split_once(" passed")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// The binaries that the browser and the foreign clients talk to.
struct Servers {
    gallery: PathBuf,
    /// Built as on a machine without npm.
    gallery_cdn: PathBuf,
    conformance: PathBuf,
    /// What the SockJS tests talk to.
    sockjs_echo: PathBuf,
    /// What proxies stand in front of.
    node: PathBuf,
    /// The program of the guide's first page.
    getting_started: PathBuf,
}

impl Servers {
    fn build() -> Result<Self, Trouble> {
        let built = rules::target_folder()?
            .join("debug")
            .join(binary("gallery"));
        let gallery_cdn = built.with_file_name(binary("gallery-cdn"));
        let build = ["build", "--package", "gallery", "--locked"];
        run(cargo().args(build).env("TRAMLINE_GALLERY_NPM", "skip"))?;
        fs::copy(&built, &gallery_cdn)
            .map_err(|error| Trouble::Failed(format!("{}: {error}", built.display())))?;
        run(cargo().args(build).env_remove("TRAMLINE_GALLERY_NPM"))?;
        let conformance = ["--package", "tramline-example-conformance", "--locked"];
        run(cargo().arg("build").args(conformance))?;
        let echo = [
            "--package",
            "tramline",
            "--example",
            "sockjs_echo",
            "--locked",
        ];
        run(cargo().arg("build").args(echo))?;
        let node = ["--package", "tramline-example-behind-a-proxy", "--locked"];
        run(cargo().arg("build").args(node))?;
        let started = ["--package", "tramline-example-getting-started", "--locked"];
        run(cargo().arg("build").args(started))?;
        let examples = built.with_file_name("examples");
        Ok(Self {
            sockjs_echo: examples.join(binary("sockjs_echo")),
            node: built.with_file_name(binary("behind-a-proxy")),
            getting_started: built.with_file_name(binary("getting-started")),
            conformance: built.with_file_name(binary("conformance")),
            gallery: built,
            gallery_cdn,
        })
    }
}

fn binary(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

fn run_node(
    servers: &Servers,
    foreigners: &Foreigners,
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
    let target = rules::target_folder()?;
    let screenshots = target.join("screenshots");
    let result = run_watched(
        program("node", &folder)
            .args(["--test", "--test-reporter=spec"])
            .args(&tests)
            .env("TRAMLINE_GALLERY_BIN", &servers.gallery)
            .env("TRAMLINE_GALLERY_CDN_BIN", &servers.gallery_cdn)
            .env("TRAMLINE_CONFORMANCE_BIN", &servers.conformance)
            .env("TRAMLINE_ECHO_SOCKJS_BIN", &servers.sockjs_echo)
            .env("TRAMLINE_BEHIND_A_PROXY_BIN", &servers.node)
            .env("TRAMLINE_GETTING_STARTED_BIN", &servers.getting_started)
            .env("TRAMLINE_NGINX", &foreigners.proxies.nginx)
            .env("TRAMLINE_HAPROXY", &foreigners.proxies.haproxy)
            .env("TRAMLINE_CHROMIUM", &foreigners.chromium)
            .env("TRAMLINE_STOMP_PYTHON", &foreigners.python)
            .env("TRAMLINE_STOMP_RESULTS", target.join("stomp-clients.json"))
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
