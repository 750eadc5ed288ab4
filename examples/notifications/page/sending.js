// The form, and the command that does the same.

import { csrf, reason } from '/login.js';
import { showProblem } from '/panel.js';

const element = (id) => document.getElementById(id);

/** Wires them; `/notifications` is for everyone, `/notifications/users/NAME` for one user. */
export function sending() {
  const form = element('form');
  form.addEventListener('input', showCommand);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  element('copy').addEventListener('click', copy);
  showCommand();
}

let underway = false;
/** What programs send in place of a login; the server tells it to people who have logged in. */
let key = 'KEY';

/** Puts the key into the command, for a user who has just logged in, or takes it out. */
export async function showKey(isUser) {
  const answer = isUser ? await fetch('/notifications/key').catch(() => null) : null;
  key = answer?.ok ? await answer.text() : 'KEY';
  showCommand();
}

/** One at a time: a second click sends nothing. */
async function submit() {
  if (underway) {
    return;
  }
  underway = true;
  element('problem').hidden = true;
  element('result').textContent = '';
  try {
    element('result').textContent = await send(request());
  } catch (error) {
    showProblem('Not sent', error.message);
  }
  underway = false;
}

function request() {
  const to = element('to').value.trim();
  const draft = { text: element('text').value, level: element('level').value };
  return { to, path: to ? `/notifications/users/${encoded(to)}` : '/notifications', body: JSON.stringify(draft) };
}

/** As part of a path, also between single quotes. */
function encoded(name) {
  return encodeURIComponent(name).replaceAll("'", '%27');
}

async function send({ to, path, body }) {
  if (/^\.\.?$/.test(to)) {
    throw new Error(`Nobody is called "${to}": a URL cannot have it as a part.`);
  }
  const headers = { ...csrf(), 'content-type': 'application/json' };
  const answer = await fetch(path, { method: 'POST', headers, body });
  if (!answer.ok) {
    throw new Error(await reason(answer));
  }
  const { received_by: browsers, waits, displaced } = await answer.json();
  const got = browsers === 1 ? '1 browser got it.' : `${browsers} browsers got it.`;
  const text = waits ? `${to} is not here: it waits.` : got;
  return displaced ? `${text} The oldest that waited had to go.` : text;
}

function showCommand() {
  const { path, body } = request();
  const quoted = body.replaceAll("'", String.raw`'\''`);
  element('command').textContent = `curl -X POST -H 'authorization: Bearer ${key}' -H 'content-type: application/json'`
    + ` -d '${quoted}' '${location.origin}${path}'`;
}

/** Into the clipboard; where there is none (it needs https or localhost), selected for the user to copy. */
async function copy() {
  const command = element('command');
  try {
    await navigator.clipboard.writeText(command.textContent);
    element('result').textContent = 'Copied.';
  } catch {
    getSelection().selectAllChildren(command);
    element('result').textContent = 'Selected: copy it with the keyboard.';
  }
}
