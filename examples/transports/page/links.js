// The ways to the echo. A link is opened by its constructor and calls on.open(), on.echo(text) and, once, on.end(reason);
// `bytes()` is what its last ping and echo took, `{ sent, received }`, each `null` while it is not known.

import { RequestHead, answer, chunk, frame, size, sum } from './bytes.js';

/* global SockJS */

export const REST = '/echo-rest';

const head = new RequestHead();

export class WebSocketLink {
  #socket;
  #last = null;

  constructor(base, on) {
    const address = new URL(`${base}/websocket`, location.href);
    address.protocol = address.protocol.replace('http', 'ws');
    this.#socket = new WebSocket(address);
    this.#socket.onopen = on.open;
    this.#socket.onmessage = (event) => on.echo(event.data);
    this.#socket.onclose = (event) => on.end(why(event));
  }

  send(text) {
    this.#last = text;
    this.#socket.send(text);
  }

  close() {
    this.#socket.close();
  }

  measured() {}

  bytes() {
    const payload = size(this.#last);
    return { sent: frame(payload, true), received: frame(payload, false) };
  }
}

/** SockJS held to one of its transports. */
export class SockJsLink {
  #socket;
  #transport;
  #last = null;
  /** What the last request of each kind took. */
  #requests = new Map();

  constructor(base, transport, on) {
    this.#transport = transport;
    // The name of the server is free; ours tells which link a request is of.
    this.#socket = new SockJS(base, null, { transports: [transport], server: transport });
    this.#socket.onopen = on.open;
    this.#socket.onmessage = (event) => on.echo(event.data);
    this.#socket.onclose = (event) => on.end(why(event));
  }

  send(text) {
    this.#last = text;
    this.#socket.send(text);
  }

  close() {
    this.#socket.close();
  }

  /** A request is over. */
  measured(entry) {
    const { pathname, search } = new URL(entry.name);
    const [kind, , server] = pathname.split('/').reverse();
    if (server === this.#transport) {
      this.#requests.set(kind, { path: pathname + search, received: answer(entry) });
    }
  }

  bytes() {
    const array = size(JSON.stringify([this.#last]));
    switch (this.#transport) {
      case 'websocket':
        return { sent: frame(array, true), received: frame(array + size('a'), false) };
      case 'xhr-streaming':
        return this.#streamed(array, chunk(array + size('a\n')));
      case 'eventsource':
        return this.#streamed(array, chunk(array + size('data: a\r\n\r\n')));
      default: {
        const poll = this.#request('xhr', 0);
        const post = this.#request('xhr_send', array);
        return { sent: sum(post.sent, poll.sent), received: sum(post.received, poll.received) };
      }
    }
  }

  #streamed(array, part) {
    const post = this.#request('xhr_send', array);
    return { sent: post.sent, received: sum(post.received, part) };
  }

  #request(kind, body) {
    const request = this.#requests.get(kind);
    return request
      ? { sent: sum(head.of(request.path), body), received: request.received }
      : { sent: null, received: null };
  }
}

export class RestLink {
  #on;
  #last = null;
  #received = null;
  #closed = new AbortController();

  constructor(on) {
    this.#on = on;
    queueMicrotask(on.open);
  }

  async send(text) {
    this.#last = text;
    try {
      const response = await fetch(REST, { method: 'POST', body: text, signal: this.#closed.signal });
      if (!response.ok) {
        throw new Error(`${REST} answered ${response.status}`);
      }
      head.counted(Number(response.headers.get('request-head')), REST);
      this.#on.echo(await response.text());
    } catch (error) {
      this.#on.end(error.message);
    }
  }

  close() {
    this.#closed.abort();
  }

  measured(entry) {
    if (new URL(entry.name).pathname === REST) {
      this.#received = answer(entry);
    }
  }

  bytes() {
    return { sent: sum(head.of(REST), size(this.#last)), received: this.#received };
  }
}

function why(event) {
  return `${event.reason || 'no answer from the server'} (${event.code})`;
}

/** Whether the server offers a transport at all, WebSocket by its `/info`, others by their path; `true` when nobody knows. */
export async function isOffered(base, transport) {
  try {
    if (transport === 'websocket') {
      return (await (await fetch(`${base}/info`)).json()).websocket;
    }
    const path = { 'xhr-polling': 'xhr', 'jsonp-polling': 'jsonp' }[transport] ?? transport.replace('-', '_');
    // Opens no session, whatever the answer.
    return (await fetch(`${base}/0/ask/${path}`, { method: 'OPTIONS' })).status !== 404;
  } catch {
    return true;
  }
}

/** What SockJS tries, in its order, in a browser of today. */
const ORDER = ['websocket', 'xhr-streaming', 'eventsource', 'htmlfile', 'xhr-polling', 'jsonp-polling'];

/** What SockJS takes when nobody tells it: `{ transport, off, stopped }`, the last two what it passed over, and why. */
export async function choice(base, signal) {
  const transport = await new Promise((resolve, reject) => {
    const socket = new SockJS(base);
    signal.addEventListener('abort', () => socket.close());
    socket.onopen = () => {
      resolve(socket.transport);
      socket.close();
    };
    socket.onclose = (event) => reject(new Error(why(event)));
  });
  const before = ORDER.slice(0, ORDER.indexOf(transport));
  const offered = await Promise.all(before.map((other) => isOffered(base, other)));
  return {
    transport,
    off: before.filter((_, index) => !offered[index]),
    stopped: before.filter((_, index) => offered[index]),
  };
}
