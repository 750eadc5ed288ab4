//! The index of pattern subscriptions: a trie over segments.
//!
//! Finding the groups that match a destination walks the destination's segments once, with the set of trie nodes
//! reached so far; the cost depends on the patterns along that way, not on the number of subscriptions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;

use super::subscribers::Subscribers;
use crate::destination::Pattern;
use crate::destination::{Segments, is_any, segment_matches};
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
    /// Segments without wildcards.
    exact: HashMap<ByteString, Node>,
    /// Segments with `*` or `?`.
    wild: Vec<(ByteString, Node)>,
    /// `**`.
    any: Option<Box<Node>>,
    /// True if this node was reached by `**`, and so stays reached whatever segment comes.
    stays: bool,
    group: Option<Arc<Group>>,
}

impl Patterns {
    /// Returns the group of `pattern`, and true if it is new.
    pub(super) fn group(&mut self, pattern: &Pattern) -> (Arc<Group>, bool) {
        let mut node = &mut self.root;
        for segment in pattern.segments() {
            node = node.child(segment);
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
        for segment in pattern.segments() {
            node = node.known_child(segment)?;
        }
        node.group.as_ref()
    }

    /// Removes the group of `pattern` if it has no subscribers; returns true if it did.
    pub(super) fn forget(&mut self, pattern: &Pattern) -> bool {
        let segments: Vec<&str> = pattern.segments().collect();
        self.root.forget(&segments)
    }

    /// Returns the groups whose pattern covers `destination`.
    pub(super) fn matching(&self, destination: Segments<'_>) -> Vec<Arc<Group>> {
        let (mut reached, mut next) = (Reached::default(), Reached::default());
        self.root.reach(&mut reached);
        for segment in destination {
            if reached.nodes.is_empty() {
                return Vec::new();
            }
            for node in reached.drain() {
                if node.stays {
                    next.add(node);
                }
                if let Some(child) = node.exact.get(segment) {
                    child.reach(&mut next);
                }
                for (part, child) in &node.wild {
                    if segment_matches(part, segment) {
                        child.reach(&mut next);
                    }
                }
            }
            std::mem::swap(&mut reached, &mut next);
        }
        reached
            .nodes
            .into_iter()
            .filter_map(|node| node.group.clone())
            .collect()
    }
}

impl Node {
    fn child(&mut self, segment: &str) -> &mut Self {
        if is_any(segment) {
            let any = self.any.get_or_insert_default();
            any.stays = true;
            return any;
        }
        if !segment.contains(['*', '?']) {
            return self.exact.entry(segment.into()).or_default();
        }
        let at = match self.wild.iter().position(|(part, _)| part == segment) {
            Some(at) => at,
            None => {
                self.wild.push((segment.into(), Self::default()));
                self.wild.len() - 1
            }
        };
        &mut self.wild[at].1
    }

    fn known_child(&self, segment: &str) -> Option<&Self> {
        if is_any(segment) {
            return self.any.as_deref();
        }
        if !segment.contains(['*', '?']) {
            return self.exact.get(segment);
        }
        let mut wild = self.wild.iter();
        let (_, child) = wild.find(|(part, _)| part == segment)?;
        Some(child)
    }

    /// Adds this node, and the nodes that `**` reaches from it without a segment.
    fn reach<'a>(&'a self, reached: &mut Reached<'a>) {
        reached.add(self);
        if let Some(any) = &self.any {
            any.reach(reached);
        }
    }

    fn forget(&mut self, segments: &[&str]) -> bool {
        let Some((first, rest)) = segments.split_first() else {
            let unused = self
                .group
                .as_ref()
                .is_some_and(|group| group.subscribers.lock().is_empty());
            if unused {
                self.group = None;
            }
            return unused;
        };
        if is_any(first) {
            let Some(any) = &mut self.any else {
                return false;
            };
            let forgotten = any.forget(rest);
            if any.is_unused() {
                self.any = None;
            }
            return forgotten;
        }
        if let Some(child) = self.exact.get_mut(*first) {
            let forgotten = child.forget(rest);
            if child.is_unused() {
                self.exact.remove(*first);
            }
            return forgotten;
        }
        let Some(at) = self.wild.iter().position(|(part, _)| part == first) else {
            return false;
        };
        let forgotten = self.wild[at].1.forget(rest);
        if self.wild[at].1.is_unused() {
            self.wild.swap_remove(at);
        }
        forgotten
    }

    fn is_unused(&self) -> bool {
        self.group.is_none() && self.exact.is_empty() && self.wild.is_empty() && self.any.is_none()
    }
}

/// The nodes reached after some segments, each once.
#[derive(Default)]
struct Reached<'a> {
    nodes: Vec<&'a Node>,
    /// Those among them that follow a `**`: only they can be reached in two ways, from above and by staying.
    staying: HashSet<*const Node>,
}

impl<'a> Reached<'a> {
    fn add(&mut self, node: &'a Node) {
        if !node.stays || self.staying.insert(node) {
            self.nodes.push(node);
        }
    }

    fn drain(&mut self) -> impl Iterator<Item = &'a Node> {
        self.staying.clear();
        self.nodes.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matching(patterns: &Patterns, destination: &str) -> Vec<String> {
        let mut found: Vec<String> = patterns
            .matching(Segments::new(destination, crate::Separator::Slash))
            .iter()
            .map(|group| group.pattern.to_string())
            .collect();
        found.sort();
        found
    }

    #[test]
    fn forgetting_leaves_nothing_behind() {
        let mut patterns = Patterns::default();
        let texts = ["/a/**", "/a/*/c", "/**", "/a/**/z", "/a/b?"];
        for text in texts {
            assert!(patterns.group(&Pattern::parse(text).unwrap()).1);
            assert!(!patterns.group(&Pattern::parse(text).unwrap()).1);
        }
        assert_eq!(matching(&patterns, "/a/b/c"), ["/**", "/a/**", "/a/*/c"]);
        for text in texts {
            assert!(patterns.forget(&Pattern::parse(text).unwrap()), "{text}");
            assert!(!patterns.forget(&Pattern::parse(text).unwrap()), "{text}");
        }
        assert!(patterns.root.is_unused());
    }

    fn segment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "ab", "*", "**", "a*", "?", ""])
    }

    proptest! {
        /// The trie finds the same groups as matching every pattern.
        #[test]
        fn the_trie_agrees_with_each_pattern_alone(
            texts in prop::collection::vec(prop::collection::vec(segment(), 1..5), 0..12),
            destination in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "abc", ""]), 1..6),
        ) {
            let mut patterns = Patterns::default();
            let destination = format!("/{}", destination.join("/"));
            let mut expected = Vec::new();
            for text in texts {
                let pattern = Pattern::parse(format!("/{}", text.join("/"))).unwrap();
                if patterns.group(&pattern).1 && pattern.matches(&destination) {
                    expected.push(pattern.to_string());
                }
            }
            expected.sort();
            prop_assert_eq!(matching(&patterns, &destination), expected);
        }
    }
}
