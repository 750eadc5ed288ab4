import { BackOff, missing } from '/panel.js';
import { Chart } from './chart.js';
import { RestLink, SockJsLink, WebSocketLink, choice, isOffered } from './links.js';
import { Row } from './row.js';
import { turn } from './turn.js';

const element = (id) => document.getElementById(id);
const offer = element('offer');
const pause = element('pause');

const rows = [];
const chart = new Chart(element('chart'), element('scale'), element('numbers'));
let chosen = null;
let choosing = new AbortController();
let drawing = 0;
/** What the user wants, and what this window does. */
let paused = false;
let measuring = false;
let asked = new AbortController();

// The third column: how SockJS calls it, for what only SockJS has to fall back from.
const WAYS = [
  ['WebSocket', 'websocket', null],
  ['SockJS websocket', 'websocket', 'websocket'],
  ['SockJS xhr-streaming', 'xhr-streaming', 'xhr-streaming'],
  ['SockJS eventsource', 'eventsource', 'eventsource'],
  ['SockJS xhr-polling', 'xhr-polling', 'xhr-polling'],
];

const canSockJs = !missing('SockJS');
for (const [name, transport, sockjs] of WAYS.filter(([, , sockjs]) => canSockJs || !sockjs)) {
  add(name, {
    open: (base, on) => (sockjs ? new SockJsLink(base, sockjs, on) : new WebSocketLink(base, on)),
    offered: (base) => isOffered(base, transport),
    fallsBack: sockjs !== null,
  });
}
add('REST, polled', { open: (_, on) => new RestLink(on), offered: async () => true, fallsBack: false });

function add(name, { open, offered, fallsBack }) {
  // Pings of different transports keep out of each other's way.
  const offset = rows.length * 150;
  const row = new Row({ name, open, offered, offset, changed: redraw, lost: chooseAgain });
  row.note = () => note(row, fallsBack);
  rows.push(row);
}

function note(row, fallsBack) {
  switch (row.state) {
    case 'connecting': return 'connecting…';
    case 'lost': return `${row.reason}; trying again`;
    case 'off': {
      const instead = fallsBack ? chosen && `SockJS takes ${chosen} instead` : 'no fall-back without SockJS';
      return ['switched off at the server', instead].filter(Boolean).join('; ');
    }
    default: return row.state;
  }
}

function redraw() {
  if (drawing === 0) {
    drawing = requestAnimationFrame(() => {
      drawing = 0;
      chart.draw(rows);
    });
  }
}

function stop(why) {
  measuring = false;
  pause.textContent = 'Measure here';
  choosing.abort();
  rows.forEach((row) => row.stop());
  say(why);
}

function start() {
  measuring = true;
  pause.textContent = 'Pause';
  rows.forEach((row) => row.start(offer.value));
  choose();
}

function choose() {
  choosing.abort();
  choosing = new AbortController();
  if (canSockJs) {
    ask(offer.value, choosing.signal, new BackOff());
  } else {
    say('SockJS did not load, so there are only two ways.');
  }
}

/** What was chosen before a loss may no longer be right. */
function chooseAgain() {
  if (chosen !== null) {
    choose();
  }
}

/** Says what SockJS takes by itself; tries again while nobody answers. */
async function ask(base, signal, backOff) {
  chosen = null;
  say('Asking SockJS for its choice…');
  while (!signal.aborted) {
    try {
      const { transport, off, stopped } = await choice(base, signal);
      if (!signal.aborted) {
        chosen = transport;
        say(...because(transport, off, stopped));
        redraw();
      }
      return;
    } catch (error) {
      if (!signal.aborted) {
        say(`SockJS finds no way at the moment: ${error.message}.`);
      }
      await new Promise((resolve) => { setTimeout(resolve, backOff.delay()); });
    }
  }
}

function because(transport, off, stopped) {
  const strong = document.createElement('strong');
  strong.textContent = transport;
  const reasons = [];
  if (off.length > 0) {
    reasons.push(`the server has switched off ${list(off)}`);
  }
  if (stopped.length > 0) {
    reasons.push(`${list(stopped)} did not get through`);
  }
  const why = reasons.length > 0
    ? `: ${reasons.join(', and ')}, and this is the next in its order.`
    : ': it is the first in its order, and nothing on the way stops it.';
  return ['Left to itself, SockJS takes ', strong, ' here', why];
}

function list(names) {
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : names[0];
}

function say(...parts) {
  element('choice').replaceChildren(...parts);
}

new PerformanceObserver((entries) => {
  entries.getEntries().forEach((entry) => rows.forEach((row) => row.measured(entry)));
  performance.clearResourceTimings();
}).observe({ type: 'resource' });

/** Rests, or measures when it is this window's turn. A page that nobody sees rests, and leaves the turn to others. */
async function follow({ steal = false } = {}) {
  asked.abort();
  if (paused || document.hidden) {
    stop('Paused.');
    return;
  }
  stop('Paused: measuring in another window.');
  asked = new AbortController();
  const { signal } = asked;
  try {
    await turn(start, { steal, signal });
  } catch (error) {
    if (error.name !== 'AbortError') {
      throw error;
    }
    // Unless it was given up, another window has taken the turn: this one waits until that ends.
    if (!signal.aborted) {
      follow();
    }
  }
}

document.addEventListener('visibilitychange', () => follow());
pause.addEventListener('click', () => {
  paused = measuring;
  follow({ steal: true });
});
offer.addEventListener('change', () => {
  rows.forEach((row) => row.forget());
  if (measuring) {
    start();
  }
});

follow();
