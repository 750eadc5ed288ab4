//! Orders to buy and sell, and the news that they were carried out.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tramline::{Json, Publisher, Rejection};

use crate::portfolio::{Portfolios, Position};

/// How long the market takes until it says that a trade was executed.
const DELAY: Duration = Duration::from_millis(1500);

/// Trades whose news are under way; who wants more waits.
const UNDER_WAY: usize = 1024;

/// What a user wants to buy or sell.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Trade {
    /// Which of both.
    pub action: Action,
    /// The stock's symbol.
    pub ticker: String,
    /// How many shares. A number, or a text with one in it, as the page of Spring's sample sends what was typed.
    #[serde(deserialize_with = "number_or_text")]
    pub shares: i64,
}

/// What is to be done with shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Action {
    /// More of them.
    #[serde(alias = "buy")]
    Buy,
    /// Less of them.
    #[serde(alias = "sell")]
    Sell,
}

/// Why a trade is not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TradeError {
    /// No such stock.
    #[error("Unknown ticker: {0:?}")]
    UnknownTicker(String),
    /// Not a number of shares.
    #[error("Invalid number of shares: {shares}, not from 1 to {most}")]
    BadShares {
        /// What was asked for.
        shares: i64,
        /// The most that can be.
        most: u32,
    },
    /// More to be sold than there are.
    #[error("Not enough shares: {shares} {ticker} to sell, {held} available")]
    NotEnoughShares {
        /// Of this stock.
        ticker: String,
        /// What the user has.
        held: u32,
        /// What was to be sold.
        shares: u32,
    },
    /// More to be bought than a portfolio holds.
    #[error("Too many shares: {held} {ticker} are there, and {most} at most can be")]
    TooManyShares {
        /// Of this stock.
        ticker: String,
        /// What the user has.
        held: u32,
        /// The most that can be.
        most: u32,
    },
    /// More users than the demo remembers.
    #[error("The market is full: {0} users have traded")]
    TooManyTraders(usize),
    /// The application is about to stop.
    #[error("The market is closed")]
    Closed,
}

/// At `/user/queue/errors`, like whatever else went wrong with a message.
impl From<TradeError> for Rejection {
    fn from(error: TradeError) -> Self {
        Self::application(error)
    }
}

/// Executes trades. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trades {
    portfolios: Portfolios,
    executed: mpsc::Sender<Executed>,
}

/// A trade whose user does not know of it yet.
#[derive(Debug)]
pub struct Executed {
    user: String,
    position: Position,
    at: Instant,
}

impl Trades {
    /// Trades in `portfolios`; what comes out behind is for [`send_trade_notifications`].
    pub fn new(portfolios: Portfolios) -> (Self, mpsc::Receiver<Executed>) {
        let (executed, notifications) = mpsc::channel(UNDER_WAY);
        let trades = Self {
            portfolios,
            executed,
        };
        (trades, notifications)
    }

    /// Executes a trade; the news of it go out later.
    ///
    /// # Errors
    ///
    /// [`TradeError`], where the user wants what cannot be.
    pub async fn execute(&self, user: &str, trade: &Trade) -> Result<(), TradeError> {
        let permit = self.executed.reserve().await;
        let permit = permit.map_err(|_| TradeError::Closed)?;
        permit.send(Executed {
            user: user.to_owned(),
            position: self.portfolios.execute(user, trade)?,
            at: Instant::now(),
        });
        Ok(())
    }
}

/// Tells users of their trades, each a second and a half after it was executed, in all browsers that they have open.
pub async fn send_trade_notifications(
    mut executed: mpsc::Receiver<Executed>,
    publisher: Publisher,
) {
    while let Some(Executed { user, position, at }) = executed.recv().await {
        tokio::time::sleep_until(at + DELAY).await;
        let sent = publisher.send_to_user(user, "/queue/position-updates", Json(position));
        if let Err(error) = sent.await {
            tracing::warn!(%error, "somebody does not hear of a trade");
        }
    }
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    struct Number;

    impl Visitor<'_> for Number {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
            Ok(number)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
            let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
            i64::try_from(number).map_err(|_| wrong())
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
            let wrong = || E::invalid_value(Unexpected::Str(text), &self);
            text.trim().parse().map_err(|_| wrong())
        }
    }

    deserializer.deserialize_any(Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_are_read_as_the_samples_page_sends_them() {
        let expected = Trade {
            action: Action::Buy,
            ticker: "DELL".to_owned(),
            shares: 10,
        };
        for json in [
            r#"{"action":"Buy","ticker":"DELL","shares":10}"#,
            r#"{"action":"buy","ticker":"DELL","shares":" 10 "}"#,
        ] {
            let trade: Trade = serde_json::from_str(json).expect(json);
            assert_eq!(trade, expected);
        }
        for (shares, why) in [
            ("\"ten\"", "string \"ten\", expected a whole number"),
            ("1.5", "floating point `1.5`, expected a whole number"),
            (
                "18446744073709551615",
                "integer `18446744073709551615`, expected a whole number",
            ),
            ("null", "null, expected a whole number"),
        ] {
            let json = format!(r#"{{"action":"Sell","ticker":"DELL","shares":{shares}}}"#);
            let error = serde_json::from_str::<Trade>(&json).expect_err(shares);
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn a_refused_trade_is_no_news() {
        let (trades, mut news) = Trades::new(Portfolios::new(std::sync::Arc::default()));
        let sell = |shares| Trade {
            action: Action::Sell,
            ticker: "GOOG".to_owned(),
            shares,
        };
        assert!(trades.execute("fabrice", &sell(6)).await.is_err());
        trades
            .execute("fabrice", &sell(5))
            .await
            .expect("5 are there");
        let executed = news.recv().await.expect("news");
        assert_eq!((&*executed.user, executed.position.shares), ("fabrice", 0));
        assert!(news.try_recv().is_err());

        drop(news);
        assert_eq!(
            trades.execute("fabrice", &sell(1)).await,
            Err(TradeError::Closed)
        );
    }
}
