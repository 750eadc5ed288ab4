//! `cargo xtask attack`: what attacks do to an innocent client and to the server's memory.

use serde_json::{Value, json};

use super::programs::{Load, Server};
use super::quiet::Machine;
use super::{Named, Options, build, commit, listed, results, write};
use crate::steps::{self, Steps, failed};

/// As a deployment has it: two workers, the default bound of connections per address, a log.
const SERVER: &[&str] = &[
    "--workers",
    "2",
    "--connections-per-address",
    "1000",
    "--log",
    "info",
];

/// Runs attacks, each against a fresh server.
pub(crate) fn attack(steps: &mut Steps, options: &Options) {
    steps.step("attack", || run(options));
}

fn run(options: &Options) -> steps::Result {
    let machine = Machine::now()?;
    machine.check(options.noisy)?;
    let built = build()?;
    let load = Load {
        path: built.join("tramline-load"),
        cpu: None,
    };
    let server = built.join("tramline-bench");
    let all = listed(&load, "attacks")?;
    let chosen = options.chosen(&all, options.names == ["all"])?;
    let folder = results()?;

    let mut reports = Vec::new();
    for attack in chosen {
        println!("    {}: {}", attack.name, attack.what);
        let log = folder.join(format!("{}.log", attack.name));
        let server = Server::start(&server, SERVER, None, Some(&log))?;
        let options_of_server = server.options();
        let log = log.display().to_string();
        let mut arguments = vec!["attack", attack.name.as_str(), "--log", &log];
        arguments.extend(options_of_server.iter().map(String::as_str));
        if options.quick {
            arguments.push("--quick");
        }
        let report = load.ask(&arguments)?;
        println!("        {}", row(&attack, &report));
        println!(
            "        {}",
            report["attackers"].as_str().unwrap_or_default()
        );
        reports.push((attack, report));
    }
    let file = write(
        "attack.json",
        &json!({
            "commit": commit()?,
            "quick": options.quick,
            "cpus": machine.cpus,
            "load_average_before": machine.load,
            "reports": reports.iter().map(|(_, report)| report).collect::<Vec<_>>(),
        }),
    )?;
    println!("\n{HEAD}");
    for (attack, report) in &reports {
        println!("{}", row(attack, report));
    }
    println!("\nall numbers are in {}", file.display());
    let failures = reports.iter().filter(|(_, report)| has_failed(report));
    match failures.count() {
        0 => Ok(format!("{} attacks", reports.len())),
        count => failed(format!("{count} of {} attacks hurt", reports.len())),
    }
}

const HEAD: &str = "\
| Attack | p99 before | during | slowest | memory before | most | after | log per second | |
|---|---|---|---|---|---|---|---|---|";

fn has_failed(report: &Value) -> bool {
    // A report without the list is none that passed.
    report["failures"]
        .as_array()
        .is_none_or(|failures| !failures.is_empty())
}

fn row(attack: &Named, report: &Value) -> String {
    let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let millis = |key: &str| format!("{:.1} ms", number(key));
    let mib = |key: &str| format!("{:.0} MiB", number(key) / 1024.0 / 1024.0);
    let failures = report["failures"].as_array().into_iter().flatten();
    let failures: Vec<&str> = failures.filter_map(Value::as_str).collect();
    let verdict = if has_failed(report) {
        format!("FAILED: {}", failures.join("; "))
    } else {
        "passed".to_owned()
    };
    let cells = [
        attack.what.clone(),
        millis("quiet_p99_ms"),
        millis("attack_p99_ms"),
        millis("attack_max_ms"),
        mib("memory_before"),
        mib("memory_peak"),
        mib("memory_after"),
        format!("{:.1} KiB", number("log_bytes_per_second") / 1024.0),
        verdict,
    ];
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(failures: &Value) -> Value {
        json!({
            "quiet_p99_ms": 1.0, "attack_p99_ms": 30.0, "attack_max_ms": 31.0, "memory_before": 10 << 20,
            "memory_peak": 20 << 20, "memory_after": 15 << 20, "log_bytes_per_second": 512.0, "failures": failures,
        })
    }

    #[test]
    fn a_row_says_why_an_attack_hurt() {
        let attack = Named {
            name: "x".to_owned(),
            what: "many x".to_owned(),
        };
        let hurt = row(&attack, &report(&json!(["p99 rose by 29 ms"])));
        let wanted = "| many x | 1.0 ms | 30.0 ms | 31.0 ms | 10 MiB | 20 MiB | 15 MiB | 0.5 KiB | FAILED: p99 rose by \
                      29 ms |";
        assert_eq!(hurt, wanted);
        assert!(row(&attack, &report(&json!([]))).ends_with("| passed |"));
    }

    #[test]
    fn a_report_without_a_verdict_has_not_passed() {
        assert!(has_failed(&json!({})));
        assert!(!has_failed(&report(&json!([]))));
    }
}
