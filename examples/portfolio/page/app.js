import { BackOff, missing, showProblem } from '/panel.js';
import { login, loginForm, me } from '/login.js';
import { Chart } from './chart.js';
import { html, whole, write } from './format.js';
import { Market, SAMPLES_A_SECOND } from './market.js';
import { Table } from './table.js';
import { TradeDialog } from './trade.js';

/* global SockJS, Stomp */

const KEPT_NOTIFICATIONS = 50;

const element = (id) => document.getElementById(id);

let market = new Market();
const chart = new Chart(element('chart'), element('chart-text'));
const dialog = new TradeDialog(send);
const table = new Table(
  { body: element('positions'), shares: element('total-shares'), value: element('total-value') },
  (action, ticker) => dialog.ask(action, market.stocks.get(ticker)),
);
const backOff = new BackOff();

// In the console, `demo.stomp` is the client in use.
const demo = { socket: null, stomp: null };
window.demo = demo;
let name = null;
let retry = 0;
/** Trades that the market has not answered, by their receipts. */
const underway = new Map();
let trades = 0;

if (!missing('SockJS', 'Stomp')) {
  await loginForm({ entered, left });
  setInterval(draw, 1000 / SAMPLES_A_SECOND);
}

function entered(who) {
  name = who;
  connect();
}

function left() {
  name = null;
  clearTimeout(retry);
  const { socket, stomp } = demo;
  Object.assign(demo, { socket: null, stomp: null });
  if (stomp?.connected) {
    stomp.disconnect();
  } else {
    socket?.close();
  }
  dialog.close();
  underway.clear();
  market = new Market();
  table.clear();
  chart.clear();
  element('notifications').replaceChildren();
  element('market').hidden = true;
  show('disconnected', 'Disconnected');
}

function connect() {
  show('connecting', 'Connecting…');
  const socket = new SockJS('/portfolio/ws');
  const stomp = Stomp.over(socket);
  stomp.debug = null;
  Object.assign(demo, { socket, stomp });

  stomp.connect({}, () => subscribe(stomp), (error) => {
    if (error.command === 'ERROR') {
      showProblem('Refused by the server', [error.headers.message, error.body].filter(Boolean).join('\n'));
    }
  });

  socket.addEventListener('close', (event) => {
    if (demo.socket !== socket) {
      return;
    }
    Object.assign(demo, { socket: null, stomp: null });
    market.silent();
    unanswered();
    const delay = backOff.delay();
    show('waiting', 'Reconnecting', event.reason || `the connection was lost (${event.code})`);
    retry = setTimeout(again, delay);
  });
}

/** The server that comes back may not know its old cookies. */
async function again() {
  const who = name;
  try {
    if (await me() === null) {
      await login(who);
    }
  } catch {
    // Not there yet: the connection will not be made either, and tried again.
  }
  if (name === who) {
    connect();
  }
}

function subscribe(stomp) {
  stomp.onreceipt = ({ headers }) => underway.delete(headers['receipt-id']);
  const on = (destination, take) => {
    stomp.subscribe(destination, (message) => {
      if (demo.stomp === stomp) {
        take(JSON.parse(message.body));
      }
    });
  };
  // News first, so that none falls between the positions and them.
  on('/user/queue/position-updates', updated);
  on('/user/queue/errors', (error) => problem('That did not work', error));
  on('/topic/price.stock.*', (quote) => market.quote(quote));
  on('/topic/price.rate', ({ updates }) => { market.made = updates; });
  on('/app/positions', (positions) => {
    market.positions(positions);
    element('market').hidden = false;
    element('problem').hidden = true;
    backOff.reset();
    show('connected', 'Connected', `by ${demo.socket.transport}`);
    draw();
  });
}

function send(trade) {
  element('problem').hidden = true;
  if (!demo.stomp?.connected) {
    problem('Not connected', 'The trade was not sent. Try again when the connection is back.');
    return;
  }
  const receipt = `trade-${trades += 1}`;
  underway.set(receipt, trade);
  demo.stomp.send('/app/trade', { receipt }, JSON.stringify(trade));
}

/** What was sent into a connection that is lost may have been executed or not: the positions will tell. */
function unanswered() {
  for (const { action, ticker, shares } of underway.values()) {
    notify(`${action} ${whole(shares)} ${ticker}: the connection was lost before the market answered.`);
  }
  underway.clear();
}

function updated(position) {
  const change = market.update(position);
  // The positions of a page that was opened meanwhile have it already.
  if (change === 0) {
    return;
  }
  const done = change < 0 ? `Sold ${whole(-change)}` : `Bought ${whole(change)}`;
  notify(`${done} ${position.ticker}: you hold ${whole(position.shares)} now.`);
  table.draw(market);
}

/** At the top of the page, which on a phone is far from where the trade was made. */
function problem(title, text) {
  showProblem(title, text);
  element('problem').scrollIntoView({ block: 'nearest' });
}

function notify(text) {
  const list = element('notifications');
  list.prepend(html('li', {}, text));
  while (list.children.length > KEPT_NOTIFICATIONS) {
    list.lastElementChild.remove();
  }
}

/** Prices arrive faster than anybody reads: what is shown changes a few times in a second. */
function draw() {
  if (name === null) {
    return;
  }
  const now = performance.now();
  market.sample(now);
  table.draw(market);
  chart.draw(market, now);
  dialog.draw();
  write(element('made'), whole(market.made));
  write(element('received'), whole(market.received));
}

function show(state, text, detail = '') {
  element('panel').dataset.state = state;
  write(element('state'), text);
  write(element('detail'), detail);
}
