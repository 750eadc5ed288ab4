// The stock portfolio demo: users, trades, and thousands of prices a second.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client } from '@stomp/stompjs';
import WebSocket from 'ws';
import { launch, openWindow, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { PASSWORD, credentials, logInBy, logOutBy } from '../lib/people.mjs';
import { eventually } from '../lib/wait.mjs';

/** What everybody holds at first. */
const SHARES = { CTXS: 75, DELL: 50, EMC: 75, GOOG: 5, MSFT: 33, ORCL: 45, RHT: 15, VMW: 23 };
const TICKERS = Object.keys(SHARES);

const number = (text) => Number(text.replace(/[$,%+]/g, ''));

/** The page as its user sees it. */
class Portfolio {
  constructor(window) {
    Object.assign(this, window);
    const { page } = window;
    this.state = page.getByRole('status').first();
    this.problem = page.getByRole('alert');
    this.notifications = page.getByRole('log').getByRole('listitem');
    this.dialog = page.getByRole('dialog');
  }

  static async open(browser, url, name, options) {
    const shown = new Portfolio(await openWindow(browser, options));
    const answer = await shown.page.goto(`${url}/portfolio/`);
    assert.equal(answer.status(), 200);
    if (name) {
      await shown.login(name);
    }
    return shown;
  }

  async login(name) {
    await this.page.getByLabel('Your name').fill(name);
    await this.page.getByLabel('Password').fill(PASSWORD);
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.showsState('Connected');
  }

  showsState(text) {
    return eventually(async () => assert.equal(await this.state.innerText(), text));
  }

  /** All rows at one moment, by ticker; prices move while one would read them one after the other. */
  async rows() {
    const texts = await this.page.locator('#positions tr').evaluateAll((rows) => rows.map((row) => ({
      ticker: row.querySelector('.ticker').textContent,
      company: row.querySelector('.company').textContent,
      ...Object.fromEntries(['price', 'change', 'shares', 'value'].map((name) => [
        name, row.querySelector(`.${name}`).textContent,
      ])),
    })));
    return Object.fromEntries(texts.map((row) => [row.ticker, row]));
  }

  async shares() {
    const rows = await this.rows();
    return Object.fromEntries(Object.values(rows).map(({ ticker, shares }) => [ticker, number(shares)]));
  }

  showsShares(changed) {
    return eventually(async () => assert.deepEqual(await this.shares(), { ...SHARES, ...changed }));
  }

  /** No text of the table covers another. */
  async showsWhatItHolds() {
    const covered = await this.page.evaluate(() => {
      const texts = [...document.querySelectorAll('tr')].flatMap((row) => [...row.querySelectorAll(
        '.key, .company, .price, .change, .shares, .value, button, tfoot th',
      )]).map((node) => {
        const range = document.createRange();
        range.selectNodeContents(node);
        return [node.className || node.textContent, range.getBoundingClientRect()];
      }).filter(([, { width }]) => width > 0);
      return texts.flatMap(([name, one], index) => texts.slice(index + 1).filter(([, other]) => (
        one.left < other.right - 1 && other.left < one.right - 1 && one.top < other.bottom - 1 && other.top < one.bottom - 1
      )).map(([other]) => `${name}, ${other}`));
    });
    assert.deepEqual(covered, []);
  }

  showsNotifications(...texts) {
    return eventually(async () => assert.deepEqual(await this.notifications.allInnerTexts(), texts));
  }

  /** What is kept for the user to decide about. */
  showsUnconfirmed(...texts) {
    const kept = this.page.locator('#unconfirmed span');
    return eventually(async () => assert.deepEqual(await kept.allInnerTexts(), texts));
  }

  showsProblem(expected) {
    return eventually(async () => assert.match(await this.problem.innerText(), expected));
  }

  /** Updates made and received, in a second. */
  async rates() {
    const read = async (id) => number(await this.page.locator(id).innerText());
    return { made: await read('#made'), received: await read('#received') };
  }

  async trade(action, ticker, shares) {
    await this.page.getByRole('button', { name: `${action} ${ticker}` }).click();
    await this.dialog.getByLabel('Shares').fill(`${shares}`);
    await this.dialog.getByRole('button', { name: action, exact: true }).click();
  }

  /** Past the page's own checks. */
  send(body) {
    // eslint-disable-next-line no-undef
    return this.page.evaluate((text) => demo.stomp.publish({ destination: '/app/trade', body: text }), body);
  }

  close() {
    return this.context.close();
  }
}

describe('portfolio', { timeout: 300_000 }, () => {
  let gallery;
  let browser;
  let users = 0;
  const open = (name, options) => Portfolio.open(browser, gallery.url, name, options);
  /** Somebody who has not traded yet. */
  const newcomer = () => `trader-${users += 1}`;

  before(async () => {
    gallery = await startGallery();
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await gallery?.stop();
  });

  test('after the login there are positions, and their prices move', async () => {
    const shown = await open();
    await shown.showsState('Disconnected');
    assert.equal(await shown.page.getByRole('table').count(), 0, 'nothing to see before the login');
    await shown.login(newcomer());
    await shown.showsShares({});
    const first = await shown.rows();
    assert.equal(first.CTXS.company, 'Citrix Systems, Inc.');

    await eventually(async () => {
      const now = await shown.rows();
      for (const ticker of TICKERS) {
        assert.notEqual(now[ticker].price, first[ticker].price, `${ticker} moves`);
        const { price, change, shares, value } = now[ticker];
        assert.ok(Math.abs(number(value) - number(price) * number(shares)) < 0.005, `${value} = ${price} × ${shares}`);
        const percent = number(change.slice(1));
        const marker = percent >= 0.005 ? '▲' : percent <= -0.005 ? '▼' : '◆';
        assert.equal(change[0], marker, change);
      }
    });
    await eventually(async () => {
      const { value, rows } = await shown.page.evaluate(() => ({
        value: document.getElementById('total-value').textContent,
        rows: [...document.querySelectorAll('#positions .value')].map((cell) => cell.textContent),
      }));
      const total = rows.map(number).reduce((a, b) => a + b);
      assert.ok(Math.abs(number(value) - total) < 0.05, `${value}, and ${total} above it`);
    });
    assert.deepEqual(shown.complaints, []);
    await shown.close();
  });

  test('the chart has a line for each stock, and says in words what it shows', async () => {
    const shown = await open(newcomer());
    await eventually(async () => {
      const lines = await shown.page.locator('#chart .line').evaluateAll((paths) => paths.map((path) => path.getAttribute('d')));
      assert.equal(lines.length, TICKERS.length);
      lines.forEach((line) => assert.ok(line.split('L').length > 20, line));
    });
    const labels = await shown.page.locator('#chart > text').allTextContents();
    assert.deepEqual(labels, TICKERS);
    const places = await shown.page.locator('#chart > text').evaluateAll((texts) => texts.map((text) => Number(text.getAttribute('y'))));
    const sorted = places.toSorted((a, b) => a - b);
    sorted.slice(1).forEach((place, index) => assert.ok(place - sorted[index] >= 12.9, `labels apart: ${sorted}`));
    const words = await shown.page.getByRole('img', { name: /^Prices of the last minute Change since/ }).count();
    assert.equal(words, 1);
    const text = await shown.page.locator('#chart-text').innerText();
    for (const ticker of TICKERS) {
      assert.match(text, new RegExp(`${ticker} [+-]?\\d+\\.\\d\\d %`));
    }
    await screenshot(shown.page, 'portfolio');
    await shown.close();
  });

  test('the chart counts time, and has a gap where no prices came', async () => {
    const shown = await open();
    const [grid, line] = await shown.page.evaluate(async () => {
      const { Chart } = await import('/portfolio/chart.js');
      const { Market } = await import('/portfolio/market.js');
      const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      picture.setAttribute('width', 600);
      document.querySelector('main').append(picture);
      const chart = new Chart(picture, document.createElement('p'));
      const market = new Market();
      market.positions([{ company: 'Dell Inc.', ticker: 'DELL', price: 13, shares: 50, updateTime: 0 }]);
      // Once in a second, as a page in the background; from the tenth to the fortieth the server says nothing.
      for (let second = 0; second <= 45; second += 1) {
        if (second < 10 || second > 40) {
          market.quote({ ticker: 'DELL', price: 13 + second / 100 });
        }
        market.sample(second * 1000);
      }
      await new Promise((resolve) => { new ResizeObserver(resolve).observe(picture); });
      chart.draw(market, 45_000);
      return [picture.querySelector('.grid').textContent, picture.querySelector('.line').getAttribute('d')];
    });
    assert.match(grid, /45 seconds ago/);
    const parts = line.split('M').slice(1).map((part) => part.split('L'));
    assert.deepEqual(parts.map(({ length }) => length), [10, 5]);
    const places = parts.flat().map((point) => parseFloat(point));
    assert.ok(Math.abs((places[10] - places[9]) - 32 * (places[1] - places[0])) < 2, `${places}`);
    await shown.close();
  });

  test('a trade shows in every browser of its user, and at nobody else', async () => {
    const [fabrice, paulson] = [newcomer(), newcomer()];
    const one = await open(fabrice);
    const two = await open(fabrice);
    const other = await open(paulson);
    await one.trade('Buy', 'DELL', 10);
    // On its row: under way, and then done.
    await eventually(async () => assert.equal(await one.page.locator('[data-trade="done"] .said').innerText(), 'Bought 10'));
    for (const shown of [one, two]) {
      await shown.showsShares({ DELL: 60 });
      await shown.showsNotifications('Bought 10 DELL: you hold 60 now.');
      await eventually(async () => {
        const { price, value } = (await shown.rows()).DELL;
        assert.ok(Math.abs(number(value) - 60 * number(price)) < 0.005);
      });
    }
    await two.trade('Sell', 'GOOG', 5);
    for (const shown of [one, two]) {
      await shown.showsShares({ DELL: 60, GOOG: 0 });
      await shown.showsNotifications('Sold 5 GOOG: you hold 0 now.', 'Bought 10 DELL: you hold 60 now.');
    }
    // News come in order: had the other user been told of those trades, it would stand below this one.
    await other.trade('Buy', 'EMC', 1);
    await other.showsNotifications('Bought 1 EMC: you hold 76 now.');
    await other.showsShares({ EMC: 76 });

    await two.page.reload();
    await two.showsState('Connected');
    await two.showsShares({ DELL: 60, GOOG: 0 });
    await Promise.all([one, two, other].map((shown) => shown.close()));
  });

  test('what a page knows from its positions is no news', async () => {
    const name = newcomer();
    const one = await open(name);
    const two = await open(name);
    await one.trade('Buy', 'DELL', 10);
    await two.page.reload();
    await two.showsShares({ DELL: 60 });
    await one.showsNotifications('Bought 10 DELL: you hold 60 now.');
    await one.trade('Buy', 'EMC', 1);
    await two.showsNotifications('Bought 1 EMC: you hold 76 now.');
    await one.close();
    await two.close();
  });

  test('the dialog takes numbers that can be traded alone', async () => {
    const shown = await open(newcomer());
    await shown.trade('Buy', 'DELL', '99999999999999999999');
    assert.equal(await shown.dialog.getByRole('status').innerText(), '$0.00');
    await shown.dialog.getByLabel('Shares').fill('-1');
    await shown.page.keyboard.press('Enter');
    assert.equal(await shown.dialog.getByRole('status').innerText(), '$0.00');
    await shown.dialog.getByLabel('Shares').fill('1000000');
    await eventually(async () => assert.ok(number(await shown.dialog.getByRole('status').innerText()) > 1_000_000));
    await shown.close();
  });

  test('what is wrong with a trade, only the browser hears that sent it', async () => {
    const name = newcomer();
    const sender = await open(name);
    const witness = await open(name);
    await sender.trade('Sell', 'GOOG', 6);
    await sender.showsProblem(/Not enough shares: 6 GOOG to sell, 5 available/);
    await screenshot(sender.page, 'portfolio-error');
    for (const [trade, expected] of [
      ['{"action":"Buy","ticker":"ACME","shares":1}', /Unknown ticker: "ACME"/],
      ['{"action":"Buy","ticker":"DELL","shares":0}', /Invalid number of shares: 0, not from 1 to 1000000/],
      ['{"action":"Buy","ticker":"DELL","shares":"many"}', /expected a whole number/],
      ['{"action":"Steal","ticker":"DELL","shares":1}', /Steal/],
      ['Buy', /expected value/],
    ]) {
      await sender.send(trade);
      await sender.showsProblem(expected);
    }
    // The next trade that is right takes the alert away, and what it brings shows that the other browser was listening.
    await sender.trade('Buy', 'ORCL', 5);
    await sender.showsNotifications('Bought 5 ORCL: you hold 50 now.');
    await witness.showsNotifications('Bought 5 ORCL: you hold 50 now.');
    assert.equal(await sender.problem.innerText(), '');
    assert.equal(await witness.problem.innerText(), '');
    await sender.close();
    await witness.close();
  });

  test('trades by keyboard alone; Escape takes nothing', async () => {
    const shown = await open(newcomer());
    const { keyboard } = shown.page;
    const button = shown.page.getByRole('button', { name: 'Sell VMW' });
    const focused = (locator) => eventually(async () => {
      assert.ok(await locator.evaluate((node) => node === document.activeElement));
    });
    await button.focus();
    await keyboard.press('Enter');
    await shown.page.getByRole('dialog', { name: 'Sell VMW' }).waitFor();
    await focused(shown.dialog.getByLabel('Shares'));
    await keyboard.type('3');
    await eventually(async () => {
      const worth = number(await shown.dialog.getByRole('status').innerText());
      assert.ok(worth > 3 * 30 && worth < 3 * 140, `${worth}`);
    });
    await screenshot(shown.page, 'portfolio-dialog');
    await keyboard.press('Escape');
    await focused(button);
    assert.equal(await shown.dialog.count(), 0);
    await keyboard.press('Enter');
    await focused(shown.dialog.getByLabel('Shares'));
    await keyboard.press('Enter');
    assert.equal(await shown.dialog.count(), 1, 'a number is wanted');
    await keyboard.type('2');
    await keyboard.press('Enter');
    await focused(button);
    await shown.showsNotifications('Sold 2 VMW: you hold 21 now.');
    await shown.showsShares({ VMW: 21 });
    await shown.close();
  });

  test('thousands of updates a second are made, and the page gets the latest of them', async () => {
    const shown = await open(newcomer());
    await eventually(async () => {
      const { made, received } = await shown.rates();
      assert.ok(made >= 2000, `${made} made`);
      assert.ok(received > 0 && received < made / 2, `${received} of ${made} received`);
    });
    await shown.close();
  });

  test('a front end as that of the sample works as it is, with the token that Spring asks for too', async () => {
    const name = newcomer();
    const shown = await open(name);
    // What the sample's pages load beside SockJS.
    const stompjs = fileURLToPath(new URL('../node_modules/stompjs/lib/stomp.min.js', import.meta.url));
    await shown.page.evaluate(readFileSync(stompjs, 'utf8'));
    const heard = await shown.page.evaluate(async () => {
      const { headerName, token } = await (await fetch('/csrf')).json();
      return new Promise((resolve, reject) => {
      /* global SockJS, Stomp */
      const got = {};
      const stomp = Stomp.over(new SockJS('/portfolio/ws'));
      stomp.debug = null;
      const on = (destination, as, then = () => {}) => stomp.subscribe(destination, (message) => {
        if (!(as in got)) {
          got[as] = JSON.parse(message.body);
          then();
        }
      });
      stomp.connect({ login: '', passcode: '', [headerName]: token }, (frame) => {
        got.user = frame.headers['user-name'];
        on('/user/queue/errors', 'error', () => {
          // As typed into a text field.
          stomp.send('/app/trade', {}, JSON.stringify({ action: 'Buy', ticker: 'MSFT', shares: '10' }));
        });
        on('/user/queue/position-updates', 'update', () => stomp.disconnect(() => resolve(got)));
        on('/app/positions', 'positions', () => on('/topic/price.stock.*', 'quote', () => {
          stomp.send('/app/trade', {}, JSON.stringify({ action: 'Sell', ticker: 'MSFT', shares: 34 }));
        }));
      }, reject);
      });
    });
    assert.equal(heard.user, name);
    assert.deepEqual(heard.positions.map(({ ticker }) => ticker), TICKERS);
    assert.deepEqual(Object.keys(heard.positions[0]), ['company', 'ticker', 'price', 'shares', 'updateTime']);
    assert.deepEqual(Object.keys(heard.quote), ['ticker', 'price']);
    assert.ok(TICKERS.includes(heard.quote.ticker) && heard.quote.price > 0);
    assert.equal(heard.error, 'Not enough shares: 34 MSFT to sell, 33 available');
    const { company, ticker, shares, updateTime } = heard.update;
    assert.deepEqual({ company, ticker, shares }, { company: 'Microsoft', ticker: 'MSFT', shares: 43 });
    assert.ok(Math.abs(updateTime - Date.now()) < 60_000);
    await shown.close();
  });

  test('after the logout nothing of it is left', async () => {
    const shown = await open(newcomer());
    await shown.showsShares({});
    await shown.page.getByRole('button', { name: 'Log out' }).click();
    await shown.showsState('Disconnected');
    assert.equal(await shown.page.getByRole('table').count(), 0);
    await shown.login(newcomer());
    await shown.showsShares({});
    await shown.close();
  });

  test('a double click logs in once; who has become somebody else elsewhere is so here, after the next loss', async () => {
    const shown = await open();
    const { page } = shown;
    const sockets = [];
    page.on('websocket', (socket) => sockets.push(socket));
    let goOn;
    const clicked = new Promise((resolve) => { goOn = resolve; });
    await page.route('**/login', async (route) => {
      await clicked;
      await route.continue();
    });
    const [ada, bob] = [newcomer(), newcomer()];
    await page.getByLabel('Your name').fill(ada);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Log in' }).dblclick();
    goOn();
    await shown.showsState('Connected');
    await shown.trade('Buy', 'DELL', 10);
    await shown.showsShares({ DELL: 60 });
    assert.equal(sockets.length, 1);

    // No other tab of ours tells of it.
    await logInBy(shown.context.request, gallery.url, bob);
    const lose = () => page.evaluate(() => {
      // eslint-disable-next-line no-undef
      demo.stomp.forceDisconnect();
    });
    await lose();
    await eventually(async () => assert.equal(await page.locator('#who-name').innerText(), bob));
    await shown.showsState('Connected');
    await shown.showsShares({});
    await shown.showsNotifications();
    await shown.trade('Buy', 'EMC', 1);
    await shown.showsNotifications('Bought 1 EMC: you hold 76 now.');

    await logOutBy(shown.context.request, gallery.url);
    await lose();
    await page.getByLabel('Your name').waitFor();
    await shown.showsState('Disconnected');
    await eventually(() => assert.ok(sockets.every((socket) => socket.isClosed()), 'none is left open'));
    await shown.login(ada);
    await shown.showsShares({ DELL: 60 });
    await shown.close();
  });

  test('fits a phone, by day and by night', async () => {
    const backgrounds = [];
    for (const colorScheme of ['light', 'dark']) {
      const shown = await open(newcomer(), { viewport: { width: 360, height: 740 }, colorScheme, isMobile: true, hasTouch: true });
      await shown.trade('Buy', 'GOOG', 999_990);
      await shown.showsShares({ GOOG: 999_995 });
      const { wide, high } = await shown.page.evaluate(() => ({
        wide: document.documentElement.scrollWidth,
        high: [...document.querySelectorAll('#positions button')].map((field) => field.getBoundingClientRect().height),
      }));
      assert.equal(wide, 360, 'no sideways scrolling');
      assert.ok(high.every((height) => height >= 40), `large enough for a finger: ${high}`);
      await shown.showsWhatItHolds();
      assert.equal(await shown.page.getByRole('columnheader').count(), 6, 'a table for who cannot see it');
      backgrounds.push(await shown.page.evaluate(() => getComputedStyle(document.body).backgroundColor));
      await screenshot(shown.page, `portfolio-phone-${colorScheme}`);
      await shown.page.getByRole('button', { name: 'Sell GOOG' }).click();
      await screenshot(shown.page, `portfolio-phone-dialog-${colorScheme}`);
      await shown.page.keyboard.press('Escape');
      await shown.page.evaluate(() => { document.documentElement.style.fontSize = '200%'; });
      await shown.showsWhatItHolds();
      assert.equal(await shown.page.evaluate(() => document.documentElement.scrollWidth), 360, 'with large letters');
      await shown.close();
    }
    assert.notEqual(backgrounds[0], backgrounds[1]);
    const dark = await open(newcomer(), { colorScheme: 'dark' });
    await eventually(async () => assert.ok((await dark.page.locator('#chart .line').first().getAttribute('d')).length > 500));
    await screenshot(dark.page, 'portfolio-dark');
    await dark.close();
  });
});

/** A client of the prices that can stop reading. */
class Watcher {
  latest = {};
  received = 0;
  made = 0;
  closed = [];

  async connect({ url, address }, name) {
    const { cookie, headers } = await credentials(url, name);
    await new Promise((resolve, reject) => {
      this.client = new Client({
        webSocketFactory: () => {
          this.socket = new WebSocket(`ws://${address}/portfolio/ws/websocket`, 'v12.stomp', { headers: { cookie } });
          return this.socket;
        },
        connectHeaders: headers,
        // A paused client sends nothing either.
        heartbeatIncoming: 0,
        heartbeatOutgoing: 0,
        reconnectDelay: 0,
        onConnect: resolve,
        onStompError: (frame) => reject(new Error(frame.headers.message)),
        onWebSocketClose: ({ code, reason }) => this.closed.push(`${code} ${reason}`),
      });
      this.client.activate();
    });
    this.client.subscribe('/topic/price.stock.*', ({ body }) => {
      const { ticker, price } = JSON.parse(body);
      this.latest[ticker] = price;
      this.received += 1;
    });
    this.client.subscribe('/topic/price.rate', ({ body }) => { this.made += JSON.parse(body).updates; });
    await eventually(() => assert.deepEqual(Object.keys(this.latest).sort(), TICKERS));
  }
}

describe('portfolio with a slow consumer', { timeout: 300_000 }, () => {
  /** More than what the kernel's buffers and the server's outbox take for a connection: some 9 MB. */
  const PLENTY = 40_000;

  test('it is not closed, and has the latest prices when it reads again', async () => {
    const gallery = await startGallery();
    const fast = new Watcher();
    const slow = new Watcher();
    await fast.connect(gallery, 'fast');
    await slow.connect(gallery, 'slow');
    slow.socket.pause();
    const before = { slow: slow.received, made: fast.made };
    await eventually(() => assert.ok(fast.made - before.made > PLENTY, `${fast.made - before.made} made`), 120_000);
    assert.equal(slow.received, before.slow, 'it reads nothing');

    slow.socket.resume();
    await eventually(() => assert.deepEqual(slow.latest, fast.latest));
    const received = slow.received - before.slow;
    assert.ok(received < PLENTY / 2, `${received} received of ${PLENTY}: the others were replaced by later ones`);
    assert.deepEqual(slow.closed, []);
    const then = slow.received;
    await eventually(() => assert.ok(slow.received > then, 'and goes on'));

    await Promise.all([fast, slow].map(({ client }) => client.deactivate()));
    await gallery.stop();
  });
});

describe('portfolio while the server goes and comes back', { timeout: 300_000 }, () => {
  test('the page says so and goes on for the same user', async () => {
    const browser = await launch();
    const first = await startGallery();
    const shown = await Portfolio.open(browser, first.url, 'ada');
    await shown.trade('Buy', 'RHT', 1);
    await shown.showsShares({ RHT: 16 });
    first.hang();
    await shown.trade('Buy', 'RHT', 3);
    await first.kill();
    await shown.showsState('Reconnecting');
    await shown.showsUnconfirmed('Buy 3 RHT: may not have arrived');
    await shown.trade('Buy', 'RHT', 1);
    await shown.showsUnconfirmed('Buy 3 RHT: may not have arrived', 'Buy 1 RHT: not sent');
    await eventually(async () => assert.match(await shown.page.locator('#stale').innerText(), /These prices are old/));
    await shown.page.getByRole('button', { name: 'Buy RHT' }).click();
    const second = await startGallery({ listen: first.address, sessions: first.sessions });
    // That server knows nothing of what was before, and an open dialog follows it.
    await eventually(async () => assert.match(await shown.dialog.innerText(), /You hold 15\./));
    await shown.page.keyboard.press('Escape');
    await shown.showsState('Connected');
    assert.equal(await shown.problem.innerText(), '');
    await shown.showsShares({});
    await shown.page.getByRole('button', { name: 'Discard: Buy 1 RHT' }).click();
    await shown.page.getByRole('button', { name: 'Send again: Buy 3 RHT' }).click();
    await shown.showsShares({ RHT: 18 });
    await shown.showsUnconfirmed();
    await shown.close();
    await second.stop();
    await browser.close();
  });

  test('the gallery stops with the market open', async () => {
    const gallery = await startGallery();
    const watcher = new Watcher();
    await watcher.connect(gallery, 'ada');
    const { code } = await gallery.stop();
    assert.equal(code, 0);
    await eventually(() => assert.deepEqual(watcher.closed, ['1001 the server is going away']));
  });
});
