//! Two nodes: what one announces, and what the observer of the other receives.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};

use loom::thread;
use tramline_broker::{
    Broker, Capabilities, Confirm, Hub, HubSettings, LocalHub, Member, MemberEvent, NodeId,
    Observer, OpenSession, Outbox, Overflow, Publish, Published, Refused, SessionId, SettleError,
    StartError,
};

use super::model;

/// An engine that passes announcements to the other node at once.
#[derive(Debug, Default)]
struct Link {
    hub: OnceLock<Arc<LocalHub>>,
    peer: OnceLock<Arc<LocalHub>>,
    announced: Mutex<Vec<MemberEvent>>,
}

impl Link {
    fn local(&self) -> &Arc<LocalHub> {
        self.hub.get().unwrap()
    }
}

impl Broker for Link {
    fn settings(&self) -> HubSettings {
        HubSettings::new().topics("/t")
    }

    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::default().nodes(true);
        capabilities.starts_at_once(true).answer_time(None)
    }

    fn start(&self, hub: Arc<LocalHub>) -> Confirm<Result<(), StartError>> {
        self.hub.set(hub).unwrap();
        Confirm::ready(Ok(()))
    }

    fn publish(
        &self,
        _: Option<SessionId>,
        _: Vec<Publish>,
    ) -> Confirm<Result<Published, Refused>> {
        Confirm::ready(Ok(Published::default()))
    }

    fn announce(&self, event: MemberEvent) {
        match self.peer.get() {
            Some(peer) => peer.announced(self.local().node(), event),
            None => self.announced.lock().unwrap().push(event),
        }
    }
}

/// The sessions that an observer has seen opened and not closed.
#[derive(Debug, Default)]
struct Seen(Mutex<BTreeSet<SessionId>>);

impl Observer for Seen {
    fn member(&self, _: NodeId, event: &MemberEvent) {
        let mut seen = self.0.lock().unwrap();
        let changed = match event {
            MemberEvent::Opened(member) => seen.insert(member.session),
            MemberEvent::Closed { session } => seen.remove(session),
            _ => true,
        };
        assert!(changed, "{event:?} in the wrong order");
    }

    fn ending(&self, _: &Member, _: u16, _: &bytestring::ByteString) {}
    fn available(&self, _: bool) {}
    fn settlement_failed(&self, _: SessionId, _: &SettleError) {}
    fn start_failed(&self, _: &StartError) {}
}

struct Nodes {
    here: Hub,
    link: Arc<Link>,
    there: Hub,
    peer: Arc<LocalHub>,
    seen: Arc<Seen>,
    session: SessionId,
}

impl Nodes {
    /// Two nodes; the first has a session, which the second does not know.
    fn new() -> Self {
        let (link, other) = (Arc::new(Link::default()), Arc::new(Link::default()));
        let (here, there) = (Hub::new(Arc::clone(&link)), Hub::new(Arc::clone(&other)));
        let seen = Arc::new(Seen::default());
        assert!(there.observe(Arc::<Seen>::clone(&seen)));
        let session = SessionId::random();
        let outbox = Arc::new(Outbox::new(1_000, Overflow::Close));
        let open = here.open(OpenSession::new(session, None, outbox));
        open.into_ready().unwrap().unwrap();
        Self {
            here,
            link,
            there,
            peer: Arc::clone(other.local()),
            seen,
            session,
        }
    }

    /// The observer of the second node has seen what its registry has.
    fn agree(&self, is_known: bool) {
        let known = self.there.remote_member(self.session).is_some();
        let seen = self.seen.0.lock().unwrap().contains(&self.session);
        assert_eq!((known, seen), (is_known, is_known));
    }
}

#[test]
fn an_observer_sees_the_order_in_which_announcements_counted() {
    model(|| {
        let nodes = Nodes::new();
        let node = nodes.here.node();
        let opened = nodes.link.announced.lock().unwrap().remove(0);
        let (session, peer) = (nodes.session, Arc::clone(&nodes.peer));
        let closing = thread::spawn(move || peer.announced(node, MemberEvent::Closed { session }));
        nodes.peer.announced(node, opened);
        closing.join().unwrap();
        nodes.agree(nodes.there.remote_member(session).is_some());
    });
}

#[test]
fn a_node_that_is_gone_leaves_no_session() {
    model(|| {
        let nodes = Nodes::new();
        let node = nodes.here.node();
        let opened = nodes.link.announced.lock().unwrap().remove(0);
        nodes.peer.announced(node, opened.clone());
        let peer = Arc::clone(&nodes.peer);
        let gone = thread::spawn(move || peer.node_gone(node));
        nodes.peer.announced(node, opened);
        gone.join().unwrap();
        nodes.agree(nodes.there.remote_member(nodes.session).is_some());
    });
}

#[test]
fn a_session_that_closes_while_its_node_joins_is_no_ghost() {
    model(|| {
        let nodes = Nodes::new();
        assert!(nodes.link.peer.set(Arc::clone(&nodes.peer)).is_ok());
        let (hub, session) = (nodes.here.clone(), nodes.session);
        let closing = thread::spawn(move || hub.close(session));
        nodes.link.local().announce_members();
        closing.join().unwrap();
        nodes.agree(false);
    });
}
