// Starts the echo named by TRAMLINE_ECHO_SOCKJS_BIN and ends it again.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const START_DEADLINE = 15_000;
const LIBRARY = fileURLToPath(new URL('../node_modules/sockjs-client/dist/sockjs.js', import.meta.url));
const running = new Set();

process.on('exit', () => {
  for (const child of running) {
    child.kill('SIGKILL');
  }
});

/** An echo that pages of these origins may use besides its own. */
export async function startEcho(...origins) {
  const path = process.env.TRAMLINE_ECHO_SOCKJS_BIN;
  assert.ok(path, 'TRAMLINE_ECHO_SOCKJS_BIN must name the binary; cargo xtask test sets it');
  const child = spawn(path, [LIBRARY, ...origins], { stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  const ended = new Promise((resolve) => {
    child.once('close', () => {
      running.delete(child);
      resolve();
    });
  });
  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no address printed in ${START_DEADLINE} ms`)), START_DEADLINE);
    createInterface({ input: child.stdout }).on('line', (line) => {
      const printed = /^SockJS echo: (http:\/\/\S+)$/.exec(line);
      if (printed) {
        clearTimeout(timer);
        resolve(printed[1]);
      }
    });
    child.once('error', reject);
    ended.then(() => reject(new Error('the echo ended at its start')));
  });
  return {
    url,
    stop: () => {
      child.kill('SIGKILL');
      return ended;
    },
  };
}
