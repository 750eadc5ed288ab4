//! Takes the browser libraries of the pages from the npm registry and embeds them.
//!
//! `npm ci` runs in `OUT_DIR`, with the versions and hashes of `package-lock.json`, so nothing is written into the
//! source tree and no third-party code is committed. Where node or npm is missing or fails, the build goes on
//! without the libraries and says so; the pages then load the same files from a CDN, held to the hashes below.
//! `TRAMLINE_GALLERY_NPM=skip` chooses that way on purpose.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// One browser bundle; its version must be the one `package.json` names.
struct Library {
    /// The name under `/lib/`.
    file: &'static str,
    package: &'static str,
    version: &'static str,
    licence: &'static str,
    /// The bundle's path inside the package.
    path: &'static str,
    /// Of the bundle in the package of this version; `e2e/tests/libraries.test.mjs` compares.
    integrity: &'static str,
}

const LIBRARIES: [Library; 2] = [
    Library {
        file: "sockjs.min.js",
        package: "sockjs-client",
        version: "1.6.1",
        licence: "MIT",
        path: "dist/sockjs.min.js",
        integrity: "sha384-svdnwiXBL+Js+yUneJSRFy24NgGiOfDM/vkQl/vCeVrcbYD6yW8EwPr1FnxTEZsR",
    },
    Library {
        file: "stomp.umd.min.js",
        package: "@stomp/stompjs",
        version: "7.5.0",
        licence: "Apache-2.0",
        path: "bundles/stomp.umd.min.js",
        integrity: "sha384-kQjQD4X78U0SNVeFmVuyOn7JuHmYlQ/CaFvAm/Omtfa8/ev8Iu1Ur9grrK53Vp/z",
    },
];

const SWITCH: &str = "TRAMLINE_GALLERY_NPM";

/// Seconds on a first, slow download; a registry that does not answer must not hold up a build for longer.
const NPM_DEADLINE: Duration = Duration::from_secs(120);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=package.json");
    println!("cargo::rerun-if-changed=package-lock.json");
    println!("cargo::rerun-if-env-changed={SWITCH}");

    let manifest = fs::read_to_string("package.json")
        .expect("examples/gallery/package.json is part of the source");
    for library in &LIBRARIES {
        let pin = format!("\"{}\": \"{}\"", library.package, library.version);
        assert!(
            manifest.contains(&pin),
            "build.rs and package.json name different versions: no {pin} in package.json"
        );
    }

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let bundles = if env::var(SWITCH).is_ok_and(|value| value == "skip") {
        Err(format!("{SWITCH}=skip"))
    } else {
        install(&out.join("npm"))
    };
    if let Err(reason) = &bundles {
        println!(
            "cargo::warning=the gallery's browser libraries are not embedded ({reason}); its pages will load them from \
             a CDN. To try again: touch examples/gallery/package.json"
        );
    }
    let code = generate(bundles.ok().as_deref());
    fs::write(out.join("libraries.rs"), code).expect("OUT_DIR is writable");
}

/// Installs the locked packages into `folder`; the bundles' paths, in the order of [`LIBRARIES`].
fn install(folder: &Path) -> Result<Vec<PathBuf>, String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(file, folder.join(file)).map_err(|error| format!("copying {file}: {error}"))?;
    }
    let log = folder.join("npm.log");
    let status = npm_ci(folder, &log)?;
    if !status.success() {
        return Err(format!("npm ci: {status}, see {}", log.display()));
    }
    LIBRARIES
        .iter()
        .map(|library| {
            let bundle = folder
                .join("node_modules")
                .join(library.package)
                .join(library.path);
            if bundle.is_file() {
                Ok(bundle)
            } else {
                Err(format!("npm ci left no {}", bundle.display()))
            }
        })
        .collect()
}

fn npm_ci(folder: &Path, log: &Path) -> Result<ExitStatus, String> {
    let out = File::create(log).map_err(|error| error.to_string())?;
    let err = out.try_clone().map_err(|error| error.to_string())?;
    let mut npm = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
        .args([
            "ci",
            "--ignore-scripts",
            "--omit=optional",
            "--no-audit",
            "--no-fund",
        ])
        .current_dir(folder)
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| format!("npm does not start: {error}"))?;
    let begun = Instant::now();
    loop {
        if let Some(status) = npm.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        if begun.elapsed() > NPM_DEADLINE {
            // It may have ended by itself in between; then there is nothing to kill.
            let _ = npm.kill();
            let _ = npm.wait();
            return Err(format!(
                "npm ci took longer than {} s",
                NPM_DEADLINE.as_secs()
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The table that `src/libraries.rs` includes.
fn generate(bundles: Option<&[PathBuf]>) -> String {
    let rows: String = LIBRARIES
        .iter()
        .enumerate()
        .map(|(index, library)| {
            let Library { file, package, version, licence, path, integrity } = library;
            let embedded = match bundles {
                Some(bundles) => format!("Some(include_bytes!({:?}))", bundles[index]),
                None => "None".to_owned(),
            };
            format!(
                "    Library {{ file: {file:?}, package: {package:?}, version: {version:?}, licence: {licence:?}, \
                 path: {path:?}, integrity: {integrity:?}, embedded: {embedded} }},\n"
            )
        })
        .collect();
    format!("pub(crate) static LIBRARIES: &[Library] = &[\n{rows}];\n")
}
