// The whiteboard demo: several people, one picture.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, openWindow, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { logInBy } from '../lib/people.mjs';
import { eventually } from '../lib/wait.mjs';

/** The page as somebody in front of it sees it. */
class Whiteboard {
  static async open(browser, url, name, options) {
    const shown = Object.assign(new Whiteboard(), await openWindow(browser, options));
    await logInBy(shown.context.request, url, name);
    await shown.page.goto(`${url}/whiteboard/`);
    await shown.connected();
    shown.surface = shown.page.getByRole('application', { name: 'Board' });
    shown.undo = shown.page.getByRole('button', { name: 'Undo' });
    return shown;
  }

  connected() {
    return eventually(async () => assert.equal(await this.page.locator('#state').innerText(), 'Connected'));
  }

  /** Draws through places given as parts of the board, by mouse. */
  async draw(...places) {
    const { x, y, width, height } = await this.surface.boundingBox();
    const { mouse } = this.page;
    for (const [index, [across, down]] of places.entries()) {
      await mouse.move(x + across * width, y + down * height, { steps: 5 });
      if (index === 0) {
        await mouse.down();
      }
    }
    await mouse.up();
  }

  counts(strokes) {
    return eventually(async () => {
      assert.equal(await this.page.locator('#pen-count').innerText(), strokes === 1 ? '1 stroke.' : `${strokes} strokes.`);
      assert.ok(await this.isSettled(), 'what is drawn here has come back');
    });
  }

  isSettled() {
    return this.page.evaluate(() => Object.keys(sessionStorage).every((key) => sessionStorage.getItem(key) === '[]'));
  }

  picture() {
    return this.page.evaluate(() => document.getElementById('strokes').toDataURL());
  }

  close() {
    return this.context.close();
  }
}

describe('whiteboard', { timeout: 300_000 }, () => {
  let gallery;
  let browser;
  const open = (name, options) => Whiteboard.open(browser, gallery.url, name, options);
  const same = (...boards) => eventually(async () => {
    const [first, ...others] = await Promise.all(boards.map((board) => board.picture()));
    others.forEach((other) => assert.ok(other === first, 'one picture for all'));
  });

  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  // Each test has an empty board.
  const onNewBoard = (title, run) => test(title, async () => {
    gallery = await startGallery();
    try {
      await run();
    } finally {
      await gallery.stop();
    }
  });

  onNewBoard('two draw at once: one picture, with the name at each cursor; who joins later gets it first', async () => {
    const [ada, bob] = [await open('ada'), await open('bob')];
    const empty = await ada.picture();
    await Promise.all([
      ada.draw([0.1, 0.1], [0.5, 0.5], [0.9, 0.1]),
      bob.draw([0.1, 0.9], [0.5, 0.3], [0.9, 0.9]),
    ]);
    await ada.counts(2);
    await bob.counts(2);
    await same(ada, bob);
    assert.notEqual(await ada.picture(), empty);
    for (const [shown, other] of [[ada, 'bob'], [bob, 'ada']]) {
      await eventually(async () => assert.deepEqual(await shown.page.locator('.cursor').allInnerTexts(), [other]));
    }
    await screenshot(ada.page, 'whiteboard');
    const eve = await open('eve');
    await eve.counts(2);
    await same(ada, eve);
    assert.deepEqual(ada.complaints, []);
    await Promise.all([ada, bob, eve].map((board) => board.close()));
  });

  onNewBoard('undo takes away what its user has drawn last, everywhere and after a reload too', async () => {
    const [ada, bob] = [await open('ada'), await open('bob')];
    assert.equal(await ada.undo.isEnabled(), false);
    await ada.draw([0.1, 0.1], [0.4, 0.4]);
    await ada.counts(1);
    const before = await ada.picture();
    await ada.draw([0.6, 0.1], [0.6, 0.4]);
    await bob.counts(2);
    await bob.draw([0.2, 0.8], [0.8, 0.8]);
    await ada.counts(3);
    await bob.undo.click();
    await ada.counts(2);
    await ada.page.reload();
    await ada.connected();
    await ada.undo.click();
    await ada.counts(1);
    await bob.counts(1);
    await same(ada, bob);
    assert.equal(await ada.picture(), before);
    assert.equal(await bob.undo.isEnabled(), false);
    await ada.close();
    await bob.close();
  });

  onNewBoard('who was away catches up, and what was drawn meanwhile is not lost', async () => {
    const [ada, bob] = [await open('ada'), await open('bob')];
    await bob.draw([0.1, 0.1], [0.3, 0.3]);
    await ada.counts(1);
    await ada.context.setOffline(true);
    await eventually(async () => assert.equal(await ada.page.locator('#state').innerText(), 'Reconnecting'));
    await bob.draw([0.5, 0.1], [0.5, 0.6]);
    await bob.counts(2);
    await ada.draw([0.2, 0.9], [0.8, 0.7]);
    await eventually(async () => assert.match(await ada.page.locator('#waiting').innerText(), /is kept, and sent when/));
    await screenshot(ada.page, 'whiteboard-away');
    await ada.draw([0.9, 0.1], [0.9, 0.9]);
    await ada.undo.click();
    await ada.context.setOffline(false);
    await ada.connected();
    await ada.counts(3);
    await bob.counts(3);
    await same(ada, bob);
    assert.equal(await ada.page.locator('#waiting').innerText(), '');
    await ada.close();
    await bob.close();
  });

  test('over a restart the picture stays on the page, and what was underway is sent again', async () => {
    const first = await startGallery();
    gallery = first;
    const ada = await open('ada');
    await ada.draw([0.1, 0.1], [0.3, 0.3]);
    await ada.counts(1);
    first.hang();
    await ada.draw([0.5, 0.1], [0.5, 0.6]);
    await first.kill();
    const second = await startGallery({ listen: first.address, sessions: first.sessions });
    await ada.connected();
    await ada.counts(2);
    // That server has only what came to it.
    gallery = second;
    const bob = await open('bob');
    await bob.counts(1);
    await ada.close();
    await bob.close();
    await second.stop();
  });

  onNewBoard('draws by keyboard alone', async () => {
    const ada = await open('ada');
    await ada.surface.focus();
    const { keyboard } = ada.page;
    await keyboard.press('Space');
    for (const arrow of ['ArrowRight', 'ArrowRight', 'ArrowDown']) {
      await keyboard.press(arrow);
    }
    await keyboard.press('Space');
    await keyboard.press('ArrowRight');
    await ada.counts(1);
    await ada.close();
  });

  onNewBoard('draws by touch on a phone, by day and by night', async () => {
    for (const [strokes, colorScheme] of [[1, 'light'], [2, 'dark']]) {
      const ada = await open('ada', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, colorScheme });
      await ada.page.getByRole('radio', { name: 'Red' }).tap();
      await ada.surface.tap();
      await ada.counts(strokes);
      assert.equal(await ada.page.evaluate(() => document.documentElement.scrollWidth), 360, 'no sideways scrolling');
      await screenshot(ada.page, `whiteboard-phone-${colorScheme}`);
      await ada.close();
    }
  });
});
