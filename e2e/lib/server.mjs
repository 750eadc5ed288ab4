// Starts a binary that prints where it listens, and ends it again.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export const START_DEADLINE = 15_000;
const running = new Set();

process.on('exit', () => {
  for (const child of running) {
    child.kill('SIGKILL');
  }
});

/** The path that an environment variable names. */
export function named(variable, what) {
  const path = process.env[variable];
  assert.ok(path, `${variable} must name ${what}; cargo xtask test sets it`);
  return path;
}

/** A child process that does not outlive this one. */
export function child(path, args, options) {
  const started = spawn(path, args, options);
  running.add(started);
  started.once('close', () => running.delete(started));
  return started;
}

/** Runs a server; `printed` are patterns of lines on its standard output, whose first groups come back in that order. */
export async function startServer(path, args, printed, env = {}, cwd = process.cwd()) {
  const server = child(path, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  server.stderr.setEncoding('utf8').on('data', (text) => { log += text; });
  const ended = new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('close', (code, signal) => resolve({ code, signal }));
  });
  // Whoever waits for the end hears of a failure; until then it is not an unhandled one.
  ended.catch(() => {});

  const lines = createInterface({ input: server.stdout });
  const found = await new Promise((resolve, reject) => {
    const addresses = new Array(printed.length);
    const timer = setTimeout(() => reject(new Error(`no address printed in ${START_DEADLINE} ms\n${log}`)), START_DEADLINE);
    lines.on('line', (line) => {
      printed.forEach((pattern, index) => { addresses[index] ??= pattern.exec(line)?.[1]; });
      if (!addresses.includes(undefined)) {
        clearTimeout(timer);
        resolve(addresses);
      }
    });
    ended.then(
      ({ code, signal }) => reject(new Error(`${path} ended at its start (${code ?? signal})\n${log}`)),
      reject,
    );
  });

  const end = async (signal) => {
    if (server.exitCode === null && server.signalCode === null) {
      server.kill(signal);
    }
    return ended;
  };
  return {
    printed: found,
    log: () => log,
    /** As an operator ends it; resolves to `{ code, signal }`. */
    stop: () => end('SIGTERM'),
    /** As Ctrl-C ends it. */
    interrupt: () => end('SIGINT'),
    /** As one that hangs: it takes what comes and answers nothing. */
    hang: () => server.kill('SIGSTOP'),
    /** As a crash ends it. */
    kill: () => end('SIGKILL'),
  };
}
