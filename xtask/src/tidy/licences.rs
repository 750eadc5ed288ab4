//! Licences that cargo-deny does not look at: that ours is the same everywhere, and npm's.

use serde_json::Value;
use toml::de::DeTable;

use super::file::File;
use crate::steps::{Trouble, failed};

const OURS: &str = "MIT OR Apache-2.0";

/// Crates of the workspace.
pub(super) fn ours(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["source"].is_null() && package["license"] != OURS)
        .map(|package| format!("{}: the licence of our packages is {OURS}", package["name"]))
        .collect()
}

/// npm packages of every lock file, which name one licence each; their addresses stay out of it.
pub(super) fn packages(files: &[File], allowed: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.path.ends_with("package-lock.json"))
    {
        let Ok(lock) = serde_json::from_str::<Value>(&file.text) else {
            problems.push(format!("{}: not JSON", file.path));
            continue;
        };
        for (place, package) in lock["packages"].as_object().into_iter().flatten() {
            // The first entry, without a place, is the package of the lock file itself.
            if !place.is_empty() {
                problems.extend(refusal(place, package["license"].as_str(), allowed));
            }
            if package.get("resolved").is_some() {
                problems.push(format!(
                    "{}: {place} records an address; lock with omit-lockfile-registry-resolved=true",
                    file.path
                ));
            }
        }
    }
    problems
}

/// Tools of tests under other licences, each with its reason. They are not part of anything that we publish.
const TEST_TOOLS: &[(&str, &str)] = &[
    // Copyleft of its own files only, and nothing else checks as much.
    ("node_modules/axe-core", "MPL-2.0"),
];

fn refusal(name: &str, licence: Option<&str>, allowed: &[String]) -> Option<String> {
    match licence {
        Some(licence) if allowed.iter().any(|name| name == licence) => None,
        Some(licence) if TEST_TOOLS.contains(&(name, licence)) => None,
        Some(licence) => Some(format!(
            "{name}: licence {licence} is not on the list in deny.toml"
        )),
        None => Some(format!("{name}: names no licence")),
    }
}

/// The licences that `deny.toml` allows, which cargo-deny holds crates to.
pub(super) fn allowed(files: &[File]) -> Result<Vec<String>, Trouble> {
    let Some(file) = files.iter().find(|file| file.path == "deny.toml") else {
        return failed("there is no deny.toml");
    };
    let settings = DeTable::parse(&file.text)
        .map_err(|error| Trouble::Failed(format!("deny.toml: {error}")))?;
    let list = settings
        .get_ref()
        .get("licenses")
        .and_then(|licenses| licenses.get_ref().get("allow"))
        .and_then(|allow| allow.get_ref().as_array());
    let Some(list) = list else {
        return failed("deny.toml: no list licenses.allow");
    };
    Ok(list
        .iter()
        .filter_map(|licence| Some(licence.get_ref().as_str()?.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn lock_files_are_held_to_the_list() {
        let list = file("deny.toml", "[licenses]\nallow = ['MIT', 'ISC']");
        let lock = file(
            "e2e/package-lock.json",
            r#"{"packages": {"": {}, "node_modules/a": {"license": "MIT"},
            "node_modules/b": {"license": "GPL-3.0", "resolved": "https://example.org/b.tgz"}}}"#,
        );
        let files = [list, lock];
        let allowed = allowed(&files).unwrap();
        assert_eq!(allowed, ["MIT", "ISC"]);
        assert_eq!(packages(&files, &allowed).len(), 2);
    }
}
