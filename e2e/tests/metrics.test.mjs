// What a gallery tells Prometheus and orchestrators, read by Prometheus' own parser.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { startGallery } from '../lib/gallery.mjs';
import { credentials } from '../lib/people.mjs';
import { named } from '../lib/server.mjs';

const PARSER = `
import json, sys
from prometheus_client.parser import text_string_to_metric_families
families = text_string_to_metric_families(sys.stdin.read())
print(json.dumps([[f.name, f.type, [[s.name, s.labels, s.value] for s in f.samples]] for f in families]))
`;

let gallery;
before(async () => { gallery = await startGallery({ env: { TRAMLINE_OPERATOR: 'ada' } }); });
after(() => gallery?.stop());

test('metrics are for the operator, and Prometheus reads them', async () => {
  const metrics = `${gallery.url}/metrics`;
  assert.equal((await fetch(metrics)).status, 403);
  const bob = await credentials(gallery.url, 'bob');
  assert.equal((await fetch(metrics, { headers: { cookie: bob.cookie } })).status, 403);

  const { cookie } = await credentials(gallery.url, 'ada');
  const answer = await fetch(metrics, { headers: { cookie } });
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  const python = named('TRAMLINE_STOMP_PYTHON', 'a Python that has prometheus-client');
  const parsed = JSON.parse(execFileSync(python, ['-c', PARSER], { input: await answer.text() }));
  const families = new Map(parsed.map(([name, type, samples]) => [name, { type, samples }]));
  const stacks = families.get('tramline_sessions').samples.map(([, labels]) => labels.stack);
  assert.deepEqual(stacks.sort(), ['chat', 'greeting', 'greeting-json', 'notifications', 'portfolio', 'whiteboard']);
  assert.equal(families.get('tramline_broker_published').type, 'counter');
  const handlers = families.get('tramline_handler_duration_seconds');
  assert.equal(handlers.type, 'histogram');
  assert.ok(handlers.samples.some(([, labels]) => labels.stack === 'greeting' && labels.route === '/hello'));
});

test('an orchestrator hears that it lives and is ready', async () => {
  const [health, ready] = await Promise.all(['health', 'ready'].map((path) => fetch(`${gallery.url}/${path}`)));
  assert.deepEqual([health.status, await health.json()], [200, { status: 'up' }]);
  assert.equal(ready.status, 200);
  assert.equal((await ready.json()).stacks.length, 6);
});
