// The greeting-json demo: @stomp/stompjs 7 with brokerURL, as Spring's guide has it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Demo, launch, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';

describe('greeting-json', { timeout: 300_000 }, () => {
  let gallery;
  let browser;
  const open = (options) => Demo.open(browser, `${gallery.url}/greeting-json/`, options);

  before(async () => {
    gallery = await startGallery();
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await gallery?.stop();
  });

  test('Connect, a name, Send: the greeting appears in both browsers', async () => {
    const ada = await open();
    const grace = await open();
    await ada.connect('websocket');
    await grace.connect('websocket');
    await ada.greet('Ada "<b>" 🚋');
    await ada.showsAnswers('Hello, Ada "<b>" 🚋!');
    await grace.showsAnswers('Hello, Ada "<b>" 🚋!');
    await screenshot(ada.page, 'greeting-json');
    assert.deepEqual(ada.complaints, []);
    await ada.disconnectButton.click();
    await ada.showsState('Disconnected');
    await ada.canPress('Connect');
    await ada.connect();
    await ada.canPress('Disconnect', 'Send');
    await ada.close();
    await grace.close();
  });

  test('the two demos are two stacks: no greeting crosses', async () => {
    const json = await open();
    const plain = await Demo.open(browser, `${gallery.url}/greeting/`);
    await json.connect();
    await plain.connect();
    await json.greet('Ada');
    await json.showsAnswers('Hello, Ada!');
    await plain.greet('Grace');
    await plain.showsAnswers('Hello, Grace!');
    await json.greet('Ada again');
    await json.showsAnswers('Hello, Ada!', 'Hello, Ada again!');
    await plain.showsAnswers('Hello, Grace!');
    await json.close();
    await plain.close();
  });

  test('what the policy refuses is shown', async () => {
    const demo = await open();
    await demo.connect();
    // eslint-disable-next-line no-undef
    await demo.page.evaluate(() => demo.stomp.publish({ destination: '/topic/greetings', body: '{"content":"forged"}' }));
    await demo.showsState('Disconnected');
    await demo.canPress('Connect');
    const problem = await demo.problem.innerText();
    assert.match(problem, /Refused by the server/);
    assert.match(problem, /\/topic\/greetings/);
    await demo.connect();
    await demo.showsAnswers();
    await demo.close();
  });

  test('the page reconnects when the server is back', async () => {
    const first = await startGallery();
    const demo = await Demo.open(browser, `${first.url}/greeting-json/`);
    await demo.connect();
    await first.kill();
    await demo.showsState('Reconnecting');
    await demo.showsDetail(/^in \d+ s$/);
    await demo.canPress('Connect', 'Disconnect');
    const second = await startGallery({ listen: first.address });
    await demo.showsState('Connected');
    await demo.greet('Ada');
    await demo.showsAnswers('Hello, Ada!');
    await demo.close();
    await second.stop();
  });
});
