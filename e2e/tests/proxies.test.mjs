// nginx and HAProxy in front, as the guide's page "behind a proxy" configures them.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { constants, createGunzip } from 'node:zlib';
import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { Demo, launch, openWindow } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { startNode, startProxy } from '../lib/proxies.mjs';
import { eventually, inbox } from '../lib/wait.mjs';

const require = createRequire(import.meta.url);
const library = (path) => readFileSync(require.resolve(path), 'utf8');
const PROTOCOLS = ['v12.stomp', 'v11.stomp', 'v10.stomp'];

/** The lines without which each of them passes no WebSocket. */
const NO_UPGRADE = {
  nginx: [['proxy_set_header Upgrade $http_upgrade;', ''], ['Connection $app_connection', 'Connection ""']],
  // It passes what it is not told about, so what others lose is taken off; over HTTP/2 there is no such header.
  haproxy: [
    ['http-request del-header X-Forwarded-Host', 'http-request del-header Upgrade'],
    ['alpn h2,http/1.1', 'alpn http/1.1'],
  ],
};

/** What keeps the requests of a SockJS session together: as configured, and otherwise. */
const STICKY = {
  nginx: { 'by its URL': [] },
  haproxy: {
    "by the proxy's cookie": [],
    "by the node's JSESSIONID": [
      ['cookie NODE insert indirect nocache httponly secure', 'cookie JSESSIONID prefix nocache'],
    ],
  },
};

/** A proxy that asks the nodes for another host than it was asked for, and says so. */
const OTHER_HOST = {
  nginx: [
    ['proxy_set_header Host $http_host', 'proxy_set_header Host app.internal'],
    ['proxy_set_header X-Forwarded-Host ""', 'proxy_set_header X-Forwarded-Host $http_host'],
  ],
  haproxy: [[
    'http-request del-header X-Forwarded-Host',
    'http-request set-header X-Forwarded-Host %[req.hdr(Host)]\n    http-request set-header Host app.internal',
  ]],
};

/** A host of its own, so that its requests come from another address than the proxy's. */
const ELSEWHERE = '127.0.0.2';

/** An @stomp/stompjs client through the proxy, by WebSocket, that hears greetings. */
async function greeted(proxy, { socket = {}, ...options } = {}) {
  const closed = inbox('the close of the WebSocket');
  const receipts = inbox('a receipt');
  const greetings = inbox('a greeting');
  const client = new Client({
    webSocketFactory: () => new WebSocket(`wss://${proxy.host}/ws`, PROTOCOLS, { rejectUnauthorized: false, ...socket }),
    reconnectDelay: 0,
    onWebSocketClose: closed.put,
    onConnect: (frame) => {
      client.subscribe('/topic/greetings', ({ body }) => greetings.put(body), { receipt: 'ready' });
      client.watchForReceipt('ready', () => receipts.put(frame));
    },
    ...options,
  });
  client.activate();
  await receipts.next();
  return {
    closed,
    subscribedAgain: receipts.next,
    /** The greeting of this name, among those that others asked for. */
    async greet(name) {
      client.publish({ destination: '/app/hello', body: name });
      for (;;) {
        const body = await greetings.next();
        if (body.startsWith(`Hello, ${name} at `)) {
          return body;
        }
      }
    },
    end: () => client.deactivate(),
  };
}

/** A request through the proxy; gives the response when its head is there. */
async function request(proxy, method, path, { body = '', headers = {} } = {}) {
  const sent = https.request(`${proxy.url}${path}`, {
    method, agent: false, rejectUnauthorized: false, headers: { 'content-length': Buffer.byteLength(body), ...headers },
  });
  sent.end(body);
  const [response] = await once(sent, 'response');
  return response;
}

/** Which node made a greeting. */
const nodeOf = (greeting) => /, from node (\w+)!$/.exec(greeting)[1];

/** The status that a WebSocket's handshake gets. */
async function handshake(proxy, options) {
  const socket = new WebSocket(`wss://${proxy.host}/ws`, PROTOCOLS, { rejectUnauthorized: false, ...options });
  const status = await new Promise((resolve, reject) => {
    socket.on('open', () => resolve(101));
    socket.on('unexpected-response', (_, answer) => resolve(answer.statusCode));
    socket.on('error', reject);
  });
  socket.terminate();
  return status;
}

/** A SockJS session by streaming: `next` gives the next frame of the server, `send` sends one of STOMP. */
async function stream(proxy, session, headers = {}) {
  const place = `/ws/000/${session}`;
  const response = await request(proxy, 'POST', `${place}/xhr_streaming`, { headers });
  assert.equal(response.statusCode, 200);
  const plain = response.headers['content-encoding'] === 'gzip'
    ? response.pipe(createGunzip({ flush: constants.Z_SYNC_FLUSH }))
    : response;
  const frames = inbox('a frame of the stream');
  const lines = createInterface({ input: plain });
  lines.on('line', frames.put);
  return {
    encoding: response.headers['content-encoding'],
    next: frames.next,
    async send(frame) {
      const answer = await request(proxy, 'POST', `${place}/xhr_send`, { body: JSON.stringify([`${frame}\0`]) });
      answer.resume();
      assert.equal(answer.statusCode, 204);
    },
    end: () => {
      lines.close();
      response.destroy();
    },
  };
}

/* global SockJS, Stomp */
/** Runs in a page: a greeting by SockJS; gives the transport that was used and what came back. */
function greetInPage({ transports, name }) {
  return new Promise((resolve, reject) => {
    const socket = new SockJS('/ws', null, transports ? { transports } : {});
    const stomp = Stomp.over(socket);
    stomp.debug = null;
    stomp.connect({}, () => {
      stomp.subscribe('/topic/greetings', ({ body }) => {
        if (body.includes(name)) {
          resolve({ transport: socket.transport, body });
        }
      });
      stomp.send('/app/hello', {}, name);
    }, (error) => reject(new Error(String(error))));
  });
}

for (const name of ['nginx', 'haproxy']) {
  describe(`behind ${name}`, { timeout: 300_000 }, () => {
    let browser;
    let gallery;
    let node;
    let proxy;

    before(async () => {
      [browser, gallery, node] = await Promise.all([launch(), startGallery(), startNode()]);
      proxy = await startProxy(name, [node.address]);
    });

    after(async () => {
      await browser?.close();
      await proxy?.stop();
      await Promise.all([gallery?.stop(), node?.stop()]);
    });

    /** Another proxy for one test. */
    async function withProxy(nodes, changes, run) {
      const other = await startProxy(name, nodes, changes);
      try {
        await run(other);
      } finally {
        await other.stop();
      }
    }

    /** A page of the application with SockJS and STOMP, in a browser of its own. */
    async function pageOf(at) {
      const { page, context } = await openWindow(browser, { ignoreHTTPSErrors: true });
      await page.goto(at.url);
      for (const path of ['sockjs-client/dist/sockjs.min.js', 'stompjs/lib/stomp.min.js']) {
        await page.addScriptTag({ content: library(path) });
      }
      return { page, context };
    }

    async function demo(at, by) {
      const shown = await Demo.open(browser, `${at.url}/greeting/`, { ignoreHTTPSErrors: true });
      await shown.connect(by);
      for (const visitor of ['Ada', 'Zoë 🚋']) {
        await shown.greet(visitor);
      }
      await shown.showsAnswers('Hello, Ada!', 'Hello, Zoë 🚋!');
      const { complaints } = shown;
      await shown.close();
      return complaints;
    }

    test('TLS ends there and WebSocket passes: the greeting works in a browser', async () => {
      await withProxy([gallery.address], [], async (at) => {
        assert.deepEqual(await demo(at, 'websocket'), []);
      });
    });

    test('where the upgrade is lost, SockJS goes on by streaming, by itself', async () => {
      await withProxy([gallery.address], NO_UPGRADE[name], async (at) => {
        await demo(at, 'xhr-streaming');
      });
    });

    if (name === 'nginx') {
      test('where streams are kept back too, SockJS goes on by polling, by itself', async () => {
        const keep = 'client_max_body_size 1m;';
        const changes = [...NO_UPGRADE.nginx, [keep, `${keep} proxy_ignore_headers X-Accel-Buffering;`]];
        await withProxy([gallery.address], changes, async (at) => {
          await demo(at, 'xhr-polling');
        });
      });
    }

    test('@stomp/stompjs over wss, from an address that the node knows', async () => {
      const forged = { 'X-Forwarded-For': '198.51.100.6', 'X-Forwarded-Host': 'elsewhere.example' };
      const client = await greeted(proxy, { socket: { localAddress: ELSEWHERE, headers: forged, origin: proxy.url } });
      assert.equal(await client.greet('Ada'), `Hello, Ada at ${ELSEWHERE}, from node a!`);
      await client.end();
    });

    test('pages of other origins are refused, its own are not', async () => {
      for (const [origin, status] of [
        [proxy.url, 101],
        [undefined, 101],
        ['https://elsewhere.example', 403],
        [`https://${node.address}`, 403],
        ['https://localhost', 403],
      ]) {
        assert.equal(await handshake(proxy, { origin }), status, origin);
        const headers = origin ? { origin } : {};
        const opened = await request(proxy, 'POST', `/ws/000/origin-${status}/xhr`, { headers });
        assert.equal(opened.statusCode, status === 101 ? 200 : 403, origin);
        opened.resume();
      }
    });

    test('where the proxy changes Host, the node must trust it', async () => {
      const stranger = await startNode('a', { 'trusted-proxy': '192.0.2.1' });
      try {
        for (const [at, status] of [[node, 101], [stranger, 403]]) {
          await withProxy([at.address], OTHER_HOST[name], async (other) => {
            assert.equal(await handshake(other, { origin: other.url }), status);
            assert.equal(await handshake(other, { origin: 'https://elsewhere.example' }), 403);
          });
        }
      } finally {
        await stranger.stop();
      }
    });

    for (const encoding of ['identity', 'gzip']) {
      test(`each message of a stream is passed on at once, accepted as ${encoding}`, async () => {
        const session = await stream(proxy, `${encoding}-${name}`, { 'accept-encoding': encoding });
        assert.match(await session.next(), /^h{2048}$/);
        assert.equal(await session.next(), 'o');
        await session.send('CONNECT\naccept-version:1.2\nhost:x\nheart-beat:0,0\n\n');
        assert.match(await session.next(), /^a\["CONNECTED/);
        await session.send('SUBSCRIBE\nid:0\ndestination:/topic/greetings\n\n');
        // Each is sent when the one before has come: one that was kept back would be the last.
        for (const visitor of ['Ada', 'Grace', 'Zoë']) {
          await session.send(`SEND\ndestination:/app/hello\n\n${visitor}`);
          assert.match(await session.next(), new RegExp(`^a\\["MESSAGE.*Hello, ${visitor} at .*"\\]$`));
        }
        assert.equal(session.encoding, name === 'nginx' && encoding === 'gzip' ? 'gzip' : undefined);
        session.end();
      });
    }

    for (const [how, changes] of Object.entries(STICKY[name])) {
      test(`a SockJS session stays on its node ${how}, and both nodes have some`, async () => {
        const second = await startNode('b');
        try {
          await withProxy([node.address, second.address], changes, async (at) => {
            const nodes = new Set();
            await eventually(async () => {
              for (const transport of ['xhr-polling', 'xhr-streaming', 'websocket']) {
                const { page, context } = await pageOf(at);
                const seen = await page.evaluate(greetInPage, { transports: [transport], name: 'Ada' });
                assert.equal(seen.transport, transport);
                nodes.add(nodeOf(seen.body));
                await context.close();
              }
              assert.deepEqual([...nodes].sort(), ['a', 'b']);
            });
          });
        } finally {
          await second.stop();
        }
      });
    }

    test('a node that ends sends its clients to the other, and nobody is refused', async () => {
      const [first, second] = await Promise.all([startNode('a'), startNode('b')]);
      const clients = [];
      try {
        await withProxy([first.address, second.address], [], async (at) => {
          // Until there are some on either node.
          for (let seen = new Set(); seen.size < 2 || clients.length < 8;) {
            const client = await greeted(at, { reconnectDelay: 50 });
            client.node = nodeOf(await client.greet(`visitor ${clients.length}`));
            seen.add(client.node);
            clients.push(client);
          }
          // Its close frame waits to be collected, and the node for that: until then it refuses newcomers.
          await fetch(`http://${first.address}/ws/000/waiting/xhr`, { method: 'POST' });
          let over = false;
          const ended = first.stop().finally(() => { over = true; });
          const statuses = new Set();
          while (!over) {
            const session = () => Math.random().toString(36).slice(2);
            const openings = Array.from({ length: 8 }, () => request(at, 'POST', `/ws/000/${session()}/xhr`));
            for (const answer of await Promise.all([...openings, request(at, 'GET', '/ws/info')])) {
              answer.resume();
              statuses.add(answer.statusCode);
            }
          }
          assert.deepEqual(await ended, { code: 0, signal: null }, first.log());
          assert.deepEqual([...statuses], [200]);
          for (const [index, client] of clients.entries()) {
            if (client.node === 'a') {
              assert.equal((await client.closed.next()).code, 1001);
              await client.subscribedAgain();
            }
            assert.equal(client.closed.size, 0);
            assert.equal(nodeOf(await client.greet(`again ${index}`)), 'b');
          }
        });
      } finally {
        // They would try for ever.
        await Promise.all(clients.map((client) => client.end()));
        await Promise.all([first.kill(), second.kill()]);
      }
    });

    describe('which cuts silent connections after a second', () => {
      const SHORT = {
        nginx: [['proxy_read_timeout 60s', 'proxy_read_timeout 1s']],
        haproxy: [['timeout tunnel 60s', 'timeout tunnel 1s']],
      };

      test('heart-beats keep a connection', async () => {
        const lively = await startNode('lively', { 'heart-beat': 200 });
        try {
          await withProxy([lively.address], SHORT[name], async (at) => {
            const beats = inbox('a heart-beat');
            const client = await greeted(at, {
              heartbeatIncoming: 200, heartbeatOutgoing: 200, debug: (line) => line.includes('PONG') && beats.put(line),
            });
            for (let beat = 0; beat < 15; beat += 1) {
              await beats.next();
            }
            assert.equal(client.closed.size, 0);
            assert.match(await client.greet('Ada'), /^Hello, Ada/);
            await client.end();
          });
        } finally {
          await lively.stop();
        }
      });

      test('without them it is cut, and the client hears of it', async () => {
        await withProxy([node.address], SHORT[name], async (at) => {
          const client = await greeted(at, { heartbeatIncoming: 0, heartbeatOutgoing: 0 });
          const { code } = await client.closed.next();
          assert.equal(code, 1006);
          await client.end();
        });
      });
    });
  });
}
