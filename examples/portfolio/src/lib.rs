//! Spring's stock portfolio sample: who is logged in sees positions, trades them and watches prices move.
//!
//! This file is what `PortfolioController`, `WebSocketConfig` and `WebSocketSecurityConfig` are there; the table in the
//! README has the rest.

pub mod portfolio;
pub mod quotes;
pub mod trades;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tramline::broker::{Overflow, Prefix, Separator, TopicSettings};
use tramline::extract::FromRef;
use tramline::policy::{Policy, authenticated, deny};
use tramline::reply::RejectedMessage;
use tramline::{
    BuildError, EmbeddedBroker, Json, MessageRouter, Messaging, MessagingBuilder, Rejection, State,
    ToUser, User, message, subscribe,
};

use crate::portfolio::{Portfolios, Position};
use crate::quotes::{Market, Quotes, send_quotes};
use crate::trades::{Trade, Trades, send_trade_notifications};

/// The answer to SUBSCRIBE `/app/positions`, for that one subscription.
async fn positions(user: User, State(portfolios): State<Portfolios>) -> Json<Vec<Position>> {
    Json(portfolios.positions(user.name()))
}

/// Takes SEND `/app/trade`; its user hears of the trade at `/user/queue/position-updates`, a little later.
async fn execute_trade(
    user: User,
    State(trades): State<Trades>,
    Json(trade): Json<Trade>,
) -> Result<(), Rejection> {
    trades.execute(user.name(), &trade).await?;
    Ok(())
}

/// Whatever went wrong with a message, as a text in JSON for the one browser that sent it.
#[expect(clippy::needless_pass_by_value, reason = "as `on_rejection` gives it")]
fn handle_error(rejection: RejectedMessage) -> ToUser<Json<String>> {
    ToUser::session("/queue/errors", Json(rejection.to_string()))
}

/// What the handlers share.
#[derive(Clone, Debug)]
struct Services {
    portfolios: Portfolios,
    trades: Trades,
}

impl FromRef<Services> for Portfolios {
    fn from_ref(services: &Services) -> Self {
        services.portfolios.clone()
    }
}

impl FromRef<Services> for Trades {
    fn from_ref(services: &Services) -> Self {
        services.trades.clone()
    }
}

fn routes(services: Services) -> MessageRouter {
    MessageRouter::new()
        .route("/positions", subscribe(positions))
        .route("/trade", message(execute_trade))
        .on_rejection(handle_error)
        .with_state(services)
}

/// Topics with dots, so that `/topic/price.stock.*` has all stocks; whoever is too slow for every price gets the latest.
fn broker() -> EmbeddedBroker {
    let latest = TopicSettings::default().overflow(Overflow::latest("ticker"));
    EmbeddedBroker::new()
        .topics(Prefix::new("/topic").separator(Separator::Dot))
        .topic_settings("/topic/price.stock.*", latest)
}

fn policy() -> Policy {
    Policy::builder()
        .on_connect(authenticated())
        .on_message("/app/trade", authenticated())
        .on_subscribe("/app/positions", authenticated())
        .on_subscribe("/topic/price.**", authenticated())
        .on_subscribe("/user/queue/*", authenticated())
        .otherwise(deny())
}

/// The running application: what browsers connect to, and the tasks that publish without being asked.
///
/// Who is connected is the [`User`] that a middleware puts into the HTTP request's extensions.
#[derive(Debug)]
pub struct Application {
    messaging: Messaging,
    tasks: [JoinHandle<()>; 2],
}

impl Application {
    /// Opens the market, with what `builder` has besides: limits, origins. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// None: the parts fit together.
    pub fn start(builder: MessagingBuilder, quotes: Quotes) -> Result<Self, BuildError> {
        let market = Arc::new(Market::default());
        let portfolios = Portfolios::new(Arc::clone(&market));
        let (trades, executed) = Trades::new(portfolios.clone());
        let messaging = builder
            .name("portfolio")
            .routes(routes(Services { portfolios, trades }))
            .broker(broker())
            .policy(policy())
            .build()?;
        let tasks = [
            tokio::spawn(send_quotes(market, quotes, messaging.clone())),
            tokio::spawn(send_trade_notifications(executed, messaging.publisher())),
        ];
        Ok(Self { messaging, tasks })
    }

    /// What browsers connect to, and what it counts.
    pub fn messaging(&self) -> &Messaging {
        &self.messaging
    }

    /// Closes the market and all sessions, and gives how many were left at the deadline.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        self.stop();
        self.messaging.shutdown(deadline).await
    }

    fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::time::Instant;
    use tramline::test::TestMessaging;

    use super::*;
    use crate::trades::Action;

    fn services() -> (Services, tokio::sync::mpsc::Receiver<trades::Executed>) {
        let portfolios = Portfolios::new(Arc::default());
        let (trades, executed) = Trades::new(portfolios.clone());
        (Services { portfolios, trades }, executed)
    }

    /// Handlers are functions: no server, no client.
    #[tokio::test]
    async fn a_trade_changes_the_positions_of_its_user() {
        let (Services { portfolios, trades }, _executed) = services();
        let trade = Trade {
            action: Action::Buy,
            ticker: "MSFT".to_owned(),
            shares: 7,
        };
        let fabrice = User::new("fabrice");
        execute_trade(fabrice.clone(), State(trades.clone()), Json(trade.clone()))
            .await
            .expect("executed");
        let Json(after) = positions(fabrice, State(portfolios.clone())).await;
        let Json(others) = positions(User::new("paulson"), State(portfolios)).await;
        let changed: Vec<_> = after
            .iter()
            .zip(&others)
            .filter(|(mine, others)| mine.shares != others.shares)
            .map(|(mine, _)| (mine.ticker, mine.shares))
            .collect();
        assert_eq!(changed, [("MSFT", 40)]);

        let unknown = Trade {
            ticker: "ACME".to_owned(),
            ..trade
        };
        let refused = execute_trade(User::new("fabrice"), State(trades), Json(unknown)).await;
        let why = refused.expect_err("no such stock").to_string();
        assert_eq!(why, "Unknown ticker: \"ACME\"");
    }

    /// All but the network, and a clock that does not make anybody wait.
    #[tokio::test(start_paused = true)]
    async fn a_trade_is_confirmed_a_little_later_to_its_user_alone() {
        let application = Application::start(Messaging::builder(), Quotes::default())
            .expect("the parts fit together");
        let server = TestMessaging::new(application.messaging().clone());
        let fabrice = server.connect_as("fabrice").await;
        let paulson = server.connect_as("paulson").await;
        let mut news = fabrice.subscribe("/user/queue/position-updates").await;
        let others_news = paulson.subscribe("/user/queue/position-updates").await;

        let begun = Instant::now();
        let trade = json!({ "action": "Sell", "ticker": "VMW", "shares": 3 });
        fabrice.send("/app/trade", Json(trade)).await;
        let update: Value = news.next_json().await;
        assert_eq!(
            (&update["ticker"], &update["shares"]),
            (&json!("VMW"), &json!(20))
        );
        assert!(begun.elapsed() >= Duration::from_millis(1500));
        others_news.expect_nothing().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_shutdown_ends_the_tasks() {
        let application = Application::start(Messaging::builder(), Quotes::default())
            .expect("the parts fit together");
        tokio::task::yield_now().await;
        assert!(application.tasks.iter().all(|task| !task.is_finished()));
        assert_eq!(application.shutdown(Duration::from_secs(1)).await, 0);
        while !application.tasks.iter().all(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    }
}
