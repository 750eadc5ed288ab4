use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::gateway::{self, Config};

/// Serve WebSocket, SockJS and STOMP as a file says.
///
/// SIGHUP reads the file again and takes what can change: users, keys, certificates. SIGTERM asks sessions to connect elsewhere,
/// and ends. The log goes to stderr; RUST_LOG chooses its lines.
#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
}

/// Read a file for `serve` and print everything that is wrong with it, each with its line.
///
/// It reads the files of users, keys and certificates too; it opens no store and listens on nothing. Exit code 2 for errors.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Args)]
struct ConfigFile {
    /// The file of TOML.
    #[arg(
        long,
        value_name = "FILE",
        env = "TRAMLINE_CONFIG",
        default_value = "tramline.toml"
    )]
    config: PathBuf,
    /// The folder of durable queues, in place of the file's `durable.data`.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

impl ConfigFile {
    fn read(&self) -> Result<Config, Failure> {
        Config::read(&self.config, self.data.as_deref()).map_err(Failure::Config)
    }
}

impl Serve {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_writer(std::io::stderr)
            .init();
        let config = self.file.read()?;
        let served = gateway::serve(&self.file.config, self.file.data.as_deref(), config).await;
        served.map_err(Failure::Serve)
    }
}

impl Check {
    pub(crate) fn run(self) -> Result<(), Failure> {
        self.file.read()?;
        eprintln!("{}: no errors", self.file.config.display());
        Ok(())
    }
}
