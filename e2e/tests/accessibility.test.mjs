// axe-core finds nothing in any page, before and after the login, by day and by night.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openWindow } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { logInBy } from '../lib/people.mjs';
import { eventually } from '../lib/wait.mjs';

const AXE = readFileSync(fileURLToPath(new URL('../node_modules/axe-core/axe.min.js', import.meta.url)), 'utf8');

const connected = (page) => eventually(async () => assert.equal(await page.locator('#state').innerText(), 'Connected'));

/** How each page is used before it is looked at. */
const PAGES = {
  '/': async () => {},
  '/login': async () => {},
  '/greeting/': async (page) => {
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await connected(page);
    await page.getByLabel('Your name').fill('Ada');
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.getByText('Hello, Ada!', { exact: true }).waitFor();
  },
  '/greeting-json/': async () => {},
  '/chat/': async (page) => {
    await connected(page);
    await page.locator('#text').fill('see https://example.org');
    await page.locator('#text').press('Enter');
    await page.locator('#lines a').first().waitFor();
  },
  '/whiteboard/': connected,
  '/portfolio/': async (page) => {
    await connected(page);
    await page.getByRole('button', { name: 'Buy DELL' }).waitFor();
  },
  '/notifications/': async (page) => {
    await connected(page);
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.getByRole('button', { name: 'Dismiss: Lunch is ready' }).waitFor();
  },
  '/transports/': async () => {},
};

describe('accessibility', { timeout: 300_000 }, () => {
  let gallery;
  let browser;

  before(async () => { [gallery, browser] = await Promise.all([startGallery(), launch()]); });
  after(async () => {
    await browser?.close();
    await gallery?.stop();
  });

  const finds = async (page, where) => {
    await page.evaluate(AXE);
    /* global axe */
    const { violations } = await page.evaluate(() => axe.run());
    assert.deepEqual(violations.map(({ id, nodes }) => `${where}: ${id}: ${nodes.map(({ target }) => target).join(' ')}`), []);
  };

  for (const [path, use] of Object.entries(PAGES)) {
    test(path, async () => {
      for (const [colorScheme, viewport] of [['light', { width: 1280, height: 800 }], ['dark', { width: 360, height: 740 }]]) {
        // Animations are half-way colours.
        const { page, context } = await openWindow(browser, { colorScheme, viewport, reducedMotion: 'reduce' });
        if (colorScheme === 'light') {
          await page.goto(gallery.url + path);
          await finds(page, 'before');
        }
        await logInBy(context.request, gallery.url, 'ada');
        await page.goto(gallery.url + path);
        await use(page);
        await finds(page, `${colorScheme}, ${viewport.width} px`);
        await context.close();
      }
    });
  }
});
