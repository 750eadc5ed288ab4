// Starts the gallery binary named by TRAMLINE_GALLERY_BIN and ends it again. A test without a server fails here.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const START_DEADLINE = 15_000;
const running = new Set();

process.on('exit', () => {
  for (const child of running) {
    child.kill('SIGKILL');
  }
});

export function binary(variable = 'TRAMLINE_GALLERY_BIN') {
  const path = process.env[variable];
  assert.ok(path, `${variable} must name the gallery's binary; cargo xtask test sets it`);
  return path;
}

/** Runs the binary to its end, for starts that must fail. */
export async function runToEnd(args, env = {}) {
  const child = spawn(binary(), args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const timer = setTimeout(() => child.kill('SIGKILL'), START_DEADLINE);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => { output += text; });
  }
  const [code, signal] = await once(child, 'close');
  clearTimeout(timer);
  running.delete(child);
  return { code, signal, output };
}

export async function startGallery({ path = binary(), listen = '127.0.0.1:0' } = {}) {
  const child = spawn(path, ['--listen', listen], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  // Whoever waits for the end hears of a failure; until then it is not an unhandled one.
  ended.catch(() => {});

  const lines = createInterface({ input: child.stdout });
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no address printed in ${START_DEADLINE} ms\n${log}`)), START_DEADLINE);
    lines.on('line', (line) => {
      const printed = /^Tramline gallery: (http:\/\/\S+)$/.exec(line);
      if (printed) {
        clearTimeout(timer);
        resolve(printed[1]);
      }
    });
    ended.then(
      ({ code, signal }) => reject(new Error(`the gallery ended at its start (${code ?? signal})\n${log}`)),
      reject,
    );
  });

  const end = async (signal) => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
    }
    return ended;
  };
  return {
    url,
    address: new URL(url).host,
    log: () => log,
    /** As an operator ends it; resolves to `{ code, signal }`. */
    stop: () => end('SIGTERM'),
    /** As Ctrl-C ends it. */
    interrupt: () => end('SIGINT'),
    /** As a crash ends it. */
    kill: () => end('SIGKILL'),
  };
}
