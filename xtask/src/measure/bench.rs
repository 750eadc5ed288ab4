//! `cargo xtask bench`: our server and another one under the same load, in turn.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::pairs::{Pairs, median};
use super::programs::{Load, Server};
use super::quiet::{MAX_OTHERS, Machine};
use super::{Named, Options, build, commit, listed, trouble, write};
use crate::steps::{self, Steps, Trouble, failed, output, program, root};

/// Runs workloads against our server and another, in turn.
pub(crate) fn bench(steps: &mut Steps, options: &Options) {
    steps.step("bench", || run(options));
}

/// The two servers and what loads them.
struct Contest {
    load: Load,
    ours: PathBuf,
    other: PathBuf,
    /// What the other is called in the table.
    called: &'static str,
    server_cpu: Option<usize>,
    quick: bool,
}

/// One figure of one workload.
struct Row {
    workload: Named,
    figure: String,
    unit: String,
    pairs: Pairs,
}

fn run(options: &Options) -> steps::Result {
    let machine = Machine::now()?;
    machine.check(options.noisy)?;
    let built = build()?;
    let pinned = machine.cpus > 1 && output(program("taskset", &root()).arg("--version")).is_ok();
    if !pinned {
        println!("no taskset, or one CPU: server and load generator share what there is");
    }
    let contest = Contest {
        load: Load {
            path: built.join("tramline-load"),
            cpu: pinned.then_some(1),
        },
        ours: built.join("tramline-bench"),
        other: match &options.against {
            Some(path) => path
                .canonicalize()
                .map_err(|error| trouble(&path.display(), &error))?,
            None => built.join("tramline-floor"),
        },
        called: if options.against.is_some() {
            "other"
        } else {
            "floor"
        },
        server_cpu: pinned.then_some(0),
        quick: options.quick,
    };
    let all = listed(&contest.load, "workloads")?;
    let chosen = options.chosen(&all, options.names.is_empty())?;

    let (mut rows, mut others, mut harms) = (Vec::new(), Vec::new(), Vec::new());
    for workload in &chosen {
        rows.extend(contest.workload(workload, &mut others, &mut harms)?);
    }
    let others = others.iter().sum::<f64>() / others.len() as f64;
    let quiet = machine.is_quiet() && others <= MAX_OTHERS;
    let file = write(
        "bench.json",
        &json!({
            "commit": commit()?,
            "seconds_since_1970": since_1970()?,
            "against": contest.other,
            "quick": contest.quick,
            "cpus": machine.cpus,
            "load_average_before": machine.load,
            "cpus_used_by_others": others,
            "quiet": quiet,
            "losses": harms,
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
        }),
    )?;
    if !harms.is_empty() {
        return failed(format!(
            "{}; all runs are in {}",
            harms.join("; "),
            file.display()
        ));
    }
    if !quiet && !options.noisy {
        return failed(format!(
            "the machine was not quiet: other programs used {others:.2} CPUs, {MAX_OTHERS} at most; no figures are shown"
        ));
    }
    if !quiet {
        println!("\nNOISY: nobody should believe these figures");
    }
    println!("\n{}", table(&rows, contest.called));
    println!(
        "other programs used {others:.2} CPUs meanwhile; all runs are in {}",
        file.display()
    );
    Ok(String::new())
}

impl Contest {
    /// Other, ours, other, ours … other.
    fn workload(
        &self,
        workload: &Named,
        others: &mut Vec<f64>,
        harms: &mut Vec<String>,
    ) -> Result<Vec<Row>, Trouble> {
        let rounds = if self.quick { 2 } else { 5 };
        let runs = 2 * rounds + 1;
        let mut rows: Vec<Row> = Vec::new();
        for turn in 0..runs {
            let is_ours = turn % 2 == 1;
            let (path, called) = if is_ours {
                (&self.ours, "tramline")
            } else {
                (&self.other, self.called)
            };
            let outcome = self.once(path, &workload.name)?;
            let lost = outcome["lost"].as_u64().unwrap_or(0);
            let disordered = outcome["disordered"].as_u64().unwrap_or(0);
            println!(
                "    {:8} {:2} of {runs}  {called:8}  {}",
                workload.name,
                turn + 1,
                summary(&outcome)
            );
            if lost + disordered > 0 {
                let ended = outcome["ended"].as_str().unwrap_or("no connection ended");
                harms.push(format!(
                    "{} with {called}: {lost} lost, {disordered} out of order ({ended})",
                    workload.name
                ));
            }
            others.extend(outcome["others"].as_f64());
            for figure in outcome["figures"].as_array().into_iter().flatten() {
                let name = figure["name"].as_str().unwrap_or_default();
                let Some(value) = figure["value"].as_f64() else {
                    return failed(format!("{name} of {} is no number", workload.name));
                };
                let at = rows.iter().position(|row| row.figure == name);
                let at = at.unwrap_or_else(|| {
                    rows.push(Row {
                        workload: workload.clone(),
                        figure: name.to_owned(),
                        unit: figure["unit"].as_str().unwrap_or_default().to_owned(),
                        pairs: Pairs::default(),
                    });
                    rows.len() - 1
                });
                let pairs = &mut rows[at].pairs;
                if is_ours {
                    pairs.ours.push(value);
                } else {
                    pairs.other.push(value);
                }
            }
        }
        Ok(rows)
    }

    /// One run against a fresh server, so that none inherits another's memory.
    fn once(&self, path: &Path, workload: &str) -> Result<Value, Trouble> {
        let server = Server::start(path, &[], self.server_cpu, None)?;
        let options = server.options();
        let mut arguments = vec!["run", workload];
        arguments.extend(options.iter().map(String::as_str));
        if self.quick {
            arguments.push("--quick");
        }
        self.load.ask(&arguments)
    }
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "workload": self.workload.name,
            "figure": self.figure,
            "unit": self.unit,
            "pairs": self.pairs.json(),
        })
    }
}

/// Figures of one run, for the progress.
fn summary(outcome: &Value) -> String {
    let figures = outcome["figures"].as_array().into_iter().flatten();
    let words: Vec<String> = figures
        .map(|figure| {
            let text = |key: &str| figure[key].as_str().unwrap_or_default();
            let value = figure["value"].as_f64().unwrap_or_default();
            format!("{} {} {}", text("name"), rounded(value), text("unit"))
        })
        .collect();
    words.join(", ")
}

fn table(rows: &[Row], other: &str) -> String {
    let mut lines = vec![
        format!("| | | Tramline | {other} | ratio | spread |"),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let value = |values: &[f64]| match median(values) {
            Some(value) => format!("{} {}", rounded(value), row.unit),
            None => "–".to_owned(),
        };
        let (ratio, spread) = row.pairs.ratio().map_or_else(
            || ("–".to_owned(), "–".to_owned()),
            |ratio| {
                let spread = format!("{:.2} to {:.2}", ratio.least, ratio.most);
                (format!("{:.2}", ratio.median), spread)
            },
        );
        lines.push(format!(
            "| {} | {} | {} | {} | {ratio} | {spread} |",
            row.workload.what,
            row.figure,
            value(&row.pairs.ours),
            value(&row.pairs.other)
        ));
    }
    lines.join("\n")
}

/// Three digits that count.
fn rounded(value: f64) -> String {
    let digits = match value.abs() {
        0.0..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

fn since_1970() -> Result<u64, Trouble> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map(|time| time.as_secs())
        .map_err(|error| trouble(&"the clock", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_medians_ratio_and_spread() {
        let row = Row {
            workload: Named {
                name: "fan-out".to_owned(),
                what: "1 → 1,000".to_owned(),
            },
            figure: "CPU per delivery".to_owned(),
            unit: "µs".to_owned(),
            pairs: Pairs {
                other: vec![5.0; 3],
                ours: vec![4.0, 5.0],
            },
        };
        let table = table(&[row], "floor");
        let last = table.lines().last().unwrap();
        let wanted = "| 1 → 1,000 | CPU per delivery | 4.50 µs | 5.00 µs | 0.90 | 0.80 to 1.00 |";
        assert_eq!(last, wanted);
    }

    #[test]
    fn three_digits_count() {
        let values = [0.5149, 4.87, 12.34, 2050.4];
        assert_eq!(values.map(rounded), ["0.515", "4.87", "12.3", "2050"]);
    }
}
