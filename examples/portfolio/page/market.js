// What the page knows: positions, prices and how they came about. No part of it touches the page.

/** Prices are kept for a minute, in milliseconds. */
export const KEPT = 60_000;
export const SAMPLES_A_SECOND = 4;

export class Market {
  /**
   * By ticker: `{ company, ticker, price, shares, updateTime, opened, history }`, in the order the server gave them; the
   * last are its prices, `{ at, price }`.
   */
  stocks = new Map();
  made = null;
  received = null;
  /** When the newest price came. */
  newest = null;
  #count = 0;
  #since = 0;
  /** Whether prices came since the last sample. */
  #news = false;

  /** The answer to /app/positions, at first and after each reconnection. Whether other shares were known. */
  positions(positions) {
    const others = positions.some(({ ticker, shares }) => (this.stocks.get(ticker)?.shares ?? shares) !== shares);
    for (const position of positions) {
      const stock = this.stocks.get(position.ticker) ?? { opened: position.price, history: [] };
      this.stocks.set(position.ticker, Object.assign(stock, position));
    }
    return others;
  }

  quote({ ticker, price }) {
    this.#count += 1;
    this.#news = true;
    this.newest = performance.now();
    const stock = this.stocks.get(ticker);
    if (stock) {
      stock.price = price;
    }
  }

  /** Gives by how much the shares changed: 0 where that was known already. */
  update({ ticker, shares, updateTime }) {
    const stock = this.stocks.get(ticker);
    if (!stock || updateTime < stock.updateTime) {
      return 0;
    }
    const change = shares - stock.shares;
    Object.assign(stock, { shares, updateTime });
    return change;
  }

  /** Remembers the prices of this moment, in milliseconds; nothing while no prices come, so that this can be seen. */
  sample(now) {
    for (const stock of this.stocks.values()) {
      if (this.#news) {
        stock.history.push({ at: now, price: stock.price });
      }
      stock.history = stock.history.filter(({ at }) => now - at <= KEPT);
    }
    this.#news = false;
    const time = now - this.#since;
    if (time >= 1000) {
      this.received = this.#since === 0 ? null : Math.round((this.#count * 1000) / time);
      this.#count = 0;
      this.#since = now;
    }
  }

  /** Nothing more is coming. */
  silent() {
    this.made = null;
    this.received = null;
    this.#since = 0;
  }

  get shares() {
    return sum(this.stocks, ({ shares }) => shares);
  }

  get value() {
    return sum(this.stocks, ({ price, shares }) => price * shares);
  }
}

/** By how much a price has changed since the page was opened, in percent. */
export function change({ opened }, price) {
  return (price / opened - 1) * 100;
}

function sum(stocks, of) {
  return [...stocks.values()].reduce((total, stock) => total + of(stock), 0);
}
