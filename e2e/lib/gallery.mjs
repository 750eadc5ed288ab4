// Starts the gallery binary named by TRAMLINE_GALLERY_BIN and ends it again. A test without a server fails here.

import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PEOPLE } from './people.mjs';
import { START_DEADLINE, child, named, startServer } from './server.mjs';

const sessionFiles = new Set();

process.on('exit', () => {
  for (const file of sessionFiles) {
    for (const suffix of ['', '-wal', '-shm']) {
      rmSync(file + suffix, { force: true });
    }
  }
});

export function binary(variable = 'TRAMLINE_GALLERY_BIN') {
  return named(variable, "the gallery's binary");
}

/** Runs the binary to its end, for starts that must fail. */
export async function runToEnd(args, env = {}) {
  const gallery = child(binary(), args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => gallery.kill('SIGKILL'), START_DEADLINE);
  let output = '';
  for (const stream of [gallery.stdout, gallery.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { output += text; });
  }
  const [code, signal] = await once(gallery, 'close');
  clearTimeout(timer);
  return { code, signal, output };
}

/** `sessions` is the file of the web sessions: that of another gallery, to go on where it ended. */
export async function startGallery({ path = binary(), listen = '127.0.0.1:0', sessions, env = {} } = {}) {
  const file = sessions ?? join(tmpdir(), `tramline-sessions-${randomUUID()}.sqlite`);
  const people = { TRAMLINE_USERS: PEOPLE, TRAMLINE_SESSIONS: file };
  const args = ['--listen', listen];
  const server = await startServer(path, args, [/^Tramline gallery: (http:\/\/\S+)$/], { ...people, ...env });
  sessionFiles.add(file);
  const [url] = server.printed;
  return { ...server, url, address: new URL(url).host, sessions: file };
}
