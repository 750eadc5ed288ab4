//! A compact prefix tree over bytes.
//!
//! Adding, finding and removing a key, and finding all keys that are prefixes of a text, cost a walk along the key or
//! the text, whatever else the tree holds.

/// A map from byte strings.
#[derive(Debug)]
pub(super) struct Radix<T> {
    value: Option<T>,
    /// Sorted by the first byte of their labels, which differ.
    edges: Vec<Edge<T>>,
}

#[derive(Debug)]
struct Edge<T> {
    /// Never empty.
    label: Box<[u8]>,
    node: Radix<T>,
}

impl<T> Default for Radix<T> {
    fn default() -> Self {
        Self {
            value: None,
            edges: Vec::new(),
        }
    }
}

impl<T> Radix<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.value.is_none() && self.edges.is_empty()
    }

    /// The value of `key`, to be set by the caller.
    pub(super) fn slot(&mut self, key: &[u8]) -> &mut Option<T> {
        let Some(first) = key.first() else {
            return &mut self.value;
        };
        let at = match self.find(*first) {
            Ok(at) => at,
            Err(at) => {
                if self.edges.is_empty() {
                    // Most nodes have one or two.
                    self.edges.reserve_exact(1);
                }
                let (label, node) = (key.into(), Self::default());
                self.edges.insert(at, Edge { label, node });
                at
            }
        };
        let edge = &mut self.edges[at];
        let shared = edge.label.iter().zip(key).take_while(|(a, b)| a == b);
        let shared = shared.count();
        if shared < edge.label.len() {
            edge.split(shared);
        }
        edge.node.slot(&key[shared..])
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&T> {
        let (mut node, mut rest) = (self, key);
        while let Some(first) = rest.first() {
            let edge = &node.edges[node.find(*first).ok()?];
            rest = rest.strip_prefix(&*edge.label)?;
            node = &edge.node;
        }
        node.value.as_ref()
    }

    /// Changes the value of a known key, and removes the nodes that are not needed any more if `change` removed it.
    pub(super) fn change<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut Option<T>) -> R,
    ) -> Option<R> {
        let Some(first) = key.first() else {
            return Some(change(&mut self.value));
        };
        let at = self.find(*first).ok()?;
        let edge = &mut self.edges[at];
        let changed = edge.node.change(key.strip_prefix(&*edge.label)?, change)?;
        if edge.node.is_empty() {
            self.edges.remove(at);
            if self.edges.len() < self.edges.capacity() / 4 {
                self.edges.shrink_to_fit();
            }
        } else {
            edge.join();
        }
        Some(changed)
    }

    /// Calls `visit` for every key that is a prefix of `text`, with the key's length; returns the number of nodes
    /// visited.
    pub(super) fn prefixes<'a>(
        &'a self,
        text: &[u8],
        mut visit: impl FnMut(usize, &'a T),
    ) -> usize {
        let (mut node, mut taken, mut visited) = (self, 0, 1);
        loop {
            if let Some(value) = &node.value {
                visit(taken, value);
            }
            let rest = &text[taken..];
            let next = rest.first().and_then(|first| node.find(*first).ok());
            let Some(edge) = next.map(|at| &node.edges[at]) else {
                return visited;
            };
            if !rest.starts_with(&edge.label) {
                return visited;
            }
            taken += edge.label.len();
            visited += 1;
            node = &edge.node;
        }
    }

    fn find(&self, first: u8) -> Result<usize, usize> {
        self.edges
            .binary_search_by_key(&first, |edge| edge.label[0])
    }
}

impl<T> Edge<T> {
    /// Inserts a node after the first `at` bytes of the label.
    fn split(&mut self, at: usize) {
        let node = std::mem::take(&mut self.node);
        let label = self.label[at..].into();
        self.label = self.label[..at].into();
        self.node.edges = vec![Edge { label, node }];
    }

    /// Removes the node if it only leads to one other.
    fn join(&mut self) {
        if self.node.value.is_none()
            && self.node.edges.len() == 1
            && let Some(below) = self.node.edges.pop()
        {
            self.label = [&*self.label, &*below.label].concat().into();
            self.node = below.node;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_map_and_ends_empty(
            changes in prop::collection::vec(("[ab]{0,5}", any::<bool>()), 0..40),
            text in "[ab]{0,8}",
        ) {
            let (mut tree, mut map) = (Radix::default(), BTreeMap::new());
            for (key, add) in changes {
                if add {
                    *tree.slot(key.as_bytes()) = Some(key.clone());
                    map.insert(key.clone(), key);
                } else {
                    tree.change(key.as_bytes(), |value| *value = None);
                    map.remove(&key);
                }
            }
            let mut found = Vec::new();
            tree.prefixes(text.as_bytes(), |len, value| found.push((len, value)));
            let expected = map.iter().filter(|(key, _)| text.starts_with(*key));
            let expected: Vec<_> = expected.map(|(key, value)| (key.len(), value)).collect();
            prop_assert_eq!(found, expected);
            for key in map.keys() {
                prop_assert_eq!(tree.get(key.as_bytes()), Some(key));
                tree.change(key.as_bytes(), |value| *value = None);
            }
            prop_assert!(tree.is_empty());
        }
    }
}
