//! The market: prices that move, and their publication.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tramline::publisher::SendError;
use tramline::reply::IntoReply;
use tramline::{Json, Messaging};

use crate::portfolio::STOCKS;

/// How often the market moves; between two moves it rests.
const TURN: Duration = Duration::from_millis(50);

/// How often the page hears how many updates were made.
const RATE_EVERY: Duration = Duration::from_secs(1);

/// How far a price wanders in a second, as a part of the price.
const VOLATILITY: f64 = 0.004;

/// How much of the way back to where it opened a price goes in a second, lest it wander off.
const PULL: f64 = 0.02;

/// What a share of one stock costs from now on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quote {
    /// The stock's symbol.
    pub ticker: &'static str,
    /// In dollars.
    pub price: f64,
}

/// How much the market moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Quotes that were published in the last second.
    pub updates: u32,
}

/// How the market moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotes {
    /// Updates in a second, of all stocks together. Default 4,000: more than a page can use, little for the server. Spring's
    /// sample has 4.
    pub per_second: u32,
    /// Where the dice start: the same market for the same seed. Default 2013.
    pub seed: u64,
}

impl Default for Quotes {
    fn default() -> Self {
        Self {
            per_second: 4_000,
            seed: 2013,
        }
    }
}

/// What shares cost now, in the order of the stocks.
#[derive(Debug)]
pub struct Market {
    cents: [AtomicU32; STOCKS.len()],
}

impl Default for Market {
    fn default() -> Self {
        Self {
            cents: std::array::from_fn(|index| AtomicU32::new(cents(STOCKS[index].opened_at))),
        }
    }
}

impl Market {
    /// The price of the stock at `index`, in dollars.
    pub(crate) fn price(&self, index: usize) -> f64 {
        dollars(self.cents[index].load(Ordering::Relaxed))
    }

    fn set(&self, index: usize, price: f64) -> Quote {
        let cents = cents(price);
        self.cents[index].store(cents, Ordering::Relaxed);
        Quote {
            ticker: STOCKS[index].ticker,
            price: dollars(cents),
        }
    }
}

/// Moves `market` and publishes each move, until it is dropped. While nobody is there, the market rests.
pub async fn send_quotes(market: Arc<Market>, quotes: Quotes, messaging: Messaging) {
    let publisher = messaging.publisher();
    let mut walk = Walk::new(quotes);
    let mut made = Made::new();
    let mut turns = tokio::time::interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        turns.tick().await;
        let time = last.elapsed();
        last += time;
        if messaging.stats().sessions_open == 0 {
            made = Made::new();
            continue;
        }
        for (index, price) in walk.turn(time) {
            let quote = market.set(index, price);
            // The header says which quotes a later one replaces, for whoever is too slow for all of them.
            let message = Json(quote).with_header("ticker", quote.ticker);
            let destination = format!("/topic/price.stock.{}", quote.ticker);
            said(publisher.send(destination, message).await);
            made.updates += 1;
        }
        if let Some(rate) = made.rate() {
            said(publisher.send("/topic/price.rate", Json(rate)).await);
        }
    }
}

/// A quote that did not go out is not sent again: the next one says more.
fn said<T>(sent: Result<T, SendError>) {
    if let Err(error) = sent {
        tracing::warn!(%error, "a quote was not published");
    }
}

/// Prices that wander by chance.
#[derive(Debug)]
struct Walk {
    dice: fastrand::Rng,
    prices: [f64; STOCKS.len()],
    per_second: f64,
    /// The part of an update that was due in the turns so far.
    due: f64,
    next: usize,
    step: f64,
    pull: f64,
}

impl Walk {
    fn new(quotes: Quotes) -> Self {
        let per_second = f64::from(quotes.per_second);
        let per_stock = (per_second / STOCKS.len() as f64).max(1.0);
        Self {
            dice: fastrand::Rng::with_seed(quotes.seed),
            prices: std::array::from_fn(|index| STOCKS[index].opened_at),
            per_second,
            due: 0.0,
            next: 0,
            step: VOLATILITY / per_stock.sqrt(),
            pull: PULL / per_stock,
        }
    }

    /// The updates since the last turn: stocks in their order, and what each costs then. After a second's pause, what was
    /// missed is not made up for.
    fn turn(&mut self, time: Duration) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.due += self.per_second * time.as_secs_f64().min(1.0);
        let updates = self.due as usize;
        self.due -= updates as f64;
        (0..updates).map(|_| self.step())
    }

    fn step(&mut self) -> (usize, f64) {
        let index = self.next;
        self.next = (index + 1) % STOCKS.len();
        let opened_at = STOCKS[index].opened_at;
        // As far to both sides, with the deviation that `step` says.
        let chance = (self.dice.f64() - 0.5) * 12.0_f64.sqrt();
        let price = &mut self.prices[index];
        *price += opened_at * self.step * chance + (opened_at - *price) * self.pull;
        *price = price.clamp(opened_at / 2.0, opened_at * 2.0);
        (index, *price)
    }
}

/// Counts what was published, second by second.
#[derive(Debug)]
struct Made {
    updates: u32,
    since: Instant,
}

impl Made {
    fn new() -> Self {
        Self {
            updates: 0,
            since: Instant::now(),
        }
    }

    /// The rate, once there is a second to tell of.
    fn rate(&mut self) -> Option<Rate> {
        let time = self.since.elapsed();
        if time < RATE_EVERY {
            return None;
        }
        let updates = (f64::from(self.updates) / time.as_secs_f64()).round() as u32;
        *self = Self::new();
        Some(Rate { updates })
    }
}

fn cents(dollars: f64) -> u32 {
    (dollars * 100.0).round() as u32
}

fn dollars(cents: u32) -> f64 {
    f64::from(cents) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(quotes: Quotes, turns: usize) -> Vec<(usize, f64)> {
        let mut walk = Walk::new(quotes);
        (0..turns)
            .flat_map(|_| walk.turn(TURN).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn a_second_has_as_many_updates_as_was_said() {
        let turns = 20;
        for per_second in [1, 8, 333, 4_000] {
            let quotes = Quotes {
                per_second,
                ..Quotes::default()
            };
            let made = prices(quotes, turns * 3).len();
            let expected = per_second as usize * 3;
            assert!(made.abs_diff(expected) <= 1, "{made} instead of {expected}");
            let pause = Duration::from_secs(3600);
            let after_pause = Walk::new(quotes).turn(pause).count();
            assert_eq!(after_pause, per_second as usize, "no hour is made up for");
        }
    }

    #[test]
    fn the_same_seed_is_the_same_market() {
        let quotes = Quotes::default();
        assert_eq!(prices(quotes, 10), prices(quotes, 10));
        let other = Quotes { seed: 7, ..quotes };
        assert_ne!(prices(quotes, 10), prices(other, 10));
    }

    #[test]
    fn all_prices_move_and_none_runs_away() {
        let hour = 20 * 3600;
        let mut least = [f64::MAX; STOCKS.len()];
        let mut most = [0.0_f64; STOCKS.len()];
        let quotes = Quotes {
            per_second: 80,
            ..Quotes::default()
        };
        for (index, price) in prices(quotes, hour) {
            least[index] = least[index].min(price);
            most[index] = most[index].max(price);
        }
        for (index, stock) in STOCKS.iter().enumerate() {
            let (least, most) = (
                least[index] / stock.opened_at,
                most[index] / stock.opened_at,
            );
            assert!(
                least > 0.7 && least < 0.99,
                "{} falls to {least}",
                stock.ticker
            );
            assert!(
                most < 1.4 && most > 1.01,
                "{} rises to {most}",
                stock.ticker
            );
        }
    }
}
