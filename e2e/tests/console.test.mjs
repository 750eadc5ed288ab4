// The console in a real browser: five thousand sessions, and what an operator does.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { launch, openWindow, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { credentials, logInBy } from '../lib/people.mjs';
import { eventually } from '../lib/wait.mjs';

const SESSIONS = 5000;
const AT_ONCE = 100;

/** A WebSocket by hand: 5,000 of a library's take long to open. Text frames up to 125 bytes, of mask 0. */
async function stomp(gallery, frames, headers = {}) {
  const { hostname, port } = new URL(gallery.url);
  const socket = connect({ host: hostname, port: Number(port) });
  const lines = [
    'GET /chat/ws/websocket HTTP/1.1', `Host: ${gallery.address}`, 'Upgrade: websocket', 'Connection: Upgrade',
    'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.on('error', () => {}); // The server closes it at the end.
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  let seen = '';
  socket.on('data', (bytes) => {
    seen += bytes.toString('latin1');
    if (bytes[0] === 0x89) { // A ping, which comes alone: its payload goes back, with mask 0.
      socket.write(Buffer.concat([Buffer.from([0x8a, 0x80 | bytes[1], 0, 0, 0, 0]), bytes.subarray(2)]));
    }
  });
  const shows = async (pattern) => {
    while (!pattern.test(seen)) {
      await once(socket, 'data');
    }
  };
  const send = (text) => {
    const body = Buffer.from(text);
    const head = body.length < 126
      ? Buffer.from([0x81, 0x80 | body.length, 0, 0, 0, 0])
      : Buffer.from([0x81, 0x80 | 126, body.length >> 8, body.length & 255, 0, 0, 0, 0]);
    socket.write(Buffer.concat([head, body]));
  };
  await shows(/\r\n\r\n/);
  frames.forEach(send);
  await shows(/CONNECTED/);
  return { socket, send, shows };
}

class Console {
  static async open(browser, gallery, options) {
    const console = Object.assign(new Console(), await openWindow(browser, options));
    await logInBy(console.context.request, gallery.url, 'ada');
    await console.page.goto(`${gallery.url}/console/`);
    await console.page.getByLabel('Stack').selectOption('chat');
    return console;
  }

  view(name) {
    return this.page.getByRole('link', { name, exact: true }).click();
  }

  rows(name) {
    return this.page.getByRole('table', { name }).locator('tbody tr');
  }

  shows(text) {
    return this.page.getByText(text).first().waitFor();
  }

  counts(view, text) {
    const count = this.page.getByRole('region', { name: view, exact: true }).locator('.count');
    return eventually(async () => assert.equal(await count.innerText(), text));
  }
}

describe('the console', () => {
  let gallery;
  let browser;
  const clients = [];

  before(async () => {
    const env = {
      TRAMLINE_OPERATOR: 'ada', TRAMLINE_SERVE_CONNECTIONS_PER_ADDRESS: '10000', RUST_LOG: 'info',
    };
    [gallery, browser] = await Promise.all([startGallery({ env }), launch()]);
    const grace = await credentials(gallery.url, 'grace');
    const [[name, value]] = Object.entries(grace.headers);
    const hello = `CONNECT\naccept-version:1.2\nhost:x\nheart-beat:0,0\n${name}:${value}\n\n\0`;
    while (clients.length < SESSIONS) {
      const some = Array.from({ length: AT_ONCE }, () => stomp(gallery, [hello], { Cookie: grace.cookie }));
      clients.push(...await Promise.all(some));
    }
  });
  after(async () => {
    clients.forEach(({ socket }) => socket.destroy());
    await browser?.close();
    await gallery?.stop();
  });

  test('is for the operator alone', async () => {
    const { page, context } = await openWindow(browser);
    await page.goto(`${gallery.url}/console/`);
    assert.match(page.url(), /\/login/);
    await logInBy(context.request, gallery.url, 'bob');
    assert.equal((await page.goto(`${gallery.url}/console/`)).status(), 403);
    await context.close();
  });

  test('five thousand sessions are sorted, searched and paged, and one is closed and traced', async () => {
    const console = await Console.open(browser, gallery);
    const { page, complaints } = console;
    await console.shows('broker available');
    await console.view('Sessions');
    await console.counts('Sessions', '5,000 · page 1 of 100');
    assert.equal(await console.rows('Sessions').count(), 50);
    await page.getByRole('button', { name: 'Next' }).first().click();
    await console.counts('Sessions', '5,000 · page 2 of 100');

    const bob = await credentials(gallery.url, 'bob');
    const [[name, value]] = Object.entries(bob.headers);
    const one = await stomp(
      gallery, [`CONNECT\naccept-version:1.2\nhost:x\n${name}:${value}\n\n\0`], { Cookie: bob.cookie },
    );
    await page.getByRole('searchbox', { name: 'Search Sessions' }).fill('bob');
    await console.counts('Sessions', '1 · page 1 of 1');
    await page.getByRole('button', { name: 'Trace the session of bob' }).click();
    await console.shows(/^Tracing .*: 0 frames/);
    one.send('SUBSCRIBE\nid:s\ndestination:/topic/rooms/lobby\nreceipt:r\nmy-secret:abc\n\n\0');
    const frames = page.getByRole('log', { name: 'Frames' });
    await frames.getByText(/SUBSCRIBE from bob/).waitFor();
    const text = await frames.innerText();
    assert.ok(text.includes('my-secret: (hidden)') && !text.includes('abc'), text);
    await screenshot(page, 'console-trace');
    await page.getByRole('button', { name: 'End', exact: true }).click();

    await console.view('Sessions');
    await page.getByRole('button', { name: 'Close the session of bob' }).click();
    await page.getByLabel('Reason').fill('please come back later');
    await page.getByRole('button', { name: 'Close it' }).click();
    await console.shows('The session of bob is closed.');
    await one.shows(/please come back later/);
    await eventually(() => assert.match(gallery.log(), /tramline::audit.*operator=ada act="close-session"/));
    await screenshot(page, 'console-sessions');
    assert.deepEqual(complaints, []);
    await console.context.close();
  });

  test('a denied frame is found with its rule, and a test message arrives', async () => {
    const console = await Console.open(browser, gallery);
    const { page } = console;
    clients[0].send('SUBSCRIBE\nid:x\ndestination:/topic/nothing/for/you\n\n\0');
    await console.view('Refusals');
    await console.rows('Refusals').filter({ hasText: '/topic/nothing/for/you' }).first().waitFor();
    await console.view('Destinations');
    await page.getByLabel('Destination', { exact: true }).fill('/topic/test');
    await page.getByLabel('Body').fill('hello');
    await page.getByRole('button', { name: 'Publish' }).click();
    await console.shows('Published to /topic/test: 0 receivers on this node.');
    await page.getByLabel('Destination', { exact: true }).fill('/nowhere');
    await page.getByRole('button', { name: 'Publish' }).click();
    await eventually(async () => assert.match(await page.getByRole('alert').innerText(), /carries no destination/));
    await console.context.close();
  });

  for (const [what, options] of [
    ['a phone', { viewport: { width: 360, height: 640 } }],
    ['a phone in the dark', { viewport: { width: 360, height: 640 }, colorScheme: 'dark' }],
  ]) {
    test(`fits ${what}`, async () => {
      const console = await Console.open(browser, gallery, options);
      for (const view of ['Overview', 'Sessions', 'Destinations', 'Users', 'Refusals', 'Trace']) {
        await console.view(view);
        await console.page.getByRole('region', { name: view, exact: true }).waitFor();
        const wide = await console.page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= 360, `${view} is ${wide} px wide`);
      }
      await console.view('Overview');
      await console.shows('Memory of messages');
      await screenshot(console.page, `console-${options.colorScheme ?? 'light'}`);
      await console.context.close();
    });
  }

  test('the keyboard reaches views, search, sorting and rows', async () => {
    const console = await Console.open(browser, gallery);
    const { page } = console;
    await page.getByRole('link', { name: 'Users', exact: true }).focus();
    await page.keyboard.press('Enter');
    await console.rows('Users').filter({ hasText: 'grace' }).waitFor();
    await page.getByRole('searchbox', { name: 'Search Users' }).focus();
    await page.keyboard.type('gra');
    await console.counts('Users', '1 · page 1 of 1');
    const head = page.getByRole('table', { name: 'Users' }).getByRole('columnheader', { name: 'Sessions' });
    await head.getByRole('button').focus();
    await page.keyboard.press('Enter');
    await eventually(async () => assert.equal(await head.getAttribute('aria-sort'), 'descending'));
    await page.getByRole('button', { name: 'Sessions of grace', exact: true }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('region', { name: 'Sessions', exact: true }).waitFor();
    await console.context.close();
  });
});
