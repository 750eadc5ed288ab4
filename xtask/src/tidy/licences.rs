//! Licences: ours, and those of what we use.

use serde_json::Value;

use super::file::File;

const OURS: &str = "MIT OR Apache-2.0";

/// Permissive ones, whose conditions a binary can meet by naming them.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Crates of the workspace and those it depends on.
pub(super) fn crates(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter_map(|package| {
            let name = package["name"].as_str().unwrap_or_default();
            let licence = package["license"].as_str();
            if package["source"].is_null() {
                (licence != Some(OURS))
                    .then(|| format!("{name}: the licence of our packages is {OURS}"))
            } else {
                refusal(name, licence)
            }
        })
        .collect()
}

/// npm packages of every lock file; their addresses stay out of it.
pub(super) fn packages(files: &[File]) -> Vec<String> {
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
                problems.extend(refusal(place, package["license"].as_str()));
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

fn refusal(name: &str, licence: Option<&str>) -> Option<String> {
    match licence {
        Some(licence) if allowed(licence) => None,
        Some(licence) => Some(format!(
            "{name}: licence {licence} is not on the list in xtask/src/tidy/licences.rs"
        )),
        None => Some(format!("{name}: names no licence")),
    }
}

/// Whether an SPDX expression can be met with allowed licences only. `/` is an old way to write OR.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest).unwrap_or(false) && rest.is_empty()
}

fn any(words: &mut &[&str]) -> Option<bool> {
    let mut met = all(words)?;
    while take(words, "OR") {
        met |= all(words)?;
    }
    Some(met)
}

fn all(words: &mut &[&str]) -> Option<bool> {
    let mut met = one(words)?;
    while take(words, "AND") {
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    if take(words, "(") {
        let met = any(words)?;
        return take(words, ")").then_some(met);
    }
    let (name, rest) = words.split_first()?;
    *words = rest;
    let mut licence = (*name).to_owned();
    if take(words, "WITH") {
        let (exception, rest) = words.split_first()?;
        *words = rest;
        licence = format!("{licence} WITH {exception}");
    }
    Some(ALLOWED.contains(&licence.as_str()))
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_has_them() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MPL-2.0",
            "(MIT",
            "MIT OR",
            "",
            "GPL-3.0 WITH LLVM-exception",
        ] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn lock_files_are_checked() {
        let text = r#"{"packages": {"": {}, "node_modules/a": {"license": "MIT"},
            "node_modules/b": {"license": "GPL-3.0", "resolved": "https://example.org/b.tgz"}}}"#;
        let file = File {
            path: "e2e/package-lock.json".to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(packages(&[file]).len(), 2);
    }
}
