// One window measures at a time. Streams and polls take three of the six connections that a browser has for a server over
// HTTP/1.1: two windows would stop each other, and every other page of that server.

/**
 * Waits until no other window has the turn, calls `begin`, and keeps the turn until `signal` aborts. `steal` takes it from
 * whoever has it, whose promise is then rejected.
 */
export async function turn(begin, { steal, signal }) {
  if (!navigator.locks) {
    // Browsers have locks for HTTPS and localhost alone.
    begin();
    return;
  }
  await navigator.locks.request('transports', steal ? { steal } : { signal }, () => {
    if (signal.aborted) {
      return null;
    }
    begin();
    return new Promise((resolve) => { signal.addEventListener('abort', resolve, { once: true }); });
  });
}
