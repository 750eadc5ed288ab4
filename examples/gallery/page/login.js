// The demos' login (examples/login, by tramline-login): a name and a password, and a session in a cookie. The tabs of a
// browser share that cookie, so they follow each other, in and out.

import { BackOff, showProblem } from '/panel.js';

const element = (id) => document.getElementById(id);

/** A hung server must not keep the page from trying again, in milliseconds. */
const PATIENCE = 10_000;

const tabs = new BroadcastChannel('login');
const backOff = new BackOff();

/** Who this page is for; null for nobody, undefined until the server has said. */
let name;
let page;
/** The header that shows the server that a page of its own asks; another one after each login. */
let proof = {};

/** The header for CONNECT and for requests that change something, as of the last `renew()`. */
export function csrf() {
  return proof;
}

/**
 * Wires the form of `login.html`: shows it, or who is logged in. `actions`: entered(name), left(); another user is the
 * one after the other. Calls entered() at once for a browser that the server knows already.
 */
export async function loginForm(actions) {
  page = actions;
  element('login').addEventListener('submit', (event) => {
    event.preventDefault();
    attempt('login', async () => {
      await me();
      await post('/login', { name: element('login-name').value, password: element('login-password').value });
      element('login-password').value = '';
      change(await me());
    });
  });
  element('logout').addEventListener('click', () => attempt('logout', async () => {
    await me();
    await post('/logout', {});
    change(null);
    element('login-name').focus();
  }));
  tabs.addEventListener('message', ({ data }) => {
    if (data === null) {
      become(null);
    } else {
      recognise();
    }
  });
  await recognise();
}

/**
 * Before each connection: asks whether the server takes this browser for whom the page shows, which another tab or an end of
 * the session may have changed; then so does this page. Whether it is still for the same user; throws when the server does
 * not answer.
 */
export async function renew() {
  const before = name;
  const known = await me();
  if (name === before) {
    become(known);
  }
  return name === before;
}

/** Asks until the server says who this is; meanwhile the form is there. */
async function recognise() {
  try {
    await renew();
    element('problem').hidden = true;
  } catch (error) {
    if (name === undefined) {
      showProblem('Who is logged in is not known yet', error.message);
      show(null);
      setTimeout(recognise, backOff.delay());
    }
  }
}

function change(who) {
  become(who);
  tabs.postMessage(who);
}

function become(who) {
  if (who === name) {
    return;
  }
  if (name) {
    page.left();
  }
  name = who;
  show(name);
  if (name) {
    page.entered(name);
  }
}

function show(who) {
  element('login').hidden = who !== null;
  element('who').hidden = who === null;
  element('who-name').textContent = who ?? '';
}

let underway = false;

/** One at a time: a second click does nothing. */
async function attempt(what, action) {
  if (underway) {
    return;
  }
  underway = true;
  element('problem').hidden = true;
  try {
    await action();
  } catch (error) {
    showProblem(`The ${what} did not work`, error.message);
  }
  underway = false;
}

/** Who is logged in, or null; and the proof for what this page sends from now on. */
async function me() {
  const answers = await Promise.all([ask('/me'), ask('/csrf')]);
  const [who, { headerName, token }] = await Promise.all(answers.map((answer) => answer.json()));
  proof = { [headerName]: token };
  return who.name;
}

function post(path, fields) {
  return ask(path, { method: 'POST', headers: { ...proof, accept: 'text/plain' }, body: new URLSearchParams(fields) });
}

/** The answer; throws an Error with the server's reason when it is not a good one, or comes too late. */
async function ask(path, request) {
  const answer = await fetch(path, { ...request, signal: AbortSignal.timeout(PATIENCE) }).catch(() => {
    throw new Error('no answer from the server');
  });
  if (!answer.ok) {
    throw new Error(await reason(answer));
  }
  return answer;
}

/** What an answer says was wrong: plain text, unless it comes from something between us and the server. */
export async function reason(answer) {
  const text = answer.headers.get('content-type')?.startsWith('text/plain') ? await answer.text() : '';
  return text.trim() || `the server answered ${answer.status}`;
}
