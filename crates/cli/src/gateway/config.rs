//! The configuration, read from its file and checked; nothing listens yet.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use tramline::broker::{Broker, Durability, Pattern};
use tramline::policy::Policy;
use tramline::settings::Settings;
use tramline::store::Store;
use tramline::tls::Tls;
use tramline::{BuildError, EmbeddedBroker, MessageRouter, Messaging, User};
use tramline_login::FileUsers;
use tramline_relay::StompRelay;

use super::file::{File, Section, canonical};
use super::login::{Keys, Logins, Places, login, read_tokens, tokens};
use super::rules;

/// A file that can be served.
pub(crate) struct Config {
    pub(super) settings: Settings,
    pub(super) web: Option<Web>,
    pub(super) stomp: Option<SocketAddr>,
    pub(super) stomps: Option<SocketAddr>,
    pub(super) tls: Option<Tls>,
    pub(super) users: Option<FileUsers>,
    pub(super) tokens: Option<(Keys, Places)>,
    pub(super) back_end: Option<(SocketAddr, String)>,
    pub(super) drain: Duration,
    destinations: Destinations,
    durable: Option<Durable>,
    relay: Option<Relay>,
    policy: Policy,
    /// Each section as text, to see whether it has changed.
    pub(super) sections: BTreeMap<String, String>,
}

/// WebSocket and SockJS.
pub(super) struct Web {
    pub(super) listen: SocketAddr,
    pub(super) path: String,
    pub(super) sockjs: bool,
    pub(super) tls: bool,
}

struct Destinations {
    topics: Vec<String>,
    queues: Vec<String>,
}

struct Durable {
    data: PathBuf,
    /// Of queues that are stored, and of topics that have durable subscriptions.
    patterns: Vec<String>,
    durability: Durability,
}

struct Relay {
    addresses: Vec<String>,
    login: Option<(String, String)>,
    virtual_host: Option<String>,
    nodes: Option<String>,
}

/// The sections that are not [`Settings`]'.
const SECTIONS: &[&str] = &[
    "web",
    "stomp",
    "stomps",
    "tls",
    "destinations",
    "durable",
    "relay",
    "users",
    "tokens",
    "rule",
    "back_end",
    "shutdown",
];

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// All errors in it, and in the files that it names, each with its line.
    pub(crate) fn read(path: &Path, data: Option<&Path>) -> Result<Self, Vec<String>> {
        let text = fs::read_to_string(path)
            .map_err(|error| vec![format!("{}: {error}", path.display())])?;
        let (table, broken) = DeTable::parse_recoverable(&text);
        let file = File::new(path, &text);
        for error in &broken {
            let line = error.span().map_or(1, |span| file.line(span.start));
            file.wrong(line, error.message());
        }
        let config = Self::of(
            &file,
            path,
            &text,
            table.get_ref(),
            data,
            !broken.is_empty(),
        );
        let config = config.filter(|_| broken.is_empty());
        match (config, file.errors()) {
            (Some(config), errors) if errors.is_empty() => Ok(config),
            (_, errors) => Err(errors),
        }
    }

    fn of<'f>(
        file: &'f File<'f>,
        path: &Path,
        text: &str,
        table: &'f DeTable<'f>,
        data: Option<&Path>,
        is_broken: bool,
    ) -> Option<Self> {
        let settings = match is_broken {
            // Its syntax is reported already.
            true => Settings::default(),
            false => settings(file, path, text),
        };
        let find = |name: &'static str| {
            let mut all = table.iter();
            let (key, value) = all.find(|(key, _)| key.get_ref() == name)?;
            Some((file.line(key.span().start), value))
        };
        let section = |name| {
            let (line, value) = find(name)?;
            file.section(name, line, value.get_ref())
        };
        let rules = match find("rule") {
            None => Vec::new(),
            Some((line, value)) => match value.get_ref() {
                DeValue::Array(all) => {
                    let all = all.iter().filter_map(|rule| {
                        let line = file.line(rule.span().start);
                        file.section("rule", line, rule.get_ref())
                    });
                    all.collect()
                }
                _ => {
                    file.wrong(line, "rule: rules are a list: write `[[rule]]`");
                    Vec::new()
                }
            },
        };
        let (policy, patterns) = rules::policy(rules);
        let tls = section("tls").map(read_tls);
        let web = section("web").and_then(|section| read_web(section, tls.is_some()));
        let stomp = section("stomp").and_then(read_listen);
        let stomps = section("stomps").and_then(|section| {
            if tls.is_none() {
                section.wrong("listen", "there is no section [tls] with a certificate");
            }
            read_listen(section)
        });
        let is_silent = ["web", "stomp", "stomps"]
            .iter()
            .all(|name| find(name).is_none());
        if is_silent && !is_broken {
            file.wrong(
                0,
                "nothing to listen on: there is no [web], [stomp] or [stomps]",
            );
        }
        let destinations = read_destinations(section("destinations"));
        let relay = section("relay").map(read_relay);
        let durable = read_durable(section("durable"), data);
        if let (Some(_), Some((line, _))) = (&durable, find("relay")) {
            let what = "relay: a relay stores nothing itself; leave out [durable] and --data";
            file.wrong(line, what);
        }
        let users = section("users").and_then(read_users);
        let tokens = section("tokens").and_then(read_tokens);
        let back_end = section("back_end").and_then(read_back_end);
        let drain = section("shutdown").and_then(|section| {
            let drain = section.time("drain");
            section.finish();
            drain
        });
        let sections = table.iter();
        let sections = sections
            .map(|(name, value)| (name.get_ref().to_string(), canonical(value.get_ref())))
            .collect();
        let config = Self {
            settings,
            web,
            stomp,
            stomps,
            tls: tls.flatten(),
            users,
            tokens,
            back_end,
            drain: drain.unwrap_or(Duration::from_secs(2)),
            destinations,
            durable,
            relay,
            policy,
            sections,
        };
        if !is_broken {
            config.check_build(file, &patterns);
        }
        Some(config)
    }

    /// Reports what only a whole stack shows, such as rules that never decide.
    fn check_build(&self, file: &File<'_>, patterns: &[(String, usize)]) {
        let built = match &self.relay {
            Some(relay) => self.stack(self.relayed(relay)),
            None => self.stack(self.embedded()),
        };
        if let Err(error) = built {
            for error in error.errors() {
                // The rule that it names first.
                let places = patterns.iter();
                let named = places.filter_map(|(pattern, line)| {
                    Some((error.find(&format!("{pattern:?}"))?, *line))
                });
                file.wrong(named.min().map_or(0, |(_, line)| line), error);
            }
        }
    }

    /// Opens the store, if there is one, and builds the stack.
    ///
    /// # Errors
    ///
    /// A store that cannot be opened.
    pub(super) fn messaging(&self) -> Result<Messaging, String> {
        let built = match (&self.relay, &self.durable) {
            (Some(relay), _) => self.stack(self.relayed(relay)),
            (None, None) => self.stack(self.embedded()),
            (None, Some(durable)) => {
                let store = Store::open(&durable.data)
                    .map_err(|error| format!("{}: {error}", durable.data.display()))?;
                let broker = self.embedded().store(store);
                let patterns = durable.patterns.iter();
                self.stack(patterns.fold(broker, |broker, pattern| {
                    broker.durable(pattern.clone(), durable.durability)
                }))
            }
        };
        built.map_err(|error| error.to_string())
    }

    fn embedded(&self) -> EmbeddedBroker {
        let broker = self.settings.broker.embedded();
        let topics = self.destinations.topics.iter();
        let broker = topics.fold(broker, |broker, prefix| broker.topics(prefix.clone()));
        let queues = self.destinations.queues.iter();
        queues.fold(broker, |broker, prefix| broker.queues(prefix.clone()))
    }

    fn relayed(&self, relay: &Relay) -> StompRelay {
        let mut broker = StompRelay::new(relay.addresses.clone());
        for prefix in &self.destinations.topics {
            broker = broker.topics(prefix.clone());
        }
        for prefix in &self.destinations.queues {
            broker = broker.queues(prefix.clone());
        }
        if let Some((login, passcode)) = &relay.login {
            broker = broker.login(login.clone(), passcode.clone());
        }
        if let Some(host) = &relay.virtual_host {
            broker = broker.virtual_host(host.clone());
        }
        match &relay.nodes {
            Some(name) => broker.nodes(name.clone()),
            None => broker,
        }
    }

    fn stack(&self, broker: impl Broker) -> Result<Messaging, BuildError> {
        let logins = Logins::new(self.users.clone());
        let mut builder = Messaging::builder()
            .settings(&self.settings)
            .routes(MessageRouter::new().connect(login).with_state(logins))
            .broker(broker)
            .policy(self.policy.clone());
        if let Some((keys, places)) = &self.tokens {
            builder = builder.tokens(tokens(keys, places));
        }
        builder.build()
    }
}

fn settings(file: &File<'_>, path: &Path, text: &str) -> Settings {
    let loader = Settings::loader().but(SECTIONS.iter().copied());
    let loader = loader.toml(&path.display().to_string(), text);
    match loader.environment("TRAMLINE").load() {
        Ok(settings) => settings,
        Err(errors) => {
            errors.errors().for_each(|error| file.told(error));
            Settings::default()
        }
    }
}

fn read_listen(section: Section<'_>) -> Option<SocketAddr> {
    section.needs("listen");
    let listen = section.address("listen");
    section.finish();
    listen
}

fn read_web(section: Section<'_>, has_tls: bool) -> Option<Web> {
    section.needs("listen");
    let listen = section.address("listen");
    let path = section.text("path").unwrap_or("/ws".to_owned());
    if !path.starts_with('/') || path.len() < 2 || path.contains(['{', '}', '*']) {
        section.wrong(
            "path",
            format_args!("{path:?} is not a path such as \"/ws\""),
        );
    }
    let web = Web {
        listen: listen.unwrap_or(([127, 0, 0, 1], 0).into()),
        path: path.trim_end_matches('/').to_owned(),
        sockjs: section.switch("sockjs").unwrap_or(true),
        tls: section.switch("tls").unwrap_or(false),
    };
    if web.tls && !has_tls {
        section.wrong("tls", "there is no section [tls] with a certificate");
    }
    section.finish();
    Some(web)
}

fn read_tls(section: Section<'_>) -> Option<Tls> {
    section.needs("chain");
    section.needs("key_file");
    let (chain, key) = (section.path("chain"), section.path("key_file"));
    let mut files = Tls::files(
        chain.clone().unwrap_or_default(),
        key.clone().unwrap_or_default(),
    );
    let required = section.switch("clients_required").unwrap_or(false);
    let roles = section.texts("client_roles").unwrap_or_default();
    match section.path("clients") {
        Some(authorities) => {
            files = match required {
                true => files.required_client_certificates(authorities),
                false => files.optional_client_certificates(authorities),
            };
            files = files.user(move |certificate| {
                let name = certificate.common_name()?.to_owned();
                Some(User::new(name).with_roles(roles.iter().cloned()))
            });
        }
        None if required || !roles.is_empty() => {
            section.wrong("clients", "the file of the clients' authorities is needed");
        }
        None => {}
    }
    let tls = (chain.is_some() && key.is_some()).then(|| files.load());
    let tls = tls.and_then(|loaded| {
        loaded
            .inspect_err(|error| {
                let is = |path: &Option<PathBuf>| path.as_deref() == Some(error.path());
                let key = match () {
                    () if is(&chain) => "chain",
                    () if is(&key) => "key_file",
                    () => "clients",
                };
                section.wrong(key, error);
            })
            .ok()
    });
    section.finish();
    tls
}

fn read_destinations(section: Option<Section<'_>>) -> Destinations {
    let read = |key, default: &str| {
        let prefixes = section.as_ref().and_then(|section| section.texts(key));
        let prefixes = prefixes.unwrap_or_else(|| vec![default.to_owned()]);
        let is_prefix = |prefix: &String| prefix.starts_with('/') && prefix.len() > 1;
        let (prefixes, others): (Vec<_>, Vec<_>) = prefixes.into_iter().partition(is_prefix);
        for other in others {
            let Some(section) = &section else { continue };
            section.wrong(
                key,
                format_args!("{other:?} must begin with `/`, as \"/topic\""),
            );
        }
        prefixes
    };
    let destinations = Destinations {
        topics: read("topics", "/topic"),
        queues: read("queues", "/queue"),
    };
    if let Some(section) = section {
        section.finish();
    }
    destinations
}

fn read_durable(section: Option<Section<'_>>, data: Option<&Path>) -> Option<Durable> {
    let Some(section) = section else {
        return data.map(|data| Durable {
            data: data.to_owned(),
            patterns: vec!["/queue/**".to_owned()],
            durability: Durability::Synced,
        });
    };
    let of_file = section.path("data");
    if data.is_none() {
        section.needs("data");
    }
    let mut patterns = Vec::new();
    for (key, default) in [("queues", Some("/queue/**")), ("topics", None)] {
        let default = || default.into_iter().map(ToOwned::to_owned).collect();
        for pattern in section.texts(key).unwrap_or_else(default) {
            if let Err(error) = Pattern::parse(pattern.clone()) {
                section.wrong(key, format_args!("{pattern:?}: {error}"));
            }
            patterns.push(pattern);
        }
    }
    let durability = match section.text("durability").as_deref() {
        None | Some("synced") => Durability::Synced,
        Some("written") => Durability::Written,
        Some(other) => {
            let known = "\"synced\" or \"written\"";
            section.wrong("durability", format_args!("{other:?} is not {known}"));
            Durability::Synced
        }
    };
    section.finish();
    Some(Durable {
        data: data.map(ToOwned::to_owned).or(of_file)?,
        patterns,
        durability,
    })
}

fn read_relay(section: Section<'_>) -> Relay {
    section.needs("addresses");
    let addresses = section.one_or_more("addresses").unwrap_or_default();
    if section.has("addresses") && addresses.is_empty() {
        section.wrong(
            "addresses",
            "must be one at least, such as \"rabbit:61613\"",
        );
    }
    let login = section.text("login");
    let passcode = section.secret("passcode", "passcode_file");
    if login.is_some() != passcode.is_some() {
        section.wrong("login", "`login` and `passcode` belong together");
    }
    let relay = Relay {
        addresses,
        login: login.zip(passcode),
        virtual_host: section.text("virtual_host"),
        nodes: section.text("nodes"),
    };
    section.finish();
    relay
}

fn read_users(section: Section<'_>) -> Option<FileUsers> {
    section.needs("file");
    let users = section.path("file").and_then(|path| {
        FileUsers::read(path)
            .inspect_err(|error| section.wrong("file", error))
            .ok()
    });
    section.finish();
    users
}

/// The fewest characters of a key: 128 bits as Base64.
const SHORTEST_KEY: usize = 22;

fn read_back_end(section: Section<'_>) -> Option<(SocketAddr, String)> {
    section.needs("listen");
    if !section.has("key") && !section.has("key_file") {
        section.needs("key");
    }
    let listen = section.address("listen");
    let key = section.secret("key", "key_file");
    if let Some(key) = &key
        && key.len() < SHORTEST_KEY
    {
        let short = key.len();
        let what = format_args!(
            "a key of {short} characters can be guessed: at least {SHORTEST_KEY}, as from `openssl rand -base64 24`"
        );
        section.wrong(
            if section.has("key") {
                "key"
            } else {
                "key_file"
            },
            what,
        );
    }
    section.finish();
    Some((listen?, key?))
}
