//! The guarantees of every [`Broker`](crate::Broker), as a test suite for any implementation.
//!
//! [`broker_contract!`](crate::broker_contract) makes one `#[test]` of each clause, so that the test run names a broken
//! clause; [`run`] tries all of them, for other test harnesses. A clause opens its own sessions and uses unique
//! destination names, so that a remote broker with other users can be tried too.
//!
//! An engine that joins several nodes is tried with the hubs of several: sessions are opened on each in turn, and
//! messages are published on another node than the first session's.
//!
//! Answers and deliveries may arrive late. A clause waits for what must arrive, for [`Options::patience`] at most, and
//! for [`Options::quiet`] to see that nothing arrives. So this module, unlike the rest of the crate, reads a clock; it
//! is for tests.
//!
//! # Example: the embedded broker keeps the contract
//!
//! ```
//! use tramline_broker::{EmbeddedBroker, Hub, contract};
//!
//! let new_nodes = || vec![Hub::new(EmbeddedBroker::new().topics("/topic").queues("/queue"))];
//! assert!(contract::CLAUSES.len() > 20);
//! contract::run(new_nodes, &contract::Options::default());
//! ```

mod member;
mod queues;
mod sessions;
mod topics;
mod transactions;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use self::member::Trial;
use crate::broker::Order;
use crate::hub::Hub;

/// Destinations, timeouts and the expected order for a trial.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The prefix of topics, without its last `/`. Default `/topic`.
    pub topics: String,
    /// The prefix of queues, without its last `/`; the queues below it must be empty. Default `/queue`.
    pub queues: String,
    /// How long to wait for what must arrive. Default 10 s: an engine that needs longer hangs.
    pub patience: Duration,
    /// How long to wait to see that nothing arrives. Default none, which is right for a broker that delivers before it
    /// confirms; a remote one needs longer than a message takes.
    pub quiet: Duration,
    /// The order that the engine [declares](crate::Capabilities::order). Default [`Order::Destination`].
    pub order: Order,
    /// True if a node knows how often the other nodes delivered a message. Default true. Where it is false, the clauses look
    /// at the counts of redeliveries with one node only.
    pub counts_between_nodes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            topics: "/topic".to_owned(),
            queues: "/queue".to_owned(),
            patience: Duration::from_secs(10),
            quiet: Duration::ZERO,
            order: Order::Destination,
            counts_between_nodes: true,
        }
    }
}

impl Options {
    /// Sets [`Options::topics`].
    #[must_use]
    pub fn topics(mut self, prefix: impl Into<String>) -> Self {
        self.topics = prefix.into();
        self
    }

    /// Sets [`Options::queues`].
    #[must_use]
    pub fn queues(mut self, prefix: impl Into<String>) -> Self {
        self.queues = prefix.into();
        self
    }

    /// Sets [`Options::patience`].
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// Sets [`Options::quiet`].
    #[must_use]
    pub fn quiet(mut self, time: Duration) -> Self {
        self.quiet = time;
        self
    }

    /// Sets [`Options::order`].
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets [`Options::counts_between_nodes`].
    #[must_use]
    pub fn counts_between_nodes(mut self, known: bool) -> Self {
        self.counts_between_nodes = known;
        self
    }
}

/// One guarantee of the contract.
#[derive(Clone, Copy)]
pub struct Clause {
    name: &'static str,
    attempt: fn(&Trial<'_>),
}

impl Clause {
    /// The guarantee, as a function name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks that the engine behind `nodes` keeps this clause.
    ///
    /// # Panics
    ///
    /// If it does not, or not in time.
    pub fn attempt(&self, nodes: Vec<Hub>, options: &Options) {
        (self.attempt)(&Trial::new(nodes, options));
    }
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Tries every clause, each with nodes of its own.
///
/// # Panics
///
/// If a clause is broken: after all were tried, with the names of the broken ones. The clauses' own panics have written
/// the reasons.
pub fn run(new_nodes: impl Fn() -> Vec<Hub>, options: &Options) {
    let broken = CLAUSES.iter().filter(|clause| {
        let attempt = || clause.attempt(new_nodes(), options);
        catch_unwind(AssertUnwindSafe(attempt)).is_err()
    });
    let broken: Vec<&Clause> = broken.collect();
    assert!(broken.is_empty(), "clauses that are not kept: {broken:?}");
}

macro_rules! clauses {
    (($dollar:tt) $($module:ident { $($name:ident,)* })*) => {
        /// All guarantees.
        pub const CLAUSES: &[Clause] = &[$($(
            Clause { name: stringify!($name), attempt: $module::$name },
        )*)*];

        /// Checks the [`Clause`] of this name.
        ///
        /// # Panics
        ///
        /// If the clause is broken, or none has this name.
        pub fn attempt(name: &str, nodes: Vec<Hub>, options: &Options) {
            let clause = CLAUSES.iter().find(|clause| clause.name == name);
            let Some(clause) = clause else {
                panic!("no clause of the contract is called {name:?}");
            };
            clause.attempt(nodes, options);
        }

        /// Makes one `#[test]` of each clause of the [`contract`](crate::contract), from a function that returns the
        /// hubs of new nodes, and the [`Options`](crate::contract::Options) to try them with.
        ///
        /// # Example: in `tests/contract.rs`
        ///
        /// ```
        /// mod embedded {
        ///     use tramline_broker::{EmbeddedBroker, Hub, broker_contract, contract::Options};
        ///
        ///     broker_contract! {
        ///         || vec![Hub::new(EmbeddedBroker::new().topics("/topic").queues("/queue"))],
        ///         Options::default()
        ///     }
        /// }
        /// ```
        #[macro_export]
        macro_rules! broker_contract {
            ($dollar new_nodes:expr, $dollar options:expr) => {
                $($(
                    #[test]
                    fn $name() {
                        let nodes = ($dollar new_nodes)();
                        $dollar crate::contract::attempt(stringify!($name), nodes, &$dollar options);
                    }
                )*)*
            };
        }
    };
}

clauses! { ($)
    topics {
        all_subscribers_see_the_declared_order,
        a_subscription_is_active_once_it_is_confirmed,
        each_subscription_that_covers_a_message_gets_it_once,
        what_needs_no_settling_has_no_tag,
        a_batch_ends_at_the_first_that_is_refused,
        a_subscriber_that_takes_nothing_stops_nobody,
        a_topic_that_is_acknowledged_is_a_window,
    }
    queues {
        a_message_waits_and_goes_to_one_consumer,
        consumers_take_turns,
        a_queue_keeps_its_order,
        no_more_are_given_out_than_may_be_unsettled,
        the_mode_client_settles_all_before,
        the_mode_client_individual_settles_one,
        a_delivery_is_known_by_its_message_id_too,
        what_is_released_comes_back_and_is_counted,
        what_an_ended_subscription_had_goes_to_others_in_order,
        what_a_closed_session_had_goes_to_others_in_order,
        what_was_accepted_never_comes_back,
        what_was_rejected_never_comes_back,
        settling_what_is_not_there_is_an_error,
        a_full_outbox_waits_and_resumes,
    }
    sessions {
        what_is_not_served_is_refused,
        who_is_not_open_is_refused,
        nothing_comes_after_unsubscribe,
        nothing_comes_after_close,
        a_users_messages_reach_all_sessions_of_the_user,
        a_sessions_messages_reach_it_alone,
        ending_what_is_not_there_is_ignored,
    }
    transactions {
        a_transaction_is_done_in_order,
        a_transaction_that_cannot_settle_does_nothing,
        a_transaction_that_cannot_publish_does_nothing,
    }
}
