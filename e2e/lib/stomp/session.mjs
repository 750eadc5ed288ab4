// What the tests see of a STOMP session, whichever client library holds it.

import { eventually, inbox } from '../wait.mjs';

/** Frames are `{ headers, body }` with a Buffer for a body; each driver has the methods that its library offers. */
export class Session {
  /** The headers of CONNECTED. */
  connected = null;
  messages = inbox('a MESSAGE');
  errors = inbox('an ERROR');
  closed = inbox('the end of the connection');
  /** Heart-beats that came from the server. */
  heartBeats = 0;
  #receipts = new Set();

  /** For drivers. */
  gotReceipt(id) {
    this.#receipts.add(id);
  }

  /** Resolves when the RECEIPT is there. */
  receipt(id) {
    return eventually(() => {
      if (!this.#receipts.delete(id)) {
        throw new Error(`waited for RECEIPT ${id} in vain; ERRORs: ${this.errors.size}`);
      }
    });
  }

  /** Resolves when CONNECTED, an ERROR or the end came, whichever is first. */
  answered() {
    return eventually(() => {
      if (this.connected === null && this.errors.size === 0 && this.closed.size === 0) {
        throw new Error('waited for an answer to CONNECT in vain');
      }
    });
  }
}
