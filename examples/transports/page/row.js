// One transport: its connection, its pings and what came of them.

import { BackOff } from '/panel.js';

const EVERY = 1_000;
const PATIENCE = 10_000;
const KEPT = 60;

export class Row {
  state = 'paused';
  /** Why, when it is lost. */
  reason = '';
  /** Milliseconds of the last pings; `null` where no echo came. */
  trips = [];
  bytes = { sent: null, received: null };
  /** Changes with each connection. */
  #life = null;
  #link = null;
  #backOff = new BackOff();
  #timer = 0;
  #pings = 0;
  #pinged = null;

  /**
   * `open(base, on)` makes a link, `offered(base)` says whether the server has this transport at all; `lost()` is called
   * when a connection ends that was there.
   */
  constructor({ name, open, offered, offset, changed, lost }) {
    Object.assign(this, { name, open, offered, offset, changed, lost });
  }

  start(base) {
    this.stop();
    this.#connect(base);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#life = null;
    this.#link?.close();
    this.#link = null;
    this.#show('paused');
  }

  forget() {
    this.trips = [];
    this.bytes = { sent: null, received: null };
  }

  measured(entry) {
    this.#link?.measured(entry);
    if (this.#link && this.#pinged?.echoed) {
      this.#count();
    }
  }

  /** Median and slowest of the round trips in milliseconds, or `null`. */
  get median() {
    const trips = this.#sorted();
    return trips.length > 0 ? trips[Math.floor(trips.length / 2)] : null;
  }

  get slowest() {
    return this.#sorted().at(-1) ?? null;
  }

  #sorted() {
    return this.trips.filter((trip) => trip !== null).sort((a, b) => a - b);
  }

  #connect(base) {
    const life = {};
    this.#life = life;
    this.#pinged = null;
    this.#show('connecting');
    let opened = false;
    // What an earlier connection still has to say is not for us.
    const now = (then) => (argument) => this.#life === life && then(argument);
    this.#link = this.open(base, {
      open: now(() => {
        opened = true;
        this.#backOff.reset();
        this.#show('connected');
        this.#timer = setTimeout(() => this.#ping(), this.offset);
      }),
      echo: now((text) => this.#echo(text)),
      end: now(async (reason) => {
        clearTimeout(this.#timer);
        this.#link = null;
        this.#show('lost', reason);
        if (opened) {
          this.lost();
        }
        const offered = opened || await this.offered(base);
        if (this.#life !== life) {
          return;
        }
        if (offered) {
          this.#timer = setTimeout(() => this.#connect(base), this.#backOff.delay());
        } else {
          this.#show('off');
        }
      }),
    });
  }

  #ping() {
    const text = `${this.name} ${this.#pings += 1}`.padEnd(32, '.').slice(0, 32);
    this.#pinged = { text, at: performance.now(), echoed: false };
    this.#timer = setTimeout(() => this.#keep(null), PATIENCE);
    this.#link.send(text);
  }

  #echo(text) {
    const now = performance.now();
    if (text !== this.#pinged?.text || this.#pinged.echoed) {
      return;
    }
    this.#pinged.echoed = true;
    this.#count();
    this.#keep(now - this.#pinged.at);
  }

  #count() {
    this.bytes = this.#link.bytes();
    this.changed();
  }

  /** A ping is over; the next one follows. */
  #keep(trip) {
    clearTimeout(this.#timer);
    this.trips = [...this.trips.slice(1 - KEPT), trip];
    this.changed();
    this.#timer = setTimeout(() => this.#ping(), Math.max(0, this.#pinged.at + EVERY - performance.now()));
  }

  #show(state, reason = '') {
    this.state = state;
    this.reason = reason;
    this.changed();
  }
}
