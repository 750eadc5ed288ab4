//! Lists that an idle session should not pay for.

use std::ops::{Deref, DerefMut};

/// A list that nearly every session has empty: one word until something is added, and again from [`trim`](Self::trim) on.
#[expect(
    clippy::box_collection,
    reason = "an empty `Vec` is three words, in each of many sessions"
)]
pub(super) struct Few<T>(Option<Box<Vec<T>>>);

impl<T> Few<T> {
    pub(super) fn push(&mut self, item: T) {
        self.0.get_or_insert_default().push(item);
    }

    /// Takes the item at `at`, whose place the last one gets.
    pub(super) fn swap_remove(&mut self, at: usize) -> Option<T> {
        let items = self.0.as_mut().filter(|items| at < items.len())?;
        Some(items.swap_remove(at))
    }

    /// Removes the first `count` items.
    pub(super) fn remove_first(&mut self, count: usize) {
        if let Some(items) = &mut self.0 {
            items.drain(..count);
        }
        self.trim();
    }

    /// Keeps the items for which `keep` says so, in their order.
    pub(super) fn retain_mut(&mut self, keep: impl FnMut(&mut T) -> bool) {
        if let Some(items) = &mut self.0 {
            items.retain_mut(keep);
        }
        self.trim();
    }

    /// Keeps no memory for what is not there.
    pub(super) fn trim(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}
