// The chat demo: several browsers, as several people.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, openWindow, screenshot } from '../lib/browser.mjs';
import { startGallery } from '../lib/gallery.mjs';
import { PASSWORD, logOutBy } from '../lib/people.mjs';
import { eventually } from '../lib/wait.mjs';

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

/** The page as somebody in front of it sees it. */
class Chat {
  static async open(browser, url, options = {}) {
    const chat = new Chat();
    Object.assign(chat, await openWindow(browser, options));
    const { page } = chat;
    const answer = await page.goto(url);
    assert.equal(answer.status(), 200);
    chat.name = page.getByLabel('Your name');
    chat.password = page.getByLabel('Password');
    chat.state = page.getByRole('status');
    chat.field = page.getByLabel(/^(Message to everyone in|Private message to) /);
    chat.log = page.getByRole('log');
    chat.members = page.getByRole('region', { name: 'Here now' }).getByRole('listitem');
    chat.drawer = page.getByRole('button', { name: /^People/ });
    chat.typing = page.locator('#typing');
    chat.error = page.locator('#error');
    chat.problem = page.locator('#problem');
    return chat;
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  async logIn(name) {
    await this.name.fill(name);
    await this.password.fill(PASSWORD);
    await this.button('Log in').click();
    await this.shows(this.state, 'Connected');
    await this.showPeople();
    await this.isHere(`${name} (you)`);
    await this.page.keyboard.press('Escape');
    await this.field.focus();
  }

  /** Opens the drawer, where people are in one. */
  async showPeople() {
    if (await this.drawer.isVisible()) {
      await this.drawer.click();
    }
  }

  async enter(room) {
    await this.roomLink(room).click();
    await this.page.getByRole('heading', { name: room, exact: true }).waitFor();
  }

  /** Beginning with its name; what is unread follows. */
  roomLink(room) {
    return this.page.getByRole('navigation', { name: 'Rooms' }).getByRole('link', { name: new RegExp(`^${room}\\b`) });
  }

  async say(text) {
    await this.field.fill(text);
    await this.field.press('Enter');
  }

  async whisper(name, text) {
    await this.showPeople();
    await this.button(name).click();
    await this.page.getByLabel(`Private message to ${name}`, { exact: true }).waitFor();
    await this.say(text);
  }

  shows(locator, text) {
    return eventually(async () => assert.equal(await locator.innerText(), text));
  }

  isHere(...names) {
    return eventually(async () => {
      const here = await this.members.allInnerTexts();
      names.forEach((name) => assert.ok(here.includes(name), `${name} among ${here}`));
    });
  }

  showsMembers(...names) {
    return eventually(async () => assert.deepEqual(await this.members.allInnerTexts(), names));
  }

  /** What is in the log: `from: text`, private ones with their mark, notices as they are. */
  lines() {
    return this.log.getByRole('listitem').evaluateAll((items) => items.map((item) => {
      const part = (kind) => item.querySelector(kind)?.textContent;
      const mark = part('.mark') ? `[${part('.mark')}] ` : '';
      return part('.from') === undefined ? item.textContent : `${mark}${part('.from')}: ${part('.text')}`;
    }));
  }

  showsLines(...lines) {
    return eventually(async () => assert.deepEqual(await this.lines(), lines));
  }

  close() {
    return this.context.close();
  }
}

describe('chat', { timeout: 300_000 }, () => {
  let gallery;
  let browser;
  const open = (options) => Chat.open(browser, `${gallery.url}/chat/`, options);

  /** Everybody in the lobby, in their own browsers. */
  const gather = async (...names) => {
    const people = [];
    for (const name of names) {
      const chat = await open();
      await chat.logIn(name);
      people.push(chat);
    }
    for (const [index, chat] of people.entries()) {
      await chat.isHere(...names.map((name, other) => (other === index ? `${name} (you)` : name)));
    }
    return people;
  };

  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  // Each test has rooms without a past.
  const inNewRooms = (title, run) => test(title, async () => {
    gallery = await startGallery();
    try {
      await run();
    } finally {
      await gallery.stop();
    }
  });

  inNewRooms('a name, a line: both see it, and who joins and leaves', async () => {
    const ada = await open();
    assert.deepEqual(await ada.page.getByRole('log').count(), 0, 'nothing of the chat before the login');
    await ada.logIn('ada');
    await ada.showsMembers('ada (you)');
    const bob = await open();
    await bob.logIn('bob');
    await ada.showsMembers('ada (you)', 'bob');
    await bob.showsMembers('ada', 'bob (you)');
    await ada.showsLines('bob joined');

    await ada.say('hello, bob');
    await bob.say('hello, ada');
    await ada.showsLines('bob joined', 'ada: hello, bob', 'bob: hello, ada');
    await bob.showsLines('ada: hello, bob', 'bob: hello, ada');
    await ada.shows(ada.state, 'Connected');
    assert.equal(await ada.field.inputValue(), '');

    await bob.close();
    await ada.showsMembers('ada (you)');
    await ada.showsLines('bob joined', 'ada: hello, bob', 'bob: hello, ada', 'bob left');
    assert.deepEqual(ada.complaints, []);
    await ada.close();
  });

  inNewRooms('two tabs of one browser are one member, who stays until both are closed', async () => {
    const [ada, bob] = await gather('ada', 'bob');
    const second = await ada.context.newPage();
    await second.goto(`${gallery.url}/chat/`);
    await eventually(async () => assert.equal(await second.getByRole('status').innerText(), 'Connected'));
    await bob.showsMembers('ada', 'bob (you)');
    await ada.page.close();
    await bob.say('still there?');
    await eventually(async () => assert.match(await second.getByRole('log').innerText(), /still there\?/));
    await bob.showsMembers('ada', 'bob (you)');
    await second.close();
    await bob.showsMembers('bob (you)');
    await bob.showsLines('bob: still there?', 'ada left');
    await ada.close();
    await bob.close();
  });

  inNewRooms('typing is seen, and gone when it is deleted, sent, forgotten or left alone', async () => {
    const [ada, bob, eve] = await gather('ada', 'bob', 'eve');
    await bob.field.pressSequentially('h');
    await ada.shows(ada.typing, 'bob is typing…');
    await eve.field.pressSequentially('h');
    await ada.shows(ada.typing, 'bob and eve are typing…');
    assert.equal(await bob.typing.innerText(), 'eve is typing…', 'nobody is told of oneself');
    await screenshot(ada.page, 'chat-typing');
    await bob.field.fill('');
    await ada.shows(ada.typing, 'eve is typing…');
    await eve.say('sent');
    await ada.shows(ada.typing, '');

    await bob.field.pressSequentially('forgotten');
    await ada.shows(ada.typing, 'bob is typing…');
    await ada.shows(ada.typing, '');

    await eve.field.pressSequentially('left');
    await ada.shows(ada.typing, 'eve is typing…');
    await eve.close();
    await ada.showsMembers('ada (you)', 'bob');
    await ada.shows(ada.typing, '');
    await ada.close();
    await bob.close();
  });

  inNewRooms('a private message is seen by the two it concerns, in all their tabs', async () => {
    const [ada, bob, eve] = await gather('ada', 'bob', 'eve');
    const tab = await ada.context.newPage();
    await tab.goto(`${gallery.url}/chat/`);
    await eventually(async () => assert.equal(await tab.getByRole('status').innerText(), 'Connected'));

    await ada.whisper('bob', 'between us');
    await bob.whisper('ada', 'of course');
    await eve.say('what are you up to?');
    await ada.page.keyboard.press('Escape');
    await ada.say('nothing');
    const ends = (chat, ...lines) => eventually(async () => {
      assert.deepEqual((await chat.lines()).filter((line) => !line.endsWith('joined')), lines);
    });
    await ends(ada, '[private to bob] ada: between us', '[private] bob: of course', 'eve: what are you up to?', 'ada: nothing');
    await ends(bob, '[private] ada: between us', '[private to ada] bob: of course', 'eve: what are you up to?', 'ada: nothing');
    await ends(eve, 'eve: what are you up to?', 'ada: nothing');
    await eventually(async () => assert.match(await tab.getByRole('log').innerText(), /private to bob[^]*between us[^]*of course/));
    await screenshot(ada.page, 'chat-private');

    await bob.enter('rust');
    await bob.showsLines('[private] ada: between us', '[private to ada] bob: of course');
    await Promise.all([ada, bob, eve].map((chat) => chat.close()));
  });

  inNewRooms('what was wrong is told to the sender alone, and the text comes back', async () => {
    const [ada, bob] = await gather('ada', 'bob');
    const fails = async (text, error) => {
      await ada.say(text);
      await ada.shows(ada.error, error);
      assert.equal(await ada.field.inputValue(), text);
    };
    await fails('x'.repeat(501), 'A line has at most 500 characters, this one has 501.');
    assert.ok(await ada.page.getByRole('alert').filter({ hasText: 'this one has 501' }).isVisible());
    await screenshot(ada.page, 'chat-error');

    await ada.button('bob').click();
    await ada.field.fill('are you there?');
    await bob.close();
    await ada.showsMembers('ada (you)');
    await fails('are you there?', 'Nobody called "bob" is here.');

    await ada.button('To everyone').click();
    await ada.say('   ');
    assert.equal(await ada.error.isVisible(), true, 'an empty line is none');
    await ada.field.fill('alone');
    await ada.button('Send').click();
    assert.ok(await ada.field.evaluate((field) => field === document.activeElement), 'ready for the next line');
    await eventually(async () => assert.deepEqual((await ada.lines()).at(-1), 'ada: alone'));
    assert.equal(await ada.error.isVisible(), false);

    await ada.page.evaluate(() => {
      // eslint-disable-next-line no-undef
      demo.stomp.publish({ destination: '/app/rooms/attic/say', body: '{"text":"x"}' });
    });
    await ada.shows(ada.error, 'There is no room called "attic".');
    await ada.shows(ada.state, 'Connected');
    const eve = await open();
    await eve.logIn('eve');
    await eve.showsLines('ada: alone');
    assert.equal(await eve.error.isVisible(), false);
    await ada.close();
    await eve.close();
  });

  inNewRooms('who joins sees the last fifty lines of this room, and of no other', async () => {
    const ada = await open();
    await ada.logIn('ada');
    const texts = Array.from({ length: 60 }, (_, index) => `line ${index + 1}`);
    for (const text of texts) {
      await ada.say(text);
    }
    await ada.showsLines(...texts.map((text) => `ada: ${text}`));
    const bob = await open();
    await bob.logIn('bob');
    await bob.showsLines(...texts.slice(10).map((text) => `ada: ${text}`));
    const scrolled = await bob.log.evaluate((box) => box.scrollHeight - box.clientHeight - box.scrollTop);
    assert.ok(scrolled < 8, 'the newest line is in view');

    await bob.enter('music');
    await bob.showsMembers('bob (you)');
    await bob.showsLines();
    await ada.showsMembers('ada (you)');
    await bob.say('elsewhere');
    await bob.showsLines('bob: elsewhere');
    await ada.showsLines(...texts.map((text) => `ada: ${text}`), 'bob joined', 'bob left');
    await bob.page.goBack();
    await bob.showsMembers('ada', 'bob (you)');
    await bob.showsLines(...texts.slice(10).map((text) => `ada: ${text}`));
    await ada.close();
    await bob.close();
  });

  inNewRooms('names and lines that look like markup show as typed', async () => {
    const [ada, odd] = await gather('ada', '<b>bob</b>&"co"');
    await odd.say('<b>bold</b> <img src=x onerror=alert(1)>');
    await ada.showsLines('<b>bob</b>&"co" joined', '<b>bob</b>&"co": <b>bold</b> <img src=x onerror=alert(1)>');
    await ada.whisper('<b>bob</b>&"co"', '<i>psst</i>');
    await odd.showsLines('<b>bob</b>&"co": <b>bold</b> <img src=x onerror=alert(1)>', '[private] ada: <i>psst</i>');
    assert.equal(await ada.page.locator('main :is(b, i, img)').count(), 0);
    await ada.close();
    await odd.close();
  });

  inNewRooms('a reload keeps the login and the room; logging out ends both', async () => {
    const [ada, bob] = await gather('ada', 'bob');
    await ada.enter('rust');
    await bob.showsMembers('bob (you)');
    await ada.page.reload();
    await ada.shows(ada.state, 'Connected');
    await ada.page.getByRole('heading', { name: 'rust', exact: true }).waitFor();
    await ada.showsMembers('ada (you)');
    await ada.page.route('**/logout', (route) => route.abort(), { times: 1 });
    await ada.button('Log out').click();
    await eventually(async () => assert.match(
      await ada.problem.innerText(), /^The logout did not work\s+no answer from the server$/));
    await ada.button('Log out').click();
    await ada.name.waitFor();
    assert.equal(await ada.log.count(), 0);
    await bob.enter('rust');
    await bob.showsMembers('bob (you)');
    await ada.page.reload();
    await ada.name.waitFor();
    await ada.logIn('adele');
    await bob.showsMembers('adele', 'bob (you)');
    await ada.close();
    await bob.close();
  });

  inNewRooms('a logout without a word to the pages ends their sockets, by each transport, with the reason', async () => {
    for (const transport of ['websocket', 'xhr-streaming', 'xhr-polling']) {
      const ada = await Chat.open(browser, `${gallery.url}/chat/?transport=${transport}`);
      await ada.logIn('ada');
      await logOutBy(ada.context.request, gallery.url);
      await eventually(async () => assert.match(await ada.problem.innerText(), /you have logged out \(1008\)/));
      await ada.name.waitFor();
      await ada.close();
    }
  });

  inNewRooms('a name that is none and a wrong password are refused at the form', async () => {
    const ada = await open();
    for (const name of ['   ', 'ada']) {
      await ada.name.fill(name);
      await ada.password.fill('a guess');
      await ada.button('Log in').click();
      await eventually(async () => assert.match(
        await ada.problem.innerText(), /The login did not work\s+The name or the password is wrong\./));
      // So that the answer to the next attempt is told from this one.
      await ada.page.evaluate(() => { document.getElementById('problem-text').textContent = ''; });
    }
    await ada.logIn('ada');
    assert.equal(await ada.problem.isVisible(), false);
    await ada.close();
  });

  inNewRooms('an unknown room in the address leads to the first one', async () => {
    const ada = await Chat.open(browser, `${gallery.url}/chat/#attic`);
    await ada.logIn('ada');
    await ada.shows(ada.error, 'There is no room called attic.');
    await ada.page.getByRole('heading', { name: 'lobby', exact: true }).waitFor();
    await ada.enter('rust');
    assert.equal(await ada.error.isVisible(), false);
    await ada.close();
  });

  inNewRooms('nobody writes to a topic past the application, or reads what is not for the page', async () => {
    const eve = await open();
    for (const act of [
      (stomp) => stomp.publish({ destination: '/topic/rooms/lobby', body: '{"from":"ada","text":"forged","id":1,"at":1}' }),
      (stomp) => stomp.publish({ destination: '/user/ada/queue/private', body: '{}' }),
      (stomp) => stomp.subscribe('/topic/**', () => {}),
    ]) {
      await eve.page.reload();
      // The page shows one of the two when it knows whether there is a login.
      await Promise.any([eve.name.waitFor(), eve.state.waitFor()]);
      if (await eve.name.isVisible()) {
        await eve.logIn('eve');
      }
      await eve.shows(eve.state, 'Connected');
      await eve.page.evaluate(`(${act})(demo.stomp)`);
      await eve.shows(eve.state, 'Disconnected');
      assert.match(await eve.problem.innerText(), /Refused by the server/);
    }
    await eve.close();
  });

  for (const transport of ['xhr-streaming', 'xhr-polling']) {
    inNewRooms(`works by ${transport}`, async () => {
      const ada = await Chat.open(browser, `${gallery.url}/chat/?transport=${transport}`);
      await ada.logIn('ada');
      await ada.shows(ada.page.locator('#detail'), `by ${transport}`);
      const [bob] = await gather('bob');
      await ada.say('by another way');
      await bob.showsLines('ada: by another way');
      await bob.close();
      await ada.showsMembers('ada (you)');
      await ada.close();
    });
  }

  test('a server that goes and comes back: the page says so and goes on for the same user', async () => {
    const first = await startGallery();
    gallery = first;
    const [ada, bob] = await gather('ada', 'bob');
    await first.kill();
    for (const chat of [ada, bob]) {
      await chat.shows(chat.state, 'Reconnecting');
      assert.match(await chat.problem.innerText(), /Connection lost/);
    }
    await screenshot(ada.page, 'chat-reconnecting');
    const second = await startGallery({ listen: first.address, sessions: first.sessions });
    for (const chat of [ada, bob]) {
      await chat.shows(chat.state, 'Connected');
      assert.equal(await chat.problem.isVisible(), false);
    }
    await ada.showsMembers('ada (you)', 'bob');
    await ada.say('here again');
    await bob.isHere('ada');
    await eventually(async () => assert.equal((await bob.lines()).at(-1), 'ada: here again'));
    assert.equal(await ada.error.isVisible(), false);

    // What a server that hangs takes with it is kept, for whom it was meant.
    second.hang();
    await ada.say('one');
    await ada.whisper('bob', 'our secret');
    await ada.page.keyboard.press('Escape');
    await ada.say('two');
    const ends = (chat, ...expected) => eventually(async () => {
      assert.deepEqual((await chat.lines()).filter((line) => !/ (joined|left)$/.test(line)), expected);
    });
    const underway = ['[sending…] ada: one', '[private to bob, sending…] ada: our secret', '[sending…] ada: two'];
    await ends(ada, 'ada: here again', ...underway);
    await second.kill();
    await ada.shows(ada.state, 'Reconnecting');
    const third = await startGallery({ listen: first.address, sessions: first.sessions });
    await ada.shows(ada.state, 'Connected');
    await bob.shows(bob.state, 'Connected');
    const forgotten = 'The server has forgotten what was said here before.';
    // What the page has, it goes on to show.
    const past = ['ada: here again', forgotten];
    await ends(ada, ...past, ...underway.map((line) => line.replace('sending…', 'may not have arrived')));
    await ada.shows(ada.error, '3 lines may not have arrived.');
    assert.equal(await ada.field.inputValue(), '');
    await screenshot(ada.page, 'chat-unanswered');
    await ada.showsMembers('ada (you)', 'bob');
    await ada.button('Send again: our secret').click();
    await ends(bob, ...past, '[private] ada: our secret');
    await ada.button('Discard: two').click();
    await ada.button('Send again: one').click();
    await ends(bob, ...past, '[private] ada: our secret', 'ada: one');
    await ends(ada, ...past, '[private to bob] ada: our secret', 'ada: one');

    // What has arrived, though its answer has not, is not offered again.
    await ada.page.evaluate(() => {
      // eslint-disable-next-line no-undef
      demo.stomp.webSocket.onmessage = () => {};
    });
    await ada.say('heard');
    await ends(bob, ...past, '[private] ada: our secret', 'ada: one', 'ada: heard');
    await ends(ada, ...past, '[private to bob] ada: our secret', 'ada: one', '[sending…] ada: heard');
    await ada.context.setOffline(true);
    await ada.shows(ada.state, 'Reconnecting');
    await ada.context.setOffline(false);
    await ada.shows(ada.state, 'Connected');
    await eventually(async () => {
      assert.deepEqual((await ada.lines()).filter((line) => line.startsWith('ada') || line.includes('heard')),
        ['ada: here again', 'ada: one', 'ada: heard']);
    });
    assert.equal(await ada.error.isVisible(), false);
    await ada.close();
    await bob.close();
    await third.stop();
  });

  test('the tabs of a browser follow each other, and no restart undoes a logout', async () => {
    const first = await startGallery();
    gallery = first;
    const [ada, bob] = await gather('ada', 'bob');
    await bob.whisper('ada', 'for ada alone');
    await ada.showsLines('bob joined', '[private] bob: for ada alone');
    await ada.button('bob').click();
    await ada.field.fill('a reply');
    const tab = await ada.context.newPage();
    await tab.goto(`${gallery.url}/chat/`);
    await tab.getByRole('button', { name: 'Log out' }).click();
    await ada.name.waitFor();
    await tab.getByLabel('Your name').fill('carl');
    await tab.getByLabel('Password').fill(PASSWORD);
    await tab.getByRole('button', { name: 'Log in' }).click();
    await ada.showsMembers('bob', 'carl (you)');
    await ada.showsLines();
    assert.equal(await ada.page.locator('#who-name').innerText(), 'carl');
    assert.equal(await ada.page.getByLabel('Message to everyone in lobby', { exact: true }).inputValue(), '');

    // The session outlives the server that began it.
    await first.kill();
    await ada.shows(ada.state, 'Reconnecting');
    const second = await startGallery({ listen: first.address, sessions: first.sessions });
    await ada.shows(ada.state, 'Connected');
    await ada.showsMembers('bob', 'carl (you)');

    // As a tab does that cannot tell the others, for instance because it is not of these pages.
    await logOutBy(ada.context.request, gallery.url);
    await second.kill();
    const third = await startGallery({ listen: first.address, sessions: first.sessions });
    await ada.name.waitFor();
    await tab.getByLabel('Your name').waitFor();
    await bob.showsMembers('bob (you)');
    await ada.close();
    await bob.close();
    await third.stop();
  });

  inNewRooms('other rooms and private lines are unread until they are looked at, and answered from any room', async () => {
    const [ada, bob] = await gather('ada', 'bob');
    await bob.enter('rust');
    await bob.say('one');
    await bob.say('two');
    const named = (name) => eventually(async () => {
      assert.equal((await ada.roomLink('rust').innerText()).replace(/\s+/g, ' ').trim(), name);
    });
    await named('rust 2 unread');
    assert.equal(await ada.page.title(), '(2) Chat · Tramline gallery');
    await screenshot(ada.page, 'chat-unread');
    await ada.enter('rust');
    await named('rust');
    assert.equal(await ada.page.title(), 'Chat · Tramline gallery');
    await ada.showsLines('bob: one', 'bob: two');

    await bob.isHere('ada');
    await bob.whisper('ada', 'psst');
    await ada.showsLines('bob: one', 'bob: two', '[private] bob: psst');
    await ada.enter('music');
    await bob.enter('lobby');
    await ada.showsLines('[private] bob: psst');
    await ada.button('Reply to bob').click();
    await ada.say('yes?');
    await bob.showsLines('[private to ada] bob: psst', '[private] ada: yes?');
    const mine = (chat) => chat.page.locator('#lines .mine .text').allInnerTexts();
    assert.deepEqual([await mine(ada), await mine(bob)], [['yes?'], ['psst']], 'own lines are told apart');
    await ada.close();
    await bob.close();
  });

  inNewRooms('addresses of the web are links that give nothing away, and nothing else is one', async () => {
    const [ada, bob] = await gather('ada', 'bob');
    await ada.say('see (https://example.org/a?b=1&c="x), http://[ or javascript:alert(1).');
    await bob.showsLines('ada: see (https://example.org/a?b=1&c="x), http://[ or javascript:alert(1).');
    const links = await bob.page.locator('#lines a').evaluateAll((all) => all.map(({ href, rel, target }) => [href, rel, target]));
    assert.deepEqual(links, [['https://example.org/a?b=1&c=', 'noopener noreferrer nofollow', '_blank']]);
    await ada.close();
    await bob.close();
  });

  inNewRooms('who scrolls up gets the lines before, to the first one', async () => {
    const ada = await open();
    await ada.logIn('ada');
    const texts = Array.from({ length: 120 }, (_, index) => `line ${index + 1}`);
    for (const text of texts) {
      await ada.say(text);
    }
    await ada.showsLines(...texts.map((text) => `ada: ${text}`));
    const bob = await open();
    await bob.logIn('bob');
    await bob.showsLines(...texts.slice(70).map((text) => `ada: ${text}`));
    for (const from of [20, 0]) {
      const before = await bob.page.locator('#lines li').first().innerText();
      await bob.log.evaluate((box) => { box.scrollTop = 0; });
      await bob.showsLines(...texts.slice(from).map((text) => `ada: ${text}`));
      const inView = await bob.page.locator('#lines li').evaluateAll((items, text) => {
        const box = document.getElementById('log').getBoundingClientRect();
        const { top, bottom } = items.find((item) => item.innerText === text).getBoundingClientRect();
        return bottom > box.top && top < box.bottom;
      }, before);
      assert.ok(inView, 'what was read stays in view');
    }
    await eventually(async () => assert.equal(await bob.button('Older lines').isVisible(), false));
    await ada.close();
    await bob.close();
  });

  test('drafts and lines without an answer outlive a reload, and what never left goes by itself', async () => {
    const first = await startGallery();
    gallery = first;
    const [ada, bob] = await gather('ada', 'bob');
    await ada.field.fill('a draft');
    await ada.enter('rust');
    assert.equal(await ada.field.inputValue(), '');
    await ada.page.reload();
    await ada.shows(ada.state, 'Connected');
    await ada.enter('lobby');
    assert.equal(await ada.field.inputValue(), 'a draft');

    first.hang();
    await ada.say('in doubt');
    await first.kill();
    await ada.shows(ada.state, 'Reconnecting');
    await ada.say('written meanwhile');
    assert.deepEqual((await ada.lines()).filter((line) => line.includes('ada:')),
      ['[not answered] ada: in doubt', '[not sent yet] ada: written meanwhile']);
    const second = await startGallery({ listen: first.address, sessions: first.sessions });
    await ada.page.reload();
    await ada.shows(ada.state, 'Connected');
    await eventually(async () => assert.deepEqual((await ada.lines()).filter((line) => line.includes('ada:')),
      ['ada: written meanwhile', '[may not have arrived] ada: in doubt']));
    await ada.button('Send again: in doubt').click();
    await eventually(async () => assert.deepEqual((await bob.lines()).filter((line) => line.startsWith('ada:')),
      ['ada: written meanwhile', 'ada: in doubt']));
    await ada.close();
    await bob.close();
    await second.stop();
  });

  inNewRooms('the field is in view at every size, and people are beside the lines or in a drawer', async () => {
    const ada = await open();
    await ada.logIn('ada');
    for (let line = 1; line <= 40; line += 1) {
      await ada.say(`line ${line}`);
    }
    for (const [width, height] of [[1280, 800], [768, 1024], [390, 844], [360, 640]]) {
      await ada.page.setViewportSize({ width, height });
      const bottom = await ada.field.evaluate((field) => field.getBoundingClientRect().bottom);
      assert.ok(bottom <= height, `${width} × ${height}: the field ends at ${bottom}`);
      assert.equal(await ada.page.evaluate(() => document.documentElement.scrollHeight), height, 'the page does not scroll');
      assert.equal(await ada.page.evaluate(() => document.documentElement.scrollWidth), width);
      const beside = await ada.page.getByRole('region', { name: 'Here now' }).isVisible();
      assert.equal(beside, width > 900);
      assert.equal(await ada.drawer.isVisible(), !beside);
    }
    await ada.drawer.click();
    await ada.showsMembers('ada (you)');
    await screenshot(ada.page, 'chat-drawer');
    await ada.page.keyboard.press('Escape');
    assert.equal(await ada.members.count(), 0);
    await ada.close();
  });

  inNewRooms('works by keyboard alone', async () => {
    const [ada, bob] = await gather('ada', 'bob');
    const { keyboard } = ada.page;
    const focused = (locator) => eventually(async () => {
      assert.ok(await locator.evaluate((node) => node === document.activeElement));
    });
    await focused(ada.field);
    await keyboard.type('typed');
    await keyboard.press('Enter');
    await bob.showsLines('ada: typed');
    await focused(ada.field);
    await keyboard.press('Shift+Tab');
    await focused(ada.log);
    await keyboard.press('Tab');
    await keyboard.press('Tab');
    await focused(ada.button('Send'));
    await keyboard.press('Tab');
    await focused(ada.button('bob'));
    await keyboard.press('Enter');
    await focused(ada.page.getByLabel('Private message to bob', { exact: true }));
    assert.equal(await ada.button('bob').getAttribute('aria-pressed'), 'true');
    await keyboard.type('psst');
    await keyboard.press('Enter');
    await bob.showsLines('ada: typed', '[private] ada: psst');
    await keyboard.press('Escape');
    await focused(ada.page.getByLabel('Message to everyone in lobby', { exact: true }));
    await ada.close();
    await bob.close();
  });

  inNewRooms('fits a phone and a desk, by day and by night', async () => {
    const people = await gather('ada', 'grace', 'a-name-of-forty-characters-without-space');
    await people[0].say('Is anybody going by tram today?');
    await people[1].say('Line 4, as always. It leaves from the old market at eight, and nobody has ever seen it late.');
    await people[2].whisper('ada', 'x'.repeat(120));
    for (const colorScheme of ['light', 'dark']) {
      for (const [device, size] of [['phone', PHONE], ['desk', {}]]) {
        const context = { ...size, colorScheme };
        const linus = await open(context);
        await screenshot(linus.page, `chat-login-${device}-${colorScheme}`);
        await linus.logIn('linus');
        await people[0].whisper('linus', 'welcome');
        await eventually(async () => assert.equal((await linus.lines()).at(-1), '[private] ada: welcome'));
        await linus.whisper('grace', 'thank you');
        await linus.field.fill('And where does it end?');
        await people[1].field.pressSequentially('it');
        await linus.shows(linus.typing, 'grace is typing…');
        const { wide, view, high } = await linus.page.evaluate(() => ({
          wide: document.documentElement.scrollWidth,
          view: document.documentElement.clientWidth,
          high: [...document.querySelectorAll('button, input, nav a')]
            .map((field) => field.getBoundingClientRect().height).filter((height) => height > 0),
        }));
        assert.equal(wide, view, 'no sideways scrolling');
        assert.ok(high.every((height) => height >= 40), `large enough for a finger: ${high}`);
        await screenshot(linus.page, `chat-${device}-${colorScheme}`);
        await people[1].field.fill('');
        await people[0].page.keyboard.press('Escape');
        await linus.close();
        await people[0].showsMembers('a-name-of-forty-characters-without-space', 'ada (you)', 'grace');
      }
    }
    await Promise.all(people.map((chat) => chat.close()));
  });
});
