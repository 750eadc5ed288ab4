// The dialog that asks how many shares.

import { dollars, whole, write } from './format.js';

const element = (id) => document.getElementById(id);

export class TradeDialog {
  #dialog = element('trade');
  #shares = element('trade-shares');
  #asked = null;

  /** `send({ action, ticker, shares })` is called when somebody has decided. */
  constructor(send) {
    element('trade-cancel').addEventListener('click', () => this.#dialog.close());
    this.#shares.addEventListener('input', () => this.draw());
    element('trade-form').addEventListener('submit', () => {
      const { action, stock } = this.#asked;
      send({ action, ticker: stock.ticker, shares: this.#shares.valueAsNumber });
    });
    this.#dialog.addEventListener('close', () => { this.#asked = null; });
  }

  ask(action, stock) {
    this.#asked = { action, stock };
    write(element('trade-title'), `${action} ${stock.ticker}`);
    write(element('trade-go'), action);
    this.#shares.value = '';
    this.draw();
    this.#dialog.showModal();
    this.#shares.focus();
  }

  /** Follows the price while it is open. */
  draw() {
    if (this.#asked === null) {
      return;
    }
    const { company, price, shares } = this.#asked.stock;
    write(element('trade-facts'), `${company}, ${dollars(price)} a share. You hold ${whole(shares)}.`);
    const wanted = this.#shares.validity.valid ? this.#shares.valueAsNumber : 0;
    write(element('trade-worth'), dollars(wanted * price));
  }

  close() {
    this.#dialog.close();
  }
}
