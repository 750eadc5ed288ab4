// The console: looks at one stack every two seconds, and acts on it.

import { act, look, showDone, showProblem } from './ask.js';
import { chart, rate } from './chart.js';
import { Table } from './table.js';
import { begin, finish } from './trace.js';

const EVERY = 2000;
const VIEWS = ['overview', 'sessions', 'destinations', 'users', 'refusals', 'trace'];

const by = (id) => document.getElementById(id);
const stack = by('stack');
let mayAct = false;

const count = (number) => Math.round(number).toLocaleString('en');
const perSecond = (number) => `${number < 10 ? Math.round(number * 10) / 10 : count(number)}/s`;

function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let value = number ?? 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

function age(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours} h ${minutes} min` : minutes > 0 ? `${minutes} min` : `${seconds} s`;
}

/** Asks the operator; the fields' values, or null. */
async function askOperator(title, fields, ok) {
  const dialog = by('dialog');
  by('dialog-title').textContent = title;
  by('dialog-ok').textContent = ok;
  const inputs = fields.map(({ name, label, value = '', type = 'text' }) => {
    const around = document.createElement('label');
    const input = document.createElement('input');
    Object.assign(input, { name, type, value });
    around.append(label, ' ', input);
    return [around, input];
  });
  by('dialog-content').replaceChildren(...inputs.map(([around]) => around));
  dialog.returnValue = '';
  dialog.showModal();
  inputs[0]?.[1].focus();
  await new Promise((resolve) => { dialog.addEventListener('close', resolve, { once: true }); });
  return dialog.returnValue === 'ok' ? Object.fromEntries(inputs.map(([, { name, value }]) => [name, value])) : null;
}

function showMessages(title, messages) {
  const list = document.createElement('ol');
  list.className = 'messages';
  for (const message of messages) {
    const item = document.createElement('li');
    const text = document.createElement('pre');
    const headers = message.headers.map(([name, value]) => `${name}: ${value}`).join('\n');
    text.textContent = `${message.id}, ${bytes(message.bytes)}\n${headers}\n\n${message.body}`;
    item.append(text);
    list.append(item);
  }
  by('dialog-title').textContent = `${title}: ${messages.length === 0 ? 'nothing waits' : `the first ${messages.length}`}`;
  by('dialog-content').replaceChildren(list);
  by('dialog-ok').textContent = 'Close';
  by('dialog').showModal();
}

/** Runs an act, and says what became of it. */
async function run(doing) {
  try {
    const text = await doing();
    if (text) {
      showDone(text);
    }
    showProblem(null);
    await refresh();
  } catch (error) {
    showProblem(error.message);
  }
}

const REASON = { name: 'reason', label: 'Reason, which the client receives' };

const closeSession = (row) => run(async () => {
  const name = row.user || 'an anonymous session';
  const asked = await askOperator(`Close a session of ${name}?`, [REASON], 'Close it');
  if (asked) {
    const { closed } = await act('close-session', { stack: stack.value, id: row.id, ...asked });
    return closed ? `The session of ${name} is closed.` : 'The session has ended already.';
  }
  return null;
});

const closeUser = (row) => run(async () => {
  const asked = await askOperator(`Close all sessions of ${row.user}?`, [REASON], 'Close them');
  if (asked) {
    const { closed } = await act('close-user', { stack: stack.value, user: row.user, ...asked });
    return `${closed} sessions of ${row.user} are closed.`;
  }
  return null;
});

const peek = (row) => run(async () => {
  const { messages } = await act('peek', { stack: stack.value, destination: row.destination });
  showMessages(row.destination, messages);
  return null;
});

const returnDeadLetters = (row) => run(async () => {
  const title = `Move the dead letters in ${row.destination} back to where they came from?`;
  if (await askOperator(title, [], 'Move them')) {
    const { moved } = await act('return-dead-letters', { stack: stack.value, destination: row.destination });
    return `${moved} messages were moved back.`;
  }
  return null;
});

const trace = (what) => run(async () => {
  await begin(stack.value, what);
  by('trace-what').elements.what.value = what;
  window.location.hash = 'trace';
});

const lists = {
  sessions: {
    title: 'Sessions',
    columns: [
      { key: 'user', title: 'User', sorts: true, show: (user) => user || '(anonymous)' },
      { key: 'address', title: 'Address', sorts: true },
      { key: 'transport', title: 'Transport', sorts: true, show: (name, row) => name || `on node ${row.node}` },
      { key: 'seconds', title: 'Age', sorts: true, desc: true, show: age },
      { key: 'queued', title: 'Queued', sorts: true, desc: true, show: bytes },
      { key: 'read', title: 'In', sorts: true, desc: true, show: bytes },
      { key: 'written', title: 'Out', sorts: true, desc: true, show: bytes },
      { key: 'trouble', title: 'Last refusal' },
    ],
    acts: (row, may) => (may ? [
      ['Close', () => closeSession(row), `Close the session of ${row.user || row.address}`],
      ['Trace', () => trace(row.id), `Trace the session of ${row.user || row.address}`],
    ] : []),
  },
  destinations: {
    title: 'Destinations',
    columns: [
      { key: 'destination', title: 'Destination', sorts: true },
      { key: 'kind', title: 'Kind' },
      { key: 'subscriptions', title: 'Subscriptions', sorts: true, desc: true, show: count },
      { key: 'depth', title: 'Waiting', sorts: true, desc: true, show: count },
      { key: 'unsettled', title: 'Unsettled', sorts: true, desc: true, show: count },
      { key: 'bytes', title: 'Bytes', sorts: true, desc: true, show: bytes },
      { key: 'in', title: 'In', sorts: true, desc: true, show: perSecond },
      { key: 'out', title: 'Out', sorts: true, desc: true, show: perSecond },
      { key: 'lost', title: 'Lost', sorts: true, desc: true, show: count },
      { key: 'dead', title: 'Dead letters', sorts: true, desc: true, show: count },
    ],
    acts: (row, may) => (may ? [
      ...(row.kind === 'queue' ? [
        ['Peek', () => peek(row), `Peek at ${row.destination}`],
        ['Return dead letters', () => returnDeadLetters(row), `Return the dead letters in ${row.destination}`],
      ] : []),
      ['Trace', () => trace(row.destination), `Trace ${row.destination}`],
    ] : []),
  },
  users: {
    title: 'Users',
    columns: [
      { key: 'user', title: 'User', sorts: true },
      { key: 'sessions', title: 'Sessions', sorts: true, desc: true, show: count },
      { key: 'destinations', title: 'Present at', show: (all) => all.slice(0, 5).join(', ') + (all.length > 5 ? ` and ${all.length - 5} more` : '') },
    ],
    acts: (row, may) => [
      ['Sessions', () => { window.location.hash = 'sessions'; tables.sessions.searchFor(row.user); }, `Sessions of ${row.user}`],
      ...(may ? [['Close', () => closeUser(row), `Close all sessions of ${row.user}`]] : []),
    ],
  },
  refusals: {
    title: 'Refusals',
    columns: [
      { key: 'at', title: 'Time', show: (at) => new Date(at).toLocaleTimeString('en-GB') },
      { key: 'what', title: 'What' },
      { key: 'rule', title: 'Rule' },
      { key: 'detail', title: 'Detail' },
      { key: 'user', title: 'User', show: (user) => user ?? '(anonymous)' },
      { key: 'remote', title: 'Address' },
    ],
  },
};

const tables = Object.fromEntries(Object.entries(lists).map(([what, list]) => (
  [what, new Table(by(what), { what, ...list, changed: () => refresh() })])));

const charts = [
  ['Sessions', count, (samples) => samples.map(({ at, sessions }) => [at, sessions])],
  ['Messages in', perSecond, (samples) => rate(samples, 'received')],
  ['Messages out', perSecond, (samples) => rate(samples, 'sent')],
  ['Refused', perSecond, (samples) => rate(samples, 'refused')],
  ['Memory', bytes, (samples) => samples.map(({ at, bytes: held }) => [at, held])],
].map(([title, format, points]) => ({ ...chart(title, format), points }));
by('charts').append(...charts.map(({ figure }) => figure));

function numbers(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([name, value]) => {
    const [term, text] = ['dt', 'dd'].map((tag) => document.createElement(tag));
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
}

function group(title, pairs) {
  const around = document.createElement('section');
  const head = document.createElement('h2');
  const list = document.createElement('dl');
  head.textContent = title;
  numbers(list, pairs);
  around.append(head, list);
  return around;
}

async function overview() {
  const seen = await look('overview', { stack: stack.value });
  by('state').textContent = seen.draining ? 'draining' : `broker ${seen.broker}`;
  by('state').className = seen.draining || seen.broker !== 'available' ? 'bad' : 'good';
  if (by('overview').hidden) {
    return;
  }
  numbers(by('numbers'), [
    ['Sessions', count(seen.sessions)], ['Users', count(seen.users)], ['Destinations', count(seen.destinations)],
  ]);
  for (const { show, points } of charts) {
    show(points(seen.samples));
  }
  const groups = Object.entries(seen.memory).map(([name, value]) => [name, bytes(value)]);
  by('budget').replaceChildren(group('Memory of messages', groups));
  by('counts').replaceChildren(...['ended', 'refused', 'lost', 'faults'].map((key) => (
    group(`${key[0].toUpperCase()}${key.slice(1)} since the start`, Object.entries(seen[key]).map(([name, value]) => [name, count(value)])))));
}

async function refresh() {
  if (!stack.value) {
    return;
  }
  try {
    await overview();
    const table = tables[window.location.hash.slice(1)];
    await table?.refresh(stack.value, mayAct);
    showProblem(null);
  } catch (error) {
    showProblem(error.message);
  }
}

function showView() {
  const wanted = window.location.hash.slice(1);
  const view = VIEWS.includes(wanted) ? wanted : 'overview';
  for (const name of VIEWS) {
    by(name).hidden = name !== view;
  }
  for (const link of document.querySelectorAll('nav a')) {
    link.ariaCurrent = link.hash === `#${view}` ? 'page' : null;
  }
  refresh();
}

by('publish').addEventListener('submit', (event) => {
  event.preventDefault();
  const body = Object.fromEntries(new FormData(event.target));
  run(async () => {
    const { receivers } = await act('publish', { stack: stack.value, ...body });
    return `Published to ${body.destination}: ${receivers} receivers on this node.`;
  });
});

by('trace-what').addEventListener('submit', (event) => {
  event.preventDefault();
  trace(event.target.elements.what.value.trim());
});
by('trace-end').addEventListener('click', () => run(finish));

by('drain').addEventListener('click', () => run(async () => {
  const fields = [{ name: 'seconds', label: 'Seconds to spread it over', type: 'number', value: '30' }];
  const asked = await askOperator('Close all sessions, and refuse new ones? The process must then be restarted.', fields, 'Drain');
  if (asked) {
    await act('drain', { stack: stack.value, seconds: Number(asked.seconds) });
    return 'The stack drains.';
  }
  return null;
}));

async function start() {
  const { stacks, operator, may_act: may } = await look('stacks');
  mayAct = may;
  stack.replaceChildren(...stacks.map((name) => new Option(name, name)));
  by('operator').textContent = `${operator}${may ? '' : ' (may look, not act)'}`;
  for (const acts of document.querySelectorAll('[data-acts]')) {
    acts.hidden = !may;
  }
  stack.addEventListener('change', () => run(finish));
  window.addEventListener('hashchange', showView);
  showView();
  setInterval(() => {
    if (!document.hidden) {
      refresh();
    }
  }, EVERY);
}

start().catch((error) => showProblem(error.message));
