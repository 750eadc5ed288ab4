// stomp.py over TCP: a Python process holds the connections and speaks JSON with this one.

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { child, named } from '../server.mjs';
import { Session } from './session.mjs';

const SCRIPT = fileURLToPath(new URL('stomp_py.py', import.meta.url));

/** The Python process: one for all sessions of a column of the table. */
class Bridge {
  #python;
  #sessions = [];
  log = '';

  constructor() {
    const python = named('TRAMLINE_STOMP_PYTHON', 'a Python that has stomp.py');
    this.#python = child(python, ['-u', SCRIPT], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#python.stderr.setEncoding('utf8').on('data', (text) => { this.log += text; });
    createInterface({ input: this.#python.stdout }).on('line', (line) => {
      const { session, event, headers, body } = JSON.parse(line);
      this.#sessions[session][event]({ headers, body: Buffer.from(body, 'base64') });
    });
  }

  open(server, options) {
    const number = this.#sessions.length;
    const call = (op, more) => this.#python.stdin.write(`${JSON.stringify({ session: number, op, ...more })}\n`);
    const session = new StompPy(call);
    this.#sessions.push(session);
    const [host, port] = server.tcp.split(':');
    call('open', { host, port: Number(port), ...options });
    return session;
  }

  async stop() {
    const closed = once(this.#python, 'close');
    this.#python.stdin.end();
    const [code] = await closed;
    if (code !== 0) {
      throw new Error(`the Python process ended with ${code}\n${this.log}`);
    }
  }
}

class StompPy extends Session {
  #call;

  constructor(call) {
    super();
    this.#call = call;
  }

  // What the Python process tells.
  on_connected({ headers }) { this.connected = headers; }

  on_message(frame) { this.messages.put(frame); }

  on_receipt({ headers }) { this.gotReceipt(headers['receipt-id']); }

  on_error({ headers }) { this.errors.put(headers.message); }

  on_disconnected() { this.closed.put(); }

  on_heartbeat() { this.heartBeats += 1; }

  // What the tests ask of it.
  send(destination, body, headers = {}) {
    this.#call('send', { destination, headers, body: Buffer.from(body).toString('base64') });
  }

  subscribe(destination, headers) { this.#call('subscribe', { destination, headers }); }

  unsubscribe(id, headers = {}) { this.#call('unsubscribe', { id, headers }); }

  ack(message, headers = {}) { this.#call('ack', { message: message.headers, headers }); }

  nack(message, headers = {}) { this.#call('nack', { message: message.headers, headers }); }

  begin(id, headers = {}) { this.#call('begin', { id, headers }); }

  commit(id, headers = {}) { this.#call('commit', { id, headers }); }

  abort(id, headers = {}) { this.#call('abort', { id, headers }); }

  disconnect(receipt) { this.#call('disconnect', { receipt }); }

  drop() { this.#call('drop', {}); }
}

/** The library at one version of STOMP. */
export function stompPy(version) {
  return {
    name: 'stomp.py 9',
    transport: 'TCP',
    version,
    lacks: {},
    start: async (server) => {
      const bridge = new Bridge();
      return { open: (options) => bridge.open(server, options), stop: () => bridge.stop() };
    },
  };
}
