// Other front ends in a browser: older packages, and STOMP by hand.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openWindow } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';

const file = (path) => readFileSync(fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url)), 'utf8');

describe('foreign front ends in a browser', { timeout: 180_000 }, () => {
  let gallery;
  let browser;

  before(async () => {
    gallery = await startGallery();
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await gallery?.stop();
  });

  /**
   * The gallery's first page, which has no libraries of its own, with the given ones added. (A page made up by the
   * test would not do: Chromium keeps one that no server sent from opening sockets to this machine.)
   */
  async function pageWith(...libraries) {
    const { page, context, complaints } = await openWindow(browser, { bypassCSP: true });
    await page.goto(gallery.url);
    for (const content of libraries) {
      await page.addScriptTag({ content });
    }
    return { page, context, complaints };
  }

  for (const transport of ['websocket', 'xhr-streaming', 'xhr-polling']) {
    test(`sockjs-client 1.5.0 by ${transport} with stompjs 2.3.3`, async () => {
      const { page, context, complaints } = await pageWith(
        file('sockjs-client-150/dist/sockjs.min.js'),
        file('stompjs/lib/stomp.min.js'),
      );
      /* global SockJS, Stomp */
      const seen = await page.evaluate((transports) => new Promise((resolve, reject) => {
        const socket = new SockJS('/ws', null, { transports });
        const stomp = Stomp.over(socket);
        stomp.debug = null;
        stomp.connect({}, (connected) => {
          stomp.subscribe('/topic/greetings', (message) => {
            resolve({
              sockjs: SockJS.version, transport: socket.transport, stomp: connected.headers.version, body: message.body,
            });
            stomp.disconnect();
          });
          stomp.send('/app/hello', {}, 'Ada');
        }, (error) => reject(new Error(String(error))));
      }), [transport]);
      assert.deepEqual(seen, { sockjs: '1.5.0', transport, stomp: '1.1', body: 'Hello, Ada!' });
      assert.deepEqual(complaints, []);
      await context.close();
    });
  }

  for (const [protocol, version] of [['v12.stomp', '1.2'], ['v11.stomp', '1.1'], ['v10.stomp', '1.0']]) {
    test(`a plain WebSocket at /ws that offers ${protocol}`, async () => {
      const { page, context } = await pageWith();
      const seen = await page.evaluate(([offer, accept]) => new Promise((resolve, reject) => {
        const socket = new WebSocket(`ws://${location.host}/ws`, [offer]);
        const frames = [];
        const say = (frame) => socket.send(`${frame}\0`);
        socket.onopen = () => say(`CONNECT\naccept-version:${accept}\nhost:${location.host}\nheart-beat:0,0\n\n`);
        socket.onmessage = ({ data }) => {
          const [command] = data.replace(/^\n+/, '').split('\n', 1);
          frames.push({ command, data });
          if (command === 'CONNECTED') {
            say('SUBSCRIBE\nid:s1\ndestination:/topic/greetings\nreceipt:ready\n\n');
          } else if (command === 'RECEIPT' && data.includes('receipt-id:ready')) {
            say('SEND\ndestination:/app/hello\ncontent-type:text/plain\n\nAda');
          } else if (command === 'MESSAGE') {
            say('DISCONNECT\nreceipt:bye\n\n');
          }
        };
        socket.onclose = ({ code, wasClean }) => resolve({ protocol: socket.protocol, frames, code, wasClean });
        socket.onerror = () => reject(new Error('the socket failed'));
      }), [protocol, version]);

      assert.equal(seen.protocol, protocol);
      assert.deepEqual(seen.frames.map(({ command }) => command), ['CONNECTED', 'RECEIPT', 'MESSAGE', 'RECEIPT']);
      const [connected, , message, bye] = seen.frames.map(({ data }) => data);
      assert.match(connected, new RegExp(`\nversion:${version}\n`));
      assert.match(connected, /\nheart-beat:/);
      assert.match(message, /\nsubscription:s1\n/);
      assert.match(message, /\ndestination:\/topic\/greetings\n/);
      assert.match(message, /\nmessage-id:.+\n/);
      assert.match(message, /\n\nHello, Ada!\0$/);
      assert.match(bye, /receipt-id:bye/);
      assert.equal(seen.code, 1000);
      assert.ok(seen.wasClean);
      await context.close();
    });
  }
});
