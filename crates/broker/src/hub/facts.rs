//! Statistics of a hub, and the sessions and users of all nodes.

use std::sync::Arc;

use bytestring::ByteString;

use super::Hub;
use super::descriptions::MemberDescription;
use super::members::Member;
use crate::destination::{Destination, Pattern};
use crate::message::Message;
use crate::session_id::SessionId;
use crate::statistics::{BrokerStatistics, DestinationKind, DestinationStatistics};

impl Hub {
    /// Statistics of everything, and of at most `limit` of the destinations that `pattern` covers, sorted by name.
    pub fn statistics(&self, pattern: &Pattern, limit: usize) -> BrokerStatistics {
        let local = self.local();
        let select = |destination: &str| pattern.matches(destination);
        let mut selected: Vec<DestinationStatistics> = local.topics.statistics(select).collect();
        if self.is_started() {
            selected.extend(self.broker().statistics(pattern, limit));
        }
        selected.sort_by(|a, b| a.destination.cmp(&b.destination));
        selected.truncate(limit);
        BrokerStatistics {
            selected,
            ..self.totals()
        }
    }

    /// Statistics of everything, and of no single destination.
    pub fn totals(&self) -> BrokerStatistics {
        let local = self.local();
        BrokerStatistics {
            sessions: self.sessions(),
            destinations: self.destinations(),
            bytes: local.accounts.all().bytes(),
            unwritten_bytes: local.accounts.all().unwritten(),
            max_bytes: local.accounts.all().max_bytes(),
            totals: local.totals.read(),
            selected: Vec::new(),
        }
    }

    /// The bytes of all messages: [`BrokerStatistics::bytes`].
    pub fn memory(&self) -> usize {
        self.local().accounts.all().bytes()
    }

    /// The first messages that wait in a queue: see [`Broker::peek`](crate::Broker::peek).
    pub fn peek(&self, queue: &Destination, limit: usize) -> Option<Vec<Arc<Message>>> {
        match self.is_started() {
            true => self.broker().peek(queue, limit),
            false => None,
        }
    }

    /// How `destination` hands out its messages; `None` if the broker does not carry it.
    pub fn kind(&self, destination: &str) -> Option<DestinationKind> {
        let (kind, _) = self.local().settings.kind(destination)?;
        Some(kind)
    }

    /// The number of destinations that hub and engine keep.
    pub fn destinations(&self) -> usize {
        self.local().quota.used()
    }

    /// The number of open sessions of this node.
    pub fn sessions(&self) -> usize {
        let members = self.local().members.all();
        members.iter().filter(|member| member.is_open()).count()
    }

    /// The number of registered sessions of this node, open or not.
    pub fn registered(&self) -> usize {
        self.local().members.len()
    }

    /// The session `id` of this node, open or not.
    pub fn member(&self, id: SessionId) -> Option<Arc<Member>> {
        self.local().members.get(id)
    }

    /// The sessions of this node, open or not, in no order.
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.local().members.all()
    }

    /// The open sessions of the user `name` on this node, in the order they were opened.
    pub fn members_of(&self, name: &str) -> Vec<Arc<Member>> {
        self.local().members.of_user(name)
    }

    /// The names of the users with an open session on any node, sorted.
    pub fn users(&self) -> Vec<ByteString> {
        let local = self.local();
        let mut names = local.members.user_names();
        names.extend(
            local
                .remote
                .all()
                .into_iter()
                .filter_map(|member| member.user),
        );
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The open sessions of other nodes, in no order.
    pub fn remote_members(&self) -> Vec<MemberDescription> {
        self.local().remote.all()
    }

    /// The open sessions of the user `name` on other nodes.
    pub fn remote_members_of(&self, name: &str) -> Vec<MemberDescription> {
        self.local().remote.of_user(name)
    }

    /// The session `id` of another node.
    pub fn remote_member(&self, id: SessionId) -> Option<MemberDescription> {
        self.local().remote.find(id)
    }

    /// Returns true while the messages that wait for readers, in outboxes and windows, take more than half of all
    /// [memory](crate::HubSettings::max_bytes): a publisher that can wait should. Messages in queues wait for consumers, and do not
    /// count.
    pub fn readers_are_behind(&self) -> bool {
        let all = self.local().accounts.all();
        all.unwritten() > all.max_bytes() / 2
    }
}
