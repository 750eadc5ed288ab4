// What the page knows: positions, prices and how they came about. No part of it touches the page.

/** A minute of prices, four in a second. */
export const KEPT = 240;
export const SAMPLES_A_SECOND = 4;

export class Market {
  /** By ticker: `{ company, ticker, price, shares, updateTime, opened, history }`, in the order the server gave them. */
  stocks = new Map();
  made = null;
  received = null;
  #count = 0;
  #since = 0;

  /** The answer to /app/positions, at first and after each reconnection. */
  positions(positions) {
    for (const position of positions) {
      const known = this.stocks.get(position.ticker);
      this.stocks.set(position.ticker, {
        ...position,
        opened: known?.opened ?? position.price,
        history: known?.history ?? [],
      });
    }
  }

  quote({ ticker, price }) {
    this.#count += 1;
    const stock = this.stocks.get(ticker);
    if (stock) {
      stock.price = price;
    }
  }

  /** Gives by how much the shares changed; null where something newer was known. */
  update({ ticker, shares, updateTime }) {
    const stock = this.stocks.get(ticker);
    if (!stock || updateTime < stock.updateTime) {
      return null;
    }
    const change = shares - stock.shares;
    Object.assign(stock, { shares, updateTime });
    return change;
  }

  /** Remembers the prices of this moment. */
  sample(now) {
    for (const { history, price } of this.stocks.values()) {
      history.push(price);
      history.splice(0, history.length - KEPT);
    }
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
