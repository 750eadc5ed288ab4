//! Deliveries that have to be settled, on their way to one subscription.

use std::collections::{HashMap, HashSet, VecDeque};
use std::iter::Chain;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::{array, vec};

use bytestring::ByteString;

use crate::{AckMode, DeliveryRef, Message, Outbox};

/// One subscription whose deliveries have to be settled: what it was given and has not settled, in order.
#[derive(Debug)]
pub(crate) struct Consumer<E> {
    outbox: Arc<Outbox>,
    slot: u32,
    ack: AckMode,
    prefetch: u32,
    last_tag: u32,
    /// By tag, which grow, round the end of their numbers.
    unsettled: VecDeque<(u32, E)>,
    /// The tags by the ids of their messages, for clients that name deliveries so: those of STOMP 1.0 and 1.1.
    tags: Option<HashMap<ByteString, u32>>,
}

/// What was settled at once: nearly always one, which then needs no memory of its own.
pub(crate) type Settled<E> = Chain<vec::IntoIter<E>, array::IntoIter<E, 1>>;

/// What a consumer is given.
pub(crate) trait Carries {
    fn message(&self) -> &Arc<Message>;
}

impl<E: Carries> Consumer<E> {
    pub(crate) fn new(outbox: Arc<Outbox>, slot: u32, ack: AckMode, prefetch: NonZeroU32) -> Self {
        Self {
            outbox,
            slot,
            ack,
            prefetch: prefetch.get(),
            last_tag: 0,
            unsettled: VecDeque::new(),
            tags: None,
        }
    }

    /// Gives `entry` to the consumer, or back when there is no room.
    pub(crate) fn offer(&mut self, entry: E) -> Result<(), E> {
        // Tag 0 says that nothing has to be settled.
        let tag = self.last_tag.checked_add(1).unwrap_or(1);
        let has_room = self.unsettled.len() < self.prefetch as usize;
        if !has_room || !self.outbox.try_push(self.slot, tag, entry.message()) {
            return Err(entry);
        }
        self.last_tag = tag;
        if let Some(tags) = &mut self.tags {
            tags.insert(entry.message().id().clone(), tag);
        }
        self.unsettled.push_back((tag, entry));
        Ok(())
    }

    /// What settling `delivery` settles: it alone or all up to it, in order. `None` where it does not wait to be.
    pub(crate) fn settle(&mut self, delivery: &DeliveryRef) -> Option<Settled<E>> {
        let at = self.position(delivery)?;
        let (_, last) = self.unsettled.remove(at)?;
        let before: Vec<E> = match self.ack {
            AckMode::ClientIndividual => Vec::new(),
            _ => self.unsettled.drain(..at).map(|(_, entry)| entry).collect(),
        };
        if let Some(tags) = &mut self.tags {
            for entry in before.iter().chain([&last]) {
                tags.remove(entry.message().id());
            }
        }
        if self.unsettled.is_empty() && self.unsettled.capacity() > KEPT_CAPACITY {
            self.unsettled = VecDeque::new();
        }
        Some(before.into_iter().chain([last]))
    }

    /// What settling all of `deliveries`, one after the other, would settle; or the first that would not be there.
    pub(crate) fn would_settle<'a>(
        &mut self,
        deliveries: &[&'a DeliveryRef],
    ) -> Result<Vec<&E>, &'a DeliveryRef> {
        let individual = self.ack == AckMode::ClientIndividual;
        let mut ranges = Vec::with_capacity(deliveries.len());
        let mut seen = HashSet::with_capacity(deliveries.len());
        let mut from = 0;
        for delivery in deliveries {
            let at = self
                .position(delivery)
                .filter(|at| *at >= from && seen.insert(*at))
                .ok_or(*delivery)?;
            let first = if individual { at } else { from };
            ranges.push(first..=at);
            from = if individual { 0 } else { at + 1 };
        }
        let settled = ranges
            .into_iter()
            .flat_map(|range| self.unsettled.range(range));
        Ok(settled.map(|(_, entry)| entry).collect())
    }

    /// All that waits to be settled, in order.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = E> {
        self.tags = None;
        std::mem::take(&mut self.unsettled)
            .into_iter()
            .map(|(_, entry)| entry)
    }

    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    fn position(&mut self, delivery: &DeliveryRef) -> Option<usize> {
        let tag = match delivery {
            DeliveryRef::Tag(tag) => *tag,
            DeliveryRef::MessageId(id) => *self.tags().get(id)?,
        };
        let (first, _) = self.unsettled.front()?;
        // Tags are compared by their distance from the first, which is right round the end too.
        let distance = tag.wrapping_sub(*first);
        self.unsettled
            .binary_search_by_key(&distance, |(tag, _)| tag.wrapping_sub(*first))
            .ok()
    }

    /// The tags by message id, made when they are first asked for.
    fn tags(&mut self) -> &HashMap<ByteString, u32> {
        self.tags.get_or_insert_with(|| {
            let unsettled = self.unsettled.iter();
            let tags = unsettled.map(|(tag, entry)| (entry.message().id().clone(), *tag));
            tags.collect()
        })
    }
}

/// Room that a consumer may keep while nothing waits: what comes one by one must not allocate each time.
const KEPT_CAPACITY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Destination, Headers, Overflow, Publish};

    impl Carries for Arc<Message> {
        fn message(&self) -> &Arc<Message> {
            self
        }
    }

    /// A consumer whose next tag is the last but one.
    fn consumer(ack: AckMode) -> Consumer<Arc<Message>> {
        let outbox = Arc::new(Outbox::new(1 << 20, Overflow::Close));
        let mut consumer = Consumer::new(outbox, 0, ack, NonZeroU32::MAX);
        consumer.last_tag = u32::MAX - 2;
        for n in 0..5 {
            let destination = Destination::parse("/queue/a").unwrap();
            let publish = Publish::new(destination, Headers::new(), "x");
            let message = Message::new(publish, n.to_string().into(), None);
            consumer.offer(Arc::new(message)).unwrap();
        }
        consumer
    }

    fn ids(settled: Option<Settled<Arc<Message>>>) -> Option<Vec<String>> {
        Some(settled?.map(|message| message.id().to_string()).collect())
    }

    #[test]
    fn tags_go_round_the_end_of_their_numbers_and_leave_out_0() {
        let consumer = consumer(AckMode::Client);
        let tags: Vec<u32> = consumer.unsettled.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [u32::MAX - 1, u32::MAX, 1, 2, 3]);
    }

    #[test]
    fn tags_beyond_the_end_are_later() {
        let mut consumer = consumer(AckMode::Client);
        let (last, one, three) = (u32::MAX, 1, 3);
        let tags = [last, one, three].map(DeliveryRef::Tag);
        let each: Vec<&DeliveryRef> = tags.iter().collect();
        assert_eq!(consumer.would_settle(&each).map(|all| all.len()), Ok(5));
        let backward = [&tags[1], &tags[0]];
        assert_eq!(consumer.would_settle(&backward).err(), Some(&tags[0]));
        let settled = ids(consumer.settle(&tags[1]));
        assert_eq!(settled.unwrap(), ["0", "1", "2"]);
        assert_eq!(ids(consumer.settle(&tags[0])), None);
        assert_eq!(ids(consumer.settle(&DeliveryRef::Tag(0))), None);
        assert_eq!(ids(consumer.settle(&tags[2])).unwrap(), ["3", "4"]);
        assert_eq!(consumer.unsettled(), 0);
    }

    #[test]
    fn individual_settles_go_round_too() {
        let mut consumer = consumer(AckMode::ClientIndividual);
        for (tag, id) in [(1, "2"), (u32::MAX - 1, "0"), (3, "4"), (u32::MAX, "1")] {
            assert_eq!(ids(consumer.settle(&DeliveryRef::Tag(tag))).unwrap(), [id]);
        }
        assert_eq!(consumer.unsettled(), 1);
    }
}
