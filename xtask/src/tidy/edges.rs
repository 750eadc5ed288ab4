//! Who may depend on whom.

use std::collections::HashMap;

use serde_json::Value;

/// A package of the workspace and the packages of the workspace that it may use.
struct Room {
    package: &'static str,
    uses: &'static [&'static str],
    /// In its tests, besides.
    tests_use: &'static [&'static str],
    /// Its dependencies, however deep, must be free of what `deny-runtimes.toml` names; cargo-deny sees to that.
    pure: bool,
}

const LIBRARIES: &[&str] = &[
    "tramline-websocket",
    "tramline-stomp",
    "tramline-sockjs",
    "tramline-broker",
    "tramline-client",
    "tramline-store",
];

/// Edges run downward only: see ARCHITECTURE.md.
const ROOMS: &[Room] = &[
    Room {
        package: "tramline-websocket",
        uses: &[],
        tests_use: &[],
        pure: true,
    },
    Room {
        package: "tramline-stomp",
        uses: &[],
        tests_use: &[],
        pure: true,
    },
    Room {
        package: "tramline-sockjs",
        uses: &[],
        tests_use: &[],
        pure: true,
    },
    Room {
        package: "tramline-broker",
        uses: &["tramline-stomp"],
        tests_use: &[],
        pure: true,
    },
    Room {
        package: "tramline-client",
        uses: &["tramline-websocket", "tramline-stomp", "tramline-sockjs"],
        tests_use: &["tramline"],
        pure: false,
    },
    Room {
        package: "tramline-cli",
        uses: &[
            "tramline",
            "tramline-client",
            "tramline-login",
            "tramline-relay",
            "tramline-store",
        ],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-relay",
        uses: &["tramline-stomp", "tramline-broker"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-store",
        uses: &["tramline-broker"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline",
        uses: LIBRARIES,
        tests_use: &["tramline-relay"],
        pure: false,
    },
    Room {
        package: "tramline-login",
        uses: &["tramline"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-example-chat",
        uses: &["tramline", "tramline-example-login"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-example-greeting",
        uses: &["tramline"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-example-getting-started",
        uses: &["tramline"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-example-behind-a-proxy",
        uses: &["tramline"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-example-cluster",
        uses: &["tramline", "tramline-relay"],
        tests_use: &["tramline-client"],
        pure: false,
    },
    Room {
        package: "tramline-example-login",
        uses: &["tramline-login", "tramline"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-example-notifications",
        uses: &["tramline-login", "tramline", "tramline-example-login"],
        tests_use: &["tramline-client"],
        pure: false,
    },
    Room {
        package: "tramline-example-portfolio",
        uses: &["tramline-login", "tramline", "tramline-example-login"],
        tests_use: &["tramline-client"],
        pure: false,
    },
    Room {
        package: "tramline-example-transports",
        uses: &["tramline"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-example-whiteboard",
        uses: &["tramline", "tramline-example-login"],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-example-conformance",
        uses: &["tramline"],
        tests_use: &["tramline-client"],
        pure: false,
    },
    Room {
        package: "gallery",
        uses: &[
            "tramline-login",
            "tramline",
            "tramline-example-chat",
            "tramline-example-greeting",
            "tramline-example-login",
            "tramline-example-notifications",
            "tramline-example-portfolio",
            "tramline-example-transports",
            "tramline-example-whiteboard",
        ],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-bench",
        uses: &[
            "tramline",
            "tramline-websocket",
            "tramline-stomp",
            "tramline-sockjs",
            "tramline-broker",
            "tramline-client",
        ],
        tests_use: &["tramline-floor", "tramline-load"],
        pure: false,
    },
    Room {
        package: "tramline-floor",
        uses: &[],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "tramline-load",
        uses: &[],
        tests_use: &[],
        pure: false,
    },
    Room {
        package: "xtask",
        uses: &[],
        tests_use: &[],
        pure: false,
    },
];

/// Whether a package must be free of runtimes and HTTP.
pub(super) fn is_pure(package: &str) -> bool {
    ROOMS
        .iter()
        .any(|room| room.package == package && room.pure)
}

pub(super) fn problems(metadata: &Value) -> Vec<String> {
    check(&Graph::new(metadata), ROOMS)
}

fn check(graph: &Graph<'_>, rooms: &[Room]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in graph.workspace() {
        let Some(room) = rooms.iter().find(|room| room.package == package) else {
            problems.push(format!("{package} has no room in xtask/src/tidy/edges.rs"));
            continue;
        };
        for (dependency, kind) in graph.direct(package) {
            let allowed = !graph.in_workspace(dependency)
                || room.uses.contains(&dependency)
                || (kind == Kind::Test && room.tests_use.contains(&dependency));
            if !allowed {
                problems.push(format!(
                    "{package} must not depend on {dependency}: edges run downward only"
                ));
            }
        }
    }
    for room in rooms
        .iter()
        .filter(|room| !graph.in_workspace(room.package))
    {
        problems.push(format!(
            "xtask/src/tidy/edges.rs has a room for {}, which is not there",
            room.package
        ));
    }
    problems
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Test,
}

/// Cargo's resolved dependencies.
struct Graph<'a> {
    names: HashMap<&'a str, &'a str>,
    members: Vec<&'a str>,
    edges: HashMap<&'a str, Vec<(&'a str, Kind)>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Value) -> Self {
        let names = list(&metadata["packages"])
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let members = list(&metadata["workspace_members"]).map(text).collect();
        let mut edges: HashMap<_, Vec<_>> = HashMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let from = edges.entry(text(&node["id"])).or_default();
            for dependency in list(&node["deps"]) {
                for kind in list(&dependency["dep_kinds"]) {
                    let kind = match kind["kind"].as_str() {
                        None => Kind::Normal,
                        Some("build") => Kind::Build,
                        Some(_) => Kind::Test,
                    };
                    from.push((text(&dependency["pkg"]), kind));
                }
            }
        }
        Self {
            names,
            members,
            edges,
        }
    }

    fn name(&self, id: &'a str) -> &'a str {
        self.names.get(id).copied().unwrap_or(id)
    }

    fn workspace(&self) -> impl Iterator<Item = &'a str> {
        self.members.iter().map(|id| self.name(id))
    }

    fn in_workspace(&self, package: &str) -> bool {
        self.workspace().any(|member| member == package)
    }

    fn id(&self, package: &str) -> &'a str {
        let id = self.members.iter().find(|id| self.name(id) == package);
        id.expect("only members are asked for")
    }

    fn direct(&self, package: &str) -> impl Iterator<Item = (&'a str, Kind)> {
        let edges = self
            .edges
            .get(self.id(package))
            .map_or(&[][..], Vec::as_slice);
        edges.iter().map(|(id, kind)| (self.name(id), *kind))
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TWO: &[Room] = &[
        Room {
            package: "low",
            uses: &[],
            tests_use: &[],
            pure: true,
        },
        Room {
            package: "high",
            uses: &["low"],
            tests_use: &[],
            pure: false,
        },
    ];

    fn metadata(edges: &[(&str, &str, Option<&str>)]) -> Value {
        let names = ["low", "high", "bytes", "tokio"];
        let node = |name: &str| {
            let deps: Vec<_> = edges
                .iter()
                .filter(|(from, ..)| *from == name)
                .map(|(_, to, kind)| json!({"pkg": to, "dep_kinds": [{"kind": kind}]}))
                .collect();
            json!({"id": name, "deps": deps})
        };
        json!({
            "packages": names.map(|name| json!({"id": name, "name": name})),
            "workspace_members": ["low", "high"],
            "resolve": {"nodes": names.map(node)},
        })
    }

    fn check_two(edges: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        check(&Graph::new(&metadata(edges)), TWO)
    }

    #[test]
    fn downward_is_allowed_and_upward_is_not() {
        assert!(check_two(&[("high", "low", None), ("high", "tokio", None)]).is_empty());
        let problems = check_two(&[("low", "high", None)]);
        assert_eq!(
            problems,
            ["low must not depend on high: edges run downward only"]
        );
        assert_eq!(check_two(&[("low", "high", Some("dev"))]).len(), 1);
    }

    #[test]
    fn every_package_has_a_room_and_every_room_a_package() {
        let mut value = metadata(&[]);
        value["workspace_members"] = json!(["low", "bytes"]);
        let problems = check(&Graph::new(&value), TWO);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
