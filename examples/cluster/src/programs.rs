//! The programs that the cluster is made of. They end with this process, however it ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The longest that a program may take until it answers.
const START: Duration = Duration::from_secs(180);

/// Where Debian has the script that starts RabbitMQ as the user that calls it.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Starts its arguments, and ends them and their folder when its input ends.
const KEEPER: &str = r#"
trap '' INT
"$@" >"$FOLDER/output.log" 2>&1 </dev/null &
pid=$!
cat >/dev/null
[ -f "$FOLDER/rabbit.pid" ] && kill -KILL "$(cat "$FOLDER/rabbit.pid")" 2>/dev/null
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
[ -n "$ERL_EPMD_PORT" ] && epmd -kill >/dev/null 2>&1
rm -rf -- "$FOLDER"
"#;

/// A program in a folder of its own.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) address: String,
    /// Its input holds the program.
    _keeper: Child,
}

/// Starts RabbitMQ with STOMP on `port`.
pub(crate) async fn rabbitmq(port: u16, [dist, epmd]: [u16; 2]) -> io::Result<Kept> {
    if !Path::new(RABBITMQ).exists() {
        return Err(io::Error::other(format!(
            "there is no {RABBITMQ}: install it by `cargo xtask brokers`, or name a broker by --broker"
        )));
    }
    let folder = folder("rabbitmq", port)?;
    let address = format!("127.0.0.1:{port}");
    let settings = format!("listeners.tcp = none\nstomp.listeners.tcp.1 = {address}\n");
    fs::write(folder.join("rabbitmq.conf"), settings)?;
    fs::write(folder.join("enabled_plugins"), "[rabbitmq_stomp].\n")?;
    let mut keeper = keeper(&folder);
    keeper
        .arg(RABBITMQ)
        .env("HOME", &folder)
        .env("RABBITMQ_NODENAME", format!("cluster{port}@localhost"))
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env(
            "RABBITMQ_ENABLED_PLUGINS_FILE",
            folder.join("enabled_plugins"),
        )
        .env("RABBITMQ_PID_FILE", folder.join("rabbit.pid"))
        .env("RABBITMQ_DIST_PORT", dist.to_string())
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", epmd.to_string());
    let kept = Kept {
        _keeper: keeper.spawn()?,
        address,
    };
    let connect = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0";
    until_answered(&kept.address, connect, b"CONNECTED").await?;
    Ok(kept)
}

/// Starts nginx before the nodes.
pub(crate) async fn nginx(listen: &str, nodes: &[&str]) -> io::Result<Kept> {
    let candidates = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
    let Some(nginx) = candidates.into_iter().find(|path| Path::new(path).exists()) else {
        let text = "nginx is not there; Debian: sudo apt-get install nginx-light";
        return Err(io::Error::other(text));
    };
    let port = listen
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    let folder = folder("nginx", port.unwrap_or_default())?;
    let file = folder.join("nginx.conf");
    let servers: String = nodes
        .iter()
        .map(|node| format!("        server {node} max_fails=1 fail_timeout=2s;\n"))
        .collect();
    let settings = include_str!("../nginx.conf")
        .replace("LISTEN", listen)
        .replace("FOLDER", &folder.display().to_string())
        .replace("        NODES\n", &servers);
    fs::write(&file, settings)?;
    let mut keeper = keeper(&folder);
    keeper
        .args([nginx, "-e"])
        .arg(folder.join("error.log"))
        .arg("-c")
        .arg(&file);
    let kept = Kept {
        address: listen.to_owned(),
        _keeper: keeper.spawn()?,
    };
    answers(listen).await?;
    Ok(kept)
}

/// Starts a node of the chat: this program again.
pub(crate) fn node(name: &str, listen: &str, broker: &str) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args([
            "node", "--name", name, "--listen", listen, "--broker", broker,
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// Waits until an HTTP server answers.
pub(crate) async fn answers(address: &str) -> io::Result<()> {
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    until_answered(address, request, b"HTTP/1.1 200").await
}

async fn until_answered(address: &str, request: &[u8], answer: &[u8]) -> io::Result<()> {
    let tries = async {
        while !ask(address, request, answer).await.unwrap_or(false) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = timeout(START, tries).await;
    waited.map_err(|_| io::Error::other(format!("nothing answers at {address}")))
}

async fn ask(address: &str, request: &[u8], answer: &[u8]) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut read = vec![0; answer.len()];
    let asked = timeout(Duration::from_secs(5), stream.read_exact(&mut read)).await;
    Ok(matches!(asked, Ok(Ok(_))) && read == answer)
}

fn folder(program: &str, port: u16) -> io::Result<PathBuf> {
    let folder =
        std::env::temp_dir().join(format!("tramline-{program}-{}-{port}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn keeper(folder: &Path) -> Command {
    let mut keeper = Command::new("sh");
    keeper
        .args(["-c", KEEPER, "keeper"])
        .env("FOLDER", folder)
        .current_dir(folder)
        .stdin(Stdio::piped());
    keeper
}
