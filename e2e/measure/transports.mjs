// What a message costs by each transport: bytes and requests between Chromium and the gallery, and the time to an answer.
// The figures of the guide's page "which transport, or none" come from here. By hand, from e2e/ (its README has the setup):
//
//     TRAMLINE_GALLERY_BIN=../target/release/gallery node measure/transports.mjs
//
// Between the two stands a relay that counts TCP payload and holds everything back for 25 ms, each way. Heart-beats are off.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { launch, openWindow } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';

const MESSAGES = 50;
const DELAY = 25;
const NAME = 'Ada';
const ANSWER = 'Hello, Ada!';

const require = createRequire(import.meta.url);
const library = (path) => readFileSync(require.resolve(path), 'utf8');

/** A relay to this port, which counts what goes up and down. */
async function startRelay(port) {
  const count = { up: 0, down: 0 };
  const relay = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    for (const [from, to, way] of [[client, server, 'up'], [server, client, 'down']]) {
      to.setNoDelay(true);
      from.on('data', (data) => {
        count[way] += data.length;
        setTimeout(() => to.write(data), DELAY);
      });
      from.on('close', () => setTimeout(() => to.destroy(), DELAY));
      from.on('error', () => to.destroy());
    }
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return { count, url: `http://127.0.0.1:${relay.address().port}`, stop: () => relay.close() };
}

/** The same message without us: asked for again and again, and as server-sent events. */
async function startPlain() {
  const listeners = new Set();
  const server = createHttpServer((request, response) => {
    if (request.url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.flushHeaders();
      listeners.add(response);
    } else if (request.url === '/state') {
      response.setHeader('content-type', 'text/plain;charset=UTF-8');
      response.setHeader('cache-control', 'no-store');
      response.end(ANSWER);
    } else {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>Plain</title>');
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: server.address().port,
    publish: () => listeners.forEach((listener) => listener.write(`data: ${ANSWER}\n\n`)),
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/* global SockJS, Stomp */
/** Runs in the page: subscribes; `hear` then gives a promise of the next message, `send` sends one. */
function subscribe(transport) {
  const socket = transport === null
    ? new WebSocket(`ws://${location.host}/ws`, ['v12.stomp', 'v11.stomp', 'v10.stomp'])
    : new SockJS('/ws', null, { transports: [transport] });
  const stomp = Stomp.over(socket);
  stomp.debug = null;
  Object.assign(stomp.heartbeat, { incoming: 0, outgoing: 0 });
  let heard = () => {};
  window.hear = () => new Promise((resolve) => { heard = resolve; });
  window.send = (name) => stomp.send('/app/hello', {}, name);
  return new Promise((resolve, reject) => {
    stomp.connect({}, () => {
      stomp.onreceipt = resolve;
      stomp.subscribe('/topic/greetings', () => heard(), { receipt: 'ready' });
    }, reject);
  });
}

/** Runs in the page: sends and waits for the answer, so many times; gives the milliseconds of each. */
async function converse({ times, name }) {
  const taken = [];
  for (let index = 0; index < times; index += 1) {
    const begun = performance.now();
    const answered = window.hear();
    window.send(name);
    await answered;
    taken.push(performance.now() - begun);
  }
  return taken;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const each = (number) => (number / MESSAGES).toFixed(number % MESSAGES === 0 ? 0 : 1);

/** What `run` costs for each of so many messages. */
async function measured(count, page, run) {
  const before = { ...count };
  let requests = 0;
  const note = () => { requests += 1; };
  page.on('request', note);
  const result = await run();
  page.off('request', note);
  const bytes = { up: count.up - before.up, down: count.down - before.down };
  return { result, requests: each(requests), bytes: `${Math.round(bytes.up / MESSAGES)} + ${Math.round(bytes.down / MESSAGES)}` };
}

const browser = await launch();
const rows = [];

const gallery = await startGallery();
const relay = await startRelay(new URL(gallery.url).port);
const publisher = new Client({
  webSocketFactory: () => new WebSocket(`ws://${gallery.address}/ws`, ['v12.stomp']),
  heartbeatIncoming: 0,
  heartbeatOutgoing: 0,
});
await new Promise((resolve) => {
  publisher.onConnect = resolve;
  publisher.activate();
});
for (const [label, transport] of [
  ['WebSocket', null],
  ['SockJS, websocket', 'websocket'],
  ['SockJS, xhr-streaming', 'xhr-streaming'],
  ['SockJS, eventsource', 'eventsource'],
  ['SockJS, xhr-polling', 'xhr-polling'],
]) {
  const { page, context } = await openWindow(browser, { bypassCSP: true });
  await page.goto(relay.url);
  for (const path of ['sockjs-client/dist/sockjs.min.js', 'stompjs/lib/stomp.min.js']) {
    await page.addScriptTag({ content: library(path) });
  }
  await page.evaluate(subscribe, transport);
  const heard = await measured(relay.count, page, async () => {
    for (let index = 0; index < MESSAGES; index += 1) {
      const next = page.evaluate(() => window.hear());
      // The page waits before it is sent: both take the same way to the browser, in this order.
      await page.evaluate(() => 0);
      publisher.publish({ destination: '/app/hello', body: NAME });
      await next;
    }
  });
  const answered = await measured(relay.count, page, () => page.evaluate(converse, { times: MESSAGES, name: NAME }));
  rows.push([label, heard.bytes, heard.requests, answered.bytes, answered.requests, Math.round(median(answered.result))]);
  await context.close();
}
await publisher.deactivate();
relay.stop();
await gallery.stop();

const plain = await startPlain();
const direct = await startRelay(plain.port);
{
  const { page, context } = await openWindow(browser);
  await page.goto(direct.url);
  await page.evaluate(() => new Promise((resolve) => {
    const source = new EventSource('/events');
    let heard = () => {};
    window.hear = () => new Promise((next) => { heard = next; });
    source.onmessage = () => heard();
    source.onopen = resolve;
  }));
  const events = await measured(direct.count, page, async () => {
    for (let index = 0; index < MESSAGES; index += 1) {
      const next = page.evaluate(() => window.hear());
      await page.evaluate(() => 0);
      plain.publish();
      await next;
    }
  });
  rows.push(['server-sent events', events.bytes, events.requests, '–', '–', '–']);
  const asked = await measured(direct.count, page, () => page.evaluate(async (times) => {
    const taken = [];
    for (let index = 0; index < times; index += 1) {
      const begun = performance.now();
      await (await fetch('/state')).text();
      taken.push(performance.now() - begun);
    }
    return taken;
  }, MESSAGES));
  rows.push(['a GET', '–', '–', asked.bytes, asked.requests, Math.round(median(asked.result))]);
  await context.close();
}
direct.stop();
plain.stop();
const version = browser.version();
await browser.close();

console.log(`Chromium ${version}, ${MESSAGES} messages of ${ANSWER.length} bytes, ${DELAY} ms each way\n`);
console.log('| | heard: bytes up + down | requests | sent and answered: bytes up + down | requests | ms to the answer |');
console.log('|---|---|---|---|---|---|');
rows.forEach((row) => console.log(`| ${row.join(' | ')} |`));
