// The positions as a table. Roles are written out, because narrow windows lay the rows out as cards.

import { change } from './market.js';
import { direction, dollars, html, marker, percent, whole, write } from './format.js';

/** How long a row says that a trade is done, in milliseconds. */
const SHOWN = 5_000;

export class Table {
  #rows = new Map();

  /** `trade(action, ticker)` is called by the buttons of a row. */
  constructor({ body, shares, value }, trade) {
    Object.assign(this, { body, shares, value, trade });
  }

  draw(market) {
    [...market.stocks.values()].forEach((stock, index) => {
      const row = this.#rows.get(stock.ticker) ?? this.#add(stock, index);
      const since = change(stock, stock.price);
      write(row.price, dollars(stock.price));
      write(row.marker, marker(since));
      write(row.percent, percent(since));
      row.change.dataset.direction = direction(since);
      write(row.shares, whole(stock.shares));
      write(row.value, dollars(stock.price * stock.shares));
    });
    write(this.shares, whole(market.shares));
    write(this.value, dollars(market.value));
  }

  /** Says in a stock's row what becomes of a trade; `done`: it is over, and the words go after a while. */
  say(ticker, text, { done = false } = {}) {
    const { trade, said } = this.#rows.get(ticker);
    write(said, text);
    trade.dataset.trade = done ? 'done' : 'pending';
    clearTimeout(trade.silence);
    if (done) {
      trade.silence = setTimeout(() => this.#hush(trade, said), SHOWN);
    }
  }

  /** No trade is under way any more. */
  hush() {
    this.#rows.forEach(({ trade, said }) => trade.dataset.trade === 'pending' && this.#hush(trade, said));
  }

  #hush(trade, said) {
    write(said, '');
    delete trade.dataset.trade;
  }

  clear() {
    this.#rows.clear();
    this.body.replaceChildren();
  }

  #add({ ticker, company }, index) {
    const cell = (style, ...children) => html('td', { role: 'cell', class: style }, ...children);
    const key = html('span', { class: `key series-${index}`, 'aria-hidden': 'true' });
    const heading = html(
      'th',
      { role: 'rowheader', scope: 'row' },
      html('span', { class: 'ticker' }, key, ticker),
      html('span', { class: 'company' }, company),
    );
    const row = {
      price: cell('price'),
      marker: html('span', { class: 'marker', 'aria-hidden': 'true' }),
      percent: html('span'),
      shares: cell('shares'),
      value: cell('value'),
    };
    row.change = cell('change', row.marker, ' ', row.percent);
    const button = (action) => {
      const made = html('button', { type: 'button', 'aria-label': `${action} ${ticker}` }, action);
      made.addEventListener('click', () => this.trade(action, ticker));
      return made;
    };
    row.said = html('span', { class: 'said' });
    row.trade = cell('trade', button('Buy'), button('Sell'), row.said);
    this.body.append(html('tr', { role: 'row' }, heading, row.price, row.change, row.shares, row.value, row.trade));
    this.#rows.set(ticker, row);
    return row;
  }
}
