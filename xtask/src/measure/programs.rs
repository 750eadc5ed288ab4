//! Servers and the load generator as processes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::trouble;
use crate::steps::{Trouble, failed, output, root};

/// A server that runs until this is dropped.
pub(super) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts a server on a free port, and reads where it listens.
    pub(super) fn start(
        path: &Path,
        arguments: &[&str],
        cpu: Option<usize>,
        log: Option<&Path>,
    ) -> Result<Self, Trouble> {
        let mut command = on_cpu(path, cpu);
        command
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped());
        if let Some(log) = log {
            let file = File::create(log).map_err(|error| trouble(&log.display(), &error))?;
            command.stderr(file);
        }
        let name = path.display();
        let mut child = command.spawn().map_err(|error| trouble(&name, &error))?;
        let output = child.stdout.take().expect("stdout is piped");
        let mut server = Self {
            child,
            url: String::new(),
        };
        let mut line = String::new();
        BufReader::new(output.take(200))
            .read_line(&mut line)
            .map_err(|error| trouble(&name, &error))?;
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            return failed(format!("{name} said {line:?}, not where it listens"));
        };
        server.url = format!("ws://{address}/stomp");
        Ok(server)
    }

    /// The options of the load generator that name this server.
    pub(super) fn options(&self) -> [String; 4] {
        let pid = self.child.id().to_string();
        [
            "--url".to_owned(),
            self.url.clone(),
            "--pid".to_owned(),
            pid,
        ]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already has nothing to be ended.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// The load generator.
pub(super) struct Load {
    pub(super) path: PathBuf,
    pub(super) cpu: Option<usize>,
}

impl Load {
    /// Runs it, and reads the JSON that it prints.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Value, Trouble> {
        let text = output(on_cpu(&self.path, self.cpu).args(arguments))?;
        serde_json::from_str(&text).map_err(|error| trouble(&self.path.display(), &error))
    }
}

/// A program with as many open files as the system allows, on one CPU where that is wanted.
fn on_cpu(path: &Path, cpu: Option<usize>) -> Command {
    let mut command = Command::new("sh");
    command
        .current_dir(root())
        .args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$@\"", "sh"]);
    if let Some(cpu) = cpu {
        command.args(["taskset", "-c", &cpu.to_string()]);
    }
    command.arg(path);
    command
}
