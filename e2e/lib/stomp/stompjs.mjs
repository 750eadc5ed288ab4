// @stomp/stompjs 7 over WebSocket.

import { Client, Versions } from '@stomp/stompjs';
import WebSocket from 'ws';
import { Session } from './session.mjs';

class StompJs extends Session {
  #client;
  #socket;

  constructor(server, { version, login, passcode, heartBeat = [0, 0] }) {
    super();
    const session = this;
    this.#client = new Client({
      webSocketFactory: () => {
        this.#socket = new WebSocket(`ws://${server.http}/stomp`, `v${version.replace('.', '')}.stomp`);
        this.#socket.on('message', (data) => { this.heartBeats += data.toString() === '\n' ? 1 : 0; });
        return this.#socket;
      },
      stompVersions: new Versions([version]),
      connectHeaders: { login, passcode },
      heartbeatOutgoing: heartBeat[0],
      heartbeatIncoming: heartBeat[1],
      reconnectDelay: 0,
      onConnect: (frame) => { this.connected = frame.headers; },
      onUnhandledReceipt: (frame) => this.gotReceipt(frame.headers['receipt-id']),
      // It hears the RECEIPT of its DISCONNECT itself.
      onDisconnect: (frame) => this.gotReceipt(frame.headers['receipt-id']),
      onStompError: (frame) => this.errors.put(frame.headers.message),
      onWebSocketClose: (event) => session.closed.put(event.code),
    });
    this.#client.activate();
  }

  send(destination, body, headers = {}) {
    const content = Buffer.isBuffer(body) ? { binaryBody: body } : { body };
    this.#client.publish({ destination, headers, ...content });
  }

  subscribe(destination, headers) {
    this.#client.subscribe(destination, (message) => {
      // The library takes `binaryBody` from the frame that has it.
      this.messages.put({ headers: message.headers, body: Buffer.from(message.binaryBody), message });
    }, headers);
  }

  unsubscribe(id, headers = {}) {
    this.#client.unsubscribe(id, headers);
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

  async disconnect(receipt) {
    this.#client.disconnectHeaders = { receipt };
    await this.#client.deactivate();
  }

  drop() {
    this.#socket.terminate();
  }
}

/** The library at one version of STOMP. */
export function stompJs(version) {
  const lacks = { 'RECEIPT for BEGIN, COMMIT and ABORT': 'the library takes no headers for it' };
  if (version === '1.1') {
    lacks['header escapes'] = 'the library escapes in 1.2 only';
  }
  return {
    name: '@stomp/stompjs 7',
    transport: 'WebSocket',
    version,
    lacks,
    start: async (server) => ({ open: (options) => new StompJs(server, options), stop: () => {} }),
  };
}
