//! What users hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;

use crate::quotes::Market;
use crate::trades::{Action, Trade, TradeError};

/// A stock: its ticker and company, what it cost when the market opened, and how many shares everybody begins with.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) ticker: &'static str,
    pub(crate) company: &'static str,
    pub(crate) opened_at: f64,
    shares: u32,
}

const fn stock(ticker: &'static str, company: &'static str, opened_at: f64, shares: u32) -> Stock {
    Stock {
        ticker,
        company,
        opened_at,
        shares,
    }
}

/// Those of the two users of Spring's sample together.
pub(crate) static STOCKS: [Stock; 8] = [
    stock("CTXS", "Citrix Systems, Inc.", 24.30, 75),
    stock("DELL", "Dell Inc.", 13.03, 50),
    stock("EMC", "EMC Corporation", 24.13, 75),
    stock("GOOG", "Google Inc", 893.49, 5),
    stock("MSFT", "Microsoft", 34.21, 33),
    stock("ORCL", "Oracle", 31.22, 45),
    stock("RHT", "Red Hat", 48.30, 15),
    stock("VMW", "VMware, Inc.", 66.98, 23),
];

/// The most shares of one stock in a portfolio.
const MOST_SHARES: u32 = 1_000_000;

/// The most users whose trades are remembered: 4 MiB or so.
const MOST_TRADERS: usize = 20_000;

/// What a user holds of one stock.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The stock's company.
    pub company: &'static str,
    /// The stock's symbol.
    pub ticker: &'static str,
    /// What a share costs now, in dollars.
    pub price: f64,
    /// How many shares the user holds.
    pub shares: u32,
    /// When the number of shares changed last, in milliseconds since 1970; 0 before the first trade.
    pub update_time: u64,
}

/// Shares of each stock and when their number changed last, in the order of [`STOCKS`].
type Holdings = [(u32, u64); STOCKS.len()];

/// Every user's portfolio. Who has not traded yet has the one to begin with.
#[derive(Clone, Debug)]
pub struct Portfolios {
    market: Arc<Market>,
    traders: Arc<Mutex<HashMap<String, Holdings>>>,
}

impl Portfolios {
    /// Portfolios that are worth what `market` says.
    pub fn new(market: Arc<Market>) -> Self {
        Self {
            market,
            traders: Arc::default(),
        }
    }

    /// What `user` holds, sorted by ticker.
    pub fn positions(&self, user: &str) -> Vec<Position> {
        let holdings = self.traders.lock().get(user).copied();
        let holdings = holdings.unwrap_or_else(opening);
        (0..STOCKS.len())
            .map(|index| self.position(index, holdings[index]))
            .collect()
    }

    /// Changes what `user` holds, and gives the new position.
    ///
    /// # Errors
    ///
    /// [`TradeError`], where the user wants what cannot be: then nothing has changed.
    pub fn execute(&self, user: &str, trade: &Trade) -> Result<Position, TradeError> {
        let index = STOCKS
            .iter()
            .position(|stock| stock.ticker == trade.ticker)
            .ok_or_else(|| TradeError::UnknownTicker(trade.ticker.clone()))?;
        let mut traders = self.traders.lock();
        if traders.len() >= MOST_TRADERS && !traders.contains_key(user) {
            return Err(TradeError::TooManyTraders(MOST_TRADERS));
        }
        let mut holdings = traders.get(user).copied().unwrap_or_else(opening);
        let shares = after(trade, holdings[index].0)?;
        holdings[index] = (shares, now());
        traders.insert(user.to_owned(), holdings);
        Ok(self.position(index, holdings[index]))
    }

    fn position(&self, index: usize, (shares, update_time): (u32, u64)) -> Position {
        let Stock {
            ticker, company, ..
        } = STOCKS[index];
        Position {
            company,
            ticker,
            price: self.market.price(index),
            shares,
            update_time,
        }
    }
}

/// How many shares there are after `trade`, of `held` before.
fn after(trade: &Trade, held: u32) -> Result<u32, TradeError> {
    let shares = u32::try_from(trade.shares)
        .ok()
        .filter(|shares| *shares > 0);
    let Some(shares) = shares.filter(|shares| *shares <= MOST_SHARES) else {
        return Err(TradeError::BadShares {
            shares: trade.shares,
            most: MOST_SHARES,
        });
    };
    match trade.action {
        Action::Buy if held + shares > MOST_SHARES => Err(TradeError::TooManyShares {
            ticker: trade.ticker.clone(),
            held,
            most: MOST_SHARES,
        }),
        Action::Buy => Ok(held + shares),
        Action::Sell => held.checked_sub(shares).ok_or(TradeError::NotEnoughShares {
            ticker: trade.ticker.clone(),
            held,
            shares,
        }),
    }
}

fn opening() -> Holdings {
    std::array::from_fn(|index| (STOCKS[index].shares, 0))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(action: Action, ticker: &str, shares: i64) -> Trade {
        Trade {
            action,
            ticker: ticker.to_owned(),
            shares,
        }
    }

    fn shares(portfolios: &Portfolios, user: &str, ticker: &str) -> u32 {
        let positions = portfolios.positions(user);
        let position = positions.iter().find(|position| position.ticker == ticker);
        position.map_or(0, |position| position.shares)
    }

    #[test]
    fn trades_change_the_portfolio_of_one_user() {
        let portfolios = Portfolios::new(Arc::default());
        let bought = portfolios.execute("fabrice", &trade(Action::Buy, "DELL", 10));
        let bought = bought.expect("10 shares can be bought");
        assert_eq!(
            (bought.ticker, bought.shares, bought.price),
            ("DELL", 60, 13.03)
        );
        assert!(bought.update_time > 0);
        portfolios
            .execute("fabrice", &trade(Action::Sell, "DELL", 60))
            .expect("all 60 can be sold");
        assert_eq!(shares(&portfolios, "fabrice", "DELL"), 0);
        assert_eq!(shares(&portfolios, "paulson", "DELL"), 50);
    }

    #[test]
    fn a_refused_trade_changes_nothing_and_says_why() {
        let portfolios = Portfolios::new(Arc::default());
        let refused = [
            (
                trade(Action::Sell, "GOOG", 6),
                "Not enough shares: 6 GOOG to sell, 5 available",
            ),
            (
                trade(Action::Buy, "DELL", 0),
                "Invalid number of shares: 0, not from 1 to 1000000",
            ),
            (
                trade(Action::Sell, "DELL", -1),
                "Invalid number of shares: -1, not from 1 to 1000000",
            ),
            (
                trade(Action::Buy, "DELL", 1_000_000),
                "Too many shares: 50 DELL are there, and 1000000 at most can be",
            ),
            (trade(Action::Buy, "ACME", 1), "Unknown ticker: \"ACME\""),
        ];
        for (trade, why) in refused {
            let error = portfolios.execute("fabrice", &trade).expect_err(why);
            assert_eq!(error.to_string(), why);
        }
        assert_eq!(
            portfolios.positions("fabrice"),
            portfolios.positions("paulson")
        );
        assert!(portfolios.traders.lock().is_empty());
    }

    #[test]
    fn positions_are_written_as_the_samples_page_reads_them() {
        let positions = Portfolios::new(Arc::default()).positions("fabrice");
        let json = serde_json::to_value(&positions[0]).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "company": "Citrix Systems, Inc.", "ticker": "CTXS", "price": 24.3, "shares": 75, "updateTime": 0
            })
        );
    }
}
