//! Real brokers, each on a free port with a folder of its own. They end with this process, however it ends.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tramline_relay::BrokerKind::{self, ActiveMq, RabbitMq};

/// The longest that a broker takes to start on a busy machine.
const START: Duration = Duration::from_secs(180);

/// A shell that starts its arguments and kills them when its input ends: when this process does, if not before.
const KEEPER: &str = r#"
"$@" >>"$FOLDER/output.log" 2>&1 </dev/null &
pid=$!
cat >/dev/null
[ -f "$FOLDER/rabbit.pid" ] && kill -KILL "$(cat "$FOLDER/rabbit.pid")" 2>/dev/null
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
[ -n "$KEEP" ] && exit
[ -n "$ERL_EPMD_PORT" ] && epmd -kill >/dev/null 2>&1
rm -rf -- "$FOLDER"
"#;

/// A broker that runs, or did and can be started again.
#[derive(Debug)]
pub(crate) struct TestBroker {
    pub(crate) kind: BrokerKind,
    pub(crate) port: u16,
    folder: PathBuf,
    /// RabbitMQ's other two.
    ports: [u16; 2],
    child: Mutex<Option<Child>>,
}

/// The broker of this kind that the tests of this process share; `None` if it is not installed, unless `CI=true`.
pub(crate) fn shared(kind: BrokerKind) -> Option<&'static TestBroker> {
    static SHARED: [OnceLock<Option<TestBroker>>; 3] = [const { OnceLock::new() }; 3];
    let at = match kind {
        RabbitMq => 0,
        ActiveMq => 1,
        _ => 2,
    };
    SHARED[at]
        .get_or_init(|| TestBroker::start(kind, false))
        .as_ref()
}

impl TestBroker {
    /// Starts a broker; one that `returns` keeps its folder when it is killed.
    pub(crate) fn start(kind: BrokerKind, returns: bool) -> Option<Self> {
        let program = installed(kind)?;
        let ports = [(); 3].map(|()| free_port());
        let folder = env::temp_dir().join(format!(
            "tramline-{kind}-{}-{}",
            std::process::id(),
            ports[0]
        ));
        fs::create_dir_all(&folder).expect("a folder for the broker");
        let broker = Self {
            kind,
            port: ports[0],
            folder,
            ports: [ports[1], ports[2]],
            child: Mutex::new(None),
        };
        broker.run(&program, returns);
        Some(broker)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the broker at once, as a crash does.
    pub(crate) fn kill(&self) {
        let child = self.child.lock().unwrap().take();
        let mut child = child.expect("it runs");
        drop(child.stdin.take());
        child.wait().expect("its keeper ends");
    }

    /// Starts a broker again that was killed.
    pub(crate) fn start_again(&self) {
        let program = installed(self.kind).expect("it was installed before");
        self.run(&program, true);
    }

    fn run(&self, program: &Path, keeps: bool) {
        let folder = &self.folder;
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER, "keeper"])
            .env("FOLDER", folder)
            .current_dir(folder)
            .stdin(Stdio::piped());
        if keeps {
            keeper.env("KEEP", "1");
        }
        match self.kind {
            RabbitMq => self.rabbit(program, &mut keeper),
            ActiveMq => self.activemq(program, &mut keeper),
            _ => self.artemis(program, &mut keeper),
        }
        let child = keeper.spawn().expect("a shell");
        *self.child.lock().unwrap() = Some(child);
        let started = Instant::now();
        while !self.answers() {
            let log = || fs::read_to_string(folder.join("output.log")).unwrap_or_default();
            assert!(
                started.elapsed() < START,
                "{} does not start: {}",
                self.kind,
                log()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Tries to log in.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address()) else {
            return false;
        };
        let connect = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0";
        let mut answer = [0; 9];
        let timeout = Some(Duration::from_secs(5));
        stream.set_read_timeout(timeout).is_ok()
            && stream.write_all(connect).is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && &answer == b"CONNECTED"
    }

    fn rabbit(&self, program: &Path, keeper: &mut Command) {
        let folder = &self.folder;
        let [dist, epmd] = self.ports;
        let mut settings = String::from("listeners.tcp = none\n");
        let _ = writeln!(settings, "stomp.listeners.tcp.1 = 127.0.0.1:{}", self.port);
        let _ = writeln!(settings, "loopback_users = none");
        // Disk that others fill is no fault of the relay.
        let _ = writeln!(settings, "disk_free_limit.absolute = 10MB");
        fs::write(folder.join("rabbitmq.conf"), settings).expect("its settings");
        fs::write(folder.join("enabled_plugins"), "[rabbitmq_stomp].\n").expect("its plugins");
        let interface = "-kernel inet_dist_use_interface {127,0,0,1}";
        keeper
            .arg(program)
            .env("HOME", folder)
            .env("RABBITMQ_NODENAME", format!("test{}@localhost", self.port))
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
            .env("ERL_EPMD_PORT", epmd.to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", interface);
    }

    fn activemq(&self, program: &Path, keeper: &mut Command) {
        let folder = &self.folder;
        let (port, data) = (self.port, folder.join("data"));
        let settings = format!(
            r#"<beans xmlns="http://www.springframework.org/schema/beans"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="test" useJmx="false" dataDirectory="{data}">
    <persistenceAdapter><kahaDB directory="{data}/kahadb"/></persistenceAdapter>
    <transportConnectors><transportConnector name="stomp" uri="stomp://127.0.0.1:{port}"/></transportConnectors>
  </broker>
</beans>
"#,
            data = data.display(),
        );
        let file = folder.join("activemq.xml");
        fs::write(&file, settings).expect("its settings");
        let home = program
            .parent()
            .and_then(Path::parent)
            .expect("it is in a folder `bin`");
        keeper
            .arg("java")
            .args(["-Xms64M", "-Xmx256M"])
            .arg(format!("-Dactivemq.home={}", home.display()))
            .arg(format!("-Dactivemq.base={}", folder.display()))
            .arg(format!("-Dactivemq.conf={}", folder.display()))
            .arg(format!("-Dactivemq.data={}", data.display()))
            .arg(format!("-Dactivemq.classpath={}", folder.display()))
            .arg("-jar")
            .arg(program)
            .arg("start")
            .arg(format!("xbean:file:{}", file.display()));
    }

    fn artemis(&self, jars: &Path, keeper: &mut Command) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/Artemis.java");
        keeper
            .args(["java", "-Xms64M", "-Xmx256M", "-cp"])
            .arg(jars.join("*"))
            .arg(source)
            .arg(self.port.to_string())
            .arg(&self.folder);
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        let child = self.child.get_mut().map(Option::take);
        if let Ok(Some(mut child)) = child {
            drop(child.stdin.take());
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The program of a broker, or the folder of Artemis' jars.
fn installed(kind: BrokerKind) -> Option<PathBuf> {
    let candidates = match kind {
        RabbitMq => vec![PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server")],
        ActiveMq => vec![PathBuf::from("/usr/share/activemq/bin/activemq.jar")],
        _ => {
            // target/debug/deps/it-…
            let test = env::current_exe().expect("the test's own path");
            let target = test.ancestors().nth(3).expect("it is in a target folder");
            vec![target.join("artemis")]
        }
    };
    let found = candidates
        .iter()
        .find(|candidate| candidate.exists())
        .cloned();
    if found.is_none() {
        let told =
            format!("{kind} is not installed at {candidates:?}; `cargo xtask brokers` installs it");
        assert!(!env::var("CI").is_ok_and(|value| value == "true"), "{told}");
        eprintln!("left out: {told}");
    }
    found
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
