// packages/tramline-js in a browser whose connection is cut.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { launch, openWindow } from '../lib/browser.mjs';
import { startConformance } from '../lib/conformance.mjs';
import { eventually } from '../lib/wait.mjs';

const read = (path) => readFileSync(fileURLToPath(new URL(path, import.meta.url)));
const MODULE = read('../../packages/tramline-js/tramline.js');
const GUIDE = read('../../crates/tramline/src/guide/missing-nothing.md').toString();
const STOMPJS = read('../node_modules/@stomp/stompjs/bundles/stomp.umd.min.js');

const listen = (server) => new Promise((resolve) => {
  server.listen(0, '127.0.0.1', () => resolve(server.address().port));
});

/** A way to the server that can be cut. */
class Tunnel {
  #open = new Set();
  #passes = true;

  async start(port) {
    this.server = createServer((browser) => {
      if (!this.#passes) {
        browser.destroy();
        return;
      }
      const server = connect(port, '127.0.0.1');
      for (const [from, to] of [[browser, server], [server, browser]]) {
        this.#open.add(from);
        from.on('error', () => {}).on('close', () => {
          this.#open.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
    this.port = await listen(this.server);
    return this;
  }

  cut() {
    this.#passes = false;
    this.#open.forEach((socket) => socket.destroy());
  }

  mend() {
    this.#passes = true;
  }

  stop() {
    this.cut();
    this.server.close();
  }
}

/** Publishes over TCP, and waits until the server has it. */
function publish(address, destination, bodies) {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host);
    const sends = bodies.map((body) => `SEND\ndestination:${destination}\n\n${body}\0`);
    socket.write(['CONNECT\naccept-version:1.2\nhost:x\nlogin:guest\npasscode:guest\n\n\0', ...sends,
      'DISCONNECT\nreceipt:done\n\n\0'].join(''));
    let seen = '';
    socket.on('data', (data) => { seen += data; });
    socket.on('error', reject);
    socket.on('close', () => (seen.includes('receipt-id:done') ? resolve() : reject(new Error(seen))));
  });
}

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => String(from + at));

describe('resuming in a browser', { timeout: 180_000 }, () => {
  let server;
  let tunnel;
  let pages;
  let browser;

  before(async () => {
    server = await startConformance();
    tunnel = await new Tunnel().start(Number(server.http.split(':')[1]));
    pages = createHttpServer((request, response) => {
      const [type, body] = {
        '/tramline.js': ['text/javascript', MODULE],
        '/stomp.js': ['text/javascript', STOMPJS],
      }[request.url] ?? ['text/html', '<!doctype html><title>Resume</title><script src="/stomp.js"></script>'];
      response.writeHead(200, { 'content-type': type }).end(body);
    });
    pages.port = await listen(pages);
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    pages?.close();
    tunnel?.stop();
    await server?.stop();
  });

  /** A page that shows all that it receives, of one room and of a pattern. */
  async function openPage(room) {
    const { page, context } = await openWindow(browser);
    await page.goto(`http://127.0.0.1:${pages.port}/`);
    await page.evaluate(async ([name, port]) => {
      const { Tramline } = await import('/tramline.js');
      const seen = { room: [], pattern: [], gaps: [], states: [] };
      /* global StompJs */
      const client = new StompJs.Client({
        brokerURL: `ws://127.0.0.1:${port}/stomp`, connectHeaders: { login: 'guest', passcode: 'guest' },
      });
      const tramline = new Tramline(client, { onState: (state) => seen.states.push(state) });
      const onGap = (gaps) => seen.gaps.push(...gaps);
      tramline.subscribe(`/topic/history/${name}`, ({ body }) => seen.room.push(body), { onGap });
      tramline.subscribe(`/topic/history/${name}*`, ({ body }) => seen.pattern.push(body), { onGap });
      Object.assign(window, { seen, client, tramline });
      client.activate();
    }, [room, tunnel.port]);
    const seen = () => page.evaluate(() => window.seen);
    await eventually(async () => assert.equal((await seen()).states.at(-1), 'connected'));
    return { page, context, seen };
  }

  test('the module is smaller than 3 KiB', () => {
    const size = gzipSync(MODULE).length;
    assert.ok(size < 3 * 1024, `${size} bytes`);
  });

  test('a page that is cut again and again receives everything once and in order', async () => {
    const { page, context, seen } = await openPage('cut');
    let last = 0;
    const send = async (count) => {
      await publish(server.tcp, '/topic/history/cut', numbers(last + 1, last + count));
      last += count;
    };
    const all = () => eventually(async () => {
      const { room, pattern, gaps } = await seen();
      assert.deepEqual({ room, pattern, gaps }, { room: numbers(1, last), pattern: numbers(1, last), gaps: [] });
    });
    // The first time nothing had come before, and the positions are those of the RECEIPTs.
    for (let round = 0; round < 4; round += 1) {
      tunnel.cut();
      await eventually(async () => assert.equal((await seen()).states.at(-1), 'waiting'));
      await send(20);
      tunnel.mend();
      await all();
      await send(5);
      await all();
    }
    await page.evaluate(() => window.client.deactivate());
    await eventually(async () => assert.equal((await seen()).states.at(-1), 'closed'));
    await context.close();
  });

  test('what is no longer kept is told', async () => {
    const { context, seen } = await openPage('much');
    await publish(server.tcp, '/topic/history/much', ['first']);
    await eventually(async () => assert.deepEqual((await seen()).room, ['first']));
    tunnel.cut();
    await publish(server.tcp, '/topic/history/much', numbers(1, 1_010));
    tunnel.mend();
    await eventually(async () => {
      const { room, gaps } = await seen();
      assert.deepEqual(room, ['first', ...numbers(11, 1_010)]);
      assert.equal(gaps.length, 2);
      for (const { destination, after: from, upTo } of gaps) {
        assert.equal(destination, '/topic/history/much');
        assert.deepEqual([from.split('-')[1], upTo.split('-')[1]], ['1', '11']);
      }
    });
    await context.close();
  });

  test("the guide's lines do so with headers alone", async () => {
    const [, lines] = /```js\n([^]*?)```/.exec(GUIDE);
    const { page, context } = await openWindow(browser);
    await page.goto(`http://127.0.0.1:${pages.port}/`);
    await page.evaluate(([code, port]) => {
      const seen = { bodies: [], gaps: 0 };
      const client = new StompJs.Client({
        brokerURL: `ws://127.0.0.1:${port}/stomp`, connectHeaders: { login: 'guest', passcode: 'guest' }, reconnectDelay: 100,
      });
      const show = (body) => seen.bodies.push(body);
      const reload = () => { seen.gaps += 1; };
      new Function('client', 'show', 'reload', code)(client, show, reload);
      Object.assign(window, { seen, client });
      client.activate();
    }, [lines.replaceAll('/topic/rooms/7', '/topic/history/plain'), tunnel.port]);
    const connected = (is) => eventually(async () => assert.equal(await page.evaluate(() => window.client.connected), is));
    await connected(true);
    let last = 0;
    for (let round = 0; round < 3; round += 1) {
      await publish(server.tcp, '/topic/history/plain', numbers(last + 1, last + 10));
      last += 10;
      await eventually(async () => {
        assert.deepEqual(await page.evaluate(() => window.seen), { bodies: numbers(1, last), gaps: 0 });
      });
      tunnel.cut();
      await connected(false);
      await publish(server.tcp, '/topic/history/plain', numbers(last + 1, last + 3));
      last += 3;
      tunnel.mend();
    }
    await context.close();
  });

  test('it connects at once when the browser is online again', async () => {
    const { page, context, seen } = await openPage('online');
    // It would wait for an hour.
    await page.evaluate(() => {
      Math.random = () => 0.999;
      const parse = RegExp.prototype.exec;
      RegExp.prototype.exec = function exec(text) {
        return this.source.startsWith('retry-after') ? parse.call(this, 'retry-after-ms=3600000..3600000') : parse.call(this, text);
      };
    });
    tunnel.cut();
    await eventually(async () => assert.equal((await seen()).states.at(-1), 'waiting'));
    tunnel.mend();
    await publish(server.tcp, '/topic/history/online', ['missed']);
    assert.deepEqual((await seen()).room, []);
    await page.evaluate(() => window.dispatchEvent(new Event('online')));
    await eventually(async () => assert.deepEqual((await seen()).room, ['missed']));
    await context.close();
  });
});
