//! What the console shows besides the counters: samples of the last hour, recent refusals, frames that pass. Without the
//! feature `console` nothing is kept, and what is left of this costs nothing.

#[cfg(feature = "console")]
pub(crate) use self::kept::{Sample, Watch};
#[cfg(not(feature = "console"))]
pub(crate) use self::nothing::Watch;

#[cfg(feature = "console")]
mod kept {
    use std::collections::VecDeque;
    use std::fmt::Display;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use parking_lot::Mutex;
    use serde::Serialize;
    use tramline_broker::{Delivery, SessionId, Timestamp};
    use tramline_stomp::ServerEvent;

    use super::super::stats::Stats;
    use super::super::trace::{Traces, beginning};
    use crate::model::clock::wall_clock;
    use crate::model::inbound::SessionRecord;

    /// The interval of the samples.
    const SAMPLED_EVERY: Duration = Duration::from_secs(10);

    /// An hour of them.
    const SAMPLES: usize = 361;

    /// Refusals and ends that are kept: some 100 KiB.
    const TROUBLES: usize = 500;

    /// Bytes of a refusal's text that are kept: a client may have written some of it.
    const TEXT: usize = 300;

    /// What a console has asked a stack to keep.
    #[derive(Debug, Default)]
    pub(crate) struct Watch {
        is_on: AtomicBool,
        samples: Mutex<Samples>,
        troubles: Mutex<Troubles>,
        pub(crate) traces: Traces,
    }

    #[derive(Debug, Default)]
    struct Samples {
        ring: VecDeque<Sample>,
        next: Option<Instant>,
    }

    #[derive(Debug, Default)]
    struct Troubles {
        ring: VecDeque<Trouble>,
        count: u64,
    }

    /// The numbers of one moment. Counters are as they stood: the page makes rates of them.
    #[derive(Clone, Copy, Debug, Serialize)]
    pub(crate) struct Sample {
        /// Milliseconds since 1970.
        pub(crate) at: u64,
        pub(crate) sessions: u64,
        pub(crate) received: u64,
        pub(crate) sent: u64,
        pub(crate) refused: u64,
        pub(crate) bytes: usize,
    }

    /// A frame, a message or a session that was refused or given up.
    #[derive(Clone, Debug, Serialize)]
    pub(crate) struct Trouble {
        /// Counts up, so that a page tells new ones.
        pub(crate) number: u64,
        pub(crate) at: u64,
        #[serde(serialize_with = "as_text")]
        pub(crate) session: SessionId,
        pub(crate) user: Option<String>,
        pub(crate) remote: Option<SocketAddr>,
        /// Its kind, in the server's own words.
        pub(crate) what: &'static str,
        pub(crate) detail: String,
        /// The rule of the policy that decided.
        pub(crate) rule: Option<String>,
    }

    fn as_text<T: Display, S: serde::Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    impl Watch {
        /// Keeps things from now on.
        pub(crate) fn begin(&self) {
            self.is_on.store(true, Ordering::Relaxed);
        }

        #[inline]
        fn is_on(&self) -> bool {
            self.is_on.load(Ordering::Relaxed)
        }

        /// Takes a sample if one is due.
        pub(crate) fn sample(&self, now: Instant, numbers: impl FnOnce() -> (Stats, usize)) {
            if !self.is_on() {
                return;
            }
            self.traces.end_forgotten(now);
            let mut samples = self.samples.lock();
            if samples.next.is_some_and(|next| now < next) {
                return;
            }
            samples.next = Some(now + SAMPLED_EVERY);
            let (stats, bytes) = numbers();
            if samples.ring.len() == SAMPLES {
                samples.ring.pop_front();
            }
            samples.ring.push_back(Sample::of(&stats, bytes));
        }

        pub(crate) fn samples(&self) -> Vec<Sample> {
            self.samples.lock().ring.iter().copied().collect()
        }

        /// Keeps a refusal of something of this session, or its end.
        pub(crate) fn trouble(
            &self,
            session: &SessionRecord,
            what: &'static str,
            detail: impl Display,
            rule: Option<&str>,
        ) {
            if self.is_on() {
                self.keep(
                    session,
                    what,
                    beginning(detail.to_string().as_bytes(), TEXT),
                    rule,
                );
            }
        }

        #[cold]
        fn keep(
            &self,
            session: &SessionRecord,
            what: &'static str,
            detail: String,
            rule: Option<&str>,
        ) {
            let user = session.user().map(|user| user.name().to_owned());
            let mut troubles = self.troubles.lock();
            troubles.count += 1;
            if troubles.ring.len() == TROUBLES {
                troubles.ring.pop_front();
            }
            let number = troubles.count;
            troubles.ring.push_back(Trouble {
                number,
                at: Timestamp::from(wall_clock()).as_millis(),
                session: session.id(),
                user,
                remote: session.handshake().remote(),
                what,
                detail,
                rule: rule.map(|rule| beginning(rule.as_bytes(), TEXT)),
            });
        }

        /// The refusals that are kept, the oldest first.
        pub(crate) fn troubles(&self) -> Vec<Trouble> {
            self.troubles.lock().ring.iter().cloned().collect()
        }

        /// A frame of a client has come.
        #[inline]
        pub(crate) fn came(
            &self,
            session: &SessionRecord,
            event: &ServerEvent,
            is_renewal: impl Fn(&str) -> bool,
        ) {
            if self.traces.are_any() {
                self.traces.came(session, event, is_renewal);
            }
        }

        /// These messages have been written.
        #[inline]
        pub(crate) fn written(&self, session: &SessionRecord, deliveries: &[Delivery]) {
            if self.is_on() {
                let sizes = deliveries.iter().map(|delivery| delivery.message.size());
                session.traffic.wrote(sizes.sum());
                if self.traces.are_any() {
                    self.traces.written(session, deliveries);
                }
            }
        }

        /// These bytes of a client have come.
        #[inline]
        pub(crate) fn read(&self, session: &SessionRecord, bytes: usize) {
            if self.is_on() {
                session.traffic.read(bytes);
            }
        }

        /// A frame other than a MESSAGE is written.
        #[inline]
        pub(crate) fn answered(&self, session: &SessionRecord, frame: &[u8]) {
            if self.is_on() {
                session.traffic.wrote(frame.len());
                if self.traces.are_any() {
                    self.traces.answered(session, frame);
                }
            }
        }
    }

    impl Sample {
        /// The numbers of now.
        pub(crate) fn of(stats: &Stats, bytes: usize) -> Self {
            Self {
                at: Timestamp::from(wall_clock()).as_millis(),
                sessions: stats.sessions_open,
                received: stats.messages_received,
                sent: stats.messages_sent,
                refused: stats.denied + stats.refused + stats.rejected + stats.logins_refused,
                bytes,
            }
        }
    }
}

#[cfg(not(feature = "console"))]
mod nothing {
    use std::fmt::Display;
    use std::time::Instant;

    use tramline_broker::Delivery;
    use tramline_stomp::ServerEvent;

    use super::super::stats::Stats;
    use crate::model::inbound::SessionRecord;

    /// Keeps nothing.
    #[derive(Debug, Default)]
    pub(crate) struct Watch(());

    impl Watch {
        pub(crate) fn sample(&self, _: Instant, _: impl FnOnce() -> (Stats, usize)) {}

        pub(crate) fn trouble(
            &self,
            _: &SessionRecord,
            _: &'static str,
            _: impl Display,
            _: Option<&str>,
        ) {
        }

        #[inline]
        pub(crate) fn came(&self, _: &SessionRecord, _: &ServerEvent, _: impl Fn(&str) -> bool) {}

        #[inline]
        pub(crate) fn written(&self, _: &SessionRecord, _: &[Delivery]) {}

        #[inline]
        pub(crate) fn read(&self, _: &SessionRecord, _: usize) {}

        #[inline]
        pub(crate) fn answered(&self, _: &SessionRecord, _: &[u8]) {}
    }
}
