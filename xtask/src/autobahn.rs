//! The Autobahn test suite against the echo programs of crates/websocket, as server and as client.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::steps::{self, Steps, Trouble, cargo, failed, program, root, run};
use crate::tidy;

const SUITE: &str = "autobahntestsuite==25.10.1";

/// What is expected of each case, relative to the root.
const EXPECTED: &str = "crates/websocket/tests/autobahn.txt";

const AGENT: &str = "tramline";

/// Which cases are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cases {
    /// All but 12.* and 13.*, which take up to an hour, and a sample of those.
    Quick,
    /// All 517.
    All,
}

impl Cases {
    fn name(self) -> &'static str {
        match self {
            Self::Quick => "autobahn",
            Self::All => "autobahn, all cases",
        }
    }

    fn patterns(self) -> &'static [&'static str] {
        match self {
            Self::Quick => &[
                "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.1.2", "12.2.3",
                "12.3.1", "12.4.11", "12.5.4", "13.1.4", "13.2.3", "13.3.2", "13.4.1", "13.5.11",
                "13.6.3", "13.7.5",
            ],
            Self::All => &["*"],
        }
    }

    /// Seconds-long cases deserve fast programs; for the others building them would take longer than playing.
    fn profile(self) -> &'static str {
        match self {
            Self::Quick => "dev",
            Self::All => "release",
        }
    }
}

/// The cases as a step.
pub(crate) fn step(steps: &mut Steps, cases: Cases) {
    steps.step(cases.name(), || play(cases));
}

/// Plays the cases in both roles and compares how they went with what is expected.
fn play(cases: Cases) -> steps::Result {
    let Some(python) = python() else {
        return Err(Trouble::LeftOut(
            "no Python 2.7 by pyenv or in the PATH (`pyenv install 2.7.18`)".to_owned(),
        ));
    };
    let folder = tidy::target_folder()?.join("autobahn");
    let wstest = install(&python, &folder.join("python"))?;
    let programs = build(cases)?;
    let folder = folder.join(match cases {
        Cases::Quick => "quick",
        Cases::All => "all",
    });
    // Else a suite that dies leaves the reports of the last time.
    let _ = fs::remove_dir_all(&folder);
    create(&folder)?;
    println!("(reports and logs in {})", folder.display());

    let (server, client) = thread::scope(|scope| {
        let server = scope.spawn(|| as_server(cases, &wstest, &programs, &folder.join("server")));
        let client = as_client(cases, &wstest, &programs, &folder.join("client"));
        (server.join().expect("does not panic"), client)
    });
    let seen = table(&server?, &client?);
    let seen_file = folder.join("seen.txt");
    write(&seen_file, &print(&seen))?;
    let expected = fs::read_to_string(root().join(EXPECTED))
        .map_err(|error| Trouble::Failed(format!("{EXPECTED}: {error}")))?;
    let problems = compare(&seen, &parse(&expected), cases);
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => Ok(format!("{} cases in both roles", seen.len())),
        count => failed(format!(
            "{count} cases not as in {EXPECTED}; {} has what was seen",
            seen_file.display()
        )),
    }
}

/// pyenv's Python 2.7, or one in the PATH.
fn python() -> Option<PathBuf> {
    let is_2_7 = |python: &Path| {
        let version = "import sys; print(sys.version_info[:2] == (2, 7))";
        let mut command = Command::new(python);
        command.args(["-c", version]).stderr(Stdio::null());
        let output = command.output();
        output.is_ok_and(|output| output.stdout.trim_ascii() == b"True")
    };
    let pyenv = Command::new("pyenv").arg("root").output().ok();
    let versions = pyenv
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|root| fs::read_dir(Path::new(root.trim()).join("versions")).ok());
    let by_pyenv = versions
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| is_prefix("2.7", name)))
        .map(|path| path.join("bin/python2.7"));
    by_pyenv
        .chain(["python2.7".into(), "python2".into()])
        .find(|python| is_2_7(python))
}

fn is_prefix(prefix: &str, name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(prefix))
}

/// Sets up a virtual environment with the suite, unless it is there; gives its `wstest`.
fn install(python: &Path, folder: &Path) -> Result<PathBuf, Trouble> {
    let wstest = folder.join("bin/wstest");
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|what| what == SUITE) {
        return Ok(wstest);
    }
    let tool = folder.with_extension("virtualenv");
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
        .arg(&tool)
        // The last with support for Python 2.7.
        .arg("virtualenv<20.22"))?;
    run(Command::new(python)
        .args(["-m", "virtualenv", "--quiet"])
        .arg(folder)
        .env("PYTHONPATH", &tool))?;
    run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", SUITE]))?;
    write(&installed, SUITE)?;
    Ok(wstest)
}

/// Builds the echo programs; gives their folder.
fn build(cases: Cases) -> Result<PathBuf, Trouble> {
    run(cargo().args([
        "build",
        "--package=tramline-websocket",
        "--examples",
        "--locked",
        &format!("--profile={}", cases.profile()),
    ]))?;
    let folder = match cases.profile() {
        "dev" => "debug",
        profile => profile,
    };
    Ok(tidy::target_folder()?.join(folder).join("examples"))
}

/// How each case went: the behaviour, and the behaviour when closing.
type Report = BTreeMap<Case, String>;

/// Plays the cases against the echo server.
fn as_server(
    cases: Cases,
    wstest: &Path,
    programs: &Path,
    folder: &Path,
) -> Result<Report, Trouble> {
    create(folder)?;
    let mut server = Running(
        program(programs.join("echo_server"), folder)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(log(folder, "echo_server.log")?)
            .spawn()
            .map_err(|error| Trouble::Failed(format!("echo_server does not start: {error}")))?,
    );
    let stdout = server.0.stdout.take().expect("stdout is piped");
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    let Some(address) = line.trim().strip_prefix("listening on ") else {
        return failed(format!("echo_server does not say where it is: {read:?}"));
    };
    let spec = json!({
        "outdir": "./report",
        "servers": [{"agent": AGENT, "url": format!("ws://{address}")}],
        "cases": cases.patterns(),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    write(&folder.join("spec.json"), &spec.to_string())?;
    finish(
        program(wstest, folder)
            .args(["--mode=fuzzingclient", "--spec=spec.json"])
            .stdout(log(folder, "wstest.log")?)
            .stderr(log(folder, "wstest.err.log")?),
    )?;
    report(folder)
}

/// Plays the cases with the echo client.
fn as_client(
    cases: Cases,
    wstest: &Path,
    programs: &Path,
    folder: &Path,
) -> Result<Report, Trouble> {
    create(folder)?;
    // The suite cannot choose a free port itself.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let address = free.map_err(|error| Trouble::Failed(format!("no free port: {error}")))?;
    let spec = json!({
        "outdir": "./report",
        "url": format!("ws://{address}"),
        "cases": cases.patterns(),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    write(&folder.join("spec.json"), &spec.to_string())?;
    let _server = Running(
        program(wstest, folder)
            .args(["--mode=fuzzingserver", "--webport=0", "--spec=spec.json"])
            .stdout(log(folder, "wstest.log")?)
            .stderr(log(folder, "wstest.err.log")?)
            .spawn()
            .map_err(|error| Trouble::Failed(format!("wstest does not start: {error}")))?,
    );
    let begun = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        if begun.elapsed() > START {
            return failed(format!("wstest does not listen at {address}: {error}"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    finish(
        program(programs.join("echo_client"), folder)
            .arg(address.to_string())
            .stdout(log(folder, "echo_client.log")?)
            .stderr(log(folder, "echo_client.err.log")?),
    )?;
    report(folder)
}

/// How long Python may take to import the suite.
const START: Duration = Duration::from_secs(60);

/// A child that does not outlive its use.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a child that writes to its logs alone.
fn finish(command: &mut Command) -> Result<(), Trouble> {
    let name = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => failed(format!("{name}: {status}")),
        Err(error) => failed(format!("{name} does not start: {error}")),
    }
}

fn report(folder: &Path) -> Result<Report, Trouble> {
    let file = folder.join("report/index.json");
    let text = fs::read_to_string(&file)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", file.display())))?;
    let index: Value = serde_json::from_str(&text)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", file.display())))?;
    let Some(cases) = index[AGENT].as_object() else {
        return failed(format!("{} says nothing of {AGENT}", file.display()));
    };
    let word = |value: &Value| value.as_str().unwrap_or("?").replace(' ', "-");
    let cases = cases.iter().map(|(case, how)| {
        let (behaviour, close) = (word(&how["behavior"]), word(&how["behaviorClose"]));
        let how = if behaviour == close {
            behaviour
        } else {
            format!("{behaviour}+{close}")
        };
        (Case::from(case.as_str()), how)
    });
    Ok(cases.collect())
}

/// A case's name, sorted by its numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Case(Vec<u32>, String);

impl From<&str> for Case {
    fn from(name: &str) -> Self {
        let numbers = name.split('.').map(|part| part.parse().unwrap_or(0));
        Self(numbers.collect(), name.to_owned())
    }
}

/// How each case went as server and as client.
type Table = BTreeMap<Case, [String; 2]>;

fn table(server: &Report, client: &Report) -> Table {
    let cases = server.keys().chain(client.keys());
    let how = |report: &Report, case: &Case| {
        let how = report.get(case).map(String::as_str);
        how.unwrap_or("NOT-PLAYED").to_owned()
    };
    cases
        .map(|case| (case.clone(), [how(server, case), how(client, case)]))
        .collect()
}

fn print(table: &Table) -> String {
    let lines = table
        .iter()
        .map(|(case, [server, client])| format!("{} {server} {client}\n", case.1));
    let head = "# Autobahn: case, how it goes as server, how it goes as client; see `cargo xtask autobahn --help`.\n";
    std::iter::once(head.to_owned()).chain(lines).collect()
}

fn parse(text: &str) -> Table {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let case = Case::from(words.next()?);
        Some((case, [words.next()?.to_owned(), words.next()?.to_owned()]))
    });
    words.collect()
}

/// What was seen and not expected, and what must not be seen whatever is expected.
fn compare(seen: &Table, expected: &Table, cases: Cases) -> Vec<String> {
    let mut problems = Vec::new();
    for (case, how) in seen {
        for (how, role) in how.iter().zip(["server", "client"]) {
            let words = how.split('+');
            if !words.clone().all(|word| PASSED.contains(&word)) {
                problems.push(format!("{} as {role}: {how}", case.1));
            }
        }
        match expected.get(case) {
            Some(expected) if expected == how => {}
            Some([server, client]) => problems.push(format!(
                "{}: expected {server} as server and {client} as client, seen {} and {}",
                case.1, how[0], how[1]
            )),
            None => problems.push(format!("{}: not in {EXPECTED}", case.1)),
        }
    }
    let missing = expected.keys().filter(|case| !seen.contains_key(case));
    if cases == Cases::All {
        problems.extend(missing.map(|case| format!("{}: expected and not played", case.1)));
    }
    if seen.is_empty() {
        problems.push("no case was played".to_owned());
    }
    problems
}

const PASSED: &[&str] = &["OK", "NON-STRICT", "INFORMATIONAL"];

fn create(folder: &Path) -> Result<(), Trouble> {
    fs::create_dir_all(folder)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", folder.display())))
}

fn write(file: &Path, text: &str) -> Result<(), Trouble> {
    fs::write(file, text).map_err(|error| Trouble::Failed(format!("{}: {error}", file.display())))
}

fn log(folder: &Path, name: &str) -> Result<File, Trouble> {
    File::create(folder.join(name)).map_err(|error| Trouble::Failed(format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(seen: &str, expected: &str, cases: Cases) -> Vec<String> {
        compare(&parse(seen), &parse(expected), cases)
    }

    #[test]
    fn what_is_as_expected_passes() {
        let all = "# a remark\n1.1.1 OK OK\n7.1.6 INFORMATIONAL OK+NON-STRICT\n10.1.1 OK OK\n";
        assert!(compared(all, all, Cases::All).is_empty());
        assert!(compared("1.1.1 OK OK\n", all, Cases::Quick).is_empty());
        assert_eq!(compared("1.1.1 OK OK\n", all, Cases::All).len(), 2);
        assert_eq!(parse(&print(&parse(all))), parse(all));
    }

    #[test]
    fn what_failed_or_changed_is_named() {
        let failed = "1.1.1 FAILED OK\n";
        assert_eq!(
            compared(failed, failed, Cases::All),
            ["1.1.1 as server: FAILED"]
        );
        let unclean = "1.1.1 OK OK+UNCLEAN\n";
        assert_eq!(
            compared(unclean, unclean, Cases::All),
            ["1.1.1 as client: OK+UNCLEAN"]
        );
        let changed = compared("1.1.1 OK NON-STRICT\n", "1.1.1 OK OK\n", Cases::Quick);
        assert_eq!(changed.len(), 1);
        assert_eq!(compared("", "", Cases::Quick), ["no case was played"]);
        assert_eq!(compared("1.1.1 OK OK\n", "", Cases::Quick).len(), 1);
    }

    #[test]
    fn cases_are_sorted_by_their_numbers() {
        let table = parse("10.1.1 OK OK\n9.1.10 OK OK\n9.1.2 OK OK\n");
        let names: Vec<_> = table.keys().map(|case| case.1.as_str()).collect();
        assert_eq!(names, ["9.1.2", "9.1.10", "10.1.1"]);
    }
}
