//! What tests of queues, acknowledgements and transactions have in common.

use std::panic::Location;

use tramline::broker::DestinationStatistics;
use tramline::policy::{Policy, permit};
use tramline::{EmbeddedBroker, Stats};
use tramline_stomp::{Frame, Version};

use super::client::FrameExt;
use super::server::{Server, Setup};
use super::{Client, ERRORS, Request, eventually};

/// A broker with topics and queues.
pub(crate) fn broker() -> EmbeddedBroker {
    EmbeddedBroker::new().topics("/topic").queues("/queue")
}

impl Setup {
    /// A server with this broker, where everybody may do everything.
    pub(crate) fn open_to_all(broker: EmbeddedBroker) -> Self {
        let policy = Policy::builder().otherwise(permit());
        Self::new().broker(broker).policy(policy)
    }
}

impl Server {
    /// What the broker knows of one destination.
    #[track_caller]
    pub(crate) fn of(&self, destination: &'static str) -> DestinationStatistics {
        let mut statistics = self.messaging().broker_statistics(destination, 1).unwrap();
        let found = statistics.selected.pop();
        found.unwrap_or_else(|| panic!("{destination} is not known: {statistics:?}"))
    }

    /// Messages of the queue that wait, and that consumers have: both in one look.
    #[track_caller]
    pub(crate) fn load(&self, queue: &'static str) -> (usize, usize) {
        let statistics = self.of(queue);
        (statistics.depth, statistics.unsettled)
    }

    /// Waits until the queue's waiting and unsettled messages are so many.
    #[track_caller]
    pub(crate) fn loaded(
        &self,
        queue: &'static str,
        load: (usize, usize),
    ) -> impl Future<Output = ()> {
        let messaging = self.messaging().clone();
        eventually("the queue's load", move || {
            let statistics = messaging.broker_statistics(queue, 1).unwrap();
            let found = statistics.selected.first();
            found.is_some_and(|queue| (queue.depth, queue.unsettled) == load)
        })
    }

    /// Publishes texts, one after the other.
    pub(crate) async fn publish<const N: usize>(&self, destination: &'static str, all: [&str; N]) {
        let publisher = self.messaging().publisher();
        for body in all {
            let sent = publisher.send(destination, body.to_owned()).await;
            sent.unwrap();
        }
    }

    /// Has `client` say `frame`, which must end its session with this ERROR, close code 1002 and one more in the
    /// counter; everybody else is served as before.
    #[track_caller]
    pub(crate) fn refuses<'a>(
        &'a self,
        client: &'a mut Client,
        frame: &'a str,
        (message, body): (&'a str, &'a str),
        counter: fn(Stats) -> u64,
    ) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            let before = self.stats();
            client.send(frame).await;
            let error = client.expect_error(message, body).await;
            error.has("receipt-id", frame.contains("\nreceipt:7\n").then_some("7"));
            let failures = |stats: Stats| stats.denied + stats.rejected + stats.protocol_errors;
            let now = self.stats();
            assert_eq!(counter(now), counter(before) + 1, "{at}: {frame:?}");
            assert_eq!(failures(now), failures(before) + 1, "{at}: {frame:?}");
            self.serves().await;
        }
    }
}

impl Server {
    /// Sends a frame that asks for the receipt 7 and finds no room, which is told at [`ERRORS`]; the session goes on.
    #[track_caller]
    pub(crate) fn has_no_room<'a>(
        &'a self,
        client: &'a mut Client,
        frame: &'a str,
        text: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let at = Location::caller();
        async move {
            let before = self.stats();
            client.send(frame).await;
            let message = client.expect("MESSAGE").await;
            message.has("destination", ERRORS).has("receipt-id", "7");
            let notice: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
            assert_eq!(notice["error"], text, "{at}");
            let failures = |stats: Stats| stats.denied + stats.rejected + stats.protocol_errors;
            let now = self.stats();
            assert_eq!(rejected(now), rejected(before) + 1, "{at}: {frame:?}");
            assert_eq!(failures(now), failures(before) + 1, "{at}: {frame:?}");
            self.serves().await;
        }
    }
}

/// Frames that break STOMP.
pub(crate) fn protocol_errors(stats: Stats) -> u64 {
    stats.protocol_errors
}

/// Frames that ask for what there is not.
pub(crate) fn rejected(stats: Stats) -> u64 {
    stats.rejected
}

impl Client {
    /// An open session of this version, whose user is `anne`.
    #[track_caller]
    pub(crate) fn connect_in(server: &Server, version: Version) -> impl Future<Output = Self> {
        let opened = Request::upgrade("/ws").by_user("anne").open(server);
        async move {
            let mut client = opened.await;
            let accept = match version {
                Version::V1_0 => "",
                Version::V1_1 => "accept-version:1.1\n",
                Version::V1_2 => "accept-version:1.2\n",
            };
            client.send(&format!("CONNECT\n{accept}\n\0")).await;
            let connected = client.expect("CONNECTED").await;
            connected.has("version", version.as_str());
            client
        }
    }

    /// Subscribes with more headers, and waits until the server has it.
    #[track_caller]
    pub(crate) fn consume<'a>(
        &'a mut self,
        id: &'a str,
        destination: &'a str,
        headers: &'a str,
    ) -> impl Future<Output = ()> + 'a {
        let frame = format!("SUBSCRIBE\nid:{id}\ndestination:{destination}\n{headers}\n\0");
        let done = self.done(frame);
        async move {
            done.await;
        }
    }

    /// Says `frame` and fails unless its RECEIPT comes next.
    #[track_caller]
    pub(crate) fn done(&mut self, frame: impl Into<String>) -> impl Future<Output = ()> {
        let frame = with_receipt(&frame.into(), "done");
        self.done_at(Location::caller(), frame)
    }

    async fn done_at(&mut self, at: &'static Location<'static>, frame: String) {
        self.send(&frame).await;
        let (answer, _) = self.expect_any().await;
        let command = answer.command.as_str();
        assert_eq!(command, "RECEIPT", "{at}: {frame:?} {answer:?}");
        answer.has("receipt-id", "done");
    }

    /// Says `frame`, and gives the messages that come before its RECEIPT.
    pub(crate) async fn messages_until_done(&mut self, frame: &str) -> Vec<Frame> {
        self.send(&with_receipt(frame, "until")).await;
        let mut messages = Vec::new();
        loop {
            let (answer, _) = self.expect_any().await;
            if answer.command.as_str() == "RECEIPT" {
                answer.has("receipt-id", "until");
                return messages;
            }
            assert_eq!(answer.command.as_str(), "MESSAGE", "{answer:?}");
            messages.push(answer);
        }
    }

    /// Fails if anything has been sent to this client that it was not told of.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let frame = "SEND\nreceipt:done\ndestination:/topic/nobody\n\nx\0";
            // What was queued when the first arrived is written before the second is read.
            for _ in 0..2 {
                self.done_at(at, frame.to_owned()).await;
            }
        }
    }

    /// Fails unless these are the bodies of the next messages; gives the frames.
    #[track_caller]
    pub(crate) fn expect_bodies<'a, const N: usize>(
        &'a mut self,
        bodies: [&'a str; N],
    ) -> impl Future<Output = Vec<Frame>> + 'a {
        let at = Location::caller();
        async move {
            let mut frames = Vec::new();
            for body in bodies {
                let (frame, _) = self.expect_any().await;
                let got = (frame.command.as_str(), frame.text());
                assert_eq!(got, ("MESSAGE", body), "{at}");
                frames.push(frame);
            }
            frames
        }
    }
}

fn with_receipt(frame: &str, receipt: &str) -> String {
    let (command, rest) = frame.split_once('\n').unwrap();
    format!("{command}\nreceipt:{receipt}\n{rest}")
}

/// ACK or NACK of a message as the version wants it, with more headers.
pub(crate) fn answer(version: Version, command: &str, message: &Frame, headers: &str) -> String {
    let header = |name: &str| message.headers.get(name).unwrap();
    let names = match version {
        Version::V1_0 => format!("message-id:{}\n", header("message-id")),
        Version::V1_1 => format!(
            "subscription:{}\nmessage-id:{}\n",
            header("subscription"),
            header("message-id")
        ),
        Version::V1_2 => format!("id:{}\n", header("ack")),
    };
    format!("{command}\n{names}{headers}\n\0")
}

/// A 1.2 ACK of a message.
pub(crate) fn ack(message: &Frame) -> String {
    answer(Version::V1_2, "ACK", message, "")
}

/// A 1.2 NACK of a message.
pub(crate) fn nack(message: &Frame) -> String {
    answer(Version::V1_2, "NACK", message, "")
}
