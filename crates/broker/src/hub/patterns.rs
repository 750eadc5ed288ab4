//! The index of pattern subscriptions: a trie over segments, whose children are found by the bytes of a segment.
//!
//! A segment with one `*` is found by the literal text before the star and by that behind it; the part of a pattern
//! behind `**` is found from the destination's end. So each node is reached at most once, and only if its pattern
//! agrees with the destination as far as that node: other patterns cost nothing. Patterns of other forms
//! ([`Pattern::is_scanned`]) are kept at the node of their leading segments without wildcards, where each is compared:
//! a quota bounds their number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;

use super::radix::Radix;
use super::subscribers::Subscribers;
use crate::destination::{Pattern, Segments, Separator, is_any};
use crate::feed::Feed;
use crate::sync::{AtomicU64, Mutex};

/// All subscriptions to one pattern.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) pattern: Pattern,
    pub(super) subscribers: Mutex<Subscribers>,
    feed: AtomicU64,
}

impl Group {
    /// The feed that brings its messages.
    pub(super) fn feed(&self) -> Feed {
        Feed(self.feed.load(Ordering::Acquire))
    }

    pub(super) fn set_feed(&self, feed: Feed) {
        self.feed.store(feed.0, Ordering::Release);
    }
}

#[derive(Debug, Default)]
pub(super) struct Patterns {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    group: Option<Arc<Group>>,
    /// The next segments, by their text up to the `*`.
    segments: Radix<Box<Step>>,
    /// The patterns' segments after `**`, as a trie with the last segment first.
    tails: Option<Box<Node>>,
    /// Patterns that are compared one by one, by their text.
    scanned: BTreeMap<ByteString, Node>,
}

/// The children whose segments share their literal beginning.
#[derive(Debug, Default)]
struct Step {
    /// The segment that is this text.
    exact: Option<Node>,
    /// Segments with a `*` behind this text, by the reversed text behind the star.
    open: Radix<Node>,
}

/// A part of the way to a pattern's node.
#[derive(Clone, Copy)]
enum Part<'a> {
    Exact(&'a str),
    /// A segment with one `*`: what is before it and behind it.
    Open(&'a str, &'a str),
    /// `**`; the parts behind it come in reverse.
    Any,
    /// The whole text of a pattern that is compared.
    Scanned(&'a str),
}

/// The way to the node of `pattern`.
fn way(pattern: &Pattern) -> Vec<Part<'_>> {
    let part = |segment| {
        if is_any(segment) {
            return Part::Any;
        }
        match segment.split_once('*') {
            Some((before, behind)) => Part::Open(before, behind),
            None => Part::Exact(segment),
        }
    };
    if pattern.is_scanned() {
        let segments = pattern.segments();
        let literal = segments.take_while(|segment| !segment.contains(['*', '?']));
        let scanned = Part::Scanned(pattern.as_str());
        return literal.map(Part::Exact).chain([scanned]).collect();
    }
    let mut parts: Vec<Part<'_>> = pattern.segments().map(part).collect();
    let any = parts.iter().position(|part| matches!(part, Part::Any));
    if let Some(any) = any {
        parts[any + 1..].reverse();
    }
    parts
}

fn reversed(text: &str) -> Vec<u8> {
    text.bytes().rev().collect()
}

impl Patterns {
    /// Returns the group of `pattern`, and true if it is new.
    pub(super) fn group(&mut self, pattern: &Pattern) -> (Arc<Group>, bool) {
        let mut node = &mut self.root;
        for part in way(pattern) {
            node = node.child(part);
        }
        if let Some(group) = &node.group {
            return (Arc::clone(group), false);
        }
        let group = Arc::new(Group {
            pattern: pattern.detached(),
            subscribers: Mutex::default(),
            feed: AtomicU64::new(Feed::NODE.0),
        });
        node.group = Some(Arc::clone(&group));
        (group, true)
    }

    /// Returns the group of `pattern`, if it has subscribers.
    pub(super) fn find(&self, pattern: &Pattern) -> Option<&Arc<Group>> {
        let mut node = &self.root;
        for part in way(pattern) {
            node = node.known_child(part)?;
        }
        node.group.as_ref()
    }

    /// Removes the group of `pattern` if it has no subscribers; returns true if it did.
    pub(super) fn forget(&mut self, pattern: &Pattern) -> bool {
        self.root.forget(&way(pattern))
    }

    /// Returns the groups whose pattern covers `destination`.
    pub(super) fn matching(&self, destination: &str, separator: Separator) -> Vec<Arc<Group>> {
        self.search(destination, separator).0
    }

    /// Returns the groups whose pattern covers `destination`, and the number of nodes and patterns visited.
    fn search(&self, destination: &str, separator: Separator) -> (Vec<Arc<Group>>, usize) {
        if self.root.is_unused() {
            return (Vec::new(), 0);
        }
        let backwards = reversed(destination);
        let mut rest = backwards.len();
        let segments = Segments::new(destination, separator).map(|text| {
            let end = rest;
            rest -= text.len();
            let reversed = &backwards[rest..end];
            Segment { text, reversed }
        });
        let segments: Vec<Segment<'_>> = segments.collect();
        let mut search = Search {
            destination,
            found: Vec::new(),
            visited: 0,
        };
        search.forwards(&self.root, &segments);
        (search.found, search.visited)
    }
}

impl Node {
    fn child(&mut self, part: Part<'_>) -> &mut Self {
        match part {
            Part::Exact(text) => {
                let step = self.segments.slot(text.as_bytes()).get_or_insert_default();
                step.exact.get_or_insert_default()
            }
            Part::Open(before, behind) => {
                let step = self.segments.slot(before.as_bytes());
                let open = &mut step.get_or_insert_default().open;
                open.slot(&reversed(behind)).get_or_insert_default()
            }
            Part::Any => self.tails.get_or_insert_default(),
            Part::Scanned(text) => self.scanned.entry(text.into()).or_default(),
        }
    }

    fn known_child(&self, part: Part<'_>) -> Option<&Self> {
        match part {
            Part::Exact(text) => self.segments.get(text.as_bytes())?.exact.as_ref(),
            Part::Open(before, behind) => {
                let step = self.segments.get(before.as_bytes())?;
                step.open.get(&reversed(behind))
            }
            Part::Any => self.tails.as_deref(),
            Part::Scanned(text) => self.scanned.get(text),
        }
    }

    fn forget(&mut self, way: &[Part<'_>]) -> bool {
        let Some((part, rest)) = way.split_first() else {
            let group = self.group.as_ref();
            let unused = group.is_some_and(|group| group.subscribers.lock().is_empty());
            if unused {
                self.group = None;
            }
            return unused;
        };
        let forgotten = match *part {
            Part::Exact(text) => self.segments.change(text.as_bytes(), |slot| {
                Step::change(slot, |step| forget_in(&mut step.exact, rest))
            }),
            Part::Open(before, behind) => self.segments.change(before.as_bytes(), |slot| {
                Step::change(slot, |step| {
                    let behind = reversed(behind);
                    let forgotten = step.open.change(&behind, |slot| forget_in(slot, rest));
                    forgotten.unwrap_or_default()
                })
            }),
            Part::Any => {
                let forgotten = self.tails.as_mut().map(|tails| tails.forget(rest));
                self.tails.take_if(|tails| tails.is_unused());
                forgotten
            }
            Part::Scanned(text) => {
                let forgotten = self.scanned.get_mut(text).map(|node| node.forget(rest));
                if forgotten == Some(true) {
                    self.scanned.remove(text);
                }
                forgotten
            }
        };
        forgotten.unwrap_or_default()
    }

    fn is_unused(&self) -> bool {
        self.group.is_none()
            && self.segments.is_empty()
            && self.tails.is_none()
            && self.scanned.is_empty()
    }
}

/// Removes a group below the node in `slot`, and the node if it is unused then.
fn forget_in(slot: &mut Option<Node>, rest: &[Part<'_>]) -> bool {
    let forgotten = slot.as_mut().is_some_and(|node| node.forget(rest));
    slot.take_if(|node| node.is_unused());
    forgotten
}

impl Step {
    /// Changes the step in `slot`, and removes it if it is unused then.
    fn change(slot: &mut Option<Box<Self>>, change: impl FnOnce(&mut Self) -> bool) -> bool {
        let changed = slot.as_mut().is_some_and(|step| change(step));
        slot.take_if(|step| step.exact.is_none() && step.open.is_empty());
        changed
    }
}

/// A segment of a destination.
struct Segment<'a> {
    text: &'a str,
    reversed: &'a [u8],
}

/// The search for the patterns that cover a destination.
struct Search<'a> {
    destination: &'a str,
    found: Vec<Arc<Group>>,
    visited: usize,
}

impl Search<'_> {
    /// Searches below a node whose parts match all segments before `rest`.
    fn forwards(&mut self, node: &Node, rest: &[Segment<'_>]) {
        self.visited += 1 + node.scanned.len();
        let scanned = node.scanned.values().filter_map(|node| node.group.as_ref());
        let matching = scanned.filter(|group| group.pattern.matches(self.destination));
        self.found.extend(matching.cloned());
        if let Some(tails) = &node.tails {
            self.backwards(tails, rest);
        }
        match rest.split_first() {
            Some((next, rest)) => {
                self.step(node, next, |search, child| search.forwards(child, rest));
            }
            None => self.found.extend(node.group.clone()),
        }
    }

    /// Searches below a node whose parts match all segments behind `rest`; the `**` matches those before.
    fn backwards(&mut self, node: &Node, rest: &[Segment<'_>]) {
        self.visited += 1;
        self.found.extend(node.group.clone());
        if let Some((next, rest)) = rest.split_last() {
            self.step(node, next, |search, child| search.backwards(child, rest));
        }
    }

    /// Calls `reached` with every child that matches `segment`.
    fn step(
        &mut self,
        node: &Node,
        segment: &Segment<'_>,
        mut reached: impl FnMut(&mut Self, &Node),
    ) {
        let Segment { text, reversed } = segment;
        let mut inside = 0;
        let along = node.segments.prefixes(text.as_bytes(), |taken, step| {
            if taken == text.len()
                && let Some(child) = &step.exact
            {
                reached(self, child);
            }
            if !step.open.is_empty() {
                let behind = &reversed[..text.len() - taken];
                inside += step.open.prefixes(behind, |_, child| reached(self, child));
            }
        });
        self.visited += along + inside;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(patterns: &mut Patterns, text: &str) -> bool {
        patterns.group(&Pattern::parse(text.to_owned()).unwrap()).1
    }

    fn matching(patterns: &Patterns, destination: &str) -> Vec<String> {
        let found = patterns.matching(destination, Separator::Slash);
        let mut found: Vec<String> = found
            .iter()
            .map(|group| group.pattern.to_string())
            .collect();
        found.sort();
        found
    }

    fn visited(patterns: &Patterns, destination: &str) -> usize {
        patterns.search(destination, Separator::Slash).1
    }

    #[test]
    fn forgetting_leaves_nothing_behind() {
        let mut patterns = Patterns::default();
        let texts = [
            "/a/**", "/a/*/c", "/**", "/a/**/z", "/a/b?", "/a/b*", "/a/*b", "/a/b",
        ];
        for text in texts {
            assert!(add(&mut patterns, text));
            assert!(!add(&mut patterns, text));
        }
        assert_eq!(matching(&patterns, "/a/b/c"), ["/**", "/a/**", "/a/*/c"]);
        for text in texts {
            assert!(patterns.forget(&Pattern::parse(text).unwrap()), "{text}");
            assert!(!patterns.forget(&Pattern::parse(text).unwrap()), "{text}");
        }
        assert!(patterns.root.is_unused());
    }

    #[test]
    fn other_patterns_cost_a_search_nothing() {
        for (hostile, bound) in [
            // One text before the star and many behind it, and the reverse.
            (
                &(|n| format!("/topic/a*{n}")) as &dyn Fn(usize) -> String,
                16,
            ),
            (&|n| format!("/topic/{n}*a"), 16),
            (&|n| format!("/topic/*/a*{n}"), 16),
            (&|n| format!("/topic/*/*{n}"), 16),
            (&|n| format!("/topic/{n}*"), 16),
            (&|n| format!("/topic/{n}x{}*", n % 1_000), 16),
            (&|n| format!("/topic/rooms/{n}/*"), 16),
            (&|n| format!("/topic/**/{n}"), 40),
            (&|n| format!("/topic/**/7/{n}"), 40),
            (&|n| format!("/topic/rooms/**/{n}*/7"), 40),
            (&|n| format!("/topic/{}/**", "a/".repeat(n % 60) + "b"), 16),
            // Each letter of the segment is one more pattern that agrees with it.
            (&|n| format!("/topic/{}*", "r".repeat(n % 240)), 16),
            (&|n| format!("/topic/{}*x", &"rooms"[..n % 6]), 24),
        ] {
            let mut patterns = Patterns::default();
            for n in 0..20_000 {
                add(&mut patterns, &hostile(n));
            }
            let visited = visited(&patterns, "/topic/rooms/7");
            assert!(visited <= bound, "{visited} for {}", hostile(7));
        }
    }

    #[test]
    fn repeated_segments_are_no_lever() {
        let mut patterns = Patterns::default();
        for before in 0..30 {
            for behind in 0..30 {
                let (before, behind) = ("/a".repeat(before), "/a".repeat(behind));
                add(&mut patterns, &format!("/topic{before}/**/x{behind}"));
            }
        }
        let deep = format!("/topic{}", "/a".repeat(60));
        let visited = visited(&patterns, &deep);
        // For each place of `**`, each of the segments behind it at most once.
        assert!(visited <= 4 * 31 * 31, "{visited}");
    }

    fn segment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a", "b", "ab", "*", "**", "a*", "*b", "a*b", "ab*", "a*ab", "a**b", "*a*", "a?", "?",
            "é*", "*é", "",
        ])
    }

    fn destination() -> impl Strategy<Value = String> {
        let segment = prop::sample::select(vec!["a", "b", "ab", "abc", "aab", "é", "aé", ""]);
        prop::collection::vec(segment, 1..6).prop_map(|parts| format!("/{}", parts.join("/")))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        /// The trie finds the same groups as matching every pattern, and is empty without them.
        #[test]
        fn the_trie_agrees_with_each_pattern_alone(
            texts in prop::collection::vec((prop::collection::vec(segment(), 1..5), any::<bool>()), 0..12),
            destination in destination(),
        ) {
            let mut patterns = Patterns::default();
            let mut known = BTreeMap::new();
            for (text, keep) in &texts {
                let pattern = Pattern::parse(format!("/{}", text.join("/"))).unwrap();
                let new = patterns.group(&pattern).1;
                prop_assert_eq!(new, known.insert(pattern.to_string(), pattern.clone()).is_none());
                if !keep {
                    prop_assert!(patterns.forget(&pattern));
                    known.remove(pattern.as_str());
                }
            }
            let expected = known.values().filter(|pattern| pattern.matches(&destination));
            let expected: Vec<String> = expected.map(ToString::to_string).collect();
            prop_assert_eq!(matching(&patterns, &destination), expected);
            for pattern in known.values() {
                prop_assert!(patterns.find(pattern).is_some());
                prop_assert!(patterns.forget(pattern));
            }
            prop_assert!(patterns.root.is_unused());
        }
    }
}
