//! Named, timed steps, their children's output, and the table at the end.

use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How a step ended.
#[derive(Debug)]
enum Outcome {
    Passed,
    Failed,
    /// It could not run here; a failure where `CI=true`.
    Missing,
    /// It needs what machines cannot be expected to have.
    LeftOut,
}

/// Why a step did not pass.
#[derive(Debug)]
pub(crate) enum Trouble {
    Failed(String),
    /// A part that `CI=true` insists on.
    Missing(String),
    /// A part that nobody insists on, but that is named.
    LeftOut(String),
}

/// A short remark for the table, or the trouble.
pub(crate) type Result = std::result::Result<String, Trouble>;

/// Fails a step with a text.
pub(crate) fn failed<T>(text: impl Into<String>) -> std::result::Result<T, Trouble> {
    Err(Trouble::Failed(text.into()))
}

struct Row {
    name: &'static str,
    outcome: Outcome,
    time: Duration,
    remark: String,
}

/// Runs steps and remembers how they went.
pub(crate) struct Steps {
    rows: Vec<Row>,
    /// A test runner's closing lines, kept back so that they end the output.
    closing: Vec<String>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            closing: Vec::new(),
        }
    }

    /// Runs one step; whether it passed (a missing part outside CI counts as passed).
    pub(crate) fn step(&mut self, name: &'static str, run: impl FnOnce() -> Result) -> bool {
        println!("\n=== {name}");
        let begun = Instant::now();
        let result = run();
        let time = begun.elapsed();
        let (outcome, remark) = match result {
            Ok(remark) => (Outcome::Passed, remark),
            Err(Trouble::Missing(reason)) if !in_ci() => (Outcome::Missing, reason),
            Err(Trouble::Failed(reason) | Trouble::Missing(reason)) => (Outcome::Failed, reason),
            Err(Trouble::LeftOut(reason)) => (Outcome::LeftOut, reason),
        };
        let passed = !matches!(outcome, Outcome::Failed);
        println!(
            "--- {name}: {} in {}{}",
            outcome.word(),
            seconds(time),
            if remark.is_empty() {
                String::new()
            } else {
                format!(" ({remark})")
            }
        );
        self.rows.push(Row {
            name,
            outcome,
            time,
            // The table has one line for each step.
            remark: remark.lines().next().unwrap_or_default().to_owned(),
        });
        passed
    }

    /// Keeps lines for the very end.
    pub(crate) fn close_with(&mut self, lines: Vec<String>) {
        self.closing = lines;
    }

    /// Prints the table and the closing lines.
    pub(crate) fn finish(self) -> ExitCode {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0);
        println!("\n=== summary");
        for row in &self.rows {
            println!(
                "{:width$}  {:8}  {:>8}  {}",
                row.name,
                row.outcome.word(),
                seconds(row.time),
                row.remark
            );
        }
        let total: Duration = self.rows.iter().map(|row| row.time).sum();
        println!("{:width$}  {:8}  {:>8}", "all", "", seconds(total));
        for line in &self.closing {
            println!("{line}");
        }
        if self
            .rows
            .iter()
            .any(|row| matches!(row.outcome, Outcome::Failed))
        {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Missing => "missing",
            Self::LeftOut => "left out",
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Whether a part that cannot run is a failure.
pub(crate) fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true")
}

/// The root of the repository this runs in: of the checkout, not of where the binary was built.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest
        .parent()
        .expect("xtask is a folder of the repository")
        .to_owned()
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    if io::stdout().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    cargo
}

/// A program in a folder of the repository.
pub(crate) fn program(name: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder);
    command
}

/// Runs a child with its output passed through.
pub(crate) fn run(command: &mut Command) -> Result {
    announce(command);
    match command.status() {
        Ok(status) if status.success() => Ok(String::new()),
        Ok(status) => failed(status.to_string()),
        Err(error) => failed(format!(
            "{} does not start: {error}",
            command.get_program().display()
        )),
    }
}

/// Runs a child and shows each line of its standard output for which `keep` says so, at once.
pub(crate) fn run_watched(command: &mut Command, mut keep: impl FnMut(&str) -> bool) -> Result {
    announce(command);
    let name = command.get_program().display().to_string();
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("{name} does not start: {error}")),
    };
    let output = child.stdout.take().expect("stdout is piped");
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        if keep(&line) {
            println!("{line}");
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(String::new()),
        Ok(status) => failed(status.to_string()),
        Err(error) => failed(format!("{name}: {error}")),
    }
}

/// What a child prints, when it succeeds.
pub(crate) fn output(command: &mut Command) -> std::result::Result<String, Trouble> {
    let name = command.get_program().display().to_string();
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => failed(format!("{name}: {}", output.status)),
        Err(error) => Err(Trouble::Missing(format!("{name} does not start: {error}"))),
    }
}

fn announce(command: &Command) {
    let words: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    println!("$ {} {}", name.display(), words.join(" "));
    // The child writes to the same place; a failure here would show there.
    let _ = io::stdout().flush();
}
