//! What the tests need besides Rust: node, npm, the locked clients, Python's, a Chromium, nginx, HAProxy and the brokers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{self, Trouble, failed, output, program, root, run};
use crate::tidy;

const OLDEST_NODE: u32 = 18;

/// Checks for node and npm.
pub(crate) fn node() -> steps::Result {
    let version = output(program("node", &root()).arg("--version"))?;
    let version = version.trim();
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_NODE) {
        return failed(format!("node {version} is older than {OLDEST_NODE}"));
    }
    let npm = output(npm(&root()).arg("--version"))?;
    Ok(format!("node {version}, npm {}", npm.trim()))
}

/// Installs the clients of e2e/package-lock.json, unless they are there already.
pub(crate) fn clients() -> steps::Result {
    let folder = root().join("e2e");
    let wanted = fs::read(folder.join("package-lock.json"))
        .map_err(|error| Trouble::Failed(format!("e2e/package-lock.json: {error}")))?;
    // npm empties node_modules first, so this copy is there only after a whole installation.
    let installed = folder.join("node_modules/.tramline-installed");
    if fs::read(&installed).is_ok_and(|lock| lock == wanted) {
        return Ok("as locked".to_owned());
    }
    run(npm(&folder).args([
        "ci",
        "--ignore-scripts",
        "--omit=optional",
        "--no-audit",
        "--no-fund",
    ]))?;
    fs::write(&installed, wanted)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", installed.display())))?;
    Ok("installed".to_owned())
}

/// Finds a Chromium, or installs Debian's.
pub(crate) fn chromium() -> Result<PathBuf, Trouble> {
    let by_hand = "install a Chromium (Debian: sudo apt-get update && sudo apt-get install --yes chromium) or name one \
                   in TRAMLINE_CHROMIUM";
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    found_or_installed("TRAMLINE_CHROMIUM", &names, "chromium", by_hand)
}

/// The programs that stand in front of the servers.
pub(crate) struct Proxies {
    pub(crate) nginx: PathBuf,
    pub(crate) haproxy: PathBuf,
}

/// Finds nginx and HAProxy, or installs Debian's, and openssl, which makes their certificates, curl, for the script of
/// docs/server.md, and make, which builds jemalloc.
pub(crate) fn proxies() -> Result<Proxies, Trouble> {
    let by_hand = "install nginx, HAProxy, openssl, curl and make (Debian: sudo apt-get update && sudo apt-get install --yes \
                   nginx-light haproxy openssl curl make) or name them in TRAMLINE_NGINX and TRAMLINE_HAPROXY";
    for program in ["openssl", "curl", "make"] {
        if find(&[program]).is_none() {
            apt_install(&[program], by_hand)?;
        }
    }
    Ok(Proxies {
        nginx: found_or_installed("TRAMLINE_NGINX", &["nginx"], "nginx-light", by_hand)?,
        haproxy: found_or_installed("TRAMLINE_HAPROXY", &["haproxy"], "haproxy", by_hand)?,
    })
}

/// The libraries of the Artemis that the relay's tests start, and their version.
const ARTEMIS: &str = "2.44.0";

/// Installs Debian's RabbitMQ and ActiveMQ, and the libraries of Artemis below target/, unless they are there already. Debian
/// starts no RabbitMQ of its own then: the tests start theirs, on free ports.
pub(crate) fn brokers() -> steps::Result {
    let by_hand = "install RabbitMQ, ActiveMQ, a JDK and Maven (Debian: sudo apt-get update && sudo apt-get install --yes \
                   --no-install-recommends rabbitmq-server activemq default-jdk-headless maven)";
    let is_there = |path: &str| Path::new(path).exists();
    let wanted = [
        (
            "rabbitmq-server",
            is_there("/usr/lib/rabbitmq/bin/rabbitmq-server"),
        ),
        ("activemq", is_there("/usr/share/activemq/bin/activemq.jar")),
        ("default-jdk-headless", find(&["javac"]).is_some()),
        ("maven", find(&["mvn"]).is_some()),
    ];
    let missing = wanted.iter().filter(|(_, there)| !there);
    let missing: Vec<&str> = missing.map(|(package, _)| *package).collect();
    if !missing.is_empty() {
        apt_install(&missing, by_hand)?;
    }
    let folder = tidy::target_folder()?.join("artemis");
    // Written last, so that it is there only after a whole installation.
    let installed = folder.join("tramline-installed");
    if fs::read_to_string(&installed).is_ok_and(|version| version == ARTEMIS) {
        return Ok("as wanted".to_owned());
    }
    let _ = fs::remove_dir_all(&folder);
    let made = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join("pom.xml"), artemis_project()));
    made.map_err(|error| Trouble::Failed(format!("{}: {error}", folder.display())))?;
    run(program("mvn", &folder)
        .args(["--batch-mode", "--quiet", "dependency:copy-dependencies"])
        .arg(format!("-DoutputDirectory={}", folder.display())))?;
    fs::write(&installed, ARTEMIS)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", installed.display())))?;
    Ok("installed".to_owned())
}

/// Maven's description of something that needs Artemis with STOMP.
fn artemis_project() -> String {
    let artifact = |name: &str| {
        format!(
            "<dependency><groupId>org.apache.activemq</groupId><artifactId>{name}</artifactId>\
             <version>{ARTEMIS}</version></dependency>"
        )
    };
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>tramline</groupId><artifactId>artemis</artifactId>\
         <version>1</version><dependencies>{}{}</dependencies></project>",
        artifact("artemis-server"),
        artifact("artemis-stomp-protocol"),
    )
}

/// The program that `variable` names, or the first of `names` that is there, if need be after installing Debian's
/// `package`; `by_hand` says what to do where there is no such.
fn found_or_installed(
    variable: &str,
    names: &[&str],
    package: &str,
    by_hand: &str,
) -> Result<PathBuf, Trouble> {
    if let Some(named) = env::var_os(variable) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            failed(format!(
                "{variable} names {}, which is not there",
                named.display()
            ))
        };
    }
    if let Some(found) = find(names) {
        return Ok(found);
    }
    apt_install(&[package], by_hand)?;
    find(names).ok_or_else(|| Trouble::Failed(by_hand.to_owned()))
}

/// Makes a virtual environment with the packages of e2e/requirements.txt below target/, unless it is there already;
/// gives its Python.
pub(crate) fn python() -> Result<PathBuf, Trouble> {
    let listed = root().join("e2e/requirements.txt");
    let wanted = fs::read(&listed)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", listed.display())))?;
    let folder = tidy::target_folder()?.join("python");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    // Written last, so that it is there only after a whole installation.
    let installed = folder.join("tramline-installed");
    if fs::read(&installed).is_ok_and(|list| list == wanted) {
        return Ok(python);
    }
    let make = || {
        run(program("python3", &root())
            .args(["-m", "venv", "--clear"])
            .arg(&folder))
    };
    if make().is_err() {
        let by_hand = "install Python 3.10 or newer with venv (Debian: sudo apt-get update && sudo apt-get install --yes \
                       python3 python3-venv)";
        apt_install(&["python3", "python3-venv"], by_hand)?;
        make()?;
    }
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ];
    run(program(&python, &root()).args(install).arg(&listed))?;
    fs::write(&installed, wanted)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", installed.display())))?;
    Ok(python)
}

/// Installs Debian's packages, where there are such; `by_hand` says what to do where not.
fn apt_install(packages: &[&str], by_hand: &str) -> Result<(), Trouble> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return failed(by_hand);
    }
    let root_user = output(program("id", &root()).arg("-u")).is_ok_and(|id| id.trim() == "0");
    let install = ["install", "--yes", "--no-install-recommends"];
    for arguments in [&["update"][..], &[&install[..], packages].concat()] {
        let mut apt = if root_user {
            Command::new("apt-get")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "apt-get"]);
            sudo
        };
        if run(apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive")).is_err() {
            return failed(by_hand);
        }
    }
    Ok(())
}

/// The first of `names` in the search path, or where Debian has what only root is thought to need.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

fn npm(folder: &Path) -> Command {
    program(if cfg!(windows) { "npm.cmd" } else { "npm" }, folder)
}
