// The notifications demo: what REST sends becomes toasts, for everyone or one user, now or later.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { launch, openWindow, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { PASSWORD, credentials, logInBy } from '../lib/people.mjs';
import { eventually } from '../lib/wait.mjs';

/** The page as its user sees it. */
class Page {
  /** Toasts do not go by themselves while a test looks at them, unless it wants to see that. */
  static async open(browser, gallery, { go = false, ...options } = {}) {
    const window = Object.assign(new Page(), await openWindow(browser, options));
    await window.page.addInitScript((fast) => {
      const sleep = window.setTimeout;
      const stays = [12_000, 30_000];
      const never = 2 ** 31 - 1;
      window.setTimeout = (act, delay, ...values) => sleep(act, stays.includes(delay) ? (fast ? 500 : never) : delay, ...values);
    }, go);
    await window.page.goto(`${gallery.url}/notifications/`);
    await window.connected('for what everyone gets');
    return window;
  }

  async logIn(name) {
    await this.page.getByLabel('Your name').fill(name);
    await this.page.getByLabel('Password').fill(PASSWORD);
    await this.page.getByRole('button', { name: 'Log in' }).click();
    await this.connected(`as ${name}`);
  }

  async logOut() {
    await this.page.getByRole('button', { name: 'Log out' }).click();
    await this.connected('for what everyone gets');
  }

  connected(detail) {
    return eventually(async () => {
      const state = this.page.getByRole('region', { name: 'Connection' }).locator('.state');
      assert.equal((await state.innerText()).replace(/\s+/g, ' '), `Connected ${detail}`);
    });
  }

  get toasts() {
    return this.page.getByRole('region', { name: 'New notifications' }).locator('.text');
  }

  get received() {
    return this.page.locator('#received').getByRole('listitem');
  }

  showsToasts(...texts) {
    return eventually(async () => assert.deepEqual((await this.toasts.allInnerTexts()).sort(), texts.toSorted()));
  }

  /** The list's texts, the newest first; those that are unread with a star. */
  lists(...texts) {
    return eventually(async () => {
      const rows = await this.received.evaluateAll((items) => items.map((item) => (
        `${item.querySelector('.new').hidden ? '' : '* '}${item.querySelector('.text').textContent}`)));
      assert.deepEqual(rows, texts);
    });
  }

  dismiss(text) {
    return this.page.getByRole('button', { name: `Dismiss: ${text}`, exact: true }).click();
  }
}

describe('notifications', () => {
  let gallery;
  let browser;
  let key;
  const keyOf = async ({ url }) => {
    const { cookie } = await credentials(url, 'ada');
    return (await fetch(`${url}/notifications/key`, { headers: { cookie } })).text();
  };
  before(async () => {
    [gallery, browser] = await Promise.all([startGallery(), launch()]);
    key = await keyOf(gallery);
  });
  after(async () => {
    await browser?.close();
    await gallery?.stop();
  });

  const post = async (path, draft) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const answer = await fetch(`${gallery.url}${path}`, { method: 'POST', headers, body: JSON.stringify(draft) });
    const { id, ...rest } = await answer.json();
    assert.ok(id);
    return rest;
  };

  const open = (options) => Page.open(browser, gallery, options);
  const close = (...windows) => Promise.all(windows.map(({ context, complaints }) => {
    assert.deepEqual(complaints.filter((text) => !text.includes('401')), []);
    return context.close();
  }));

  test('a POST to everyone is a toast in every browser, as text', async () => {
    const [one, two] = [await open(), await open()];
    const text = '<b>Lunch</b> & <img src=x onerror=alert(1)>';
    assert.deepEqual(await post('/notifications', { text }), { received_by: 2 });
    for (const window of [one, two]) {
      await window.showsToasts(text);
      await window.lists(`* ${text}`);
      assert.equal(await window.page.title(), '(1) Notifications · Tramline gallery');
      assert.equal(await window.page.locator('b, main img').count(), 0);
    }
    await one.dismiss(text);
    await one.showsToasts();
    await one.lists(text);
    assert.equal(await one.page.title(), 'Notifications · Tramline gallery');
    await two.showsToasts(text);
    await close(one, two);
  });

  test('a POST to a user is a toast in all of the user\'s browsers and no other, and seen in one is seen in all', async () => {
    const [desk, phone, bob, anybody] = [await open(), await open(), await open(), await open()];
    await desk.logIn("ada-o'hara");
    await phone.logIn("ada-o'hara");
    await bob.logIn('bob');
    const to = '/notifications/users/Ada-O%27Hara';
    assert.deepEqual(await post(to, { text: 'for Ada', level: 'warning' }), { received_by: 2 });
    assert.deepEqual(await post('/notifications', { text: 'for all' }), { received_by: 4 });
    for (const window of [desk, phone]) {
      await window.showsToasts('for Ada', 'for all');
      await window.lists('* for all', '* for Ada');
    }
    for (const window of [bob, anybody]) {
      // It was sent later, so what was not for them would be there by now.
      await window.showsToasts('for all');
      await window.lists('* for all');
    }
    await phone.dismiss('for Ada');
    await desk.showsToasts('for all');
    await desk.lists('* for all', 'for Ada');

    // Who logs out leaves nothing of theirs behind.
    await desk.logOut();
    await desk.lists('* for all');
    await close(desk, phone, bob, anybody);
  });

  test('who was away gets it at the next login, once; what was seen stays so', async () => {
    const to = '/notifications/users/Carol';
    assert.deepEqual(await post(to, { text: 'first' }), { received_by: 0, waits: true });
    assert.deepEqual(await post(to, { text: 'second', level: 'error' }), { received_by: 0, waits: true });
    const carol = await open();
    await carol.lists();
    await carol.logIn('carol');
    await carol.showsToasts('first', 'second');
    await carol.lists('* second', '* first');

    await carol.dismiss('first');
    await carol.page.reload();
    await carol.connected('as carol');
    await carol.showsToasts('second');
    await carol.lists('* second', 'first');

    await carol.page.getByRole('button', { name: 'Mark all as read' }).click();
    await carol.showsToasts();
    await carol.lists('second', 'first');
    const elsewhere = await open();
    await elsewhere.logIn('carol');
    await elsewhere.lists('second', 'first');
    await elsewhere.showsToasts();
    await close(carol, elsewhere);
  });

  test('a toast goes by itself, and stays unread in the list; not while somebody is at it', async () => {
    const window = await open({ go: true });
    await post('/notifications', { text: 'passing' });
    await window.lists('* passing');
    await window.showsToasts();
    await window.lists('* passing');

    await window.page.evaluate(() => {
      // Somebody is there as soon as it comes.
      new MutationObserver((_, observer) => {
        document.querySelector('.toast button').focus();
        observer.disconnect();
      }).observe(document.getElementById('polite'), { childList: true });
    });
    await post('/notifications', { text: 'staying' });
    await window.showsToasts('staying');
    await post('/notifications', { text: 'later' });
    await window.lists('* later', '* staying', '* passing');
    await window.showsToasts('later', 'staying');
    await window.page.getByLabel('Text').focus();
    await window.showsToasts();
    await close(window);
  });

  test('what is for everyone is caught up after a loss', async () => {
    const window = await open();
    await window.context.setOffline(true);
    await eventually(async () => assert.equal(await window.page.locator('#state').innerText(), 'Reconnecting'));
    await post('/notifications', { text: 'meanwhile' });
    await window.context.setOffline(false);
    await window.connected('for what everyone gets');
    await window.lists('* meanwhile');
    await window.showsToasts('meanwhile');
    await window.context.close();
  });

  test('the server restarts: the page connects again, for the same user', async () => {
    const other = await startGallery();
    const page = await Page.open(browser, other);
    await page.logIn('dora');
    await other.stop();
    await eventually(async () => assert.equal(await page.page.locator('#state').innerText(), 'Reconnecting'));
    const again = await startGallery({ listen: other.address, sessions: other.sessions });
    await page.connected('as dora');
    const headers = { authorization: `Bearer ${await keyOf(again)}`, 'content-type': 'application/json' };
    const answer = await fetch(`${again.url}/notifications/users/Dora`, { method: 'POST', headers, body: '{"text": "back"}' });
    assert.equal((await answer.json()).received_by, 1);
    await page.showsToasts('back');
    await page.context.close();
    await again.stop();
  });

  test('who is somebody else elsewhere, or nobody, is so here too', async () => {
    const to = (name, text) => post(`/notifications/users/${name}`, { text });
    await to('Grace', 'for Grace');
    await to('Heidi', 'for Heidi');
    const window = await open();
    await window.logIn('grace');
    await window.showsToasts('for Grace');
    // No other tab of ours tells of it: the next connection finds out.
    await logInBy(window.context.request, gallery.url, 'heidi');
    await window.page.evaluate(() => {
      // eslint-disable-next-line no-undef
      demo.stomp.forceDisconnect();
    });
    await window.connected('as heidi');
    await window.lists('* for Heidi');
    await window.showsToasts('for Heidi');

    const tab = Object.assign(new Page(), { page: await window.context.newPage() });
    await tab.page.goto(`${gallery.url}/notifications/`);
    await tab.connected('as heidi');
    await tab.logOut();
    await window.connected('for what everyone gets');
    await window.lists();
    await window.showsToasts();
    await tab.logIn('grace');
    await window.connected('as grace');
    await window.lists('* for Grace');
    await close(window);
  });

  test('a server that cannot say at first who is logged in is asked again, and the form is there', async () => {
    const window = Object.assign(new Page(), await openWindow(browser));
    const { page, context } = window;
    await logInBy(context.request, gallery.url, 'ivan');
    await page.route('**/me', (route) => route.fulfill({ status: 502, contentType: 'text/html', body: '<h1>Bad</h1>' }));
    await page.goto(`${gallery.url}/notifications/`);
    await eventually(async () => assert.match(
      await page.locator('#problem').innerText(), /not known yet\s+the server answered 502/));
    assert.ok(await page.getByLabel('Your name').isVisible());
    await page.unroute('**/me');
    await window.connected('as ivan');
    await eventually(async () => assert.equal(await page.locator('#problem').isVisible(), false));
    assert.equal(await page.getByLabel('Your name').isVisible(), false);
    await context.close();
  });

  test('the form sends, shows the command that does the same, and says what came of it', async () => {
    const window = await open();
    const { page } = window;
    const result = page.locator('#result');
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await eventually(async () => assert.match(await page.locator('#problem').innerText(), /log in, or send the key/));
    await window.logIn('ada');
    let goOn;
    const clicked = new Promise((resolve) => { goOn = resolve; });
    await page.route('**/notifications', async (route) => {
      await clicked;
      await route.continue();
    });
    // Once, however often it is clicked.
    await page.getByRole('button', { name: 'Send', exact: true }).dblclick();
    goOn();
    await window.showsToasts('Lunch is ready');
    await eventually(async () => assert.equal(await result.innerText(), '1 browser got it.'));

    await page.getByRole('textbox', { name: 'To', exact: true }).fill("eve's-mother");
    await page.getByLabel('Text').fill(`it's "5" o'clock`);
    await page.getByLabel('Level').selectOption('Success');
    const command = await page.locator('#command').innerText();
    assert.match(command, /^curl -X POST /);
    assert.deepEqual(JSON.parse(execFileSync('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'ignore'] })).waits, true);
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await eventually(async () => assert.equal(await result.innerText(), "eve's-mother is not here: it waits."));
    await window.logOut();
    await window.logIn("eve's-mother");
    await window.lists(`* it's "5" o'clock`, `* it's "5" o'clock`, '* Lunch is ready');

    await page.getByLabel('Text').fill('x'.repeat(501));
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await eventually(async () => assert.match(await page.locator('#problem').innerText(), /has 501 characters, at most 500/));
    await page.getByRole('textbox', { name: 'To', exact: true }).fill('..');
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await eventually(async () => assert.match(await page.locator('#problem').innerText(), /Nobody is called "\.\."/));
    await window.context.close();
  });

  test('toasts are told by their urgency, few at a time, and left by the keyboard', async () => {
    const window = await open({ reducedMotion: 'reduce' });
    const { page } = window;
    for (const [text, level] of [['one', 'info'], ['two', 'success'], ['three', 'warning'], ['four', 'error']]) {
      await post('/notifications', { text, level });
    }
    await window.showsToasts('two', 'three', 'four');
    await window.lists('* four', '* three', '* two', '* one');
    assert.deepEqual(await page.locator('[role=alert] .toast .text').allInnerTexts(), ['four', 'three']);
    assert.deepEqual(await page.locator('[role=status] .toast .text').allInnerTexts(), ['two']);
    assert.deepEqual(await page.locator('.toast .kind').allInnerTexts(), ['Error', 'Warning', 'Success']);
    assert.equal(await page.locator('.toast').first().evaluate((toast) => getComputedStyle(toast).animationName), 'none');

    await page.getByRole('button', { name: 'Dismiss: three' }).focus();
    for (const next of ['Dismiss: four', 'Dismiss: two']) {
      await page.keyboard.press('Enter');
      await eventually(async () => assert.equal(
        await page.evaluate(() => document.activeElement.getAttribute('aria-label')), next));
    }
    await page.keyboard.press('Enter');
    await window.showsToasts();
    assert.equal(await page.evaluate(() => document.activeElement.id), 'received-title');
    await window.lists('four', 'three', 'two', '* one');
    await close(window);
  });

  for (const [name, options] of [
    ['light', { viewport: { width: 1100, height: 900 }, colorScheme: 'light' }],
    ['phone-dark', { viewport: { width: 360, height: 740 }, colorScheme: 'dark' }],
  ]) {
    test(`it looks well: ${name}`, async () => {
      const window = await open({ ...options, reducedMotion: 'reduce' });
      const frida = name.replace('-', '').padEnd(40, 'x');
      await window.logIn(frida);
      await post('/notifications', { text: 'Backup done', level: 'success' });
      await post('/notifications', { text: `Lunch is ready: ${'soup, '.repeat(20)}`, level: 'info' });
      await window.showsToasts('Backup done', `Lunch is ready: ${'soup, '.repeat(20)}`.trim());
      await window.page.getByRole('button', { name: 'Mark all as read' }).click();
      await post(`/notifications/users/${frida}`, { text: 'Disk nearly full', level: 'warning' });
      await post(`/notifications/users/${frida}`, { text: `Disk full: ${'x'.repeat(90)}`, level: 'error' });
      await post('/notifications', { text: 'Doors open at 9', level: 'info' });
      await eventually(async () => assert.equal(await window.toasts.count(), 3));
      assert.equal(await window.page.evaluate(() => document.documentElement.scrollWidth), options.viewport.width);
      await window.page.evaluate(() => scrollTo(0, 0));
      await screenshot(window.page, `notifications-${name}`);
      await window.context.close();
    });
  }
});
