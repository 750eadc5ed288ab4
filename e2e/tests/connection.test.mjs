// The connection that all demos share, shown by the smallest of them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Demo, launch, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { eventually } from '../lib/wait.mjs';

/** The waiting for the next attempt is never over by itself. */
const FOR_EVER = () => {
  const { setTimeout: sleep } = window;
  window.setTimeout = (act, delay, ...values) => sleep(act, delay > 0 && delay < 1000 ? 3_600_000 : delay, ...values);
};

describe('the connection of the demos', { timeout: 300_000 }, () => {
  let browser;

  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  const open = async (gallery, path = '/greeting/') => {
    const demo = await Demo.open(browser, gallery.url + path);
    demo.tryNow = demo.page.getByRole('button', { name: 'Try now' });
    await demo.connect();
    return demo;
  };
  const unconfirmed = (demo, ...texts) => eventually(async () => {
    assert.deepEqual(await demo.page.locator('#unconfirmed span').allInnerTexts(), texts);
  });

  test('a server that hangs is told by its silence, and left for one that answers', async () => {
    const first = await startGallery();
    const demo = await open(first);
    assert.equal(await demo.tryNow.isVisible(), false);
    first.hang();
    await demo.showsState('No news');
    await demo.showsDetail(/^from the server for \d+ s$/);
    assert.ok(await demo.tryNow.isVisible());
    await screenshot(demo.page, 'connection-silent');
    await demo.showsState('Reconnecting');
    assert.match(await demo.problem.innerText(), /Connection lost\s+nothing was heard from the server any more/);
    await first.kill();
    const second = await startGallery({ listen: first.address });
    await demo.showsState('Connected');
    assert.equal(await demo.problem.innerText(), '');
    await demo.close();
    await second.stop();
  });

  test('what was not confirmed is kept over a restart, and sent again or discarded as its user says', async () => {
    const first = await startGallery();
    const demo = await open(first);
    await demo.greet('Ada');
    await demo.showsAnswers('Hello, Ada!');
    await unconfirmed(demo);
    first.hang();
    await demo.greet('Grace');
    await demo.greet('Linus');
    await first.kill();
    await unconfirmed(demo, 'Greeting for Grace: may not have arrived', 'Greeting for Linus: may not have arrived');
    await screenshot(demo.page, 'connection-unconfirmed');
    // Without a connection it stays.
    await demo.page.getByRole('button', { name: 'Send again: Greeting for Grace' }).click();
    await unconfirmed(demo, 'Greeting for Linus: may not have arrived', 'Greeting for Grace: not sent');
    const second = await startGallery({ listen: first.address });
    await demo.showsState('Connected');
    await demo.page.getByRole('button', { name: 'Discard: Greeting for Linus' }).click();
    await demo.page.getByRole('button', { name: 'Send again: Greeting for Grace' }).click();
    await demo.showsAnswers('Hello, Ada!', 'Hello, Grace!');
    await unconfirmed(demo);
    await demo.close();
    await second.stop();
  });

  for (const [what, hurry] of [
    ['"Try now"', (demo) => demo.tryNow.click()],
    ['a network that is back', (demo) => demo.page.evaluate(() => window.dispatchEvent(new Event('online')))],
    ['a tab that is seen', (demo) => demo.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))],
  ]) {
    test(`${what} does not wait for the next attempt`, async () => {
      const first = await startGallery();
      const demo = await open(first, '/greeting-json/');
      await demo.page.evaluate(FOR_EVER);
      await first.kill();
      await demo.showsState('Reconnecting');
      const second = await startGallery({ listen: first.address });
      await demo.showsState('Reconnecting');
      await hurry(demo);
      await demo.showsState('Connected');
      await demo.close();
      await second.stop();
    });
  }

  test('frames are shown as they pass, the newest first', async () => {
    const gallery = await startGallery();
    const demo = await open(gallery);
    await demo.greet('Ada');
    await demo.showsAnswers('Hello, Ada!');
    await eventually(async () => {
      const frames = await demo.page.locator('#frames li').allInnerTexts();
      const commands = frames.map((frame) => /^[A-Z]+/.exec(frame)[0]);
      assert.deepEqual(commands.slice().sort(), [
        'CONNECT', 'CONNECTED', 'MESSAGE', 'RECEIPT', 'RECEIPT', 'RECEIPT', 'SEND', 'SUBSCRIBE', 'SUBSCRIBE',
      ]);
      assert.equal(commands.at(-1), 'CONNECT');
      assert.ok(frames.some((frame) => /^SEND[^]*destination:\/app\/hello[^]*\n\nAda\^@$/.test(frame)), frames.join('\n---\n'));
    });
    await demo.close();
    await gallery.stop();
  });
});
