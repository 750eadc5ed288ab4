// The figures of the first page. Asking every two seconds is enough for them, so there is no socket: see the guide's page
// "which transport, or none".

const EVERY = 2_000;

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
let before = null;

async function ask() {
  try {
    const answer = await fetch('/figures', { signal: AbortSignal.timeout(5 * EVERY) });
    const now = { ...await answer.json(), at: performance.now() };
    element('sessions').textContent = whole.format(now.sessions);
    for (const name of ['received', 'sent']) {
      element(name).textContent = before ? whole.format((1000 * (now[name] - before[name])) / (now.at - before.at)) : '–';
    }
    before = now;
  } catch {
    before = null;
    ['sessions', 'received', 'sent'].forEach((name) => { element(name).textContent = '–'; });
  }
  setTimeout(ask, EVERY);
}

// A page that nobody sees asks nothing.
function begin() {
  if (!document.hidden) {
    document.removeEventListener('visibilitychange', begin);
    ask();
  }
}

document.addEventListener('visibilitychange', begin);
begin();
