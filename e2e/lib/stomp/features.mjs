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
      assert.equal(connected['heart-beat'], '1000,1000');
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
    name: 'queue: messages wait, and each goes to one consumer',
    run: async ({ open, place }) => {
      const [alice, bob] = [await open(), await open()];
      const queue = place('/queue');
      await sent(alice, queue, ['early']);
      alice.subscribe(queue, { id: 'a', receipt: 'ready' });
      await alice.receipt('ready');
      assert.deepEqual(await heard(alice, 1), ['early']);
      bob.subscribe(queue, { id: 'b', receipt: 'ready' });
      await bob.receipt('ready');
      await sent(alice, queue, ['1', '2', '3', '4']);
      const [forAlice, forBob] = [await heard(alice, 2), await heard(bob, 2)];
      assert.deepEqual([...forAlice, ...forBob].sort(), ['1', '2', '3', '4']);
    },
  },
  {
    name: 'ack:auto: what was received does not come back',
    run: async ({ open, place }) => {
      const queue = place('/queue');
      const [first, second] = [await open(), await open()];
      first.subscribe(queue, { id: 'a', ack: 'auto' });
      await sent(second, queue, ['1']);
      assert.deepEqual(await heard(first, 1), ['1']);
      first.drop();
      second.subscribe(queue, { id: 'b' });
      await sent(second, queue, ['2']);
      assert.deepEqual(await heard(second, 1), ['2']);
    },
  },
  {
    name: 'ack:client: an ACK counts for all before it',
    run: async ({ open, place }) => {
      const queue = place('/queue');
      const [first, second] = [await open(), await open()];
      const messages = await received(first, queue, ['1', '2', '3'], 'client');
      first.ack(messages[1], { receipt: 'acked' });
      await first.receipt('acked');
      first.drop();
      assert.deepEqual(await returned(second, queue, 1), ['3']);
    },
  },
  {
    name: 'ack:client-individual: an ACK counts for one',
    run: async ({ open, place }) => {
      const queue = place('/queue');
      const [first, second] = [await open(), await open()];
      const messages = await received(first, queue, ['1', '2', '3'], 'client-individual');
      first.ack(messages[1], { receipt: 'acked' });
      await first.receipt('acked');
      first.drop();
      assert.deepEqual(await returned(second, queue, 2), ['1', '3']);
    },
  },
  {
    name: 'NACK: delivered again, and marked so',
    ...SINCE_1_1,
    run: async ({ open, place }) => {
      const session = await open();
      const [message] = await received(session, place('/queue'), ['x'], 'client-individual');
      assert.equal(message.headers.redelivered, undefined);
      session.nack(message, { receipt: 'nacked' });
      await session.receipt('nacked');
      const again = await session.messages.next();
      assert.equal(again.headers.redelivered, 'true');
      assert.equal(again.headers['delivery-count'], '1');
      assert.equal(again.body.toString(), 'x');
      session.ack(again, { receipt: 'acked' });
      await session.receipt('acked');
    },
  },
  {
    name: 'NACK requeue:false: not delivered again',
    ...SINCE_1_1,
    run: async ({ open, place }) => {
      const session = await open();
      const queue = place('/queue');
      const [message] = await received(session, queue, ['x'], 'client-individual');
      session.nack(message, { requeue: 'false' });
      await sent(session, queue, ['y']);
      assert.deepEqual(await heard(session, 1), ['y']);
    },
  },
  {
    name: 'prefetch-count',
    run: async ({ open, place }) => {
      const session = await open();
      const queue = place('/queue');
      session.subscribe(queue, { id: 'a', ack: 'client-individual', 'prefetch-count': '1' });
      await sent(session, queue, ['1', '2']);
      const message = await session.messages.next();
      assert.equal(message.body.toString(), '1');
      assert.deepEqual(await before(session, place), []);
      session.ack(message);
      assert.deepEqual(await heard(session, 1), ['2']);
    },
  },
  {
    name: 'expires',
    run: async ({ open, place }) => {
      const session = await open();
      const queue = place('/queue');
      await sent(session, queue, ['too late'], { expires: `${Date.now() - 60_000}` });
      await sent(session, queue, ['in time'], { expires: `${Date.now() + 600_000}` });
      session.subscribe(queue, { id: 'a' });
      assert.deepEqual(await heard(session, 1), ['in time']);
    },
  },
  {
    name: 'RECEIPT for BEGIN, COMMIT and ABORT',
    run: async ({ open }) => {
      const session = await open();
      session.begin('t', { receipt: 'begun' });
      await session.receipt('begun');
      session.commit('t', { receipt: 'committed' });
      await session.receipt('committed');
      session.begin('t', { receipt: 'begun again' });
      await session.receipt('begun again');
      session.abort('t', { receipt: 'aborted' });
      await session.receipt('aborted');
    },
  },
  {
    name: 'transaction: COMMIT sends and acknowledges',
    run: async ({ open, place }) => {
      const [sender, witness] = [await open(), await open()];
      const [queue, topic] = [place('/queue'), place('/topic')];
      witness.subscribe(topic, { id: 'w', receipt: 'ready' });
      await witness.receipt('ready');
      const [message] = await received(sender, queue, ['work'], 'client-individual');
      sender.begin('t');
      await sent(sender, topic, ['1', '2'], { transaction: 't' });
      sender.ack(message, { transaction: 't', receipt: 'acked' });
      await sender.receipt('acked');
      assert.deepEqual(await before(witness, place), []);
      sender.commit('t');
      assert.deepEqual(await heard(witness, 2), ['1', '2']);
      sender.drop();
      await sent(witness, queue, ['more work']);
      witness.subscribe(queue, { id: 'q' });
      assert.deepEqual(await heard(witness, 1), ['more work']);
    },
  },
  {
    name: 'transaction: ABORT drops sends and acknowledgements',
    run: async ({ open, place }) => {
      const [sender, witness] = [await open(), await open()];
      const [queue, topic] = [place('/queue'), place('/topic')];
      witness.subscribe(topic, { id: 'w', receipt: 'ready' });
      await witness.receipt('ready');
      const [message] = await received(sender, queue, ['work'], 'client-individual');
      sender.begin('t');
      sender.ack(message, { transaction: 't' });
      await sent(sender, topic, ['dropped'], { transaction: 't' });
      sender.abort('t');
      await sent(sender, topic, ['after']);
      assert.deepEqual(await heard(witness, 1), ['after']);
      sender.drop();
      assert.deepEqual(await returned(witness, queue, 1), ['work']);
    },
  },
  {
    name: 'transaction: the end of the connection aborts it',
    run: async ({ open, place }) => {
      const [sender, witness] = [await open(), await open()];
      const [queue, topic] = [place('/queue'), place('/topic')];
      witness.subscribe(topic, { id: 'w', receipt: 'ready' });
      await witness.receipt('ready');
      const [message] = await received(sender, queue, ['work'], 'client-individual');
      sender.begin('t');
      sender.ack(message, { transaction: 't' });
      await sent(sender, topic, ['dropped'], { transaction: 't' });
      sender.drop();
      // The message is back when the session is gone.
      assert.deepEqual(await returned(witness, queue, 1), ['work']);
      assert.deepEqual(await before(witness, place), []);
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

/** Sends messages, and waits until the server has them. */
async function sent(session, destination, bodies, headers = {}) {
  for (const body of bodies) {
    const receipt = `${destination} ${body}`;
    session.send(destination, body, { ...headers, receipt });
    await session.receipt(receipt);
  }
}

/** The bodies of the next `count` messages. */
async function heard(session, count) {
  const bodies = [];
  while (bodies.length < count) {
    bodies.push((await session.messages.next()).body.toString());
  }
  return bodies;
}

/** Puts messages into a queue and takes them out again, without a word about them yet. */
async function received(session, queue, bodies, ack) {
  session.subscribe(queue, { id: 'consumer', ack });
  await sent(session, queue, bodies);
  const messages = [];
  for (const body of bodies) {
    messages.push(await session.messages.next());
    assert.equal(messages.at(-1).body.toString(), body);
  }
  return messages;
}

/** The bodies of `count` messages of a queue that had another consumer before, and no more. */
async function returned(session, queue, count) {
  session.subscribe(queue, { id: 'next', ack: 'client' });
  const bodies = [];
  while (bodies.length < count) {
    const { headers, body } = await session.messages.next();
    assert.equal(headers.redelivered, 'true', body.toString());
    bodies.push(body.toString());
  }
  await sent(session, queue, ['last']);
  assert.deepEqual(await heard(session, 1), ['last']);
  return bodies;
}

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
