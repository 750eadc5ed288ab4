//! Files that import each other in a circle.
//!
//! A file imports another when a path in it, in a `use` or elsewhere, leads to an item of the other one. What `pub use`
//! hands on counts as an item of the file that defines it; where the root of a crate hands it on, code inside the crate
//! must name the module instead, so that readers see what a file imports. Neither the `mod` lines of a parent are imports
//! nor what it only hands on. The folders at the root of a crate are in no circle at all. Tests are not looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::file::File;

/// Files in a circle at most.
const LONGEST: usize = 3;

pub(super) fn problems(files: &[File]) -> Vec<String> {
    let sources: BTreeMap<&str, &str> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| (file.path.as_str(), file.text.as_str()))
        .collect();
    let mut problems = Vec::new();
    for root in sources.keys().filter(|path| is_root(path)) {
        problems.extend(Crate::read(root, &sources).problems());
    }
    problems
}

/// Whether cargo begins a crate with this file.
fn is_root(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let is = |name: &str| folder == name || folder.ends_with(&format!("/{name}"));
    is("src") && matches!(file, "lib.rs" | "main.rs") || is("src/bin")
}

/// The names of a module from the root of its crate on.
type Module = Vec<String>;

/// A path as a file names it, from the root of the crate on.
struct Import {
    path: Module,
    /// Whether it is handed on: by what name.
    public: Option<String>,
    line: usize,
}

#[derive(Default)]
struct Crate<'a> {
    /// The file of each module: of one that is written inside another's file, that file.
    modules: BTreeMap<Module, &'a str>,
    imports: BTreeMap<Module, Vec<Import>>,
    /// What `pub use` hands on: module and name, and what that is.
    handed_on: HashMap<(Module, String), Module>,
}

impl<'a> Crate<'a> {
    fn read(root: &'a str, sources: &BTreeMap<&'a str, &'a str>) -> Self {
        let mut read = Self::default();
        read.add(&Vec::new(), root, sources);
        let public = read.imports.iter().flat_map(|(module, imports)| {
            let named = imports
                .iter()
                .filter_map(|import| Some((import.public.clone()?, &import.path)));
            named.map(|(name, path)| ((module.clone(), name), path.clone()))
        });
        read.handed_on = public.collect();
        read
    }

    /// Reads the file of `module` and those of its children.
    fn add(&mut self, module: &Module, path: &'a str, sources: &BTreeMap<&'a str, &'a str>) {
        let Some(text) = sources.get(path) else {
            return;
        };
        self.modules.insert(module.clone(), path);
        let mut reader = Reader::new(module, text);
        reader.read();
        for inner in reader.inner {
            self.modules.insert(inner, path);
        }
        for (module, import) in reader.imports {
            self.imports.entry(module).or_default().push(import);
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = match path.strip_suffix(".rs") {
            Some(stem) if !module.is_empty() && !path.ends_with("/mod.rs") => stem.to_owned(),
            _ => folder.to_owned(),
        };
        for child in reader.children {
            let place = format!("{folder}/{}", child[module.len()..].join("/"));
            let found = [format!("{place}.rs"), format!("{place}/mod.rs")];
            if let Some((file, _)) = found.iter().find_map(|file| sources.get_key_value(&**file)) {
                self.add(&child, file, sources);
            }
        }
    }

    /// The module that a path leads to an item of.
    fn resolve(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        // A name may be handed on several times.
        for _ in 0..8 {
            let depth = (0..=path.len())
                .take_while(|depth| self.modules.contains_key(&path[..*depth]))
                .last()
                .unwrap_or(0);
            let module = path[..depth].to_vec();
            let Some(name) = path.get(depth) else {
                return module;
            };
            match self.handed_on.get(&(module.clone(), name.clone())) {
                Some(what) if *what != path => {
                    path = [what, &path[depth + 1..]].concat();
                }
                _ => return module,
            }
        }
        path
    }

    /// Which module imports from which, where they are not in the same file.
    fn edges(&self) -> BTreeSet<(&Module, Module)> {
        let mut edges = BTreeSet::new();
        for (module, imports) in &self.imports {
            for import in imports.iter().filter(|import| import.public.is_none()) {
                let to = self.resolve(&import.path);
                if self.modules.get(module) != self.modules.get(&to) {
                    edges.insert((module, to));
                }
            }
        }
        edges
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.through_the_root();
        let edges = self.edges();
        let mut files = Graph::default();
        for (from, to) in &edges {
            files.add(self.modules[*from], self.modules[to]);
        }
        problems.extend(files.circles(LONGEST).into_iter().map(|circle| {
            format!(
                "a circle of {} files, and {LONGEST} are the most: {}",
                circle.len(),
                circle.join(", ")
            )
        }));
        let mut folders = Graph::default();
        for (from, to) in &edges {
            if let (Some(from), Some(to)) = (self.folder(from), self.folder(to)) {
                folders.add(from, to);
            }
        }
        problems.extend(
            folders
                .circles(1)
                .into_iter()
                .map(|circle| format!("folders import each other: {}", circle.join(", "))),
        );
        problems
    }

    /// The file of the folder at the root of the crate to which `module` belongs.
    fn folder(&self, module: &[String]) -> Option<&'a str> {
        let folder = module.get(..1)?;
        let mut below = self
            .modules
            .keys()
            .filter(|other| other.starts_with(folder));
        below.nth(1).and(self.modules.get(folder).copied())
    }

    /// What code inside the crate takes from the names that its root hands on.
    fn through_the_root(&self) -> Vec<String> {
        let all = self
            .imports
            .iter()
            .flat_map(|(module, imports)| imports.iter().map(move |import| (module, import)));
        all.filter_map(|(module, import)| {
            let name = import.path.first()?;
            let handed_on = self.handed_on.get(&(Vec::new(), name.clone()))?;
            let is_module = self.modules.contains_key(&import.path[..1]);
            (!module.is_empty() && !is_module).then(|| {
                format!(
                    "{}:{}: takes {name} from the crate's root; name its module, {}",
                    self.modules[module],
                    import.line,
                    handed_on.join("::")
                )
            })
        })
        .collect()
    }
}

#[derive(Default)]
struct Graph<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Graph<'a> {
    fn add(&mut self, from: &'a str, to: &'a str) {
        if from != to {
            self.0.entry(from).or_default().insert(to);
        }
    }

    fn reaches(&self, start: &'a str) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut next = vec![start];
        while let Some(node) = next.pop() {
            for to in self.0.get(node).into_iter().flatten() {
                if seen.insert(*to) {
                    next.push(to);
                }
            }
        }
        seen
    }

    /// Those that reach each other, where they are more than `longest`.
    fn circles(&self, longest: usize) -> Vec<Vec<&'a str>> {
        let reached: BTreeMap<_, _> = self
            .0
            .keys()
            .map(|node| (*node, self.reaches(node)))
            .collect();
        let mut circles = BTreeSet::new();
        for (node, reaches) in &reached {
            let back = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(node));
            let circle: Vec<_> = reaches.iter().filter(back).copied().collect();
            if circle.len() > longest {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

/// Reads the modules and the paths of one file.
struct Reader<'a> {
    tokens: Vec<(&'a str, usize)>,
    at: usize,
    /// The module that is being read: the file's, or one inside.
    module: Module,
    /// Braces that are open, and those that a module inside the file opened.
    depth: usize,
    opened: Vec<usize>,
    /// Modules with a file of their own, and those without.
    children: Vec<Module>,
    inner: Vec<Module>,
    imports: Vec<(Module, Import)>,
}

impl<'a> Reader<'a> {
    fn new(module: &[String], text: &'a str) -> Self {
        Self {
            tokens: tokens(text),
            at: 0,
            module: module.to_vec(),
            depth: 0,
            opened: Vec::new(),
            children: Vec::new(),
            inner: Vec::new(),
            imports: Vec::new(),
        }
    }

    fn token(&self, ahead: usize) -> &'a str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |(token, _)| token)
    }

    fn is_next(&self, expected: &[&str]) -> bool {
        (0..)
            .zip(expected)
            .all(|(ahead, token)| self.token(ahead) == *token)
    }

    fn read(&mut self) {
        // Children first, since a path may begin with the name of one that is declared below it.
        for pass in [true, false] {
            self.at = 0;
            self.depth = 0;
            while self.at < self.tokens.len() {
                self.item(pass);
            }
        }
    }

    fn item(&mut self, declarations: bool) {
        if self.is_next(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            self.at += 7;
            self.skip_item();
            return;
        }
        match self.token(0) {
            "{" => self.depth += 1,
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                if self.opened.last() == Some(&self.depth) {
                    self.opened.pop();
                    self.module.pop();
                }
            }
            "mod" if is_name(self.token(1)) => {
                let mut child = self.module.clone();
                child.push(self.token(1).to_owned());
                match self.token(2) {
                    ";" if declarations => self.children.push(child),
                    "{" => {
                        if declarations {
                            self.inner.push(child.clone());
                        }
                        self.module = child;
                        self.opened.push(self.depth);
                    }
                    _ => {}
                }
                self.at += 1;
            }
            // Not the `use<'a>` of a type.
            "use" if !declarations && self.token(1) != "<" => {
                let public = self.is_public();
                self.at += 1;
                self.tree(&[], public);
                return;
            }
            token if !declarations && is_name(token) && self.token(1) == "::" => {
                let after_path = self.at > 0 && self.tokens[self.at - 1].0 == "::";
                if !after_path {
                    let line = self.tokens[self.at].1;
                    let mut path = vec![token];
                    while self.token(1) == "::" && is_name(self.token(2)) {
                        self.at += 2;
                        path.push(self.token(0));
                    }
                    self.import(&path, None, line);
                }
            }
            _ => {}
        }
        self.at += 1;
    }

    /// Whether the `use` here hands on what it names.
    fn is_public(&self) -> bool {
        let before = |back: usize| self.at.checked_sub(back).map_or("", |at| self.tokens[at].0);
        before(1) == "pub" || before(1) == ")" && (2..8).any(|back| before(back) == "pub")
    }

    /// Goes behind an item: its attributes, and then up to `;` or the end of its braces.
    fn skip_item(&mut self) {
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.token(0) {
                "{" | "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return;
                    }
                }
                ";" | "," if depth == 0 => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            if depth < 0 {
                return;
            }
            self.at += 1;
        }
    }

    /// The tree of a `use`, up to and with its `;`, or one branch of it up to its `,` or `}`.
    fn tree(&mut self, prefix: &[&'a str], public: bool) {
        let mut path = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
        loop {
            match self.token(0) {
                "::" => {}
                "{" => {
                    self.at += 1;
                    while !matches!(self.token(0), "}" | "") {
                        self.tree(&path, public);
                        if self.token(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    if prefix.is_empty() && self.token(0) == ";" {
                        self.at += 1;
                    }
                    return;
                }
                ";" | "," | "}" | "" => {
                    self.import(
                        &path,
                        public.then(|| path.last().copied().unwrap_or("")),
                        line,
                    );
                    break;
                }
                "as" => {
                    let name = self.token(1);
                    self.import(&path, public.then_some(name), line);
                    self.at += 2;
                    break;
                }
                "self" if !path.is_empty() => {}
                name => path.push(name),
            }
            self.at += 1;
        }
        if prefix.is_empty() && self.token(0) == ";" {
            self.at += 1;
        }
    }

    /// Notes a path, if it is one into this crate.
    fn import(&mut self, path: &[&str], public: Option<&str>, line: usize) {
        let (mut base, mut rest) = match path {
            ["crate" | "$crate", rest @ ..] => (Vec::new(), rest),
            ["self" | "super", ..] => (self.module.clone(), path),
            [first, ..] => {
                let mut child = self.module.clone();
                child.push((*first).to_owned());
                if !self.children.contains(&child) {
                    return;
                }
                (self.module.clone(), path)
            }
            [] => return,
        };
        while let [word @ ("self" | "super"), behind @ ..] = rest {
            if *word == "super" {
                base.pop();
            }
            rest = behind;
        }
        base.extend(rest.iter().map(|name| (*name).to_owned()));
        let import = Import {
            path: base,
            public: public.map(str::to_owned),
            line,
        };
        self.imports.push((self.module.clone(), import));
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_' || first == '$')
}

/// The words and signs of a source file with their lines, without comments and the insides of texts.
fn tokens(text: &str) -> Vec<(&str, usize)> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &text[at..];
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(len) = literal(rest) {
            len
        } else if rest.starts_with("::") {
            tokens.push(("::", line));
            2
        } else {
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
            let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let len = word.max(rest.chars().next().map_or(1, char::len_utf8));
            if !rest[..len].trim().is_empty() {
                tokens.push((&rest[..len], line));
            }
            len
        };
        line += text[at..at + len].matches('\n').count();
        at += len;
    }
    tokens
}

/// The length of the text or character that `rest` begins with, if it does.
fn literal(rest: &str) -> Option<usize> {
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'));
    if let Some(raw) = raw {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = rest.len() - raw.len() + hashes + 1;
            let len = rest[begin..].find(&end)?;
            return Some(begin + len + end.len());
        }
    }
    let plain = rest.strip_prefix('b').unwrap_or(rest);
    let begin = rest.len() - plain.len();
    let quote = plain.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in plain.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(begin + at + 1),
            // A lifetime.
            _ if quote == '\'' && at > 1 && !plain[1..].starts_with('\\') => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| File {
                path: format!("a/src/{path}.rs"),
                text: (*text).to_owned(),
            })
            .collect();
        problems(&files)
    }

    const FOUR: &str = "mod a; mod b; mod c; mod d;";

    #[test]
    fn a_circle_of_four_is_found_and_one_of_three_is_not() {
        let way = |last| {
            check(&[
                ("lib", FOUR),
                ("a", "use crate::b::B;"),
                ("b", "use super::{c::C, x::Y};"),
                ("c", "fn c() { crate::d::d() }"),
                ("d", last),
            ])
        };
        assert!(way("use crate::b::B;").is_empty());
        let problems = way("use crate::{a, other};");
        assert_eq!(
            problems,
            [
                "a circle of 4 files, and 3 are the most: a/src/a.rs, a/src/b.rs, a/src/c.rs, a/src/d.rs"
            ]
        );
    }

    #[test]
    fn texts_comments_and_tests_are_no_imports() {
        for nothing in [
            "// use crate::a::A;",
            "/* crate::a::A */",
            "const A: &str = \"crate::a::A\";",
            "const A: &str = r#\"\" use crate::a::A;\"#; const B: char = '\"';",
            "#[cfg(test)] mod tests { use crate::a::A; }",
            "#[cfg(test)]\n#[allow(x)]\nuse crate::a::A;",
            "use other::a::A;",
            "fn f<'a>(x: &'a A) -> impl Fn() + use<'a> { let a = crate::other; || {} }",
        ] {
            let problems = check(&[
                ("lib", FOUR),
                ("a", "use crate::b::B;"),
                ("b", "use crate::c::C;"),
                ("c", "use crate::d::D;"),
                ("d", nothing),
            ]);
            assert!(problems.is_empty(), "{nothing}: {problems:?}");
        }
    }

    #[test]
    fn what_is_handed_on_belongs_to_the_file_that_defines_it() {
        let files = [
            ("lib", "mod b; mod c; mod d; mod folder;"),
            (
                "folder/mod",
                "mod one; mod two; pub use self::one::{One, Other as Else};",
            ),
            ("folder/one", "pub struct One;"),
            ("folder/two", "use crate::b::B;"),
            ("b", "use crate::c::C;"),
            ("c", "use crate::d::D;"),
            ("d", "use crate::folder::Else;"),
        ];
        assert!(check(&files).is_empty());
        let mut files = files;
        files[6].1 = "fn d(folder: crate::folder::two::Two) {}";
        assert_eq!(
            check(&files),
            [
                "a circle of 4 files, and 3 are the most: a/src/b.rs, a/src/c.rs, a/src/d.rs, a/src/folder/two.rs"
            ]
        );
    }

    #[test]
    fn a_parent_imports_what_it_uses_of_its_children() {
        let hub = |text| {
            check(&[
                ("lib", "mod hub;"),
                ("hub", text),
                ("hub/a", "use super::Hub;"),
                ("hub/b", "use super::Hub;"),
                ("hub/c", "use crate::hub::Hub;"),
            ])
        };
        assert!(hub("mod a; mod b; mod c; pub use self::{a::A, b::B, c::C};").is_empty());
        let problems = hub("mod a; mod b; mod c; use self::a::A; use b::B; fn f() { c::c() }");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn folders_import_in_one_direction() {
        let problems = check(&[
            ("lib", "mod low; mod high;"),
            ("low/mod", "mod a; mod b;"),
            ("low/a", "use crate::high::c::C;"),
            ("low/b", ""),
            ("high/mod", "mod c; mod d;"),
            ("high/c", ""),
            ("high/d", "use crate::low::b::B;"),
        ]);
        assert_eq!(
            problems,
            ["folders import each other: a/src/high/mod.rs, a/src/low/mod.rs"]
        );
    }

    #[test]
    fn names_of_the_root_are_for_others() {
        let problems = check(&[
            ("lib", "mod a; mod b; pub use crate::a::A; pub use b::B;"),
            ("a", "pub struct A;"),
            ("b", "\nuse crate::{a, A};"),
        ]);
        assert_eq!(
            problems,
            ["a/src/b.rs:2: takes A from the crate's root; name its module, a::A"]
        );
    }
}
