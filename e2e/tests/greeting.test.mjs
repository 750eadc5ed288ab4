// The greeting demo: sockjs-client and @stomp/stompjs as the page uses them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Demo, launch, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { eventually } from '../lib/wait.mjs';

describe('greeting', { timeout: 300_000 }, () => {
  let gallery;
  let browser;
  const open = (query = '', options = {}) => Demo.open(browser, `${gallery.url}/greeting/${query}`, options);

  before(async () => {
    gallery = await startGallery();
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await gallery?.stop();
  });

  test('Connect, a name, Send: the greeting appears', async () => {
    const demo = await open();
    await demo.connect('websocket');
    await demo.greet('Ada');
    await demo.showsAnswers('Hello, Ada!');
    await screenshot(demo.page, 'greeting');
    assert.deepEqual(demo.complaints, []);
    await demo.close();
  });

  for (const transport of ['websocket', 'xhr-streaming', 'xhr-polling']) {
    test(`SockJS held to ${transport}: several greetings, in order`, async () => {
      const demo = await open(`?transport=${transport}`);
      await demo.connect(transport);
      const names = ['Ada', 'Grace', 'Zoë', '春', '🚋'];
      for (const name of names) {
        await demo.greet(name);
      }
      await demo.showsAnswers(...names.map((name) => `Hello, ${name}!`));
      await screenshot(demo.page, `greeting-${transport}`);
      await demo.disconnectButton.click();
      await demo.showsState('Disconnected');
      assert.deepEqual(demo.complaints, []);
      await demo.close();
    });
  }

  test('a double click sends once', async () => {
    const demo = await open();
    await demo.connect();
    await demo.name.fill('Ada');
    await demo.sendButton.dblclick();
    await demo.greet('Grace');
    await demo.showsAnswers('Hello, Ada!', 'Hello, Grace!');
    await demo.close();
  });

  test('a name that looks like markup shows as typed', async () => {
    const demo = await open();
    await demo.connect();
    await demo.greet('<b>x</b>');
    await demo.showsAnswers('Hello, <b>x</b>!');
    assert.equal(await demo.page.locator('#answers b').count(), 0);
    await demo.close();
  });

  test('two browsers see each other, whatever their transports', async () => {
    const ada = await open();
    const grace = await open('?transport=xhr-streaming');
    await ada.connect();
    await grace.connect('xhr-streaming');
    await ada.greet('Ada');
    await grace.showsAnswers('Hello, Ada!');
    await grace.greet('Grace');
    await ada.showsAnswers('Hello, Ada!', 'Hello, Grace!');
    await grace.showsAnswers('Hello, Ada!', 'Hello, Grace!');

    await grace.disconnectButton.click();
    await grace.showsState('Disconnected');
    await ada.greet('Ada again');
    await ada.showsAnswers('Hello, Ada!', 'Hello, Grace!', 'Hello, Ada again!');
    await grace.showsAnswers('Hello, Ada!', 'Hello, Grace!');
    await ada.close();
    await grace.close();
  });

  test('buttons can be pressed when they make sense', async () => {
    const demo = await open();
    await demo.canPress('Connect');
    await demo.connect();
    await demo.canPress('Disconnect');
    await demo.name.fill('   ');
    await demo.canPress('Disconnect');
    await demo.name.fill('Ada');
    await demo.canPress('Disconnect', 'Send');
    await demo.disconnectButton.click();
    await demo.showsState('Disconnected');
    await demo.canPress('Connect');
    await demo.connect();
    await demo.canPress('Disconnect', 'Send');
    await demo.sendButton.click();
    await demo.showsAnswers('Hello, Ada!');
    await demo.close();
  });

  test('works by keyboard alone', async () => {
    const demo = await open();
    const { keyboard } = demo.page;
    const focused = (locator) => eventually(async () => {
      assert.ok(await locator.evaluate((node) => node === document.activeElement));
    });
    await keyboard.press('Tab');
    await keyboard.press('Tab');
    await focused(demo.connectButton);
    await keyboard.press('Enter');
    await demo.showsState('Connected');
    await focused(demo.name);
    await keyboard.type('Ada');
    await keyboard.press('Enter');
    await demo.showsAnswers('Hello, Ada!');
    await focused(demo.name);
    await keyboard.press('Shift+Tab');
    await focused(demo.disconnectButton);
    await keyboard.press('Space');
    await demo.showsState('Disconnected');
    await focused(demo.connectButton);
    await demo.close();
  });

  test('a phone in the dark shows answers without sideways scrolling', async () => {
    const demo = await open('', { viewport: { width: 360, height: 740 }, colorScheme: 'dark', isMobile: true, hasTouch: true });
    await demo.connect();
    const name = 'a'.repeat(150);
    await demo.greet(name);
    await demo.showsAnswers(`Hello, ${name}!`);
    assert.equal(await demo.page.evaluate(() => document.documentElement.scrollWidth), 360);
    await screenshot(demo.page, 'greeting-phone-dark-connected');
    await demo.close();
  });

  test('what the policy refuses is shown, and ends this connection only', async () => {
    const other = await open();
    await other.connect();
    const demo = await open();
    await demo.connect();
    // eslint-disable-next-line no-undef
    await demo.page.evaluate(() => demo.stomp.publish({ destination: '/topic/greetings', body: 'forged' }));
    await demo.showsState('Disconnected');
    await demo.canPress('Connect');
    const problem = await demo.problem.innerText();
    assert.match(problem, /Refused by the server/);
    assert.match(problem, /\/topic\/greetings/);
    await screenshot(demo.page, 'greeting-refused');

    await demo.connect();
    assert.equal(await demo.problem.innerText(), '');
    await other.greet('Grace');
    await other.showsAnswers('Hello, Grace!');
    await demo.showsAnswers('Hello, Grace!');
    await demo.close();
    await other.close();
  });

  test('a browser that vanishes leaves the others in peace', async () => {
    const gone = await open();
    const stays = await open();
    await gone.connect();
    await stays.connect();
    await gone.close();
    await stays.greet('Ada');
    await stays.showsAnswers('Hello, Ada!');
    await stays.close();
  });
});

describe('greeting while the server goes and comes back', { timeout: 300_000 }, () => {
  let browser;

  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  for (const [transport, way] of [['websocket', 'kill'], ['websocket', 'stop'], ['xhr-streaming', 'kill'], ['xhr-polling', 'kill']]) {
    test(`${transport}, ${way}: the page says that it reconnects, and does`, async () => {
      const first = await startGallery();
      const demo = await Demo.open(browser, `${first.url}/greeting/?transport=${transport}`);
      await demo.connect(transport);
      await demo.name.fill('Ada');
      await first[way]();
      await demo.showsState('Reconnecting');
      await demo.showsDetail(/^in \d+ s$/);
      assert.match(await demo.problem.innerText(), /Connection lost/);
      await demo.canPress('Connect', 'Disconnect');
      await screenshot(demo.page, `greeting-reconnecting-${transport}`);

      const second = await startGallery({ listen: first.address });
      await demo.showsState('Connected');
      assert.equal(await demo.problem.innerText(), '');
      await demo.sendButton.click();
      await demo.showsAnswers('Hello, Ada!');
      await demo.close();
      await second.stop();
    });
  }

  test('Disconnect ends the waiting, Connect shortens it', async () => {
    const first = await startGallery();
    const demo = await Demo.open(browser, `${first.url}/greeting/`);
    await demo.connect();
    await first.kill();
    await demo.showsState('Reconnecting');
    await demo.disconnectButton.click();
    await demo.showsState('Disconnected');
    await demo.canPress('Connect');
    const second = await startGallery({ listen: first.address });
    await demo.connect();
    await demo.close();
    await second.stop();
  });
});
