//! Checks of what the manifests say, by cargo and by tools of others: features, dependencies, packages.

use std::env;
use std::process::Command;

use crate::steps::{self, Steps, Trouble, cargo, failed, in_ci, output, program, root, run};
use crate::tidy;

/// A subcommand of cargo that does not come with it.
struct Tool {
    name: &'static str,
    version: &'static str,
}

const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};

const HACK: Tool = Tool {
    name: "cargo-hack",
    version: "0.6.46",
};

const MACHETE: Tool = Tool {
    name: "cargo-machete",
    version: "0.9.2",
};

/// Files that each package carries beside its manifest and sources; cargo itself insists on none of them.
const CARRIED: &[&str] = &["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// Runs every check of this module.
pub(crate) fn all(steps: &mut Steps) {
    features(steps);
    steps.step("cargo deny", || {
        let checks = ["check", "-D", "warnings", "bans", "licenses", "sources"];
        run(DENY.command()?.arg("--locked").args(checks))
    });
    steps.step("cargo deny: runtimes", runtimes);
    steps.step("advisories", advisories);
    steps.step("cargo machete", || {
        run(MACHETE.command()?.arg("--with-metadata"))
    });
    steps.step("cargo package", package);
}

/// Lints each library crate as applications build it: without features, with each one alone, with all.
///
/// Without cargo-hack's `--no-dev-deps`, which rewrites the manifests while it runs and so contradicts `--locked`: since
/// resolver 2, what is built of a library has no features that only its tests ask for.
fn features(steps: &mut Steps) {
    steps.step("clippy by feature", || {
        run(HACK
            .command()?
            .args(["hack", "clippy", "--workspace", "--ignore-private"])
            .args(["--each-feature", "--locked", "--", "-D", "warnings"]))
    });
}

/// Checks that no runtime and no HTTP library is below the crates that have no IO.
fn runtimes() -> steps::Result {
    let manifests = tidy::pure_manifests()?;
    for manifest in &manifests {
        let settings = ["--config", "deny-runtimes.toml", "check", "bans"];
        run(DENY
            .command()?
            .args(["--locked", "--manifest-path", manifest])
            .args(settings))?;
    }
    Ok(format!("{} crates", manifests.len()))
}

/// Looks for known vulnerabilities, where their database can be fetched: it is in no package registry.
fn advisories() -> steps::Result {
    if run(DENY.command()?.args(["fetch", "db"])).is_err() {
        let reason = "the database of advisories is not reachable";
        return Err(Trouble::LeftOut(reason.to_owned()));
    }
    let checks = ["check", "--disable-fetch", "advisories"];
    run(DENY.command()?.arg("--locked").args(checks))
}

/// Packs each library crate as for publishing.
fn package() -> steps::Result {
    let packages = tidy::published()?;
    let mut pack = cargo();
    pack.args(["package", "--locked", "--no-verify"]);
    if !in_ci() {
        pack.arg("--allow-dirty");
    }
    for package in &packages {
        pack.args(["--package", package]);
    }
    run(&mut pack)?;
    for package in &packages {
        let list = ["package", "--list", "--allow-dirty", "--package"];
        let files = output(cargo().args(list).arg(package))?;
        let missing = |file: &&&str| !files.lines().any(|line| line == **file);
        if let Some(file) = CARRIED.iter().find(missing) {
            return failed(format!("the package of {package} lacks {file}"));
        }
    }
    Ok(format!("{} packages", packages.len()))
}

impl Tool {
    /// The installed tool, installing it first if need be.
    ///
    /// It is kept in cargo's home: building it takes minutes, and `target` does not outlive a checkout. Cargo knows which
    /// version is there, and asks no registry when it is the one that is wanted.
    fn command(&self) -> Result<Command, Trouble> {
        let Self { name, version } = self;
        let home = env::var_os("CARGO_HOME")
            .map(Into::into)
            .or_else(|| Some(env::home_dir()?.join(".cargo")))
            .ok_or_else(|| Trouble::Missing("there is no home folder".to_owned()))?;
        let folder = home.join("tramline-tools");
        run(cargo()
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(&folder)
            .arg(format!("{name}@{version}"))
            // They run for seconds; optimized, they would build for twice as long.
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"))
        .map_err(|_| Trouble::Missing(format!("{name} {version} cannot be installed")))?;
        Ok(program(folder.join("bin").join(name), &root()))
    }
}
