// The page "transports": an echo over every transport, measured.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, openWindow, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { eventually } from '../lib/wait.mjs';

const ROWS = [
  'WebSocket', 'SockJS websocket', 'SockJS xhr-streaming', 'SockJS eventsource', 'SockJS xhr-polling', 'REST, polled',
];

/** The page as its user sees it. */
class Transports {
  static async open(browser, url, options = {}, before = () => {}) {
    const transports = new Transports();
    Object.assign(transports, await openWindow(browser, options));
    await before(transports);
    const answer = await transports.page.goto(`${url}/transports/`);
    assert.equal(answer.status(), 200);
    return transports;
  }

  /** A second window of the same browser. */
  async another() {
    const transports = Object.assign(new Transports(), this, { page: await this.context.newPage() });
    await transports.page.goto(this.page.url());
    return transports;
  }

  /** The table: `{ name, state, median, slowest, sent, received }`, texts as they stand there. */
  async table() {
    const lines = await this.page.getByRole('row').all();
    return Promise.all(lines.slice(1).map(async (line) => {
      const [name, state = ''] = (await line.getByRole('rowheader').innerText()).split('\n');
      const [median, slowest, sent, received] = await line.getByRole('cell').allInnerTexts();
      return { name, state, median, slowest, sent, received };
    }));
  }

  async row(name) {
    return (await this.table()).find((row) => row.name === name);
  }

  async showsNumbers(...names) {
    await eventually(async () => {
      for (const name of names) {
        const { state, median, slowest, sent, received } = await this.row(name);
        assert.equal(state, 'connected', name);
        assert.ok(Number(median) > 0 && Number(slowest) >= Number(median), `${name}: ${median} ms, ${slowest} ms`);
        assert.ok(bytes(sent) > 32 && bytes(received) >= 32, `${name}: ${sent} bytes, ${received} bytes`);
      }
    });
  }

  /** A line in each lane, through so many pings at least. */
  hasLines(pings) {
    return eventually(async () => {
      const lines = await this.page.locator('#chart path').evaluateAll((paths) => paths.map((path) => path.getAttribute('d')));
      assert.equal(lines.length, ROWS.length);
      lines.forEach((line) => assert.ok(line.split(/[ML]/).length > pings, line));
    });
  }

  showsState(name, expected) {
    return eventually(async () => assert.match((await this.row(name)).state, expected));
  }

  showsChoice(expected) {
    return eventually(async () => assert.match(await this.page.getByRole('status').innerText(), expected));
  }

  offer(label) {
    return this.page.getByLabel('The server offers').selectOption({ label });
  }

  close() {
    return this.context.close();
  }
}

const bytes = (text) => Number(text.replaceAll(',', ''));

describe('transports', { timeout: 300_000 }, () => {
  let gallery;
  let browser;
  const open = (options, before) => Transports.open(browser, gallery.url, options, before);

  before(async () => {
    gallery = await startGallery();
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await gallery?.stop();
  });

  test('every transport gets numbers, and the one that SockJS chooses is named', async () => {
    const shown = await open();
    await shown.showsNumbers(...ROWS);
    assert.deepEqual((await shown.table()).map(({ name }) => name), ROWS);
    await shown.showsChoice(/^Left to itself, SockJS takes websocket here: it is the first in its order/);

    // 32 bytes in a frame, masked on the way up; SockJS adds ["…"] there and a["…"] on the way back.
    const sizes = async (name) => {
      const { sent, received } = await shown.row(name);
      return [bytes(sent), bytes(received)];
    };
    assert.deepEqual(await sizes('WebSocket'), [38, 34]);
    assert.deepEqual(await sizes('SockJS websocket'), [42, 39]);
    const [streamed, polled, rest] = [
      await sizes('SockJS xhr-streaming'), await sizes('SockJS xhr-polling'), await sizes('REST, polled'),
    ];
    assert.ok(rest[0] > 300, `a browser's request has a head: ${rest}`);
    assert.equal(rest[1], 332);
    assert.equal(streamed[1], 344, 'the answer to xhr_send, and a chunk of 38 bytes');
    assert.equal(polled[1], 638, 'the answer to xhr_send, and that to xhr');
    assert.ok(polled[0] > 1.5 * streamed[0], `two requests against one: ${polled}, ${streamed}`);

    await shown.hasLines(10);
    await screenshot(shown.page, 'transports');
    assert.deepEqual(shown.complaints, []);
    await shown.close();
  });

  test('WebSocket switched off at the server: said so, with what SockJS takes instead', async () => {
    const shown = await open();
    await shown.offer('no WebSocket');
    await shown.showsChoice(/SockJS takes xhr-streaming here: the server has switched off websocket, and this is the next/);
    await shown.showsState('WebSocket', /^switched off at the server; no fall-back without SockJS$/);
    await shown.showsState('SockJS websocket', /^switched off at the server; SockJS takes xhr-streaming instead$/);
    await shown.showsNumbers(...ROWS.slice(2));
    const { median, sent } = await shown.row('SockJS websocket');
    assert.deepEqual([median, sent], ['–', '–']);
    await screenshot(shown.page, 'transports-no-websocket');

    await shown.offer('every transport');
    await shown.showsNumbers(...ROWS);
    await shown.showsChoice(/takes websocket here/);
    await shown.close();
  });

  test('long polling only: every other way is said to be off', async () => {
    const shown = await open();
    await shown.offer('long polling only');
    await shown.showsChoice(
      /SockJS takes xhr-polling here: the server has switched off websocket, xhr-streaming, eventsource and htmlfile/,
    );
    for (const name of ['SockJS websocket', 'SockJS xhr-streaming', 'SockJS eventsource']) {
      await shown.showsState(name, /^switched off at the server; SockJS takes xhr-polling instead$/);
    }
    await shown.showsNumbers('SockJS xhr-polling', 'REST, polled');
    await shown.close();
  });

  test('WebSocket stopped on the way, by a proxy as it were, is told apart from one that is off', async () => {
    const shown = await open({}, ({ context }) => context.addInitScript(() => {
      const Real = window.WebSocket;
      window.WebSocket = class extends Real {
        constructor() {
          super(`${location.origin.replace('http', 'ws')}/nowhere`);
        }
      };
    }));
    await shown.showsChoice(/SockJS takes xhr-streaming here: websocket did not get through, and this is the next/);
    await shown.showsState('WebSocket', /^no answer from the server \(1006\); trying again$/);
    await shown.showsNumbers(...ROWS.slice(2));
    await shown.close();
  });

  test('paused, every row says so; and it goes on', async () => {
    const shown = await open();
    await shown.showsNumbers(...ROWS);
    await shown.page.getByRole('button', { name: 'Pause' }).click();
    for (const name of ROWS) {
      await shown.showsState(name, /^paused$/);
    }
    await shown.showsChoice(/^Paused\.$/);
    await shown.page.getByRole('button', { name: 'Measure here' }).click();
    await shown.showsNumbers(...ROWS);
    await shown.showsChoice(/takes websocket here/);
    await shown.close();
  });

  test('a page that nobody sees lets go of its connections', async () => {
    const sockets = [];
    const shown = await open({}, ({ page }) => page.on('websocket', (socket) => sockets.push(socket)));
    await shown.showsNumbers(...ROWS);
    assert.ok(sockets.some((socket) => !socket.isClosed()));
    const hide = (hidden) => shown.page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    for (const name of ROWS) {
      await shown.showsState(name, /^paused$/);
    }
    await eventually(() => assert.ok(sockets.every((socket) => socket.isClosed())));
    await hide(false);
    await shown.showsNumbers(...ROWS);
    await shown.close();
  });

  test('of two windows one measures; the other takes over when it is told to, or when that one closes', async () => {
    const first = await open();
    await first.showsNumbers(...ROWS);
    const second = await first.another();
    const waits = async (shown) => {
      await shown.showsChoice(/^Paused: measuring in another window\.$/);
      await shown.showsState('REST, polled', /^paused$/);
    };
    await waits(second);
    await screenshot(second.page, 'transports-waiting');
    await second.page.getByRole('button', { name: 'Measure here' }).click();
    await second.showsNumbers(...ROWS);
    await waits(first);
    // Both would take all connections that a browser has for a server, and no other page would open.
    const third = await first.context.newPage();
    assert.equal((await third.goto(gallery.url)).status(), 200);

    await second.page.close();
    await first.showsNumbers(...ROWS);
    await first.showsChoice(/takes websocket here/);
    await first.close();
  });

  test('without its library, the page says so and measures the rest', async () => {
    const shown = await open({}, ({ context }) => context.route('**/lib/sockjs.min.js', (route) => route.abort()));
    assert.match(await shown.page.getByRole('alert').innerText(), /A library of this page did not load\s+SockJS/);
    await shown.showsNumbers('WebSocket', 'REST, polled');
    assert.equal((await shown.table()).length, 2);
    await shown.close();
  });

  test('fits a phone, by day and by night', async () => {
    const backgrounds = [];
    for (const colorScheme of ['light', 'dark']) {
      const shown = await open({ viewport: { width: 360, height: 740 }, colorScheme, isMobile: true, hasTouch: true });
      await shown.showsNumbers(...ROWS);
      await shown.hasLines(3);
      const { wide, high } = await shown.page.evaluate(() => ({
        wide: document.documentElement.scrollWidth,
        high: [...document.querySelectorAll('button, select')].map((field) => field.getBoundingClientRect().height),
      }));
      assert.equal(wide, 360, 'no sideways scrolling');
      assert.ok(high.every((height) => height >= 40), `large enough for a finger: ${high}`);
      backgrounds.push(await shown.page.evaluate(() => getComputedStyle(document.body).backgroundColor));
      await screenshot(shown.page, `transports-phone-${colorScheme}`);

      await shown.page.setViewportSize({ width: 320, height: 740 });
      const [inside, around] = await shown.page.locator('.numbers').evaluate((node) => [node.scrollWidth, node.clientWidth]);
      assert.equal(inside, around, 'the table fits the smallest phone');
      await shown.page.evaluate(() => { document.documentElement.style.fontSize = '200%'; });
      await shown.page.setViewportSize({ width: 360, height: 740 });
      assert.equal(await shown.page.evaluate(() => document.documentElement.scrollWidth), 360, 'with large letters');
      await shown.close();
    }
    assert.notEqual(backgrounds[0], backgrounds[1]);
  });

  test('the chart has a name, and is read as the table below it', async () => {
    const shown = await open({ colorScheme: 'dark' });
    await shown.page.getByRole('img', { name: /Round trips and bytes of each transport, as in the table below/ }).waitFor();
    await shown.showsNumbers(...ROWS);
    assert.equal(await shown.page.getByRole('columnheader').count(), 5);
    // Only the choice is read out by itself; numbers that change every second are not.
    assert.equal(await shown.page.locator('[aria-live], [role="log"]').count(), 0);
    await screenshot(shown.page, 'transports-dark');
    await shown.close();
  });
});

describe('transports while the server goes and comes back', { timeout: 300_000 }, () => {
  test('rows say that they are lost, and connect again by themselves', async () => {
    const browser = await launch();
    const first = await startGallery();
    const shown = await Transports.open(browser, first.url);
    await shown.showsNumbers(...ROWS);
    await first.kill();
    await shown.showsState('WebSocket', /^no answer from the server \(1006\); trying again$/);
    await shown.showsState('REST, polled', /trying again$/);
    await shown.showsChoice(/^SockJS finds no way at the moment: /);
    const second = await startGallery({ listen: first.address });
    await shown.showsNumbers(...ROWS);
    await shown.showsChoice(/takes websocket here/);
    await shown.close();
    await second.stop();
    await browser.close();
  });
});
