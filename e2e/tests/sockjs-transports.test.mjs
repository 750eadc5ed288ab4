// sockjs-client 1.6.1 in Chromium, by every transport that it has there: from the server's own page, and from another's.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, openWindow } from '../lib/browser.mjs';
import { startEcho } from '../lib/sockjs-echo.mjs';

// `xdr-…` needs Internet Explorer. `htmlfile` is for the server's own pages; those of others have it in a frame.
const ANYWHERE = [
  'websocket', 'xhr-streaming', 'eventsource', 'iframe-eventsource', 'iframe-htmlfile', 'xhr-polling',
  'iframe-xhr-polling', 'jsonp-polling',
];
const AT_HOME = [...ANYWHERE, 'htmlfile'];

/** Runs in the page: a session that echoes, and everything that is to be echoed. */
async function converse({ url, transport }) {
  /* global SockJS */
  const socket = new SockJS(url, null, { transports: [transport] });
  const waiting = [];
  const came = [];
  const closed = new Promise((resolve) => {
    socket.onclose = ({ code, reason, wasClean }) => {
      resolve({ code, reason, wasClean });
      waiting.splice(0).forEach((waiter) => waiter(`closed with ${code} ${reason}`));
    };
  });
  const put = (data) => (waiting.length > 0 ? waiting.shift()(data) : came.push(data));
  let stage = 'opening';
  const next = () => new Promise((resolve, reject) => {
    if (came.length > 0) {
      resolve(came.shift());
      return;
    }
    const timer = setTimeout(() => reject(new Error(`nothing came while ${stage}`)), 30_000);
    waiting.push((data) => {
      clearTimeout(timer);
      resolve(data);
    });
  });
  socket.onmessage = ({ data }) => put(data);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    closed.then(({ code, reason }) => reject(new Error(`not opened: ${code} ${reason}`)));
  });

  const echoed = async (text) => {
    stage = `echoing ${text.length} characters`;
    socket.send(text);
    const back = await next();
    if (back === text) {
      return 'the same';
    }
    const at = [...back].findIndex((character, index) => character !== [...text][index]);
    return `${back.length} in place of ${text.length}, different at ${at}: ${back.slice(0, 80)}`;
  };

  const plane = (from, to) => {
    let text = '';
    for (let code = from; code <= to; code += 1) {
      if (code < 0xd800 || code > 0xdfff) {
        text += String.fromCodePoint(code);
      }
    }
    return text;
  };
  const result = {
    used: socket.transport,
    ascii: await echoed(plane(0x20, 0x7e)),
    plane: await echoed(plane(0, 0xffff)),
    astral: await echoed(`${plane(0x1f300, 0x1f6ff)}\u{10000}\u{10ffff}`),
    script: await echoed('</script><!--\u2028\u2029"\\\'`${x}'),
    large: await echoed('0123456789'.repeat(10_240)),
    empty: await echoed(''),
  };
  const burst = Array.from({ length: 300 }, (_, index) => `${index}`);
  stage = 'the burst goes round';
  burst.forEach((text) => socket.send(text));
  const back = [];
  for (let index = 0; index < burst.length; index += 1) {
    back.push(await next());
  }
  result.burst = back.join() === burst.join() ? 'in order' : back.join();

  socket.send('close');
  result.closed = await closed;
  return result;
}

describe('sockjs-client by every transport', { timeout: 600_000 }, () => {
  let browser;
  let page;
  let home;
  let stranger;

  before(async () => {
    page = await startEcho();
    home = await startEcho(page.url);
    stranger = await startEcho();
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await Promise.all([page?.stop(), home?.stop(), stranger?.stop()]);
  });

  async function from(url, run) {
    const { page: tab, context } = await openWindow(browser);
    await tab.goto(`${url}/`);
    await tab.addScriptTag({ url: '/sockjs.js' });
    const result = await run(tab);
    await context.close();
    return result;
  }

  const places = [
    ['from its own page', AT_HOME, () => home.url],
    ['from the page of an allowed origin', ANYWHERE, () => page.url],
  ];
  for (const [place, transports, origin] of places) {
    for (const transport of transports) {
      test(`${transport}, ${place}`, async () => {
        const options = { url: `${home.url}/echo`, transport };
        const seen = await from(origin(), (tab) => tab.evaluate(converse, options));
        assert.deepEqual(seen, {
          used: transport,
          ascii: 'the same',
          plane: 'the same',
          astral: 'the same',
          script: 'the same',
          large: 'the same',
          empty: 'the same',
          burst: 'in order',
          closed: { code: 3000, reason: 'Go away!', wasClean: true },
        });
      });
    }
  }

  for (const transport of ANYWHERE) {
    test(`${transport}, from a page that may not`, async () => {
      const closed = await from(page.url, (tab) => tab.evaluate(({ url, name }) => new Promise((resolve) => {
        const socket = new SockJS(url, null, { transports: [name] });
        socket.onopen = () => resolve('opened');
        socket.onclose = ({ code }) => resolve(code);
      }), { url: `${stranger.url}/echo`, name: transport }));
      assert.equal(closed, 1002, 'sockjs-client cannot even read /info');
    });
  }

  // What does without /info: a script element of anybody's page, with the visitor's cookies.
  test('a script element of a foreign page does not open a session', async () => {
    const outcomes = await from(page.url, (tab) => tab.evaluate((urls) => Promise.all(urls.map((url) => (
      new Promise((resolve) => {
        const script = document.createElement('script');
        script.referrerPolicy = url.policy;
        window.heard = () => {};
        script.onload = () => resolve('ran');
        script.onerror = () => resolve('refused');
        script.src = `${url.base}/echo/000/${url.policy}/jsonp?c=heard`;
        document.body.append(script);
      })))), ['no-referrer', 'origin', 'unsafe-url'].flatMap((policy) => (
      [home.url, stranger.url].map((base) => ({ base, policy }))))));
    // The page is allowed at `home`, if it says who it is.
    assert.deepEqual(outcomes, ['refused', 'refused', 'ran', 'refused', 'ran', 'refused']);
  });

  test('a foreign page cannot embed the iframe page', async () => {
    const embedded = (url) => from(page.url, async (tab) => {
      const failed = new Promise((resolve) => {
        tab.on('console', (message) => {
          if (/frame-ancestors|X-Frame-Options/i.test(message.text())) {
            resolve('refused');
          }
        });
      });
      const ready = tab.evaluate((src) => new Promise((resolve) => {
        const frame = document.createElement('iframe');
        frame.onload = () => frame.contentWindow.postMessage('?', '*');
        frame.src = src;
        // The library greets the page around it as soon as it runs.
        window.addEventListener('message', () => resolve('ran'));
        document.body.append(frame);
      }), `${url}/echo/iframe.html#id`);
      ready.catch(() => {});
      return Promise.race([failed, ready]);
    });
    assert.equal(await embedded(home.url), 'ran');
    assert.equal(await embedded(stranger.url), 'refused');
  });
});
