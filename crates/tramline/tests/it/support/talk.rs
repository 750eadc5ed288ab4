//! What conversations about handlers are made of.

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tramline_stomp::Frame;

use super::{Client, FrameExt, Request, Server};

/// Where clients hear of rejections.
pub(crate) const ERRORS: &str = "/user/queue/errors";

impl Client {
    /// A WebSocket of `user`, or of nobody, without a word of STOMP yet.
    #[track_caller]
    pub(crate) fn open_by(server: &Server, user: Option<&str>) -> impl Future<Output = Self> {
        let request = Request::upgrade("/ws");
        let request = match user {
            Some(user) => request.by_user(user),
            None => request,
        };
        request.open(server)
    }

    /// Sends a SEND.
    pub(crate) async fn post(&mut self, destination: &str, body: &str) {
        self.post_with(destination, "", body).await;
    }

    /// Sends a SEND with more headers, each with its line's end.
    pub(crate) async fn post_with(&mut self, destination: &str, headers: &str, body: &str) {
        let frame = format!("SEND\ndestination:{destination}\n{headers}\n{body}\0");
        self.send(&frame).await;
    }

    /// Fails unless a rejection of this kind comes next; gives its JSON.
    #[track_caller]
    pub(crate) fn expect_rejection<'a>(
        &'a mut self,
        kind: &'a str,
    ) -> impl Future<Output = Value> + 'a {
        let at = Location::caller();
        async move {
            let message = self.expect("MESSAGE").await;
            message
                .has("destination", ERRORS)
                .has("content-type", "application/json");
            let body: Value = serde_json::from_slice(&message.body).unwrap();
            assert_eq!(body["kind"], kind, "{at}: {body}");
            body
        }
    }

    /// Fails unless a MESSAGE and a RECEIPT come next: one is the outbox's and the other the machine's, so either may be
    /// first.
    pub(crate) async fn message_and_receipt(&mut self) -> (Frame, Frame) {
        let mut got = [self.expect_any().await.0, self.expect_any().await.0];
        got.sort_by_key(|frame| frame.command.as_str());
        let commands = got.each_ref().map(|frame| frame.command.as_str());
        assert_eq!(commands, ["MESSAGE", "RECEIPT"]);
        got.into()
    }

    /// Fails if anything has been queued for this client that it has not yet asked for.
    #[track_caller]
    pub(crate) fn expect_nothing<'a>(
        &'a mut self,
        server: &'a Server,
    ) -> impl Future<Output = ()> + 'a {
        static MARKERS: AtomicUsize = AtomicUsize::new(0);
        let at = Location::caller();
        let number = MARKERS.fetch_add(1, Ordering::Relaxed);
        async move {
            let marker = format!("/topic/marker/{number}");
            self.subscribe(&format!("marker-{number}"), &marker).await;
            let publisher = server.messaging().publisher();
            publisher.send(marker.clone(), "marker").await.unwrap();
            let next = self.expect("MESSAGE").await;
            assert_eq!(
                next.headers.get("destination"),
                Some(&*marker),
                "{at}: {next:?}"
            );
        }
    }
}
