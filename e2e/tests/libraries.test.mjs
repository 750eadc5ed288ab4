// Where the pages' client libraries come from: embedded, or from a CDN when the build had no npm.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Demo, launch } from '../lib/browser.mjs';
import { binary, startGallery } from '../lib/gallery.mjs';

const BUNDLES = {
  'sockjs.min.js': 'sockjs-client/dist/sockjs.min.js',
  'stomp.umd.min.js': '@stomp/stompjs/bundles/stomp.umd.min.js',
};

const bundle = (path) => readFileSync(fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url)));

describe('client libraries', { timeout: 180_000 }, () => {
  let browser;

  before(async () => { browser = await launch(); });
  after(() => browser?.close());

  test('embedded, they are the published files, and their hash is the committed one', async () => {
    const gallery = await startGallery();
    for (const [file, path] of Object.entries(BUNDLES)) {
      const answer = await fetch(`${gallery.url}/lib/${file}`);
      assert.equal(answer.status, 200, `${file} is not embedded: did npm fail while the gallery was built?`);
      assert.match(answer.headers.get('content-type'), /^text\/javascript/);
      const body = Buffer.from(await answer.arrayBuffer());
      assert.ok(body.equals(bundle(path)), `${file} is another file than that of the package`);
      const hash = createHash('sha384').update(body).digest('base64');
      assert.equal(answer.headers.get('etag'), `"sha384-${hash}"`);

      const again = await fetch(`${gallery.url}/lib/${file}`, { headers: { 'If-None-Match': `"sha384-${hash}"` } });
      assert.equal(again.status, 304);
    }
    await gallery.stop();
  });

  const cdnPage = async (gallery, path, altered) => {
    const demo = await Demo.open(browser, `${gallery.url}/`);
    const asked = [];
    await demo.context.route('https://cdn.jsdelivr.net/**', (route) => {
      const file = /^\/npm\/((?:@\w+\/)?[\w-]+)@[\d.]+(\/.*)$/.exec(new URL(route.request().url()).pathname);
      asked.push(file[1]);
      route.fulfill({
        contentType: 'application/javascript',
        headers: { 'Access-Control-Allow-Origin': '*' },
        body: bundle(file[1] + file[2]).toString() + altered,
      });
    });
    await demo.page.goto(gallery.url + path);
    return { demo, asked };
  };

  test('built without npm, pages load the same files from the CDN and hold them to their hash', async () => {
    const gallery = await startGallery({ path: binary('TRAMLINE_GALLERY_CDN_BIN') });
    assert.equal((await fetch(`${gallery.url}/lib/sockjs.min.js`)).status, 404);

    for (const [path, packages] of [['/greeting/', ['@stomp/stompjs', 'sockjs-client']], ['/greeting-json/', ['@stomp/stompjs']]]) {
      const { demo, asked } = await cdnPage(gallery, path, '');
      await demo.showsState('Disconnected');
      await demo.canPress('Connect');
      assert.deepEqual(asked.sort(), packages);
      assert.deepEqual(demo.complaints, []);
      await demo.close();

      const { demo: fooled } = await cdnPage(gallery, path, '\n// not what was published');
      await fooled.showsState('Not available');
      await fooled.canPress();
      assert.match(await fooled.problem.innerText(), /library of this page did not load/);
      await fooled.close();
    }
    await gallery.stop();
  });
});
