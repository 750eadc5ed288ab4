// What an operator sets without a new build: a file and environment variables, and what is said when they are wrong.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runToEnd, startGallery } from '../lib/gallery.mjs';

const folder = mkdtempSync(join(tmpdir(), 'tramline-settings-'));
after(() => rmSync(folder, { recursive: true }));

/** A file of settings of this text; its path. */
function file(name, ...lines) {
  const path = join(folder, name);
  writeFileSync(path, lines.join('\n'));
  return path;
}

/** One STOMP session over SockJS's polling, by fetch alone. */
class Polling {
  constructor(url) {
    this.url = `${url}/ws/000/${Math.random().toString(36).slice(2)}`;
  }

  async poll() {
    const answer = await fetch(`${this.url}/xhr`, { method: 'POST' });
    assert.equal(answer.status, 200);
    return answer.text();
  }

  async send(frame) {
    const answer = await fetch(`${this.url}/xhr_send`, { method: 'POST', body: JSON.stringify([`${frame}\0`]) });
    assert.equal(answer.status, 204);
  }

  /** Opens it; the CONNECTED frame. */
  async connect() {
    assert.equal(await this.poll(), 'o\n');
    await this.send('CONNECT\naccept-version:1.2\nhost:x\nheart-beat:10000,10000\n\n');
    return this.poll();
  }
}

test('a file and variables reach the sessions, and variables win', async () => {
  const config = file('gallery.toml', '[limits]', 'body = 10', 'heart_beat.send = "30 s"', '[sockjs]', 'websocket = false');
  const gallery = await startGallery({ env: { TRAMLINE_CONFIG: config, TRAMLINE_LIMITS_BODY: '20 B' } });
  try {
    const info = await fetch(`${gallery.url}/ws/info`).then((answer) => answer.json());
    assert.equal(info.websocket, false);

    const session = new Polling(gallery.url);
    assert.match(await session.connect(), /heart-beat:30000,10000/);
    await session.send(`SEND\ndestination:/app/hello\nreceipt:1\n\n${'x'.repeat(20)}`);
    assert.match(await session.poll(), /RECEIPT/);
    await session.send(`SEND\ndestination:/app/hello\n\n${'x'.repeat(21)}`);
    assert.match(await session.poll(), /ERROR.*20/);
  } finally {
    await gallery.stop();
  }
});

test('what is wrong with them is said at the start, all of it, and nothing starts', async () => {
  const config = file('wrong.toml', 'limits.body = "much"', 'limits.outbx = 1');
  const { code, output } = await runToEnd(['--listen', '127.0.0.1:0'], {
    TRAMLINE_CONFIG: config,
    TRAMLINE_LIMITS_SEND_TIME: '10',
    TRAMLINE_ALOWED_ORIGINS: '*',
  });
  assert.equal(code, 1);
  for (const mistake of [
    `${config}:1: limits.body = "much": must be a number of bytes`,
    `${config}:2: limits.outbx: there is no such key; did you mean limits.outbox?`,
    'TRAMLINE_LIMITS_SEND_TIME = "10": must be a time, a whole number with its unit, such as',
    'TRAMLINE_ALOWED_ORIGINS: there is no such setting; did you mean TRAMLINE_ALLOWED_ORIGINS?',
  ]) {
    assert.ok(output.includes(mistake), `${mistake}\nin ${output}`);
  }
  assert.ok(!output.includes('Tramline gallery:'), output);

  const absent = join(folder, 'absent.toml');
  const missing = await runToEnd(['--listen', '127.0.0.1:0'], { TRAMLINE_CONFIG: absent });
  assert.equal(missing.code, 1);
  assert.ok(missing.output.includes(`${absent}: cannot be read`), missing.output);

  // An empty variable is how many tools say that there is none.
  const unset = await startGallery({ env: { TRAMLINE_CONFIG: '' } });
  await unset.stop();
});
