//! Set-up and checks of the repository: `cargo xtask help` lists them.

mod autobahn;
mod checks;
mod manifests;
mod measure;
mod setup;
mod soak;
mod steps;
mod tidy;

use std::env;
use std::process::ExitCode;

use autobahn::Cases;
use steps::Steps;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  test       set up what the tests need, then run every test: Rust, foreign clients, browser
  loom       the models of what threads may do to the broker at the same time
  brokers    install the brokers of others that the relay's tests start
  e2e        the browser and foreign-client tests alone, or some of them
  autobahn   the Autobahn test suite alone
  ci         fmt, clippy, docs, manifests, tidy and test, as .ci/run calls it
  manifests  features one by one, licences, duplicate and unused dependencies, packages
  bench      what a delivery, a session and a connection cost, compared with the floor or with another build
  attack     what hostile clients do to an innocent one and to the server's memory
  soak       what takes longer: fuzz targets, all of Autobahn, long random tests
  tidy       dependency edges, npm licences, long files and other rules of the house
  help       this text

`cargo xtask COMMAND --help` says more.";

const TEST_HELP: &str = "\
Usage: cargo xtask test

Sets up: checks node (18 or newer) and npm, installs the clients of e2e/package-lock.json and, in a virtual environment
below target/, those of e2e/requirements.txt, and Debian's chromium, python3, python3-venv, nginx-light, haproxy and
openssl where they are not found (Debian starts the services nginx and haproxy when it installs them; the tests do not
need those), and what `cargo xtask brokers` installs. Then runs `cargo test --workspace`, the models of `cargo xtask loom`, the fuzz seeds, the quick cases of the
Autobahn test suite (see `cargo xtask autobahn --help`), builds the servers and runs e2e/tests against them.

  TRAMLINE_CHROMIUM=PATH   use this Chromium
  TRAMLINE_NGINX=PATH, TRAMLINE_HAPROXY=PATH
                           use these
  CI=true                  a part that cannot run is a failure

Screenshots are left in target/screenshots, what each STOMP client passed in target/stomp-clients.json.";

const BROKERS_HELP: &str = "\
Usage: cargo xtask brokers

Installs Debian's rabbitmq-server, activemq, default-jdk-headless and maven where they are not found, and by Maven the
libraries of Artemis into target/artemis. The tests of crates/relay start brokers of their own, on free ports.";

const E2E_HELP: &str = "\
Usage: cargo xtask e2e [WORD...]

Sets up like `cargo xtask test` and runs the files of e2e/tests whose names contain one of the words, or all.

  TRAMLINE_UPDATE_DOCS=1   write docs/stomp-clients.md from what passed (`cargo xtask e2e stomp`)";

const AUTOBAHN_HELP: &str = "\
Usage: cargo xtask autobahn [--all]

Plays the Autobahn test suite against the echo programs of crates/websocket, as server and as client: its quick cases,
as `cargo xtask test` does, or all 517. The suite needs a Python 2.7, from pyenv or the PATH, and is installed below
target; where there is no such Python the step is left out, in CI too. How each case must go is in
crates/websocket/tests/autobahn.txt; how it went is in target/autobahn, in the same form and as the suite's own report.";

const LOOM_HELP: &str = "\
Usage: cargo xtask loom

Runs the models in crates/broker/tests/loom: every order of what several threads do to an outbox, a topic or a queue,
within a bound of preemptions. Builds into target/loom.

  LOOM_MAX_PREEMPTIONS=N   look further than 3";

const CI_HELP: &str = "\
Usage: cargo xtask ci

Runs `cargo fmt --check`, `cargo clippy` and `cargo doc` with warnings denied, `cargo xtask manifests`, `cargo xtask
tidy` and `cargo xtask test`. Every part runs, also after one that failed; the tests are last.";

const MANIFESTS_HELP: &str = "\
Usage: cargo xtask manifests

Lints each library crate without features, with each one alone and with all (cargo-hack). Checks licences, duplicate
versions and sources of dependencies by deny.toml, that floor 0 and the broker are free of tokio and HTTP by
deny-runtimes.toml, and known vulnerabilities where their database can be fetched (cargo-deny). Finds unused dependencies
(cargo-machete). Packs each library crate (cargo package), outside CI with what is not committed.

Installs the tools, in fixed versions, into tramline-tools in cargo's home.";

const SOAK_HELP: &str = "\
Usage: cargo xtask soak [--seconds N]

Runs each target of fuzz/Cargo.toml for N seconds (300 unless told) by nightly and cargo-fuzz, which is installed when
missing, then all cases of the Autobahn test suite (up to an hour), then the workspace's tests with 20000 cases per
property and the ignored ones included.";

const BENCH_HELP: &str = "\
Usage: cargo xtask bench [--quick] [--noisy] [--against SERVER] [WORKLOAD...]

Builds tramline-bench, the floor (bench/floor) and the load generator (bench/load) in release, runs each workload against
the floor and our server in turn, five times, and prints medians, ratios and their spread. bench/README.md says what the
numbers mean. Every run is in target/bench/bench.json. A lost message is a failure. Linux only.

  --quick            shorter runs, two of ours for each workload: two minutes after the build, and a wider spread
  --noisy            show figures although other programs keep the machine busy
  --against SERVER   compare with this program instead of the floor: the tramline-bench of another commit
  WORKLOAD           fan-out, bursts, large, latency, echo, idle, connect; all unless named";

const ATTACK_HELP: &str = "\
Usage: cargo xtask attack [--quick] [--noisy] all|ATTACK...

Builds tramline-bench and the load generator in release. For each attack it starts the server, has an innocent client echo a
hundred messages a second, attacks for 20 s, and prints the client's p99 before and during the attack, and the server's
memory before, during and a minute after. An attack passes when p99 rises by 20 ms at most, no message of the client is lost,
and memory is back at 1.5 times or 40 MiB above what it was. The reports are in target/bench/attack.json, the server's logs
beside it. Linux only.

  --quick   attacks for 6 s, reads memory after 10 s
  --noisy   measure although other programs keep the machine busy
  ATTACK    tiny-frames, subscribes, patterns, globs, transactions, half-connects, tiny-messages, full-queue, queue-names,
            missing-handlers, sockjs-sessions, sockjs-guesses, stalled-readers, slow-heads";

const TIDY_HELP: &str = "\
Usage: cargo xtask tidy

Checks which crate depends on which, that no more than three files import each other in a circle, npm licences, long
files, leftovers such as `todo!`, and that no file names a package registry's host.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let command = words.next().unwrap_or("help");
    let rest: Vec<&str> = words.collect();

    let help = match command {
        "test" => TEST_HELP,
        "loom" => LOOM_HELP,
        "brokers" => BROKERS_HELP,
        "e2e" => E2E_HELP,
        "autobahn" => AUTOBAHN_HELP,
        "ci" => CI_HELP,
        "manifests" => MANIFESTS_HELP,
        "bench" => BENCH_HELP,
        "attack" => ATTACK_HELP,
        "soak" => SOAK_HELP,
        "tidy" => TIDY_HELP,
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        unknown => return usage(&format!("no command {unknown:?}"), HELP),
    };
    if rest.iter().any(|word| matches!(*word, "--help" | "-h")) {
        println!("{help}");
        return ExitCode::SUCCESS;
    }

    let mut steps = Steps::new();
    match (command, rest.as_slice()) {
        ("test", []) => checks::test(&mut steps),
        ("e2e", words) if !words.iter().any(|word| word.starts_with('-')) => {
            checks::e2e(&mut steps, words);
        }
        ("autobahn", []) => autobahn::step(&mut steps, Cases::Quick),
        ("autobahn", ["--all"]) => autobahn::step(&mut steps, Cases::All),
        ("brokers", []) => checks::brokers(&mut steps),
        ("loom", []) => checks::loom(&mut steps),
        ("ci", []) => checks::ci(&mut steps),
        ("manifests", []) => manifests::all(&mut steps),
        ("tidy", []) => checks::tidy(&mut steps),
        ("bench", rest) => match measure::Options::parse(rest) {
            Ok(options) => measure::bench(&mut steps, &options),
            Err(error) => return usage(&error, help),
        },
        ("attack", rest @ [_, ..]) => match measure::Options::parse(rest) {
            Ok(options) => measure::attack(&mut steps, &options),
            Err(error) => return usage(&error, help),
        },
        ("attack", []) => return usage("attack wants a name, or all", help),
        ("soak", rest) => match soak::Options::parse(rest) {
            Ok(options) => soak::run(&mut steps, &options),
            Err(error) => return usage(&error, help),
        },
        (_, rest) => return usage(&format!("unknown: {}", rest.join(" ")), help),
    }
    steps.finish()
}

fn usage(error: &str, help: &str) -> ExitCode {
    eprintln!("xtask: {error}\n\n{help}");
    ExitCode::from(2)
}
