//! Deliveries of one subscription that have to be settled, by their tags.

use std::collections::{HashMap, HashSet, VecDeque};
use std::iter::Chain;
use std::sync::Arc;
use std::{array, vec};

use bytestring::ByteString;

use crate::AckMode;
use crate::hub::outbox::Outbox;
use crate::message::Message;
use crate::request::DeliveryRef;

/// The deliveries of one subscription that its session received and has not settled, in order.
#[derive(Debug)]
pub(crate) struct Unsettled<E> {
    ack: AckMode,
    last_tag: u32,
    /// By tag; tags grow, and wrap around at `u32::MAX`.
    entries: VecDeque<(u32, E)>,
    /// The tags by message id, for clients that refer to deliveries by id: those of STOMP 1.0 and 1.1.
    tags: Option<HashMap<ByteString, u32>>,
}

/// Entries that were settled together: usually one, which then needs no allocation.
pub(crate) type Settled<E> = Chain<vec::IntoIter<E>, array::IntoIter<E, 1>>;

/// An entry of [`Unsettled`].
pub(crate) trait Identified {
    /// The id of its message, unless the message is gone.
    fn id(&self) -> Option<ByteString>;
}

impl<E: Identified> Unsettled<E> {
    pub(crate) fn new(ack: AckMode) -> Self {
        Self {
            ack,
            last_tag: 0,
            entries: VecDeque::new(),
            tags: None,
        }
    }

    /// Queues a message in the outbox with the next tag, and keeps `entry` for it; returns false if the outbox has no
    /// room.
    pub(crate) fn offer(
        &mut self,
        message: &Arc<Message>,
        redeliveries: u32,
        (outbox, slot): (&Outbox, u32),
        entry: impl FnOnce() -> E,
    ) -> bool {
        // Tag 0 means that nothing has to be settled.
        let tag = self.last_tag.checked_add(1).unwrap_or(1);
        if !outbox.try_push(slot, tag, message, redeliveries) {
            return false;
        }
        self.last_tag = tag;
        if let Some(tags) = &mut self.tags {
            tags.insert(message.id().clone(), tag);
        }
        self.entries.push_back((tag, entry()));
        true
    }

    /// Removes `delivery`, and all before it if the subscription acknowledges cumulatively and it is not
    /// [alone](DeliveryRef::Only); returns them in order.
    /// `None` if there is no such delivery.
    pub(crate) fn settle(&mut self, delivery: &DeliveryRef) -> Option<Settled<E>> {
        let at = self.position(delivery)?;
        let (_, last) = self.entries.remove(at)?;
        let before: Vec<E> = match (self.ack, delivery) {
            (AckMode::ClientIndividual, _) | (_, DeliveryRef::Only(_)) => Vec::new(),
            _ => self.entries.drain(..at).map(|(_, entry)| entry).collect(),
        };
        if let Some(mut tags) = self.tags.take() {
            let ids = before.iter().chain([&last]).map(Identified::id);
            // If a message is gone, its tag cannot be removed by id; the map is rebuilt at its next use.
            let all = ids.fold(true, |all, id| match id {
                Some(id) => {
                    tags.remove(&id);
                    all
                }
                None => false,
            });
            self.tags = all.then_some(tags);
        }
        if self.entries.is_empty() && self.entries.capacity() > KEPT_CAPACITY {
            self.entries = VecDeque::new();
        }
        Some(before.into_iter().chain([last]))
    }

    /// Returns the entries that settling `deliveries`, one after the other, would remove, with the index of the
    /// delivery that removes each; or the first delivery that would not exist.
    pub(crate) fn would_settle<'a>(
        &mut self,
        deliveries: &'a [DeliveryRef],
    ) -> Result<impl Iterator<Item = (usize, &E)>, &'a DeliveryRef> {
        let mut ranges = Vec::with_capacity(deliveries.len());
        let mut seen = HashSet::with_capacity(deliveries.len());
        let mut from = 0;
        for delivery in deliveries {
            let at = self
                .position(delivery)
                .filter(|at| *at >= from && seen.insert(*at))
                .ok_or(delivery)?;
            let individual = self.ack == AckMode::ClientIndividual;
            let first = if individual { at } else { from };
            ranges.push(first..=at);
            from = if individual { 0 } else { at + 1 };
        }
        let entries = &self.entries;
        let settled = ranges.into_iter().enumerate();
        let all = |(at, range)| entries.range(range).map(move |(_, entry)| (at, entry));
        Ok(settled.flat_map(all))
    }

    /// Removes the entries that `settled` picks.
    pub(crate) fn remove_if(&mut self, mut settled: impl FnMut(&E) -> bool) {
        self.tags = None;
        self.entries.retain(|(_, entry)| !settled(entry));
    }

    /// The entries, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &E> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Removes all entries.
    pub(crate) fn clear(&mut self) {
        self.tags = None;
        self.entries = VecDeque::new();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn position(&mut self, delivery: &DeliveryRef) -> Option<usize> {
        let tag = match delivery {
            DeliveryRef::Tag(tag) | DeliveryRef::Only(tag) => *tag,
            DeliveryRef::MessageId(id) => *self.tags().get(id)?,
        };
        let (first, _) = self.entries.front()?;
        // Tags are compared by their distance from the first, which also holds across the wrap-around.
        let distance = tag.wrapping_sub(*first);
        self.entries
            .binary_search_by_key(&distance, |(tag, _)| tag.wrapping_sub(*first))
            .ok()
    }

    /// The tags by message id, built at their first use.
    fn tags(&mut self) -> &HashMap<ByteString, u32> {
        self.tags.get_or_insert_with(|| {
            let unsettled = self.entries.iter();
            let tags = unsettled.filter_map(|(tag, entry)| Some((entry.id()?, *tag)));
            tags.collect()
        })
    }
}

/// Capacity that an empty list may keep, so that single deliveries do not allocate each time.
const KEPT_CAPACITY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Destination, Headers, Overflow, Publish};

    impl Identified for ByteString {
        fn id(&self) -> Option<ByteString> {
            Some(self.clone())
        }
    }

    /// Deliveries whose first tag is the last but one.
    fn unsettled(ack: AckMode) -> Unsettled<ByteString> {
        let outbox = Outbox::new(1 << 20, Overflow::Close);
        let mut unsettled = Unsettled::new(ack);
        unsettled.last_tag = u32::MAX - 2;
        for n in 0..5 {
            let destination = Destination::parse("/queue/a").unwrap();
            let publish = Publish::new(destination, Headers::new(), "x");
            let message = Message::new(publish, n.to_string().into(), None);
            let message = Arc::new(message);
            let id = || message.id().clone();
            assert!(unsettled.offer(&message, 0, (&outbox, 0), id));
        }
        unsettled
    }

    fn ids(settled: Option<Settled<ByteString>>) -> Option<Vec<String>> {
        Some(settled?.map(|id| id.to_string()).collect())
    }

    #[test]
    fn tags_go_round_the_end_of_their_numbers_and_leave_out_0() {
        let unsettled = unsettled(AckMode::Client);
        let tags: Vec<u32> = unsettled.entries.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [u32::MAX - 1, u32::MAX, 1, 2, 3]);
    }

    #[test]
    fn tags_beyond_the_end_are_later() {
        let mut unsettled = unsettled(AckMode::Client);
        let (last, one, three) = (u32::MAX, 1, 3);
        let tags = [last, one, three].map(DeliveryRef::Tag);
        assert_eq!(unsettled.would_settle(&tags).map(Iterator::count), Ok(5));
        let backward = [tags[1].clone(), tags[0].clone()];
        assert_eq!(unsettled.would_settle(&backward).err(), Some(&tags[0]));
        let settled = ids(unsettled.settle(&tags[1]));
        assert_eq!(settled.unwrap(), ["0", "1", "2"]);
        assert_eq!(ids(unsettled.settle(&tags[0])), None);
        assert_eq!(ids(unsettled.settle(&DeliveryRef::Tag(0))), None);
        assert_eq!(ids(unsettled.settle(&tags[2])).unwrap(), ["3", "4"]);
        assert_eq!(unsettled.len(), 0);
    }

    #[test]
    fn one_alone_leaves_those_before_it() {
        let mut unsettled = unsettled(AckMode::Client);
        for (tag, id) in [(1, "2"), (3, "4")] {
            let alone = DeliveryRef::Only(tag);
            assert_eq!(ids(unsettled.settle(&alone)).unwrap(), [id]);
            assert_eq!(ids(unsettled.settle(&alone)), None);
        }
        let rest = unsettled.settle(&DeliveryRef::Tag(2));
        assert_eq!(ids(rest).unwrap(), ["0", "1", "3"]);
    }

    #[test]
    fn individual_settles_go_round_too() {
        let mut unsettled = unsettled(AckMode::ClientIndividual);
        for (tag, id) in [(1, "2"), (u32::MAX - 1, "0"), (3, "4"), (u32::MAX, "1")] {
            assert_eq!(ids(unsettled.settle(&DeliveryRef::Tag(tag))).unwrap(), [id]);
        }
        assert_eq!(unsettled.len(), 1);
    }
}
