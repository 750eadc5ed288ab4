// Foreign clients outside a browser, and how the server ends.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { startGallery } from '../lib/gallery.mjs';
import { eventually, inbox } from '../lib/wait.mjs';

const require = createRequire(import.meta.url);

/** An @stomp/stompjs client over `ws`, connected, that does not come back by itself. */
async function stompClient(url, options = {}) {
  const connected = inbox('CONNECTED');
  const closed = inbox('the close of the WebSocket');
  const errors = inbox('ERROR');
  const client = new Client({
    webSocketFactory: () => new WebSocket(url, ['v12.stomp', 'v11.stomp', 'v10.stomp']),
    reconnectDelay: 0,
    onConnect: connected.put,
    onWebSocketClose: closed.put,
    onStompError: errors.put,
    ...options,
  });
  client.activate();
  const frame = await connected.next();
  return { client, frame, closed, errors };
}

describe('foreign clients in node', { timeout: 180_000 }, () => {
  let gallery;
  let address;

  before(async () => {
    gallery = await startGallery();
    address = `ws://${gallery.address}`;
  });

  after(() => gallery?.stop());

  test('@stomp/stompjs 7 over ws: receipts, JSON both ways, an orderly end', async () => {
    const { client, frame, closed } = await stompClient(`${address}/gs-guide-websocket`);
    assert.equal(frame.headers.version, '1.2');
    const greetings = inbox('a greeting');
    const receipts = inbox('a receipt');
    client.watchForReceipt('ready', receipts.put);
    client.subscribe('/topic/greetings', (message) => greetings.put(JSON.parse(message.body)), { receipt: 'ready' });
    await receipts.next();

    client.watchForReceipt('done', receipts.put);
    client.publish({ destination: '/app/hello', body: JSON.stringify({ name: 'Ada' }), headers: { receipt: 'done' } });
    await receipts.next();
    assert.deepEqual(await greetings.next(), { content: 'Hello, Ada!' });

    await client.deactivate();
    assert.equal((await closed.next()).code, 1000);
  });

  test('a client that ends a subscription hears no more of it', async () => {
    const { client } = await stompClient(`${address}/gs-guide-websocket`);
    const [first, second, receipts] = [inbox('a greeting'), inbox('a greeting'), inbox('a receipt')];
    const subscription = client.subscribe('/topic/greetings', first.put);
    client.subscribe('/topic/greetings', second.put);
    client.watchForReceipt('ended', receipts.put);
    subscription.unsubscribe({ receipt: 'ended' });
    await receipts.next();
    client.publish({ destination: '/app/hello', body: '{"name":"Ada"}' });
    await second.next();
    assert.equal(first.size, 0);
    await client.deactivate();
  });

  for (const name of ['sockjs-client', 'sockjs-client-150']) {
    for (const transport of ['websocket', 'xhr-streaming', 'xhr-polling']) {
      test(`${name} by ${transport} with stompjs 2.3.3`, async () => {
        const SockJS = require(name);
        const { Stomp } = require('stompjs/lib/stomp.js');
        // What stompjs sets up for itself only in a browser.
        Object.assign(Stomp, { setInterval: (time, f) => setInterval(f, time), clearInterval });
        const socket = new SockJS(`${gallery.url}/ws`, null, { transports: [transport] });
        const stomp = Stomp.over(socket);
        stomp.debug = null;
        const greetings = inbox('a greeting');
        await new Promise((resolve, reject) => { stomp.connect({}, resolve, reject); });
        assert.equal(socket.transport, transport);
        stomp.subscribe('/topic/greetings', (message) => greetings.put(message.body));
        stomp.send('/app/hello', {}, 'Zoë 🚋');
        assert.equal(await greetings.next(), 'Hello, Zoë 🚋!');
        await new Promise((resolve) => { stomp.disconnect(resolve); });
      });
    }
  }

  test('a foreign origin is refused, no origin and the own one are not', async () => {
    const upgrade = async (origin) => {
      const socket = new WebSocket(`${address}/ws`, ['v12.stomp'], { origin });
      const opened = once(socket, 'open').then(() => 101);
      const refused = once(socket, 'unexpected-response').then(([, answer]) => answer.statusCode);
      // A refusal also is an 'error' event, which must be listened to.
      socket.on('error', () => {});
      opened.catch(() => {});
      refused.catch(() => {});
      const status = await Promise.race([opened, refused]);
      socket.terminate();
      return status;
    };
    assert.equal(await upgrade('https://elsewhere.example'), 403);
    assert.equal(await upgrade(gallery.url), 101);
    assert.equal(await upgrade(undefined), 101);
  });

  test('a client that speaks no STOMP is told so, and the others go on', async () => {
    const socket = new WebSocket(`${address}/ws`, ['v12.stomp']);
    const frames = inbox('a frame');
    const closed = inbox('a close');
    socket.on('message', (data) => frames.put(data.toString()));
    socket.on('close', closed.put);
    await once(socket, 'open');
    socket.send('GET / HTTP/1.1\n\n\0');
    assert.match(await frames.next(), /^ERROR\n/);
    assert.equal(await closed.next(), 1002);

    const { client } = await stompClient(`${address}/gs-guide-websocket`);
    await client.deactivate();
  });
});

describe('the end of the server', { timeout: 120_000 }, () => {
  test('SIGTERM: clients hear 1001, the exit code is 0', async () => {
    const gallery = await startGallery();
    const address = `ws://${gallery.address}`;
    const json = await stompClient(`${address}/gs-guide-websocket`);
    const plain = await stompClient(`${address}/ws`);
    const silent = new WebSocket(`${address}/ws`, ['v12.stomp']);
    const silentClosed = inbox('a close');
    silent.on('close', silentClosed.put);
    await once(silent, 'open');

    const begun = Date.now();
    const end = gallery.stop();
    assert.equal((await json.closed.next()).code, 1001);
    assert.equal((await plain.closed.next()).code, 1001);
    assert.equal(await silentClosed.next(), 1001);
    assert.deepEqual(await end, { code: 0, signal: null }, gallery.log());
    assert.ok(Date.now() - begun < 10_000, 'nothing was running, so there was nothing to wait for');
  });

  test('SIGTERM while a SockJS client streams: it hears of the end, the exit code is 0', async () => {
    const gallery = await startGallery();
    const SockJS = require('sockjs-client');
    const socket = new SockJS(`${gallery.url}/ws`, null, { transports: ['xhr-streaming'] });
    const closed = inbox('a close');
    socket.onclose = closed.put;
    await new Promise((resolve) => { socket.onopen = resolve; });
    const end = gallery.stop();
    await closed.next();
    assert.deepEqual(await end, { code: 0, signal: null }, gallery.log());
  });

  test('Ctrl-C ends an idle gallery', async () => {
    const gallery = await startGallery();
    assert.equal((await fetch(gallery.url)).status, 200);
    const end = await gallery.interrupt();
    assert.deepEqual(end, { code: 0, signal: null }, gallery.log());
    await eventually(() => assert.match(gallery.log(), /stopped/));
  });
});
