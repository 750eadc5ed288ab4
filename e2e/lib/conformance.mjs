// Starts the conformance server named by TRAMLINE_CONFORMANCE_BIN, on free ports.

import { named, startServer } from './server.mjs';

export async function startConformance() {
  const path = named('TRAMLINE_CONFORMANCE_BIN', "the conformance server's binary");
  const server = await startServer(path, ['--listen', '127.0.0.1:0', '--stomp-tcp', '127.0.0.1:0'], [
    /^HTTP: http:\/\/(\S+)$/,
    /^STOMP over TCP: (\S+)$/,
  ]);
  const [http, tcp] = server.printed;
  return { ...server, http, tcp };
}
