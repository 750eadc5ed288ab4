// A STOMP connection over SockJS that comes back by itself.

import { BackOff, whyLost } from '/panel.js';

/* global SockJS, Stomp */

// `?transport=xhr-streaming`, `xhr-polling` or `websocket` holds SockJS to that one.
const transport = new URLSearchParams(location.search).get('transport');
const options = transport ? { transports: [transport] } : {};

export class Connection {
  #url;
  #events;
  #attempt = null;
  #backOff = new BackOff();

  /**
   * `events`: prepare(), awaited before each attempt; headers(), for CONNECT; connecting(); ready(stomp, transport); lost(delay, reason), which
   * will try again after `delay` milliseconds; refused(reason), which will not.
   */
  constructor(url, events) {
    this.#url = url;
    this.#events = events;
    // Better known now than at the next heart-beat.
    window.addEventListener('offline', () => this.#attempt?.socket?.close(3000, 'no network'));
  }

  async open() {
    const attempt = { socket: null, stomp: null, retry: 0 };
    this.#attempt = attempt;
    this.#events.connecting();
    try {
      await this.#events.prepare();
    } catch (error) {
      this.#again(attempt, error.message);
      return;
    }
    if (this.#attempt === attempt) {
      this.#connect(attempt);
    }
  }

  close() {
    const attempt = this.#attempt;
    this.#attempt = null;
    this.#backOff.reset();
    clearTimeout(attempt?.retry);
    if (attempt?.stomp?.connected) {
      attempt.stomp.disconnect();
    } else {
      attempt?.socket?.close();
    }
  }

  #connect(attempt) {
    const socket = new SockJS(this.#url, null, options);
    const stomp = Stomp.over(socket);
    stomp.debug = null;
    Object.assign(attempt, { socket, stomp });

    let refusal = null;
    stomp.connect(this.#events.headers(), () => {
      if (this.#attempt === attempt) {
        this.#backOff.reset();
        this.#events.ready(stomp, socket.transport);
      }
    }, (error) => {
      // An ERROR frame comes with its reason; the text that stompjs makes of a loss says less than the close event.
      if (error.command === 'ERROR') {
        refusal = [error.headers.message, error.body].filter(Boolean).join('\n');
      }
    });
    socket.addEventListener('close', (event) => {
      if (refusal === null) {
        this.#again(attempt, whyLost(event));
      } else if (this.#attempt === attempt) {
        this.#attempt = null;
        this.#events.refused(refusal);
      }
    });
  }

  #again(attempt, reason) {
    if (this.#attempt !== attempt) {
      return;
    }
    const delay = this.#backOff.delay();
    attempt.retry = setTimeout(() => this.open(), delay);
    this.#events.lost(delay, reason);
  }
}
