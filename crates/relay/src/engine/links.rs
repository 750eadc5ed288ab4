//! Opening, closing and losing links, and what comes over them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tramline_broker::{Promise, StartError};
use tramline_stomp::{ClientConnection, ClientEvent, Frame};

use super::state::{Answer, Engine, Expected, Link, Role, Slot, Stream};
use crate::kind::{BrokerKind, durable_name};
use crate::link::{self, LinkId, Report};

impl Engine {
    /// Opens the link of a slot, now and whenever it has ended.
    pub(super) fn open_slot(&mut self, role: Role) {
        let link = self.open(role);
        let slot = self.slots.entry(role).or_default();
        slot.link = Some(link);
        slot.retry_at = None;
    }

    /// Opens a link to the address whose turn it is.
    pub(super) fn open(&mut self, role: Role) -> LinkId {
        let id = self.number();
        let addresses = &self.options.addresses;
        let address = addresses[self.address % addresses.len().max(1)].clone();
        let connect_time = self.options.connect_time;
        let task = tokio::spawn(link::run(id, address, connect_time, self.reports.clone()));
        let link = Link {
            role,
            task: task.abort_handle(),
            stream: None,
            connected: false,
            since: Instant::now(),
            expected: BTreeMap::new(),
            leaving: false,
        };
        self.links.insert(id, link);
        id
    }

    /// The connected link of a slot.
    pub(super) fn up(&self, role: Role) -> Option<LinkId> {
        let id = self.slots.get(&role)?.link?;
        self.links.get(&id)?.connected.then_some(id)
    }

    /// Lets `queue` put frames into a link's machine, with the number of a receipt that is answered as `expected`, and
    /// writes them.
    pub(super) fn send<T>(
        &mut self,
        link: LinkId,
        expected: Expected,
        queue: impl FnOnce(&mut ClientConnection, &str) -> T,
    ) -> Option<T> {
        let number = self.number();
        let link = self.links.get_mut(&link)?;
        let stream = link.stream.as_mut()?;
        let queued = queue(&mut stream.machine, &number.to_string());
        link.expected.insert(number, expected);
        link.flush();
        Some(queued)
    }

    /// Like [`send`](Self::send), for frames without a receipt.
    pub(super) fn send_plain<T>(
        &mut self,
        link: LinkId,
        queue: impl FnOnce(&mut ClientConnection) -> T,
    ) -> Option<T> {
        let link = self.links.get_mut(&link)?;
        let queued = queue(&mut link.stream.as_mut()?.machine);
        link.flush();
        Some(queued)
    }

    pub(super) fn report(&mut self, id: LinkId, report: Report) {
        match report {
            Report::Opened(writer) => {
                let Some(role) = self.links.get(&id).map(|link| link.role) else {
                    return;
                };
                let client_id = self.client_id(role);
                let by_system = matches!(role, Role::Nodes);
                let config = self.options.connect(by_system, client_id.as_deref());
                let machine = ClientConnection::new(config, std_now());
                if let Some(link) = self.links.get_mut(&id) {
                    link.stream = Some(Stream { machine, writer });
                    link.since = Instant::now();
                    link.flush();
                }
            }
            Report::Read(bytes) => {
                let link = self.links.get_mut(&id);
                if let Some(stream) = link.and_then(|link| link.stream.as_mut()) {
                    stream.machine.receive(bytes, std_now());
                }
                self.events(id);
            }
            Report::Ended(reason) => self.lost(id, &reason, None),
        }
    }

    /// The `client-id` that a durable subscription needs.
    fn client_id(&self, role: Role) -> Option<String> {
        let Role::Consumer(number) = role else {
            return None;
        };
        let name = durable_name(self.consumers.get(&number)?.consumer.durable()?);
        self.kind?.client_id(&name).map(str::to_owned)
    }

    /// Handles what a link has received. A link may end meanwhile.
    fn events(&mut self, id: LinkId) {
        loop {
            let link = self.links.get_mut(&id);
            let stream = link.and_then(|link| link.stream.as_mut());
            let Some(event) = stream.and_then(|stream| stream.machine.poll_event()) else {
                return;
            };
            match event {
                ClientEvent::Connected(connected) => {
                    if self.options.kind.is_none() {
                        self.kind = BrokerKind::of(&connected);
                    }
                    match self.kind {
                        Some(_) => self.connected(id),
                        None => {
                            let server = connected.server.as_deref().unwrap_or("no name");
                            let reason = format!(
                                "the broker calls itself {server:?}, which is none that the relay knows; set its kind"
                            );
                            self.lost(id, &reason, None);
                        }
                    }
                }
                ClientEvent::Message(message) => self.message(id, &message),
                ClientEvent::Receipt(receipt) => {
                    let link = self.links.get_mut(&id);
                    let number = receipt.parse().ok();
                    let expected = link
                        .zip(number)
                        .and_then(|(link, number): (_, u64)| link.expected.remove(&number));
                    if let Some(expected) = expected {
                        self.answer(id, expected, Answer::Done);
                    }
                    let left = |link: &Link| link.leaving && link.expected.is_empty();
                    if self.links.get(&id).is_some_and(left) {
                        self.lost(id, "left", None);
                    }
                }
                ClientEvent::Error(frame) => {
                    let receipt = frame
                        .headers
                        .get("receipt-id")
                        .and_then(|id| id.parse().ok());
                    self.lost(id, &reason(&frame), Some(receipt));
                }
                ClientEvent::Failed(error) => self.lost(id, &error.to_string(), None),
                _ => {}
            }
        }
    }

    fn connected(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.connected = true;
        link.flush();
        let role = link.role;
        if let Some(slot) = self.slots.get_mut(&role) {
            slot.attempts = 0;
        }
        match role {
            Role::Publish => self.resume_batches(),
            Role::Subscribe => self.subscribe_all(id),
            Role::Probe => self.next_job(),
            Role::Nodes => self.join(id),
            Role::Consumer(number) => self.begin_consuming(id, number),
            Role::Transaction(number) => self.begin_transaction(id, number),
            Role::Idle => {}
        }
        self.look_ready();
    }

    fn message(&mut self, id: LinkId, message: &tramline_stomp::Message) {
        match self.links.get(&id).map(|link| link.role) {
            Some(Role::Subscribe) => self.deliver(message),
            Some(Role::Consumer(number)) => self.offer(number, message),
            Some(Role::Nodes) => self.letter(&message.body),
            // What a trial subscription received.
            _ => {}
        }
    }

    /// Handles the answer to a frame with a receipt.
    fn answer(&mut self, link: LinkId, expected: Expected, answer: Answer) {
        match expected {
            Expected::Sent(batch) => self.sent(batch, answer),
            Expected::Probe => self.probed(answer),
            Expected::Source(number) => self.subscribed(number, answer),
            Expected::Consumer(number) => self.consuming(number, answer),
            Expected::Settle(number) => self.settled(number, &answer),
            Expected::Commit(number) => self.committed(link, number, answer),
            Expected::Nodes => self.joined(&answer),
            Expected::Cancel(promise) => {
                // The end of the link gives the messages back as well.
                promise.keep(Ok(()));
            }
            Expected::Bye => {}
        }
    }

    /// Ends a link that is closed, has failed or was refused something: `refused` has the receipt that the ERROR names, if it
    /// names one.
    pub(super) fn lost(&mut self, id: LinkId, reason: &str, refused: Option<Option<u64>>) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        link.task.abort();
        let role = link.role;
        if !link.leaving {
            match refused {
                Some(_) => {
                    tracing::warn!(?role, reason, "the broker refused, and the link has ended");
                }
                None => tracing::warn!(?role, reason, "a link to the broker has ended"),
            }
        }
        let only = link.expected.len() == 1;
        let culprit = |number: u64| match refused {
            Some(Some(receipt)) => receipt == number,
            // RabbitMQ does not say which.
            Some(None) => only,
            None => false,
        };
        self.down(role, link.leaving);
        for (number, expected) in link.expected {
            let answer = match culprit(number) {
                true => Answer::Refused(reason.to_owned()),
                false => Answer::Unknown,
            };
            self.answer(id, expected, answer);
        }
        if let (Role::Consumer(number), Some(_), false) = (role, refused, link.connected) {
            self.not_let_in(number, reason);
        }
        match role {
            Role::Publish | Role::Subscribe | Role::Probe | Role::Nodes | Role::Consumer(_) => {
                self.retry_later(role, !link.connected, reason);
            }
            Role::Transaction(number) => {
                self.transaction_failed(number, link.connected, (reason, refused.is_some()));
            }
            Role::Idle => self.idle.retain(|idle| *idle != id),
        }
        if self.left_queues.remove(&id).is_some() {
            self.resume_batches();
            self.resume_consumers();
        }
        self.look_ready();
    }

    /// Notes that the link of `role` is gone, before its outstanding frames are answered.
    fn down(&mut self, role: Role, leaving: bool) {
        if let Some(slot) = self.slots.get_mut(&role) {
            slot.link = None;
        }
        match role {
            Role::Subscribe => self.unsubscribed(),
            Role::Nodes => self.joined = false,
            Role::Consumer(number) if !leaving => self.void(number),
            _ => {}
        }
    }

    fn retry_later(&mut self, role: Role, failed: bool, reason: &str) {
        let (first, longest) = self.options.backoff;
        let Some(slot) = self.slots.get_mut(&role) else {
            return;
        };
        let doubled = first.saturating_mul(1 << slot.attempts.min(16));
        slot.attempts += 1;
        let attempts = slot.attempts;
        slot.retry_at = Some(Instant::now() + shortened(doubled.min(longest)));
        if !failed {
            return;
        }
        // One link at a time decides which address is next, or all would pass over it together.
        if role == Role::Publish {
            self.address = self.address.wrapping_add(1);
            if attempts as usize >= self.options.addresses.len()
                && let Some(start) = self.start.take()
            {
                start.keep(Err(StartError::new(reason)));
            }
        }
    }

    pub(super) fn tick_links(&mut self, now: Instant) {
        let due = |slot: &Slot| slot.retry_at.is_some_and(|at| at <= now);
        let due: Vec<Role> = self
            .slots
            .iter()
            .filter(|(_, slot)| due(slot))
            .map(|(role, _)| *role)
            .collect();
        if self.stop.is_none() {
            for role in due {
                self.open_slot(role);
            }
        }
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            if let Some(stream) = &mut link.stream {
                stream.machine.handle_timeout(now.into_std());
            }
            link.flush();
            let waits = !link.connected || link.leaving;
            if waits && now.duration_since(link.since) > self.options.connect_time {
                let time = self.options.connect_time;
                self.lost(
                    id,
                    &format!("no answer of the broker within {time:?}"),
                    None,
                );
                continue;
            }
            self.events(id);
        }
    }

    /// Says good-bye over a link, which then ends. `expected` is answered when the broker has read everything.
    pub(super) fn leave(&mut self, id: LinkId, expected: Expected) {
        let connected = self.links.get(&id).is_some_and(|link| link.connected);
        if !connected {
            if let Some(link) = self.links.remove(&id) {
                link.task.abort();
            }
            self.left_queues.remove(&id);
            self.answer(id, expected, Answer::Done);
            return;
        }
        self.send(id, expected, |machine, receipt| {
            machine.disconnect(Some(receipt));
        });
        if let Some(link) = self.links.get_mut(&id) {
            link.leaving = true;
            link.since = Instant::now();
        }
    }

    /// Looks whether all that the node needs is connected.
    pub(super) fn look_ready(&mut self) {
        let nodes = self.options.nodes.is_none() || self.joined;
        let ready = nodes && self.up(Role::Publish).is_some() && self.up(Role::Subscribe).is_some();
        if ready != self.ready {
            self.ready = ready;
            self.hub.set_available(ready);
        }
        if ready && let Some(start) = self.start.take() {
            start.keep(Ok(()));
        }
    }

    pub(super) fn stop(&mut self, promise: Promise<()>) {
        self.stop = Some(promise);
        self.farewell();
        self.give_up_all();
        self.slots.clear();
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for id in links {
            self.leave(id, Expected::Bye);
        }
    }

    /// Returns true if it was stopped and all links have ended.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_some() && self.links.is_empty()
    }

    pub(super) fn end(&mut self) {
        for link in self.links.values() {
            link.task.abort();
        }
        self.hub.set_available(false);
        if let Some(stop) = self.stop.take() {
            stop.keep(());
        }
    }
}

impl Link {
    /// Hands the machine's output to the task that writes it.
    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut wrote = false;
        while let Some(frame) = stream.machine.poll_transmit() {
            // A task that has ended reports so.
            let _ = stream.writer.send(frame);
            wrote = true;
        }
        if wrote {
            stream.machine.wrote(std_now());
        }
    }
}

/// The reason in an ERROR, without the stack trace that may follow.
fn reason(frame: &Frame) -> String {
    const SHOWN: usize = 200;
    let message = frame
        .headers
        .get("message")
        .unwrap_or("ERROR without a message");
    let body = String::from_utf8_lossy(&frame.body);
    let line = body.lines().next().unwrap_or_default();
    let text = match line.is_empty() || message.contains(line) {
        true => message.to_owned(),
        false => format!("{message}: {line}"),
    };
    text.chars().take(SHOWN).collect()
}

/// A time between half of `time` and all of it.
fn shortened(time: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness all nodes come at once, which is no failure.
    let _ = getrandom::fill(&mut byte);
    time.mul_f64(0.5 + f64::from(byte[0]) / 512.0)
}

fn std_now() -> std::time::Instant {
    Instant::now().into_std()
}
