//! Measures what an attack does to an innocent client and to the server's memory.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Serialize;

use crate::connection::Target;
use crate::flood::Flood;
use crate::process;
use crate::victim::{Phase, Victim};

/// How long each part takes.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Before the attack.
    pub quiet: Duration,
    /// The attack.
    pub attack: Duration,
    /// After it, until memory is read.
    pub after: Duration,
}

impl Times {
    /// Those of a whole run.
    pub const FULL: Self = Self {
        quiet: Duration::from_secs(10),
        attack: Duration::from_secs(20),
        after: Duration::from_secs(60),
    };

    /// Those of `--quick`.
    pub const QUICK: Self = Self {
        quiet: Duration::from_secs(4),
        attack: Duration::from_secs(6),
        after: Duration::from_secs(10),
    };
}

/// By how much the innocent client's p99 may rise.
pub const MAX_RISE: Duration = Duration::from_millis(20);

/// The measurements of one attack.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The attack.
    pub name: &'static str,
    /// The innocent client's p99 before it.
    pub quiet_p99_ms: f64,
    /// The same during it.
    pub attack_p99_ms: f64,
    /// The innocent client's slowest message during it.
    pub attack_max_ms: f64,
    /// How late the innocent client itself was, p99: time that is not the server's.
    pub client_late_p99_ms: f64,
    /// The innocent client's messages that did not come back.
    pub lost: u64,
    /// How the innocent client was disconnected, if it was.
    pub ended: Option<String>,
    /// The server's resident memory before, in bytes.
    pub memory_before: u64,
    /// The most during the attack.
    pub memory_peak: u64,
    /// The server's resident memory after the attack and its wait.
    pub memory_after: u64,
    /// Bytes that the server wrote to its log per second of the attack.
    pub log_bytes_per_second: f64,
    /// The work of the attackers, as text.
    pub attackers: String,
    /// Why it counts as failed; empty when it passed.
    pub failures: Vec<String>,
}

/// Runs one attack, by a process of its own that yields to the server: attackers have machines of their own.
///
/// `log` is the file that the server's standard error goes to.
///
/// # Errors
///
/// The innocent client cannot connect, the attackers cannot start, or the server's process is gone.
pub async fn run(
    flood: Flood,
    target: &Target,
    url: &str,
    pid: u32,
    log: &Path,
    times: Times,
) -> io::Result<Report> {
    let mut victim = Victim::connect(target).await?;
    let patience = Duration::from_secs(5);
    let warm_up = Duration::from_secs(1);
    victim
        .phase(patience, |passed| Ok(passed >= warm_up))
        .await?;
    let quiet = victim
        .phase(patience, |passed| Ok(passed >= times.quiet))
        .await?;

    let before = process::usage(pid)?.resident;
    let logged = fs::metadata(log)?.len();
    let mut attackers = Attackers::start(flood, url, times.attack)?;
    let mut peak = before;
    let attack = victim
        .phase(patience, |passed| {
            peak = peak.max(process::usage(pid)?.resident);
            attackers.has_ended(passed > times.attack * 2)
        })
        .await?;
    let logged = fs::metadata(log)?.len() - logged;
    let said = attackers.finish()?;

    let after = victim
        .phase(patience, |passed| Ok(passed >= times.after))
        .await?;
    let memory_after = process::usage(pid)?.resident;
    let mut report = Report {
        name: flood.name(),
        quiet_p99_ms: p99(&quiet),
        attack_p99_ms: p99(&attack),
        attack_max_ms: millis(attack.latencies.max()),
        client_late_p99_ms: millis(attack.late.percentile(0.99)),
        lost: quiet.lost + attack.lost + after.lost,
        ended: after.ended,
        memory_before: before,
        memory_peak: peak,
        memory_after,
        log_bytes_per_second: logged as f64 / times.attack.as_secs_f64(),
        attackers: said,
        failures: vec![],
    };
    report.failures = failures(&report);
    Ok(report)
}

fn p99(phase: &Phase) -> f64 {
    millis(phase.latencies.percentile(0.99))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn failures(report: &Report) -> Vec<String> {
    let mut failures = Vec::new();
    let rise = report.attack_p99_ms - report.quiet_p99_ms;
    if rise > millis(MAX_RISE) {
        failures.push(format!("p99 rose by {rise:.0} ms"));
    }
    if report.lost > 0 {
        failures.push(format!("{} messages lost", report.lost));
    }
    if let Some(ended) = &report.ended {
        failures.push(format!("the innocent client was disconnected: {ended}"));
    }
    if report.memory_after > allowed(report.memory_before) {
        failures.push("memory stayed".to_owned());
    }
    failures
}

/// Memory that may be left a minute after: half as much again, or 40 MiB more.
fn allowed(before: u64) -> u64 {
    (before / 2 * 3).max(before + 40 * 1024 * 1024)
}

/// The attacking process.
struct Attackers(Child);

impl Attackers {
    fn start(flood: Flood, url: &str, time: Duration) -> io::Result<Self> {
        let child = Command::new("nice")
            .args(["-n", "10"])
            .arg(std::env::current_exe()?)
            .args(["flood", flood.name(), "--url", url, "--seconds"])
            .arg(time.as_secs().to_string())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    /// Ends it if its time is `up`; returns true if it has ended, for this or another reason.
    fn has_ended(&mut self, up: bool) -> io::Result<bool> {
        if up {
            self.0.kill()?;
        }
        Ok(self.0.try_wait()?.is_some())
    }

    /// Waits for its end, and gives what it printed.
    fn finish(mut self) -> io::Result<String> {
        let mut said = String::new();
        if let Some(mut output) = self.0.stdout.take() {
            io::Read::read_to_string(&mut output, &mut said)?;
        }
        Ok(said.trim().to_owned())
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        // One that has ended already is no trouble.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            name: "x",
            quiet_p99_ms: 1.0,
            attack_p99_ms: 20.9,
            attack_max_ms: 21.0,
            client_late_p99_ms: 1.0,
            lost: 0,
            ended: None,
            memory_before: 10 << 20,
            memory_peak: 900 << 20,
            memory_after: 50 << 20,
            log_bytes_per_second: 0.0,
            attackers: String::new(),
            failures: vec![],
        }
    }

    #[test]
    fn an_attack_passes_within_20_ms_and_40_mib() {
        assert!(failures(&report()).is_empty());
    }

    #[test]
    fn each_harm_fails() {
        let slow = Report {
            attack_p99_ms: 21.1,
            ..report()
        };
        let lossy = Report {
            lost: 1,
            ..report()
        };
        let closed = Report {
            ended: Some("closed with 4500".to_owned()),
            ..report()
        };
        let large = Report {
            memory_after: (50 << 20) + 1,
            ..report()
        };
        for harmed in [slow, lossy, closed, large] {
            assert_eq!(failures(&harmed).len(), 1, "{harmed:?}");
        }
    }

    #[test]
    fn a_large_server_may_keep_half_as_much_again() {
        assert_eq!(allowed(200 << 20), 300 << 20);
    }
}
