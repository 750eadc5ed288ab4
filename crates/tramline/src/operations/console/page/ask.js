// Requests to the server, and what became of them.

const place = document.body.dataset.place;
const problem = document.getElementById('problem');
const done = document.getElementById('done');

async function answerOf(request) {
  let answer;
  try {
    answer = await request;
  } catch {
    throw new Error('The server does not answer.');
  }
  if (answer.redirected || !answer.headers.get('content-type')?.startsWith('application/json')) {
    throw new Error('You are not logged in any more: load the page again.');
  }
  const body = await answer.json();
  if (!answer.ok) {
    throw new Error(body.error);
  }
  return body;
}

export function look(what, query = {}) {
  return answerOf(fetch(`${place}/api/${what}?${new URLSearchParams(query)}`));
}

/** The token of tramline-login, where the application has that login. */
async function token() {
  const answer = await fetch('/csrf').catch(() => null);
  if (!answer?.ok || !answer.headers.get('content-type')?.startsWith('application/json')) {
    return {};
  }
  const { headerName, token: value } = await answer.json();
  return headerName ? { [headerName]: value } : {};
}

let known;

export async function act(what, body) {
  known ??= await token();
  const headers = { 'content-type': 'application/json', 'x-tramline-console': '1', ...known };
  const init = { method: 'POST', headers, body: JSON.stringify(body) };
  try {
    return await answerOf(fetch(`${place}/api/${what}`, init));
  } catch (error) {
    known = undefined; // A new login has a new token.
    throw error;
  }
}

export function showProblem(text) {
  problem.textContent = text ?? '';
  problem.hidden = !text;
}

export function showDone(text) {
  done.textContent = text;
  done.hidden = false;
}
