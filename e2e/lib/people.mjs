// Who can log in to the gallery of these tests: their file is `people`, with one password for all.

import { fileURLToPath } from 'node:url';

export const PEOPLE = fileURLToPath(new URL('people', import.meta.url));
export const PASSWORD = 'of the tests';

/** Logs in by requests alone, with the cookies of `request`, a context's of playwright. */
export async function logInBy(request, url, name) {
  const { headerName, token } = await (await request.get(`${url}/csrf`)).json();
  const answer = await request.post(`${url}/login`, {
    headers: { [headerName]: token, accept: 'text/plain' }, form: { name, password: PASSWORD },
  });
  if (answer.status() !== 204) {
    throw new Error(`${name} did not get in: ${answer.status()} ${await answer.text()}`);
  }
}

/** The same for the logout. */
export async function logOutBy(request, url) {
  const { headerName, token } = await (await request.get(`${url}/csrf`)).json();
  await request.post(`${url}/logout`, { headers: { [headerName]: token, accept: 'text/plain' } });
}

/** A program's login: its cookie, and the header for CONNECT. */
export async function credentials(url, name) {
  const token = async (cookie) => {
    const answer = await fetch(`${url}/csrf`, { headers: { cookie } });
    const { headerName, token: value } = await answer.json();
    return { cookie: answer.headers.getSetCookie()[0]?.split(';')[0] ?? cookie, headers: { [headerName]: value } };
  };
  const before = await token('');
  const login = await fetch(`${url}/login`, {
    method: 'POST', headers: { ...before.headers, cookie: before.cookie }, body: new URLSearchParams({ name, password: PASSWORD }),
  });
  if (login.status !== 204) {
    throw new Error(`${name} did not get in: ${login.status} ${await login.text()}`);
  }
  return token(login.headers.getSetCookie()[0].split(';')[0]);
}
