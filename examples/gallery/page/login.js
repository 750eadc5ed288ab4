// The demos' login (examples/login): a name, which the server keeps in a cookie that it has signed.

import { showProblem } from '/panel.js';

const element = (id) => document.getElementById(id);

/** The name that the server knows this browser by; null when nobody is logged in. */
export async function me() {
  const answer = await checked(await fetch('/me'));
  return (await answer.json()).name;
}

/** Takes a name; throws an Error with the server's reason when it does not take it. */
export async function login(name) {
  await checked(await post('/login', { name }));
  return me();
}

export async function logout() {
  await checked(await post('/logout', {}));
}

/**
 * Wires the form of `login.html`: shows it, or who is logged in. `actions`: entered(name), left(). Calls entered() at
 * once for a browser that the server knows already.
 */
export async function loginForm(actions) {
  const enter = async (name) => {
    show(name);
    await actions.entered(name);
  };
  element('login').addEventListener('submit', (event) => {
    event.preventDefault();
    attempt(async () => enter(await login(element('login-name').value)));
  });
  element('logout').addEventListener('click', () => attempt(async () => {
    await logout();
    show(null);
    element('login-name').focus();
    await actions.left();
  }));
  await attempt(async () => {
    const name = await me();
    await (name === null ? show(null) : enter(name));
  });
}

function show(name) {
  element('login').hidden = name !== null;
  element('who').hidden = name === null;
  element('who-name').textContent = name ?? '';
}

async function attempt(action) {
  try {
    element('problem').hidden = true;
    await action();
  } catch (error) {
    showProblem('The login did not work', error.message);
  }
}

function post(path, fields) {
  return fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(fields),
  });
}

async function checked(answer) {
  if (!answer.ok) {
    throw new Error(await answer.text() || `the server answered ${answer.status}`);
  }
  return answer;
}
