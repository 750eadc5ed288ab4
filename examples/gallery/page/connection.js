// The connection of every demo, by @stomp/stompjs and tramline-js: it comes back by itself and says how it is, and what
// the server has not confirmed stays on the page until somebody decides.

import { missing, showProblem } from '/panel.js';
import { Tramline } from '/tramline.js';
import { Unconfirmed } from '/unconfirmed.js';

/* global SockJS, StompJs */

/** How often the server is to be heard, and from which silence on the page says that it is not, in milliseconds. */
const HEART_BEAT = 2_000;
const SILENCE = 5_000;

/** So many heart-beats missed end a connection, which is 16 s. */
const MISSED = 8;

/** A server that hangs must not hold up the next attempt for longer. */
const PATIENCE = 10_000;
const FAREWELL = 2_000;

const element = (id) => document.getElementById(id);

// `?transport=xhr-streaming`, `xhr-polling` or `websocket` holds SockJS to that one.
const transport = new URLSearchParams(location.search).get('transport');
const transports = transport ? { transports: [transport] } : {};

export class Connection {
  /** False where a library did not load; then the page says so. */
  usable = true;
  /** `connecting`, `connected`, `waiting`, `disconnected`. */
  state = 'disconnected';
  unconfirmed = new Unconfirmed((again) => this.send(...again));
  #client;
  #tramline;
  #on;
  #subscriptions = new Set();
  /** Subscriptions whose confirmation is still to come before the page counts as connected. */
  #pending = new Set();
  #due = 0;
  /** Why we ended the connection ourselves. */
  #why = null;
  #isRefused = false;

  /**
   * `on`, each where the page needs it: prepare(), awaited before each attempt; headers(), for CONNECT; detail(transport), beside
   * "Connected"; changed(state); frame(line), for each that passes.
   */
  constructor(path, on = {}, { sockjs = true } = {}) {
    this.#on = on;
    if (missing('StompJs', ...(sockjs ? ['SockJS'] : []))) {
      this.usable = false;
      this.#say('unusable', 'Not available');
      return;
    }
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    const link = sockjs ? { webSocketFactory: () => new SockJS(path, null, transports) } : { brokerURL: url.href };
    const client = new StompJs.Client({
      ...link,
      connectionTimeout: PATIENCE,
      heartbeatIncoming: HEART_BEAT,
      heartbeatToleranceMultiplier: MISSED,
      discardWebsocketOnCommFailure: true,
      logRawCommunication: on.frame !== undefined,
      debug: (line) => on.frame?.(line),
      beforeConnect: async () => {
        await on.prepare?.();
        client.connectHeaders = on.headers?.() ?? {};
      },
      onConnect: () => this.#subscribed(),
      onHeartbeatLost: () => { this.#why = 'nothing was heard from the server any more'; },
      // What the server refused once it would refuse again: no reconnecting.
      onStompError: ({ headers, body }) => {
        this.#isRefused = true;
        client.deactivate();
        showProblem('Refused by the server', [headers.message, body].filter(Boolean).join('\n'));
      },
    });
    this.#client = client;
    this.#tramline = new Tramline(client, { onState: (...news) => this.#entered(...news) });
    // Better known now than at the next heart-beat.
    window.addEventListener('offline', () => this.#drop('no network'));
    element('try').addEventListener('click', () => this.#tryNow());
    setInterval(() => this.#tick(), 250);
    // In the console, `demo.stomp` is the client.
    window.demo = { stomp: client };
  }

  open() {
    if (this.usable) {
      this.#isRefused = false;
      element('problem').hidden = true;
      this.#client.activate();
    }
  }

  /** Ends it as the user wishes; subscriptions and what is not confirmed are kept for the next `open()`. */
  close() {
    if (this.usable && this.#client.active) {
      const ended = this.#client.deactivate({ force: !this.#client.connected });
      // A server that hangs does not answer the farewell.
      const patience = setTimeout(() => this.#client.forceDisconnect(), FAREWELL);
      ended.then(() => clearTimeout(patience));
      element('problem').hidden = true;
      this.#isRefused = false;
      this.#change('disconnected', 'Disconnected');
    }
  }

  /** Ends it, and forgets everything that was for this user. */
  forget() {
    this.#subscriptions.forEach((one) => one.unsubscribe());
    this.close();
    this.unconfirmed.clear();
  }

  /**
   * Calls `take(message)` for each message, over all reconnections, until `unsubscribe()` of what it returns; topics with
   * history miss none. Options as tramline-js has them.
   */
  subscribe(destination, take, options = {}) {
    const one = {};
    const inner = this.#tramline?.subscribe(destination, take, {
      ...options,
      onSubscribed: () => {
        options.onSubscribed?.();
        this.#pending.delete(one);
        this.#subscribed();
      },
    });
    one.unsubscribe = () => {
      this.#subscriptions.delete(one);
      this.#pending.delete(one);
      inner?.unsubscribe();
    };
    this.#subscriptions.add(one);
    if (this.state !== 'connected') {
      this.#pending.add(one);
    }
    return one;
  }

  /**
   * Sends text, or any other value as JSON. With a `label`, which people read, it stays on the page until the server has
   * confirmed it, or, with `answered`, until `confirm()` of what this returns; without, a lost one is lost.
   */
  send(destination, value, { label, headers = {}, answered = false } = {}) {
    const [body, type] = typeof value === 'string' ? [value, 'text/plain'] : [JSON.stringify(value), 'application/json'];
    const kept = label && this.unconfirmed.add(label, [destination, value, { label, headers, answered }]);
    const receipt = kept && !answered ? { receipt: kept.key } : {};
    if (this.#client?.connected) {
      if (kept && !answered) {
        this.#client.watchForReceipt(kept.key, () => kept.confirm());
      }
      this.#client.publish({ destination, body, headers: { 'content-type': type, ...headers, ...receipt } });
    } else {
      kept?.unsent();
    }
    return kept;
  }

  #entered(state, delay, cause) {
    if (state !== 'connected') {
      this.#pending = new Set(this.#subscriptions);
    }
    if (state === 'connecting') {
      this.#change('connecting', 'Connecting…');
    } else if (state === 'waiting') {
      this.#due = Date.now() + delay;
      this.unconfirmed.lost();
      showProblem('Connection lost', this.#why ?? whyLost(cause));
      this.#why = null;
      this.#change('waiting', 'Reconnecting');
    } else if (state === 'closed' && !this.#client.active) {
      this.unconfirmed.lost();
      this.#change('disconnected', 'Disconnected');
    }
  }

  /** Connected is who misses nothing from now on. */
  #subscribed() {
    if (this.#client.connected && this.state !== 'connected' && this.#pending.size === 0) {
      element('problem').hidden = true;
      const by = this.#client.webSocket.transport ?? 'websocket';
      this.#change('connected', 'Connected', this.#on.detail?.(by) ?? `by ${by}`);
    }
  }

  #tryNow() {
    if (this.#client.connected) {
      this.#drop('nothing was heard from the server');
    }
    if (this.#client.active) {
      this.#tramline.retry();
    } else {
      this.open();
    }
  }

  #drop(why) {
    if (this.#client.active) {
      this.#why = why;
      this.#client.forceDisconnect();
    }
  }

  #detail = '';

  #change(state, text, detail = '') {
    const changed = state !== this.state;
    this.state = state;
    this.#detail = detail;
    this.#say(state, text, detail);
    this.#tick();
    if (changed) {
      this.#on.changed?.(state);
    }
  }

  /** What changes by itself stands outside the live region: nobody wants every second read out. */
  #tick() {
    const silent = this.state === 'connected' && this.#tramline.silentFor >= SILENCE;
    if (silent) {
      this.#say('waiting', 'No news', `from the server for ${Math.floor(this.#tramline.silentFor / 1000)} s`);
    } else if (this.state === 'connected') {
      this.#say('connected', 'Connected', this.#detail);
    } else if (this.state === 'waiting') {
      this.#say('waiting', 'Reconnecting', `in ${Math.max(0, Math.ceil((this.#due - Date.now()) / 1000))} s`);
    }
    element('try').hidden = !(silent || this.#isRefused || this.state === 'waiting');
  }

  #say(state, text, detail = '') {
    element('panel').dataset.state = state;
    for (const [id, words] of [['state', text], ['detail', detail]]) {
      if (element(id).textContent !== words) {
        element(id).textContent = words;
      }
    }
  }
}

/** Why a connection has ended that nobody here meant to end: by the socket's event, or the error before there was one. */
function whyLost({ code, reason, message }) {
  // 4001 is how stompjs itself gives up a socket that does not open.
  const why = code === 4001 ? '' : reason ?? message;
  return `${why || 'no answer from the server'}${code === undefined || code === 4001 ? '' : ` (${code})`}`;
}
