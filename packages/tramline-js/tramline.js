// Missing nothing with @stomp/stompjs: see README.md.

const isPattern = (destination) => /[*?]/.test(destination);

const isLater = (position, known) => {
  const [epoch, sequence] = position.split('-');
  const [knownEpoch, knownSequence] = known.split('-');
  return epoch !== knownEpoch || Number(sequence) > Number(knownSequence);
};

/** Reads the header `gap`: `AFTER..UP-TO`, or `DESTINATION=AFTER..UP-TO` joined by `&`. */
const gaps = (header, destination) => header.split('&').map((one) => {
  const [range, name] = one.split('=').reverse();
  const [after, upTo] = range.split('..');
  return { destination: name === undefined ? destination : decodeURIComponent(name), after, upTo };
});

export class Tramline {
  #client;
  #options;
  #subscriptions = new Set();
  #state = 'closed';
  #tries = 0;
  #timer;
  #heard = 0;
  #receipts = 0;

  constructor(client, options = {}) {
    this.#client = client;
    this.#options = { maxDelay: 30_000, silence: 0, ...options };
    const { silence, onSilence = () => client.forceDisconnect() } = this.#options;
    // Reconnecting is ours, with jitter and by the server's wish.
    client.reconnectDelay = 0;
    const prepare = client.beforeConnect;
    client.beforeConnect = async () => {
      this.#enter('connecting');
      try {
        await prepare(client);
      } catch (error) {
        // This attempt has failed before it began; the client goes no further with it.
        this.#closed(error);
        await new Promise(() => {});
      }
    };
    this.#before('onChangeState', () => {
      // No socket, so nothing else will say that it has ended.
      if (this.#state === 'waiting' && !client.active) {
        this.#closed();
      }
    });
    this.#before('onConnect', () => this.#connected());
    this.#before('onWebSocketClose', (event) => this.#closed(event));
    this.#before('onStompError', (frame) => this.#refused(frame));
    this.#before('onHeartbeatReceived', () => { this.#heard = Date.now(); });
    globalThis.addEventListener?.('online', () => this.retry());
    globalThis.document?.addEventListener('visibilitychange', () => document.hidden || this.retry());
    if (silence > 0) {
      setInterval(() => {
        if (client.connected && Date.now() - this.#heard >= silence) {
          this.#heard = Date.now();
          onSilence();
        }
      }, silence / 4);
    }
  }

  get state() {
    return this.#state;
  }

  get silentFor() {
    return this.#client.connected ? Date.now() - this.#heard : 0;
  }

  /** Connects now, if it waits for that. */
  retry() {
    if (this.#state === 'waiting' && this.#client.active) {
      clearTimeout(this.#timer);
      this.#state = 'connecting';
      this.#client.deactivate({ force: true }).then(() => this.#client.activate());
    }
  }

  subscribe(destination, callback, { headers, retained = false, onGap, onSubscribed } = {}) {
    const entry = { destination, callback, headers, retained, onGap, onSubscribed, known: new Map(), left: 0 };
    this.#subscriptions.add(entry);
    if (this.#client.connected) {
      this.#begin(entry);
    }
    return {
      unsubscribe: () => {
        if (this.#subscriptions.delete(entry) && this.#client.connected) {
          entry.active?.unsubscribe();
        }
      },
    };
  }

  /** Calls ours first, and then what the page has set. */
  #before(name, ours) {
    const theirs = this.#client[name];
    this.#client[name] = (...values) => {
      ours(...values);
      return theirs?.(...values);
    };
  }

  #enter(state, delay, cause) {
    this.#state = state;
    this.#options.onState?.(state, delay, cause);
  }

  #connected() {
    clearTimeout(this.#timer);
    this.#tries = 0;
    this.#heard = Date.now();
    for (const entry of this.#subscriptions) {
      this.#begin(entry);
    }
    this.#enter('connected');
  }

  /** `cause`: the event of the socket, or the error of `beforeConnect`. */
  #closed(cause) {
    clearTimeout(this.#timer);
    if (!this.#client.active) {
      this.#enter('closed');
      return;
    }
    const window = /retry-after-ms=(\d+)\.\.(\d+)/.exec(cause?.reason ?? '');
    const most = Math.min(this.#options.maxDelay, 500 * 2 ** this.#tries);
    this.#tries += 1;
    const [from, to] = window ? [Number(window[1]), Number(window[2])] : [0, most];
    const delay = from + Math.random() * (to - from);
    this.#timer = setTimeout(() => this.retry(), delay);
    this.#enter('waiting', delay, cause);
  }

  /** A server that has no history there any more would refuse the same again. */
  #refused({ headers, body }) {
    for (const entry of this.#subscriptions) {
      if (entry.pending && /resume-from|retained/.test(`${headers.message} ${body}`)) {
        Object.assign(entry, { known: new Map(), others: undefined, retained: false });
        entry.onGap?.([]);
      }
    }
  }

  #begin(entry) {
    const receipt = `tramline-${this.#receipts += 1}`;
    const headers = { ...entry.headers, receipt };
    const from = this.#resumeFrom(entry);
    if (from) {
      headers['resume-from'] = from;
    } else if (entry.retained) {
      headers.retained = 'true';
    }
    entry.left = 0;
    entry.pending = true;
    this.#client.watchForReceipt(receipt, (frame) => this.#begun(entry, frame.headers));
    entry.active = this.#client.subscribe(entry.destination, (message) => this.#received(entry, message), headers);
  }

  #resumeFrom({ destination, known, others }) {
    if (!isPattern(destination)) {
      return known.get(destination);
    }
    let header = others && `*=${others}`;
    for (const [name, position] of known) {
      const pair = `${encodeURIComponent(name)}=${position}`;
      // The rest comes twice from there, and is dropped here.
      if (`${header}&${pair}`.length < 7_500) {
        header = header ? `${header}&${pair}` : pair;
      }
    }
    return header;
  }

  #begun(entry, { position, recovered, gap }) {
    this.#heard = Date.now();
    entry.pending = false;
    if (position?.startsWith('*=')) {
      // What is older may still be on its way.
      entry.left = Number(recovered ?? 0);
      entry.mark = position.slice(2);
      if (recovered === undefined ? !entry.others : entry.left === 0) {
        entry.others = entry.mark;
      }
    } else if (position) {
      entry.known.set(entry.destination, position);
    }
    if (gap) {
      entry.onGap?.(gaps(gap, entry.destination));
    }
    entry.onSubscribed?.();
  }

  #received(entry, message) {
    this.#heard = Date.now();
    if (!this.#subscriptions.has(entry)) {
      return;
    }
    const { destination, position } = message.headers;
    if (position) {
      if (entry.left > 0) {
        entry.left -= 1;
        if (entry.left === 0) {
          entry.others = entry.mark;
        }
      }
      const known = entry.known.get(destination);
      if (known && !isLater(position, known)) {
        return;
      }
      entry.known.set(destination, position);
    }
    entry.callback(message);
  }
}
