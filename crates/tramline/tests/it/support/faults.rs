//! What the log says to the application's developer, of faults that clients receive no reason of.

use std::fmt::Debug;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

use super::Client;

/// Collects the faults of this thread's sessions, until it is dropped.
pub(crate) struct Faults {
    logged: Arc<Mutex<Vec<Fault>>>,
    _guard: DefaultGuard,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fault {
    kind: String,
    text: String,
}

impl Faults {
    pub(crate) fn collect() -> Self {
        let logged = Arc::default();
        let collector = Collector(Arc::clone(&logged));
        Self {
            logged,
            _guard: tracing::subscriber::set_default(collector),
        }
    }

    /// Expects that `client` receives a rejection without a reason, and that the log has the reason, once.
    pub(crate) async fn expect(
        &self,
        client: &mut Client,
        kind: &str,
        destination: &str,
        error: &str,
    ) {
        let rejection = client.expect_rejection(kind).await;
        assert_eq!(
            rejection["error"],
            "the server failed to handle this message"
        );
        assert_eq!(rejection["destination"], destination);
        assert_eq!(rejection.get("details"), None);
        let expected = Fault {
            kind: kind.into(),
            text: format!("message rejected: {error}"),
        };
        assert_eq!(*self.logged.lock(), [expected]);
        self.logged.lock().clear();
    }
}

struct Collector(Arc<Mutex<Vec<Fault>>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("tramline")
    }

    fn event(&self, event: &Event<'_>) {
        let mut fault = Fault::default();
        event.record(&mut fault);
        if !fault.kind.is_empty() {
            self.0.lock().push(fault);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Visit for Fault {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let into = match field.name() {
            "kind" => &mut self.kind,
            "message" => &mut self.text,
            _ => return,
        };
        *into = format!("{value:?}");
    }
}
