// What the pages are before anybody connects.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Demo, launch, openWindow, screenshot } from '../lib/browser.mjs';
import { runToEnd, startGallery } from '../lib/gallery.mjs';
import { eventually } from '../lib/wait.mjs';

const DEMOS = ['/greeting/', '/greeting-json/'];

describe('pages', { timeout: 180_000 }, () => {
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

  test('the first page leads to every demo and credits the libraries', async () => {
    const { page, context, complaints } = await openWindow(browser);
    for (const path of [...DEMOS, '/chat/', '/transports/', '/whiteboard/']) {
      await page.goto(gallery.url);
      await page.locator(`main a[href="${path}"]`).click();
      await page.waitForURL(`${gallery.url}${path}`);
    }
    await page.goto(gallery.url);
    await screenshot(page, 'first-page');
    assert.match(
      await page.getByRole('contentinfo').innerText(),
      /sockjs-client 1\.6\.1 \(MIT\), @stomp\/stompjs 7\.\d+\.\d+ \(Apache-2\.0\)/,
    );
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test('the first page shows what the server does', async () => {
    const { page, context } = await openWindow(browser);
    await page.goto(gallery.url);
    const figure = (id) => eventually(async () => {
      const text = await page.locator(id).innerText();
      assert.match(text, /^[\d,]+$/, id);
      return Number(text.replace(',', ''));
    });
    assert.equal(await figure('#sessions'), 0);
    const demo = await Demo.open(browser, `${gallery.url}/greeting/`);
    await demo.connect();
    await eventually(async () => assert.equal(await figure('#sessions'), 1));
    // The market has no reader, so what leaves is for this one.
    await eventually(async () => {
      await demo.greet('Ada');
      assert.ok(await figure('#sent') > 0);
    });
    await demo.close();
    await context.close();
  });

  test('the first visit takes less than 60 KB beside the libraries', async () => {
    for (const path of ['/', '/chat/', '/portfolio/', '/notifications/', '/greeting/', '/transports/', '/whiteboard/']) {
      const { page, context } = await openWindow(browser);
      const files = new Map();
      page.on('response', (answer) => {
        if (answer.ok() && !answer.url().includes('/lib/')) {
          files.set(answer.url(), answer.body().catch(() => Buffer.alloc(0)));
        }
      });
      await page.goto(gallery.url + path);
      await page.waitForLoadState('load');
      const sizes = await Promise.all([...files.values()].map(async (body) => gzipSync(await body).length));
      const sum = sizes.reduce((total, size) => total + size, 0);
      assert.ok(sum > 0 && sum < 60_000, `${path}: ${sum} bytes`);
      await context.close();
    }
  });

  test('an address without its slash leads to the page, query and all', async () => {
    const { page, context } = await openWindow(browser);
    await page.goto(`${gallery.url}/greeting?transport=xhr-polling`);
    assert.equal(page.url(), `${gallery.url}/greeting/?transport=xhr-polling`);
    await context.close();
  });

  test('an unknown address gets a page that says so', async () => {
    const { page, context } = await openWindow(browser);
    const answer = await page.goto(`${gallery.url}/nowhere/at/all`);
    assert.equal(answer.status(), 404);
    await page.getByText('There is no page at this address').waitFor();
    await context.close();
  });

  for (const path of DEMOS) {
    test(`${path} before connecting: only Connect can be pressed`, async () => {
      const demo = await Demo.open(browser, gallery.url + path);
      await demo.showsState('Disconnected');
      await demo.canPress('Connect');
      await demo.name.fill('Ada');
      await demo.canPress('Connect');
      await demo.name.press('Enter');
      await demo.showsState('Disconnected');
      assert.equal(await demo.problem.innerText(), '');
      assert.deepEqual(demo.complaints, []);
      await demo.close();
    });

    test(`${path} fits a phone, by day and by night`, async () => {
      const backgrounds = [];
      for (const colorScheme of ['light', 'dark']) {
        const demo = await Demo.open(browser, gallery.url + path, {
          viewport: { width: 360, height: 740 }, colorScheme, isMobile: true, hasTouch: true,
        });
        const { wide, high } = await demo.page.evaluate(() => ({
          wide: document.documentElement.scrollWidth,
          high: [...document.querySelectorAll('button, input')]
            .map((field) => field.getBoundingClientRect().height).filter((height) => height > 0),
        }));
        assert.equal(wide, 360, 'no sideways scrolling');
        assert.ok(high.every((height) => height >= 40), `large enough for a finger: ${high}`);
        backgrounds.push(await demo.page.evaluate(() => getComputedStyle(document.body).backgroundColor));
        await screenshot(demo.page, `${path.replaceAll('/', '')}-phone-${colorScheme}`);
        await demo.close();
      }
      assert.notEqual(backgrounds[0], backgrounds[1]);
    });
  }

  test('the first page fits a phone', async () => {
    const { page, context } = await openWindow(browser, { viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
    await page.goto(gallery.url);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    await screenshot(page, 'first-page-phone-dark');
    await context.close();
  });

  test('a taken port and a bad address are named, with the way out', async () => {
    const taken = await runToEnd(['--listen', gallery.address]);
    assert.equal(taken.code, 1);
    assert.ok(taken.output.includes(gallery.address), taken.output);
    assert.match(taken.output, /--listen/);
    assert.match(taken.output, /TRAMLINE_LISTEN/);

    const bad = await runToEnd([], { TRAMLINE_LISTEN: 'nowhere' });
    assert.equal(bad.code, 1);
    assert.match(bad.output, /nowhere.*\n.*--listen.*TRAMLINE_LISTEN/);
  });
});
