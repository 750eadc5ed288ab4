// What a message takes on the wire, as far as a page can know.

const encoder = new TextEncoder();

export const size = (text) => encoder.encode(text).length;

/** A WebSocket frame, RFC 6455 section 5.2; only what the browser sends is masked. */
export function frame(payload, masked) {
  const length = payload < 126 ? 0 : payload < 65_536 ? 2 : 8;
  return 2 + length + (masked ? 4 : 0) + payload;
}

/** A chunk of an answer that goes on, RFC 9112 section 7.1: its size in hexadecimal digits and two ends of line. */
export function chunk(payload) {
  return payload.toString(16).length + 4 + payload;
}

/** The head of a request but its address: the server counts it, since no browser tells. */
export class RequestHead {
  #rest = null;

  counted(bytes, path) {
    this.#rest = bytes - size(path);
  }

  /** `null` while it is not known. */
  of(path) {
    return this.#rest === null ? null : this.#rest + size(path);
  }
}

/** An answer that is over, head and body; `null` from browsers that do not tell. */
export function answer(entry) {
  return entry.transferSize > 0 ? entry.transferSize : null;
}

/** The sum, or `null` where a part is not known. */
export function sum(...parts) {
  return parts.reduce((total, part) => (total === null || part === null ? null : total + part), 0);
}
