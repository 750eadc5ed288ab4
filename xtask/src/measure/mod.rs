//! `bench` and `attack`: the programs that measure, and whether the machine is quiet enough for them.

mod attack;
mod bench;
mod pairs;
mod programs;
mod quiet;

pub(crate) use attack::attack;
pub(crate) use bench::bench;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::steps::{Trouble, cargo, output, program, root, run};
use crate::tidy;

/// What the words of a command line say.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Shorter runs.
    quick: bool,
    /// Prints figures whatever else the machine does.
    noisy: bool,
    /// The server to compare with.
    against: Option<PathBuf>,
    /// Workloads or attacks.
    names: Vec<String>,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => options.quick = true,
                "--noisy" => options.noisy = true,
                "--against" => {
                    let path = words.next().ok_or("--against wants the path of a server")?;
                    options.against = Some(path.into());
                }
                flag if flag.starts_with('-') => return Err(format!("unknown: {flag}")),
                name => options.names.push(name.to_owned()),
            }
        }
        Ok(options)
    }

    /// Those of `all` that are named, in their order; `every` stands for all of them.
    fn chosen(&self, all: &[Named], every: bool) -> Result<Vec<Named>, Trouble> {
        if every {
            return Ok(all.to_vec());
        }
        let known = |name: &&String| !all.iter().any(|named| named.name == **name);
        if let Some(unknown) = self.names.iter().find(known) {
            let names: Vec<_> = all.iter().map(|named| named.name.as_str()).collect();
            let text = format!("no {unknown:?}; there are {}", names.join(", "));
            return Err(Trouble::Failed(text));
        }
        let chosen = all.iter().filter(|named| self.names.contains(&named.name));
        Ok(chosen.cloned().collect())
    }
}

/// A workload or an attack, as the load generator lists it.
#[derive(Clone, Debug)]
struct Named {
    name: String,
    what: String,
}

/// Names in one list of the load generator: `workloads` or `attacks`.
fn listed(load: &programs::Load, list: &str) -> Result<Vec<Named>, Trouble> {
    let all = load.ask(&["list"])?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let named = all[list].as_array().into_iter().flatten();
    Ok(named
        .map(|entry| Named {
            name: text(&entry["name"]),
            what: text(&entry["what"]),
        })
        .collect())
}

/// What `bench` and `attack` run. Both build all of it: dependencies would get other features with fewer, and be built anew.
const PACKAGES: &[&str] = &["tramline-bench", "tramline-floor", "tramline-load"];

/// Builds the programs in release; gives the folder that they are in.
fn build() -> Result<PathBuf, Trouble> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked"]);
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    run(&mut build)?;
    Ok(tidy::target_folder()?.join("release"))
}

/// The folder that results are written to.
fn results() -> Result<PathBuf, Trouble> {
    let folder = tidy::target_folder()?.join("bench");
    fs::create_dir_all(&folder).map_err(|error| trouble(&folder.display(), &error))?;
    Ok(folder)
}

fn write(name: &str, value: &Value) -> Result<PathBuf, Trouble> {
    let file = results()?.join(name);
    fs::write(&file, format!("{value:#}\n")).map_err(|error| trouble(&file.display(), &error))?;
    Ok(file)
}

/// The commit that is checked out, for results.
fn commit() -> Result<String, Trouble> {
    let described = ["describe", "--always", "--dirty", "--abbrev=12"];
    output(program("git", &root()).args(described)).map(|text| text.trim().to_owned())
}

fn trouble(what: &dyn std::fmt::Display, error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Failed(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_flags_or_names() {
        let options = Options::parse(&["--quick", "echo", "--against", "old", "idle"]).unwrap();
        assert!(options.quick && !options.noisy);
        assert_eq!(options.against, Some("old".into()));
        assert_eq!(options.names, ["echo", "idle"]);
        assert!(Options::parse(&["--against"]).is_err());
        assert!(Options::parse(&["--fast"]).is_err());
    }

    #[test]
    fn names_are_chosen_in_the_order_of_the_list() {
        let named = |name: &str| Named {
            name: name.to_owned(),
            what: String::new(),
        };
        let all = [named("a"), named("b"), named("c")];
        let chosen = |words: &[&str], every| {
            let options = Options::parse(words).unwrap();
            let chosen = options.chosen(&all, every).ok()?;
            Some(
                chosen
                    .into_iter()
                    .map(|named| named.name)
                    .collect::<String>(),
            )
        };
        assert_eq!(chosen(&["c", "a"], false).as_deref(), Some("ac"));
        assert_eq!(chosen(&[], true).as_deref(), Some("abc"));
        assert_eq!(chosen(&["d"], false), None);
    }
}
