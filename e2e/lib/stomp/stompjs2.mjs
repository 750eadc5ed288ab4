// stompjs 2.3.3, which many front ends of Spring applications still have, over WebSocket.

import { createRequire } from 'node:module';
import WebSocket from 'ws';
import { Session } from './session.mjs';

const { Stomp } = createRequire(import.meta.url)('stompjs/lib/stomp.js');
// What it sets up for itself only in a browser.
Object.assign(Stomp, { setInterval: (time, f) => setInterval(f, time), clearInterval });

class StompJs2 extends Session {
  #client;
  #socket;

  constructor(server, { login, passcode, heartBeat = [0, 0] }) {
    super();
    this.#socket = new WebSocket(`ws://${server.http}/stomp`, ['v10.stomp', 'v11.stomp']);
    this.#socket.on('message', (data) => { this.heartBeats += data.toString() === '\n' ? 1 : 0; });
    this.#socket.on('close', (code) => this.closed.put(code));
    this.#client = Stomp.over(this.#socket);
    this.#client.debug = null;
    [this.#client.heartbeat.outgoing, this.#client.heartbeat.incoming] = heartBeat;
    this.#client.onreceipt = (frame) => this.gotReceipt(frame.headers['receipt-id']);
    this.#client.connect(
      { login, passcode },
      (frame) => { this.connected = frame.headers; },
      // At the end of the connection it hands over a text in place of a frame.
      (error) => { if (error.headers) { this.errors.put(error.headers.message); } },
    );
  }

  send(destination, body, headers = {}) {
    this.#client.send(destination, headers, body.toString());
  }

  subscribe(destination, headers) {
    this.#client.subscribe(destination, (message) => {
      this.messages.put({ headers: message.headers, body: Buffer.from(message.body), message });
    }, headers);
  }

  unsubscribe(id) {
    this.#client.unsubscribe(id);
  }

  ack({ message }, headers = {}) {
    message.ack(headers);
  }

  nack({ message }, headers = {}) {
    message.nack(headers);
  }

  begin(id) {
    this.#client.begin(id);
  }

  commit(id) {
    this.#client.commit(id);
  }

  abort(id) {
    this.#client.abort(id);
  }

  disconnect() {
    this.#client.disconnect();
  }

  drop() {
    this.#socket.terminate();
  }
}

/** The library, which speaks what it calls 1.1. */
export function stompJs2() {
  return {
    name: 'stompjs 2.3.3',
    transport: 'WebSocket',
    version: '1.1',
    lacks: {
      'NULs in the body': 'the library ends a frame at the first NUL',
      'header escapes': 'the library neither escapes nor unescapes',
      'RECEIPT for UNSUBSCRIBE': 'the library takes no headers for it',
      'RECEIPT for DISCONNECT': 'the library closes without waiting for it',
      'RECEIPT for BEGIN, COMMIT and ABORT': 'the library takes no headers for it',
    },
    start: async (server) => ({ open: (options) => new StompJs2(server, options), stop: () => {} }),
  };
}
