//! Deliveries that have to be settled, on their way to one subscription.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

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
}

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
        self.unsettled.push_back((tag, entry));
        Ok(())
    }

    /// What settling `delivery` settles: it alone or all up to it, in order. `None` where it does not wait to be.
    pub(crate) fn settle(&mut self, delivery: &DeliveryRef) -> Option<Vec<E>> {
        let at = self.position(delivery)?;
        let settled = match self.ack {
            AckMode::ClientIndividual => self.unsettled.remove(at).into_iter().collect::<Vec<_>>(),
            _ => self.unsettled.drain(..=at).collect(),
        };
        if self.unsettled.is_empty() && self.unsettled.capacity() > KEPT_CAPACITY {
            self.unsettled = VecDeque::new();
        }
        Some(settled.into_iter().map(|(_, entry)| entry).collect())
    }

    /// What settling all of `deliveries`, one after the other, would settle; or the first that would not be there.
    pub(crate) fn would_settle<'a>(
        &self,
        deliveries: &[&'a DeliveryRef],
    ) -> Result<Vec<&E>, &'a DeliveryRef> {
        let individual = self.ack == AckMode::ClientIndividual;
        let mut settled = Vec::new();
        let mut seen = HashSet::new();
        let mut from = 0;
        for delivery in deliveries {
            let at = self
                .position(delivery)
                .filter(|at| *at >= from && seen.insert(*at))
                .ok_or(*delivery)?;
            let first = if individual { at } else { from };
            settled.extend(self.unsettled.range(first..=at).map(|(_, entry)| entry));
            from = if individual { 0 } else { at + 1 };
        }
        Ok(settled)
    }

    /// All that waits to be settled, in order.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = E> {
        std::mem::take(&mut self.unsettled)
            .into_iter()
            .map(|(_, entry)| entry)
    }

    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    fn position(&self, delivery: &DeliveryRef) -> Option<usize> {
        match delivery {
            DeliveryRef::Tag(tag) => {
                let (first, _) = self.unsettled.front()?;
                // Tags are compared by their distance from the first, which is right round the end too.
                let distance = tag.wrapping_sub(*first);
                self.unsettled
                    .binary_search_by_key(&distance, |(tag, _)| tag.wrapping_sub(*first))
                    .ok()
            }
            DeliveryRef::MessageId(id) => self
                .unsettled
                .iter()
                .position(|(_, entry)| entry.message().id() == id),
        }
    }
}

/// Room that a consumer may keep while nothing waits: what comes one by one must not allocate each time.
const KEPT_CAPACITY: usize = 16;
