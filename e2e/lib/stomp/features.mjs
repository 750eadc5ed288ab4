// What is asked of every client: the rows of the table.

import assert from 'node:assert/strict';
import { eventually } from '../wait.mjs';

/** STOMP's own gaps, by the version that closes them. */
const SINCE_1_1 = { since: '1.1', why: 'not in STOMP 1.0' };

/**
 * In order. `run` gets a column's workbench: `open(options)` gives a connected session as guest, `raw(options)` one that
 * may have been refused, `place()` a destination below a prefix that no other test uses.
 */
export const FEATURES = [
  {
    name: 'CONNECT, version and user',
    run: async ({ open, version }) => {
      const { connected } = await open();
      // STOMP 1.0 has no `version`, and a server may say it all the same.
      assert.equal(connected.version, version);
      assert.equal(connected['user-name'], 'guest');
      assert.equal(connected['heart-beat'], '4000,4000');
    },
  },
  {
    name: 'wrong login: ERROR, then the end',
    run: async ({ raw }) => {
      const session = await raw({ passcode: 'wrong' });
      assert.match(await session.errors.next(), /^login or passcode is wrong/);
      await session.closed.next();
      assert.equal(session.connected, null);
    },
  },
  {
    name: 'topic: everyone subscribed hears',
    run: async ({ open, place }) => {
      const [alice, bob] = [await open(), await open()];
      const topic = place('/topic');
      for (const session of [alice, bob]) {
        session.subscribe(topic, { id: 'a', receipt: 'ready' });
        await session.receipt('ready');
      }
      alice.send(topic, 'Zoë 🚋', { 'content-type': 'text/plain', kind: 'greeting' });
      for (const session of [alice, bob]) {
        const { headers, body } = await session.messages.next();
        assert.equal(body.toString(), 'Zoë 🚋');
        const { destination, subscription, kind, 'content-type': type } = headers;
        assert.deepEqual({ destination, subscription, kind, type }, {
          destination: topic, subscription: 'a', kind: 'greeting', type: 'text/plain',
        });
        assert.ok(headers['message-id']);
      }
    },
  },
  {
    name: 'topic: patterns, and the real destination',
    run: async ({ open, place }) => {
      const session = await open();
      const base = place('/topic');
      session.subscribe(`${base}/*/price`, { id: 'one' });
      session.subscribe(`${base}/**`, { id: 'all', receipt: 'ready' });
      await session.receipt('ready');
      session.send(`${base}/a/b/c`, 'deep');
      session.send(`${base}/ACME/price`, '7');
      const heard = [];
      for (let count = 0; count < 3; count += 1) {
        const { headers, body } = await session.messages.next();
        heard.push(`${headers.subscription} ${headers.destination.slice(base.length)} ${body}`);
      }
      assert.deepEqual(heard.sort(), ['all /ACME/price 7', 'all /a/b/c deep', 'one /ACME/price 7']);
    },
  },
  {
    name: 'UNSUBSCRIBE',
    run: async ({ open, place }) => {
      const session = await open();
      const topic = place('/topic');
      session.subscribe(topic, { id: 'gone' });
      session.subscribe(topic, { id: 'stays' });
      session.unsubscribe('gone');
      session.send(topic, 'x');
      assert.equal((await session.messages.next()).headers.subscription, 'stays');
      assert.deepEqual(await before(session, place), []);
    },
  },
  {
    name: 'RECEIPT for SUBSCRIBE and SEND',
    run: async ({ open, place }) => {
      const session = await open();
      const topic = place('/topic');
      session.subscribe(topic, { id: 'a', receipt: 'subscribed' });
      await session.receipt('subscribed');
      session.send(topic, 'x', { receipt: 'sent' });
      await session.receipt('sent');
    },
  },
  {
    name: 'RECEIPT for UNSUBSCRIBE',
    run: async ({ open, place }) => {
      const session = await open();
      session.subscribe(place('/topic'), { id: 'a' });
      session.unsubscribe('a', { receipt: 'unsubscribed' });
      await session.receipt('unsubscribed');
    },
  },
  {
    name: 'RECEIPT for DISCONNECT',
    run: async ({ open }) => {
      const session = await open();
      await session.disconnect('bye');
      await session.receipt('bye');
      await session.closed.next();
      assert.equal(session.errors.size, 0);
    },
  },
  {
    name: 'heart-beats both ways',
    ...SINCE_1_1,
    run: async ({ open, place }) => {
      const session = await open({ heartBeat: [4000, 4000] });
      // The server takes a client for gone that is silent for three intervals.
      await eventually(() => assert.ok(session.heartBeats >= 4));
      session.send(place('/topic'), 'x', { receipt: 'alive' });
      await session.receipt('alive');
    },
  },
  {
    name: 'NULs in the body',
    run: async ({ open, place }) => {
      const session = await open();
      const topic = place('/topic');
      session.subscribe(topic, { id: 'a' });
      for (const body of [Buffer.from('a\0b\0'), Buffer.from([0, 255, 0, 10, 254])]) {
        session.send(topic, body);
        assert.deepEqual((await session.messages.next()).body, body);
      }
    },
  },
  {
    name: 'bodies of 1 MiB',
    run: async ({ open, place }) => {
      const session = await open();
      const topic = place('/topic');
      session.subscribe(topic, { id: 'a' });
      const body = 'tram '.repeat(210_000);
      session.send(topic, body);
      assert.ok((await session.messages.next()).body.toString() === body);
    },
  },
  {
    name: 'header escapes',
    ...SINCE_1_1,
    run: async ({ open, place, version }) => {
      const session = await open();
      const topic = place('/topic');
      session.subscribe(topic, { id: 'a' });
      const value = `C:\\trams\n9:15${version === '1.2' ? '\r' : ''}`;
      session.send(topic, 'x', { note: value });
      assert.equal((await session.messages.next()).headers.note, value);
    },
  },
  {
    name: 'a broken rule: ERROR that says so, then the end',
    run: async ({ open, place }) => {
      const session = await open();
      session.subscribe(place('/topic'), { id: 'a' });
      session.subscribe(place('/topic'), { id: 'a' });
      assert.match(await session.errors.next(), /subscription id `a` is in use/);
      await session.closed.next();
    },
  },
];

/** The bodies of messages that a session has coming before one that is sent to it now. */
async function before(session, place) {
  const topic = place('/topic');
  session.subscribe(topic, { id: topic, receipt: topic });
  await session.receipt(topic);
  session.send(topic, 'last');
  const bodies = [];
  for (;;) {
    const { headers, body } = await session.messages.next();
    if (headers.destination === topic) {
      return bodies;
    }
    bodies.push(body.toString());
  }
}
