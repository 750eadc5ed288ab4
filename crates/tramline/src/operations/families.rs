//! The metrics that there are: each counter and gauge with its name.

use tramline_broker::{BrokerStatistics, Counts, DestinationKind, DestinationStatistics};

use super::exposition::{Exposition, Family, Kind, Labels};
use crate::raw::RawStats;
#[cfg(feature = "serve")]
use crate::serve::ServeStats;
use crate::stack::shared::MessagingStack;
use crate::stack::stats::Stats;

/// Samples of one stack, destination or endpoint.
struct Samples<'a> {
    text: &'a mut Exposition,
    labels: Labels<'a>,
}

impl Samples<'_> {
    fn add(&mut self, kind: Kind, name: &'static str, help: &'static str, value: u64) {
        let family = Family { name, kind, help };
        self.text.sample(family, self.labels, value);
    }
}

macro_rules! counters {
    ($samples:ident: $($value:expr => $name:literal, $help:literal;)*) => {
        $($samples.add(Kind::Counter, $name, $help, $value);)*
    };
}

macro_rules! gauges {
    ($samples:ident: $($value:expr => $name:literal, $help:literal;)*) => {
        $($samples.add(Kind::Gauge, $name, $help, $value as u64);)*
    };
}

/// The metrics of a stack.
pub(super) fn stack(text: &mut Exposition, stack: &MessagingStack) {
    let labels: Labels<'_> = &[("stack", &stack.name)];
    let mut samples = Samples { text, labels };
    sessions(&mut samples, stack.counters.snapshot());
    gauges!(samples:
        stack.hub.users().len() => "tramline_users", "Users with a session on any node.";
        stack.lifecycle.is_closing() => "tramline_draining", "1 while the stack shuts down and refuses new sessions.";
        stack.hub.is_available() => "tramline_broker_available", "1 while the broker takes messages.";
    );
    broker(&mut samples, &stack.hub.totals());
    for handler in &stack.routes.times {
        let route: Labels<'_> = &[
            ("stack", &stack.name),
            ("kind", handler.kind),
            ("route", &handler.path),
        ];
        let family = Family {
            name: "tramline_handler_duration_seconds",
            kind: Kind::Histogram,
            help: "Time from a handler's call to its end, or to the limit that ended it.",
        };
        text.histogram(family, route, &handler.time);
    }
    let measures = &stack.measures;
    for (kind, histogram) in [
        ("topic", &measures.topics),
        ("queue", &measures.queues),
        ("user", &measures.users),
    ] {
        let family = Family {
            name: "tramline_delivery_delay_seconds",
            kind: Kind::Histogram,
            help: "Time from publishing a message on this node to writing it to a client, of samples; for queues with the \
                   time that it waited there.",
        };
        text.histogram(family, &[("stack", &stack.name), ("kind", kind)], histogram);
    }
}

fn sessions(samples: &mut Samples<'_>, stats: Stats) {
    // All of them: a counter that is new must be here.
    let Stats {
        sessions_open,
        sessions_total,
        origins_refused,
        requests_refused,
        messages_received,
        messages_sent,
        messages_expired,
        messages_not_carried,
        messages_missed,
        logins_refused,
        denied,
        refused,
        rejected,
        handler_timeouts,
        faults,
        handler_panics,
        protocol_errors,
        slow_consumers,
        too_fast,
        timeouts,
        vanished,
        log_lines_suppressed,
    } = stats;
    gauges!(samples:
        sessions_open => "tramline_sessions", "Open sessions.";
    );
    counters!(samples:
        sessions_total => "tramline_sessions_opened_total", "Sessions that were opened.";
        origins_refused => "tramline_origins_refused_total", "HTTP requests refused for the origin of their page.";
        requests_refused =>
            "tramline_requests_refused_total", "HTTP requests that opened no session, for any other reason.";
        messages_received => "tramline_messages_received_total", "SEND frames that reached a handler or the broker.";
        messages_sent => "tramline_messages_sent_total", "MESSAGE frames written to clients.";
        messages_expired => "tramline_messages_expired_total", "Messages that expired on their way to a session.";
        messages_not_carried =>
            "tramline_messages_not_carried_total", "Messages that the transport of a session cannot carry.";
        messages_missed => "tramline_messages_missed_total", "Times that a subscription was told of a gap.";
        logins_refused => "tramline_logins_refused_total", "CONNECT frames whose login was refused.";
        denied => "tramline_frames_denied_total", "Frames that the policy denied.";
        refused => "tramline_frames_refused_total", "Frames that an interceptor refused.";
        rejected => "tramline_messages_rejected_total", "Messages that were rejected by a handler or for it.";
        handler_timeouts => "tramline_handler_timeouts_total", "Handlers and checks that were dropped for their time.";
        faults => "tramline_faults_total", "Rejections by the application's own fault.";
        handler_panics => "tramline_panics_total", "Panics of the application's code.";
        protocol_errors => "tramline_protocol_errors_total", "Sessions ended because the client broke its protocol.";
        slow_consumers => "tramline_slow_consumers_total", "Sessions ended because the client read too slowly.";
        too_fast => "tramline_too_fast_total", "Sessions ended because the client sent too fast.";
        timeouts => "tramline_timeouts_total", "Sessions ended because heart-beats or an answer did not come in time.";
        vanished => "tramline_vanished_total", "Sessions whose client vanished without a close.";
        log_lines_suppressed =>
            "tramline_log_lines_suppressed_total", "Lines that were not logged because one client caused too many.";
    );
}

fn broker(samples: &mut Samples<'_>, statistics: &BrokerStatistics) {
    gauges!(samples:
        statistics.destinations => "tramline_broker_destinations", "Destinations that the broker knows.";
        statistics.bytes => "tramline_broker_memory_bytes", "Bytes of all messages that the broker keeps.";
        statistics.unwritten_bytes => "tramline_broker_memory_unwritten_bytes", "Bytes of those that wait for readers.";
        statistics.max_bytes => "tramline_broker_memory_limit_bytes", "The most that they may be.";
    );
    let Counts {
        published,
        delivered,
        acked,
        redelivered,
        expired,
        dead_lettered,
        dropped_oldest,
        dropped_newest,
        conflated,
        closed,
        discarded,
        refused,
        settlements_failed,
        ..
    } = statistics.totals;
    counters!(samples:
        published => "tramline_broker_published_total", "Messages published.";
        delivered => "tramline_broker_delivered_total", "Deliveries queued to sessions.";
        acked => "tramline_broker_acknowledged_total", "Deliveries that a consumer accepted.";
        redelivered => "tramline_broker_redelivered_total", "Deliveries of messages that had been delivered before.";
        expired => "tramline_broker_expired_total", "Messages whose time ran out.";
        dead_lettered => "tramline_broker_dead_lettered_total", "Messages sent to a dead-letter destination.";
        dropped_oldest => "tramline_broker_dropped_oldest_total", "Messages dropped for newer ones.";
        dropped_newest => "tramline_broker_dropped_newest_total", "New messages dropped for want of room.";
        conflated => "tramline_broker_conflated_total", "Deliveries replaced by a later one.";
        closed => "tramline_broker_sessions_closed_total", "Sessions ended because their outbox was full.";
        discarded => "tramline_broker_discarded_total", "Messages given up without a dead-letter destination.";
        refused => "tramline_broker_refused_total", "Messages refused because a queue or the memory was full.";
        settlements_failed =>
            "tramline_broker_settlements_failed_total", "Settlements that the broker refused or did not answer.";
    );
}

/// The metrics of single destinations.
pub(super) fn destinations(text: &mut Exposition, stack: &str, all: &[DestinationStatistics]) {
    for one in all {
        let kind = match one.kind {
            DestinationKind::Topic => "topic",
            _ => "queue",
        };
        let labels: Labels<'_> = &[
            ("stack", stack),
            ("kind", kind),
            ("destination", &one.destination),
        ];
        let mut samples = Samples { text, labels };
        gauges!(samples:
            one.subscribers => "tramline_destination_subscriptions", "Subscriptions to the destination.";
            one.depth => "tramline_destination_messages", "Messages that wait for a consumer.";
            one.unsettled =>
                "tramline_destination_unsettled_messages", "Messages that consumers have and did not settle.";
            one.bytes => "tramline_destination_bytes", "Bytes of both.";
        );
        let counts = &one.counts;
        let dropped = counts.dropped_oldest + counts.dropped_newest + counts.conflated;
        counters!(samples:
            counts.published => "tramline_destination_published_total", "Messages published to the destination.";
            counts.delivered => "tramline_destination_delivered_total", "Deliveries of its messages.";
            counts.dead_lettered =>
                "tramline_destination_dead_lettered_total", "Its messages that became dead letters.";
            dropped => "tramline_destination_dropped_total", "Its messages that were dropped or conflated.";
        );
    }
}

/// The metrics of a raw endpoint.
pub(super) fn raw(text: &mut Exposition, name: &str, stats: RawStats) {
    let RawStats {
        sessions_open,
        sessions_total,
        origins_refused,
        requests_refused,
        messages_received,
        messages_sent,
        messages_dropped,
        handler_errors,
        handler_timeouts,
        handler_panics,
        protocol_errors,
        slow_consumers,
        timeouts,
        vanished,
        log_lines_suppressed,
    } = stats;
    let labels: Labels<'_> = &[("endpoint", name)];
    let mut samples = Samples { text, labels };
    gauges!(samples:
        sessions_open => "tramline_raw_sessions", "Open connections of a raw endpoint.";
    );
    counters!(samples:
        sessions_total => "tramline_raw_sessions_opened_total", "Connections that were opened.";
        origins_refused => "tramline_raw_origins_refused_total", "HTTP requests refused for the origin of their page.";
        requests_refused =>
            "tramline_raw_requests_refused_total", "HTTP requests that opened no connection, for any other reason.";
        messages_received => "tramline_raw_messages_received_total", "Messages received.";
        messages_sent => "tramline_raw_messages_sent_total", "Messages written.";
        messages_dropped => "tramline_raw_messages_dropped_total", "Messages dropped for newer ones or refused.";
        handler_errors => "tramline_raw_handler_errors_total", "Handlers that returned an error.";
        handler_timeouts => "tramline_raw_handler_timeouts_total", "Handlers that were dropped for their time.";
        handler_panics => "tramline_raw_panics_total", "Handlers that panicked.";
        protocol_errors =>
            "tramline_raw_protocol_errors_total", "Connections ended because the client broke its protocol.";
        slow_consumers => "tramline_raw_slow_consumers_total", "Connections ended because the client read too slowly.";
        timeouts => "tramline_raw_timeouts_total", "Connections ended because an answer did not come in time.";
        vanished => "tramline_raw_vanished_total", "Connections whose client vanished without a close.";
        log_lines_suppressed =>
            "tramline_raw_log_lines_suppressed_total", "Lines that were not logged because one client caused too many.";
    );
}

/// The metrics of an HTTP server.
#[cfg(feature = "serve")]
pub(super) fn server(text: &mut Exposition, stats: ServeStats) {
    let ServeStats {
        http_open,
        connections_total,
        connections_refused,
        head_timeouts,
        body_timeouts,
        send_timeouts,
        idle_timeouts,
        dropped,
    } = stats;
    let mut samples = Samples { text, labels: &[] };
    gauges!(samples:
        http_open => "tramline_server_http_connections", "Connections that speak HTTP at the moment.";
    );
    counters!(samples:
        connections_total => "tramline_server_connections_total", "Connections that were accepted.";
        connections_refused => "tramline_server_connections_refused_total", "Connections refused for want of a place.";
        head_timeouts =>
            "tramline_server_head_timeouts_total", "Connections whose request had no complete head in time.";
        body_timeouts => "tramline_server_body_timeouts_total", "Request bodies that stalled.";
        send_timeouts => "tramline_server_send_timeouts_total", "Connections whose client took nothing of its answer.";
        idle_timeouts => "tramline_server_idle_timeouts_total", "Connections closed because no request came.";
        dropped => "tramline_server_dropped_total", "Connections dropped at the end of a shutdown.";
    );
}
