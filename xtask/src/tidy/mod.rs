//! Rules of the house that neither the compiler nor another tool checks.

mod circles;
mod edges;
mod file;
mod licences;
mod texts;

use std::path::PathBuf;

use serde_json::Value;

use self::file::File;
use crate::steps::{Trouble, cargo, output, program, root};

/// Everything that is out of order, one line each.
pub(crate) fn problems() -> Result<Vec<String>, Trouble> {
    let metadata = metadata()?;
    let files = tracked_files()?;
    let mut problems = edges::problems(&metadata);
    problems.extend(licences::ours(&metadata));
    problems.extend(licences::packages(&files, &licences::allowed(&files)?));
    problems.extend(texts::problems(&files));
    problems.extend(circles::problems(&files));
    Ok(problems)
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf, Trouble> {
    let metadata = metadata()?;
    let folder = metadata["target_directory"].as_str();
    folder
        .map(PathBuf::from)
        .ok_or_else(|| Trouble::Failed("cargo metadata names no target_directory".to_owned()))
}

/// The packages of the workspace that may be published.
pub(crate) fn published() -> Result<Vec<String>, Trouble> {
    // Private packages name the registries that may have them: none.
    texts_of("name", |package| package["publish"].is_null())
}

/// The manifests of the packages that must be free of runtimes and HTTP.
pub(crate) fn pure_manifests() -> Result<Vec<String>, Trouble> {
    texts_of("manifest_path", |package| {
        package["name"].as_str().is_some_and(edges::is_pure)
    })
}

/// One property of each of the workspace's packages that are `wanted`.
fn texts_of(property: &str, wanted: impl Fn(&Value) -> bool) -> Result<Vec<String>, Trouble> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    Ok(packages
        .filter(|package| package["source"].is_null() && wanted(package))
        .filter_map(|package| Some(package[property].as_str()?.to_owned()))
        .collect())
}

fn metadata() -> Result<Value, Trouble> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    serde_json::from_str(&text).map_err(|error| Trouble::Failed(format!("cargo metadata: {error}")))
}

fn tracked_files() -> Result<Vec<File>, Trouble> {
    let root = root();
    let list = output(program("git", &root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]))?;
    let files = list
        .split('\0')
        .filter(|path| !path.is_empty())
        .filter_map(|path| {
            // Neither a deleted file nor a binary one has lines to check.
            let text = std::fs::read_to_string(root.join(path)).ok()?;
            Some(File {
                path: path.to_owned(),
                text,
            })
        });
    Ok(files.collect())
}
