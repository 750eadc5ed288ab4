// Debian's Chromium through playwright-core, and a demo page as its user sees it.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { eventually } from './wait.mjs';

const SCREENSHOTS = process.env.TRAMLINE_SCREENSHOTS
  ?? fileURLToPath(new URL('../../target/screenshots', import.meta.url));

export function launch() {
  return chromium.launch({
    executablePath: process.env.TRAMLINE_CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync',
    ],
  });
}

/** A window of its own, with storage and cache of its own; `complaints` are what the browser's console reports. */
export async function openWindow(browser, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') {
      complaints.push(message.text());
    }
  });
  return { page, context, complaints };
}

export async function screenshot(page, name) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true });
}

/** A demo with name, Connect, Disconnect, Send and answers. */
export class Demo {
  constructor({ page, context, complaints }) {
    Object.assign(this, { page, context, complaints });
    const button = (name) => page.getByRole('button', { name, exact: true });
    this.connectButton = button('Connect');
    this.disconnectButton = button('Disconnect');
    this.sendButton = button('Send');
    this.name = page.getByLabel('Your name');
    this.state = page.getByRole('status');
    this.problem = page.getByRole('alert');
    this.answers = page.getByRole('log').getByRole('listitem');
  }

  static async open(browser, url, options) {
    const demo = new Demo(await openWindow(browser, options));
    const answer = await demo.page.goto(url);
    assert.equal(answer.status(), 200, url);
    return demo;
  }

  async connect(by) {
    await this.connectButton.click();
    await this.showsState('Connected');
    if (by) {
      await this.showsDetail(`by ${by}`);
    }
  }

  async greet(name) {
    await this.name.fill(name);
    await this.sendButton.click();
  }

  showsState(text) {
    return eventually(async () => assert.equal(await this.state.innerText(), text));
  }

  showsDetail(expected) {
    return eventually(async () => {
      const text = await this.page.locator('#detail').innerText();
      if (expected instanceof RegExp) {
        assert.match(text, expected);
      } else {
        assert.equal(text, expected);
      }
    });
  }

  /** In the order in which they came; the page has the newest first. */
  showsAnswers(...texts) {
    return eventually(async () => assert.deepEqual(await this.answers.allInnerTexts(), texts.toReversed()));
  }

  /** Which of the three buttons can be pressed, in the order of the page. */
  canPress(...names) {
    return eventually(async () => {
      const buttons = [this.connectButton, this.disconnectButton, this.sendButton];
      const enabled = await Promise.all(buttons.map((button) => button.isEnabled()));
      assert.deepEqual(['Connect', 'Disconnect', 'Send'].filter((_, index) => enabled[index]), names);
    });
  }

  close() {
    return this.context.close();
  }
}
