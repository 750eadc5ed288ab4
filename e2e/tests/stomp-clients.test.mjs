// STOMP clients that others wrote, against the conformance server: every client, every version it speaks, the same list.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startConformance } from '../lib/conformance.mjs';
import { FEATURES } from '../lib/stomp/features.mjs';
import { stompJs } from '../lib/stomp/stompjs.mjs';
import { stompJs2 } from '../lib/stomp/stompjs2.mjs';
import { stompPy } from '../lib/stomp/stomp-py.mjs';
import { table } from '../lib/stomp/table.mjs';

const CLIENTS = [
  stompPy('1.0'), stompPy('1.1'), stompPy('1.2'),
  stompJs('1.0'), stompJs('1.1'), stompJs('1.2'),
  stompJs2(),
];
const PAGE = fileURLToPath(new URL('../../docs/stomp-clients.md', import.meta.url));

/** Why a client is not asked for a feature. */
const missing = ({ version, lacks }, { name, since, why }) => (
  since && version < since ? why : lacks[name]
);

const results = CLIENTS.map(({ name, transport, version }) => ({ name, transport, version, features: {} }));

describe('STOMP clients', { timeout: 300_000 }, () => {
  let server;
  before(async () => { server = await startConformance(); });
  after(() => server?.stop());

  // The clients wait for heart-beats side by side.
  describe('features', { concurrency: CLIENTS.length }, () => {
    CLIENTS.forEach((client, column) => {
      describe(`${client.name} over ${client.transport}, STOMP ${client.version}`, () => {
        let driver;
        let places = 0;
        before(async () => { driver = await client.start(server); });
        after(() => driver?.stop());

        for (const feature of FEATURES) {
          const why = missing(client, feature);
          if (why) {
            results[column].features[feature.name] = why;
            continue;
          }
          test(feature.name, async () => {
            const sessions = [];
            const raw = async (options) => {
              const login = { login: 'guest', passcode: 'guest' };
              const session = driver.open({ version: client.version, ...login, ...options });
              sessions.push(session);
              await session.answered();
              return session;
            };
            const open = async (options) => {
              const session = await raw(options);
              assert.ok(session.connected, `refused: ${session.errors.size > 0 && await session.errors.next()}`);
              return session;
            };
            const place = (prefix) => `${prefix}/${column}/${places += 1}`;
            try {
              await feature.run({ open, raw, place, version: client.version });
              results[column].features[feature.name] = true;
            } finally {
              sessions.forEach((session) => session.drop());
            }
          });
        }
      });
    });
  });

  test('docs/stomp-clients.md says what passed', () => {
    // In the order of the list, whatever came first.
    for (const result of results) {
      result.features = Object.fromEntries(FEATURES.map(({ name }) => [name, result.features[name] ?? 'failed']));
    }
    if (process.env.TRAMLINE_STOMP_RESULTS) {
      mkdirSync(dirname(process.env.TRAMLINE_STOMP_RESULTS), { recursive: true });
      writeFileSync(process.env.TRAMLINE_STOMP_RESULTS, `${JSON.stringify(results, null, 2)}\n`);
    }
    const page = table(results);
    if (process.env.TRAMLINE_UPDATE_DOCS === '1') {
      const failed = results.some(({ features }) => Object.values(features).includes('failed'));
      assert.ok(!failed, 'the page is not written while a test fails');
      writeFileSync(PAGE, page);
    }
    const committed = readFileSync(PAGE, 'utf8');
    const news = page.split('\n').filter((line) => !committed.includes(line));
    assert.ok(committed === page, `the committed page is another; \`TRAMLINE_UPDATE_DOCS=1 cargo xtask e2e stomp\` writes \
it anew${['', ...news].join('\n')}`);
  });
});
