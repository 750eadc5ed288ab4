//! What files say: not too much at once, nothing left over, nothing out of place.

use super::file::File;

const LONGEST: usize = 800;
const EXCUSE: &str = "tidy: long file because";

/// Written in pieces, so that these lines do not find themselves.
const LEFTOVERS: &[&str] = &[
    concat!("todo", "!("),
    concat!("dbg", "!("),
    concat!("unimplemented", "!("),
];

/// Hosts of package registries, in pieces too: sources name none, so that a mirror is a setting and no edit.
const REGISTRIES: &[&str] = &[
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("crates", ".io/"),
    concat!("index.", "crates", ".io"),
    concat!("static.", "crates", ".io"),
    concat!("deb.", "debian.org"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("proxy.", "golang.org"),
    concat!("repo1.", "maven.org"),
];

/// Where lines are logged that no client causes, or that have a bound of their own; `log_client!` logs all others.
const OWN_LINES: &[&str] = &[
    "model/log.rs",
    "net/endpoint/sockjs/answers.rs",
    "net/listener.rs",
    "net/tls/mod.rs",
    "net/transport/io.rs",
    "operations/console/acts.rs",
    "serve/connection.rs",
    "serve/limits.rs",
    "serve/mod.rs",
    "serve/stop.rs",
    "session/tcp.rs",
    "stack/observer.rs",
];

/// In pieces, as above.
const LOGS: &[&str] = &[
    concat!("tracing", "::error!"),
    concat!("tracing", "::warn!"),
    concat!("tracing", "::info!"),
    concat!("tracing", "::debug!"),
    concat!("tracing", "::trace!"),
    concat!("tracing", "::event!"),
    concat!("tracing", "::$"),
    concat!("use ", "tracing"),
];

pub(super) fn problems(files: &[File]) -> Vec<String> {
    files.iter().flat_map(check).collect()
}

fn check(file: &File) -> Vec<String> {
    let File { path, text } = file;
    let mut problems = Vec::new();
    let is = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));

    let lines = text.lines().count();
    if is(&[".rs", ".js", ".mjs", ".css", ".html"]) && lines > LONGEST && !text.contains(EXCUSE) {
        problems.push(format!(
            "{path}: {lines} lines; split it, or say `{EXCUSE} …`"
        ));
    }
    let may_log = path
        .strip_prefix("crates/tramline/src/")
        .is_none_or(|path| !path.ends_with(".rs") || OWN_LINES.contains(&path));
    for (number, line) in (1..).zip(text.lines()) {
        let mut complain = |what: String| problems.push(format!("{path}:{number}: {what}"));
        if is(&[".rs"])
            && let Some(word) = LEFTOVERS.iter().find(|word| line.contains(*word))
        {
            complain(format!("{word}…) is left over"));
        }
        if !may_log && LOGS.iter().any(|log| line.contains(log)) {
            complain("a line that a client may cause; use `log_client!`".to_owned());
        }
        if !is(&["Cargo.lock", "package-lock.json"])
            && let Some(host) = REGISTRIES.iter().find(|host| line.contains(*host))
        {
            complain(format!("names {host}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        let file = File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&file).len()
    }

    #[test]
    fn long_files_need_a_reason() {
        let long = "x\n".repeat(LONGEST + 1);
        assert_eq!(complaints("a.rs", &long), 1);
        assert_eq!(complaints("a.md", &long), 0);
        assert_eq!(
            complaints("a.rs", &format!("// {EXCUSE} it is a table\n{long}")),
            0
        );
        assert_eq!(complaints("a.rs", &"x\n".repeat(LONGEST)), 0);
    }

    #[test]
    fn lines_that_clients_cause_are_found() {
        for log in LOGS {
            assert_eq!(complaints("crates/tramline/src/session/x.rs", log), 1);
            assert_eq!(complaints("crates/tramline/src/net/listener.rs", log), 0);
            assert_eq!(complaints("crates/client/src/driver.rs", log), 0);
        }
    }

    #[test]
    fn leftovers_and_registries_are_found() {
        assert_eq!(complaints("a.rs", &format!("    {}1);", LEFTOVERS[1])), 1);
        assert_eq!(complaints("a.md", LEFTOVERS[0]), 0);
        assert_eq!(
            complaints("a.md", &format!("https://{}/x", REGISTRIES[0])),
            1
        );
        assert_eq!(complaints("Cargo.lock", REGISTRIES[2]), 0);
    }
}
