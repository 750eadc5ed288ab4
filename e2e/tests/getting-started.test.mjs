// The guide's first page: its program, its page and its two libraries, in a folder as a newcomer has it.

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, openWindow, screenshot } from '../lib/browser.mjs';
import { named, startServer } from '../lib/server.mjs';
import { eventually } from '../lib/wait.mjs';

const require = createRequire(import.meta.url);
const PAGE = fileURLToPath(new URL('../../examples/getting-started/page/index.html', import.meta.url));

/** The page in a window of its own. */
async function open(browser, url) {
  const { page } = await openWindow(browser, { viewport: { width: 360, height: 640 } });
  await page.goto(url);
  return {
    page,
    greet: async (name) => {
      await page.getByLabel('Your name').fill(name);
      await page.getByRole('button', { name: 'Greet' }).click();
    },
    hears: async (greeting) => {
      const heard = await page.getByRole('listitem').allInnerTexts();
      assert.ok(heard.includes(greeting), `${greeting} is not among ${heard}`);
    },
  };
}

describe('getting started', { timeout: 300_000 }, () => {
  let folder;
  let server;
  let browser;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'getting-started-'));
    mkdirSync(join(folder, 'page'));
    copyFileSync(PAGE, join(folder, 'page/index.html'));
    for (const library of ['sockjs-client/dist/sockjs.min.js', 'stompjs/lib/stomp.min.js']) {
      copyFileSync(require.resolve(library), join(folder, 'page', library.split('/').at(-1)));
    }
    const program = named('TRAMLINE_GETTING_STARTED_BIN', 'the program of examples/getting-started');
    const env = { RUST_LOG: 'tramline=debug' };
    server = await startServer(program, ['127.0.0.1:0'], [/^(http:\S+)$/], env, folder);
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test("two browsers see each other's greeting", async () => {
    const [url] = server.printed;
    const windows = [await open(browser, url), await open(browser, url)];
    for (const { hears, greet } of windows) {
      // The page does not say when it is subscribed; who hears itself is.
      await eventually(async () => {
        await greet('Grace');
        await hears('Hello, Grace!');
      });
    }
    await windows[0].greet('Ada');
    await eventually(() => windows[1].hears('Hello, Ada!'));
    await windows[1].greet('Zoë');
    await eventually(() => windows[0].hears('Hello, Zoë!'));
    await screenshot(windows[0].page, 'getting-started');
  });
});
