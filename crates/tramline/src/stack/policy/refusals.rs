//! What a refusal is answered with.

/// How a SEND or SUBSCRIBE is answered that the [policy](super::Policy) denies, or that names what does not exist: set by
/// [`MessagingBuilder::refusals`](crate::MessagingBuilder::refusals).
///
/// What is refused because a limit is used up for now (a full queue, the broker's memory, a [share of
/// names](crate::EmbeddedBroker::max_destinations_each)) is answered by a notice in either case: it is no fault of the
/// frame, and the session goes on. A frame that breaks STOMP, a denied CONNECT, an ACK of what was not delivered and a
/// transaction that is too large end the session in either case. `denied` and `rejected` of [`Stats`](crate::Stats) count
/// both.
///
/// # Example: a page stays connected when what it sends is denied
///
/// ```
/// use tramline::policy::{Policy, Refusals, deny, permit};
/// use tramline::{EmbeddedBroker, Messaging, test::TestMessaging};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
/// let policy = Policy::builder()
///     .on_message("/topic/secret", deny())
///     .otherwise(permit());
/// let messaging = Messaging::builder()
///     .broker(EmbeddedBroker::new().topics("/topic"))
///     .policy(policy)
///     .refusals(Refusals::Notify)
///     .build()?;
/// let alice = TestMessaging::new(messaging).connect_as("alice").await;
/// alice.send_without_receipt("/topic/secret", "psst");
/// let notice = alice.expect_rejection().await;
/// assert_eq!((&*notice.kind, &*notice.destination), ("denied", "/topic/secret"));
///
/// let mut news = alice.subscribe("/topic/news").await;
/// alice.send("/topic/news", "still here").await;
/// assert_eq!(news.next_text().await, "still here");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusals {
    /// An ERROR frame, which ends the session: STOMP's way, and the default. No client can overlook it.
    #[default]
    EndSession,
    /// A message to the session at `/user/queue/errors`, as for a [`Rejection`](crate::Rejection), or what
    /// [`on_rejection`](crate::MessageRouter::on_rejection) makes of it; the session goes on. It has the header `receipt-id`
    /// if the frame asked for a receipt, which does not come, and the frame's `correlation-id`. For pages that stay open
    /// where one of their subscriptions is denied.
    Notify,
}
