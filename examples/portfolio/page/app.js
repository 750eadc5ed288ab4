import { BackOff, missing, showProblem, whyLost } from '/panel.js';
import { csrf, loginForm, renew } from '/login.js';
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
  disconnect();
  dialog.close();
  underway.clear();
  market = new Market();
  table.clear();
  chart.clear();
  element('notifications').replaceChildren();
  element('market').hidden = true;
  show('disconnected', 'Disconnected');
}

/** Ends what there is of a connection, also when it is only being made or waited for. */
function disconnect() {
  clearTimeout(retry);
  const { socket, stomp } = demo;
  Object.assign(demo, { socket: null, stomp: null });
  if (stomp?.connected) {
    stomp.disconnect();
  } else {
    socket?.close();
  }
}

function connect() {
  disconnect();
  show('connecting', 'Connecting…');
  const socket = new SockJS('/portfolio/ws');
  const stomp = Stomp.over(socket);
  stomp.debug = null;
  Object.assign(demo, { socket, stomp });

  stomp.connect(csrf(), () => subscribe(stomp), (error) => {
    if (error.command === 'ERROR') {
      showProblem('Refused by the server', [error.headers.message, error.body].filter(Boolean).join('\n'));
    }
  });

  socket.addEventListener('close', (event) => {
    if (demo.socket === socket) {
      lost(whyLost(event));
    }
  });
}

function lost(reason) {
  disconnect();
  market.silent();
  unanswered();
  show('waiting', 'Reconnecting', reason);
  retry = setTimeout(again, backOff.delay());
}

/** A session belongs to whom the cookie names, which may be somebody else by now. */
async function again() {
  const who = name;
  try {
    if (await renew()) {
      connect();
    }
  } catch (error) {
    if (name === who) {
      lost(error.message);
    }
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
